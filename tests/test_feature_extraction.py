"""What the feature extractor takes, and what it says to what it does not take."""

import numpy as np
import pytest
import soxr
import torch

from mulap_hf import MulapFeatureExtractor

RATE = 16000
WAVE = np.sin(np.arange(4000) * 0.1).astype(np.float32) * 0.5


@pytest.fixture
def extract():
    extractor = MulapFeatureExtractor()

    def call(clips, **options):
        return extractor(clips, **{"sampling_rate": RATE, "return_tensors": "np", **options})

    return call


@pytest.mark.parametrize(
    "clip",
    [
        WAVE,
        WAVE.astype(np.float64),
        WAVE.tolist(),
        torch.from_numpy(WAVE),
        np.stack([WAVE * 1.5, WAVE * 0.5]),
        np.stack([WAVE * 1.5, WAVE * 0.5], axis=1),
        torch.from_numpy(WAVE)[None],
    ],
    ids=["float32", "float64", "list", "tensor", "channels first", "channels last", "mono channel"],
)
def test_forms_of_a_clip(extract, clip):
    output = extract(clip)
    assert output["input_values"].dtype == np.float32
    np.testing.assert_allclose(output["input_values"], WAVE[None], atol=1e-6)
    assert output["audio_attention_mask"].tolist() == [[1] * 4000]


@pytest.mark.parametrize(("dtype", "scale", "offset"), [("int16", 2**15, 0), ("int32", 2**31, 0), ("uint8", 128, 128)])
def test_integers_are_scaled(extract, dtype, scale, offset):
    samples = np.round(WAVE.astype(np.float64) * scale + offset).astype(dtype)
    np.testing.assert_allclose(extract(samples)["input_values"][0], WAVE, atol=1 / min(scale, 2**15))


def test_batch_is_padded_with_a_mask(extract):
    output = extract([WAVE, WAVE[:1000]], return_tensors="pt")
    assert output["input_values"].shape == (2, 4000)
    assert (output["input_values"][1, 1000:] == 0).all()
    assert output["audio_attention_mask"].sum(dim=1).tolist() == [4000, 1000]
    assert "attention_mask" not in output  # that is the text's
    assert "audio_attention_mask" not in extract(WAVE, return_attention_mask=False)


def test_rate_is_checked_and_resampled_only_when_asked(extract):
    with pytest.raises(ValueError, match=r"44100 Hz, the model takes 16000 Hz.*resample=True"):
        extract(WAVE, sampling_rate=44100)
    output = extract(WAVE, sampling_rate=8000, resample=True)
    np.testing.assert_allclose(output["input_values"][0], soxr.resample(WAVE, 8000, RATE), atol=1e-6)


def test_crops(extract):
    assert extract(WAVE)["input_values"].shape == (1, 4000)
    first = extract(WAVE, crop="first", max_seconds=0.1)["input_values"][0]
    assert np.array_equal(first, WAVE[:1600])
    ramp = np.arange(4000, dtype=np.float32) / 4000
    random = [
        extract(ramp, crop="random", max_seconds=0.1, generator=np.random.default_rng(seed))["input_values"][0]
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(random[0], random[1])
    assert not np.array_equal(random[0], random[2])
    start = round(float(random[2][0]) * 4000)
    assert np.array_equal(random[2], ramp[start : start + 1600])
    configured = MulapFeatureExtractor(crop="first", max_seconds=0.1)
    assert configured(WAVE, sampling_rate=RATE, return_tensors="np")["input_values"].shape == (1, 1600)
    assert configured(WAVE, sampling_rate=RATE, crop="none", return_tensors="np")["input_values"].shape == (1, 4000)


def test_crops_that_make_no_sense(extract):
    with pytest.raises(ValueError, match="needs generator"):
        extract(WAVE, crop="random", max_seconds=0.1)
    with pytest.raises(ValueError, match="crop='first' needs max_seconds"):
        extract(WAVE, crop="first")
    with pytest.raises(ValueError, match="crops nothing"):
        extract(WAVE, max_seconds=1.0)
    with pytest.raises(ValueError, match="crop='middle'"):
        extract(WAVE, crop="middle", max_seconds=0.1)
    with pytest.raises(ValueError, match="for training"):
        MulapFeatureExtractor(crop="random", max_seconds=1.0)


@pytest.mark.parametrize(
    ("clip", "error", "message"),
    [
        (np.zeros(0), ValueError, "clip 0 is empty"),
        ([], ValueError, "no clip"),
        ([WAVE, np.where(np.arange(4000) < 3, np.nan, WAVE)], ValueError, "clip 1 has 3 samples that are NaN"),
        (np.where(np.arange(4000) == 9, np.inf, WAVE), ValueError, "1 samples that are NaN or infinite"),
        (np.zeros((4, 4000)), ValueError, r"shape \(4, 4000\).*list of clips"),
        (np.zeros((2, 2, 4000)), ValueError, r"shape \(2, 2, 4000\)"),
        (np.zeros(100, dtype=np.int64), ValueError, "int64, whose full scale is unknown"),
        ("song.mp3", TypeError, "load_audio"),
        ([{"array": WAVE}], TypeError, '"array"'),
        (np.array(["a", "b"]), TypeError, "not samples"),
    ],
)
def test_bad_clips_are_named(extract, clip, error, message):
    with pytest.raises(error, match=message):
        extract(clip)


def test_a_clip_of_which_nothing_is_left(extract):
    with pytest.raises(ValueError, match=r"clip 1 has no samples left at 16000 Hz \(2 samples at 96000 Hz\)"):
        extract([WAVE, WAVE[:2]], sampling_rate=96000, resample=True)
    with pytest.raises(ValueError, match=r"clip 0 has no samples left at 16000 Hz .*: drop it, or crop to more"):
        extract(WAVE, crop="first", max_seconds=1e-5)


def test_silence_is_fine(extract):
    assert (extract(np.zeros(100))["input_values"] == 0).all()


def test_save_and_load(tmp_path):
    MulapFeatureExtractor(crop="first", max_seconds=3.0, sampling_rate=22050).save_pretrained(tmp_path)
    loaded = MulapFeatureExtractor.from_pretrained(tmp_path)
    assert (loaded.crop, loaded.max_seconds, loaded.sampling_rate) == ("first", 3.0, 22050)
