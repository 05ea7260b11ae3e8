"""The benchmark of lower precision: its accuracy measures, and its report."""

import json

import numpy as np
import pytest
from helpers import micro_config, settle

from mulap_hf import MulapAudioModel, MulapForAudioClassification
from mulap_hf.benchmark.precision import EXACT, measure_accuracy, run
from mulap_hf.synthetic.tags import TAGS


def replay(**outputs: list[list[float]]):
    """Return an implementation that returns the given outputs, one row per call."""
    rows = iter(zip(*outputs.values(), strict=True))
    return lambda waveforms: {
        name: np.array([row], dtype=float) for name, row in zip(outputs, next(rows), strict=True)
    }


def make_tagger(labels: tuple[str, ...] = TAGS) -> MulapForAudioClassification:
    config = micro_config(id2label=dict(enumerate(labels)), problem_type="multi_label_classification")
    return settle(MulapForAudioClassification(config))


CLIPS = [{"audio": np.zeros(10, np.float32), "tags": tags} for tags in (["calm"], ["piano"], ["calm", "piano"], [])]
EXACT_EMBEDDINGS = [[4.0, 0.0], [4.0, 2.0], [0.0, 4.0], [0.0, 6.0]]


def test_errors_of_embeddings():
    backbone = MulapAudioModel(micro_config().audio_config)
    # The last clip moves from the third clip to the first two.
    others = [*EXACT_EMBEDDINGS[:3], [6.0, 0.0]]
    implementations = {EXACT: replay(pooler_output=EXACT_EMBEDDINGS), "other": replay(pooler_output=others)}
    rows = measure_accuracy(backbone, implementations, CLIPS)
    assert rows[EXACT] == pytest.approx(
        {"relative_error": 0, "centered_error": 0, "lowest_cosine": 1, "same_neighbor": 1}, abs=1e-12
    )
    norm, centered_norm = np.sqrt(16 + 20 + 16 + 36), np.sqrt(2 * 4 + 2 * 4 + 9 + 1 + 1 + 9)
    # The nearest neighbors change from 2, 1, 4, 3 to 4, 1, 2, 1.
    assert rows["other"] == pytest.approx(
        {
            "relative_error": np.sqrt(72) / norm,
            "centered_error": np.sqrt(72) / centered_norm,
            "lowest_cosine": 0,
            "same_neighbor": 0.25,
        },
        abs=1e-12,
    )


def test_scores_of_a_tagger():
    perfect = [[1, 0], [0, 1], [1, 1], [0, 0]]
    half = [[1, 0], [0, 0], [1, 1], [0, 1]]  # for "piano", one of four pairs is in the wrong order, two are ties
    implementations = {
        EXACT: replay(pooler_output=EXACT_EMBEDDINGS, logits=perfect),
        "other": replay(pooler_output=EXACT_EMBEDDINGS, logits=half),
    }
    rows = measure_accuracy(make_tagger(("calm", "piano")), implementations, CLIPS)
    assert rows[EXACT]["roc_auc"] == 1
    assert rows["other"]["roc_auc"] == pytest.approx((1 + 0.5) / 2)
    assert rows["other"]["difference"] == pytest.approx(-0.25)
    assert rows["other"]["low"] <= -0.25 <= rows["other"]["high"]


def test_taggers_with_other_labels_are_refused():
    implementations = {EXACT: replay(pooler_output=EXACT_EMBEDDINGS, logits=[[0, 0]] * 4)}
    with pytest.raises(ValueError, match=r"labels of the tagger \(cat, dog, ...\) are neither tags nor styles"):
        measure_accuracy(make_tagger(("cat", "dog")), implementations, CLIPS)


def test_report(tmp_path):
    make_tagger().save_pretrained(tmp_path / "tagger")
    text = run(tmp_path, 2, ["tiny"], tmp_path / "tagger", chunks=2, clips=6, calibration_clips=6)
    for name in ("tiny", "tagger"):
        assert (tmp_path / f"precision-{name}.md").read_text() in text
        report = json.loads((tmp_path / f"precision-{name}.json").read_text())
        names = [variant["name"] for variant in report["variants"]][:-1]
        assert names == list(report["accuracy"])
        assert names == [
            EXACT,
            "torch, bfloat16",
            "ONNX Runtime, float32",
            "ONNX Runtime, int8, dynamic",
            "ONNX Runtime, int8, static",
        ]
        errors = [row["relative_error"] for row in report["accuracy"].values()]
        assert errors[0] == 0
        assert errors[2] < 1e-5
        assert all(1e-4 < errors[index] < 0.1 for index in (1, 3, 4))
        assert all(f"| {name} |" in text for name in names)
    assert "roc_auc" in report["accuracy"][EXACT]
    assert "| roc_auc | difference (95 % interval) |" in text
