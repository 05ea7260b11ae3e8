"""The generic reader of labeled audio: folders, tables in many forms, datasets, and splits."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from layouts import write_audio, write_broken, write_lines, write_table

from mulap_hf.data.corpora import CORPORA
from mulap_hf.data.prepare import prepare
from mulap_hf.data.schema import read_tasks
from mulap_hf.errors import DataError
from mulap_hf.transfer.tasks import open_task


def prepared(root, output, **options):
    """The report, the tasks by name, and the rows by split and id."""
    report = prepare(CORPORA["labeled"], root, output, progress=False, embed=False, **options)
    tasks = {task.name: task for task in read_tasks(output)}
    rows = {}
    for split in report.splits:
        shards = sorted(output.glob(f"{split}-*.parquet"))
        rows[split] = {row["id"]: row for shard in shards for row in pq.read_table(shard).to_pylist()}
    return report, tasks, rows


def write_classes(root: Path, classes: dict[str, int]) -> Path:
    for seed, (folder, count) in enumerate(classes.items()):
        for number in range(count):
            write_audio(root / folder / f"{number}.wav", 100 * seed + number)
    return root


def test_a_folder_per_class(tmp_path):
    root = write_classes(tmp_path / "in", {"cello": 10, "flute": 10, "drums/snare": 3, "drums/tom": 3})
    write_audio(root / "loose.wav", 999)
    write_lines(root / "flute" / "notes.txt", ["not audio"])
    report, tasks, rows = prepared(root, tmp_path / "out")
    assert tasks["label"].kind == "single_label"
    assert tasks["label"].classes == ("cello", "drums", "flute")
    assert {split: len(part) for split, part in rows.items()} == {"train": 20, "validation": 3, "test": 3}
    for part in rows.values():
        assert all(row["label"] == name.partition("/")[0] for name, row in part.items())
    assert set(Counter(row["label"] for row in rows["test"].values()).values()) == {1}
    assert [str(item) for item in report.skipped] == ["loose.wav: lies in no folder of a class"]
    assert any(".txt files: 1" in message for message in report.messages)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "* Splits: drawn with seed 0, by recording, stratified by label: train 20, validation 3, test 3." in card
    assert open_task(tmp_path / "out").task.name == "label"


def test_classes_are_mixed_in_the_shards(tmp_path):
    """Folders come sorted, and a stream shuffles nearby rows only."""
    root = write_classes(tmp_path / "in", {"a": 20, "b": 20})
    _, _, rows = prepared(root, tmp_path / "out")
    labels = [row["label"] for row in rows["train"].values()]
    assert 5 <= labels[:16].count("a") <= 11


def test_a_draw_is_the_same_each_time_and_another_for_another_seed(tmp_path):
    root = write_classes(tmp_path / "in", {"a": 20, "b": 20})
    first, same, other = (
        prepared(root, tmp_path / name, seed=seed)[2]["test"] for name, seed in (("1", 0), ("2", 0), ("3", 1))
    )
    assert set(first) == set(same) != set(other)


def test_folders_of_splits_and_a_wrapping_folder(tmp_path):
    root = tmp_path / "archive" / "data"
    write_classes(root, {"train/a": 3, "train/b": 3, "valid/a": 1, "valid/b": 1, "test/a": 2, "test/b": 1})
    _, tasks, rows = prepared(tmp_path / "archive", tmp_path / "out")
    assert {split: len(part) for split, part in rows.items()} == {"train": 6, "validation": 2, "test": 3}
    assert tasks["label"].classes == ("a", "b")
    assert set(rows["validation"]) == {"valid/a/0.wav", "valid/b/0.wav"}


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({"train/a": 1, "test/a": 1, "rock": 1}, "test, train are named after splits, rock are not; move what is not"),
        ({"rock": 3}, "there is a single folder with audio, rock; expected one per class"),
        ({".": 3}, "do not lie in folders named after classes; move them there, or write a table"),
        ({"train": 2, "test": 2}, "do not lie in folders named after classes"),
        ({"train/a": 2, "test/a": 2}, "there is a single folder with audio, a; expected one per class"),
        ({"a": 1, "b": 1}, "the column 'label' has 0 labels with 3 or more recordings; a task needs two"),
    ],
)
def test_folders_that_are_not_classes(tmp_path, folders, message):
    write_classes(tmp_path / "in", folders)
    with pytest.raises(DataError, match=message):
        prepared(tmp_path / "in", tmp_path / "out")


def test_folders_without_audio(tmp_path):
    write_lines(tmp_path / "in" / "a.txt", ["x"])
    with pytest.raises(DataError, match=r"no audio files in it \(found \.txt files: 1, .*; expected a folder"):
        prepared(tmp_path / "in", tmp_path / "out")


@pytest.fixture
def audio(tmp_path):
    """Twelve clips, `0.wav` to `11.wav`."""
    for number in range(12):
        write_audio(tmp_path / "in" / "audio" / f"{number}.wav", number)
    return tmp_path / "in"


def write_labels(root, header, cells, name="labels.csv"):
    rows = [[f"audio/{number}.wav", *row] for number, row in enumerate(cells)]
    return write_table(root / name, [["file_name", *header], *rows])


@pytest.mark.parametrize(
    ("cells", "options", "kind", "classes", "first"),
    [
        (["rock", "pop"] * 6, {}, "single_label", ("pop", "rock"), "rock"),
        (["rock;loud", "pop"] * 6, {}, "multi_label", ("loud", "pop", "rock"), ["rock", "loud"]),
        (["rock | loud", ""] * 6, {}, "multi_label", ("loud", "rock"), ["rock", "loud"]),
        (["rock, loud", "pop, loud", "rock, pop"] * 4, {}, "multi_label", ("loud", "pop", "rock"), ["rock", "loud"]),
        (["rock, loud", "pop"] * 6, {}, "single_label", ("pop", "rock, loud"), "rock, loud"),
        (["a/b", "c"] * 6, {"separator": "/"}, "multi_label", ("a", "b", "c"), ["a", "b"]),
        (["a;b", "c"] * 6, {"kind": "single_label"}, "single_label", ("a;b", "c"), "a;b"),
        (["['a', 'b']", "['a']"] * 6, {}, "multi_label", ("a", "b"), ["a", "b"]),
        (["10", "9", "NULL"] * 4, {}, "single_label", ("9", "10"), "10"),
    ],
)
def test_classes_and_tags_in_a_column(audio, tmp_path, cells, options, kind, classes, first):
    write_labels(audio, ["genre"], [[cell] for cell in cells])
    report, tasks, rows = prepared(audio, tmp_path / "out", min_count=1, **options)
    assert (tasks["genre"].kind, tasks["genre"].classes) == (kind, classes)
    every = {name: row for part in rows.values() for name, row in part.items()}
    assert every["audio/0.wav"]["genre"] == first
    empty = [cell for cell in cells if cell in ("", "NULL")]
    assert [item.reason for item in report.skipped] == ["no label, or one of too few items"] * len(empty)


def test_a_column_per_tag_with_scores(audio, tmp_path):
    cells = [
        [number, "1" if number % 2 else "0", f"{number / 12:.2f}", "yes" if number < 6 else ""] for number in range(12)
    ]
    write_labels(audio, ["year", "loud", "slow", "vocal"], cells)
    _, tasks, rows = prepared(audio, tmp_path / "out", tag_columns=["loud..vocal"], threshold=0.7, min_count=1)
    assert tasks["tags"].classes == ("loud", "slow", "vocal")
    every = {name: row["tags"] for part in rows.values() for name, row in part.items()}
    assert every["audio/0.wav"] == ["vocal"] and every["audio/11.wav"] == ["loud", "slow"]
    write_labels(audio, ["loud", "slow"], [["much", "1"]] * 12)
    with pytest.raises(DataError, match=r"labels\.csv, line 2: the column 'loud' has 'much'; expected a number"):
        prepared(audio, tmp_path / "other", tag_columns=["loud", "slow"])


def test_numbers_and_several_tasks(audio, tmp_path):
    cells = [[f"{number / 4:.2f}".replace(".", ","), number or "", "ab"[number % 2]] for number in range(12)]
    write_labels(audio, ["arousal", "bpm", "class"], cells)
    options = {"value_columns": ["arousal", "BPM"], "label_columns": ["Class"], "delimiter": ","}
    _, tasks, rows = prepared(audio, tmp_path / "out", min_count=1, **options)
    assert tasks["values"].kind == "regression" and tasks["values"].columns == ("arousal", "bpm")
    assert tasks["class"].classes == ("a", "b")
    every = {name: row for part in rows.values() for name, row in part.items()}
    assert every["audio/3.wav"]["arousal"] == 0.75 and every["audio/0.wav"]["bpm"] is None
    with pytest.raises(DataError, match=r"line 3: the column 'arousal' holds numbers \('0,25'\), not labels; pass"):
        prepared(audio, tmp_path / "other", label_columns=["arousal"])


def test_splits_of_columns(audio, tmp_path):
    names = ["train"] * 6 + ["val"] * 2 + ["test"] * 4
    write_labels(audio, ["genre", "split"], [["ab"[n % 2], name] for n, name in enumerate(names)])
    _, _, rows = prepared(audio, tmp_path / "out")
    assert {split: len(part) for split, part in rows.items()} == {"train": 6, "validation": 2, "test": 4}
    write_labels(audio, ["genre", "fold"], [["ab"[n % 2], n % 4 + 1] for n in range(12)])
    _, _, rows = prepared(audio, tmp_path / "folds")
    assert {split: len(part) for split, part in rows.items()} == {"train": 6, "validation": 3, "test": 3}
    assert set(rows["test"]) == {"audio/3.wav", "audio/7.wav", "audio/11.wav"}
    card = (tmp_path / "folds" / "README.md").read_text()
    assert "* Splits: the folds of 'fold': test 4; validation 3." in card
    _, _, rows = prepared(
        audio, tmp_path / "named", split_column="fold", test_folds=["1", "2"], validation_folds=["3"]
    )
    assert {split: len(part) for split, part in rows.items()} == {"train": 3, "validation": 3, "test": 6}
    with pytest.raises(DataError, match="'fold' has no fold '9'; there are 1, 2, 3, 4"):
        prepared(audio, tmp_path / "wrong", test_folds=["9"])


def test_splits_that_are_missing_are_drawn_from_train(audio, tmp_path):
    write_labels(audio, ["genre"], [["ab"[n % 2]] for n in range(12)][:8], "songs_train.csv")
    write_table(audio / "songs_test.csv", [["file_name", "genre"], ["audio/8.wav", "a"], ["audio/9.wav", "b"]])
    _, _, rows = prepared(audio, tmp_path / "out", validation_fraction=0.25)
    assert {split: len(part) for split, part in rows.items()} == {"train": 6, "validation": 2, "test": 2}
    assert set(rows["test"]) == {"audio/8.wav", "audio/9.wav"}


def test_splits_of_lists(audio, tmp_path):
    write_labels(audio, ["genre"], [["ab"[n % 2]] for n in range(12)])
    write_lines(tmp_path / "lists" / "split01_train.csv", [str(n) for n in range(8)])
    write_lines(tmp_path / "lists" / "split01_test.csv", ["8.wav", "audio/9.wav"])
    report, _, rows = prepared(audio, tmp_path / "out", split_lists=str(tmp_path / "lists"))
    assert len(rows["train"]) + len(rows["validation"]) == 8
    assert set(rows["test"]) == {"audio/8.wav", "audio/9.wav"}
    skipped = sorted((item.id, item.reason) for item in report.skipped)
    assert skipped == [("audio/10.wav", "in no split"), ("audio/11.wav", "in no split")]
    write_lines(tmp_path / "lists" / "split01_test.csv", ["1"])
    with pytest.raises(DataError, match="1 is in the list of "):
        prepared(audio, tmp_path / "other", split_lists=str(tmp_path / "lists"))


def test_a_row_per_label_with_a_score(audio, tmp_path):
    """As OpenMIC has it."""
    labels = [["sample_key", "instrument", "relevance"]]
    for number in range(12):
        labels += [[number, "flute", number / 12], [number, "voice", 0.9], [number, "banjo", 0.1]]
    write_table(audio / "aggregated-labels.csv", labels)
    report, tasks, rows = prepared(
        audio, tmp_path / "out", file_column="sample_key", label_columns=["instrument"], score_column="relevance"
    )
    assert tasks["instrument"].kind == "multi_label" and tasks["instrument"].classes == ("flute", "voice")
    every = {Path(row["audio"]["path"]).stem: row["instrument"] for part in rows.values() for row in part.values()}
    assert every["3"] == ["voice"] and every["9"] == ["flute", "voice"]
    assert len(every) == 12
    assert any("12 names found with a suffix" in message or "36 names" in message for message in report.messages)


@pytest.mark.parametrize("how", [{"group_column": "artist"}, {"group_pattern": r"take(\d)"}])
def test_groups_stay_together(tmp_path, how):
    rows = []
    for number in range(40):
        name = f"take{number % 8}_{number}.wav"
        write_audio(tmp_path / "in" / name, number)
        rows.append([name, "ab"[number // 8 % 2], f"artist {number % 8}"])
    write_table(tmp_path / "in" / "labels.csv", [["file_name", "label", "artist"], *rows])
    _, _, found = prepared(tmp_path / "in", tmp_path / "out", min_count=1, **how)
    takes = {split: {name[4] for name in part} for split, part in found.items()}
    assert set(takes) == {"train", "validation", "test"}
    assert sum(map(len, takes.values())) == 8


def test_rare_labels_are_left_out_and_said(audio, tmp_path):
    write_labels(audio, ["genre"], [["polka" if n == 0 else "ab"[n % 2]] for n in range(12)])
    report, tasks, _ = prepared(audio, tmp_path / "out")
    assert tasks["genre"].classes == ("a", "b")
    assert [item.id for item in report.skipped] == ["audio/0.wav"]
    assert (
        "* 1 labels of 'genre' with fewer than 3 recordings are left out: polka"
        in (tmp_path / "out" / "README.md").read_text()
    )


@pytest.mark.parametrize("parts", [("data",), ("train", "test")])
def test_datasets_with_class_labels(tmp_path, parts):
    audio = [write_audio(tmp_path / f"{number}.wav", number).read_bytes() for number in range(12)]
    number = ClassLabel(names=["jazz", "rock", "polka"])
    features = Features(
        {
            "audio": {"bytes": Value("binary"), "path": Value("string")},
            "genre": number,
            "moods": List(number),
        }
    )
    for part in parts:
        rows = {
            "audio": [{"bytes": content, "path": None} for content in audio],
            "genre": [0, 1] * 6,
            "moods": [[0, 1], [], [1]] * 4,
        }
        (tmp_path / "in").mkdir(exist_ok=True)
        Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "in" / f"{part}.parquet")
        audio = audio[::-1]
    _, tasks, rows = prepared(tmp_path / "in", tmp_path / "out", label_columns=["genre", "moods"], min_count=1)
    assert (tasks["genre"].kind, tasks["genre"].classes) == ("single_label", ("jazz", "rock"))
    assert (tasks["moods"].kind, tasks["moods"].classes) == ("multi_label", ("jazz", "rock"))
    assert set(rows) == {"train", "validation", "test"}
    assert sum(map(len, rows.values())) == 12 * len(parts)


def test_broken_files_are_left_out_of_the_split_that_they_are_in(tmp_path):
    root = write_classes(tmp_path / "in", {"a": 10, "b": 10})
    write_broken(root / "a" / "bad.wav")
    report, _, rows = prepared(root, tmp_path / "out")
    assert [(item.id, item.reason) for item in report.skipped] == [("a/bad.wav", "broken audio")]
    assert sum(map(len, rows.values())) == 20


def test_tasks_are_those_that_the_documentation_shows(audio, tmp_path):
    write_labels(audio, ["genre"], [["ab"[n % 2]] for n in range(12)])
    prepared(audio, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "tasks.json").read_text()) == [
        {
            "name": "genre",
            "kind": "single_label",
            "columns": ["genre"],
            "classes": ["a", "b"],
            "seconds": None,
            "description": "",
        }
    ]
