"""Which step's model a run leaves: pretrain.py itself, with evaluations whose results are given."""

import json
import math

import pytest
from helpers import CAPTIONS, ROOT, write_tone

from mulap_hf.errors import RunError
from mulap_hf.pretraining import loop


@pytest.fixture
def pretrain(tmp_path, monkeypatch):
    """Runs it for as many steps as there are losses to be found by the evaluations; returns the step that it kept."""
    rows = [{"file_name": f"{index}.wav", "caption": CAPTIONS[index]} for index in range(5)]
    for index in range(5):
        write_tone(tmp_path / "music" / f"{index}.wav", seconds=3, seed=index)
    (tmp_path / "music" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.syspath_prepend(str(ROOT / "training"))
    import pretrain

    def run(losses: list[float], *options: str) -> int:
        found = ({"loss": value, "feature_std": 1.0} for value in losses)
        monkeypatch.setattr(loop, "evaluate", lambda *args, **kwargs: next(found))
        pretrain.main([
            "--train_data", str(tmp_path / "music"), "--validation_data", str(tmp_path / "music"),
            "--output_dir", str(tmp_path / "out"), "--max_steps", str(len(losses)), "--eval_steps", "1",
            "--checkpoint_steps", "9", "--batch_size", "2", "--num_workers", "0", "--clip_seconds", "3",
            "--trackers", "none", "--cpu_threads", "1", *options,
        ])  # fmt: skip
        report = (tmp_path / "out" / "training_report.md").read_text()
        kept = json.loads((tmp_path / "out" / "metrics.json").read_text())["loss"]
        assert f"kept step: {losses.index(kept) + 1}" in report
        return losses.index(kept) + 1

    return run


def test_the_lowest_loss_is_kept_and_one_that_is_no_number_is_passed_over(pretrain):
    assert pretrain([math.nan, 1.0, 0.5, 0.7]) == 3


def test_the_last_is_kept_on_request(pretrain):
    assert pretrain([0.5, 1.0, 0.7], "--keep_last") == 3


def test_a_run_without_a_number_says_so(pretrain):
    with pytest.raises(RunError, match=r"loss was not finite in any evaluation.*metrics\.jsonl"):
        pretrain([math.nan])
