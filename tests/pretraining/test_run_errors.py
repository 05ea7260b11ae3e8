"""What a user is told by the real script when something is wrong, and that nothing is lost by it."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from fork_server import Forked
from helpers import CAPTIONS, ROOT, errors_of, run, start, write_tone

SCRIPT = ROOT / "training" / "pretrain.py"
QUICK = [
    "--batch_size", "4", "--log_steps", "1", "--num_workers", "0", "--cpu_threads", "1", "--clip_seconds", "3",
    "--validation_share", "0.3", "--trackers", "none",
]  # fmt: skip


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("catalog")
    for index in range(12):
        write_tone(folder / f"{index}.wav", seconds=4, seed=index)
    rows = [{"file_name": f"{index}.wav", "caption": f"{CAPTIONS[index % 5]} {index}"} for index in range(12)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def fails(*options, output) -> str:
    """The one line that says what is wrong."""
    result = run(SCRIPT, *QUICK, *options, "--output_dir", output)
    assert result.returncode == 1, result.stderr
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: "), result.stderr[-2000:]
    return line


def start_script(*options, log: Path) -> Forked:
    with log.open("w") as file:
        return start(SCRIPT, *QUICK, *options, stdout=file, stderr=file, start_new_session=True)


def wait_for(path, process, log):
    deadline = time.monotonic() + 120
    while not path.exists() or not path.read_text():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.02)


def test_unusable_metadata(tmp_path):
    cases = {
        "empty": ("", "metadata.jsonl: "),
        "no_file_column": ('{"song": "a.wav", "caption": "calm"}\n', "file_name"),
        "no_caption_column": ('{"file_name": "0.wav", "words": "calm"}\n', "caption"),
        "no_audio": (
            '{"file_name": "gone.wav", "caption": "calm"}\n',
            "none of its 1 rows can be used (no such file)",
        ),
    }
    for name, (content, _) in cases.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metadata.jsonl").write_text(content)
    runs = ([*QUICK, "--train_data", tmp_path / name, "--output_dir", f"out_{name}"] for name in cases)
    for line, (name, (_, message)) in zip(errors_of(SCRIPT, *runs, cwd=tmp_path), cases.items(), strict=True):
        assert line.startswith("error: ") and message in line
        assert str(tmp_path / name / "metadata.jsonl") in line


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_items(catalog, tmp_path):
    line = fails("--train_data", catalog, "--learning_rate", "1e30", "--max_steps", "9", output=tmp_path / "out")
    assert "nan" in line or "inf" in line
    assert ".wav'" in line
    assert "step " in line


def test_a_stopped_run_goes_on_only_with_the_same_settings_and_data(catalog, tmp_path):
    """SIGTERM to all processes, as a cluster sends it: a checkpoint is saved; a second run on the folder is refused
    meanwhile."""
    output, log = tmp_path / "out", tmp_path / "log"
    options = ["--train_data", catalog, "--max_steps", "500", "--checkpoint_steps", "1000", "--eval_steps", "1000"]
    options += ["--num_workers", "1"]
    process = start_script(*options, "--output_dir", output, log=log)
    wait_for(output / "metrics.jsonl", process, log)
    assert f"{output} is in use by process {process.pid}" in fails(*options, output=output)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(120) == 130, log.read_text()
    assert "repeat the command to resume" in log.read_text()
    (checkpoint,) = (output / "checkpoints").glob("step-*")
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}

    rows = (catalog / "metadata.jsonl").read_text().splitlines(keepends=True)
    other = tmp_path / "other"
    other.mkdir()
    for index in range(12):
        (other / f"{index}.wav").symlink_to(catalog / f"{index}.wav")
    (other / "metadata.jsonl").write_text("".join(rows))
    again = [*QUICK, *options, "--output_dir", output]
    changes = [("--mixed_precision", "bf16"), ("--learning_rate", "0.1"), ("--train_data", other)]
    refusals = errors_of(SCRIPT, *([*again, *change] for change in changes))
    for line, message in zip(
        refusals,
        ("--mixed_precision ('no', now 'bf16')", "--learning_rate (0.001, now 0.1)", "--train_data ("),
        strict=True,
    ):
        assert message in line
    model = checkpoint / "model.safetensors"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    line = fails(*options, output=output)
    assert f"{model}" in line or f"{model.relative_to(checkpoint)}" in line
    assert "damaged" in line
    changed = {path for path, changed in before.items() if path.exists() and path.stat().st_mtime_ns != changed}
    assert changed <= {output / ".lock", output / "training_settings.json", model}
    assert set(before) - {output / ".lock"} <= set(output.rglob("*"))


def test_validation_data_without_a_usable_item_end_the_run_at_once(catalog, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.wav").write_bytes(b"RIFF")
    (tmp_path / "broken" / "metadata.jsonl").write_text('{"file_name": "a.wav", "caption": "broken"}')
    options = ["--train_data", catalog, "--validation_data", tmp_path / "broken", "--max_steps", "9"]
    line = fails(*options, "--eval_steps", "1", output=tmp_path / "out")
    assert "none of the validation data can be used; the first reason: a.wav: " in line


def test_data_that_has_changed_is_noticed(catalog, tmp_path):
    music, output, log = tmp_path / "music", tmp_path / "out", tmp_path / "log"
    music.mkdir()
    rows = (catalog / "metadata.jsonl").read_text().splitlines(keepends=True)
    for index in range(12):
        (music / f"{index}.wav").symlink_to(catalog / f"{index}.wav")
    (music / "metadata.jsonl").write_text("".join(rows))
    options = ["--train_data", music, "--max_steps", "500", "--checkpoint_steps", "1", "--eval_steps", "1000"]
    process = start_script(*options, "--output_dir", output, log=log)
    wait_for(output / "checkpoints" / "step-000001" / "checkpoint.json", process, log)
    process.kill()
    process.wait(60)
    (music / "metadata.jsonl").write_text("".join(rows[1:]))
    line = fails(*options, output=output)
    assert "the training data has changed since: restore it, or start again with --overwrite_output" in line


def test_a_full_disk_stops_the_run_and_spares_what_is_there(catalog, tmp_path):
    """No file may grow beyond 300 kB, as on a full disk: the model is larger."""
    output = tmp_path / "out"
    code = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    options = ["--train_data", catalog, "--max_steps", "3", "--checkpoint_steps", "2", "--output_dir", output]
    result = run("-c", code, SCRIPT, *QUICK, *options)
    assert result.returncode == 1, result.stderr
    line = result.stderr.splitlines()[-1]
    assert "could not be saved" in line and "bytes are free" in line
    assert not list((output / "checkpoints").iterdir())
    assert len((output / "metrics.jsonl").read_text().splitlines()) == 2
