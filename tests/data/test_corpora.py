"""Every corpus, in its published layout, through `prepare` and back."""

import shutil
from functools import partial

import numpy as np
import pytest
from datasets import load_dataset
from layouts import LAYOUTS, write_audio, write_lines, write_table

from mulap_hf import load_audio
from mulap_hf.data.corpora import CORPORA, emomusic, fma, gtzan, jamendo, magnatagatune, musiccaps, nsynth
from mulap_hf.data.corpora.synthetic import NOTE_TASK
from mulap_hf.data.prepare import prepare
from mulap_hf.data.provenance import provenance
from mulap_hf.data.schema import read_tasks
from mulap_hf.errors import DataError
from mulap_hf.synthetic import CorpusConfig, make_clip, make_note, write_corpus, write_notes, write_parquet


def reload(folder, split):
    files = sorted(map(str, folder.glob(f"{split}-*-of-*.parquet")))
    return list(load_dataset("parquet", data_files=files, split="train", streaming=True))


def test_every_corpus_has_a_layout():
    assert set(LAYOUTS) == set(CORPORA)


@pytest.mark.parametrize("name", CORPORA)
def test_round_trip(name, tmp_path):
    layout = LAYOUTS[name](tmp_path / "published")
    output = tmp_path / "prepared"
    report = prepare(CORPORA[name], layout.root, output, progress=False, **layout.options)

    skipped = {split: [(item.id, item.reason) for item in done.skipped] for split, done in report.splits.items()}
    assert {split: items for split, items in skipped.items() if items} == layout.skipped
    assert report.differences == layout.differences
    tasks = read_tasks(output)
    assert {task.name: task.kind for task in tasks} == layout.tasks

    assert set(report.splits) == set(layout.rows)
    for split, expected in layout.rows.items():
        rows = reload(output, split)
        if layout.shuffled:
            rows.sort(key=lambda row: row["id"])
        assert [row["id"] for row in rows] == [name for name, _, _ in expected]
        for row, (_, source, columns) in zip(rows, expected, strict=True):
            found = {key: value for key, value in row.items() if key not in ("id", "audio", "recording")}
            assert found == {
                key: pytest.approx(value) if isinstance(value, float) else value for key, value in columns.items()
            }
            decoded = load_audio(row["audio"]["bytes"])
            assert decoded.tolist() == (source if hasattr(source, "dtype") else load_audio(source)).tolist()
            for task in tasks:
                assert task.target(row).size == (1 if task.kind == "single_label" else task.num_outputs)


@pytest.mark.parametrize("name", [name for name, corpus in CORPORA.items() if corpus.local])
def test_wrong_root_says_what_was_looked_for_and_where(name, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(DataError, match=str(tmp_path / "elsewhere")):
        CORPORA[name].read(tmp_path / "elsewhere")


def test_magnatagatune_splits(tmp_path):
    LAYOUTS["magnatagatune"](tmp_path)

    def members(**options):
        reading = CORPORA["magnatagatune"].read(tmp_path, **options)
        return {split: [item.id for item in items] for split, items in reading.splits.items()}, reading.expected

    published, expected = members()
    assert members(split_by="tagged_folders") == (published, expected)
    every_clip, expected = members(split_by="folders")
    assert every_clip["train"] == ["10", "11", "35644", "12"]
    assert expected == {"train": 18706, "validation": 1825, "test": 5329}

    for name in ("train", "valid", "test"):
        (tmp_path / "split" / "mtat" / f"{name}.npy").unlink()
    with pytest.raises(DataError, match=r"train\.npy.*--split_by tagged_folders"):
        members()
    write_lines(tmp_path / "lists" / "train_gt_mtt.tsv", ["12\t[0.0, 0.0]", "999\t[1.0, 0.0]"])
    write_lines(tmp_path / "lists" / "val_gt_mtt.tsv", ["6\t[1.0, 0.0]"])
    write_lines(tmp_path / "lists" / "test_gt_mtt.tsv", ["2\t[0.0, 1.0]"])
    listed, expected = members(split_dir=str(tmp_path / "lists"))
    assert listed == {"train": ["12", "999"], "validation": ["6"], "test": ["2"]}
    assert expected["train"] == 18706


def test_magnatagatune_must_be_tab_separated(tmp_path):
    write_table(tmp_path / "annotations_final.csv", [["clip_id", "guitar", "mp3_path"]])
    (tmp_path / "0").mkdir()
    with pytest.raises(DataError, match="tab-separated"):
        CORPORA["magnatagatune"].read(tmp_path, split_by="folders")


def test_jamendo_counts_are_compared(tmp_path):
    layout = LAYOUTS["jamendo"](tmp_path)
    for split in ("train", "validation", "test"):
        published = tmp_path / "data" / "splits" / "split-2" / f"autotagging_genre-{split}.tsv"
        for number, subset in ((0, "_moodtheme"), (3, "_top50tags"), (1, "")):
            target = tmp_path / "data" / "splits" / f"split-{number}" / f"autotagging{subset}-{split}.tsv"
            target.parent.mkdir(exist_ok=True)
            target.write_text(published.read_text())
    read = CORPORA["jamendo"].read
    assert read(tmp_path, "moodtheme", 0).expected == {"train": 9949, "validation": 3802, "test": 4231}
    assert read(tmp_path, "top50", 3).expected == {"train": 33173, "validation": 10468, "test": 10739}
    assert read(tmp_path, "all", 1).expected == {"all": 55525}
    reading = read(tmp_path, **layout.options)
    assert reading.tasks[0].classes == ("genre---indie", "genre---pop", "genre---punkrock", "genre---rock")
    totals = {subset: {sum(split) for split in splits} for subset, splits in jamendo.NUM_TRACKS.items()}
    assert totals == {"top50": {54380}, "genre": {55094}, "instrument": {24976}, "moodtheme": {17982}}


def test_jamendo_header_and_tags_are_checked(tmp_path):
    LAYOUTS["jamendo"](tmp_path)
    path = tmp_path / "data" / "splits" / "split-2" / "autotagging_genre-test.tsv"
    lines = path.read_text().splitlines()
    write_lines(path, [lines[0], "track_1\tartist_1\talbum_1\t01/1.mp3\t30.0"])
    with pytest.raises(DataError, match="line 2"):
        CORPORA["jamendo"].read(tmp_path, "genre", 2)
    write_lines(path, [line.replace("\t", ",") for line in lines])
    with pytest.raises(DataError, match="TRACK_ID"):
        CORPORA["jamendo"].read(tmp_path, "genre", 2)


def test_fma_without_its_three_header_rows(tmp_path):
    LAYOUTS["fma"](tmp_path)
    write_table(tmp_path / "fma_metadata" / "tracks.csv", [["track_id", "split"], ["2", "training"], ["3", "test"]])
    with pytest.raises(DataError, match="three header rows"):
        CORPORA["fma"].read(tmp_path)


def test_emomusic_keeps_artists_apart(tmp_path):
    LAYOUTS["emomusic"](tmp_path)
    songs = [
        [n, f"{n}.mp3", f"Artist {chr(97 + n % 26)}{chr(97 + n // 26 % 5)}", "x", "0", "0", "x", "development"]
        for n in range(260)
    ]
    header = (tmp_path / "annotations" / "songs_info.csv").read_text().splitlines()[0].split(",")
    write_table(tmp_path / "annotations" / "songs_info.csv", [header, *songs])
    write_table(
        tmp_path / "annotations" / "static_annotations.csv",
        [["song_id", "mean_arousal", "mean_valence"], *([n, 5, 5] for n in range(260))],
    )
    splits = CORPORA["emomusic"].read(tmp_path).splits
    artists = {split: {songs[int(item.id)][2] for item in items} for split, items in splits.items()}
    assert not artists["train"] & artists["validation"]
    assert len(artists["train"] | artists["validation"]) == 130
    assert 12 <= len(artists["validation"]) <= 40  # a fifth of 130, within 3 standard deviations
    assert not artists["test"]


def test_synthetic_corpus_as_it_is_really_written(tmp_path):
    config = CorpusConfig(clip_seconds=1.0)
    write_corpus(config, "train", 2, tmp_path / "flac", num_workers=1, progress=False)
    write_parquet(config, "train", 2, tmp_path / "parquet", clips_per_shard=1, num_workers=1, progress=False)
    write_parquet(config, "test_presets", 1, tmp_path / "parquet", num_workers=1, progress=False)
    for folder in (tmp_path / "flac", tmp_path / "flac" / "train", tmp_path / "parquet"):
        known = provenance(folder)  # what the card of a model says that is trained on it
        assert known["folder"] == str(folder) and known["license"] == "apache-2.0"
    rows = {}
    for form in ("flac", "parquet"):
        prepare(CORPORA["synthetic"], tmp_path / form, tmp_path / f"prepared_{form}", progress=False)
        rows[form] = reload(tmp_path / f"prepared_{form}", "train")
    assert rows["flac"] == rows["parquet"]
    assert [row["id"] for row in rows["flac"]] == ["train-000000", "train-000001"]
    clip = make_clip(config, "train", 1)
    assert {name: rows["flac"][1][name] for name in ("caption", "tags", "style", "key")} == {
        name: clip[name] for name in ("caption", "tags", "style", "key")
    }
    assert [row["id"] for row in reload(tmp_path / "prepared_parquet", "test_presets")] == ["test_presets-000000"]


def test_notes_as_they_are_really_written(tmp_path):
    config = CorpusConfig()
    write_notes(config, "test", 2, tmp_path, num_workers=1, progress=False)
    reading = CORPORA["synthetic_notes"].read(tmp_path)
    notes = [make_note(config, "test", index) for index in range(2)]
    for item, note in zip(reading.splits["test"], notes, strict=True):
        assert item.id == note["note_id"]
        assert item.fields == {"family": note["family"], "pitch": note["pitch"]}
        assert NOTE_TASK.target(item.fields) == NOTE_TASK.classes.index(note["family"])
        np.testing.assert_allclose(load_audio(item.audio), note["audio"], atol=1e-4)


def test_song_describer_valid_subset(tmp_path):
    LAYOUTS["song_describer"](tmp_path)
    reading = CORPORA["song_describer"].read(tmp_path, subset="valid")
    assert [item.id for item in reading.splits["test"]] == ["859", "991"]
    assert reading.expected == {"test": 746}


def test_tables_with_a_missing_column_name_it(tmp_path):
    write_audio(tmp_path / "a.wav", 0)
    write_lines(tmp_path / "metadata.jsonl", ['{"file_name": "a.wav", "words": "slow"}'])
    with pytest.raises(DataError, match=r"metadata\.jsonl.*'caption'.*'words'"):
        CORPORA["audiofolder"].read(tmp_path)
    with pytest.raises(DataError, match="'mood'"):
        prepare(
            CORPORA["audiofolder"],
            tmp_path,
            tmp_path / "out",
            caption_column="words",
            keep_columns=["mood"],
            progress=False,
        )
    write_lines(
        tmp_path / "metadata.jsonl", [f'{{"file_name": "a.wav", "text": "x", "n": {n}}}' for n in ("1", '"a"')]
    )
    with pytest.raises(DataError, match="--keep_columns n"):
        CORPORA["audiofolder"].read(tmp_path, keep_columns=["n"])
    write_lines(tmp_path / "metadata.jsonl", ['{"file_name": "a.wav"', ""])
    with pytest.raises(DataError, match="line 1"):
        CORPORA["audiofolder"].read(tmp_path)


def test_published_counts():
    """The numbers per split that the readers compare with sum up to the sizes that the publications give."""
    assert sum(gtzan.EXPECTED.values()) == 930
    assert sum(emomusic.EXPECTED.values()) == 744
    assert sum(nsynth.EXPECTED.values()) == 305979
    assert sum(magnatagatune.EVERY_CLIP.values()) == 25863 - len(magnatagatune.BROKEN)
    assert sum(magnatagatune.CLEANED.values()) == 21108
    assert sum(musiccaps.EXPECTED.values()) == 5521
    assert sum(fma.EXPECTED.values()) == 8000 - len(fma.SHORT_TRACKS)


def test_what_is_broken_in_the_published_archive_is_no_loss(tmp_path, monkeypatch):
    layout = LAYOUTS["magnatagatune"](tmp_path / "in")
    monkeypatch.setattr(magnatagatune, "CLEANED", {"train": 2, "validation": 1, "test": 1})
    report = prepare(CORPORA["magnatagatune"], layout.root, tmp_path / "out", progress=False)
    assert report.is_complete and [item.id for item in report.skipped] == ["35644"]
    assert any(
        "1 x empty file (0 bytes) (1 are broken in the published archives, too)" in w for w in report.warnings()
    )
    # A copy in which somebody has fixed it has one more.
    write_audio(next(path for path in layout.root.glob("6/*.mp3")), 5)
    report = prepare(CORPORA["magnatagatune"], layout.root, tmp_path / "fixed", progress=False)
    assert report.is_complete and report.rows == 5


def test_a_single_split_of_nsynth(tmp_path):
    layout = LAYOUTS["nsynth"](tmp_path / "in")
    for name in ("nsynth-train", "nsynth-valid"):
        shutil.rmtree(layout.root / name)
    read = partial(prepare, CORPORA["nsynth"], layout.root, progress=False)
    with pytest.raises(DataError, match=r"the split train is missing: .*nsynth-train does not exist; .* --split test"):
        read(tmp_path / "out")
    with pytest.raises(DataError, match=r"--split validation: .*nsynth-valid does not exist"):
        read(tmp_path / "out", splits=["validation"])
    assert read(tmp_path / "out", splits=["test"]).rows == 1


def test_wrong_counts_show_in_the_card_and_the_status(tmp_path):
    layout = LAYOUTS["jamendo"](tmp_path / "in")
    report = prepare(CORPORA["jamendo"], layout.root, tmp_path / "out", progress=False, **layout.options)
    assert not report.is_complete
    card = (tmp_path / "out" / "README.md").read_text()
    assert "* the subset genre has 4 tags, published are 87\n* train: 2 items, published are 32,360" in card
