"""From a folder of class folders to a published tagger, in two commands."""

import numpy as np
import soundfile as sf
from helpers import ROOT, run
from tones import PITCHES, RATE, tone
from transformers import pipeline


def test_two_commands(tmp_path, model_folder):
    rng = np.random.default_rng(0)
    for register in PITCHES:
        (tmp_path / "notes" / register).mkdir(parents=True)
        for number in range(15):
            sf.write(tmp_path / "notes" / register / f"{number}.wav", tone(rng, register)[0], RATE)
    places = ("--output_dir", tmp_path / "mine", "--corpus_dir", tmp_path / "kept", "--cache_dir", tmp_path / "cache")
    options = ("--model", model_folder, "--data", tmp_path / "notes", "--max_epochs", 5, *places)
    trained = run(ROOT / "training" / "transfer.py", *options)
    assert trained.returncode == 0, trained.stderr
    assert "train: 36 items" in trained.stdout and "test, 3 tracks: accuracy" in trained.stdout
    again = run(ROOT / "training" / "transfer.py", *options)
    assert "Prepared" not in again.stdout

    keep = ("--dry_run", "--keep", tmp_path / "published", "--license", "cc0-1.0")
    published = run(ROOT / "training" / "publish.py", tmp_path / "mine", "--repo_id", "me/notes", *keep)
    assert published.returncode == 0, published.stderr
    classify = pipeline("audio-classification", model=str(tmp_path / "published"), trust_remote_code=True)
    scores = classify(str(tmp_path / "notes" / "low" / "0.wav"))
    assert sorted(score["label"] for score in scores) == sorted(PITCHES)
