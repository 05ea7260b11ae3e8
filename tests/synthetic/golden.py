"""Stored labels and levels of some clips and notes.

After an intended change of the corpus, increase `CORPUS_VERSION` and run `python tests/synthetic/golden.py`, which
rewrites `golden.json`.
"""

import json
from pathlib import Path

import numpy as np

from mulap_hf.synthetic import CorpusConfig, make_clip, make_note

PATH = Path(__file__).with_name("golden.json")
CLIPS = [("train", 0), ("train", 1), ("train", 1999), ("validation", 3), ("test", 4), ("test_presets", 5)]
NOTES = [("train", 0), ("test_presets", 7)]


def describe(item):
    """Return the labels of a clip or note, with the level of each second in dB in place of the audio."""
    audio = item.pop("audio")
    seconds = audio.reshape(-1, item["sampling_rate"])
    levels = 10 * np.log10(np.mean(seconds**2, axis=1) + 1e-8)
    return {**item, "levels": [round(float(level), 2) for level in levels]}


def describe_all():
    config = CorpusConfig(clip_seconds=4.0)
    items = [make_clip(config, split, index) for split, index in CLIPS]
    items += [make_note(config, split, index) for split, index in NOTES]
    return [describe(item) for item in items]


if __name__ == "__main__":
    PATH.write_text(json.dumps(describe_all(), indent=1) + "\n", encoding="utf-8")
