"""Sounds whose pitch, beat and level are known."""

import tracemalloc

import numpy as np
import pytest
from helpers import RATE

from mulap_hf.transfer.handcrafted import FEATURE_GROUPS, handcrafted_features, rotate_chroma

TIME = np.arange(10 * RATE) / RATE
HOP_SECONDS = 0.032


def group(waveform: np.ndarray, name: str) -> np.ndarray:
    features = handcrafted_features(waveform)
    assert features.dtype == np.float32
    assert features.shape == (FEATURE_GROUPS["onsets"].stop,)
    assert np.isfinite(features).all()
    return features[FEATURE_GROUPS[name]]


def bursts(period: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.3, len(TIME))
    return noise * np.exp(-20 * (TIME % period))


def chord(semitones: int) -> np.ndarray:
    return sum(np.sin(2 * np.pi * frequency * 2 ** (semitones / 12) * TIME) for frequency in (220, 277.18, 329.63))


def test_groups_follow_one_another():
    ends = [0, *(part.stop for part in FEATURE_GROUPS.values())]
    assert [part.start for part in FEATURE_GROUPS.values()] == ends[:-1]


def test_numbers_have_not_changed():
    waveform = (bursts(0.5) + 0.1 * np.sin(2 * np.pi * (100 + 100 * TIME) * TIME)).astype(np.float32)
    places = [0, 63, 64, 128, 191, 192, 211, 212, 251, 252, 261, 264, 275, 276, 291, 339]
    expected = [
        -0.653884,
        -0.460259,
        4.82455,
        1.8463,
        1.80064,
        1.78342,
        0.027144,
        3.16593,
        0.745851,
        0.0642268,
        0.101919,
        0.122797,
        0.15502,
        0.125328,
        0.748449,
        -0.0483117,
    ]
    np.testing.assert_allclose(handcrafted_features(waveform)[places], expected, rtol=1e-4, atol=1e-5)


def test_chroma_is_the_pitch_class():
    chroma = group(np.sin(2 * np.pi * 440 * TIME), "chroma")
    assert chroma[:12].argmax() == 9  # A
    assert chroma[9] > 0.8
    np.testing.assert_allclose(chroma[12:], 0, atol=0.01)  # steady


def test_rotated_chroma_is_that_of_transposed_music():
    low, high = (group(chord(semitones), "chroma")[None] for semitones in (0, 5))
    np.testing.assert_allclose(rotate_chroma(low, 5), high, atol=0.02)
    assert np.abs(low - high).max() > 0.2


@pytest.mark.parametrize("frames", [8, 20])
def test_rhythm_is_the_period_and_onsets_are_counted(frames):
    period = frames * HOP_SECONDS
    rhythm = group(bursts(period), "rhythm")
    assert rhythm.argmax() + 1 == frames
    assert rhythm[frames - 1] > 0.9
    assert rhythm[frames // 2 - 1] < 0
    assert group(bursts(period), "onsets")[2] == pytest.approx(
        1 / period, abs=0.11
    )  # the first has no frame before it


def test_steady_sounds_have_no_onsets():
    noise = np.random.default_rng(1).normal(0, 0.1, len(TIME))
    assert group(np.sin(2 * np.pi * 440 * TIME), "onsets")[2] == 0
    assert group(noise, "onsets")[2] <= 0.2


def test_level_does_not_count():
    waveform = bursts(0.5)
    np.testing.assert_allclose(
        handcrafted_features(waveform), handcrafted_features(0.01 * waveform), rtol=1e-3, atol=1e-4
    )


def test_silence():
    features = handcrafted_features(np.zeros(RATE))
    np.testing.assert_allclose(features[:64], np.log(1e-3), rtol=1e-6)
    np.testing.assert_allclose(features[64:], 0, atol=1e-5)


@pytest.mark.parametrize("samples", [500, 1500, 4095, 4097])
def test_short_clips_are_heard(samples):
    assert group(np.sin(2 * np.pi * 440 * TIME[:samples]), "chroma")[:12].argmax() == 9


def test_one_sample_is_enough():
    assert group(np.ones(1), "chroma").shape == (24,)


def test_long_tracks_take_little_memory():
    whole_frames = bursts(0.5)[: 70 * 2048].astype(np.float32)
    ten_minutes = np.tile(whole_frames, 67)  # 38 MB, 77 MB as overlapping frames
    tracemalloc.start()
    features = handcrafted_features(ten_minutes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6
    once_more = handcrafted_features(np.tile(whole_frames, 7))
    np.testing.assert_allclose(features[:252], once_more[:252], atol=0.01)


@pytest.mark.parametrize("waveform", [np.zeros((2, 5000)), np.zeros(0), np.array([0.1, np.nan])])
def test_waveforms_of_another_kind_are_refused(waveform):
    with pytest.raises(ValueError, match=r"take \(samples,\), mono, not empty, all finite"):
        handcrafted_features(waveform)


def test_other_rates_are_refused():
    with pytest.raises(ValueError, match="sampling_rate=22050: handcrafted features take 16000 Hz"):
        handcrafted_features(np.zeros(22050), 22050)
