"""Co-attention: against the model's own weights, word by word."""

import numpy as np
import pytest
import torch
from helpers import CHUNK, RATE, waveforms
from pictures import colors

from mulap_hf import MulapModel
from mulap_hf.errors import DataError
from mulap_hf.illustration.co_attention import co_attention, illustrate_attention
from mulap_hf.transfer.pair_scores import PairScorer

TEXT = "Slow sad guitarist, a calm piano"  # the tokenizer knows only pieces of a guitarist


@torch.no_grad()
def test_weights_are_the_models_with_the_tokens_of_a_word_together(folders, scorer):
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
    assert len(tokens) > len(found.words)  # there is a word of several
    pieces = slice(3, len(tokens) - 5)
    assert "".join(token.removeprefix("##") for token in tokens[pieces]) == "guitarist"
    asked = output.text_to_audio_attentions[1][0].mean(dim=0)  # (tokens, 1 + chunks)
    np.testing.assert_allclose(found.text_to_audio[1, 3], asked[pieces].mean(dim=0), atol=1e-5)
    np.testing.assert_allclose(found.text_to_audio[1, 4], asked[pieces.stop], atol=1e-5)
    answered = output.audio_to_text_attentions[0][0].mean(dim=0)  # (1 + chunks, tokens)
    np.testing.assert_allclose(found.audio_to_text[0, :, 3], answered[:, pieces].sum(dim=1), atol=1e-5)
    assert found.log_odds == pytest.approx(output.logits_per_audio.item(), abs=1e-4)
    assert scorer.model.config._attn_implementation == "sdpa"  # as it was


def test_an_example_is_drawn(tmp_path, scorer, material):
    shown = illustrate_attention(scorer, material, tmp_path, None, seed=3)
    numbers = shown.numbers
    assert numbers["clip"] in material.captions and numbers["description"] == material.captions[numbers["clip"]]
    assert " ".join(numbers["words"][1:-1]).replace(" ,", ",") == numbers["description"]
    assert numbers["chunks"][0] == "whole clip" and len(numbers["text_to_audio"][0][0]) == len(numbers["chunks"])
    assert colors(tmp_path / "attention.png") > 50
    chosen = illustrate_attention(scorer, material, tmp_path, "test-004", seed=3)
    assert chosen.numbers["clip"] == "test-004" and "as asked for" in chosen.text and "not trained" not in chosen.text
    with pytest.raises(DataError, match="--example nothing: no clip of test with a description has this id"):
        illustrate_attention(scorer, material, tmp_path, "nothing", seed=3)


def test_a_dual_encoder_has_none(folders, tmp_path, material):
    scorer = PairScorer(folders["dual"], "cpu", progress=False)
    with pytest.raises(DataError, match=r"dual has no co-attention \(it is a dual encoder\)"):
        illustrate_attention(scorer, material, tmp_path, None, seed=0)


def test_log_odds_that_were_not_trained_are_said_to_be_so(tmp_path, scorer, material):
    scorer.model.config.matching_loss_weight = 0
    text = illustrate_attention(scorer, material, tmp_path, "test-004", seed=0).text
    assert "to match (which the model was not trained for) are" in text
