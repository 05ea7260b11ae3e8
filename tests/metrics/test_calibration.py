"""Calibration: the error of probabilities, and the temperature that corrects them."""

import numpy as np
import pytest

from mulap_hf.metrics.calibration import calibration_error, confidences, fit_temperature, reliability_curve


def draw(kind: str, factor: float, tracks: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Labels that are true with the probabilities of some logits, and these logits times a factor."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (tracks, 4))
    if kind == "multi_label":
        return (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float), factor * logits
    gumbel = -np.log(-np.log(rng.random(logits.shape)))
    return (logits + gumbel).argmax(axis=1), factor * logits


@pytest.mark.parametrize("kind", ["multi_label", "single_label"])
@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_temperature_corrects_logits_that_were_scaled(kind, factor):
    truth, logits = draw(kind, factor)
    temperature = fit_temperature(kind, truth, logits)
    assert temperature == pytest.approx(factor, rel=0.08)
    before, after = (calibration_error(*confidences(kind, truth, logits, one)) for one in (1.0, temperature))
    assert after < 0.03 < before


def test_curve_and_error_of_known_probabilities():
    probabilities, correct = np.array([[0.05, 0.95], [0.05, 0.95]]), np.array([[0.0, 1.0], [0.0, 0.0]])
    assert reliability_curve(probabilities, correct) == [
        {"probability": pytest.approx(0.05), "frequency": 0.0, "count": 2},
        {"probability": pytest.approx(0.95), "frequency": 0.5, "count": 2},
    ]
    assert calibration_error(probabilities, correct) == pytest.approx((0.05 + 0.45) / 2)


def test_probability_of_the_best_class_counts():
    probabilities, correct = confidences("single_label", np.array([1, 0]), np.log([[0.2, 0.8], [0.3, 0.7]]))
    np.testing.assert_allclose(probabilities, [[0.8], [0.7]])
    assert correct.tolist() == [[1.0], [0.0]]
    with pytest.raises(ValueError, match="kind='regression' has no probabilities; choose one of multi_label, single"):
        confidences("regression", np.zeros((2, 1)), np.zeros((2, 1)))
