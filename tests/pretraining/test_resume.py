"""The real script as a real process, killed at a random step: it resumes to the same bits."""

import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from helpers import CAPTIONS, ROOT, rank_variables, start, write_tone
from safetensors.torch import load_file

SCRIPT = ROOT / "training" / "pretrain.py"
STEPS = 9
CONFIG = {
    "audio_config": {"chunk_length": 4800, "pitch_channels": 0, "n_fft": 256, "num_mel_bins": 24,
                     "timbral_channels": 4, "temporal_channels": 3, "temporal_lengths": [9, 5], "midend_channels": 6},
    "projection_size": 16, "matching_similarity": True, "matching_negatives": "hard",
}  # fmt: skip


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """26 clips, one of them broken: epochs of 26 do not fill whole batches."""
    folder = tmp_path_factory.mktemp("catalog")
    rows = []
    for index in range(26):
        write_tone(folder / f"{index}.wav", seconds=1.5, seed=index)
        rows.append({"file_name": f"{index}.wav", "caption": f"{CAPTIONS[index % 5]} number {index}"})
    (folder / "7.wav").write_bytes(b"RIFF")
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


class Run:
    """The script in one or more processes; torchrun would put its own out of reach of a kill."""

    def __init__(self, processes: int, catalog: Path, output: Path):
        options = {
            "train_data": catalog, "validation_data": catalog, "output_dir": output, "config": json.dumps(CONFIG),
            "clip_seconds": 1.2, "batch_size": 4, "gradient_accumulation_steps": 2, "max_steps": STEPS,
            "num_workers": 2, "log_steps": 1, "eval_steps": 4, "checkpoint_steps": 2, "cpu_threads": 1,
            "max_validation": 10, "trackers": "none", "learning_rate": 3e-3,
        }  # fmt: skip
        flags = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        self.log = output.with_suffix(".log")
        self.processes = []
        for variables in rank_variables(processes) if processes > 1 else [{}]:
            env = {"ACCELERATE_USE_CPU": "true", **variables}
            with self.log.open("a") as log:
                self.processes.append(start(SCRIPT, *flags, stdout=log, stderr=log, env=env, start_new_session=True))

    @property
    def is_running(self) -> bool:
        return all(process.poll() is None for process in self.processes)

    def kill(self):
        """At once, with the processes that load data."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)

    def finish(self):
        try:
            codes = [process.wait(timeout=240) for process in self.processes]
        finally:
            self.kill()
        assert set(codes) == {0}, self.log.read_text()[-3000:]


def read_rows(output) -> list[dict]:
    """What was measured, without what depends on the clock."""
    path = output / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []
    return [{name: value for name, value in row.items() if name != "clips_per_second"} for row in rows]


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_and_resumed_is_bit_equal(catalog, tmp_path, processes):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    Run(processes, catalog, whole).finish()
    expected = read_rows(whole)
    assert [row["step"] for row in expected if row["split"] == "train"] == list(range(1, STEPS + 1))
    assert expected[-1]["epoch"] >= (2 if processes == 1 else 4)

    run = Run(processes, catalog, broken)
    killed_after = random.Random(processes).randint(3, STEPS - 2)
    deadline = time.monotonic() + 240
    while len([row for row in read_rows(broken) if row["split"] == "train"]) < killed_after:
        assert run.is_running and time.monotonic() < deadline, run.log.read_text()[-3000:]
        time.sleep(0.005)
    run.kill()
    seen = read_rows(broken)
    assert seen == expected[: len(seen)]

    resumed = Run(processes, catalog, broken)
    resumed.finish()
    assert "Resuming after step" in resumed.log.read_text()
    assert read_rows(broken) == expected
    for name in ("model.safetensors", f"checkpoints/step-{STEPS:06}/model.safetensors"):
        weights, again = load_file(whole / name), load_file(broken / name)
        assert weights.keys() == again.keys()
        assert all(value.equal(again[key]) for key, value in weights.items()), name
    skipped = [json.loads(line)["id"] for line in (broken / "skipped.jsonl").read_text().splitlines()]
    assert skipped == ["7.wav"]
