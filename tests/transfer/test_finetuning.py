"""Fine-tuning: backbone and head learn, stop early, and go on where they were interrupted."""

import json
import math
import os
import signal

import numpy as np
import pytest
import torch
from helpers import ROOT, run
from tones import write_dataset
from transformers import pipeline

from mulap_hf import load_audio
from mulap_hf.errors import DataError, Interrupted
from mulap_hf.loading import open_backbone
from mulap_hf.pretraining.arguments import TrainingArguments
from mulap_hf.pretraining.runs import make_accelerator
from mulap_hf.transfer.arguments import FineTuneArguments
from mulap_hf.transfer.finetuning import FineTuning, fine_tune
from mulap_hf.transfer.tasks import open_task

HOW = FineTuneArguments(train_seconds=0.6, hidden_size=32, num_workers=0)


def options(folder, **changes) -> TrainingArguments:
    folder.mkdir(exist_ok=True)
    settings = {"max_steps": 60, "batch_size": 15, "learning_rate": 5e-3, "eval_steps": 10, "checkpoint_steps": 500}
    return TrainingArguments(output_dir=str(folder), trackers="none", cpu_threads=1, **settings | changes)


def tune(model, data, args, how=HOW, labels_per_class=None, **more):
    torch.manual_seed(args.seed)
    return fine_tune(model, data, how, labels_per_class, args, make_accelerator(args), **more)


def outputs(model, data, split="test") -> np.ndarray:
    with torch.no_grad():
        clips = (load_audio(row["audio"]["bytes"]) for row in data.rows(split))
        return torch.cat([model.eval()(torch.from_numpy(clip)[None]).logits for clip in clips]).numpy()


def test_low_and_high_tones_are_told_apart(dataset, model_folder, tmp_path):
    data = open_task(dataset, "register")
    tuned = tune(model_folder, data, options(tmp_path / "run", max_steps=40))
    truth = data.targets("test").of(data.ids("test"))
    assert (outputs(tuned.model, data).argmax(1) == truth).mean() > 0.85
    assert tuned.model.config.id2label == {0: "low", 1: "middle", 2: "high"}
    assert (tuned.num_train, tuned.num_validation, tuned.skipped) == (30, 12, [])
    before, after = open_backbone(model_folder).state_dict(), tuned.model.audio_model.state_dict()
    assert not torch.equal(before["musicnn.midend.0.conv.weight"], after["musicnn.midend.0.conv.weight"])
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    values = {row["step"]: row["accuracy"] for row in rows if row["split"] == "validation"}
    assert values[tuned.loop.progress.best_step] == max(values.values())


def test_values_are_in_their_own_units(dataset, model_folder, tmp_path):
    data = open_task(dataset, "pitch")
    tuned = tune(model_folder, data, options(tmp_path / "run", max_steps=40))
    truth, found = data.targets("test").of(data.ids("test")), outputs(tuned.model, data)
    errors = np.abs(found - truth).mean(0)
    assert (errors < 0.7 * np.abs(truth - truth.mean(0)).mean(0)).all()


def test_tags_from_few_labels(dataset, model_folder, tmp_path):
    data = open_task(dataset, "sound")
    tuned = tune(model_folder, data, options(tmp_path / "run", max_steps=20), labels_per_class=3)
    assert 6 <= tuned.num_train < 30
    assert math.isfinite(outputs(tuned.model, data).sum())
    assert tuned.loop.progress.best_step in (10, 20)


def test_it_stops_early_and_goes_on_to_the_same_bits(dataset, model_folder, tmp_path):
    """With a learning rate of 0 nothing gets better after the first evaluation."""
    data = open_task(dataset, "register")
    args = {"learning_rate": 0.0, "patience": 3, "eval_steps": 3, "checkpoint_steps": 500, "max_steps": 500}
    whole = tune(model_folder, data, options(tmp_path / "whole", **args))
    steps = whole.loop.progress.step
    assert steps == whole.loop.progress.best_step + 9

    def interrupt(loop):
        original, seen = loop._evaluate, []

        def evaluate():
            original()
            seen.append(1)
            if len(seen) == 2:
                os.kill(os.getpid(), signal.SIGTERM)

        loop._evaluate = evaluate

    with pytest.raises(Interrupted):
        tune(model_folder, data, options(tmp_path / "parts", **args), prepare=interrupt)
    resumed = tune(model_folder, data, options(tmp_path / "parts", **args))
    assert resumed.loop.progress.step == steps
    expected, found = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_tests_are_not_touched(dataset, model_folder, tmp_path):
    for shard in dataset.glob("test-*"):
        shard.write_bytes(b"nothing")
    data = open_task(dataset, "register")
    assert tune(model_folder, data, options(tmp_path / "run", max_steps=10)).loop.progress.step == 10


def test_no_labels_at_all(tmp_path, model_folder):
    data = open_task(write_dataset(tmp_path / "tones", {"train": 4, "validation": 2, "test": 2}), "register")
    path = tmp_path / "tones" / "tasks.json"
    path.write_text(
        path.read_text().replace('"low"', '"lower"').replace('"middle"', '"mid"').replace('"high"', '"up"')
    )
    data = open_task(tmp_path / "tones", "register")
    with pytest.raises(DataError, match="no row of train has a label of the task register"):
        FineTuning(open_backbone(model_folder), data, HOW, None, options(tmp_path / "run"))


def test_as_its_users_run_it(dataset, model_folder, tmp_path):
    result = run(
        ROOT / "training" / "transfer.py",
        *("--fine_tune", "--model", model_folder, "--data", dataset, "--task", "register"),
        *("--output_dir", tmp_path / "out", "--cache_dir", tmp_path / "features", "--trackers", "none"),
        *("--max_steps", 20, "--eval_steps", 10, "--batch_size", 8, "--train_seconds", 0.6),
    )
    assert result.returncode == 0, result.stderr
    classify = pipeline("audio-classification", model=str(tmp_path / "out"), trust_remote_code=True)
    assert {answer["label"] for answer in classify(np.zeros(8000, dtype=np.float32))} == {"low", "middle", "high"}
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["validation"].keys() >= {"accuracy", "loss"} and metrics["test"]["tracks"] == 18
    assert "fine-tuned" in (tmp_path / "out" / "README.md").read_text()
