"""The metrics as modules of `evaluate`, imported as classes or loaded by path, without network access."""

import doctest
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import run_fresh

import mulap_hf
from mulap_hf.metrics import classification, regression, tagging
from mulap_hf.metrics.classification import Classification
from mulap_hf.metrics.regression import Regression
from mulap_hf.metrics.scores import report
from mulap_hf.metrics.tagging import Tagging

FOLDER = Path(mulap_hf.__file__).parent / "metrics"
RNG = np.random.default_rng(0)
CASES = {
    "tagging": (Tagging, "multi_label", RNG.random((40, 3)) < 0.4, RNG.normal(size=(40, 3))),
    "classification": (Classification, "single_label", RNG.integers(3, size=40), RNG.normal(size=(40, 3))),
    "regression": (Regression, "regression", RNG.normal(size=(40, 3)), RNG.normal(size=(40, 3))),
}
cases = pytest.mark.parametrize(("metric", "kind", "truth", "scores"), CASES.values(), ids=CASES)


@cases
def test_compute_returns_the_report(metric, kind, truth, scores):
    names = ["a", "b", "c"]
    found = metric().compute(predictions=scores, references=truth, names=names, resamples=30, seed=4)
    assert found == report(kind, truth, scores, names, resamples=30, seed=4)
    assert json.loads(json.dumps(found)) == found


@cases
def test_batches_of_tensors_can_be_added(metric, kind, truth, scores):
    scores = torch.tensor(scores, dtype=torch.float32)
    batches = metric()
    for rows in (slice(25), slice(25, 40)):
        batches.add_batch(predictions=scores[rows], references=torch.tensor(truth[rows]))
    assert batches.compute(resamples=0) == report(kind, truth, scores.numpy(), resamples=0)


@pytest.mark.parametrize("module", [tagging, classification, regression])
def test_examples_of_the_docstrings(module):
    assert doctest.testmod(module) == (0, 3)


def test_errors_name_the_invalid_input():
    truth, scores = np.zeros((4, 2)), np.ones((4, 2))
    with pytest.raises(ValueError, match="8 of the 8 scores, in 4 tracks, are not finite"):
        Tagging().compute(predictions=scores * np.nan, references=truth)
    with pytest.raises(ValueError, match=r"0 or 1 for each tag, got 0\.5"):
        Tagging().compute(predictions=scores, references=truth + 0.5)
    with pytest.raises(ValueError, match="predictions has rows of 1 to 2 values"):
        Regression().compute(predictions=[[0, 1], [0, 1], [0, 1], [0]], references=truth)
    with pytest.raises(ValueError, match=r"indices of the 2 classes, 0 to 1, got 0\.5"):
        Classification().compute(predictions=scores, references=[0, 1, 0, 0.5])


PROGRAM = """
import json, os, sys
os.environ["HF_HOME"] = sys.argv[1]
import mulap_hf.metrics.scores
early = sorted({"evaluate", "datasets", "sklearn"}.intersection(sys.modules))
import evaluate
metrics = {path: evaluate.load(path) for path in sys.argv[2:]}
scores = [
    metric.compute(predictions=[[0.9, 0.1], [0.2, 0.8]], references=references, resamples=0)
    for metric, references in zip(metrics.values(), ([[1, 0], [0, 1]], [0, 1], [[0.9, 0.1], [0.2, 0.8]]), strict=True)
]
print(json.dumps([early, [metric.name for metric in metrics.values()], scores]))
"""


def test_loads_by_path_offline(tmp_path):
    """In a new process with an empty cache. Importing `metrics.scores` alone imports no heavy library."""
    paths = [str(FOLDER / f"{name}.py") for name in CASES]
    done = run_fresh("-c", PROGRAM, tmp_path, *paths)
    assert done.returncode == 0, done.stderr
    early, names, (tags, classes, numbers) = json.loads(done.stdout)
    assert early == []
    assert names == ["tagging", "classification", "regression"]
    assert tags["roc_auc"] == tags["pr_auc_micro"] == classes["macro_f1"] == numbers["r2"] == 1
