"""The parts of the benchmark: halves, pitches, folds, neighbors, intervals."""

from pathlib import Path

import numpy as np
import pytest

from mulap_hf.data.schema import Skipped
from mulap_hf.real_music.excerpts import Excerpts, PartFeatures
from mulap_hf.real_music.layout import find_parts, half_of, pitch_class
from mulap_hf.real_music.neighbors import neighbor_chance, same_class_neighbors, same_track, standardize, whiten
from mulap_hf.real_music.probes import folds, predict_in_folds
from mulap_hf.real_music.statistics import Outcomes, compare
from mulap_hf.transfer.features import Features


@pytest.mark.parametrize(
    "name, expected",
    [
        *(("cello_A3_1_forte_arco-normal.mp3", 9), ("oboe_As4_025_forte_normal.mp3", 10), ("Bb2 soft.wav", 10)),
        *(("flute-c#4.wav", 1), ("Cb5.wav", 11), ("agogo-bells__025_forte.mp3", None), ("Take5.wav", None)),
    ],
)
def test_pitch_class(name, expected):
    assert pitch_class(Path(name)) == expected


def test_halves_are_disjoint_and_stable(recordings):
    found = {half: find_parts(recordings, half, 240)[0]["notes"].recordings for half in ("dev", "test", "all")}
    names = {half: {one.name for one in chosen} for half, chosen in found.items()}
    assert all(half_of(name) == half for half in ("dev", "test") for name in names[half])
    assert names["dev"] | names["test"] == {name for name in names["all"] if name.startswith(("flute", "oboe"))} | {
        name
        for name in names["dev"]
        if name.startswith("tuba")  # of which three are in the test half: too few
    }
    assert half_of("cello/cello_A3_1_forte_arco-normal.mp3") == "test"
    few = {one.name for one in find_parts(recordings, "all", 8)[0]["notes"].recordings}
    assert few < names["all"]
    _, missing = find_parts(recordings, "dev", 240)
    assert "fewer than two folders with at least 4 recordings in the half 'dev'" in missing["soundtracks"]


def test_excerpts_of_a_track_do_not_overlap(recordings):
    parts, _ = find_parts(recordings, "all", 240)
    rows = next(iter(Excerpts(parts["soundtracks"], recordings).by_recording.values()))
    first, second = ((row["offset"], row["offset"] + row["seconds"]) for row in rows)
    assert 0 <= first[0] < first[1] <= second[0] < second[1] <= 1.5 + 1e-6


@pytest.fixture
def data(recordings) -> PartFeatures:
    """Features of notes that are random but for their class."""
    part = find_parts(recordings, "all", 240)[0]["notes"]
    rng, chunks = np.random.default_rng(0), np.full(36, 2)
    centers = {label: rng.normal(size=8) for label in part.classes}
    values = np.concatenate([centers[one.label] + rng.normal(size=(2, 8)) for one in part.recordings])
    features = Features([one.name for one in part.recordings], np.arange(36) * 2, chunks, values, [])
    return PartFeatures(part.recordings, features, 1, [Skipped("x", "y")])


def test_folds_hold_out_pitch_classes(data):
    seen = []
    for train, test in folds(data, seed=0):
        groups = [{data.recordings[row].group for row in rows} for rows in (train, test)]
        assert not groups[0] & groups[1] and len(groups[1]) == 3
        seen += test.tolist()
    assert sorted(seen) == list(range(36))


def test_pooling(data):
    chunks = data.features.values[6:8]
    expected = np.concatenate([chunks.mean(0), chunks.max(0), chunks.std(0)])
    np.testing.assert_allclose(data.pooled("mean+max+deviation")[3, 0], expected)
    np.testing.assert_allclose(data.pooled("mean")[3, 0], chunks.mean(0))


def test_probe_is_the_same_in_the_span_of_the_training_vectors(data):
    """With more dimensions than recordings, the probe is computed in fewer; zeros must not change it."""
    vectors = data.pooled("mean")
    padded = np.concatenate([vectors, np.zeros((36, 1, 100))], axis=2)
    for few, draws in ((None, 1), (3, 2)):
        plain, wide = (predict_in_folds(data, one, 0, few, draws) for one in (vectors, padded))
        assert plain.shape == (draws, 36, 1)
        np.testing.assert_array_equal(plain, wide)


def test_neighbors_and_same_track():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 8)
    own = rng.normal(size=(16, 1, 40))
    vectors = np.array([[5.0], [-5.0]])[labels][:, None] * np.r_[1, np.zeros(39)] + own
    vectors = vectors + 0.1 * rng.normal(size=(16, 2, 40))
    assert same_track(standardize(vectors)).mean() == 1
    assert same_class_neighbors(vectors, labels).mean() == 1
    random = same_class_neighbors(rng.normal(size=(200, 2, 5)), rng.integers(2, size=200))
    assert random.mean() == pytest.approx(neighbor_chance(rng.integers(2, size=200)), abs=0.1)
    white = whiten(vectors).reshape(32, -1)
    assert white.shape == (32, 31)
    np.testing.assert_allclose(np.cov(white.T), np.eye(31), atol=1e-8)


def test_intervals_and_paired_differences():
    rng = np.random.default_rng(0)
    values = (rng.random(400) < 0.7).astype(float)
    names = [str(index) for index in range(400)]
    one = Outcomes(names, values)
    number = one.mean(1000, 0)
    assert number["value"] == pytest.approx(values.mean())
    assert number["high"] - number["low"] == pytest.approx(2 * 1.96 * np.sqrt(0.21 / 400), rel=0.1)
    worse = Outcomes(names[::-1], np.maximum(values - (rng.random(400) < 0.05), 0)[::-1])
    difference = worse.minus(one, 1000, 0)
    assert compare(difference) == "below" and compare(one.minus(one, 100, 0)) == "not significantly different from"
    assert difference["high"] - difference["low"] < (number["high"] - number["low"]) / 2  # paired
    strata = np.repeat([0, 1], [390, 10])
    balanced = Outcomes(names, np.where(strata == 0, 1.0, 0.0), strata).mean(100, 0)
    assert balanced == pytest.approx({"value": 0.5, "low": 0.5, "high": 0.5})
