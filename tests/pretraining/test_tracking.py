"""The log of a run: exact lines, the same numbers in TensorBoard, and nothing left of what was interrupted."""

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import LoggerType
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from mulap_hf.errors import DataError, RunError
from mulap_hf.pretraining.tracking import RunLog, read_metrics, start_trackers, tracker_names

SETTINGS = {
    "model": {"preset": "tiny", "backbone": None, "freeze_text": False},
    "training": {"learning_rate": 1e-3, "max_steps": 6, "layers": [1, 2]},
    "seconds": 7,
}


@pytest.fixture
def make_accelerator():
    yield lambda **options: Accelerator(cpu=True, **options)
    AcceleratorState._reset_state(reset_partial_state=True)


def add_steps(log: RunLog, steps, offset: float = 0.0):
    """A row per step, and one of validation at every second."""
    for step in steps:
        log.add("train", step, step // 3, {"loss": 6 / step + offset, "grad_norm": math.pi * step})
        if step % 2 == 0:
            log.add("validation", step, step // 3, {"mlm_loss": 1 / step + offset, "matching_auc": math.nan})


def test_lines_are_standard_json_of_six_digits(make_accelerator, tmp_path):
    log = RunLog(tmp_path, make_accelerator())
    log.add("train", 20, 0, {"loss": torch.tensor(2 / 3), "learning_rate": 1e-3 / 3, "tokens": 12345678})
    log.add("validation", 20, 1, {"mam_r2": np.float32(-1234.5678), "auc": math.nan, "ratio": math.inf})
    assert (tmp_path / "metrics.jsonl").read_text() == (
        '{"step": 20, "epoch": 0, "split": "train", "loss": 0.666667, "learning_rate": 0.000333333, '
        '"tokens": 12345678}\n'
        '{"step": 20, "epoch": 1, "split": "validation", "mam_r2": -1234.57, "auc": null, "ratio": null}\n'
    )
    _, row = read_metrics(tmp_path / "metrics.jsonl")
    assert row["mam_r2"] == -1234.57
    assert math.isnan(row["auc"])


@pytest.mark.parametrize("tail", ["", '{"step": 7, "epoch": 2, "spl', '{"step": 7, "epoch": 2, "split": "train"}'])
def test_resumed_file_equals_that_of_an_uninterrupted_run(make_accelerator, tmp_path, tail):
    accelerator = make_accelerator()
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    add_steps(RunLog(tmp_path / "whole", accelerator), range(1, 9))
    add_steps(RunLog(tmp_path / "killed", accelerator), range(1, 7))
    file = tmp_path / "killed" / "metrics.jsonl"
    file.write_text(file.read_text() + tail)
    add_steps(RunLog(tmp_path / "killed", accelerator, resume_step=4), range(5, 9))
    assert file.read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["metrics.jsonl"]


def test_half_written_last_line_is_left_out_and_a_broken_one_before_it_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2')
    assert read_metrics(path) == [{"step": 1}]
    path.write_text('{"step": 1}\n{"step": \n{"step": 3}\n')
    with pytest.raises(DataError, match=r"metrics.jsonl, line 2: not valid JSON"):
        read_metrics(path)


def test_new_run_starts_empty_and_a_lost_file_does_not_stop_a_resumed_one(make_accelerator, tmp_path):
    accelerator = make_accelerator()
    add_steps(RunLog(tmp_path, accelerator), [1, 2])
    RunLog(tmp_path, accelerator)
    assert read_metrics(tmp_path / "metrics.jsonl") == []
    (tmp_path / "metrics.jsonl").unlink()
    add_steps(RunLog(tmp_path, accelerator, resume_step=2), [3])
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [3]


def test_only_the_main_process_writes(make_accelerator, tmp_path):
    add_steps(RunLog(tmp_path, make_accelerator()), [1, 2])
    before = (tmp_path / "metrics.jsonl").read_bytes()
    add_steps(RunLog(tmp_path, SimpleNamespace(is_main_process=False)), [3, 4])
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_tensorboard_has_the_same_numbers_and_forgets_what_was_interrupted(make_accelerator, tmp_path, monkeypatch):
    """Its files are read back as TensorBoard reads them."""
    clock = itertools.count(2e9)  # TensorBoard sorts files by the second of their making
    monkeypatch.setattr("time.time", lambda: next(clock))

    def run(steps, resume_step=None, offset=0.0):
        accelerator = make_accelerator(log_with=tracker_names("tensorboard"), project_dir=tmp_path)
        start_trackers(accelerator, SETTINGS, resume_step)
        add_steps(RunLog(tmp_path, accelerator, resume_step), steps, offset)
        for tracker in accelerator.trackers:
            tracker.finish()

    run(range(1, 7), offset=9.0)
    run(range(1, 7))
    run(range(5, 9), resume_step=4)
    events = EventAccumulator(str(tmp_path / "trackers" / "mulap-hf")).Reload()
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert sorted(events.Tags()["scalars"]) == [
        "train/grad_norm", "train/loss", "validation/matching_auc", "validation/mlm_loss",
    ]  # fmt: skip
    for split, name in (("train", "loss"), ("validation", "mlm_loss")):
        expected = [(row["step"], row[name]) for row in rows if row["split"] == split]
        seen = [(event.step, event.value) for event in events.Scalars(f"{split}/{name}")]
        assert len(seen) == (8 if split == "train" else 4)
        assert seen == [(step, pytest.approx(value)) for step, value in expected]


def test_settings_are_hyper_parameters(make_accelerator, tmp_path):
    accelerator = make_accelerator(log_with=tracker_names("tensorboard"), project_dir=tmp_path)
    start_trackers(accelerator, SETTINGS)
    accelerator.trackers[0].finish()
    files = [EventAccumulator(str(path.parent)).Reload() for path in tmp_path.rglob("*/*/*/events.out.tfevents.*")]
    content = next(file.summary_metadata["_hparams_/session_start_info"] for file in files)
    values = HParamsPluginData.FromString(content.plugin_data.content).session_start_info.hparams
    shown = {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}
    assert shown == {
        "model/preset": "tiny", "model/backbone": "None", "model/freeze_text": False, "training/learning_rate": 1e-3,
        "training/max_steps": 6, "training/layers": "[1, 2]", "seconds": 7,
    }  # fmt: skip


def test_without_trackers_there_is_the_file_alone(make_accelerator, tmp_path):
    accelerator = make_accelerator(log_with=tracker_names("none") or None)
    start_trackers(accelerator, SETTINGS)
    add_steps(RunLog(tmp_path, accelerator), [1])
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").open()] == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_tracker_names(monkeypatch):
    assert tracker_names("none") == []
    assert tracker_names("tensorboard") == ["tensorboard"]
    monkeypatch.setattr("accelerate.tracking._available_trackers", [LoggerType.TENSORBOARD, LoggerType.WANDB])
    assert tracker_names("tensorboard, wandb") == ["tensorboard", "wandb"]
    with pytest.raises(RunError, match="mlflow is not installed: pip install mlflow, or pass --trackers none"):
        tracker_names("tensorboard,mlflow")
    with pytest.raises(
        RunError, match=r"--trackers 'tensorbord' does not exist; there are aim, tensorboard, .*; or none"
    ):
        tracker_names("tensorbord")
