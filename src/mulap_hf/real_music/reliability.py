"""Whether the percentages of a tagger can be believed: its calibration on held-out clips, and a fitted temperature."""

from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from ..errors import DataError
from ..illustration.drawing import save_picture
from ..illustration.tag_curves import Tagger
from ..metrics.calibration import calibration_error, confidences, fit_temperature, reliability_curve
from ..metrics.scores import COVERAGE
from ..transfer.features import FeatureCache
from ..transfer.probe import Probe
from ..transfer.protocol import align, predict
from ..transfer.tasks import VALIDATION, TaskData

_TEST = "test"
_SURE = 0.5  # what a user reads as a yes


def measure_reliability(
    tagger: Tagger, data: TaskData, cache: FeatureCache, resamples: int, seed: int
) -> dict[str, Any]:
    """Measure the calibration of a tagger on the test split, as it is and with a temperature.

    Args:
        tagger: The classifier.
        data: A task with its labels; the temperature is fitted on the validation split.
        cache: Cache of the features.
        resamples: Bootstrap resamples of the test clips.
        seed: Seed of the bootstrap.

    Returns:
        `temperature`; `clips`, the number of test clips; `frequencies`, by tag the fraction of them that get it with
        at least 50 %; and for `as it is` and `with temperature`: `error` (the
        expected calibration error with its 95 % interval), `curve`, and `sure`: mean `probability` and `frequency` of
        everything with at least 50 %, and how many these are.

    Raises:
        DataError: The tagger has other labels than the task.
    """
    if list(data.task.classes) != tagger.labels:
        raise DataError(
            f"--tagger has the labels {', '.join(tagger.labels[:3])}, ..., the task {data.task.name} "
            f"{', '.join(data.task.classes[:3])}, ...; pass the --tagger_task that it was trained on"
        )
    kind = data.task.kind
    scored = {split: _scores(tagger, data, cache, split) for split in (VALIDATION, _TEST)}
    temperature = fit_temperature(kind, *scored[VALIDATION])
    truth, logits = scored[_TEST]
    rows = np.random.default_rng(seed).integers(len(truth), size=(resamples, len(truth)))
    found: dict[str, Any] = {
        "temperature": round(temperature, 3),
        "clips": len(truth),
        "frequencies": tag_frequencies(tagger, logits),
    }
    for name, divisor in (("as it is", 1.0), ("with temperature", temperature)):
        probabilities, correct = confidences(kind, truth, logits, divisor)
        errors = [calibration_error(probabilities[drawn], correct[drawn]) for drawn in rows]
        low, high = np.percentile(errors, COVERAGE)
        error = {"value": calibration_error(probabilities, correct), "low": float(low), "high": float(high)}
        sure = probabilities >= _SURE
        found[name] = {
            "error": {key: round(value, 4) for key, value in error.items()},
            "curve": reliability_curve(probabilities, correct),
            "sure": {
                "count": int(sure.sum()),
                "probability": float(probabilities[sure].mean()) if sure.any() else None,
                "frequency": float(correct[sure].mean()) if sure.any() else None,
            },
        }
    return found


def tag_probabilities(tagger: Tagger, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the probabilities of all labels: `(tracks, labels)` -> `(tracks, labels)`."""
    one = scipy.special.expit if tagger.kind == "multi_label" else partial(scipy.special.softmax, axis=1)
    return one(logits.astype(np.float64) / temperature)


def tag_frequencies(tagger: Tagger, logits: np.ndarray) -> dict[str, float]:
    """Return by label the fraction of tracks that get it with at least 50 %."""
    fractions = (tag_probabilities(tagger, logits) >= _SURE).mean(axis=0)
    return {label: round(float(fraction), 3) for label, fraction in zip(tagger.labels, fractions, strict=True)}


def _scores(tagger: Tagger, data: TaskData, cache: FeatureCache, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the targets and the logits of a split."""
    return align(data.targets(split), predict(probe_of(tagger), tagger.embedder, data, cache, split))


def probe_of(tagger: Tagger) -> Probe:
    """Return the head of a tagger for cached features, which are on the CPU."""
    return Probe(deepcopy(tagger.head).cpu())


def draw_reliability(found: Mapping[str, Any], path: Path) -> str:
    """Draw the calibration curves, and below them how many predictions each point stands for."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 6), layout="constrained")
    curves, counts = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    curves.plot((0, 1), (0, 1), color="0.6", linestyle=":", label="perfect")
    for index, name in enumerate(("as it is", "with temperature")):
        points = found[name]["curve"]
        x = [point["probability"] for point in points]
        label = f"{name}, error {found[name]['error']['value']:.3f}"
        curves.plot(x, [point["frequency"] for point in points], marker="o", color=f"C{index}", label=label)
        counts.plot(x, [point["count"] for point in points], marker="o", color=f"C{index}")
    curves.set(ylabel="fraction that is true", xlim=(0, 1), ylim=(0, 1))
    curves.legend(fontsize="small")
    counts.set(yscale="log", ylabel="predictions", xlabel="probability that the tagger gives")
    for axes in (curves, counts):
        axes.grid(alpha=0.3)
    save_picture(figure, path)
    return path.name
