"""Losses of the backbone alone: the words of the caption, and the chunk-level contrastive loss."""

import pytest
import torch
from helpers import CHUNK, assert_near, inputs, micro_config, settle, waveforms

from mulap_hf import MulapAudioModel, MulapForAudioClassification, MulapForPreTraining, MulapModel

HEADS = {"words_loss_weight": 0.5, "chunks_loss_weight": 2.0}


@pytest.fixture
def model() -> MulapForPreTraining:
    return settle(MulapForPreTraining(micro_config(**HEADS)))


def test_words_loss_in_full(model):
    batch = inputs(batch=2)
    words = torch.tensor([[7, 9, 11], [50, 7, 0]])
    weights = torch.tensor([[0.5, 0.3, 0.2], [0.25, 0.75, 0.0]])
    with torch.no_grad():
        output = model(**batch, word_ids=words, word_weights=weights)
        track = model.audio_model(batch["input_values"], batch["audio_attention_mask"]).pooler_output
        head = model.words_head
        normal = (track - head.norm.running_mean) / (head.norm.running_var + head.norm.eps).sqrt()
        logits = head.decoder(normal * head.norm.weight + head.norm.bias)
        chances = logits - logits.logsumexp(dim=1, keepdim=True)
    assert output.words_logits.shape == (2, 120)
    first = -(0.5 * chances[0, 7] + 0.3 * chances[0, 9] + 0.2 * chances[0, 11])
    second = -(0.25 * chances[1, 50] + 0.75 * chances[1, 7])
    assert_near(output.words_loss, (first + second) / 2)
    assert_near(output.loss, 0.5 * output.words_loss + 2.0 * output.chunks_loss)  # nothing else has labels
    assert model(**batch).words_loss is None


def test_words_are_predicted_from_the_audio(model):
    """Another text changes nothing: the loss depends on the backbone alone."""
    batch = inputs(batch=2)
    with torch.no_grad():
        logits = model(**batch).words_logits
        batch["input_ids"] = batch["input_ids"].flip(0)
        assert torch.equal(model(**batch).words_logits, logits)


def test_views_are_the_first_two_real_chunks(model):
    waveform = waveforms(3, 4 * CHUNK)
    mask = torch.ones(3, 4 * CHUNK, dtype=torch.long)
    mask[1, CHUNK + 5 :] = 0  # a single chunk: nothing to compare
    mask[2, 2 * CHUNK :] = 0
    texts = {"input_ids": torch.full((3, 4), 7)}
    with torch.no_grad():
        views = model(waveform, audio_attention_mask=mask, **texts).chunk_views
        features = model.audio_model(waveform, mask).last_hidden_state
        assert_near(views, model.chunks_head(features[[0, 2], :2]))
        alone = model(waveform[:, :CHUNK], **texts).chunk_views
    assert views.shape == (2, 2, 128)
    assert alone.shape == (0, 2, 128)


def test_views_are_drawn_in_training():
    model = MulapForPreTraining(micro_config(**HEADS))
    features = torch.arange(4.0).view(1, 4, 1).expand(200, 4, 1)
    mask = torch.tensor([1, 0, 1, 1]).bool().expand(200, 4)
    torch.manual_seed(0)
    drawn = model.train()._two_chunks(features, mask)[..., 0]  # which chunks
    assert {tuple(pair) for pair in drawn.long().tolist()} == {(a, b) for a in (0, 2, 3) for b in (0, 2, 3) if a != b}


def test_no_weight_no_head():
    names = set(MulapForPreTraining(micro_config()).state_dict())
    with_heads = set(MulapForPreTraining(micro_config(**HEADS)).state_dict())
    assert {name.split(".")[0] for name in with_heads - names} == {"words_head", "chunks_head"}
    output = MulapForPreTraining(micro_config())(**inputs())
    assert output.words_logits is None and output.chunk_views is None


@pytest.mark.parametrize("kind", [MulapModel, MulapAudioModel, MulapForAudioClassification])
def test_who_needs_no_heads_loads_without_them(model, kind, tmp_path, recwarn):
    model.save_pretrained(tmp_path)
    loaded, report = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["unexpected_keys"]
    assert set(report["missing_keys"]) <= {name for name in loaded.state_dict() if name.startswith("classifier")}
    again, report = MulapForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["unexpected_keys"] and not report["missing_keys"]
    assert torch.equal(again.words_head.decoder.weight, model.words_head.decoder.weight)
