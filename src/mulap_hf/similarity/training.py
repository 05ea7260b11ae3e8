"""Training of the three heads on the features of a frozen backbone."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from ..modeling_mulap_similarity import FACTORS, MulapForMusicSimilarity
from .arguments import SimilarityArguments
from .evaluation import Triplets, draw_triplets, triplet_accuracy
from .pieces import components


@dataclass(frozen=True)
class LabeledTracks:
    """Features of tracks, `(tracks, features)`, and the groups that share a factor, `(tracks,)`."""

    features: torch.Tensor
    groups: Mapping[str, np.ndarray]


def train_heads(
    model: MulapForMusicSimilarity,
    train: LabeledTracks,
    validation: LabeledTracks,
    args: SimilarityArguments,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train the heads of a model in place, and leave those that are best on the validation pieces.

    Args:
        model: The model; only `model.similarity` changes.
        train, validation: Pieces with groups.
        args: Options of the training.
        progress: Show a progress bar.

    Returns:
        A row per evaluation: `step`, `loss`, and for each factor the validation accuracy on triplets whose negative
        shares all but the factor with the anchor.
    """
    heads = model.similarity.train()
    tracks = train.features.to(model.device)
    heads.fit_scale(tracks)
    noise = args.noise / heads.scale
    labels = {factor: torch.from_numpy(groups).to(model.device) for factor, groups in train.groups.items()}
    optimizer = torch.optim.AdamW(heads.parameters(), weight_decay=args.weight_decay)
    schedule = OneCycleLR(optimizer, args.learning_rate, total_steps=args.steps)
    history: list[dict[str, float]] = []
    best = -1.0
    triplets = {factor: draw_triplets(validation.groups, factor, args.seed) for factor in FACTORS}
    batches = _batches(components(train.groups), args.batch_size, args.seed)
    with torch.random.fork_rng(devices=[]), tqdm(total=args.steps, unit="step", disable=not progress) as bar:
        torch.manual_seed(args.seed)
        for step, rows in zip(range(1, args.steps + 1), batches, strict=False):
            inputs = tracks[rows]
            embeds = heads(inputs + noise * torch.randn_like(inputs))
            loss = model.loss(embeds, {factor: groups[rows] for factor, groups in labels.items()})
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.update()
            if step % args.eval_steps == 0 or step == args.steps:
                scores = validate(model, validation.features, triplets)
                history.append({"step": step, "loss": loss.item(), **scores})
                mean = sum(scores.values()) / len(scores)
                bar.set_postfix_str(", ".join(f"{name} {value:.3f}" for name, value in scores.items()), False)
                if mean > best:
                    best, state = mean, deepcopy(heads.state_dict())
                heads.train()
    heads.load_state_dict(state)
    heads.eval()
    return history


def validate(
    model: MulapForMusicSimilarity, tracks: torch.Tensor, triplets: Mapping[str, Triplets]
) -> dict[str, float]:
    """Return, for each factor, the accuracy of its head on triplets of the factor.

    The negative of a triplet shares all but the factor with the anchor, or nothing if no piece does.
    """
    embeds = embed(model, tracks)
    scores = {}
    for factor, drawn in triplets.items():
        hard = triplet_accuracy(embeds[factor], drawn, "alike", resamples=1)["value"]
        easy = triplet_accuracy(embeds[factor], drawn, "different", resamples=1)["value"]
        scores[factor] = next(value for value in (hard, easy, 0.0) if value is not None)
    return scores


@torch.inference_mode()
def embed(model: MulapForMusicSimilarity, tracks: torch.Tensor) -> dict[str, np.ndarray]:
    """Return the embeddings by factor of tracks that the backbone has embedded: `(tracks, embedding size)` each."""
    heads = model.similarity.eval()
    return {factor: values.cpu().numpy() for factor, values in heads(tracks.to(model.device)).items()}


def _batches(clusters: np.ndarray, size: int, seed: int) -> Iterator[torch.Tensor]:
    """Yield the pieces of batches without end: whole clusters of related pieces, in a new random order each time.

    Of a cluster that is larger than a batch, as many random pieces as fit are taken.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(clusters, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1)
    batch: list[np.ndarray] = []
    filled = 0
    while True:
        for index in rng.permutation(len(members)):
            pieces = rng.permutation(members[index])[:size]
            if filled + len(pieces) > size:
                yield torch.from_numpy(np.concatenate(batch))
                batch, filled = [], 0
            batch.append(pieces)
            filled += len(pieces)
