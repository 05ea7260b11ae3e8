"""The output folder: who may have it, and what is never deleted."""

import json
import os
import signal
import subprocess
import sys

import pytest

from mulap_hf.errors import RunError
from mulap_hf.pretraining.run_folder import RunFolder

SETTINGS = {
    "model": {"preset": "tiny"},
    "training": {"learning_rate": 1e-3, "betas": (0.9, 0.98), "log_steps": 20},
}
HOLD = """
import os, sys, time
from mulap_hf.pretraining.run_folder import RunFolder
folder = RunFolder.open(sys.argv[1], {"seed": 0})
worker = os.fork()  # as loaders' workers are; it outlives the run
if worker:
    print(worker, flush=True)
time.sleep(60)
"""


def content(path):
    """Every name below a folder, with the bytes of files."""
    return {str(item.relative_to(path)): item.read_bytes() if item.is_file() else None for item in path.rglob("*")}


def changed(**options):
    return {**SETTINGS, "training": {**SETTINGS["training"], **options}}


def interrupted(path, settings=SETTINGS):
    """A run that ends before `finish`."""
    folder = RunFolder.open(path, settings)
    (folder.path / "checkpoints" / "step-000100").mkdir(parents=True)
    (folder.path / "checkpoints" / "step-000100" / "config.json").write_text("{}")


@pytest.mark.parametrize("exists", [False, True])
def test_new_run(tmp_path, exists):
    path = tmp_path / "outputs" / "run"
    if exists:
        path.mkdir(parents=True)
    folder = RunFolder.open(path, SETTINGS)
    assert folder.path == path
    assert not folder.resumes
    written = json.loads((path / "training_settings.json").read_text())
    assert written["training"] == {"learning_rate": 1e-3, "betas": [0.9, 0.98], "log_steps": 20}
    assert (written["run"]["status"], written["run"]["pid"]) == ("unfinished", os.getpid())
    folder.finish(seconds=7)
    assert os.listdir(path) == ["training_settings.json"]  # ready for the Hub
    finished = json.loads((path / "training_settings.json").read_text())
    assert finished == {**written, "run": {"status": "finished", "seconds": 7}}


def test_same_settings_go_on(tmp_path):
    interrupted(tmp_path)
    (tmp_path / "notes.txt").write_text("loss falls")
    folder = RunFolder.open(tmp_path, changed(log_steps=5), may_differ=["log_steps"])
    assert folder.resumes
    assert (tmp_path / "checkpoints" / "step-000100" / "config.json").read_text() == "{}"
    assert json.loads((tmp_path / "training_settings.json").read_text())["training"]["log_steps"] == 5


def test_other_settings_are_named(tmp_path):
    interrupted(tmp_path)
    before = content(tmp_path)
    with pytest.raises(RunError) as error:
        RunFolder.open(tmp_path, changed(learning_rate=0.01, log_steps=5, seed=3), may_differ=["log_steps"])
    assert "other settings: --learning_rate (0.001, now 0.01), --seed (None, now 3); " in str(error.value)
    assert all(remedy in str(error.value) for remedy in (str(tmp_path), "its command", "--output_dir", "--overwrite"))
    assert before.pop(".lock") == b""
    assert content(tmp_path) == before


def test_what_failed_before_its_first_checkpoint_starts_again(tmp_path):
    """With the mistake in its settings fixed."""
    folder = RunFolder.open(tmp_path, SETTINGS)
    (tmp_path / "metrics.jsonl").write_text("")
    del folder
    assert not RunFolder.open(tmp_path, changed(learning_rate=0.01)).resumes


def test_killed_before_its_settings_were_written(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / "training_settings.json.tmp").write_text('{"mod')
    assert not RunFolder.open(tmp_path, SETTINGS).resumes
    assert sorted(os.listdir(tmp_path)) == [".lock", "training_settings.json"]


def test_finished_run_is_refused_and_replaced_on_request(tmp_path):
    folder = RunFolder.open(tmp_path, SETTINGS)
    (tmp_path / "model.safetensors").write_text("old")
    folder.finish()
    before = content(tmp_path)
    with pytest.raises(RunError, match="holds a finished run: pass another --output_dir, or --overwrite"):
        RunFolder.open(tmp_path, SETTINGS)
    assert content(tmp_path) == before
    assert not RunFolder.open(tmp_path, SETTINGS, overwrite=True).resumes
    assert sorted(os.listdir(tmp_path)) == [".lock", "training_settings.json"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["song.wav", "training_settings.json"])  # the second: not ours, for all its name
def test_a_folder_of_the_user_is_left_alone(tmp_path, overwrite, name):
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "1.wav").write_bytes(b"RIFF")
    (tmp_path / name).write_text('{"seed": 0}')
    before = content(tmp_path)
    with pytest.raises(RunError, match=rf"album, {name}.*another --output_dir, or move them away"):
        RunFolder.open(tmp_path, {"seed": 0}, overwrite)
    assert content(tmp_path) == before


def test_a_saved_model_and_its_code_are_replaced(model, processor, tmp_path):
    folder = RunFolder.open(tmp_path, SETTINGS)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    folder.finish()
    assert len(list(tmp_path.glob("*.py"))) > 10
    del folder
    RunFolder.open(tmp_path, SETTINGS, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == [".lock", "training_settings.json"]


def test_a_run_with_a_song_in_it_is_not_replaced(tmp_path):
    interrupted(tmp_path)
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    before = content(tmp_path)
    with pytest.raises(RunError, match=r"no training run wrote \(song.wav\)"):
        RunFolder.open(tmp_path, SETTINGS, overwrite=True)
    assert content(tmp_path) == before


def test_a_saved_model_is_replaced_with_its_code(tmp_path, model, processor):
    interrupted(tmp_path)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert (tmp_path / "errors.py").is_file()  # among much other code
    RunFolder.open(tmp_path, SETTINGS, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == [".lock", "training_settings.json"]


def test_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunError, match="is a file"):
        RunFolder.open(tmp_path / "run", SETTINGS, overwrite=True)
    assert (tmp_path / "run").read_text() == "mine"


def test_links_are_removed_and_not_what_they_lead_to(tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "1.wav").write_bytes(b"RIFF")
    interrupted(tmp_path / "run")
    (tmp_path / "run" / "trackers").symlink_to(tmp_path / "music")
    RunFolder.open(tmp_path / "run", SETTINGS, overwrite=True)
    assert sorted(os.listdir(tmp_path / "run")) == [".lock", "training_settings.json"]
    assert os.listdir(tmp_path / "music") == ["1.wav"]


def test_killed_while_replacing(tmp_path, monkeypatch):
    """What is left of the old run is never gone on with, by the same settings or others."""
    interrupted(tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shutil.rmtree", killed)
        RunFolder.open(tmp_path, SETTINGS, overwrite=True)
    assert (tmp_path / "checkpoints" / "step-000100").exists()
    assert not RunFolder.open(tmp_path, SETTINGS).resumes
    assert sorted(os.listdir(tmp_path)) == [".lock", "training_settings.json"]


def test_one_run_at_a_time_and_none_after_a_kill(tmp_path):
    first = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    worker = int(first.stdout.readline())
    try:
        before = content(tmp_path)
        for overwrite in (False, True):
            with pytest.raises(RunError, match=rf"{tmp_path} is in use by process {first.pid} on "):
                RunFolder.open(tmp_path, {"seed": 1}, overwrite)
        assert content(tmp_path) == before
        first.kill()
        first.wait()
        assert not RunFolder.open(tmp_path, {"seed": 0}).resumes  # it is free again; nothing was saved in it
    finally:
        os.kill(worker, signal.SIGKILL)
        first.kill()
        first.stdout.close()
