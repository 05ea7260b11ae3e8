"""Tags over a track: probabilities compared with the model, and labels of concatenated clips."""

import numpy as np
import pytest
import torch
from helpers import CHUNK, RATE, waveforms
from pictures import assert_shows_data
from tones import make_rows, write_split

from mulap_hf import MulapForAudioClassification
from mulap_hf.errors import DataError, ModelError
from mulap_hf.illustration.data_split import DataSplit
from mulap_hf.illustration.tag_curves import Tagger, Track, illustrate_tags, join_clips
from mulap_hf.transfer.tasks import open_described


@torch.no_grad()
def test_curves_are_the_probabilities_of_overlapping_chunks(folders):
    tagger = Tagger(folders["tagger"], "cpu")
    track = waveforms(1, 2 * CHUNK + 1000)[0]
    times, scores = tagger.curves(track.numpy(), hop_seconds=0.1)
    starts = [0, 1600, 3200, 4800]
    np.testing.assert_allclose(times, [(start + CHUNK / 2) / RATE for start in starts])
    model = MulapForAudioClassification.from_pretrained(folders["tagger"]).eval()
    chunks = torch.stack([track[start : start + CHUNK] for start in starts])
    np.testing.assert_allclose(scores, model(chunks).logits.sigmoid().numpy(), atol=1e-5)
    times, scores = tagger.curves(track[:1000].numpy(), hop_seconds=0.1)  # shorter than a chunk
    assert times.tolist() == [1000 / RATE / 2] and scores.shape == (1, 4)


def test_clips_are_concatenated_with_their_labels(tmp_path, folders, split):
    tagger = Tagger(folders["tagger"], "cpu")
    track = join_clips(split, tagger.labels, RATE, seconds=3.0, section_seconds=0.6, seed=0)
    rows = {row["id"]: row for row in make_rows("test", 18)}
    assert len({section.clip for section in track.sections}) == len(track.sections)
    assert track.sections[-1].start < 3.0 <= track.sections[-1].end == len(track.waveform) / RATE
    clips = split.waveforms([section.clip for section in track.sections], RATE)
    for section in track.sections:
        assert section.labels == set(rows[section.clip]["sound"])
        assert section.title == rows[section.clip]["register"]
        part = track.waveform[round(section.start * RATE) : round(section.end * RATE)]
        np.testing.assert_array_equal(part, clips[section.clip][: round(0.6 * RATE)])
    longest = join_clips(split, tagger.labels, RATE, seconds=999, section_seconds=0.6, seed=1)
    assert len(longest.sections) == 18  # all clips of the split
    shown = illustrate_tags(tagger, track, tmp_path, hop_seconds=0.1, num_tags=2)
    numbers = shown.numbers
    peaks = {label: max(curve) for label, curve in numbers["probabilities"].items()}
    assert numbers["drawn"] == sorted(peaks, key=peaks.get, reverse=True)[:2]
    assert [part["labels"] for part in numbers["sections"]] == [sorted(one.labels) for one in track.sections]
    label = numbers["drawn"][0]
    inside = [
        value
        for time, value in zip(numbers["times"], numbers["probabilities"][label], strict=True)
        if any(part["start"] <= time < part["end"] and label in part["labels"] for part in numbers["sections"])
    ]
    mean = f"{np.mean(inside):.2f}" if inside else "no chunk"
    assert f"| {label} | {peaks[label]:.2f} | {mean} |" in shown.text
    assert_shows_data(tmp_path / "tags.png", 0.05)


def test_unknown_labels_are_not_shaded(tmp_path, folders, split):
    tagger = Tagger(folders["tagger"], "cpu")
    assert join_clips(split, ["other", "labels"], RATE, 1, 1, 0).sections[0].labels is None
    song = Track("song.wav", waveforms(1, RATE)[0].numpy())
    shown = illustrate_tags(tagger, song, tmp_path, hop_seconds=0.3, num_tags=99)
    assert shown.numbers["sections"] == [] and len(shown.numbers["drawn"]) == 4
    assert "Shading" not in shown.text
    assert_shows_data(tmp_path / "tags.png", 0.05)


def test_models_without_probabilities_are_refused(folders):
    with pytest.raises(DataError, match=r"regressor predicts values \(LABEL_0, LABEL_1\), not probabilities"):
        Tagger(folders["regressor"])
    with pytest.raises(ModelError, match=r"dual is not a classifier; pass --tagger"):
        Tagger(folders["dual"])


def test_section_labels_are_those_of_the_task_with_the_labels_of_the_tagger(split):
    register = join_clips(split, ["low", "high"], RATE, 1, 1, 0)  # a tagger may have a subset of the classes
    assert [section.labels for section in register.sections] == [{section.title} for section in register.sections]


def test_broken_clips_are_skipped(dataset, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "tasks.json").write_text((dataset / "tasks.json").read_text())
    rows = make_rows("test", 4)
    rows[1]["audio"] = {"bytes": b"<html>", "path": None}
    write_split(folder, "test", rows)
    split = DataSplit(open_described(folder), "test")
    track = join_clips(split, ["loud"], RATE, seconds=99, section_seconds=1, seed=0)
    assert {section.clip for section in track.sections} == {"test-000", "test-002", "test-003"}
    for row in rows:
        row["audio"] = rows[1]["audio"]
    write_split(folder, "test", rows)
    with pytest.raises(DataError, match="no clip of test can be decoded"):
        join_clips(split, ["loud"], RATE, seconds=99, section_seconds=1, seed=0)
