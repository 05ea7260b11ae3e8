"""Made recordings in the layout of the benchmark, and models for it."""

from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, import_script, micro_config, settle
from made_recordings import GAMES, INSTRUMENTS, PITCHES, write_note, write_track

from mulap_hf import MulapAudioModel, MulapFeatureExtractor, MulapForAudioClassification
from mulap_hf.synthetic.tags import TAGS


@pytest.fixture(scope="session")
def recordings(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    for name, partials in INSTRUMENTS.items():
        for number, pitch in enumerate(PITCHES):
            write_note(folder / "notes" / name / f"{name}_{pitch}4_forte.wav", number, partials, rng)
    for game, smoothing in GAMES.items():
        for number in range(6):
            write_track(folder / "soundtracks" / game / f"track {number}.ogg", smoothing, rng)
    return folder


@pytest.fixture(scope="session")
def micro(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("backbones") / "micro"
    settle(MulapAudioModel(micro_config().audio_config)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tagger(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("taggers") / "tagger"
    labels = {"id2label": dict(enumerate(TAGS)), "problem_type": "multi_label_classification"}
    settle(MulapForAudioClassification(micro_config(**labels))).save_pretrained(folder)
    MulapFeatureExtractor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def main():
    return import_script(ROOT / "training" / "real_music.py").main
