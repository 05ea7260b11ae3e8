"""Co-attention, compared with the attention weights that the model returns."""

import numpy as np
import pytest
import torch
from helpers import CHUNK, RATE, waveforms
from pictures import assert_shows_data

from mulap_hf import MulapModel
from mulap_hf.errors import DataError
from mulap_hf.illustration.co_attention import co_attention, illustrate_attention
from mulap_hf.transfer.pair_scores import PairScorer

TEXT = "Slow sad guitarist, a calm piano"  # the tokenizer splits "guitarist" into several tokens


@torch.no_grad()
def test_weights_are_those_of_the_model_aggregated_to_words(folders, scorer):
    sound = waveforms(1, 3 * CHUNK)[0].numpy()
    found = co_attention(scorer, sound, TEXT)
    assert found.words == ["(start)", "Slow", "sad", "guitarist", ",", "a", "calm", "piano", "(end)"]
    assert found.times == [(pytest.approx(0.3 * index), pytest.approx(0.3 * (index + 1))) for index in range(3)]
    assert found.text_to_audio.shape == (2, 9, 4) and found.audio_to_text.shape == (2, 4, 9)
    np.testing.assert_allclose(found.text_to_audio.sum(axis=2), 1, atol=1e-5)
    np.testing.assert_allclose(found.audio_to_text.sum(axis=2), 1, atol=1e-5)
    model = MulapModel.from_pretrained(folders["aligned"], attn_implementation="eager").eval()
    inputs = scorer.processor(text=TEXT, audio=sound, sampling_rate=RATE)
    output = model(**inputs, output_attentions=True)
    tokens = scorer.processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    assert len(tokens) > len(found.words)
    pieces = slice(3, len(tokens) - 5)
    assert "".join(token.removeprefix("##") for token in tokens[pieces]) == "guitarist"
    to_audio = output.text_to_audio_attentions[1][0].mean(dim=0)  # (tokens, 1 + chunks)
    np.testing.assert_allclose(found.text_to_audio[1, 3], to_audio[pieces].mean(dim=0), atol=1e-5)
    np.testing.assert_allclose(found.text_to_audio[1, 4], to_audio[pieces.stop], atol=1e-5)
    to_text = output.audio_to_text_attentions[0][0].mean(dim=0)  # (1 + chunks, tokens)
    np.testing.assert_allclose(found.audio_to_text[0, :, 3], to_text[:, pieces].sum(dim=1), atol=1e-5)
    assert found.log_odds == pytest.approx(output.logits_per_audio.item(), abs=1e-4)
    assert scorer.model.config._attn_implementation == "sdpa"  # restored


def test_the_picture_and_the_numbers_of_an_example(tmp_path, scorer, split):
    random = illustrate_attention(scorer, split, tmp_path, None, seed=3)
    numbers = random.numbers
    assert numbers["clip"] in split.captions and numbers["description"] == split.captions[numbers["clip"]]
    assert " ".join(numbers["words"][1:-1]).replace(" ,", ",") == numbers["description"]
    assert numbers["chunks"][0] == "whole clip" and len(numbers["text_to_audio"][0][0]) == len(numbers["chunks"])
    assert_shows_data(tmp_path / "attention.png", 0.3)
    chosen = illustrate_attention(scorer, split, tmp_path, "test-004", seed=3)
    assert chosen.numbers["clip"] == "test-004"
    assert "chosen by `--example`" in chosen.text and "not trained" not in chosen.text
    with pytest.raises(DataError, match="--example nothing: no clip of test with a description has this id"):
        illustrate_attention(scorer, split, tmp_path, "nothing", seed=3)


def test_dual_encoders_are_refused(folders, tmp_path, split):
    scorer = PairScorer(folders["dual"], "cpu", progress=False)
    with pytest.raises(DataError, match=r"dual has no co-attention, because it is a dual encoder"):
        illustrate_attention(scorer, split, tmp_path, None, seed=0)


def test_untrained_log_odds_are_marked(tmp_path, scorer, split):
    scorer.model.config.matching_loss_weight = 0
    text = illustrate_attention(scorer, split, tmp_path, "test-004", seed=0).text
    assert "matches the clip (an output that this model was not trained for): " in text
