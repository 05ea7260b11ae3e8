"""Tables as people have them: how each is read, and what is refused with which words."""

import codecs
import json

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import write_lines

from mulap_hf.data.paths import find_path
from mulap_hf.data.splits import name_splits, split_of, split_rows
from mulap_hf.data.tables import (
    Table,
    caption_problem,
    clean_labels,
    clean_text,
    is_missing,
    read_rows,
    read_table,
    read_text,
)
from mulap_hf.errors import DataError

ROWS = [{"file": "a.wav", "caption": "café, loud"}, {"file": "b.wav", "caption": "two\nlines"}]
PLAIN = 'file,caption\na.wav,"café, loud"\nb.wav,"two\nlines"\n'
SEMICOLONS = 'file;caption\r\na.wav;café, loud\r\nb.wav;"two\nlines"\r\n'
TABS = 'file\tcaption\na.wav\tcafé, loud\nb.wav\t"two\nlines"\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", PLAIN.encode()),
        ("a.csv", codecs.BOM_UTF8 + PLAIN.encode()),
        ("a.csv", SEMICOLONS.encode()),
        ("a.csv", TABS.encode()),
        ("a.tsv", TABS.encode()),
        ("a.txt", TABS.encode()),
        ("a.csv", PLAIN.replace("\n", "\r\n").replace("two\r\n", "two\n").encode()),
        ("a.csv", ("sep=;\r\n" + SEMICOLONS).encode("utf-8-sig")),
        ("a.csv", ('"sep=,"\n' + PLAIN).encode()),
        ("a.csv", PLAIN.replace(",", "|").replace("café|", "café,").encode()),
        ("a.csv", TABS.encode("utf-16")),
        ("a.csv", TABS.encode("utf-16-le")),
        ("a.csv", TABS.encode("utf-16-be")),
        ("a.csv", codecs.BOM_UTF32_LE + PLAIN.encode("utf-32-le")),
        ("a.csv", SEMICOLONS.encode("cp1252")),
        ("a.csv", ("\n\n" + PLAIN + "\n,\n").encode()),
        ("a.jsonl", "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode("utf-8-sig")),
        ("a.ndjson", "\r\n".join(json.dumps(row) for row in ROWS).encode()),
        ("a.json", json.dumps(ROWS, indent=1).encode("utf-16")),
    ],
)
def test_text_in_any_form(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    table = read_table(tmp_path / name)
    assert table.rows == ROWS
    assert table.columns == ("file", "caption")


@pytest.mark.parametrize("name", ["a.xlsx", "named.csv"])
def test_sheets(tmp_path, name):
    book = openpyxl.Workbook()
    book.active.title = "Empty"
    book.create_sheet("Songs").append([])
    for row in (["File ", "bpm", "when", None], [], ["a.wav", 120.0, None], ["b.wav", 99.5, "x", "surplus"]):
        book["Songs"].append(row)
    book.create_sheet("Other").append(["file"])
    book["Other"].append(["c.wav"])
    book.save(tmp_path / "a.xlsx")
    path = (tmp_path / "a.xlsx").rename(tmp_path / name)
    table = read_table(path)
    assert table.rows == [
        {"File": "a.wav", "bpm": 120, "when": None},
        {"File": "b.wav", "bpm": 99.5, "when": "x"},
    ]
    assert list(table.places) == ["row 4", "row 5"]
    assert table.problems == {1: "more cells than the table has columns"}
    assert table.notes == (f"{name}: sheet 'Songs' is read; pass --sheet for another",)
    assert read_table(path, sheet="Other").rows == [{"file": "c.wav"}]
    with pytest.raises(DataError, match=r"--sheet Oops: .* has the sheets Empty, Songs, Other"):
        read_table(path, sheet="Oops")
    with pytest.raises(DataError, match="there are no rows in it"):
        read_table(path, sheet="Empty")


def test_parquet_without_its_audio(tmp_path):
    pq.write_table(pa.table({"file": ["a.wav"], "tags": [["x", "y"]], "audio": [b"bytes"]}), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").rows == [{"file": "a.wav", "tags": ["x", "y"]}]


def test_lines_are_those_of_the_file(tmp_path):
    (tmp_path / "a.csv").write_text('sep=,\n\nfile,caption\na.wav,"two\nlines"\n\nb.wav,x,surplus\nc.wav\n')
    table = read_table(tmp_path / "a.csv")
    assert list(table.places) == ["line 4", "line 7", "line 8"]
    assert table.problems == {1: "more cells than the table has columns"}
    assert table.rows[2] == {"file": "c.wav", "caption": ""}
    assert table.place(0) == "a.csv, line 4"


def test_what_is_detected_is_said(tmp_path):
    (tmp_path / "a.csv").write_bytes("file;caption\na.wav;x\nb.wav;café\n".encode("cp1252"))
    assert read_table(tmp_path / "a.csv").notes == (
        "a.csv is read as Windows-1252 (line 3: 'b.wav;café'); pass --encoding if that is wrong",
        "a.csv is separated by semicolons",
    )
    assert read_table(tmp_path / "a.csv", ";", "latin-1").notes == ()
    (tmp_path / "b.csv").write_bytes(SEMICOLONS.encode("utf-16"))
    assert read_table(tmp_path / "b.csv", delimiter=";").notes == ()


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.csv", b"", {}, r"a\.csv: there are no rows in it"),
        ("a.csv", b"file,caption\n", {}, "there are no rows in it"),
        ("a.csv", b'file,caption\na.wav,"calm\nb.wav,loud\n', {}, "line 2: a quote that is opened here is never"),
        ("a.csv", b'file,caption\na.wav,"calm\nb.wav,"loud"\n', {}, "line 2: there is text after a closing quote"),
        ("a.csv", b'file,caption\na.wav,"calm\nb.wav,x\nc.wav,"\n', {}, "line 2: a cell .* look like rows of their"),
        ("a.csv", b'file,caption\na.wav,"Heroes" (live)\n', {}, "line 2: there is text after a closing quote"),
        ("a.csv", b"a.wav,calm\nb.wav,loud\n", {}, "line 1: 'a.wav' is an audio file, not the name of a column"),
        ("a.csv", b"<!DOCTYPE html><html>", {}, "line 1: this is an HTML or XML page, not a table"),
        ("a.csv", b"file,x\na.wav,caf\xe9\nb.wav,\xc3\xa9t\xc3\xa9\n", {}, "line 2: not UTF-8 .* save it as UTF-8"),
        ("a.csv", "file,x\na.wav,музыка для всех\n".encode("cp1251"), {}, "line 2: neither UTF-8 nor Windows-1252"),
        ("a.csv", "file,x\na.wav,音楽\n".encode("shift_jis"), {}, "line 2: neither UTF-8 nor Windows-1252"),
        ("a.csv", b"file,x\na.wav,y\n", {"encoding": "utf-9"}, "--encoding utf-9: unknown encoding"),
        ("a.csv", b"file,x\na.wav,\xff\n", {"encoding": "utf-8"}, "line 2: not utf-8"),
        ("a.csv", b"file,x\na.wav,y\n", {"delimiter": ", "}, "--delimiter , : expected a single character"),
        ("a.csv", b"file;one|two\na.wav;x|y\n", {}, "line 1: can be separated by semicolons and by vertical bars"),
        ("a.jsonl", b'{"file": "a.wav"}\n{oops\n', {}, "line 2: not valid JSON"),
        ("a.jsonl", b'{"file": "a.wav", "file": "b.wav"}\n', {}, "line 1: an object has the key 'file' twice"),
        ("a.jsonl", b"[1]\n", {}, "expected one object per item"),
        ("a.json", b'{"file": "a.wav"}', {}, "expected one object per item"),
        ("a.xlsx", b"PK\x03\x04 no archive", {}, "cannot be read as XLSX"),
        ("a.parquet", b"PAR1 no parquet", {}, "cannot be read as parquet"),
        ("a.docx", b"x", {}, r"expected a \.csv, .* file, not '\.docx'"),
        ("a.xls", b"x", {}, r"\.xls is not a table that can be read; save the sheet as \.xlsx or \.csv"),
        ("a.m3u8", b"x", {}, "a playlist names files without describing them; export a CSV file"),
        ("rekordbox.xml", b"x", {}, "libraries of Rekordbox, iTunes and Traktor are not read; export the collection"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(tmp_path, name, content, options, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_table(tmp_path / name, **options)
    assert "--" in str(error.value)[:2] or str(tmp_path / name) in str(error.value)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.csv: cannot be read: No such file"):
        read_table(tmp_path / "gone.csv")
    with pytest.raises(DataError, match=rf"the thing.*{tmp_path}/a or {tmp_path}/b"):
        find_path(tmp_path, ("a", "b"), "the thing")


def test_tabs_and_quotes_of_catalogs(tmp_path):
    """Quotes inside of cells that are not quoted are letters."""
    (tmp_path / "a.tsv").write_text('file\tcaption\na.wav\t12" remix of "Heroes"\n')
    assert read_rows(tmp_path / "a.tsv") == [{"file": "a.wav", "caption": '12" remix of "Heroes"'}]


def test_columns_by_name():
    table = Table(tmp := __file__, ("File Name", "caption", "Caption ", "ID"), [], [])
    assert table.find(("file_name",), "x") == "File Name"
    assert table.find(("filename",), "x") == "File Name"
    assert table.find(("id",), "x") == "ID"
    assert table.find(("caption",), "x") == "caption"  # one is written just so
    assert table.find(("text",), "x", required=False) is None
    with pytest.raises(DataError, match=r"several columns can be x: 'caption', 'Caption '; rename or remove"):
        table.find(("CAPTION",), "x")
    with pytest.raises(DataError, match="no column 'text' or 'words' for x; its columns are 'File Name', 'caption'"):
        table.find(("text", "words"), "x")
    with pytest.raises(DataError, match="several columns can be the caption: 'caption', 'caption'"):
        Table(tmp, ("caption", "caption"), [], []).find(("caption",), "the caption")


def test_rows_with_line_breaks_and_a_byte_order_mark(tmp_path):
    (tmp_path / "a.csv").write_bytes('\ufefffile,caption\r\na.wav,"two\nlines, one cell"\r\n\r\n'.encode())
    assert read_rows(tmp_path / "a.csv", required=["file"]) == [{"file": "a.wav", "caption": "two\nlines, one cell"}]
    (tmp_path / "b.jsonl").write_text('{"caption": "a\u2028b"}\n', encoding="utf-8")  # a line break to str.splitlines
    assert read_rows(tmp_path / "b.jsonl") == [{"caption": "a\u2028b"}]
    with pytest.raises(DataError, match="no column 'text' for this corpus"):
        read_rows(tmp_path / "b.jsonl", required=["text"])


@pytest.mark.parametrize(
    ("cell", "text", "problem"),
    [
        (None, "", "no caption"),
        (float("nan"), "", "no caption"),
        (" NULL ", "", "no caption"),
        ("N/A", "", "no caption"),
        ("-", "", "no caption"),
        (" a \n", "a", None),
        (["a", None, " b"], "a b", None),
        ([], "", "no caption"),
        (["nan"], "", "no caption"),
        (7, "7", "the caption is a number, not text"),
        (120.0, "120", "the caption is a number, not text"),
        (True, "True", "the caption is a truth value, not text"),
        ({"en": "calm"}, "{'en': 'calm'}", "the caption is a JSON object, not text"),
        ([{"en": "calm"}], "{'en': 'calm'}", "the caption is a JSON object, not text"),
        ("1999", "1999", None),
        ("y \ud83d", "y ?", None),
    ],
)
def test_cells_as_captions(cell, text, problem):
    assert clean_text(cell) == text
    assert caption_problem(cell) == problem
    assert is_missing(cell) == (text == "" and not isinstance(cell, list))


def test_cells_as_labels():
    assert clean_labels(["rock", "", None, "rock", 7, "N/A"]) == ["rock", "7"]
    assert clean_labels("rock") == ["rock"]
    assert clean_labels(None) == clean_labels("nan") == []


def test_files_that_are_not_text(tmp_path):
    (tmp_path / "a.json").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(DataError, match=r"a\.json: cannot be read as UTF-8"):
        read_text(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train", "val", "test"], ["train", "validation", "test"]),
        (["Training", "DEV", "evaluation"], ["train", "validation", "test"]),
        (["train-00000-of-00002", "train-00001-of-00002"], ["train", "train"]),
        (["dataset_train", "dataset_val"], ["train", "validation"]),
        (["nsynth-train", "nsynth-valid", "nsynth-test"], ["train", "validation", "test"]),
        (["songs_train_v2", "songs_test_v2", "notes"], ["train", "test", None]),
        (["my_dev_catalogue"], [None]),
        (["my_dev_catalogue", "train"], [None, "train"]),
        (["best_of_test_pressings", "favourites"], [None, None]),
        (["trainer", "contest", "latest"], [None, None, None]),
        (["train_test"], [None]),
    ],
)
def test_names_of_splits(names, splits):
    assert list(name_splits(names).values()) == splits


@pytest.mark.parametrize(
    ("name", "split"),
    [("train", "train"), ("dataset_val", "validation"), ("MTG_Test-00001", "test"), ("trainer", None)],
)
def test_the_split_that_a_word_names(name, split):
    assert split_of(name) == split


def table_of(tmp_path, *lines):
    return read_table(write_lines(tmp_path / "a.csv", list(lines)))


def test_splits_of_a_column(tmp_path):
    rows, missing, notes = split_rows(table_of(tmp_path, "file,Split", "a,Test", "b,training", "c,", "d,train"))
    assert (rows, missing) == ({"train": [1, 3], "test": [0]}, [2])
    assert notes == ["a.csv: splits are those of the column 'Split': train 2, test 1"]
    assert split_rows(table_of(tmp_path, "file,subset", "a,small", "b,large")) == ({"train": [0, 1]}, [], [])
    assert split_rows(table_of(tmp_path, "file,subset", "a,val", "b,train"))[0] == {"train": [1], "validation": [0]}
    table = table_of(tmp_path, "file,split", "a,train", "b,A")
    with pytest.raises(DataError, match=r"a\.csv, line 3: the column 'split' has 'A'; expected train, validation"):
        split_rows(table)
    assert split_rows(table, "none") == ({"train": [0, 1]}, [], [])
    with pytest.raises(DataError, match=r"no column 'part' for the splits \(--split_column\)"):
        split_rows(table, "part")
