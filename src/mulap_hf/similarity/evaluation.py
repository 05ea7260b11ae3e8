"""Evaluation by triplets: does the anchor resemble the piece that shares a factor more than another one?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..metrics.scores import COVERAGE
from .pieces import components

MOST_ANCHORS = 4000
_TRIES = 50  # random pieces that are looked at for one that shares nothing with the anchor


@dataclass(frozen=True)
class Triplets:
    """Triplets of pieces, as indices `(triplets,)`.

    Attributes:
        anchor, positive: Pieces that share the factor, and no other one.
        different: Shares nothing with the anchor. If there is one, it is a piece that shares all but the factor with
            the positive: whoever does not look at the factor can only guess.
        alike: Shares all but the factor with the anchor, -1 if there is none. Only the factor tells that the positive
            is the answer.
        clusters: Number of the cluster of related pieces that the triplet is from, for bootstrap. Where all pieces are
            related, a cluster is a group of the factor.
    """

    anchor: np.ndarray
    positive: np.ndarray
    different: np.ndarray
    alike: np.ndarray
    clusters: np.ndarray


def draw_triplets(groups: Mapping[str, np.ndarray], factor: str, seed: int = 0) -> Triplets:
    """Draw one triplet per piece, of at most `MOST_ANCHORS` pieces.

    Args:
        groups: For each factor `(pieces,)`, as `Pieces.groups`. One that is unknown for all pieces is not considered.
        factor: The factor that anchor and positive share.
        seed: Random seed.
    """
    rng = np.random.default_rng(seed)
    members = {name: _members(numbers) for name, numbers in groups.items()}
    others = [name for name in groups if name != factor and members[name]]

    def sharing(name: str, piece: int) -> set[int]:
        return members[name].get(int(groups[name][piece]), set()) - {piece}

    def pick(candidates: set[int]) -> int:
        return int(rng.choice(sorted(candidates))) if candidates else -1

    def all_but_factor(piece: int) -> set[int]:
        common = set.intersection(*(sharing(name, piece) for name in others)) if others else set()
        return common - sharing(factor, piece)

    rows = []
    pieces = len(groups[factor])
    for anchor in sorted(rng.permutation(pieces)[:MOST_ANCHORS].tolist()):
        related = set().union(*(sharing(name, anchor) for name in groups)) | {anchor}
        positive = pick(sharing(factor, anchor).difference(*(sharing(name, anchor) for name in others)))
        if positive < 0:
            continue
        different = pick(all_but_factor(positive) - related)
        if different < 0:
            different = next((n for n in rng.integers(pieces, size=_TRIES).tolist() if n not in related), -1)
        if different >= 0:
            rows.append((anchor, positive, different, pick(all_but_factor(anchor))))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    related = components(groups)
    clusters = groups[factor] if len(set(related.tolist())) == 1 else related
    return Triplets(*columns, clusters=clusters[columns[0]])


def _members(numbers: np.ndarray) -> dict[int, set[int]]:
    members: dict[int, set[int]] = {}
    for piece, number in enumerate(numbers.tolist()):
        if number >= 0:
            members.setdefault(number, set()).add(piece)
    return members


def triplet_accuracy(
    embeds: np.ndarray, triplets: Triplets, negative: str, resamples: int = 1000, seed: int = 0
) -> dict[str, float | None]:
    """Return the fraction of triplets whose anchor is nearer to the positive, with its 95 % bootstrap interval.

    Args:
        embeds: `(pieces, size)`, of length 1: similarity is their dot product. Equal similarities count half.
        triplets: The triplets.
        negative: "different" or "alike", see `Triplets`.
        resamples, seed: Of the bootstrap, which draws clusters of related pieces.

    Returns:
        `value`, `low` and `high`; None without triplets.
    """
    others = getattr(triplets, negative)
    usable = others >= 0
    if not usable.any():
        return {"value": None, "low": None, "high": None}
    anchor, positive = embeds[triplets.anchor[usable]], embeds[triplets.positive[usable]]
    margin = (anchor * positive).sum(axis=1) - (anchor * embeds[others[usable]]).sum(axis=1)
    right = (margin > 0) + 0.5 * (margin == 0)
    _, cluster = np.unique(triplets.clusters[usable], return_inverse=True)
    sums, counts = np.bincount(cluster, right), np.bincount(cluster)
    drawn = np.random.default_rng(seed).integers(len(counts), size=(resamples, len(counts)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, COVERAGE)
    return {"value": float(right.mean()), "low": float(low), "high": float(high)}
