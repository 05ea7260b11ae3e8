"""What lower precision costs: the numbers of the report, and the report."""

import json

import numpy as np
import pytest
from helpers import micro_config, settle

from mulap_hf import MulapAudioModel, MulapForAudioClassification
from mulap_hf.benchmark.precision import EXACT, measure_accuracy, run
from mulap_hf.synthetic.tags import TAGS


def replay(**outputs: list[list[float]]):
    """Says of one clip after the other what is given."""
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
    # The last clip moves to the first two: it was the third's neighbor, and the third's is now the second.
    others = [*EXACT_EMBEDDINGS[:3], [6.0, 0.0]]
    hearings = {EXACT: replay(pooler_output=EXACT_EMBEDDINGS), "other": replay(pooler_output=others)}
    rows = measure_accuracy(backbone, hearings, CLIPS)
    assert rows[EXACT] == pytest.approx(
        {"error": 0, "error_of_spread": 0, "lowest_cosine": 1, "same_neighbor": 1}, abs=1e-12
    )
    norm, spread = np.sqrt(16 + 20 + 16 + 36), np.sqrt(2 * 4 + 2 * 4 + 9 + 1 + 1 + 9)
    # Neighbors were 2, 1, 4, 3 and are 4, 1, 2, 1.
    assert rows["other"] == pytest.approx(
        {
            "error": np.sqrt(72) / norm,
            "error_of_spread": np.sqrt(72) / spread,
            "lowest_cosine": 0,
            "same_neighbor": 0.25,
        },
        abs=1e-12,
    )


def test_scores_of_a_tagger():
    right = [[1, 0], [0, 1], [1, 1], [0, 0]]
    half = [[1, 0], [0, 0], [1, 1], [0, 1]]  # of "piano" one pair of four is the wrong way round, two are ties
    hearings = {
        EXACT: replay(pooler_output=EXACT_EMBEDDINGS, logits=right),
        "other": replay(pooler_output=EXACT_EMBEDDINGS, logits=half),
    }
    rows = measure_accuracy(make_tagger(("calm", "piano")), hearings, CLIPS)
    assert rows[EXACT]["roc_auc"] == 1
    assert rows["other"]["roc_auc"] == pytest.approx((1 + 0.5) / 2)
    assert rows["other"]["difference"] == pytest.approx(-0.25)
    assert rows["other"]["low"] <= -0.25 <= rows["other"]["high"]


def test_a_tagger_of_something_else():
    hearings = {EXACT: replay(pooler_output=EXACT_EMBEDDINGS, logits=[[0, 0]] * 4)}
    with pytest.raises(ValueError, match=r"labels \(cat, dog, ...\) are neither tags nor the styles"):
        measure_accuracy(make_tagger(("cat", "dog")), hearings, CLIPS)


def test_report(tmp_path):
    make_tagger().save_pretrained(tmp_path / "tagger")
    text = run(tmp_path, 2, ["tiny"], tmp_path / "tagger", chunks=2, clips=6, calibration_clips=6)
    for name in ("tiny", "tagger"):
        assert (tmp_path / f"precision-{name}.md").read_text() in text
        report = json.loads((tmp_path / f"precision-{name}.json").read_text())
        ways = [variant["name"] for variant in report["variants"]][:-1]
        assert ways == list(report["accuracy"])
        assert ways == [
            EXACT,
            "torch, bfloat16",
            "ONNX Runtime, float32",
            "ONNX Runtime, int8, dynamic",
            "ONNX Runtime, int8, static",
        ]
        errors = [row["error"] for row in report["accuracy"].values()]
        assert errors[0] == 0
        assert errors[2] < 1e-5
        assert all(1e-4 < errors[index] < 0.1 for index in (1, 3, 4))
        assert all(f"| {way} |" in text for way in ways)
    assert "roc_auc" in report["accuracy"][EXACT]
    assert "| roc_auc | difference (95 % interval) |" in text
