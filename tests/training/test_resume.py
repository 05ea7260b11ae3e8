"""The real script as a real process, killed at a random step: it goes on as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import CAPTIONS, ROOT, write_tone
from safetensors.torch import load_file

SCRIPT = ROOT / "training" / "pretrain.py"
STEPS = 12
CONFIG = {
    "audio_config": {"chunk_length": 4800, "n_fft": 256, "num_mel_bins": 24, "timbral_channels": 4,
                     "temporal_channels": 3, "temporal_lengths": [9, 5], "midend_channels": 6},
    "projection_size": 16, "matching_similarity": True, "matching_negatives": "hard",
}  # fmt: skip


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """26 clips, one of them broken: epochs of 26 do not fill whole batches."""
    folder = tmp_path_factory.mktemp("catalogue")
    rows = []
    for index in range(26):
        write_tone(folder / f"{index}.wav", seconds=1.5, seed=index)
        rows.append({"file_name": f"{index}.wav", "caption": f"{CAPTIONS[index % 5]} number {index}"})
    (folder / "7.wav").write_bytes(b"RIFF")
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def start(processes: int, catalogue, output) -> subprocess.Popen:
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    options = {
        "train_data": catalogue, "validation_data": catalogue, "output_dir": output, "config": json.dumps(CONFIG),
        "clip_seconds": 1.2, "batch_size": 4, "gradient_accumulation_steps": 2, "max_steps": STEPS, "num_workers": 2,
        "log_steps": 1, "eval_steps": 5, "checkpoint_steps": 2, "cpu_threads": 1, "max_validation": 10,
        "trackers": "none", "learning_rate": 3e-3,
    }  # fmt: skip
    flags = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log_of(output).open("a") as log:
        return subprocess.Popen(
            [*launcher, str(SCRIPT), *flags], stdout=log, stderr=log, env=environment, start_new_session=True
        )


def log_of(output: Path) -> Path:
    return output.with_suffix(".log")


def finish(process: subprocess.Popen, output):
    try:
        assert process.wait(timeout=240) == 0, log_of(output).read_text()[-3000:]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def read_rows(output) -> list[dict]:
    """What was measured, without what depends on the clock."""
    path = output / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []
    return [{name: value for name, value in row.items() if name != "clips_per_second"} for row in rows]


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_and_resumed_is_bit_equal(catalogue, tmp_path, processes):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(start(processes, catalogue, whole), whole)
    expected = read_rows(whole)
    assert [row["step"] for row in expected if row["split"] == "train"] == list(range(1, STEPS + 1))
    assert expected[-1]["epoch"] >= (3 if processes == 1 else 6)

    process = start(processes, catalogue, broken)
    killed_after = random.Random(processes).randint(3, STEPS - 2)
    deadline = time.monotonic() + 240
    while len([row for row in read_rows(broken) if row["split"] == "train"]) < killed_after:
        assert process.poll() is None and time.monotonic() < deadline, log_of(broken).read_text()[-3000:]
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    seen = read_rows(broken)
    assert seen == expected[: len(seen)]

    finish(start(processes, catalogue, broken), broken)
    assert "Going on after step" in log_of(broken).read_text()
    assert read_rows(broken) == expected
    for name in ("model.safetensors", f"checkpoints/step-{STEPS:06}/model.safetensors"):
        weights, resumed = load_file(whole / name), load_file(broken / name)
        assert weights.keys() == resumed.keys()
        assert all(value.equal(resumed[key]) for key, value in weights.items()), name
    skipped = [json.loads(line)["id"] for line in (broken / "skipped.jsonl").read_text().splitlines()]
    assert skipped == ["7.wav"]
