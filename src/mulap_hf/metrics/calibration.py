"""Calibration of classifiers: whether what gets 70 % is true in 70 % of the cases."""

import numpy as np
import scipy  # its parts load when they are used

KINDS = ("multi_label", "single_label")
_TEMPERATURES = (0.05, 20.0)


def confidences(
    kind: str, truth: np.ndarray, logits: np.ndarray, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a user reads and whether it is true.

    Args:
        kind: "multi_label" (the sigmoid of every logit counts) or "single_label" (the largest softmax counts).
        truth: Zeros and ones `(tracks, tags)`, or class indices `(tracks,)`.
        logits: `(tracks, outputs)`.
        temperature: The logits are divided by it.

    Returns:
        Probabilities and 0/1, `(tracks, tags)` each; `(tracks, 1)` for single_label.

    Raises:
        ValueError: The kind has no probabilities.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    if kind == "multi_label":
        return scipy.special.expit(scaled), np.asarray(truth, dtype=float)
    if kind == "single_label":
        best = scaled.argmax(axis=1)
        probabilities = np.exp(scaled.max(axis=1) - scipy.special.logsumexp(scaled, axis=1))
        return probabilities[:, None], (best == truth).astype(float)[:, None]
    raise ValueError(f"kind={kind!r} has no probabilities; choose one of {', '.join(KINDS)}")


def reliability_curve(probabilities: np.ndarray, correct: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """Return for each of equally wide bins that is not empty the `probability` and `frequency` (means) and `count`.

    Args:
        probabilities, correct: See `confidences`; any shape.
        bins: Number of bins from 0 to 1.
    """
    flat, hits = probabilities.ravel(), correct.ravel()
    place = np.minimum((flat * bins).astype(int), bins - 1)
    return [
        {
            "probability": float(flat[place == one].mean()),
            "frequency": float(hits[place == one].mean()),
            "count": int((place == one).sum()),
        }
        for one in np.unique(place)
    ]


def calibration_error(probabilities: np.ndarray, correct: np.ndarray, bins: int = 10) -> float:
    """Return the expected calibration error: the mean distance of probability and frequency over the bins, weighted by
    their counts (Naeini et al., AAAI 2015).

    Args:
        probabilities, correct, bins: See `reliability_curve`.
    """
    curve = reliability_curve(probabilities, correct, bins)
    return float(sum(one["count"] * abs(one["probability"] - one["frequency"]) for one in curve) / probabilities.size)


def fit_temperature(kind: str, truth: np.ndarray, logits: np.ndarray) -> float:
    """Return the temperature, from 0.05 to 20, with the lowest cross-entropy (Guo et al., ICML 2017).

    Args:
        kind, truth, logits: See `confidences`; of tracks that neither trained the classifier nor are reported.
    """
    logits = np.asarray(logits, dtype=np.float64)

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        if kind == "multi_label":
            return float((np.logaddexp(0, scaled) - truth * scaled).mean())
        own = np.take_along_axis(scaled, np.asarray(truth)[:, None], axis=1)[:, 0]
        return float((scipy.special.logsumexp(scaled, axis=1) - own).mean())

    bounds = np.log(_TEMPERATURES)
    return float(np.exp(scipy.optimize.minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))
