"""Points in many dimensions on a plane: principal components and, from them, t-SNE; both the same every time."""

import numpy as np

_EXAGGERATION, _EXAGGERATED_STEPS = 12.0, 250
_TINY = 1e-12


def principal_components(points: np.ndarray, number: int) -> np.ndarray:
    """`(points, dimensions)` -> `(points, number)`, each turned so that its largest weight is positive."""
    centred = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:number]
    signs = np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))
    return centred @ (axes * signs).T


def squared_distances(points: np.ndarray) -> np.ndarray:
    """`(points, dimensions)` -> `(points, points)`, Euclidean."""
    lengths = np.square(points).sum(axis=1)
    return np.maximum(lengths[:, None] + lengths - 2 * points @ points.T, 0)


def tsne(points: np.ndarray, perplexity: float = 30.0, steps: int = 750) -> np.ndarray:
    """t-SNE (van der Maaten & Hinton, JMLR 2008), exact, from the first two principal components.

    Args:
        points: `(points, dimensions)`; time and memory grow with the square of their number.
        perplexity: of each point's neighbours; at most a third of the points.
        steps: of gradient descent.

    Returns:
        `(points, 2)`.
    """
    number = len(points)
    wanted = _joint_probabilities(squared_distances(points), min(perplexity, (number - 1) / 3))
    places = principal_components(points, 2)
    places *= 1e-4 / max(places[:, 0].std(), _TINY)
    velocity, gains = np.zeros_like(places), np.ones_like(places)
    rate = max(number / _EXAGGERATION / 4, 50.0)  # Belkina et al., Nature Communications 2019
    for step in range(steps):
        early = step < _EXAGGERATED_STEPS
        near = 1 / (1 + squared_distances(places))
        np.fill_diagonal(near, 0)
        pull = ((_EXAGGERATION if early else 1) * wanted - near / near.sum()) * near  # (points, points)
        gradient = 4 * (pull.sum(axis=1, keepdims=True) * places - pull @ places)
        gains = np.maximum(np.where(gradient * velocity < 0, gains + 0.2, gains * 0.8), 0.01)
        velocity = (0.5 if early else 0.8) * velocity - rate * gains * gradient
        places = places + velocity
    return places - places.mean(axis=0)


def _joint_probabilities(distances: np.ndarray, perplexity: float) -> np.ndarray:
    """How much each pair are neighbours: Gaussians as wide as the perplexity asks, by bisection; sums to 1."""
    number = len(distances)
    low, high = np.zeros((number, 1)), np.full((number, 1), np.inf)
    precision = np.ones((number, 1)) / max(distances.mean(), _TINY)
    others = ~np.eye(number, dtype=bool)
    nearest = np.where(others, distances, np.inf).min(axis=1, keepdims=True)  # keeps the exponentials off 0
    for _ in range(64):
        weights = np.exp(-(distances - nearest) * precision) * others
        chances = weights / weights.sum(axis=1, keepdims=True)
        entropy = -(chances * np.log(np.maximum(chances, _TINY))).sum(axis=1, keepdims=True)
        too_wide = entropy > np.log(perplexity)
        low, high = np.where(too_wide, precision, low), np.where(too_wide, high, precision)
        precision = np.where(np.isinf(high), 2 * precision, (low + high) / 2)
    return np.maximum((chances + chances.T) / (2 * number), _TINY)
