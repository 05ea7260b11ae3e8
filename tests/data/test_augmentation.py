"""Each effect alone against what it is defined to do to a tone, noise or a ramp."""

import math
import pickle
import sys

import numpy as np
import pytest
from helpers import RATE

from mulap_hf.data.augmentation import Augmentation

SAMPLES = 2 * RATE
EFFECTS = ("pitch", "filter", "noise", "polarity", "gain")
TIME = np.arange(SAMPLES) / RATE


def only(*effects: str, **options) -> Augmentation:
    return Augmentation(**{effect: float(effect in effects) for effect in EFFECTS}, **options)


def view(augmentation: Augmentation, clip: np.ndarray, seed: int = 0, samples: int = SAMPLES) -> np.ndarray:
    result = augmentation(clip, np.random.default_rng(seed), samples)
    assert result.shape == (samples,)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    return result


def tone(frequency: float) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * TIME)).astype(np.float32)


def noise(samples: int = SAMPLES) -> np.ndarray:
    return np.random.default_rng(7).normal(0, 0.1, samples).astype(np.float32)


def decibels(signal: np.ndarray, reference: np.ndarray) -> float:
    return 10 * math.log10(np.square(signal, dtype=float).mean() / np.square(reference, dtype=float).mean())


def test_gain_is_in_decibels():
    clip = noise()
    changed = view(only("gain", gain_decibels=(-6, -6)), clip)
    np.testing.assert_allclose(changed, clip * 0.5011872, rtol=1e-6)
    levels = [decibels(view(only("gain", gain_decibels=(-12, -3)), clip, seed), clip) for seed in range(50)]
    assert -12 <= min(levels) < -11 and -4 < max(levels) <= -3


def test_polarity_is_inverted():
    np.testing.assert_array_equal(view(only("polarity"), noise()), -noise())


def test_noise_is_white_at_the_ratio_asked_for():
    clip = tone(440)
    added = view(only("noise", noise_decibels=(20, 20)), clip) - clip
    assert decibels(clip, added) == pytest.approx(20, abs=0.1)
    spectrum = np.square(np.abs(np.fft.rfft(added)))
    low, high = spectrum[: len(spectrum) // 2].mean(), spectrum[len(spectrum) // 2 :].mean()
    assert low == pytest.approx(high, rel=0.05)


def warped(hertz: float) -> float:
    """The analogue frequency of a bilinear transform, up to a factor."""
    return math.tan(math.pi * hertz / RATE)


@pytest.mark.parametrize("frequency", [300, 1000, 3000, 6000])
def test_filters_attenuate_as_second_order_butterworth_and_resonator(frequency):
    augmentation = only(
        "filter", low_pass_hertz=(1500, 1500), high_pass_hertz=(900, 900), band_pass_hertz=(1200, 1200)
    )
    low, high, band = (warped(frequency) / warped(cutoff) for cutoff in (1500, 900, 1200))
    expected = [  # squared gains, as losses in decibels
        10 * math.log10(1 + low**4),
        10 * math.log10(1 + high**-4),
        10 * math.log10(1 + (band - 1 / band) ** 2 / 2),
    ]
    settled = slice(RATE // 4, None)
    clip = tone(frequency)
    losses = [decibels(clip[settled], view(augmentation, clip, seed)[settled]) for seed in range(20)]
    drawn = [min(range(3), key=lambda kind: abs(expected[kind] - loss)) for loss in losses]
    assert [expected[kind] for kind in drawn] == pytest.approx(losses, abs=0.05)
    assert set(drawn) == {0, 1, 2}
    for seed in range(20):  # torchaudio clips at 1
        np.testing.assert_array_equal(view(augmentation, 4 * clip, seed), 4 * view(augmentation, clip, seed))


@pytest.mark.parametrize("semitones", [-4.5, 1, 5])
def test_pitch_moves_by_semitones_and_tempo_and_level_stay(semitones):
    augmentation = only("pitch", pitch_semitones=(semitones, semitones))
    clip = tone(440)
    shifted = view(augmentation, clip)
    peak = np.abs(np.fft.rfft(shifted * np.hanning(SAMPLES), 8 * SAMPLES)).argmax() * RATE / (8 * SAMPLES)
    assert 12 * math.log2(peak / 440) == pytest.approx(semitones, abs=0.09)
    assert decibels(shifted, clip) == pytest.approx(0, abs=0.01)

    bursts = (clip * (abs(TIME % 0.5 - 0.25) < 0.05)).astype(np.float32)
    energy = np.square(view(augmentation, bursts)).reshape(-1, RATE // 2)  # (bursts, samples)
    centres = (energy * np.arange(RATE // 2)).sum(axis=1) / energy.sum(axis=1) / RATE
    np.testing.assert_allclose(centres, 0.25, atol=0.02)  # seconds


def test_crop_is_any_part():
    ramp = np.linspace(-0.5, 0.5, 2 * SAMPLES, dtype=np.float32)
    starts = []
    for seed in range(50):
        start = int(np.searchsorted(ramp, view(only(), ramp, seed)[0]))
        np.testing.assert_array_equal(view(only(), ramp, seed), ramp[start : start + SAMPLES])
        starts.append(start)
    assert min(starts) < 0.1 * SAMPLES and max(starts) > 0.9 * SAMPLES


def test_short_clips_are_repeated():
    clip = np.linspace(0.1, 0.5, 500, dtype=np.float32)
    repeated = view(only(), clip)
    np.testing.assert_array_equal(np.sort(repeated[:500]), clip)
    np.testing.assert_array_equal(repeated[500:], repeated[:-500])
    assert view(only(), clip, seed=1)[0] != repeated[0]


def test_silence_is_not_drawn_if_there_is_anything_else():
    clip = np.zeros(20 * SAMPLES, dtype=np.float32)
    clip[-100:] = 0.3
    assert all(np.abs(view(only(), clip, seed)).max() > 0.2 for seed in range(10))
    assert not view(Augmentation(), np.zeros(SAMPLES)).any()  # and nothing is made out of it


def test_filter_that_leaves_nothing_is_left_out():
    clip = tone(15)
    views = [view(only("filter", high_pass_hertz=(7000, 7000)), clip, seed) for seed in range(20)]
    assert min(np.abs(filtered).max() for filtered in views) > 0.0005
    assert 3 < sum(np.array_equal(filtered, clip) for filtered in views) < 12  # the high-passed third


def test_same_generator_same_view_in_workers_too():
    augmentation, clip = Augmentation(pitch=0.9, filter=0.9, noise=0.9), noise(3 * SAMPLES)
    before = clip.copy()
    copied = pickle.loads(pickle.dumps(augmentation))
    views = [view(augmentation, clip, seed) for seed in range(3)]
    for seed, expected in enumerate(views):
        np.testing.assert_array_equal(view(copied, clip, seed), expected)
    assert not np.array_equal(views[0], views[1])
    np.testing.assert_array_equal(clip, before)
    assert not np.shares_memory(view(only(), clip), clip)


@pytest.mark.parametrize("clip", [np.zeros((2, 5)), np.zeros(0), np.array([0.1, np.nan])])
def test_clips_of_another_kind_are_refused(clip):
    with pytest.raises(ValueError, match=r"augmentation takes \(samples,\), mono, not empty, all finite"):
        Augmentation()(clip, np.random.default_rng(0), 3)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"noise": 1.5}, "noise=1.5 is a probability: 0 to 1"),
        ({"gain_decibels": (0, -6)}, r"gain_decibels=\(0, -6\) must be \(lowest, highest\)"),
        ({"low_pass_hertz": (4000, 8000)}, r"low_pass_hertz=\(4000, 8000\) must lie within 0 and half of 16000 Hz"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)


@pytest.mark.parametrize("error", ["ImportError", "OSError", "RuntimeError"])
def test_torchaudio_that_does_not_fit_is_one_clear_error(error, tmp_path, monkeypatch):
    (tmp_path / "torchaudio.py").write_text(f"raise {error}('libc10_cuda.so')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    with pytest.raises(ImportError, match=r"cannot be imported next to torch .* \(libc10_cuda.so\): pip install"):
        Augmentation()
    np.testing.assert_array_equal(view(only("polarity"), noise()), -noise())  # needs no torchaudio
