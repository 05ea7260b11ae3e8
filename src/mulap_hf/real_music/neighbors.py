"""The geometry of features without any training: neighbors of the same class, and the same track again."""

import numpy as np

_COMPONENTS = 32
NEIGHBORS = 5


def standardize(vectors: np.ndarray) -> np.ndarray:
    """Return vectors with mean 0 and standard deviation 1 in each dimension; constants become 0.

    Args:
        vectors: `(recordings, excerpts, dimensions)`; the statistics are those of all excerpts.
    """
    mean, std = vectors.mean(axis=(0, 1)), vectors.std(axis=(0, 1))
    varies = std > 1e-6 * np.maximum(np.abs(mean), 1)
    return np.where(varies, (vectors - mean) / np.where(varies, std, 1), 0)


def whiten(vectors: np.ndarray) -> np.ndarray:
    """Return the first 32 principal components of standardized vectors, each with variance 1; no labels are used.

    Args:
        vectors: `(recordings, excerpts, dimensions)`.

    Returns:
        `(recordings, excerpts, components)`, with fewer components if there are fewer excerpts or dimensions.
    """
    from sklearn.decomposition import PCA

    flat = standardize(vectors).reshape(-1, vectors.shape[2])
    components = min(_COMPONENTS, len(flat) - 1, flat.shape[1])
    white = PCA(components, whiten=True, svd_solver="full").fit_transform(flat)
    return white.reshape(*vectors.shape[:2], -1)


def same_class_neighbors(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the fraction of the five nearest other recordings that have the same class: `(recordings,)`.

    Args:
        vectors: `(recordings, excerpts, dimensions)`; a recording is the mean of its excerpts, and near is a high
            cosine similarity.
        labels: `(recordings,)`.
    """
    similarity = _cosines(vectors.mean(axis=1), vectors.mean(axis=1))
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, : min(NEIGHBORS, len(labels) - 1)]
    return (labels[nearest] == labels[:, None]).mean(axis=1)


def same_track(vectors: np.ndarray) -> np.ndarray:
    """Return whether the second excerpt nearest to the first excerpt of a recording is its own: `(recordings,)`."""
    similarity = _cosines(vectors[:, 0], vectors[:, 1])
    return (similarity.argmax(axis=1) == np.arange(len(vectors))).astype(float)


def neighbor_chance(labels: np.ndarray) -> float:
    """Return the expected value of `same_class_neighbors` for random vectors."""
    _, counts = np.unique(labels, return_counts=True)
    return float((counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1)))


def _cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`(rows, dimensions)` each -> `(rows of left, rows of right)`."""
    left, right = (side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12) for side in (left, right))
    return left @ right.T
