"""The script training/illustrate.py."""

import json
import re
import runpy

import pyarrow.parquet as pq
import pytest
from helpers import ROOT, write_tone

from mulap_hf.errors import AudioError, DataError, ModelError


@pytest.fixture
def draw(main, tmp_path, dataset):
    """Run the script in this process; return its numbers and its page."""

    def call(model, *more, data=dataset):
        folder = tmp_path / "out"
        options = ("--output_dir", folder, "--cache_dir", tmp_path / "features", "--model", model, "--neighbors", 3)
        main(list(map(str, (*options, *(() if data is None else ("--data", data)), *more))))
        return json.loads((folder / "illustrations.json").read_text()), (folder / "illustrations.md").read_text()

    return call


def test_all_parts_are_drawn(draw, folders, tmp_path, capsys):
    options = ("--tagger", folders["tagger"], "--compare", folders["dual"], "--hop_seconds", 0.1, "--track_seconds", 3)
    numbers, page = draw(folders["aligned"], *options, "--queries", 1)
    printed = capsys.readouterr()
    assert "skipped" not in printed.err
    out = tmp_path / "out"
    assert f"wrote illustrations.md, illustrations.json and 6 pictures to {out}" in printed.out
    assert list(numbers) == ["run", "retrieval", "tags", "map", "attention", "skipped"]
    assert list(numbers["map"]["positions"]) == ["aligned", "dual"] and numbers["skipped"] == {}
    pictures = sorted(path.name for path in out.glob("*.png"))
    assert len(pictures) == 6 and all(f"]({name})" in page for name in pictures)


def test_unsupported_parts_are_skipped_with_the_reason(draw, folders, capsys):
    numbers, page = draw(folders["dual"], "--queries", 1, "--parts", "retrieval", "tags", "attention")
    assert list(numbers["skipped"]) == ["tags", "attention"]
    assert "dual is not a classifier; pass --tagger" in numbers["skipped"]["tags"]
    assert "has no co-attention, because it is a dual encoder" in page
    assert "skipped part attention: " in capsys.readouterr().err
    with pytest.raises(DataError, match=r"out already has pictures; .* --overwrite_output"):
        draw(folders["dual"])
    numbers, _ = draw(folders["tagger"], "--overwrite_output", "--parts", "retrieval", "tags")
    assert list(numbers["skipped"]) == ["retrieval"] and numbers["tags"]["drawn"]
    assert "has no text side" in numbers["skipped"]["retrieval"]


def test_data_without_descriptions_or_labels(draw, folders, dataset, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "tasks.json").write_text("[]")
    for shard in dataset.glob("test-*.parquet"):
        pq.write_table(pq.read_table(shard).select(["id", "audio"]), bare / shard.name)
    numbers, _ = draw(folders["aligned"], "--tagger", folders["tagger"], data=bare)
    assert list(numbers["skipped"]) == ["retrieval", "map", "attention"]
    assert all("test has no descriptions" in numbers["skipped"][name] for name in ("retrieval", "attention"))
    assert f"{bare} has no labels" in numbers["skipped"]["map"]
    assert all(section["labels"] is None for section in numbers["tags"]["sections"])
    with pytest.raises(DataError, match="no part of --parts can be drawn"):
        draw(folders["aligned"], "--overwrite_output", data=bare)


def test_tags_of_a_file_do_not_require_data(draw, folders, tmp_path):
    write_tone(tmp_path / "song.wav", 2.0, rate=44_100, channels=2)
    track = ("--parts", "tags", "--track", tmp_path / "song.wav", "--hop_seconds", 0.1)
    numbers, page = draw(folders["tagger"], *track, data=None)
    assert numbers["tags"]["times"][:2] == [pytest.approx(0.15), pytest.approx(0.25)]
    assert "song.wav" in page and numbers["run"].get("data") is None


def test_invalid_options_are_refused_before_drawing(draw, folders, tmp_path):
    def fails(error, message, *options, model=folders["dual"], **data):
        with pytest.raises(error, match=message):
            draw(model, *options, **data)
        assert not (tmp_path / "out").exists()

    fails(ModelError, "nowhere: found neither as a folder nor on the Hub", model=tmp_path / "nowhere")
    fails(ModelError, "nowhere: found neither", "--tagger", tmp_path / "nowhere")
    fails(ModelError, "nowhere: found neither", "--compare", tmp_path / "nowhere")
    fails(DataError, "--data .*nowhere does not exist", data=tmp_path / "nowhere")
    fails(DataError, "unknown split 'tset'; choose one of test, train, validation", "--split", "tset")
    fails(DataError, "--queries 0: at least 1", "--queries", 0)
    fails(DataError, "--hop_seconds 0.0: more than 0", "--hop_seconds", 0)
    fails(AudioError, "no.wav: the file does not exist", "--track", tmp_path / "no.wav")


def test_errors_end_with_their_message(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["illustrate.py", "--model", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match="1"):
        runpy.run_path(str(ROOT / "training" / "illustrate.py"), run_name="__main__")
    assert re.search("^error: .*nowhere: found neither as a folder nor on the Hub", capsys.readouterr().err, re.M)


def test_help_explains_every_option(main, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "--compare" in shown and "Number of nearest neighbors for the agreement of neighbors" in shown
