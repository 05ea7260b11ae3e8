"""The leak test: whatever the source and whoever draws, no recording is on both sides of a split."""

import io
import json
import shutil
import tarfile
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import write_audio, write_lines

from mulap_hf.data.corpora import CORPORA
from mulap_hf.data.prepare import prepare
from mulap_hf.data.recordings import audio_digest, group_rows
from mulap_hf.data.schema import Task, write_tasks
from mulap_hf.data.streams import open_pairs
from mulap_hf.transfer.tasks import open_task

RECORDINGS, CAPTIONS = 30, 3


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> Path:
    """Thirty recordings of ten artists with three captions each; five are there again under another name."""
    folder = tmp_path_factory.mktemp("catalog")
    rows = []
    for number in range(RECORDINGS):
        write_audio(folder / f"{number}.wav", number)
        names = [f"{number}.wav"] * CAPTIONS
        if number < 5:
            shutil.copy(folder / f"{number}.wav", folder / f"copy of {number}.wav")
            names.append(f"copy of {number}.wav")
        for caption, name in enumerate(names):
            row = {"file_name": name, "caption": f"caption {caption} of {number}", "artist": f"artist {number % 10}"}
            rows.append(row | {"mood": "calm" if number % 2 else "wild"})
    write_lines(folder / "metadata.jsonl", [json.dumps(row) for row in rows])
    return folder


def rows_of(catalog: Path) -> list[dict]:
    return [json.loads(line) for line in (catalog / "metadata.jsonl").read_text().splitlines()]


def as_table(catalog: Path, folder: Path) -> Path:
    return catalog


def as_csv(catalog: Path, folder: Path) -> Path:
    cells = [
        "id,file_name,caption,artist",
        *(f"{n},{catalog}/{r['file_name']},{r['caption']},{r['artist']}" for n, r in enumerate(rows_of(catalog))),
    ]
    write_lines(folder / "metadata.csv", cells)
    return folder


def as_links(catalog: Path, folder: Path) -> Path:
    """Every row has a link of its own to the recording."""
    rows = []
    for number, row in enumerate(rows_of(catalog)):
        (folder / f"{number}.wav").symlink_to(catalog / row["file_name"])
        rows.append(row | {"file_name": f"{number}.wav"})
    write_lines(folder / "metadata.jsonl", [json.dumps(row) for row in rows])
    return folder


def as_tars(catalog: Path, folder: Path) -> Path:
    for part in range(2):
        with tarfile.open(folder / f"{part}.tar", "w") as tar:
            for number, row in enumerate(rows_of(catalog)):
                if number % 2 == part:
                    members = {"wav": (catalog / row["file_name"]).read_bytes(), "json": json.dumps(row).encode()}
                    for suffix, content in members.items():
                        info = tarfile.TarInfo(f"{number}.{suffix}")
                        info.size = len(content)
                        tar.addfile(info, io.BytesIO(content))
    return folder


def as_parquet(catalog: Path, folder: Path, ids: bool = True) -> Path:
    rows = [
        {"audio": {"bytes": (catalog / row["file_name"]).read_bytes(), "path": row["file_name"]}}
        | {"caption": row["caption"], "artist": row["artist"]}
        | ({"id": str(number)} if ids else {})
        for number, row in enumerate(rows_of(catalog))
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "data.parquet")
    return folder


def as_parquet_without_ids(catalog: Path, folder: Path) -> Path:
    return as_parquet(catalog, folder, ids=False)


def as_prepared(catalog: Path, folder: Path, embed: bool = True) -> Path:
    keep = ["artist", "mood"]
    prepare(CORPORA["audiofolder"], catalog, folder, embed=embed, progress=False, keep_columns=keep)
    return folder


def as_prepared_paths(catalog: Path, folder: Path) -> Path:
    return as_prepared(catalog, folder, embed=False)


SOURCES = {name.removeprefix("as_"): make for name, make in list(globals().items()) if name.startswith("as_")}


def sides(parts) -> tuple[dict[str, set[int]], int]:
    """On which sides each recording is, and how many rows there are."""
    found, rows = defaultdict(set), 0
    for side, part in enumerate(parts):
        for row in part.dataset:
            rows += 1
            found[row["caption"].partition(" of ")[2]].add(side)
    return found, rows


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("group_column", [None, "artist"])
def test_what_is_held_out_shares_no_recording_with_the_rest(catalog, tmp_path, source, group_column):
    pairs = open_pairs(SOURCES[source](catalog, tmp_path), group_column=group_column)
    parts = pairs.hold_out(0.3)
    found, rows = sides(parts)
    assert rows == RECORDINGS * CAPTIONS + 5
    assert {min(side) for side in found.values()} == {0, 1}
    assert [name for name, side in found.items() if len(side) == 2] == []
    if group_column:
        artists = defaultdict(set)
        for name, side in found.items():
            artists[int(name) % 10] |= side
        assert [name for name, side in artists.items() if len(side) == 2] == []
    if parts[0].ids is not None:
        assert parts[0].ids == [row["id"] for row in parts[0].dataset]


@pytest.mark.parametrize("source", SOURCES)
def test_a_fraction_has_whole_recordings(catalog, tmp_path, source):
    pairs = open_pairs(SOURCES[source](catalog, tmp_path))
    counts = defaultdict(int)
    for row in pairs.take_fraction(0.3).dataset:
        counts[row["caption"].partition(" of ")[2]] += 1
    assert 0 < len(counts) < RECORDINGS
    assert {number: CAPTIONS + (int(number) < 5) for number in counts} == counts


@pytest.mark.parametrize("embed", [True, False])
@pytest.mark.parametrize("column", [True, False])
def test_rows_that_validate_a_task_share_no_recording_with_the_rest(catalog, tmp_path, embed, column):
    """Also of datasets that were prepared before they had the column `recording`."""
    folder = as_prepared(catalog, tmp_path / "prepared", embed)
    (shard,) = folder.glob("train-*.parquet")
    table = pq.read_table(shard)
    pq.write_table(table if column else table.drop_columns("recording"), shard)
    shutil.copy(shard, folder / "test-00000-of-00001.parquet")
    write_tasks(folder, [Task("mood", "single_label", ("mood",), ("calm", "wild"))])
    data = open_task(folder)
    captions = {split: data.captions(split).values() for split in ("train", "validation")}
    numbers = {split: {text.partition(" of ")[2] for text in texts} for split, texts in captions.items()}
    assert numbers["validation"] and not numbers["train"] & numbers["validation"]
    assert sum(map(len, captions.values())) == RECORDINGS * CAPTIONS + 5


def test_exact_copies_are_counted_and_said(catalog, tmp_path):
    pairs = open_pairs(catalog)
    assert pairs.notes == ()
    train, validation = pairs.hold_out(0.3)
    assert train.notes == ("5 audio files are exact copies of others; a split keeps copies together",)
    assert validation.notes == ()
    report = prepare(CORPORA["audiofolder"], catalog, tmp_path / "prepared", progress=False)
    expected = "items with a copy of another item's audio: 5, for example 0.wav and copy of 0.wav"
    assert report.notes == [expected]
    assert f"* {report.notes[0]}" in (tmp_path / "prepared" / "README.md").read_text()


def test_a_recording_in_two_splits_that_were_given_is_said(tmp_path):
    for split, name in (("train", "a"), ("test", "b")):
        write_audio(tmp_path / "in" / split / f"{name}.wav", 7)
        write_audio(tmp_path / "in" / split / "other.wav", ord(name))
        rows = [f'{{"file_name": "{file}.wav", "caption": "calm"}}' for file in (name, "other")]
        write_lines(tmp_path / "in" / split / "metadata.jsonl", rows)
    report = prepare(CORPORA["audiofolder"], tmp_path / "in", tmp_path / "out", progress=False)
    expected = "items with the same audio as an item of another split: 1, for example a.wav (train) and b.wav (test)"
    assert report.notes == [expected]


def test_the_draw_is_by_the_first_row_of_a_recording(catalog):
    """So that a table with one row per recording is split as it always was, by its ids."""
    pairs = open_pairs(catalog)
    groups = pairs.find_groups().names
    assert groups[:5] == ["0.wav"] * 4 + ["1.wav"]
    assert groups[3] == "0.wav" and pairs.ids[3] == "copy of 0.wav"


def test_rows_are_grouped_through_others():
    names = ["a", "b", "c", "d", "e"]
    assert group_rows(names, [1, 2, 2, 3, None], ["x", "x", "y", None, None]) == ["a", "a", "a", "d", "e"]
    assert group_rows(names) == names


def test_digests_tell_audio_and_not_names(tmp_path):
    content = bytes(range(256)) * 1200  # longer than the three blocks
    (tmp_path / "a").write_bytes(content)
    assert audio_digest(tmp_path / "a") == audio_digest(content)
    for place in (0, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        assert audio_digest(bytes(changed)) != audio_digest(content)
    assert audio_digest(content + b"x") != audio_digest(content)
    assert audio_digest(b"") != audio_digest(b"\0")
