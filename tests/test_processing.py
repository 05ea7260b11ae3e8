"""Audio and text side by side, and a processor that is the same after saving."""

import numpy as np
import pytest
from datasets import Dataset
from helpers import CAPTIONS
from transformers import DataCollatorWithPadding

from mulap_hf import MulapProcessor

WAVE = np.sin(np.arange(4000) * 0.1).astype(np.float32) * 0.5


def test_audio_and_text(processor):
    output = processor(text=CAPTIONS[:2], audio=[WAVE, WAVE[:100]], sampling_rate=16000)
    assert set(output) == {"input_values", "audio_attention_mask", "input_ids", "attention_mask"}
    assert output["input_values"].shape == (2, 4000)
    assert output["input_ids"].shape == output["attention_mask"].shape
    assert set(processor(text="a song")) == {"input_ids", "attention_mask"}
    assert set(processor(audio=WAVE, sampling_rate=16000)) == {"input_values", "audio_attention_mask"}


def test_lengths_are_not_shared(processor):
    output = processor(text=["a calm piano piece " * 20], audio=WAVE, sampling_rate=16000)
    assert output["input_ids"].shape == (1, 32)  # the tokenizer's own limit
    assert output["input_values"].shape == (1, 4000)
    short = processor(text=CAPTIONS[:1], audio=WAVE, sampling_rate=16000, text_kwargs={"max_length": 5})
    assert short["input_ids"].shape == (1, 5)
    assert short["input_values"].shape == (1, 4000)
    cropped = processor(audio=WAVE, sampling_rate=16000, audio_kwargs={"crop": "first", "max_seconds": 0.1})
    assert cropped["input_values"].shape == (1, 1600)


def test_arguments_of_the_tokenizer(processor):
    output = processor(text=CAPTIONS[:2], audio=WAVE, sampling_rate=16000, padding="max_length", max_length=9)
    assert output["input_ids"].shape == (2, 9)
    assert output["input_values"].shape == (1, 4000)


def test_audio_is_not_text(processor):
    with pytest.raises(TypeError, match=r"text is ndarray.*audio="):
        processor(WAVE, sampling_rate=16000)


def test_nothing_to_prepare(processor):
    with pytest.raises(ValueError, match="text=, audio="):
        processor()
    with pytest.raises(ValueError, match="text is an empty list"):
        processor(text=[], audio=WAVE, sampling_rate=16000)


def test_arguments_lie_flat_nested_or_in_common(processor):
    expected = processor(text="a song", audio=WAVE, sampling_rate=8000, audio_kwargs={"resample": True})
    for options in (
        {"sampling_rate": 8000, "resample": True},
        {"audio_kwargs": {"sampling_rate": "8000", "resample": True}},
        {"audio_kwargs": {"resample": True, "return_tensors": "pt"}, "sampling_rate": np.int64(8000)},
        {"resample": True, "sampling_rate": [8000], "common_kwargs": {"return_tensors": "pt", "padding": True}},
    ):
        output = processor(text="a song", audio=WAVE, **options)
        assert all(output[name].equal(value) for name, value in expected.items()), options
    arrays = processor(text="a song", audio=WAVE, sampling_rate=16000, common_kwargs={"return_tensors": "np"})
    assert all(isinstance(value, np.ndarray) for value in arrays.values())
    alone = processor(audio=WAVE, sampling_rate=16000, padding="max_length", max_length=5000)
    assert alone["input_values"].shape == (1, 5000)  # without a text, lengths are the clips'
    assert set(processor(text="a", audio=WAVE, sampling_rate=16000, return_attention_mask=False)) == {
        "input_ids",
        "input_values",
    }


def test_call_of_sentence_transformers(processor):
    options = {
        "text_kwargs": {"padding": True, "truncation": "longest_first"},
        "audio_kwargs": {"padding": True, "sampling_rate": 16000},
        "images_kwargs": {},
        "videos_kwargs": {},
        "common_kwargs": {"return_tensors": "pt"},
    }
    clips, texts = processor(audio=[WAVE, WAVE[:9]], **options), processor(text=CAPTIONS, **options)
    assert clips["input_values"].shape == (2, 4000)
    assert clips["audio_attention_mask"].sum(dim=1).tolist() == [4000, 9]
    assert all(value.equal(texts[name]) for name, value in processor(text=CAPTIONS).items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "a", "audios": WAVE}, "MulapProcessor takes no argument 'audios': did you mean 'audio'?"),
        ({"text": "a", "audio_": WAVE}, "no argument 'audio_': did you mean 'audio'?"),
        ({"text": "a", "max_lenght": 3}, "no argument 'max_lenght': did you mean 'max_length'?"),
        ({"audio": WAVE, "rate": 3}, "no argument 'rate': it takes add_special_tokens, audio, audio_kwargs"),
        (
            {"audio": WAVE, "audio_kwargs": {"samplerate": 3}},
            "audio_kwargs of MulapProcessor takes no .*'sampl",
        ),
        ({"audio": WAVE, "text_kwargs": {"pading": 3}}, "text_kwargs .* 'pading': did you mean 'padding'?"),
        (
            {"audio": WAVE, "common_kwargs": {"crop": "first"}},
            "common_kwargs of MulapProcessor takes no .*'crop",
        ),
        ({"text": "a", "images_kwargs": {"size": 3}}, "images_kwargs of MulapProcessor takes no argument 'size'"),
        ({"text": "a", "crop": "first"}, "crop is an argument of the feature extractor, but audio is not given"),
        ({"audio": WAVE, "stride": 3}, "stride is an argument of the tokenizer, but text is not given"),
    ],
)
def test_arguments_that_nothing_takes(options, message, processor):
    with pytest.raises(TypeError, match=message):
        processor(**options)


def test_an_argument_given_twice(processor):
    with pytest.raises(ValueError, match="sampling_rate is given twice"):
        processor(audio=WAVE, sampling_rate=16000, audio_kwargs={"sampling_rate": 8000})


def test_collections_of_texts(processor):
    expected = processor(text=CAPTIONS[:3])["input_ids"]
    column = Dataset.from_dict({"caption": CAPTIONS[:3]})["caption"]
    for texts in (tuple(CAPTIONS[:3]), np.array(CAPTIONS[:3]), column, iter(CAPTIONS[:3])):
        assert processor(text=texts)["input_ids"].equal(expected)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_missing_captions(missing, processor):
    with pytest.raises(TypeError, match=rf'text 1 is {missing}, not a string: drop its row, or pass "" if it has no'):
        processor(text=["a song", missing], audio=[WAVE, WAVE], sampling_rate=16000)


def test_collating_pairs(processor):
    """What a dataset holds after `map`, one pair a row, becomes what a call with all of them gives."""
    clips = [WAVE, WAVE[:3000]]
    rows = Dataset.from_dict({"caption": CAPTIONS[:2], "label": [3, 1]}).map(
        lambda row, index: {
            name: value[0]
            for name, value in processor(text=row["caption"], audio=clips[index], sampling_rate=16000).items()
        },
        with_indices=True,
        remove_columns="caption",
    )
    batch = DataCollatorWithPadding(processor)([rows[0], rows[1]])
    expected = processor(text=CAPTIONS[:2], audio=clips, sampling_rate=16000)
    assert batch.pop("labels").tolist() == [3, 1]
    assert set(batch) == set(expected)
    assert all(batch[name].equal(value.to(batch[name].dtype)) for name, value in expected.items())


def test_saved_processor_does_the_same(processor, tmp_path):
    before = processor(text=CAPTIONS, audio=WAVE, sampling_rate=16000)
    processor(text=CAPTIONS[:1], text_kwargs={"max_length": 3, "padding": "max_length"})
    processor.save_pretrained(tmp_path)
    loaded = MulapProcessor.from_pretrained(tmp_path)
    after = loaded(text=CAPTIONS, audio=WAVE, sampling_rate=16000)
    for name, value in before.items():
        assert value.equal(after[name]), name
    assert loaded.tokenizer.model_max_length == 32
    assert (tmp_path / "preprocessor_config.json").is_file()
    assert (tmp_path / "processor_config.json").is_file()
