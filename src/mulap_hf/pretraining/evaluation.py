"""Evaluation on held-out items by all processes, and its metrics."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from ..metrics.retrieval import score_retrieval
from ..metrics.scores import score
from .objective import Objective, Record

# Below these, the embeddings of different clips are nearly equal (collapse).
SMALLEST_RANK = 2.0
SMALLEST_STD = 1e-3


@torch.no_grad()
def evaluate(
    objective: Objective,
    model: torch.nn.Module,
    batches: Iterable[dict],
    accelerator: Accelerator,
    is_shared_out: bool = True,
) -> dict[str, float]:
    """Metrics of an objective over all batches, the same in all processes; empty if no batch has an item.

    Args:
        objective: defines the metrics.
        model: evaluated in eval mode; its mode is restored.
        batches: those of this process, with `ids`; batches without any are skipped.
        accelerator: of the run.
        is_shared_out: whether the batches are divided between the processes; otherwise each process has all.
    """
    was_training = model.training
    model.eval()
    records: list[Record] = []
    for batch in batches:
        if batch["ids"]:
            tensors = {name: value.to(accelerator.device) for name, value in batch.items() if torch.is_tensor(value)}
            # In eval mode no model compares items across processes, so their number does not change the metrics.
            with accelerator.autocast():
                output = objective.forward(model, tensors)
                counts = {f"{name}_count": count for name, count in objective.count(tensors).items()}
                record = counts | objective.terms(output) | objective.measure(output, tensors)
            records.append({"first_id": batch["ids"][0]} | {name: _to_array(value) for name, value in record.items()})
    model.train(was_training)
    gathered = gather_object(records)
    records = gathered if is_shared_out else gathered[: len(records)]
    records.sort(key=lambda record: record.pop("first_id"))  # the same sums for any number of processes
    return objective.summarize(records) if records else {}


def _to_array(value) -> np.ndarray:
    if torch.is_tensor(value):
        value = value.detach().cpu()
        value = value.float().numpy() if value.is_floating_point() else value.numpy()
    return np.asarray(value)


def join(records: list[Record], name: str) -> np.ndarray:
    """Concatenates an array of all batches."""
    return np.concatenate([record[name] for record in records])


def mean_over(records: list[Record], name: str) -> float | None:
    """Mean over all items of a measure whose mean over `name_count` items each record has; None without items."""
    counts = [int(record[f"{name}_count"]) for record in records]
    total = sum(float(record[name]) * count for record, count in zip(records, counts, strict=True) if count)
    return total / sum(counts) if sum(counts) else None


def known_scores(kind: str, truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """`metrics.scores.score` without undefined values; empty if an output is NaN, which the loss shows."""
    if np.isnan(scores).any():
        return {}
    return {name: value for name, value in score(kind, truth, scores).items() if not math.isnan(value)}


def variance_explained(target: np.ndarray, prediction: np.ndarray) -> float | None:
    """R2 over all values of `(items, features)`: 1 = predicted, 0 = no better than each feature's mean.

    Returns:
        None where nothing varies.
    """
    spread = np.square(target - target.mean(axis=0)).sum(dtype=np.float64) if len(target) else 0.0
    return float(1 - np.square(target - prediction).sum(dtype=np.float64) / spread) if spread > 0 else None


def effective_rank(embeddings: np.ndarray) -> float:
    """Exponential of the entropy of the variances of the principal components (Roy & Vetterli, 2007).

    Features are standardized first; those that do not vary are left out.

    Args:
        embeddings: `(items, features)`. The result is 1 if they lie on a line, and 0 if they are all equal.
    """
    deviations = embeddings.std(axis=0)
    varying = deviations > 1e-6
    if not varying.any():
        return 0.0
    standardized = (embeddings - embeddings.mean(axis=0))[:, varying] / deviations[varying]
    variances = np.linalg.svd(standardized, compute_uv=False).astype(np.float64) ** 2
    fractions = variances[variances > 0] / variances.sum()
    return float(np.exp(-(fractions * np.log(fractions)).sum()))


def feature_statistics(embeddings: np.ndarray) -> dict[str, float]:
    """`feature_std`, the mean over the features of their deviation between items, and `effective_rank`."""
    return {"feature_std": float(embeddings.std(axis=0).mean()), "effective_rank": effective_rank(embeddings)}


def collapse_warning(metrics: dict[str, float]) -> str | None:
    """A warning if `feature_statistics` show that the embeddings of all clips have become (nearly) equal."""
    rank, std = metrics.get("effective_rank"), metrics.get("feature_std")
    if rank is not None and rank < SMALLEST_RANK:
        return f"the embeddings have collapsed to {rank:.1f} effective dimensions"
    if std is not None and std < SMALLEST_STD:
        return f"the embeddings hardly differ between clips (standard deviation {std:.1e})"
    return None


def retrieval_scores(similarity: np.ndarray, captions: np.ndarray) -> dict[str, float]:
    """Text-to-audio retrieval among all clips; all clips with the same caption are correct.

    Args:
        similarity: `(clips, texts)`, text i being that of clip i.
        captions: `(texts,)`, equal where the texts are.

    Returns:
        `retrieval_r1`, `retrieval_r5`, `retrieval_r10`: fraction of the texts with a correct clip among the first 1, 5
        and 10; `retrieval_median_rank`. Empty if a similarity is NaN, which the loss shows.
    """
    if np.isnan(similarity).any():
        return {}
    scores = score_retrieval(similarity.T, captions[:, None] == captions)
    return {f"retrieval_{name}": scores[name] for name in ("r1", "r5", "r10", "median_rank")}
