"""Tasks of prepared datasets: what is read, when, and what is said of what is missing."""

import json
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from soundfonts import write_soundfont
from tones import SIZES, TASKS, make_rows, write_dataset, write_split

from mulap_hf.data.provenance import provenance
from mulap_hf.data.schema import write_tasks
from mulap_hf.errors import DataError, MissingPackageError
from mulap_hf.transfer.tasks import open_synthetic_task, open_task


def test_rows_are_audio_and_labels_are_targets(dataset):
    data = open_task(dataset, "register")
    assert data.splits() == ["train", "validation", "test"]
    rows = list(data.rows("test"))
    assert [row["id"] for row in rows] == data.ids("test") == [row["id"] for row in make_rows("test", SIZES["test"])]
    assert all(set(row) == {"id", "audio"} for row in rows)
    targets = data.targets("test")
    assert targets.of(data.ids("test")).tolist() == [0, 1, 2] * 6
    assert targets.skipped == []
    assert data.captions("test")["test-000"].startswith("a low tone")


def test_rows_need_no_labels(dataset):
    for shard in dataset.glob("test-*.parquet"):
        pq.write_table(pq.read_table(shard, columns=["id", "audio"]), shard)
    data = open_task(dataset, "register")
    assert len(list(data.rows("test"))) == SIZES["test"]
    with pytest.raises(DataError, match=r"test-00000-of-00002.parquet: the column 'register' cannot be read"):
        data.targets("test")


def test_labels_that_say_nothing_are_skipped_and_named(dataset):
    rows = make_rows("train", 6)
    rows[0]["register"] = None
    rows[1]["register"] = "ultrasonic"
    rows[2]["octave"] = float("nan")
    write_split(dataset, "train", rows)
    targets = open_task(dataset, "register").targets("train")
    assert list(targets.by_id) == ["train-002", "train-003", "train-004", "train-005"]
    assert [item.id for item in targets.skipped] == ["train-000", "train-001"]
    assert "'ultrasonic' is none of its 3 classes" in str(targets.skipped[1])
    assert [item.id for item in open_task(dataset, "pitch").targets("train").skipped] == ["train-002"]


def test_without_a_validation_split_some_training_rows_are_one(tmp_path):
    data = open_task(write_dataset(tmp_path / "two", {"train": 60, "test": 4}), "sound")
    train, validation = data.ids("train"), data.ids("validation")
    assert sorted(train + validation) == [f"train-{index:03d}" for index in range(60)]
    assert 2 <= len(validation) <= 12
    assert [row["id"] for row in data.rows("validation")] == validation
    assert set(data.targets("validation").by_id) == set(validation)


def test_fingerprint_follows_the_audio(dataset):
    data = open_task(dataset, "register")
    before = data.fingerprint("train"), data.fingerprint("test")
    assert len(set(before)) == 2
    write_split(dataset, "train", make_rows("train", SIZES["train"], seed=1))
    assert data.fingerprint("train") != before[0]
    assert data.fingerprint("test") == before[1]


def test_what_cannot_be_opened(dataset, tmp_path):
    with pytest.raises(DataError, match=r"--data .*nowhere does not exist"):
        open_task(tmp_path / "nowhere")
    with pytest.raises(DataError, match="several tasks; pass --task with one of: register, sound, pitch"):
        open_task(dataset)
    with pytest.raises(DataError, match="no task 'genre'"):
        open_task(dataset, "genre")
    write_tasks(dataset, TASKS[:1])
    assert open_task(dataset).task.name == "register"
    for shard in dataset.glob("test-*"):
        shard.unlink()
    with pytest.raises(DataError, match=r"requires the splits train and test \(found: train, validation\)"):
        open_task(dataset)


def test_synthetic_tasks_are_made_once(tmp_path):
    data = open_synthetic_task("style", tmp_path, 12, 2.0, progress=False)
    assert [len(data.ids(split)) for split in data.splits()] == [12, 3, 6, 6]
    assert data.test_splits == ["test", "test_presets"]
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    again = open_synthetic_task("tagging", tmp_path, 12, 2.0, progress=False)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == made
    assert again.targets("test").of(again.ids("test")).shape == (6, again.task.num_outputs)
    assert provenance(data.folder)["corpus"] == "synthetic"
    notes = open_synthetic_task("instrument", tmp_path, 12, 2.0, progress=False)
    assert notes.task.columns == ("family",)
    with pytest.raises(DataError, match="the synthetic corpus has the tasks tagging, style, emotion, key, instrument"):
        open_synthetic_task("genre", tmp_path, 12, 2.0, progress=False)


@pytest.mark.parametrize("task", ["style", "instrument"])
def test_a_third_test_split_is_added_with_another_soundfont(tmp_path, task, monkeypatch):
    pytest.importorskip("tinysoundfont")
    font, other = (str(write_soundfont(tmp_path / f"{number}.sf2", number)) for number in (3, 8))

    def opened(*font):
        return open_synthetic_task(task, tmp_path / "tasks", 4, 2.0, False, *font)

    splits = ["train", "validation", "test", "test_presets"]
    before = opened()
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.suffix in (".flac", ".parquet")}
    prints = [before.fingerprint(split) for split in splits]
    data = opened(font)
    assert data.splits() == [*splits, "test_soundfont"] and len(data.ids("test_soundfont")) == 2
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert [data.fingerprint(split) for split in splits] == prints
    assert data.targets("test_soundfont").of(data.ids("test_soundfont")).shape == (2,)
    assert opened().splits() == splits  # what is asked for, whatever else is there
    with pytest.raises(DataError, match="holds a corpus with other settings: held_out_soundfont"):
        opened(other)
    monkeypatch.setitem(sys.modules, "tinysoundfont", None)
    assert opened(font).splits() == data.splits()  # nothing has to be played


def test_a_soundfont_that_cannot_be_played_is_said_before_anything_is_made(tmp_path, monkeypatch):
    def opened():
        return open_synthetic_task("style", tmp_path / "tasks", 4, 2.0, False, str(tmp_path / "font.sf2"))

    with pytest.raises(DataError, match=r"--held_out_soundfont .*font\.sf2: the file does not exist"):
        opened()
    write_soundfont(tmp_path / "font.sf2")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tinysoundfont", None)
        with pytest.raises(MissingPackageError, match="pip install --no-deps tinysoundfont"):
            opened()
    assert not (tmp_path / "tasks").exists()


def test_songs_of_tasks_are_not_those_of_pretraining(tmp_path):
    data = open_synthetic_task("style", tmp_path, 4, 2.0, progress=False)
    settings = json.loads((data.folder.parent / "corpus.json").read_text())
    assert settings["seed"] == 1  # pretrain.py takes 0
    assert np.isfinite(data.targets("train").of(data.ids("train"))).all()
