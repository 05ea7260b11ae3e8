"""The `mulap embed` command as a user runs it."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from helpers import micro_config, read_until, run, write_tone
from transformers import BertConfig, BertModel

from mulap_hf.cli import default_workers, main

MULAP = Path(sysconfig.get_path("scripts")) / "mulap"


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    for index, name in enumerate(("a.wav", "b.mp3", "deep/c.flac", "deep/d.ogg")):
        write_tone(folder / name, seconds=1.0 + index, rate=44100 if index % 2 else 16000, channels=1 + index % 2)
    return folder


@pytest.fixture
def embed(model_folder, capsys):
    """Runs the command in this process: exit status, what it prints and what it complains about."""

    def run_command(*arguments, model=model_folder):
        with pytest.raises(SystemExit) as end:
            main(["embed", "--model", str(model), *map(str, arguments)])
        return end.value.code, *capsys.readouterr()

    return run_command


def test_a_real_process(model_folder, music, tmp_path):
    (music / "broken.mp3").write_bytes(b"noise")
    (music / "notes.txt").write_text("no audio")
    output = tmp_path / "out" / "embeddings.parquet"
    result = run(MULAP, "embed", music, "--model", model_folder, "--output", output, "--workers", 1)
    assert result.returncode == 1, result.stderr
    assert "4 of 5 files embedded" in result.stdout
    assert "broken.mp3: broken, or not in a format" in result.stderr
    assert "h of audio/min" in result.stderr
    rows = pq.read_table(output).to_pylist()
    assert [Path(row["path"]).name for row in rows] == ["a.wav", "b.mp3", "c.flac", "d.ogg"]
    assert len(rows[0]["embedding"]) == micro_config().audio_config.feature_size
    assert list(output.parent.iterdir()) == [output]


def test_ctrl_c(model_folder, music, tmp_path):
    """As a terminal sends it: to all processes of the command."""
    for index in range(3000):
        (music / f"{index}.wav").hardlink_to(music / "a.wav")
    output = tmp_path / "out.parquet"
    command = [MULAP, "embed", music, "--model", model_folder, "--output", output, "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "TQDM_MININTERVAL": "0"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs ignore it
    )
    try:
        errors = read_until(process.stderr, b"h of audio/min")
        os.killpg(process.pid, signal.SIGINT)
        errors += process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.decode().endswith("interrupted: repeat the command to resume\n")
    assert "Traceback" not in errors.decode()
    assert not output.exists()
    part = pq.read_table(tmp_path / "out.parquet.parts" / "embeddings-000000.parquet")
    assert 0 < len(part) < 3000


def test_existing_output(embed, music, tmp_path):
    output = tmp_path / "out.parquet"
    assert embed(music, "--output", output)[0] == 0
    status, _, errors = embed(music / "a.wav", "--output", output)
    assert status == 2 and "pass --overwrite" in errors
    assert embed(music / "a.wav", "--output", output, "--overwrite", "--per_chunk", "--batch_size", 1)[0] == 0
    assert pq.read_table(output)["chunk"].to_pylist() == [0, 1, 2]


def test_bad_arguments(embed, model_folder, music, tmp_path):
    bert = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    BertModel(bert).save_pretrained(tmp_path / "bert")
    (tmp_path / "empty").mkdir()
    shutil.copytree(model_folder, tmp_path / "cut")
    os.truncate(tmp_path / "cut" / "model.safetensors", 5000)
    output = tmp_path / "out.parquet"
    for path, options, message in (
        (tmp_path / "nowhere", {}, "nowhere does not exist"),
        (tmp_path / "empty", {}, "no audio files in"),
        (music, {"model": tmp_path / "no_model"}, "found neither as a folder nor on the Hub"),
        (music, {"model": tmp_path / "cut"}, f"error: {tmp_path}/cut: cannot be loaded: Error while deserializing"),
        (music, {"model": tmp_path / "bert"}, "is not a MuLaP model"),
    ):
        status, _, errors = embed(path, "--output", output, **options)
        assert status == 2 and message in errors.splitlines()[-1]
        assert not output.exists()
    status, _, errors = embed(music, "--output", output, "--device", "nonsense")
    assert status == 2 and "device='nonsense' cannot be used here" in errors
    for options, message in ((["--per_chunk"], "leave out --per_chunk"), ([], "has no joint embedding space")):
        status, _, errors = embed(music, "--output", output, "--space", "joint", *options)
        assert status == 2 and message in errors
    for option, value in (("--workers", "-1"), ("--workers", "two"), ("--batch_size", "0")):
        status, _, errors = embed(music, "--output", output, f"{option}={value}")
        assert status == 2 and f"{option}: {value!r} is not an integer of at least" in errors


def test_outputs_that_cannot_be_written(embed, music, tmp_path):
    status, _, errors = embed(music, "--output", tmp_path, "--overwrite")
    assert status == 2 and f"{tmp_path} is a folder: name a file" in errors
    status, _, errors = embed(music, "--output", music / "a.wav" / "out.parquet")
    assert status == 2 and "out.parquet.parts cannot be created: " in errors and "Not a directory" in errors


def test_names(embed, tmp_path):
    """Spaces, quotes, line breaks, other scripts, and bytes that are no UTF-8."""
    names = ["a 'b' \"c\".wav", "d\ne.wav", "音楽.wav", os.fsdecode(b"caf\xe9.wav"), "#?&=%.wav"]
    for name in names:
        write_tone(tmp_path / "tone.wav", seconds=0.4)
        (tmp_path / "music").mkdir(exist_ok=True)
        (tmp_path / "tone.wav").rename(tmp_path / "music" / name)
    (tmp_path / "music" / "bad\n\x1b.wav").write_bytes(b"noise")
    folder = tmp_path / "set=1"  # which parquet readers take for a column
    status, _, errors = embed(tmp_path / "music", tmp_path / "music" / names[0], "--output", folder / "out.parquet")
    assert status == 1
    assert f"  {tmp_path}/music/bad\\n\\x1b.wav: broken" in errors
    paths = pq.ParquetFile(folder / "out.parquet").read()["path"].to_pylist()
    stored = [name.replace("\udce9", "\\udce9") for name in names]
    assert sorted(paths) == sorted(f"{tmp_path}/music/{name}" for name in stored)


@pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid(), reason="only root can become somebody else")
def test_what_may_not_be_read(model_folder, embed, music, tmp_path_factory):
    (music / "a.wav").chmod(0o000)
    (music / "deep").chmod(0o700)
    others = [folder for folder in (music, *music.parents) if not folder.stat().st_mode & 0o001]
    modes = [folder.stat().st_mode for folder in others]
    for folder in others:
        folder.chmod(0o755)
    output = tmp_path_factory.mktemp("output") / "out.parquet"
    os.seteuid(65534)
    try:
        status, _, errors = embed(music, "--output", output)
    finally:
        os.seteuid(0)
        for folder, mode in zip(others, modes, strict=True):
            folder.chmod(mode)
    assert status == 2 and errors == f"error: {music}/deep cannot be read: Permission denied\n"


@pytest.mark.parametrize(
    ("platform", "files", "workers"),
    [
        ("linux", ["a.wav", "b.AIFF"] * 50, 0),
        ("linux", ["a.wav", "b.ogg"], 2),
        ("linux", ["a.mp3"], 1),
        ("linux", ["a.mp3"] * 50, 6),
        ("darwin", ["a.mp3"] * 19, 0),
        ("darwin", ["a.mp3"] * 20, 8),
    ],
)
def test_default_number_of_processes(platform, files, workers, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert default_workers(files) == workers
