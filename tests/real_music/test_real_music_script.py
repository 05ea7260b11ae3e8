"""training/real_music.py as its users run it."""

import json
import shutil
import time

import numpy as np
import pytest
from helpers import ROOT, micro_config, settle, start
from made_recordings import write_note
from pictures import assert_shows_data

from mulap_hf import MulapAudioModel
from mulap_hf.errors import DataError

SCRIPT = ROOT / "training" / "real_music.py"
FAST = ("--labels_per_class", 2, "--draws", 2, "--resamples", 50, "--half", "all")


@pytest.fixture
def run(main, tmp_path, capsys):
    """Run the script in this process; return its exit status, its numbers, its page, and what it printed."""

    def call(*options, data):
        folder = tmp_path / "out"
        fixed = ("--data", data, "--output", folder, "--cache_dir", tmp_path / "cache", *FAST)
        status = main(list(map(str, (*options, *fixed))))
        printed = capsys.readouterr()
        return (
            status,
            json.loads((folder / "real_music.json").read_text()),
            (folder / "real_music.md").read_text(),
            printed.out + printed.err,
        )

    return call


def test_report(run, recordings, micro, tmp_path):
    page = tmp_path / "cards" / "music.md"
    models = ("--models", micro, f"random:{micro}", "handcrafted", "--reference", "handcrafted", "--page", page)
    status, results, text, _ = run(*models, data=recordings)
    assert status == 0
    assert list(results["models"]) == ["micro", "random micro", "handcrafted"]
    assert results["models"]["micro"]["fingerprint"] != results["models"]["random micro"]["fingerprint"]
    assert results["parts"]["notes"]["folds"] == "pitch class"
    assert results["parts"]["soundtracks"]["classes"] == {"bright": 6, "dark": 6}
    scores = results["scores"]["mean"]
    assert list(scores) == [
        *("notes", "notes_2", "soundtracks", "soundtracks_accuracy"),
        *("neighbors", "neighbors_whitened", "same_track", "same_track_whitened"),
    ]
    assert scores["notes"]["handcrafted"]["value"] > 0.7
    assert scores["soundtracks"]["handcrafted"]["value"] > 0.7 > results["chance"]["soundtracks"]
    for numbers in scores.values():
        assert all(0 <= one["low"] <= one["value"] <= one["high"] <= 1 for one in numbers.values())
    difference = results["differences"]["handcrafted"]["notes"]["micro"]
    expected = scores["notes"]["micro"]["value"] - scores["notes"]["handcrafted"]["value"]
    assert difference["value"] == pytest.approx(expected, abs=2e-4)
    assert sum(map(sum, results["confusion"]["micro"])) == 36
    assert list(results["scores"]) == ["mean", "mean+max", "mean+max+deviation"]
    assert "Compared with **handcrafted**" in text and "Nothing was left out." in text
    for picture in ("scores_1", "scores_2", "scores_3", "confusion", "map"):
        assert f"](real_music/{picture}.png)" in text and f"](music/{picture}.png)" in page.read_text()
        assert_shows_data(page.parent / "music" / f"{picture}.png")


def test_a_killed_run_resumes_to_the_same_result(recordings, micro, tmp_path):
    def command(name):
        folders = ("--output", tmp_path / name, "--cache_dir", tmp_path / f"{name}_cache")
        models = ("--models", micro, "handcrafted", "--poolings", "mean", "mean+max")
        return (SCRIPT, *models, "--data", recordings, *folders, *FAST)

    process = start(*command("killed"))
    while not any((tmp_path / "killed_cache").glob("*/index.jsonl")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert not (tmp_path / "killed" / "real_music.json").exists()
    for name in ("killed", "whole"):
        assert start(*command(name)).wait(300) == 0
    killed, whole = ((tmp_path / name / "real_music.json").read_text() for name in ("killed", "whole"))
    assert killed == whole


def test_broken_files_and_notes_without_pitch_are_reported(run, recordings, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(recordings, data)
    (data / "notes" / "flute" / "flute_C5_forte.mp3").write_bytes(b"ID3" + bytes(100))
    (data / "soundtracks" / "dark" / "broken.ogg").write_bytes(b"OggS" + bytes(100))
    write_note(data / "notes" / "drum" / "gong.wav", 0, (1.0,), np.random.default_rng(0))
    status, results, text, printed = run("--models", "handcrafted", "--poolings", "mean", data=data)
    assert status == 1
    assert "left out: flute/flute_C5_forte.mp3" in printed and "left out: dark/broken.ogg" in printed
    assert results["parts"]["notes"]["classes"] == {"flute": 12, "oboe": 12, "tuba": 12}
    assert "no pitch in its name" in text and "| cannot be decoded | 2 |" in text


def test_own_folder_without_pitches(run, recordings, tmp_path):
    """Classes as folders, any file names, one of the two parts, and links."""
    for name in ("flute", "tuba"):
        (tmp_path / "own" / "notes" / name).mkdir(parents=True)
        for number, path in enumerate((recordings / "notes" / name).glob("*.wav")):
            (tmp_path / "own" / "notes" / name / f"{number}.wav").symlink_to(path)
    options = ("--models", "handcrafted", "--poolings", "mean", "--notes_per_class", 16)
    status, results, text, printed = run(*options, data=tmp_path / "own")
    assert status == 0
    assert results["parts"]["notes"]["folds"] == "file" and list(results["parts"]) == ["notes"]
    assert all(4 <= number <= 12 for number in results["parts"]["notes"]["classes"].values())
    assert "soundtracks does not exist: put whole tracks" in printed and "wesnoth-1.16-music" in text


def test_what_differs_in_the_training_of_the_models(run, recordings, micro, tmp_path):
    for name, steps, weight in (("short", 10, 2.0), ("long", 20, 0.5)):
        shutil.copytree(micro, tmp_path / name)
        settings = {
            "model": {"objective": "mulap", "config": json.dumps({"chunks_loss_weight": weight}), "backbone": None},
            "data": {"train_data": f"/home/me/corpora/{name}/train", "num_workers": steps},
            "training": {"max_steps": steps, "batch_size": 48, "output_dir": name},
        }
        (tmp_path / name / "training_settings.json").write_text(json.dumps(settings))
    models = ("--models", tmp_path / "short", tmp_path / "long", micro, "--poolings", "mean")
    _, _, text, _ = run(*models, data=recordings)
    section = text.partition("## Training")[2].partition("## Method")[0]
    assert section.split("\n\n")[2].splitlines() == [
        "| model | train_data | max_steps | chunks_loss_weight |",
        "| --- | --- | --- | --- |",
        "| short | short/train | 10 | 2.0 |",
        "| long | long/train | 20 | 0.5 |",
    ]


def test_seeds_of_a_model_are_averaged(run, recordings, micro):
    name = f"random=random:{micro}"
    _, results, text, printed = run("--models", name, name, "handcrafted", "--poolings", "mean", data=recordings)
    assert list(results["models"]) == ["random", "handcrafted"] == list(results["scores"]["mean"]["notes"])
    assert "random, seed 2 of 2: features" in printed
    seeds = results["seeds"]["random"]
    assert list(results["seeds"]) == ["random"] and any(first != second for first, second in seeds.values())
    for key, scores in seeds.items():
        assert results["scores"]["mean"][key]["random"]["value"] == pytest.approx(np.mean(scores), abs=1e-4)
    assert f"| random | {seeds['notes'][0]:.3f}, {seeds['notes'][1]:.3f} |" in text


def test_features_without_pitch(run, recordings, tmp_path):
    folder = tmp_path / "pitched"
    settle(
        MulapAudioModel(micro_config(audio_config={"pitch_channels": 4, "pitch_n_fft": 256}).audio_config)
    ).save_pretrained(folder)
    _, results, _, _ = run("--models", folder, f"timbre:{folder}", "--poolings", "mean", data=recordings)
    assert list(results["models"]) == ["pitched", "timbre pitched"]
    sizes = [results["models"][name]["features"] for name in results["models"]]
    assert sizes[1] == MulapAudioModel.from_pretrained(folder, pitch_channels=0).config.feature_size < sizes[0]


def test_errors(run, recordings, micro, tmp_path):
    with pytest.raises(DataError, match=r"nothing to evaluate on.*philharmonia-samples.*planetblupi"):
        run("--models", "handcrafted", data=tmp_path)
    with pytest.raises(DataError, match="--models is missing"):
        run(data=recordings)
    with pytest.raises(DataError, match="'handcrafted' names two models; pass NAME=handcrafted"):
        run("--models", "handcrafted", "handcrafted", data=recordings)
    with pytest.raises(DataError, match="--reference MusiCNN: not one of the models; choose from handcrafted"):
        run("--models", "handcrafted", "--reference", "MusiCNN", data=recordings)
    (tmp_path / "few" / "notes" / "only").mkdir(parents=True)
    with pytest.raises(DataError, match="fewer than two folders with at least 4 recordings in the half 'all'"):
        run("--models", "handcrafted", data=tmp_path / "few")


def test_tags_and_calibration(run, recordings, tagger, tmp_path):
    corpus = ("--corpus_dir", tmp_path / "corpus", "--corpus_clips", 8)
    options = ("--models", "handcrafted", "--poolings", "mean", "--tagger", tagger, *corpus)
    _, results, text, _ = run(*options, data=recordings)
    tracks = results["tags"]["tracks"]
    assert len(tracks) == 10 and {one["class"] for one in tracks} == {"bright", "dark"}
    for one in tracks:
        probabilities = [plain for _, plain, _ in one["tags"]]
        assert len(probabilities) == 5 and probabilities == sorted(probabilities, reverse=True)
    reliability = results["reliability"]
    assert 0.05 <= reliability["temperature"] <= 20 and reliability["clips"] == 4
    error = reliability["as it is"]["error"]
    assert 0 <= error["low"] <= error["high"] <= 1
    assert sum(point["count"] for point in reliability["as it is"]["curve"]) == 4 * len(results["tags"]["frequencies"])
    assert "## Can the percentages be believed?" in text
    assert_shows_data(tmp_path / "out" / "real_music" / "calibration.png")
    with pytest.raises(DataError, match=r"--tagger has the labels .* the task style .*; pass the --tagger_task"):
        run(*options, "--tagger_task", "style", data=recordings)
