"""Metrics compared with scikit-learn; intervals compared with explicit resampling and with closed forms."""

import json

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, r2_score, roc_auc_score

from mulap_hf.metrics.scores import intervals, paired_difference, report, score, score_outputs, undefined_tags


def tagged(tracks: int, tags: int, decimals: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and scores of tags from frequent to rare; rounding to few decimals creates ties."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((tracks, tags)) < np.linspace(0.6, 0.02, tags)).astype(np.float32)
    return truth, np.round(rng.normal(size=truth.shape) + truth, decimals)


def classified(tracks: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and scores of classes, of which one is predicted but never true, and one never occurs."""
    rng = np.random.default_rng(1)
    truth = rng.integers(classes - 2, size=tracks)
    scores = rng.normal(size=(tracks, classes))
    scores[np.arange(tracks), truth] += 1.5
    scores[:, -1] = -np.inf
    return truth, scores


def measured(tracks: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and predictions of a regression task."""
    rng = np.random.default_rng(2)
    truth = 3 + rng.normal(size=(tracks, dimensions))
    return truth, 0.6 * truth + rng.normal(size=truth.shape)


def sklearn_tagging(truth, scores):
    defined = (truth.min(axis=0) == 0) & (truth.max(axis=0) == 1)
    of_defined = truth[:, defined], scores[:, defined]
    return {
        "roc_auc": roc_auc_score(*of_defined),
        "pr_auc": average_precision_score(*of_defined),
        "roc_auc_micro": roc_auc_score(truth.ravel(), scores.ravel()),
        "pr_auc_micro": average_precision_score(truth.ravel(), scores.ravel()),
    }


def sklearn_classification(truth, scores):
    predicted = scores.argmax(axis=1)
    return {"accuracy": accuracy_score(truth, predicted), "macro_f1": f1_score(truth, predicted, average="macro")}


def sklearn_regression(truth, scores):
    return {"r2": r2_score(truth, scores), "pearson": pearsonr(truth, scores).statistic.mean()}


REFERENCES = {
    "multi_label": sklearn_tagging,
    "single_label": sklearn_classification,
    "regression": sklearn_regression,
}
CASES = {
    "tags": ("multi_label", *tagged(200, 6, decimals=6)),
    "tied tags": ("multi_label", *tagged(200, 6, decimals=0)),
    "rare tags": ("multi_label", *tagged(30, 6, decimals=1)),  # the rarest is missing in many resamples
    "one tag": ("multi_label", *tagged(50, 1, decimals=1, seed=3)),
    "classes": ("single_label", *classified(80, 7)),
    "several blocks": ("single_label", *classified(3000, 100)),
    "dimensions": ("regression", *measured(60, 3)),
}
cases = pytest.mark.parametrize(("kind", "truth", "scores"), CASES.values(), ids=CASES)


@cases
def test_metrics_equal_those_of_scikit_learn(kind, truth, scores):
    expected = REFERENCES[kind](truth, scores)
    assert score(kind, truth, scores) == pytest.approx(expected, abs=1e-12)
    assert list(score(kind, truth, scores)) == list(expected)


@cases
def test_intervals_equal_those_of_explicit_resampling(kind, truth, scores):
    draws = np.random.default_rng([7, 0]).integers(len(truth), size=(40, len(truth)))
    resampled = [REFERENCES[kind](truth[rows], scores[rows]) for rows in draws]
    found = intervals(kind, truth, scores, resamples=40, seed=7)
    for name, interval in found.items():
        values = [of_resample[name] for of_resample in resampled]
        expected = np.percentile(values, [2.5, 97.5]) - np.mean(values) + score(kind, truth, scores)[name]
        assert interval == pytest.approx(tuple(expected), abs=1e-12)


def test_metrics_per_output():
    kind, truth, scores = CASES["tied tags"]
    by_tag = score_outputs(kind, truth, scores, list("abcdef"))
    assert [one["roc_auc"] for one in by_tag.values()] == pytest.approx(roc_auc_score(truth, scores, average=None))
    expected = average_precision_score(truth, scores, average=None)
    assert [one["pr_auc"] for one in by_tag.values()] == pytest.approx(expected)
    kind, truth, scores = CASES["classes"]
    by_class = score_outputs(kind, truth, scores, list("abcdefg"))
    expected = f1_score(truth, scores.argmax(axis=1), average=None)
    assert [by_class[name]["f1"] for name in "abcdef"] == pytest.approx(expected)
    assert np.isnan(by_class["g"]["f1"])
    kind, truth, scores = CASES["dimensions"]
    by_dimension = score_outputs(kind, truth, scores, ["valence", "arousal", "tempo"])
    expected = r2_score(truth, scores, multioutput="raw_values")
    assert [by_dimension[name]["r2"] for name in ("valence", "arousal", "tempo")] == pytest.approx(expected)
    expected = pearsonr(truth, scores).statistic
    assert [by_dimension[name]["pearson"] for name in ("valence", "arousal", "tempo")] == pytest.approx(expected)
    with pytest.raises(ValueError, match="names has 2 distinct names for 3 outputs"):
        score_outputs(kind, truth, scores, ["valence", "arousal", "valence"])


def test_undefined_tags_are_excluded_and_listed():
    truth, scores = tagged(100, 5, decimals=1)
    truth[:, 1], truth[:, 3] = 0, 1
    rest = [0, 2, 4]
    found = report("multi_label", truth, scores, list("abcde"), resamples=50)
    expected = report("multi_label", truth[:, rest], scores[:, rest], list("ace"), resamples=50)
    for name in ("roc_auc", "pr_auc"):
        assert found[name] == expected[name]
        assert found["intervals"][name] == expected["intervals"][name]
    assert found["without_positives"] == ["b"]
    assert found["without_negatives"] == ["d"]
    assert list(found["per_output"]["b"].values()) == [None, None]
    json.dumps(found, allow_nan=False)
    assert [tags.tolist() for tags in undefined_tags(truth)] == [[1], [3]]
    nothing = score("multi_label", truth[:, 1:2], scores[:, 1:2])
    assert np.isnan(list(nothing.values())).all()
    assert np.isnan(intervals("multi_label", truth[:, 1:2], scores[:, 1:2], resamples=3)["roc_auc"]).all()


def test_constant_truth_has_no_r2():
    truth, scores = measured(40, 2)
    truth[:, 0] = 0.1  # its mean differs from 0.1 by rounding
    found = report("regression", truth, scores, resamples=20)
    assert found["constant"] == ["0"]
    assert found["r2"] == found["per_output"]["1"]["r2"] == pytest.approx(r2_score(truth[:, 1], scores[:, 1]))
    expected = report("regression", truth[:, 1:], scores[:, 1:], resamples=20)["intervals"]
    assert found["intervals"]["r2"] == pytest.approx(expected["r2"])
    assert np.isnan(list(score("regression", truth[:, :1], scores[:, :1]).values())).all()


def test_constant_predictions_have_no_correlation():
    truth, scores = measured(40, 2)
    scores[:, 0] = 0.1
    correlations = score_outputs("regression", truth, scores, ["constant", "other"])
    assert correlations["constant"]["pearson"] == 0 < abs(correlations["other"]["pearson"])


def two_classes(correct: np.ndarray) -> np.ndarray:
    """Return scores of two classes, of which the first one is true: it wins where `correct` is True."""
    return np.stack([correct, ~correct], axis=1).astype(float)


def test_the_interval_of_an_accuracy_is_binomial():
    correct = np.arange(2000) < 1600
    low, high = intervals("single_label", np.zeros(2000, int), two_classes(correct), resamples=4000)["accuracy"]
    half = 1.96 * np.sqrt(0.8 * 0.2 / 2000)
    assert 0.8 - low == pytest.approx(half, rel=0.06)
    assert high - 0.8 == pytest.approx(half, rel=0.06)


def test_the_interval_of_a_difference_depends_on_discordant_pairs():
    """A is correct and B wrong on 100 tracks, the reverse on 60. The variance depends on these tracks only."""
    tracks = np.arange(2000)
    a, b = (tracks < 1000) & (tracks >= 60), tracks < 900
    systems = two_classes(a), two_classes(b)
    truth = np.zeros(2000, int)
    difference, low, high = paired_difference("single_label", truth, *systems, resamples=4000)["accuracy"]
    assert difference == pytest.approx(0.02)
    half = 1.96 * np.sqrt(160 - 40**2 / 2000) / 2000
    assert difference - low == pytest.approx(half, rel=0.06)
    assert high - difference == pytest.approx(half, rel=0.06)


@cases
def test_a_system_does_not_differ_from_itself(kind, truth, scores):
    for system in (scores, [scores, scores[::-1]]):
        found = paired_difference(kind, truth, system, system, resamples=30)
        assert found.keys() == score(kind, truth, scores).keys()
        assert set(found.values()) == {(0, 0, 0)}


def test_resamples_depend_only_on_the_seed():
    case = CASES["tags"]
    assert intervals(*case, resamples=20) == intervals(*case, resamples=20, seed=0)
    assert intervals(*case, resamples=20) != intervals(*case, resamples=20, seed=1)
    # All systems are resampled on the same tracks: the ROC-AUC of a constant system is 0.5 on each resample.
    kind, truth, scores = case
    constant = np.zeros_like(scores)
    difference = paired_difference(kind, truth, scores, constant, resamples=20)["roc_auc"]
    low, high = intervals(*case, resamples=20)["roc_auc"]
    assert difference[1:] == pytest.approx((low - 0.5, high - 0.5))


def test_intervals_of_average_precision_are_corrected_for_bias():
    """Repeated tracks increase average precision, so that uncorrected percentiles lie above the value."""
    rng = np.random.default_rng(0)
    truth = (rng.random((80, 60)) < 0.06).astype(float)
    scores = truth + rng.normal(size=truth.shape)
    value = score("multi_label", truth, scores)["pr_auc"]
    rows = rng.integers(len(truth), size=(50, len(truth)))
    resampled = [sklearn_tagging(truth[draw], scores[draw])["pr_auc"] for draw in rows]
    assert np.percentile(resampled, 2.5) > value
    low, high = intervals("multi_label", truth, scores)["pr_auc"]
    assert low < value < high and high - low == pytest.approx(np.ptp(np.percentile(resampled, [2.5, 97.5])), rel=0.3)


def test_training_seeds_are_resampled():
    truth = np.zeros(100, int)
    good, bad = two_classes(np.ones(100, bool)), two_classes(np.zeros(100, bool))
    assert score("single_label", truth, [good, bad])["accuracy"] == 0.5
    assert score_outputs("single_label", truth, [good, bad], "ab")["a"]["f1"] == 0.5
    assert intervals("single_label", truth, [good, bad])["accuracy"] == pytest.approx((0, 1), abs=0.06)
    assert intervals("single_label", truth, good)["accuracy"] == (1, 1)
    # Seeds are paired by position; a single array is compared with each seed.
    assert paired_difference("single_label", truth, [good, bad], [bad, good])["accuracy"] == pytest.approx(
        (0, -1, 1), abs=0.1
    )
    assert paired_difference("single_label", truth, [good, bad], bad)["accuracy"] == pytest.approx(
        (0.5, 0, 1), abs=0.06
    )
    with pytest.raises(ValueError, match="scores_a has 2 training seeds and scores_b has 3"):
        paired_difference("single_label", truth, [good] * 2, [good] * 3)


def test_identical_seeds_do_not_change_the_intervals():
    kind, truth, scores = CASES["rare tags"]
    alone, thrice = intervals(kind, truth, scores, 50), intervals(kind, truth, [scores] * 3, 50)
    for name, interval in alone.items():
        assert thrice[name] == pytest.approx(interval)


def test_report_without_resamples():
    kind, truth, scores = CASES["classes"]
    found = report(kind, truth, scores, resamples=0)
    assert found.keys() == {"accuracy", "macro_f1", "per_output"}
    assert list(found["per_output"]) == list("0123456")


TAGS = np.array([[0, 1], [1, 0]])
BROKEN = np.where(TAGS, 0.5, np.nan)


@pytest.mark.parametrize(
    ("kind", "truth", "scores", "message"),
    [
        ("tagging", TAGS, TAGS, "unknown kind 'tagging'; choose one of multi_label, single_label, regression"),
        ("multi_label", TAGS, TAGS[:, :1], r"got \(2, 2\) and \(2, 1\)"),
        ("multi_label", TAGS[:0], TAGS[:0], "at least one"),
        ("multi_label", TAGS[0], TAGS[0], r"got \(2,\) and \(2,\)"),
        ("multi_label", TAGS, TAGS.tolist(), r"got \(2, 2\) and \(2,\)"),  # a list has one array per seed
        ("multi_label", TAGS, [], "empty list"),
        ("multi_label", TAGS * 2, TAGS, "0 or 1 for each tag, got 2"),
        ("multi_label", TAGS, BROKEN, "2 of the 4 scores, in 2 tracks, are not finite"),
        ("multi_label", TAGS, [TAGS, BROKEN], "2 of the 4 scores"),
        ("single_label", TAGS, TAGS, r"truth must have the shape \(tracks,\)"),
        ("single_label", np.array([0, 2]), TAGS, "indices of the 2 classes, 0 to 1, got 2"),
        ("single_label", np.array([0, -1]), TAGS, "got -1"),
        ("single_label", np.array([0, 0.5]), TAGS, r"got 0\.5"),
        ("regression", TAGS, np.where(TAGS, np.inf, 0), "2 of the 4 scores"),
        ("regression", BROKEN, TAGS, "2 values of truth are not finite"),
    ],
)
def test_errors_name_the_invalid_input(kind, truth, scores, message):
    with pytest.raises(ValueError, match=message):
        score(kind, truth, scores)


def test_intervals_require_a_resample():
    with pytest.raises(ValueError, match="resamples must be at least 1 for an interval, got 0"):
        intervals(*CASES["tags"], resamples=0)
