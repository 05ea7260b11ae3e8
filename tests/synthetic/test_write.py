import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile
from soundfonts import write_soundfont

from mulap_hf.errors import MulapError
from mulap_hf.synthetic import make_clip, make_note, write_corpus, write_notes, write_parquet
from mulap_hf.synthetic.__main__ import main


def contents(directory):
    """Return the bytes of all files of a folder, except its lock file."""
    files = (path for path in Path(directory).rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_folder_holds_the_clips(config, tmp_path):
    folder = write_corpus(config, "validation", 3, tmp_path, num_workers=1, progress=False)
    assert folder == tmp_path / "validation"
    rows = rows_of(folder)
    assert [row["clip_id"] for row in rows] == [f"validation-{index:06d}" for index in range(3)]
    for index, row in enumerate(rows):
        clip = make_clip(config, "validation", index)
        audio, sampling_rate = soundfile.read(folder / row.pop("file_name"), dtype="float32")
        assert sampling_rate == 16_000
        np.testing.assert_allclose(audio, clip.pop("audio"), atol=2 / 2**15)
        assert row == json.loads(json.dumps(clip))


def test_notes_are_written_beside_the_clips(config, tmp_path):
    write_corpus(config, "train", 1, tmp_path, num_workers=1, progress=False)
    folder = write_notes(config, "train", 3, tmp_path, num_workers=1, progress=False)
    assert folder == tmp_path / "notes" / "train"
    before = contents(folder)
    main(
        [
            "--output",
            str(tmp_path / "again"),
            "--notes",
            "--num_clips",
            "3",
            "--clip_seconds",
            "4",
            "--num_workers",
            "2",
        ]
    )
    assert contents(tmp_path / "again" / "notes" / "train") == before
    rows = rows_of(folder)
    assert [row["note_id"] for row in rows] == [f"train-note-{index:06d}" for index in range(3)]
    note = make_note(config, "train", 1)
    audio, _ = soundfile.read(folder / rows[1]["file_name"], dtype="float32")
    np.testing.assert_allclose(audio, note["audio"], atol=2 / 2**15)


def test_command_line_errors_name_the_cause(tmp_path):
    main(["--output", str(tmp_path), "--num_clips", "1", "--clip_seconds", "2", "--num_workers", "1"])
    for arguments, message in (
        (["--seed", "1"], "holds a corpus with other settings: clip_seconds .*seed"),
        (["--split", "test_soundfont", "--clip_seconds", "2"], "needs a soundfont"),
        (["--notes", "--format", "parquet"], "--notes writes flac only"),
        (["--clip_seconds", "0.5"], "clip_seconds must be at least 1"),
        (["--clip_seconds", "nan"], "clip_seconds must be at least 1, got nan"),
        (["--clip_seconds", "2", "--num_clips", "-5"], "number of items must be at least 1, got -5"),
    ):
        with pytest.raises(MulapError, match=message):
            main(["--output", str(tmp_path), *arguments])


def test_four_workers_write_the_same_bytes_as_one(config, tmp_path):
    write_corpus(config, "train", 10, tmp_path / "one", num_workers=1, progress=False)
    write_corpus(config, "train", 10, tmp_path / "four", num_workers=4, progress=False)
    one = contents(tmp_path / "one")
    assert one == contents(tmp_path / "four")
    assert len(one) == 10 + 2


def test_a_killed_run_resumes(config, tmp_path):
    command = [
        sys.executable,
        "-m",
        "mulap_hf.synthetic",
        "--output",
        str(tmp_path / "killed"),
        "--num_clips",
        "100000",
    ]
    process = subprocess.Popen(
        [*command, "--clip_seconds", "4", "--num_workers", "1"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
    )
    folder = tmp_path / "killed" / "train"
    while len(list((folder / ".unfinished").glob("[!.]*.json"))) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert not (folder / "metadata.jsonl").exists()
    finished = sorted((folder / "audio").glob("*.flac"))
    written = {path: path.stat().st_mtime_ns for path in finished[:-1]}  # the row of the last one may be missing
    number = len(finished) + 2
    write_corpus(config, "train", number, tmp_path / "killed", num_workers=1, progress=False)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    write_corpus(config, "train", number, tmp_path / "whole", num_workers=1, progress=False)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_folder_grows(config, tmp_path):
    write_corpus(config, "test", 2, tmp_path / "grown", num_workers=1, progress=False)
    write_corpus(config, "test", 4, tmp_path / "grown", num_workers=1, progress=False)
    write_corpus(config, "test", 4, tmp_path / "at once", num_workers=1, progress=False)
    assert contents(tmp_path / "grown") == contents(tmp_path / "at once")


def test_a_smaller_number_shortens_the_metadata_and_keeps_the_files(config, tmp_path):
    folder = write_corpus(config, "test", 4, tmp_path, num_workers=1, progress=False)
    before, times = contents(tmp_path), {path: path.stat().st_mtime_ns for path in (folder / "audio").iterdir()}
    write_corpus(config, "test", 2, tmp_path, num_workers=1, progress=False)
    assert [row["clip_id"] for row in rows_of(folder)] == ["test-000000", "test-000001"]
    write_corpus(config, "test", 4, tmp_path, num_workers=1, progress=False)
    assert contents(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in (folder / "audio").iterdir()} == times


def test_foreign_parquet_files_are_kept(config, tmp_path):
    foreign = tmp_path / "train-00000-of-00001.parquet"
    foreign.write_bytes(b"mine")
    write_parquet(config, "train", 1, tmp_path, num_workers=1, progress=False)
    assert foreign.read_bytes() == b"mine"


def test_a_deleted_clip_is_made_again(config, tmp_path):
    folder = write_corpus(config, "test", 2, tmp_path, num_workers=1, progress=False)
    before = contents(tmp_path)
    (folder / "audio" / "test-000001.flac").unlink()
    write_corpus(config, "test", 2, tmp_path, num_workers=1, progress=False)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("write", [write_corpus, write_notes, write_parquet])
def test_a_held_out_soundfont_can_be_added_later(config, tmp_path, write):
    pytest.importorskip("tinysoundfont")
    fonts = [str(write_soundfont(tmp_path / f"{number}.sf2", number)) for number in (3, 8)]
    corpus = tmp_path / "corpus"
    write(replace(config, held_out_soundfont=fonts[1]), "train", 1, corpus, num_workers=1, progress=False)
    before = contents(corpus)
    held_out = replace(config, held_out_soundfont=fonts[0])
    write(held_out, "test_soundfont", 1, corpus, num_workers=1, progress=False)
    settings = json.loads(before.pop("corpus.json"))
    after = contents(corpus)
    assert before.items() < after.items()
    noted = json.loads(after["corpus.json"])
    assert noted == settings | {"held_out_soundfont": hashlib.sha256(Path(fonts[0]).read_bytes()).hexdigest()}
    for settings in (config, replace(config, held_out_soundfont=fonts[1])):  # this split does not use it
        write(settings, "train", 1, corpus, num_workers=1, progress=False)
    assert contents(corpus) == after
    with pytest.raises(ValueError, match=r"held_out_soundfont \('.*', now '.*'\).*soundfonts are compared"):
        write(replace(config, held_out_soundfont=fonts[1]), "test_soundfont", 2, corpus, num_workers=1, progress=False)
    assert contents(corpus) == after


@pytest.mark.parametrize("write", [write_corpus, write_parquet])
def test_other_settings_are_refused(config, tmp_path, write):
    write(config, "train", 1, tmp_path, num_workers=1, progress=False)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"other settings: seed \(0, now 5\)"):
        write(replace(config, seed=5), "train", 1, tmp_path, num_workers=1, progress=False)
    assert contents(tmp_path) == before


def test_parquet_holds_the_same_clips(config, tmp_path):
    paths = write_parquet(config, "train", 5, tmp_path / "one", clips_per_shard=2, num_workers=1, progress=False)
    assert [path.name for path in paths] == [
        "train-000000-000002.parquet",
        "train-000002-000004.parquet",
        "train-000004-000005.parquet",
    ]
    rows = [row for path in paths for row in pyarrow.parquet.read_table(path).to_pylist()]
    for index, row in enumerate(rows):
        clip = make_clip(config, "train", index)
        audio, _ = soundfile.read(io.BytesIO(row.pop("audio")["bytes"]), dtype="float32")
        np.testing.assert_allclose(audio, clip.pop("audio"), atol=2 / 2**15)
        assert row == json.loads(json.dumps(clip))
    write_parquet(config, "train", 5, tmp_path / "two", clips_per_shard=2, num_workers=2, progress=False)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_parquet_shards_of_an_earlier_number_of_clips_are_deleted(config, tmp_path):
    write_parquet(config, "train", 3, tmp_path, clips_per_shard=2, num_workers=1, progress=False)
    write_parquet(config, "test", 1, tmp_path, num_workers=1, progress=False)
    write_parquet(config, "train", 4, tmp_path, clips_per_shard=2, num_workers=1, progress=False)
    assert sorted(contents(tmp_path)) == [
        "corpus.json",
        "test-000000-000001.parquet",
        "train-000000-000002.parquet",
        "train-000002-000004.parquet",
    ]


@pytest.mark.parametrize(
    ("name", "format"), [("test/metadata.jsonl", "flac"), ("test-000000-000002.parquet", "parquet")]
)
def test_command_line(tmp_path, name, format):
    arguments = ["--output", str(tmp_path), "--split", "test", "--num_clips", "2", "--clip_seconds", "4"]
    main([*arguments, "--seed", "3", "--format", format, "--num_workers", "1"])
    assert (tmp_path / name).exists()
    assert json.loads((tmp_path / "corpus.json").read_text())["seed"] == 3


def test_two_processes_can_write_the_same_split_at_once(tmp_path):
    """Two training runs that are started together write the same default corpus."""
    command = [sys.executable, "-m", "mulap_hf.synthetic", "--output", str(tmp_path / "both"), "--split", "train"]
    command += ["--num_clips", "6", "--clip_seconds", "2", "--num_workers", "1"]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert len(rows_of(tmp_path / "both" / "train")) == 6
