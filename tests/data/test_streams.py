"""Described and labeled audio in each of the forms users have it, whole and broken; and that nothing is lost on the
way."""

import csv
import io
import json
import pickle
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from helpers import run_two_ranks, write_tone

from mulap_hf import load_audio
from mulap_hf.data.streams import has_split, open_pairs
from mulap_hf.errors import DataError

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
        pairs = open_pairs(source)
        rows = list(pairs.dataset)
        assert pairs.skipped == []
        assert pairs.num_pairs == 2
        assert [row["audio"] for row in rows] == [{"bytes": None, "path": str(folder / name)} for name, _ in ROWS]
        assert [row["caption"] for row in rows] == pairs.captions() == [caption for _, caption in ROWS]
        assert [row["problem"] for row in rows] == [None, None]
    assert rows[0]["id"] == ("0" if form.endswith(".json") else "a.wav")


def test_caption_column_by_name(folder):
    write_metadata(folder, "metadata.csv", ROWS, caption_column="notes")
    with pytest.raises(DataError, match=r"no column 'caption' or 'text' or 'description'.*'file_name', 'notes'"):
        open_pairs(folder)
    assert open_pairs(folder, caption_column="notes").captions() == [caption for _, caption in ROWS]


def test_unusable_rows_are_left_out_with_reasons(folder):
    write_metadata(folder, "metadata.jsonl", [*ROWS, ("a.wav", "  "), ("gone.mp3", "lost")])
    pairs = open_pairs(folder)
    assert pairs.num_pairs == 2
    assert [str(item) for item in pairs.skipped] == [
        "a.wav#2: no caption (metadata.jsonl, line 3)",
        f"gone.mp3: no such file ({folder / 'gone.mp3'}; metadata.jsonl, line 4)",
    ]


def test_nothing_usable(folder, tmp_path):
    write_metadata(folder, "metadata.jsonl", [("gone.mp3", "lost")])
    with pytest.raises(DataError, match="none of its 1 rows can be used"):
        open_pairs(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, "", r"no table \(metadata\.csv .*\), no parquet or tar files, and no audio files; check"),
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
        open_pairs(tmp_path)


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        open_pairs(tmp_path / "nowhere")


def write_parquet(path, rows, audio_type=None):
    audio_type = audio_type or pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema({"id": pa.string(), "audio": audio_type, "text": pa.string()})
    pq.write_table(pa.Table.from_pylist(rows, schema), path)


def test_parquet_shards(folder, tmp_path):
    content = [(folder / name).read_bytes() for name, _ in ROWS]
    shards = tmp_path / "shards"
    shards.mkdir()
    for index, (name, caption) in enumerate(ROWS):
        row = {"id": name, "audio": {"bytes": content[index], "path": name}, "text": caption}
        write_parquet(shards / f"train-0000{index}-of-00002.parquet", [row])
    empty = {"id": "c", "audio": {"bytes": content[0], "path": "c"}, "text": None}
    write_parquet(shards / "validation-00000-of-00001.parquet", [empty])
    pairs = open_pairs(shards)
    assert pairs.dataset.num_shards == 2
    assert pairs.ids == [name for name, _ in ROWS]
    rows = list(pairs.dataset)
    assert [(row["id"], row["caption"]) for row in rows] == ROWS
    for row, audio in zip(rows, content, strict=True):
        assert (load_audio(row["audio"]["bytes"]) == load_audio(audio)).all()
    assert [row["problem"] for row in open_pairs(shards, "validation").dataset] == ["no caption"]
    with pytest.raises(
        DataError, match=r"0-of-00002.parquet: no column 'notes' .*; its columns are 'id', 'audio', 'text'"
    ):
        open_pairs(shards, caption_column="notes")
    with pytest.raises(DataError, match="no split 'test'; there are train, validation"):
        open_pairs(shards, "test")
    assert has_split(shards, "validation")
    assert not has_split(shards, "test")


def test_a_folder_per_split(folder, tmp_path):
    for split, rows in (("train", ROWS), ("validation", ROWS[:1])):
        (tmp_path / "both" / split).mkdir(parents=True)
        rows = [(str(folder / name), caption) for name, caption in rows]
        write_metadata(tmp_path / "both" / split, "metadata.jsonl", rows)
        assert has_split(tmp_path / "both", split)
        assert open_pairs(tmp_path / "both", split).captions() == [caption for _, caption in rows]
    write_metadata(tmp_path / "both", "metadata.jsonl", [(str(folder / "a.wav"), "metadata above counts")])
    assert open_pairs(tmp_path / "both").captions() == ["metadata above counts"]
    assert not has_split(tmp_path / "both", "validation")


def test_parquet_without_ids(folder, tmp_path):
    table = pa.table({"audio": [(folder / name).read_bytes() for name, _ in ROWS], "caption": [c for _, c in ROWS]})
    (tmp_path / "raw").mkdir()
    pq.write_table(table, tmp_path / "raw" / "data.parquet")
    ids = [row["id"] for row in open_pairs(tmp_path / "raw").dataset]
    assert len(set(ids)) == 2
    assert ids == [row["id"] for row in open_pairs(tmp_path / "raw").dataset]
    assert open_pairs(tmp_path / "raw").num_pairs is None


def test_tars(folder, tmp_path):
    (tmp_path / "tars").mkdir()
    for index, (name, caption) in enumerate(ROWS):
        with tarfile.open(tmp_path / "tars" / f"{index}.tar", "w") as tar:
            members = {
                f"{index}.{name[-4:].strip('.')}": (folder / name).read_bytes(),
                f"{index}.txt": caption.encode(),
            }
            if index:  # an item without a caption
                members["9.wav"] = (folder / "a.wav").read_bytes()
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    pairs = open_pairs(tmp_path / "tars")
    assert pairs.dataset.num_shards == 2
    rows = list(pairs.dataset)
    assert [(row["caption"], row["problem"]) for row in rows] == [
        (ROWS[0][1], None),
        (ROWS[1][1], None),
        (None, "no caption"),
    ]
    assert rows[1]["audio"]["bytes"] == (folder / "sub" / "b.flac").read_bytes()
    assert len(list(open_pairs(tmp_path / "tars" / "0.tar").dataset)) == 1


TAGGED = [
    ("a.wav", ["rock", "loud", "rock"], "rock"),
    ("b.wav", ["calm", "loud"], "jazz"),
    ("c.wav", ["loud", " "], "rock"),
    ("d.wav", None, None),
]
TAGS = [["rock", "loud"], ["calm", "loud"], ["loud"], []]
STYLES = [["rock"], ["jazz"], ["rock"], []]


def write_tagged(folder, form):
    """The same labeled clips, without captions, in each of the forms; returns the source."""
    for index, (name, _, _) in enumerate(TAGGED):
        write_tone(folder / "audio" / name, seconds=0.1, seed=index)
    rows = [{"file_name": f"audio/{name}", "tags": tags, "style": style} for name, tags, style in TAGGED]
    files = [(folder / row["file_name"]).read_bytes() for row in rows]
    if form == "metadata.jsonl":
        (folder / form).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder
    source = folder / form
    source.mkdir()
    if form == "tar":
        with tarfile.open(source / "all.tar", "w") as tar:
            for index, (row, audio) in enumerate(zip(rows, files, strict=True)):
                for suffix, content in (("wav", audio), ("json", json.dumps(row).encode())):
                    info = tarfile.TarInfo(f"{index}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        return source
    audio = [{"bytes": content, "path": row["file_name"]} for row, content in zip(rows, files, strict=True)]
    columns = {"audio": audio, "tags": [row["tags"] for row in rows], "style": [row["style"] for row in rows]}
    if form == "parquet":
        columns["id"] = [row["file_name"] for row in rows]
    pq.write_table(pa.table(columns), source / "train-00000-of-00001.parquet")
    return source


FORMS = ("metadata.jsonl", "parquet", "parquet without ids", "tar")


@pytest.mark.parametrize("form", FORMS)
def test_labels(tmp_path, form):
    source = write_tagged(tmp_path, form)
    for column, labels, multi_label, counts in (
        ("tags", TAGS, True, {"loud": 3, "calm": 1, "rock": 1}),
        ("style", STYLES, False, {"rock": 2, "jazz": 1}),
    ):
        pairs = open_pairs(source, "train", None, column)
        rows = list(pairs.dataset)
        assert [row["labels"] for row in rows] == labels
        assert [row["problem"] for row in rows] == [None] * 4  # neither captions nor labels are required
        assert list(pickle.loads(pickle.dumps(pairs.dataset))) == rows  # as workers get it that are not forked
        assert pairs.captions() == []
        assert pairs.multi_label == multi_label
        assert list(pairs.label_counts().items()) == list(counts.items())
        assert pairs.labels == (None if form in ("parquet without ids", "tar") else labels)
    unlabeled = list(open_pairs(source, needs_captions=False).dataset)
    assert [(row["labels"], row["caption"], row["problem"]) for row in unlabeled] == [([], None, None)] * 4


@pytest.mark.parametrize("form", FORMS)
def test_label_column_that_is_not_there(tmp_path, form):
    with pytest.raises(DataError, match=r"'moods' for the labels \(--label_column\)") as error:
        open_pairs(write_tagged(tmp_path, form), "train", None, "moods")
    assert str(tmp_path) in str(error.value)
    assert form == "tar" or "'tags', 'style'" in str(error.value)


def test_captions_stay_required_where_they_are_needed(tmp_path):
    source = write_tagged(tmp_path, "metadata.jsonl")
    with pytest.raises(DataError, match="no column 'caption' or 'text' or 'description'"):
        open_pairs(source, "train", None, "tags", needs_captions=True)


def test_class_numbers_become_names(tmp_path):
    audio = {"bytes": b"", "path": "a.wav"}
    number = ClassLabel(names=["jazz", "rock"])
    features = Features(
        {
            "id": Value("string"),
            "audio": {"bytes": Value("binary"), "path": Value("string")},
            "genre": number,
            "genres": List(number),
        }
    )
    columns = {"id": ["a", "b"], "audio": [audio] * 2, "genre": [1, -1], "genres": [[1, 0], []]}
    Dataset.from_dict(columns, features=features).to_parquet(tmp_path / "data.parquet")
    for column, labels, multi_label in (("genre", [["rock"], []], False), ("genres", [["rock", "jazz"], []], True)):
        pairs = open_pairs(tmp_path, "train", None, column)
        assert [row["labels"] for row in pairs.dataset] == pairs.labels == labels
        assert pairs.multi_label == multi_label


def test_hold_out_keeps_the_labels_of_its_rows(forty, tmp_path):
    rows = [
        {"audio_id": f"clip {index}", "file_name": f"{forty}/{index}.wav", "tags": [f"tag {index}"]}
        for index in range(37)
    ]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for part in open_pairs(tmp_path, "train", None, "tags").hold_out(0.2):
        assert part.multi_label
        assert [row["labels"] for row in part.dataset] == part.labels
        assert part.labels == [[name.replace("clip", "tag")] for name in part.ids]


@pytest.fixture(scope="module")
def forty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forty")
    rows = []
    for index in range(37):
        write_tone(folder / f"{index}.wav", seconds=0.1, seed=index)
        rows.append({"file_name": f"{index}.wav", "audio_id": f"clip {index}", "caption": f"caption {index}"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_hold_out_is_the_same_for_everyone(forty):
    train, validation = open_pairs(forty).hold_out(0.2)
    inside, outside = ({row["id"] for row in part.dataset} for part in (train, validation))
    assert (train.num_pairs, validation.num_pairs) == (len(inside), len(outside))
    assert not inside & outside
    assert len(inside | outside) == 37
    assert 1 <= len(outside) <= 15
    shuffled = open_pairs(forty).hold_out(0.2)[1].dataset.shuffle(seed=3)
    assert {row["id"] for row in shuffled} == outside
    for share, part in ((0, "validate"), (1, "train")):
        with pytest.raises(DataError, match=f"leaves none to {part} on"):
            open_pairs(forty).hold_out(share)


RANK = """
import sys
from accelerate import Accelerator, DataLoaderConfiguration
from mulap_hf.data.clips import ClipCollator
from mulap_hf.data.streams import open_pairs
from mulap_hf.data.loading import BatchStream, training_loader

class Names(ClipCollator):
    def load(self, row, position, report):
        return None

    def make_inputs(self, rows, clips, rng):
        return {}

accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(dispatch_batches=False))
assert accelerator.num_processes == 2
collator = Names()
loader = training_loader(open_pairs(sys.argv[1]), collator, batch_size=4, num_workers=2, shuffle_buffer=8)
stream = BatchStream(accelerator.prepare(loader), collator)
for batch in stream:
    if stream.epoch == 2:
        break
    with open(f"{sys.argv[2]}/epoch{stream.epoch}-rank{accelerator.process_index}", "a") as file:
        file.writelines(name + "\\n" for name in batch["ids"])
"""


def test_two_ranks_with_two_workers_each_read_everything_once(forty, tmp_path):
    (tmp_path / "rank.py").write_text(RANK)
    result = run_two_ranks(tmp_path / "rank.py", forty, tmp_path)
    assert result.returncode == 0, result.stderr
    orders = []
    for epoch in range(2):
        ids = [(tmp_path / f"epoch{epoch}-rank{rank}").read_text().splitlines() for rank in range(2)]
        assert all(ids)
        assert sorted(ids[0] + ids[1]) == sorted(f"clip {index}" for index in range(37))
        orders.append(ids)
    assert orders[0] != orders[1]  # an epoch is shuffled anew


def test_a_smaller_share_is_part_of_a_larger_one(forty):
    pairs = open_pairs(forty)
    quarter, half = pairs.take_fraction(0.25), pairs.take_fraction(0.5)
    assert 4 <= len(quarter.ids) <= 16 and set(quarter.ids) < set(half.ids) < set(pairs.ids)
    assert [row["id"] for row in quarter.dataset] == quarter.ids
    assert pairs.take_fraction(1) is pairs
    assert quarter.fingerprint != half.fingerprint  # a run does not go on with another share
    for share in (0, 1.5):
        with pytest.raises(DataError, match=f"--train_share {share} of 37 pairs"):
            pairs.take_fraction(share)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train.parquet", "test.parquet"), ("train", "test")),
        (("train-00000-of-00001-a1b2c3d4e5f60718.parquet", "test-00000-of-00001-0.parquet"), ("train", "test")),
        (("default/train/0000.parquet", "default/test/0000.parquet"), ("train", "test")),
        (("data/train-00000-of-00001.parquet", "data/val-00000-of-00001.parquet"), ("train", "validation")),
        (("train-000000-000250.parquet", "test_presets-000000-000250.parquet"), ("train", "test_presets")),
        (("train-00000-of-00001.parquet", ".partial/train-00000.parquet"), ("train",)),
    ],
)
def test_names_of_parquet_files_tell_their_splits(folder, tmp_path, names, splits):
    content = (folder / "a.wav").read_bytes()
    for name in names:
        path = tmp_path / "shards" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(path, [{"id": name, "audio": {"bytes": content, "path": None}, "text": name}])
    for name, split in zip(names, splits, strict=False):
        assert has_split(tmp_path / "shards", split)
        assert open_pairs(tmp_path / "shards", split).captions() == [name]
    assert not has_split(tmp_path / "shards", "nowhere")


def test_what_is_prepared_in_part_is_refused(folder, tmp_path):
    (tmp_path / "half").mkdir()
    row = {"id": "a", "audio": {"bytes": (folder / "a.wav").read_bytes(), "path": None}, "text": "calm"}
    write_parquet(tmp_path / "half" / "train-00000-of-00002.parquet", [row])
    (tmp_path / "half" / "prepare.json").write_text('{"settings": {}, "finished": null}')
    with pytest.raises(DataError, match=r"half is prepared in part only: repeat the command of .*prepare_dataset\.py"):
        open_pairs(tmp_path / "half")


def test_a_table_is_read_rather_than_parquet_beside_it(folder):
    write_metadata(folder, "metadata.csv", ROWS)
    write_parquet(folder / "embeddings.parquet", [])
    assert open_pairs(folder).captions() == [caption for _, caption in ROWS]


def test_a_broken_shard_is_left_out(folder, tmp_path):
    (tmp_path / "shards").mkdir()
    row = {"id": "a", "audio": {"bytes": (folder / "a.wav").read_bytes(), "path": None}, "text": "calm"}
    whole, cut = (tmp_path / "shards" / f"train-0000{index}-of-00002.parquet" for index in range(2))
    write_parquet(whole, [row])
    cut.write_bytes(whole.read_bytes()[:-100])
    pairs = open_pairs(tmp_path / "shards")
    assert [row["id"] for row in pairs.dataset] == pairs.ids == ["a"]
    assert [(item.id, item.reason) for item in pairs.skipped] == [(cut.name, "broken parquet file")]
    assert str(cut) in pairs.skipped[0].detail
    whole.unlink()
    with pytest.raises(DataError, match=r"00001-of-00002\.parquet: .*not one of the 1 parquet files can be read"):
        open_pairs(tmp_path / "shards")


def test_captions_of_parquet_are_read_without_the_audio(folder, tmp_path, monkeypatch):
    (tmp_path / "shards").mkdir()
    rows = [{"id": name, "audio": {"bytes": b"x", "path": None}, "text": caption} for name, caption in ROWS]
    write_parquet(tmp_path / "shards" / "train-00000-of-00001.parquet", rows)
    pairs = open_pairs(tmp_path / "shards")
    monkeypatch.setattr(pairs.dataset, "select_columns", None)
    assert pairs.captions() == [caption for _, caption in ROWS]
    kept = pairs.select(ROWS[1][0].__eq__)
    monkeypatch.setattr(kept.dataset, "select_columns", None)
    assert kept.captions() == [ROWS[1][1]]


def test_waveforms_without_names_and_broken_ones(tmp_path):
    (tmp_path / "arrays").mkdir()
    arrays = [[[0.1] * 800, [0.3] * 800], [[0.5] * 800], [[]]]  # stereo, one channel, nothing
    rows = [{"audio": {"array": array, "sampling_rate": 8000}, "text": "calm"} for array in arrays]
    rows.append({"audio": {"array": [[0.1]], "sampling_rate": None}, "text": "calm"})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "arrays" / "train-00000-of-00001.parquet")
    rows = list(open_pairs(tmp_path / "arrays").dataset)
    assert len({row["id"] for row in rows[:3]}) == 3
    assert [load_audio(row["audio"]["bytes"], None).mean().round(3) for row in rows[:2]] == [0.2, 0.5]
    assert rows[3]["problem"] == "broken audio"


def test_odd_lines_of_a_table(folder):
    lines = ["", "file_name,caption,mood", "a.wav,calm, slow piano,soft", "sub/b.flac", "sub/b.flac,loud,,"]
    (folder / "metadata.csv").write_text("\n".join(lines))
    pairs = open_pairs(folder)
    assert pairs.captions() == ["loud"]
    assert [str(item) for item in pairs.skipped] == [
        "a.wav: more cells than the table has columns (metadata.csv, line 3; put cells with a delimiter in quotes)",
        "sub/b.flac: no caption (metadata.csv, line 4)",
    ]


def test_names_and_texts_that_no_file_system_takes(folder):
    long, half = "x" * 600 + ".wav", "y \\ud83d"
    lines = [f'{{"file_name": "{long}", "caption": "long"}}', f'{{"file_name": "a.wav", "caption": "{half}"}}']
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    pairs = open_pairs(folder)
    assert pairs.captions() == ["y ?"]
    assert [(item.id, item.reason) for item in pairs.skipped] == [(long, "no such file")]
