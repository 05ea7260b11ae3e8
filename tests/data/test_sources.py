"""Described audio on disk, in each of the forms users have it, whole and broken."""

import csv
import json

import pytest
from conftest import write_tone

from mulap_hf.data import DataError, read_pairs

ROWS = [("a.wav", "a calm piano"), ("sub/b.flac", "loud, rock")]


@pytest.fixture
def folder(tmp_path):
    for name, _ in ROWS:
        write_tone(tmp_path / name, seconds=0.1)
    return tmp_path


def write_metadata(folder, form, rows, file_column="file_name", caption_column="caption"):
    rows = [{file_column: name, caption_column: caption} for name, caption in rows]
    if form == "metadata.jsonl":
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / form).write_text(text + "\n")
    elif form == "metadata.csv":
        with (folder / form).open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, [file_column, caption_column])
            writer.writeheader()
            writer.writerows(rows)
    else:
        rows = [{"audio_id": index, **row} for index, row in enumerate(rows)]
        (folder / form).write_text(json.dumps(rows))


@pytest.mark.parametrize(
    ("form", "file_column", "caption_column"),
    [
        ("metadata.jsonl", "file_name", "caption"),
        ("metadata.csv", "file_name", "text"),
        ("dataset_train.json", "audio_path", "caption"),
    ],
)
def test_forms(folder, form, file_column, caption_column):
    write_metadata(folder, form, ROWS, file_column, caption_column)
    for source in (folder, folder / form):
        pairs = read_pairs(source)
        assert pairs.skipped == []
        assert pairs.table["audio"][:] == [str(folder / name) for name, _ in ROWS]
        assert pairs.table["caption"][:] == [caption for _, caption in ROWS]
    assert pairs.table["id"][0] == ("0" if form.endswith(".json") else "a.wav")


def test_caption_column_by_name(folder):
    write_metadata(folder, "metadata.csv", ROWS, caption_column="notes")
    with pytest.raises(DataError, match="no column 'caption' or 'text' or 'description'.*'file_name', 'notes'"):
        read_pairs(folder)
    assert len(read_pairs(folder, "notes").table) == 2


def test_unusable_rows_are_left_out_with_reasons(folder):
    write_metadata(folder, "metadata.jsonl", [*ROWS, ("a.wav", "  "), ("gone.mp3", "lost")])
    pairs = read_pairs(folder)
    assert len(pairs.table) == 2
    assert [(item.id, item.reason) for item in pairs.skipped] == [
        ("a.wav#2", "no caption"),
        ("gone.mp3", f"no such file: {folder / 'gone.mp3'}"),
    ]


def test_nothing_usable(folder, tmp_path):
    write_metadata(folder, "metadata.jsonl", [("gone.mp3", "lost")])
    with pytest.raises(DataError, match="none of its 1 rows can be used"):
        read_pairs(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, "", "no metadata.jsonl or metadata.csv"),
        (
            "metadata.jsonl",
            '{"file_name": "a.wav", "caption": "x"}\n{oops\n',
            "metadata.jsonl, line 2: not valid JSON",
        ),
        ("metadata.jsonl", "", "no rows in it"),
        ("metadata.jsonl", "[1]\n", "one object per item"),
        ("metadata.csv", "caption\nx\n", "no column 'file_name' or 'audio_path'"),
        ("all.json", '{"a": 1}', "one object per item"),
    ],
)
def test_broken_metadata(tmp_path, name, content, message):
    if name:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path)


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_pairs(tmp_path / "nowhere")
