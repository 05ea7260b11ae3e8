"""Each condition against what it is defined to do to tones and noise."""

import math
from itertools import pairwise

import numpy as np
import pytest
from helpers import RATE
from scipy import signal

from mulap_hf.transfer.degradations import DEGRADATIONS, degrade

SAMPLES = 4 * RATE
TIME = np.arange(SAMPLES) / RATE
PITCH = {"pitch_down_2": -2, "pitch_down_1": -1, "pitch_up_1": 1, "pitch_up_2": 2}
TEMPO = {"tempo_down_10": 0.9, "tempo_up_10": 1.1}


def tone(frequency: float) -> np.ndarray:
    return (0.2 * np.sin(2 * np.pi * frequency * TIME)).astype(np.float32)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, SAMPLES).astype(np.float32)


def power(waveform: np.ndarray) -> float:
    return float(np.square(waveform, dtype=np.float64).mean())


def decibels(waveform: np.ndarray, reference: np.ndarray) -> float:
    return 10 * math.log10(power(waveform) / power(reference))


def peak_hertz(waveform: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), 8 * len(waveform)))
    return spectrum.argmax() * RATE / (8 * len(waveform))


def best_lag(waveform: np.ndarray, reference: np.ndarray) -> int:
    return int(signal.correlate(waveform, reference, "full").argmax()) - (len(reference) - 1)


@pytest.mark.parametrize("ratio", [20, 10, 0])
def test_noise_has_the_ratio_asked_for(ratio):
    clip = noise(1)
    added = degrade(clip, f"noise_{ratio}db", "clip") - clip
    assert decibels(clip, added) == pytest.approx(ratio, abs=0.1)


def test_rests_do_not_make_the_noise_softer():
    clip = noise(1)
    clip[SAMPLES // 2 :] *= 1e-4  # -80 dB
    added = degrade(clip, "noise_10db", "clip") - clip
    assert decibels(clip[: SAMPLES // 2], added) == pytest.approx(10, abs=0.1)
    assert decibels(added[SAMPLES // 2 :], added) == pytest.approx(0, abs=0.5)  # and are filled with it


def test_noise_is_pink():
    clip = tone(440)
    spectrum = np.abs(np.fft.rfft(degrade(clip, "noise_0db", "clip") - clip)) ** 2
    edges = 62.5 * 2 ** np.arange(8) * SAMPLES / RATE
    octaves = [spectrum[int(low) : int(high)].sum() for low, high in pairwise(edges)]
    np.testing.assert_allclose(10 * np.log10(octaves / np.mean(octaves)), 0, atol=1.2)
    assert spectrum[: 20 * SAMPLES // RATE].sum() < 1e-6 * spectrum.sum()


def test_noise_is_the_clips_own_and_the_same_at_every_level():
    clip = noise(1)
    quiet, loud = (degrade(clip, condition, "a") - clip for condition in ("noise_20db", "noise_0db"))
    np.testing.assert_allclose(10 * quiet, loud, atol=1e-6)
    other = degrade(clip, "noise_0db", "b") - clip
    assert abs(np.corrcoef(loud, other)[0, 1]) < 0.1


def test_mp3_is_aligned_and_loses_treble():
    clip = noise() * np.exp(-20 * (TIME % 0.5)).astype(np.float32) + tone(300)
    degraded = degrade(clip, "mp3_16kbps", "clip")
    assert best_lag(degraded, clip) == 0
    assert np.corrcoef(degraded, clip)[0, 1] > 0.9
    assert decibels(degrade(tone(1000), "mp3_16kbps", "clip"), tone(1000)) == pytest.approx(0, abs=0.5)
    assert decibels(degrade(tone(7000), "mp3_16kbps", "clip"), tone(7000)) < -40


def test_gain_and_clipping():
    clip = tone(440)
    np.testing.assert_allclose(degrade(clip, "gain_down_20db", "clip"), clip / 10, rtol=1e-6)
    np.testing.assert_allclose(degrade(clip, "gain_up_6db", "clip"), clip * 1.99526, rtol=1e-5)
    loud = degrade(4 * clip, "gain_up_6db", "clip")
    np.testing.assert_allclose(loud, np.clip(4 * 1.99526 * clip, -1, 1), rtol=1e-5)
    assert (np.abs(loud) == 1).mean() > 0.3


@pytest.mark.parametrize(
    "condition, frequency, lowest, highest",
    [
        ("low_pass_3khz", 500, -1, 0),
        ("low_pass_3khz", 3000, -3.1, -2.9),
        ("low_pass_3khz", 6000, -100, -20),
        ("high_pass_200hz", 50, -100, -40),
        ("high_pass_200hz", 200, -3.1, -2.9),
        ("high_pass_200hz", 1000, -0.1, 0),
        ("tilt_6db", 50, 5.9, 6),
        ("tilt_6db", 1000, -0.05, 0.05),
        ("tilt_6db", 7900, -6, -5.9),
    ],
)
def test_equalizers(condition, frequency, lowest, highest):
    settled = slice(RATE // 2, None)
    clip = tone(frequency)
    change = decibels(degrade(clip, condition, "clip")[settled], clip[settled])
    assert lowest - 0.01 <= change <= highest + 0.01


@pytest.mark.parametrize("condition, semitones", PITCH.items())
def test_pitch_moves_and_length_stays(condition, semitones):
    clip = tone(440)
    degraded = degrade(clip, condition, "clip")
    assert len(degraded) == len(clip)
    assert peak_hertz(degraded) == pytest.approx(440 * 2 ** (semitones / 12), rel=0.01)
    assert decibels(degraded, clip) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("condition, factor", TEMPO.items())
def test_tempo_moves_and_pitch_stays(condition, factor):
    clip = tone(440)
    degraded = degrade(clip, condition, "clip")
    assert len(degraded) == round(len(clip) / factor)
    assert peak_hertz(degraded) == pytest.approx(440, rel=0.002)
    assert decibels(degraded, clip) == pytest.approx(0, abs=0.01)

    bursts = (clip * (np.abs(TIME % 1 - 0.5) < 0.05)).astype(np.float32)
    energy = np.square(degrade(bursts, condition, "clip"))
    seconds = np.arange(len(energy)) / RATE
    centres = [
        np.average(times, weights=weights)
        for times, weights in zip(np.array_split(seconds, 4), np.array_split(energy, 4), strict=True)
    ]
    np.testing.assert_allclose(centres, (np.arange(4) + 0.5) / factor, atol=0.04)  # the vocoder blurs them


@pytest.mark.parametrize("condition", DEGRADATIONS)
def test_any_clip_in_any_order(condition):
    clips = {"a": noise(1), "b": tone(440)[:7777], "c": noise(2)[:1000], "d": noise(3)[:1]}
    before = {name: clip.copy() for name, clip in clips.items()}
    first = {name: degrade(clip, condition, name) for name, clip in clips.items()}
    for name, clip in reversed(clips.items()):
        again = degrade(clip, condition, name)
        np.testing.assert_array_equal(again, first[name])
        np.testing.assert_array_equal(clip, before[name])
        assert again.dtype == np.float32
        assert np.isfinite(again).all()
        assert len(again) == round(len(clip) / TEMPO.get(condition, 1))
        assert not np.shares_memory(again, clip)
    assert not np.allclose(first["a"][:5000], clips["a"][:5000], atol=1e-4)  # something is done


@pytest.mark.parametrize("condition", DEGRADATIONS)
def test_silence_stays_silence(condition):
    silence = degrade(np.zeros(RATE, dtype=np.float32), condition, "clip")
    assert silence.size and not silence.any()


def test_every_condition_says_what_it_does_in_a_line():
    descriptions = [degradation.description for degradation in DEGRADATIONS.values()]
    assert len(set(descriptions)) == len(DEGRADATIONS)
    assert all(0 < len(text) < 60 and "|" not in text and "\n" not in text for text in descriptions)


def test_unknown_conditions_are_refused_with_the_closest():
    with pytest.raises(ValueError, match=r"unknown degradation 'noise_20'; did you mean 'noise_20db'\?"):
        degrade(noise(), "noise_20", "clip")
    with pytest.raises(ValueError, match="unknown degradation 'zzz'; choose from noise_20db, "):
        degrade(noise(), "zzz", "clip")


@pytest.mark.parametrize("waveform", [np.zeros((2, 500)), np.zeros(0), np.array([0.1, np.nan]), np.array([np.inf])])
def test_waveforms_of_another_kind_are_refused(waveform):
    with pytest.raises(ValueError, match=r"^clip: waveform of shape .* mono, not empty, all finite"):
        degrade(waveform, "noise_0db", "clip")
