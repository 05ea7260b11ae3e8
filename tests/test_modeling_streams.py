"""The two streams: no call changes what it is given, and gradients stop where they should."""

import copy
import dataclasses

import pytest
import torch
from helpers import inputs, micro_config, settle

from mulap_hf import MulapForPreTraining, MulapModel
from mulap_hf.modeling_mulap_outputs import MulapAudioOutput

ALIGNED = {"projection_size": 16, "matching_similarity": True, "matching_negatives": "hard"}


@pytest.fixture
def aligned() -> MulapForPreTraining:
    return settle(MulapForPreTraining(micro_config(**ALIGNED)))


def streams(model, batch: dict, **recorded):
    backbone = model.audio_model(batch["input_values"], batch["audio_attention_mask"])
    text = model.start_text(batch["input_ids"], batch["attention_mask"], **recorded)
    return text, model.start_audio(backbone, **recorded)


def tensors(stream) -> list[torch.Tensor]:
    fields = (getattr(stream, field.name) for field in dataclasses.fields(stream))
    return [
        value for field in fields if field is not None for value in (field if isinstance(field, tuple) else (field,))
    ]


@torch.no_grad()
def test_fusing_changes_neither_stream(aligned):
    recorded = {"output_hidden_states": True, "output_attentions": True}
    text, audio = streams(aligned, inputs(batch=3), **recorded)
    before = copy.deepcopy((text, audio))
    first = aligned._fuse(text, audio)
    for stream, expected in zip((text, audio), before, strict=True):
        assert len(tensors(stream)) == len(tensors(expected))
        assert all(map(torch.equal, tensors(stream), tensors(expected)))
    second = aligned._fuse(text, audio)
    assert first.keys() == second.keys()
    assert torch.equal(first.matching_logits, second.matching_logits)
    assert len(first.text_hidden_states) == len(second.text_hidden_states) == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        text.states = text.states


@torch.no_grad()
def test_the_order_of_two_calls_makes_no_difference():
    model = settle(MulapModel(micro_config()))
    pairs = torch.tensor([0, 1, 2])
    text, audio = streams(model, inputs(batch=3))
    aligned, others = (
        model.score_pairs(text, audio, pairs, pairs),
        model.score_pairs(text, audio, pairs, pairs.flip(0)),
    )
    text, audio = streams(model, inputs(batch=3))
    others_first = model.score_pairs(text, audio, pairs, pairs.flip(0))
    assert torch.equal(others_first, others)
    assert torch.equal(model.score_pairs(text, audio, pairs, pairs), aligned)


@torch.no_grad()
def test_nothing_is_recorded_unless_it_is_asked_for(aligned):
    text, audio = streams(aligned, inputs())
    assert text.hidden_states is text.attentions is audio.hidden_states is audio.attentions is None
    output = aligned(**inputs())
    assert not [name for name in output if "hidden_states" in name or "attentions" in name]


def test_no_gradient_through_the_global_token(model):
    features = torch.randn(2, 3, model.config.audio_config.feature_size, requires_grad=True)
    backbone = MulapAudioOutput(last_hidden_state=features, chunk_mask=torch.ones(2, 3, dtype=torch.long))
    states = model.start_audio(backbone).states  # no layer before the first connection
    (gradient,) = torch.autograd.grad(states[:, 0].square().sum(), features, retain_graph=True)
    assert not gradient.any()
    (gradient,) = torch.autograd.grad(states[:, 1:].square().sum(), features)
    assert gradient.any()


def test_no_gradient_through_the_targets_of_masked_audio(model):
    batch = inputs(batch=2)
    output = model(**batch, masked_chunks=torch.ones(2, 3))
    assert not output.mam_targets.requires_grad
    output.mam_loss.backward()
    gradients = [value.grad for value in model.audio_model.parameters()]  # all features are replaced by zeros
    assert all(gradient is None or not gradient.any() for gradient in gradients)
