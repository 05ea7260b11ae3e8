"""What the feature extractor takes, and what it says to what it does not take."""

import warnings

import numpy as np
import pandas
import pytest
import soundfile as sf
import soxr
import torch
from datasets import Dataset
from helpers import CHUNK, RATE, assert_near, micro_config, settle, waveforms
from transformers import Trainer, TrainingArguments

from mulap_hf import AudioError, MulapFeatureExtractor, MulapForAudioClassification

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
        WAVE.astype(">f4"),
        WAVE.tolist(),
        torch.from_numpy(WAVE),
        np.stack([WAVE * 1.5, WAVE * 0.5]),
        np.stack([WAVE * 1.5, WAVE * 0.5], axis=1),
        torch.from_numpy(WAVE)[None],
    ],
    ids=["float32", "float64", "big-endian", "list", "tensor", "channels first", "channels last", "mono channel"],
)
def test_forms_of_a_clip(extract, clip):
    output = extract(clip)
    assert output["input_values"].dtype == np.float32
    np.testing.assert_allclose(output["input_values"], WAVE[None], atol=1e-6)
    assert output["audio_attention_mask"].tolist() == [[1] * 4000]


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"),
    [("int16", 2**15, 0), ("int32", 2**31, 0), (">i2", 2**15, 0), (">i4", 2**31, 0), ("uint8", 128, 128)],
)
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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(extract, dtype):
    half = torch.from_numpy(WAVE).to(dtype)
    assert np.array_equal(extract(half)["input_values"][0], half.float().numpy())


class Decoder:
    """As torchcodec's AudioDecoder, of which only this is used."""

    def __init__(self, samples: np.ndarray, rate: int):
        self.data, self.sample_rate = torch.from_numpy(samples), rate

    def get_all_samples(self):
        return self


def test_whatever_names_its_rate(extract, tmp_path):
    """Files, dicts as `datasets` gives them, and decoders, in one batch."""
    stereo = np.stack([WAVE * 1.5, WAVE * 0.5])
    sf.write(tmp_path / "song.wav", stereo.T, 8000, subtype="FLOAT")
    content = (tmp_path / "song.wav").read_bytes()
    expected = soxr.resample(WAVE, 8000, RATE)
    row = {"array": stereo, "sampling_rate": 8000, "path": None}
    for clip in (
        row,
        {"audio": row, "caption": "calm"},
        {"bytes": content, "path": None},
        {"bytes": None, "path": str(tmp_path / "song.wav")},
        tmp_path / "song.wav",
        str(tmp_path / "song.wav"),
        content,
        Decoder(stereo, 8000),
    ):
        for given in (clip, [clip]):
            output = extract(given, sampling_rate=None, resample=True)["input_values"]
            np.testing.assert_allclose(output, expected[None], atol=1e-6)
    with pytest.raises(AudioError, match="clip 1 has sampling_rate=8000 Hz, the model takes 16000 Hz"):
        extract([WAVE, row])


def test_collections_of_clips(extract):
    waves = [WAVE, WAVE[:1000]]
    expected = extract(waves)
    ragged = np.empty(2, dtype=object)
    ragged[:] = waves
    rows = Dataset.from_dict({"audio": [{"array": wave, "sampling_rate": RATE} for wave in waves], "wave": waves})
    for clips in (tuple(waves), iter(waves), ragged, rows["wave"], rows["audio"], pandas.Series(waves)):
        output = extract(clips)
        assert all(np.array_equal(output[name], value) for name, value in expected.items())
    assert np.array_equal(extract(pandas.Series(WAVE))["input_values"], extract(WAVE)["input_values"])


@pytest.mark.parametrize("rates", [[8000, 16000], ["8000", np.int32(16000)], np.array([8000, 16000]), (8e3, 16e3)])
def test_one_rate_for_each_clip(extract, rates):
    output = extract([WAVE, WAVE], sampling_rate=rates, resample=True)["input_values"]
    np.testing.assert_allclose(output[0], soxr.resample(WAVE, 8000, RATE), atol=1e-6)
    assert np.array_equal(output[1][:4000], WAVE)
    assert not output[1][4000:].any()


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        ("fast", r"clip 0 has sampling_rate='fast': it must be a number of Hz from 1,000 to 1,000,000"),
        (16, r"sampling_rate=16: it must be a number of Hz"),
        (True, "sampling_rate=True"),
        (float("nan"), "sampling_rate=nan"),
        ([16000, 16000], "sampling_rate has 2 rates for 1 clips"),
    ],
)
def test_bad_rates(extract, rate, message):
    with pytest.raises(ValueError, match=message):
        extract([WAVE], sampling_rate=rate, resample=True)
    if np.ndim(rate) == 0:
        with pytest.raises(ValueError, match=message):
            extract({"array": WAVE, "sampling_rate": rate}, resample=True)


def test_the_callers_arrays_are_left_alone(extract):
    wave = WAVE.copy()
    output = extract(wave)["input_values"]
    output[:] = 7
    assert np.array_equal(wave, WAVE)
    wave.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert extract(wave, return_tensors="pt")["input_values"].add_(1).min() > 0
    assert np.array_equal(wave, WAVE)


def test_standard_arguments(extract):
    waves = [WAVE, WAVE[:1000]]
    assert extract(waves, padding=True)["input_values"].shape == (2, 4000)
    assert extract(waves, padding="longest", pad_to_multiple_of=3000)["input_values"].shape == (2, 6000)
    longer = extract(waves, padding="max_length", max_length=5000)
    assert longer["input_values"].shape == (2, 5000)
    assert longer["audio_attention_mask"].sum(axis=1).tolist() == [4000, 1000]
    cut = extract(waves, max_length=2000, truncation=True)
    assert np.array_equal(cut["input_values"][0], WAVE[:2000])
    assert cut["audio_attention_mask"].sum(axis=1).tolist() == [2000, 1000]
    apart = extract(waves, padding=False, return_tensors=None)
    assert [len(values) for values in apart["input_values"]] == [4000, 1000]
    assert [mask.tolist() for mask in apart["audio_attention_mask"]] == [[1] * 4000, [1] * 1000]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"paddding": True}, TypeError, "MulapFeatureExtractor takes no argument 'paddding': did you mean 'padding'?"),
        ({"nonsense": True}, TypeError, "no argument 'nonsense': it takes crop, generator"),
        ({"padding": "max_length"}, ValueError, 'padding="max_length" needs max_length, in samples'),
        ({"truncation": True}, ValueError, "truncation=True needs max_length"),
        ({"truncation": "longest_first", "max_length": 9}, ValueError, "'longest_first' is for texts"),
        ({"padding": "max_length", "max_length": 9}, ValueError, "clip 0 has 4000 samples, more than max_length=9"),
        ({"max_length": 0, "truncation": True}, ValueError, "max_length=0 must be at least 1"),
        ({"padding": "some"}, ValueError, "some"),
    ],
)
def test_standard_arguments_that_make_no_sense(options, error, message, extract):
    with pytest.raises(error, match=message):
        extract([WAVE], **options)


def test_pad_keeps_what_is_padding():
    """Rows that were prepared apart, one of them with padding, give the batch of a common call and their labels."""
    extract = MulapFeatureExtractor()
    waves = [WAVE, WAVE[:1000]]
    rows = [extract(wave, sampling_rate=RATE) for wave in waves]
    rows[1] = extract(waves[1], sampling_rate=RATE, padding="max_length", max_length=1500)
    rows = [{name: value[0] for name, value in row.items()} | {"label": n} for n, row in enumerate(rows)]
    expected = extract(waves, sampling_rate=RATE, return_tensors="pt")
    for features in (rows, {name: [row[name] for row in rows] for name in rows[0]}):
        batch = extract.pad(features, return_tensors="pt")
        assert batch.pop("label").tolist() == [0, 1]
        assert set(batch) == {"input_values", "audio_attention_mask"}  # and no attention_mask, which is the text's
        assert all(batch[name].equal(value) for name, value in expected.items())
    bare = extract.pad([{"input_values": torch.from_numpy(wave)} for wave in waves])
    assert all(bare[name].equal(value) for name, value in expected.items())


def test_trainers_own_collator(tmp_path):
    """With nothing but the extractor as `processing_class`, padding changes no prediction."""
    extract = MulapFeatureExtractor()
    waves = list(waveforms(2, 3 * CHUNK).numpy())
    waves[1] = waves[1][:CHUNK]
    rows = Dataset.from_dict({"wave": waves, "label": [0, 1]}).map(
        lambda row: {name: value[0] for name, value in extract(row["wave"], sampling_rate=RATE).items()},
        remove_columns="wave",
    )
    model = settle(MulapForAudioClassification(micro_config(num_labels=2)))
    options = TrainingArguments(str(tmp_path), report_to=[], use_cpu=True, disable_tqdm=True)
    logits = Trainer(model, options, processing_class=extract).predict(rows).predictions
    with torch.no_grad():
        expected = [model(torch.from_numpy(wave)[None]).logits[0] for wave in waves]
    assert_near(torch.from_numpy(logits[0] if isinstance(logits, tuple) else logits), torch.stack(expected))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([], "no clips"),
        ([{"label": 1}], r"pad\(\) needs 'input_values'.* given \['label'\]"),
        (
            [{"input_values": WAVE}, {"input_values": WAVE, "label": 1}],
            "row 1 has .*label.*: all need the same",
        ),
        ([{"input_values": WAVE[None]}], r"row 0 has shape \(1, 4000\), it must be \(samples,\).*take \[0\]"),
        (
            [{"input_values": WAVE, "audio_attention_mask": [1]}],
            "row 0 has 4000 input_values and 1 of audio_att",
        ),
        ([{"input_values": WAVE, "x": [1]}, {"input_values": WAVE, "x": [1, 2]}], "x has rows of different shapes"),
    ],
)
def test_pad_refuses(features, message):
    with pytest.raises(ValueError, match=message):
        MulapFeatureExtractor().pad(features)


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
    with pytest.raises(ValueError, match="padding_side='left' is not possible: it must be \"right\""):
        MulapFeatureExtractor(padding_side="left")


@pytest.mark.parametrize(
    ("clip", "error", "message"),
    [
        (np.zeros(0), AudioError, "clip 0 is empty"),
        ([], ValueError, "pass one clip or more"),
        ([WAVE, np.where(np.arange(4000) < 3, np.nan, WAVE)], ValueError, "clip 1 has 3 samples that are NaN"),
        (
            np.where(np.arange(4000) == 9, np.inf, WAVE),
            AudioError,
            "1 sample that is NaN or infinite, the first at index 9: repair or drop the clip",
        ),
        (np.where(np.arange(4000) == 9, 1e300, WAVE.astype(float)), AudioError, "1 sample that is NaN or infinite"),
        (np.where(np.arange(4000) == 9, 1e30, WAVE), AudioError, r"peaks at 1.0e\+30, but samples should lie in \[-1"),
        (np.zeros((4, 4000)), ValueError, r"shape \(4, 4000\).*list of clips"),
        (np.zeros((2, 2, 4000)), ValueError, r"shape \(2, 2, 4000\)"),
        (np.zeros(100, dtype=np.int64), ValueError, "int64, whose full scale is unknown"),
        ("song.mp3", AudioError, "song.mp3: the file does not exist"),
        (b"not audio", AudioError, "clip 0: .*not in a format that is known here"),
        ([{"array": WAVE}], AudioError, "clip 0 has sampling_rate=None"),
        ([{"array": "song.mp3", "sampling_rate": RATE}], TypeError, r"clip 0 is 'song.mp3' \(str\), not audio"),
        ([{"caption": "calm"}], AudioError, r"clip 0 is a dict with \['caption'\]"),
        ([WAVE, None], TypeError, "clip 1 is None: it has no audio; drop it"),
        ([[0.1, None]], TypeError, r"clip 0 holds NoneType values \(\[0.1, None\]\), not samples"),
        ([[[0.1, 0.2], [0.3]]], AudioError, "clip 0 is a list of lists of different lengths"),
        (np.array(["a", "b"]), TypeError, "not samples"),
    ],
)
def test_bad_clips_are_named(extract, clip, error, message):
    with pytest.raises(error, match=message):
        extract(clip)


def test_a_clip_of_which_nothing_is_left(extract):
    with pytest.raises(ValueError, match=r"clip 1 has no samples left at 16000 Hz \(2 samples at 96000 Hz\)"):
        extract([WAVE, WAVE[:2]], sampling_rate=96000, resample=True)
    with pytest.raises(ValueError, match=r"max_seconds=1e-05 leaves no samples at 16000 Hz: crop to more"):
        extract(WAVE, crop="first", max_seconds=1e-5)


def test_silence_is_fine(extract):
    assert (extract(np.zeros(100))["input_values"] == 0).all()


def test_save_and_load(tmp_path):
    MulapFeatureExtractor(crop="first", max_seconds=3.0, sampling_rate=22050).save_pretrained(tmp_path)
    loaded = MulapFeatureExtractor.from_pretrained(tmp_path)
    assert (loaded.crop, loaded.max_seconds, loaded.sampling_rate) == ("first", 3.0, 22050)
