"""Linear probes on frozen features, in folds that keep the groups of the recordings on one side."""

import warnings
from collections.abc import Iterator

import numpy as np

from ..data.schema import Task
from ..transfer.protocol import choose_few
from .excerpts import PartFeatures
from .layout import FOLDS

_REGULARIZATION = 0.01  # C of scikit-learn: the inverse of the weight of the L2 penalty
_MOST_ITERATIONS = 1000


def predict_in_folds(
    data: PartFeatures, vectors: np.ndarray, seed: int, labels_per_class: int | None = None, draws: int = 1
) -> np.ndarray:
    """Train a probe per fold on the other folds; return the predicted classes of the excerpts.

    The probe is a logistic regression with an L2 penalty (C = 0.01) on features that are standardized by their
    statistics on the training excerpts of the fold. It is the same for all models.

    Args:
        data: The recordings with their labels and groups.
        vectors: `(recordings, excerpts, dimensions)`.
        seed: Random seed of the folds and of the choice of labels.
        labels_per_class: Number of recordings per class to train on, chosen at random; None for all.
        draws: Number of random choices.

    Returns:
        Indices of the classes, in alphabetical order, `(draws, recordings, excerpts)`.
    """
    classes, targets = class_indices(data)
    task = Task(name="class", kind="single_label", columns=("class",), classes=tuple(classes))
    excerpts = vectors.shape[1]
    predicted = np.zeros((draws, *vectors.shape[:2]), dtype=int)
    for train, test in folds(data, seed):
        known, unknown = _coordinates(*(vectors[rows].reshape(-1, vectors.shape[2]) for rows in (train, test)))
        known = known.reshape(len(train), excerpts, -1)
        everything = np.arange(len(train))
        for draw in range(draws):
            few = everything
            if labels_per_class is not None:
                few = choose_few(task, targets[train], labels_per_class, seed + draw)
            if draw and len(few) == len(train):  # every choice is the same
                predicted[draw, test] = predicted[0, test]
                continue
            labels = np.repeat(targets[train][few], excerpts)
            found = _fit_and_predict(known[few].reshape(len(labels), -1), unknown, labels)
            predicted[draw, test] = found.reshape(len(test), excerpts)
    return predicted


def class_indices(data: PartFeatures) -> tuple[list[str], np.ndarray]:
    """Return the classes in alphabetical order, and the index of the class of each recording, `(recordings,)`."""
    classes, targets = np.unique([recording.label for recording in data.recordings], return_inverse=True)
    return classes.tolist(), targets


def folds(data: PartFeatures, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the indices of the training and of the test recordings of each fold; a group is never divided."""
    from sklearn.model_selection import StratifiedGroupKFold

    _, targets = class_indices(data)
    groups = [recording.group for recording in data.recordings]
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # a broken file can leave three of four
        yield from splitter.split(targets, targets, groups)


def _coordinates(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors `(excerpts, dimensions)` standardized by the statistics of the training excerpts.

    Weights that minimize an L2 penalty lie in the span of the training vectors. If these are fewer than their
    dimensions, coordinates in that span give the same probe, much faster.
    """
    mean, std = train.mean(axis=0), train.std(axis=0)
    scale = np.where(std > 1e-6 * np.maximum(np.abs(mean), 1), std, 1)  # constants are not scaled
    train, test = (train - mean) / scale, (test - mean) / scale
    return _in_span(train, test) if len(train) < train.shape[1] else (train, test)


def _in_span(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    basis, coordinates = np.linalg.qr(train.T)  # (dimensions, excerpts), (excerpts, excerpts)
    return coordinates.T, test @ basis


def _fit_and_predict(train: np.ndarray, test: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the predicted labels of the test vectors; vectors are `(excerpts, dimensions)`."""
    from sklearn.linear_model import LogisticRegression

    if len(train) < train.shape[1]:
        train, test = _in_span(train, test)
    probe = LogisticRegression(C=_REGULARIZATION, max_iter=_MOST_ITERATIONS)
    return probe.fit(train, labels).predict(test)
