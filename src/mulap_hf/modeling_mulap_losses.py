"""Every term of the training objectives: masked language, masked audio, matching, contrastive, words, chunks, labels.

Each is a mean over items. The contrastive terms compare each row with the rows of all processes if `across_processes`
is set; `modeling_mulap_distributed.gather_rows` explains why their gradients are then right. They are computed in
float32, also under autocast.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .configuration_mulap import PROBLEM_TYPES
from .modeling_mulap_arguments import check_shape
from .modeling_mulap_distributed import gather_rows

MATCHED, MISMATCHED = 0, 1
IGNORED_LABEL = -100
# The inputs that give each term of the pre-training loss, for the warning about a term that is missing.
INPUTS_OF_TERMS = {
    "mlm_loss": "mlm_labels",
    "mam_loss": "masked_chunks",
    "matching_loss": "matching_labels (or caption_ids, if config.matching_negatives is not 'given')",
    "contrastive_loss": "caption_ids",
    "words_loss": "word_ids and word_weights",
}


@dataclass(frozen=True)
class PreTrainingLabels:
    """The inputs of `MulapForPreTraining.forward` that give terms of the loss; each is described there."""

    masked_chunks: Tensor | None
    mlm_labels: Tensor | None
    matching_labels: Tensor | None
    caption_ids: Tensor | None
    word_ids: Tensor | None
    word_weights: Tensor | None

    @property
    def are_given(self) -> bool:
        """Whether there is any label."""
        return any(value is not None for value in vars(self).values())

    @property
    def matched(self) -> Tensor | None:
        """`(batch,)`, bool, which pairs belong together; None if all do."""
        return None if self.matching_labels is None else self.matching_labels == MATCHED

    def checked(self, input_ids: Tensor, chunk_mask: Tensor) -> "PreTrainingLabels":
        """The labels, with chunks masked only where they are real.

        Args:
            input_ids: `(batch, tokens)`.
            chunk_mask: `(batch, chunks)`, bool, which chunks are real.

        Raises:
            ValueError: a shape does not fit.
        """
        check_shape("mlm_labels", self.mlm_labels, "(batch, tokens)", input_ids.shape)
        check_shape("matching_labels", self.matching_labels, "(batch,)", input_ids.shape[:1])
        check_shape("caption_ids", self.caption_ids, "(batch,)", input_ids.shape[:1])
        check_shape("masked_chunks", self.masked_chunks, "(batch, chunks)", chunk_mask.shape)
        if (self.word_ids is None) != (self.word_weights is None):
            raise ValueError("word_ids and word_weights belong together: pass both or neither")
        if self.word_ids is not None:
            check_shape("word_ids", self.word_ids, "(batch, words)", (len(input_ids), self.word_ids.shape[-1]))
            check_shape("word_weights", self.word_weights, "(batch, words)", self.word_ids.shape)
        if self.masked_chunks is None:
            return self
        return replace(self, masked_chunks=self.masked_chunks.bool() & chunk_mask)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy over the labels that are not -100; 0, with a gradient path, where all are.

    Args:
        logits: `(items, classes)`.
        labels: `(items,)`, int64.
    """
    total = F.cross_entropy(logits.float(), labels, ignore_index=IGNORED_LABEL, reduction="sum")
    return total / (labels != IGNORED_LABEL).sum().clamp(min=1)


def balanced_matching_loss(matched: Tensor, mismatched: Tensor) -> Tensor:
    """Cross entropy of the matching logits of both kinds of pairs, each kind counting one half.

    Args:
        matched, mismatched: `(pairs, 2)`; either may be empty.
    """
    kinds = [(matched, MATCHED), (mismatched, MISMATCHED)]
    return sum(
        cross_entropy(logits, torch.full((len(logits),), label, device=logits.device)) for logits, label in kinds
    ) / len(kinds)


def mam_targets(kind: Literal["features", "normalized", "zeros"], features: Tensor, chunk_mask: Tensor) -> Tensor:
    """Targets of masked audio modeling, `(batch, chunks, features)`, float32, without gradient.

    Args:
        kind: `config.mam_target`.
        features: `(batch, chunks, features)`, unmasked.
        chunk_mask: `(batch, chunks)`, bool, which chunks are real.
    """
    features = features.detach().float()
    if kind == "zeros":
        return torch.zeros_like(features)
    if kind == "normalized":
        real = features[chunk_mask]  # (real chunks, features)
        deviation = real.var(dim=0, unbiased=False).sqrt().clamp(min=1e-5)
        return (features - real.mean(dim=0)) / deviation
    return features


def mam_loss(
    kind: Literal["mse", "huber", "kl"], predictions: Tensor, targets: Tensor, masked_chunks: Tensor
) -> Tensor:
    """Mean distance of the predictions to the targets over the masked chunks; 0 where no chunk is masked.

    Args:
        kind: `config.mam_loss`.
        predictions, targets: `(batch, chunks, features)`.
        masked_chunks: `(batch, chunks)`, bool.
    """
    predicted = predictions[masked_chunks].float()  # (masked, features)
    target = targets[masked_chunks].float()
    if kind == "kl":
        divergence = F.kl_div(
            predicted.log_softmax(dim=-1), target.log_softmax(dim=-1), reduction="none", log_target=True
        )
        per_chunk = divergence.sum(dim=-1)
    else:
        distance = F.mse_loss if kind == "mse" else F.huber_loss
        per_chunk = distance(predicted, target, reduction="none").mean(dim=-1)
    return _mean(per_chunk)


def words_loss(logits: Tensor, word_ids: Tensor, word_weights: Tensor) -> Tensor:
    """Weighted cross entropy of the words of each caption, a mean over the captions (Huang et al., SuperClass, NeurIPS
    2024).

    Args:
        logits: `(batch, vocabulary)`.
        word_ids, word_weights: `(batch, words)`; the weights of a caption sum to 1, or to 0 if it has no words.
    """
    log_probabilities = logits.float().log_softmax(dim=-1).gather(1, word_ids)  # (batch, words)
    return -(word_weights * log_probabilities).sum() / len(word_ids)


def nt_xent(first: Tensor, second: Tensor, temperature: float, across_processes: bool = False) -> Tensor:
    """Normalized temperature-scaled cross entropy (Chen et al., SimCLR, ICML 2020, equation 1).

    Each view is to find the other view of its clip among all other views: one positive and 2 N - 2 negatives, where N
    is the number of clips. Without any row the loss is 0.

    Args:
        first, second: `(rows, size)`, the two views of each clip; normalized here.
        temperature: what cosine similarities are divided by.
        across_processes: count the clips of all processes; all of them must then call this.

    Raises:
        ValueError: the shapes differ.
    """
    with torch.autocast(first.device.type, enabled=False):
        views = _normalize(first, second)  # (rows, 2, size)
        joined, start = gather_rows(views) if across_processes else (views, 0)
        logits = views.flatten(0, 1) @ joined.flatten(0, 1).T / temperature  # (2 rows, 2 N)
        own = 2 * start + torch.arange(len(logits), device=logits.device)  # where each view is among the joined
        logits = logits.scatter(1, own[:, None], -torch.inf)
        return _mean(F.cross_entropy(logits, own ^ 1, reduction="none"))  # 2 i and 2 i + 1 are views of one clip


def info_nce(
    audio: Tensor,
    text: Tensor,
    scale: Tensor | float,
    weights: Tensor | None = None,
    text_ids: Tensor | None = None,
    across_processes: bool = False,
) -> Tensor:
    """Symmetric cross entropy between clips and texts (Radford et al., CLIP, ICML 2021; Manco et al., MusCALL, ISMIR
    2022): each clip is to find its text among all texts, and each text its clip. Without any row the loss is 0.

    Args:
        audio, text: `(rows, size)`, embeddings of pairs; normalized here.
        scale: what cosine similarities are multiplied by, 1 / temperature; may be trained.
        weights: `(rows,)`, of each pair's loss, with mean 1 over all pairs.
        text_ids: `(rows,)`, int64, equal for equal texts, in all processes (a hash): such pairs are not each other's
            negatives.
        across_processes: take the clips and texts of all processes; all of them must then call this.

    Raises:
        ValueError: the shapes differ.
    """
    with torch.autocast(audio.device.type, enabled=False):
        pairs = _normalize(audio, text)  # (rows, 2, size)
        joined, start = gather_rows(pairs) if across_processes else (pairs, 0)
        own = start + torch.arange(len(pairs), device=pairs.device)
        excluded = None
        if text_ids is not None:
            joined_ids, _ = gather_rows(text_ids) if across_processes else (text_ids, 0)
            excluded = (text_ids[:, None] == joined_ids).scatter(1, own[:, None], False)  # (rows, N)
        losses = 0
        for queries, keys in ((pairs[:, 0], joined[:, 1]), (pairs[:, 1], joined[:, 0])):
            logits = scale * queries @ keys.T  # (rows, N)
            if excluded is not None:
                logits = logits.masked_fill(excluded, -torch.inf)
            losses = losses + F.cross_entropy(logits, own, reduction="none") / 2
        return _mean(losses if weights is None else losses * weights)


@torch.no_grad()
def content_aware_weights(
    text_embeddings: Tensor, temperature: float = 0.01, across_processes: bool = False
) -> Tensor:
    """Weights for `info_nce` that are larger for texts that resemble the other texts (Manco et al., MusCALL, ISMIR
    2022, "content-aware loss weighting").

    A pair's weight is proportional to exp(s / temperature), where s is the mean cosine similarity of its text to all
    other texts; the mean of all weights is 1.

    Args:
        text_embeddings: `(rows, size)`; normalized here.
        temperature: the smaller, the more the weights differ. If the mean similarities have a standard deviation of
            0.05, a temperature of 0.01 concentrates the weight of 256 pairs on about three.
        across_processes: compare with the texts of all processes; all of them must then call this.

    Returns:
        `(rows,)`, without gradient.
    """
    with torch.autocast(text_embeddings.device.type, enabled=False):
        normalized = F.normalize(text_embeddings.float(), dim=1)
        joined, start = gather_rows(normalized) if across_processes else (normalized, 0)  # (N, size)
        similarity = (joined @ joined.sum(dim=0) - 1) / max(1, len(joined) - 1)  # without that to itself, which is 1
        weights = torch.softmax(similarity / temperature, dim=0) * len(joined)
        return weights[start : start + len(text_embeddings)]


def infer_problem_type(num_labels: int, labels: Tensor) -> str:
    """The `config.problem_type` that fits the labels, for a configuration without one.

    One output is regressed. Otherwise class indices are integers `(batch,)`; anything else is taken as 0/1 for each
    label.
    """
    if num_labels == 1:
        return "regression"
    is_integer = not labels.is_floating_point() and labels.dtype != torch.bool
    is_index = labels.dim() == 1 or labels.shape[1:] == (1,)
    return "single_label_classification" if is_integer and is_index else "multi_label_classification"


def classification_loss(problem: str, logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of a `config.problem_type`: cross entropy, binary cross entropy, or squared error; a mean.

    Args:
        problem: the type.
        logits: `(batch, labels)`.
        labels: `(batch,)` class indices of any integer type, -100 = ignored; `(batch, labels)` 0/1 of any type; or
            `(batch, labels)` values to regress.

    Raises:
        ValueError: the type is unknown, or the labels do not fit it.
    """
    if problem not in PROBLEM_TYPES:
        raise ValueError(f"problem_type={problem!r} is unknown; there are {', '.join(PROBLEM_TYPES)}")
    _check_labels(problem, logits, labels)
    if problem == "single_label_classification":
        return cross_entropy(logits, labels.view(-1).long())
    loss = F.mse_loss if problem == "regression" else F.binary_cross_entropy_with_logits
    return loss(logits.float(), labels.view(logits.shape).float())


def _check_labels(problem: str, logits: Tensor, labels: Tensor):
    batch, size = logits.shape
    given = f"labels of {problem} have shape {tuple(labels.shape)} and type {labels.dtype}"
    if problem == "single_label_classification":
        if labels.shape not in ((batch,), (batch, 1)) or labels.is_floating_point() or labels.dtype == torch.bool:
            raise ValueError(f"{given}; they must be ({batch},) class indices, integers from 0 to {size - 1}")
        wrong, meaning = (labels != IGNORED_LABEL) & ((labels < 0) | (labels >= size)), f"from 0 to {size - 1}"
    else:
        if labels.shape != (batch, size) and (size > 1 or labels.shape != (batch,)):
            raise ValueError(f"{given}; they must be ({batch}, {size}), a value per clip and output")
        wrong, meaning = ~labels.isfinite(), "finite"
        if problem == "multi_label_classification":
            wrong, meaning = ~((labels >= 0) & (labels <= 1)), "0 or 1"
    if torch.compiler.is_compiling():  # the values are not known
        return
    if wrong.any():
        raise ValueError(f"labels of {problem} must be {meaning}, and one of them is {labels[wrong][0].item():g}")
    if problem == "single_label_classification" and (labels == IGNORED_LABEL).all():
        raise ValueError(f"all labels of the batch are {IGNORED_LABEL}, which is ignored: leave such batches out")


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
