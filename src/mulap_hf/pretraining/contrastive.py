"""Contrastive losses over the joined batch of all processes.

Each is the mean over this process' rows, with the rows of all processes as negatives: `gather_rows` says why the
gradients are then right. All is computed in float32, under autocast too.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .distributed import gather_rows


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalized temperature-scaled cross entropy (Chen et al., SimCLR, ICML 2020, equation 1).

    Each view is to find the other view of its clip among all other views: one positive, 2 N - 2 negatives, where N are
    the clips of all processes. The loss is 0 without any row.

    Args:
        first, second: `(rows, size)`, the two views of each clip; normalized here.
        temperature: what cosine similarities are divided by.

    Raises:
        ValueError: the shapes differ.
    """
    with torch.autocast(first.device.type, enabled=False):
        views = _normalize(first, second)  # (rows, 2, size)
        joined, start = gather_rows(views)
        logits = views.flatten(0, 1) @ joined.flatten(0, 1).T / temperature  # (2 rows, 2 N)
        own = 2 * start + torch.arange(len(logits), device=logits.device)  # where each view is among the joined
        logits = logits.scatter(1, own[:, None], -torch.inf)
        return _mean(F.cross_entropy(logits, own ^ 1, reduction="none"))  # 2 i and 2 i + 1 are views of one clip


def info_nce(
    audio: Tensor, text: Tensor, scale: Tensor | float, weights: Tensor | None = None, text_ids: Tensor | None = None
) -> Tensor:
    """Symmetric cross entropy between clips and texts (Radford et al., CLIP, ICML 2021; Manco et al., MusCALL, ISMIR
    2022): each clip is to find its text among the texts of all processes, each text its clip. The loss is 0 without
    any row.

    Args:
        audio, text: `(rows, size)`, embeddings of pairs; normalized here.
        scale: what cosine similarities are multiplied by, 1 / temperature; may be learned.
        weights: `(rows,)`, of each pair's loss, with mean 1 over all processes.
        text_ids: `(rows,)`, int64, equal for equal texts, in all processes (a hash): such pairs are not each other's
            negatives.

    Raises:
        ValueError: the shapes differ.
    """
    with torch.autocast(audio.device.type, enabled=False):
        pairs = _normalize(audio, text)  # (rows, 2, size)
        joined, start = gather_rows(pairs)
        own = start + torch.arange(len(pairs), device=pairs.device)
        excluded = None
        if text_ids is not None:
            joined_ids, _ = gather_rows(text_ids)
            excluded = (text_ids[:, None] == joined_ids).scatter(1, own[:, None], False)  # (rows, N)
        losses = 0
        for queries, keys in ((pairs[:, 0], joined[:, 1]), (pairs[:, 1], joined[:, 0])):
            logits = scale * queries @ keys.T  # (rows, N)
            if excluded is not None:
                logits = logits.masked_fill(excluded, -torch.inf)
            losses = losses + F.cross_entropy(logits, own, reduction="none") / 2
        return _mean(losses if weights is None else losses * weights)


@torch.no_grad()
def content_aware_weights(text_embeddings: Tensor, temperature: float = 0.01) -> Tensor:
    """Weights for `info_nce`: pairs whose texts are like the others' count more (Manco et al., MusCALL, ISMIR 2022,
    "content-aware loss weighting").

    A pair's weight is exp(s / temperature), where s is the mean cosine similarity of its text to all other texts of
    all processes; the weights' mean over all processes is 1.

    Args:
        text_embeddings: `(rows, size)`; normalized here.
        temperature: the smaller, the more the weights differ: where the mean similarities spread by 0.05 (standard
            deviation), 0.01 leaves 256 pairs the weight of three.

    Returns:
        `(rows,)`, without gradient.
    """
    with torch.autocast(text_embeddings.device.type, enabled=False):
        joined, start = gather_rows(F.normalize(text_embeddings.float(), dim=1))  # (N, size)
        similarity = (joined @ joined.sum(dim=0) - 1) / max(1, len(joined) - 1)  # without that to itself, which is 1
        weights = torch.softmax(similarity / temperature, dim=0) * len(joined)
        return weights[start : start + len(text_embeddings)]


def _normalize(first: Tensor, second: Tensor) -> Tensor:
    """`(rows, 2, size)`, float32, each vector of length 1."""
    if first.shape != second.shape or first.dim() != 2:
        raise ValueError(
            f"embeddings of shapes {tuple(first.shape)} and {tuple(second.shape)}: both must be (rows, size), row i "
            "of the one belonging to row i of the other"
        )
    return F.normalize(torch.stack([first, second], dim=1).float(), dim=2)


def _mean(losses: Tensor) -> Tensor:
    return losses.sum() / max(1, len(losses))
