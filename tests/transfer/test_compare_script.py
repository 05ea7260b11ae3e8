"""training/compare.py as its users run it: killed, repeated, added to."""

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers import RATE, ROOT, run, start
from pictures import assert_shows_data
from tones import make_rows, write_dataset

SCRIPT = ROOT / "training" / "compare.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("comparison")
    write_dataset(place / "tones")
    catalog = place / "catalog"
    for split, number in (("train", 40), ("validation", 8)):
        (catalog / split).mkdir(parents=True)
        rows = make_rows(split, number, seed=9)
        for row in rows:
            (catalog / split / row["audio"]["path"]).write_bytes(row["audio"]["bytes"])
        lines = [json.dumps({"file_name": row["audio"]["path"], "caption": row["caption"]}) for row in rows]
        (catalog / split / "metadata.jsonl").write_text("\n".join(lines))
    return place


def command(place: Path, model_folder: Path, *more) -> list[str]:
    options = {"vocab_size": 100, "num_workers": 0, "checkpoint_steps": 1}
    return [
        *(
            SCRIPT,
            "--output_dir",
            place / "out",
            "--cache_dir",
            place / "features",
            "--train_data",
            place / "catalog",
        ),
        *("--strategies", "mulap", "handcrafted", model_folder, "--tasks", f"{place / 'tones'}:register"),
        *(
            "--pretrain_steps",
            6,
            "--pretrain_batch_size",
            4,
            "--clip_seconds",
            3.0,
            "--pretrain_seconds",
            3.0,
            "--shares",
            0.5,
        ),
        *("--share_strategies", "mulap", "--labels_per_class", 3, "--conditions", "noise_0db", "--max_epochs", 5),
        *("--resamples", 50, "--jobs", 2, "--pretrain_options", json.dumps(options), *more),
    ]


def alive(place: Path) -> list[str]:
    """Processes that work on it."""
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _readable(path)]
    return [text.decode() for text in commands if str(place).encode() in text]


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
        return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def done(place, model_folder) -> subprocess.CompletedProcess:
    """Killed while it pre-trains, then repeated."""
    log = place / "out" / "logs" / "mulap-1-seed0.log"
    with open(os.devnull, "wb") as nowhere:
        process = start(*command(place, model_folder, "--jobs", 1), stdout=nowhere, stderr=nowhere)
    try:
        deadline = time.monotonic() + 120
        while not (log.is_file() and "step" in log.read_text()):
            assert process.poll() is None and time.monotonic() < deadline, "it does not pre-train"
            time.sleep(0.02)
    finally:
        process.kill()
    process.wait(60)
    deadline = time.monotonic() + 120
    while alive(place / "out"):
        assert time.monotonic() < deadline, "the processes that it started do not end"
        time.sleep(0.1)
    assert not list((place / "out" / "pretrained").glob("*.json")), "pre-training was finished before the kill"
    return run(*command(place, model_folder))


def test_every_entry_is_there(done, place, model_folder):
    assert done.returncode == 0, done.stderr
    results = json.loads((place / "out" / "comparison.json").read_text())
    assert results["missing"] == []
    name = model_folder.name
    assert results["given"] == [name]
    text = (place / "out" / "comparison.md").read_text()
    assert (
        f"Trained elsewhere, and evaluated as they are: {name}. The other strategies are pre-trained for 6 steps"
        in text
    )
    rows = results["scores"]["tones-register"]["test"]
    assert list(rows) == results["strategies"] == ["mulap", "handcrafted", name]
    for row in rows.values():
        assert row["accuracy"]["low"] <= row["accuracy"]["value"] <= row["accuracy"]["high"]
    assert rows["mulap"]["differences"] == {}  # none to itself
    difference = rows["handcrafted"]["accuracy"]["value"] - rows["mulap"]["accuracy"]["value"]
    assert rows["handcrafted"]["differences"]["mulap"]["value"] == pytest.approx(difference)
    assert list(results["labels"]["tones-register"][name]) == ["3", "all"]
    assert list(results["shares"]["tones-register"]["mulap"]) == ["0.5", "1"]
    assert set(results["drops"]["tones-register"]["handcrafted"]) == {"noise_0db"}
    compute = results["compute"]["mulap-1-seed0"]
    assert compute["pretrain_steps"] == 6 and compute["audio_hours"] == 6 * 4 * 3.0 / 3600
    assert results["zero_shot"].keys() >= {"mulap"}


def test_entries_of_other_settings_are_missing(done, place, model_folder, monkeypatch):
    """As when what would make them anew fails."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import compare

    monkeypatch.setattr("mulap_hf.commands.compare.run_comparison", lambda plan, tasks: {})
    written = [path for path in (place / "out").rglob("comparison*") if path.is_file()]
    written += (place / "out" / "comparison").iterdir()
    before = {path: path.read_bytes() for path in written}
    words = command(
        place, model_folder, "--max_epochs", 6, "--strategies", "handcrafted", "--reference", "handcrafted"
    )
    assert compare.main(list(map(str, words[1:]))) == 0
    results = json.loads((place / "out" / "comparison.json").read_text())
    assert results["missing"] == ["handcrafted-1-seed0, tones-register"]
    assert results["scores"]["tones-register"]["test"] == {}
    for path, content in before.items():
        path.write_bytes(content)


def test_the_report_has_tables_and_pictures(done, place):
    report = (place / "out" / "comparison.md").read_text()
    for picture in ("scores", "labels", "shares", "drops"):
        assert f"(comparison/{picture}.png)" in report
        assert_shows_data(place / "out" / "comparison" / f"{picture}.png")
    assert "### tones-register, test (18 tracks, 3 outputs)" in report


def test_what_is_there_is_kept_and_what_is_new_is_added(done, place, model_folder):
    entries = {path: path.stat().st_mtime_ns for path in (place / "out" / "entries").rglob("*.json")}
    more = ("--labels_per_class", 3, 5, "--seeds", 0, 1, "--strategies", "handcrafted", model_folder)
    result = run(*command(place, model_folder, *more, "--reference", "handcrafted", "--jobs", 1))
    assert result.returncode == 0, result.stderr
    after = {path: path.stat().st_mtime_ns for path in (place / "out" / "entries").rglob("*.json")}
    assert {path: after[path] for path in entries} == entries
    assert {str(path.relative_to(place / "out" / "entries")) for path in after.keys() - entries.keys()} == {
        f"{strategy}-1-seed{seed}/tones-register{labels}.json"
        for strategy in ("handcrafted", model_folder.name)
        for seed, labels in ((0, "-5"), (1, ""), (1, "-3"), (1, "-5"))
    }
    rows = json.loads((place / "out" / "comparison.json").read_text())["scores"]["tones-register"]["test"]
    assert {name: list(row["by_seed"]) for name, row in rows.items()} == {
        "handcrafted": ["0", "1"],
        model_folder.name: ["0", "1"],
    }
    difference = rows[model_folder.name]["differences"]["handcrafted"]
    assert difference["low"] < difference["high"] and difference["seeds"] == 2
    name = f"{model_folder.name}-1-seed%d/tones-register.json"
    entries = [json.loads((place / "out" / "entries" / (name % seed)).read_text()) for seed in (0, 1)]
    assert [entry["settings"]["degradations"] for entry in entries] == [["noise_0db"], []]
    assert "Seeds: 0, 1." in (place / "out" / "comparison.md").read_text()


def test_one_that_fails_does_not_stop_the_others(place, done, model_folder, tmp_path):
    sf.write(tmp_path / "x.wav", np.zeros(RATE), RATE)
    result = run(
        *command(place, model_folder, "--strategies", "mulap", "handcrafted", tmp_path, "--reference", "mulap"),
        "--jobs",
        1,
    )
    assert result.returncode == 1
    assert f"failed: {tmp_path.name}-1-seed0: ModelError" in result.stderr
    assert "handcrafted" in (place / "out" / "comparison.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strategies", "mulap", "mulpa"], "--strategies mulpa: neither mulap, mulap-published"),
        (["--reference", "mulap", "clap"], "--reference clap: not one of the strategies"),
        (["--shares", "1.5"], "give numbers above 0 and at most 1"),
        (["--seeds", "0", "0"], "--seeds: 0 is given twice"),
        (["--tasks", "taging"], "--tasks taging: neither one of tagging, style, .* nor a folder"),
        (["--pretrain_options", "{bad"], "--pretrain_options {bad: not JSON"),
        (["--labels_per_class", "0"], "--labels_per_class 0: at least 1"),
        (["--held_out_soundfont", "x.sf2"], "applies to tasks of the synthetic corpus only"),
        (["--tasks", "style", "--held_out_soundfont", "x.sf2"], "--held_out_soundfont x.sf2: the file does not exist"),
    ],
)
def test_mistakes_are_named(place, model_folder, options, message, capsys, monkeypatch):
    """Before anything is made."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import compare

    words = [str(word) for word in command(place, model_folder)[1:]]
    with pytest.raises(ValueError, match=message):
        compare.main([*words, *options])
