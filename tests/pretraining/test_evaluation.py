"""Measures against scikit-learn and against what is known in closed form."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from mulap_hf.pretraining.evaluation import (
    collapse_warning,
    effective_rank,
    feature_statistics,
    known_scores,
    retrieval_scores,
    variance_explained,
)


def test_only_known_scores_are_told():
    truth, scores = np.array([[1, 0], [0, 0]]), np.array([[2.0, 1.0], [1.0, 0.0]])
    assert known_scores("multi_label", truth, scores).keys() == {"roc_auc", "pr_auc", "roc_auc_micro", "pr_auc_micro"}
    assert known_scores("multi_label", truth[:, 1:], scores[:, 1:]) == {}
    assert known_scores("multi_label", truth, np.where(truth, np.nan, scores)) == {}


def test_variance_explained_is_scikit_learns():
    rng = np.random.default_rng(1)
    target = rng.normal(size=(50, 6)) * np.arange(1, 7)
    prediction = 0.7 * target + rng.normal(size=target.shape)
    expected = r2_score(target, prediction, multioutput="variance_weighted")
    assert variance_explained(target, prediction) == pytest.approx(expected)
    assert variance_explained(target, np.broadcast_to(target.mean(axis=0), target.shape)) == pytest.approx(0)
    assert variance_explained(np.ones((4, 2)), np.zeros((4, 2))) is None


def test_effective_rank_counts_directions():
    rng = np.random.default_rng(2)
    directions = np.linalg.qr(rng.normal(size=(1000, 8)) - 0)[0]
    directions -= directions.mean(axis=0)
    line = np.outer(rng.normal(size=40), rng.normal(size=16))
    assert effective_rank(line) == pytest.approx(1)
    assert effective_rank(directions) == pytest.approx(8, rel=0.01)
    assert effective_rank(directions * 10.0 ** np.arange(8)) == pytest.approx(8, rel=0.01)  # whatever their scale
    assert effective_rank(np.ones((5, 3))) == 0


def test_collapse_is_told():
    rng = np.random.default_rng(3)
    healthy = rng.normal(size=(60, 20)).astype(np.float32)
    assert collapse_warning(feature_statistics(healthy)) is None
    line = np.outer(healthy[:, 0], healthy[0])
    assert collapse_warning(feature_statistics(line)) == "the embeddings have collapsed to 1.0 effective dimensions"
    assert "hardly differ between clips" in collapse_warning(feature_statistics(healthy * 1e-4))
    assert collapse_warning({}) is None


def test_retrieval_by_text():
    """Three texts find a clip of theirs first, the second finds its own third; two clips have the same caption."""
    similarity = np.array([[0.9, 0.8, 0.1, 0.1], [0.1, 0.2, 0.2, 0.2], [0.2, 0.1, 0.5, 0.4], [0.3, 0.5, 0.7, 0.6]])
    scores = retrieval_scores(similarity, np.array([1, 2, 3, 3]))
    assert scores["retrieval_r1"] == 0.75
    assert scores["retrieval_r5"] == scores["retrieval_r10"] == 1
    assert scores["retrieval_median_rank"] == 1
    assert retrieval_scores(np.zeros((4, 4)), np.arange(4))["retrieval_r1"] == 0.25  # chance, whatever the order
    assert retrieval_scores(np.full((4, 4), np.nan), np.arange(4)) == {}
