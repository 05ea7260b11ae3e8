"""Audio and text side by side, and a processor that is the same after saving."""

import numpy as np
import pytest
from helpers import CAPTIONS

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


def test_arguments_that_nobody_takes(processor):
    for text in (None, "a song"):
        for name in ("resample", "crop", "max_seconds", "generator"):
            with pytest.raises(TypeError, match=rf"{name} goes to audio_kwargs={{'{name}': \.\.\.}}"):
                processor(text=text, audio=WAVE, sampling_rate=44100, **{name: True})
    with pytest.raises(TypeError, match="nonsense is an argument of the tokenizer, and there is no text"):
        processor(audio=WAVE, sampling_rate=16000, nonsense=1)
    with pytest.raises(TypeError, match="nonsense"):
        processor(audio=WAVE, sampling_rate=16000, audio_kwargs={"nonsense": 1})


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
