"""Shards, resuming, refusing, checking and reporting; the script as its users run it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import soundfile
from datasets import load_dataset
from huggingface_hub import DatasetCard
from layouts import LAYOUTS, write_audio, write_broken, write_lines

from mulap_hf import load_audio
from mulap_hf.data.corpora import CORPORA, Corpus
from mulap_hf.data.prepare import prepare
from mulap_hf.data.schema import Example, Reading, Skipped
from mulap_hf.data.streams import open_pairs
from mulap_hf.errors import DataError

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "training" / "prepare_dataset.py"


def run_script(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def script_main():
    spec = importlib.util.spec_from_file_location("prepare_dataset", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def numbered(folder: Path, count: int, stop_at: int | None = None) -> Corpus:
    """A corpus of `count` items, every fourth of which is skipped, that is interrupted before `stop_at`."""
    paths = [write_audio(folder / f"{number}.wav", number) for number in range(count)]

    def items():
        for number, path in enumerate(paths):
            if number == stop_at:
                raise KeyboardInterrupt
            yield Skipped(str(number), "a fourth") if number % 4 == 3 else Example(str(number), path, caption="music")

    def read(root):
        return Reading(
            {"train": items(), "test": iter([Example("0", paths[0], caption="x")])}, {"caption": pa.string()}
        )

    return Corpus("numbered", "numbers", read, "")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_script_prepares_a_folder_that_load_dataset_reads(tmp_path):
    layout = LAYOUTS["audiofolder"](tmp_path / "published")
    output = tmp_path / "prepared"
    run = run_script("audiofolder", "--root", layout.root, "--output", output, "--keep_columns", "tags")
    assert (run.returncode, run.stderr) == (0, "")
    assert "train: 2 items in 1 shard\n" in run.stdout
    rows = load_dataset(str(output), split="validation", streaming=True)
    (row,) = rows
    assert row["caption"] == "validation \u266b 0\nsecond line"
    assert load_audio(row["audio"]["bytes"]).tolist() == load_audio(layout.rows["validation"][0][1]).tolist()
    assert {path.name for path in output.iterdir()} == {
        "README.md",
        "prepare.json",
        "tasks.json",
        "train-00000-of-00001.parquet",
        "validation-00000-of-00001.parquet",
    }


def test_script_reports_what_was_left_out(tmp_path):
    layout = LAYOUTS["fma"](tmp_path / "published")
    run = run_script("fma", "--root", layout.root, "--output", tmp_path / "prepared")
    assert run.returncode == 1
    assert "train: 1 items, published are 6,400; 2 left out" in run.stderr
    assert "train: 1 x empty file (0 bytes)" in run.stderr
    assert f"099999: broken audio ({layout.root / 'fma_small' / '099' / '099999.mp3'}" in run.stderr


def test_script_with_a_wrong_root_does_nothing(tmp_path, script_main):
    with pytest.raises(DataError) as error:
        script_main(["fma", "--root", str(tmp_path / "nowhere"), "--output", str(tmp_path / "out")])
    assert f"looked for {tmp_path / 'nowhere' / 'fma_metadata' / 'tracks.csv'}" in str(error.value)
    assert f"{tmp_path / 'nowhere'} does not exist" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_script_passes_typed_options(tmp_path, script_main, capsys):
    layout = LAYOUTS["jamendo"](tmp_path / "published")
    flags = ["--subset", "genre", "--split_number", "2", "--split", "train", "--no_embed"]
    assert script_main(["jamendo", "--root", str(layout.root), "--output", str(tmp_path / "out"), *flags]) == 1
    printed = capsys.readouterr()
    assert "train: 2 items" in printed.out
    assert "differs from the published corpus: train: 2 items, published are 32,360" in printed.err
    assert not list((tmp_path / "out").glob("test-*"))


def test_help_names_every_corpus(script_main, capsys):
    with pytest.raises(SystemExit):
        script_main(["--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in CORPORA)


def test_card_says_what_is_in_it_and_what_is_not(tmp_path):
    layout = LAYOUTS["emomusic"](tmp_path / "published")
    prepare(CORPORA["emomusic"], layout.root, tmp_path / "out", progress=False)
    card = DatasetCard.load(tmp_path / "out" / "README.md")
    assert card.data.license == "other"
    assert card.data.configs[0]["data_files"][1] == {"split": "validation", "path": "validation-*.parquet"}
    for line in (
        "| train | 2 | 1 | 2 |",
        "| emotion | regression | arousal, valence |  | Means of the raters, from 1 to 9; the input is the first 30 s",
        "| train | no rating in static_annotations.csv | 1 |",
        "* train: 2 items, published are 504; 2 left out",
        "Source: https://cvml.unige.ch/databases/emoMusic/. License: other (for research; given out on request).",
    ):
        assert line in card.text
    assert "Artist" not in card.text


def test_interrupted_runs_are_continued(tmp_path):
    megabytes = 0.03  # three clips of a third of a second
    with pytest.raises(KeyboardInterrupt):
        prepare(
            numbered(tmp_path / "a", 14, stop_at=9), tmp_path, tmp_path / "out", None, True, False, megabytes, False
        )
    done = sorted((tmp_path / "out" / ".partial").glob("train-*.parquet"))
    assert len(done) == 2
    inodes = [path.stat().st_ino for path in done]
    report = prepare(numbered(tmp_path / "a", 14), tmp_path, tmp_path / "out", None, True, False, megabytes, False)
    assert [item.id for item in report.skipped] == ["3", "7", "11"]
    shards = sorted((tmp_path / "out").glob("train-*.parquet"))
    assert [path.stat().st_ino for path in shards[:2]] == inodes
    assert [path.name for path in shards] == [f"train-{n:05d}-of-00004.parquet" for n in range(4)]

    whole = prepare(numbered(tmp_path / "a", 14), tmp_path, tmp_path / "whole", None, True, False, megabytes, False)
    assert (whole.rows, whole.splits) == (report.rows, report.splits)
    assert contents(tmp_path / "whole") == contents(tmp_path / "out")
    assert whole.splits["train"].rows == 11


def test_interrupted_while_shards_get_their_names(tmp_path, monkeypatch):
    corpus = numbered(tmp_path / "a", 9)
    replace, renamed = Path.replace, []

    def interrupted(path, target):
        if "-of-" in Path(target).name:
            renamed.append(target)
            if len(renamed) == 2:
                raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, tmp_path, tmp_path / "out", None, True, False, 0.03, False)
    monkeypatch.undo()
    prepare(numbered(tmp_path / "a", 9), tmp_path, tmp_path / "out", None, True, False, 0.03, False)
    prepare(numbered(tmp_path / "a", 9), tmp_path, tmp_path / "whole", None, True, False, 0.03, False)
    assert contents(tmp_path / "whole") == contents(tmp_path / "out")


def test_finished_output_is_left_alone_and_reported_again(tmp_path):
    layout = LAYOUTS["gtzan"](tmp_path / "published")
    first = prepare(CORPORA["gtzan"], layout.root, tmp_path / "out", progress=False)
    shard = tmp_path / "out" / "train-00000-of-00001.parquet"
    before = shard.stat().st_mtime_ns
    again = prepare(CORPORA["gtzan"], layout.root, tmp_path / "out", progress=False)
    assert shard.stat().st_mtime_ns == before
    assert again == first


def test_splits_are_added_to_those_that_are_there(tmp_path):
    layout = LAYOUTS["gtzan"](tmp_path / "published")
    prepare(CORPORA["gtzan"], layout.root, tmp_path / "out", splits=["validation"], progress=False)
    shard = tmp_path / "out" / "validation-00000-of-00001.parquet"
    before = shard.stat().st_mtime_ns
    with pytest.raises(DataError, match=r"other settings: embed \(True, now False\); choose"):
        prepare(CORPORA["gtzan"], layout.root, tmp_path / "out", embed=False, progress=False)
    added = prepare(CORPORA["gtzan"], layout.root, tmp_path / "out", progress=False)
    assert shard.stat().st_mtime_ns == before
    assert added == prepare(CORPORA["gtzan"], layout.root, tmp_path / "whole", progress=False)
    assert list(added.splits) == ["train", "validation", "test"]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    with pytest.raises(DataError, match=r"other settings: splits \(\['train', 'validation', 'test'\], now"):
        prepare(CORPORA["gtzan"], layout.root, tmp_path / "out", splits=["validation"], progress=False)


def test_output_of_something_else_is_refused(tmp_path):
    layout = LAYOUTS["gtzan"](tmp_path / "published")
    write_lines(tmp_path / "mine" / "thesis.txt", ["precious"])
    with pytest.raises(DataError, match="not an empty folder"):
        prepare(CORPORA["gtzan"], layout.root, tmp_path / "mine", progress=False)
    assert contents(tmp_path / "mine") == {"thesis.txt": b"precious\n"}
    prepare(CORPORA["gtzan"], layout.root, tmp_path / "out", progress=False)
    with pytest.raises(DataError, match=r"embed \(True, now False\)"):
        prepare(CORPORA["gtzan"], layout.root, tmp_path / "out", embed=False, progress=False)


def test_paths_instead_of_audio(tmp_path):
    layout = LAYOUTS["mulap_json"](tmp_path / "published")
    prepare(CORPORA["mulap_json"], layout.root, tmp_path / "out", embed=False, progress=False)
    rows = list(load_dataset(str(tmp_path / "out"), split="train", streaming=True))
    by_id = {row["id"]: row["audio"] for row in rows}
    assert by_id["5"] == {"bytes": None, "path": str((layout.root / "audio" / "5.mp3").resolve())}
    assert load_audio(by_id["1"]["bytes"]).tolist() == layout.rows["train"][0][1].tolist()  # .npy: no file to point at


def test_full_check_finds_files_that_are_cut_off(tmp_path):
    folder = tmp_path / "published"
    for suffix in (".flac", ".mp3"):
        folder.mkdir(exist_ok=True)
        noise = [0.1 * (n * n % 17 - 8) for n in range(3 * 16000)]
        soundfile.write(folder / f"cut{suffix}", noise, 16000)
        whole = (folder / f"cut{suffix}").read_bytes()
        (folder / f"cut{suffix}").write_bytes(whole[: 2 * len(whole) // 3])
    write_audio(folder / "whole.mp3", 0)
    names = ("cut.flac", "cut.mp3", "whole.mp3")
    write_lines(folder / "metadata.jsonl", [f'{{"file_name": "{name}", "caption": "x"}}' for name in names])
    opened = prepare(CORPORA["audiofolder"], folder, tmp_path / "a", progress=False)
    decoded = prepare(CORPORA["audiofolder"], folder, tmp_path / "b", full_check=True, progress=False)
    assert opened.skipped == []
    assert [item.id for item in decoded.skipped] == ["cut.flac", "cut.mp3"]
    assert "it ends early, after" in decoded.skipped[1].detail


@pytest.mark.parametrize("name", ["musiccaps", "webdataset", "mulap_json"])
def test_prepared_captions_are_ready_for_pretraining(name, tmp_path):
    layout = LAYOUTS[name](tmp_path / "published")
    prepare(CORPORA[name], layout.root, tmp_path / "out", progress=False)
    rows = list(open_pairs(tmp_path / "out", split="train").dataset)
    assert [(row["id"], row["caption"], row["problem"]) for row in rows] == [
        (name, columns["caption"], None) for name, _, columns in layout.rows["train"]
    ]
    assert all(load_audio(row["audio"]["bytes"]).size for row in rows)


def test_nothing_usable_is_an_error_that_says_why(tmp_path):
    write_broken(tmp_path / "published" / "a.wav")
    lines = ['{"file_name": "a.wav", "caption": "x"}', '{"file_name": "b.wav", "caption": "x"}']
    write_lines(tmp_path / "published" / "metadata.jsonl", lines)
    with pytest.raises(DataError, match=r"not one item.*broken audio: 1, no such file: 1"):
        prepare(CORPORA["audiofolder"], tmp_path / "published", tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_unknown_split(tmp_path):
    layout = LAYOUTS["gtzan"](tmp_path / "published")
    with pytest.raises(DataError, match="--split dev: expected one or more of train, validation, test"):
        prepare(CORPORA["gtzan"], layout.root, tmp_path / "out", splits=["dev"], progress=False)


def test_ids_are_unique_across_shards_and_interruptions(tmp_path):
    paths = [write_audio(tmp_path / "a" / f"{number}.wav", number) for number in range(4)]

    def corpus(stop: bool) -> Corpus:
        def items():
            for number, name in enumerate(("a", "b", "a", "b")):
                if stop and number == 2:
                    raise KeyboardInterrupt
                yield Example(name, paths[number], caption="x")

        return Corpus("twice", "twice", lambda root: Reading({"train": items()}, {"caption": pa.string()}), "")

    settings = {"shard_megabytes": 0.001, "progress": False}  # a shard per clip
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus(stop=True), tmp_path, tmp_path / "out", **settings)
    report = prepare(corpus(stop=False), tmp_path, tmp_path / "out", **settings)
    assert [(item.id, item.reason) for item in report.skipped] == [
        ("a", "an item with this id is there already"),
        ("b", "an item with this id is there already"),
    ]


def test_a_corpus_that_has_changed_since_is_refused(tmp_path):
    """Going on after as many items as before would skip the new one and take another twice."""
    with pytest.raises(KeyboardInterrupt):
        prepare(numbered(tmp_path / "a", 14, stop_at=9), tmp_path, tmp_path / "out", None, True, False, 0.03, False)

    def read(root):
        others = [Example(f"new-{number}", tmp_path / "a" / "0.wav", caption="music") for number in range(14)]
        return Reading({"train": iter(others), "test": iter([])}, {"caption": pa.string()})

    changed = Corpus("numbered", "numbers", read, "")
    with pytest.raises(DataError, match="out: the corpus has changed since this was begun; delete the folder"):
        prepare(changed, tmp_path, tmp_path / "out", None, True, False, 0.03, False)


def test_the_card_names_no_path_of_this_machine(tmp_path):
    (tmp_path / "music").mkdir()
    write_broken(tmp_path / "music" / "broken.wav")
    rows = ["file_name,caption", "gone.wav,calm", "broken.wav,loud", f"{write_audio(tmp_path / 'a.wav', 0)},soft"]
    write_lines(tmp_path / "music" / "metadata.csv", rows)
    report = prepare(CORPORA["audiofolder"], tmp_path / "music", tmp_path / "out", progress=False)
    assert len(report.skipped) == 2
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| no such file | 1 | gone.wav |" in card and "| broken audio | 1 | broken.wav |" in card
    assert "/music/" not in card


@pytest.mark.parametrize("column", ["id", "audio", "caption"])
def test_columns_that_are_there_in_any_case_cannot_be_kept(tmp_path, column):
    write_lines(tmp_path / "all.csv", [f"file_name,caption,{column}", "a.wav,calm,7"])
    with pytest.raises(DataError, match=f"--keep_columns {column}: a prepared dataset has a column of that name"):
        prepare(CORPORA["csv"], tmp_path, tmp_path / "out", keep_columns=[column], progress=False)


def test_two_tables_of_a_split_are_refused(tmp_path):
    for number in range(2):
        write_lines(tmp_path / f"train_{number}.csv", ["file_name,caption", "a.wav,calm"])
    with pytest.raises(DataError, match=r"train_0\.csv and .*train_1\.csv are both of the split train: make one"):
        prepare(CORPORA["csv"], tmp_path, tmp_path / "out", progress=False)


def test_clips_of_a_kind_that_cannot_be_read_are_named_as_such(tmp_path):
    layout = LAYOUTS["musiccaps"](tmp_path / "published")
    clip = next(path for path in layout.root.rglob("*.wav"))
    clip.with_suffix(".m4a").write_bytes(b"\0\0\0\x1cftypM4A " + bytes(100))
    clip.unlink()
    report = prepare(CORPORA["musiccaps"], layout.root, tmp_path / "out", progress=False)
    assert any("its MP4 data cannot be decoded" in item.detail for item in report.skipped)
