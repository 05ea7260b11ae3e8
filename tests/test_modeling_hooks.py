"""What people attach to modules works on every layer: hooks, pruning, weights on a disk, adapters."""

import pytest
import torch
from helpers import CHUNK, assert_near, inputs, micro_config, settle, waveforms
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from torch.nn.utils import parametrizations, prune

from mulap_hf import (
    MulapAudioModel,
    MulapForAudioClassification,
    MulapForPreTraining,
    MulapModel,
    modeling_mulap_audio,
    modeling_mulap_conv,
)


@pytest.fixture
def backbone() -> MulapAudioModel:
    return settle(MulapAudioModel(micro_config().audio_config))


@pytest.fixture
def fast_calls(monkeypatch) -> list:
    """Grows with each use of the matrix products, which are used for the smallest inputs, too."""
    monkeypatch.setattr(modeling_mulap_audio, "FEW_OUTPUTS", 0)
    calls, compute = [], modeling_mulap_conv._max_over_frequency
    monkeypatch.setattr(modeling_mulap_conv, "_max_over_frequency", lambda *a: calls.append(1) or compute(*a))
    return calls


@torch.no_grad()
def test_the_configuration_switches_the_fast_path(backbone, fast_calls):
    clips = waveforms(2, 2 * CHUNK)
    fast = backbone(clips).pooler_output
    assert len(fast_calls) == 1
    backbone.config.fast_convolutions = False
    assert_near(backbone(clips).pooler_output, fast)
    assert len(fast_calls) == 1


def test_few_outputs_are_computed_plainly(backbone, fast_calls, monkeypatch):
    """Which is faster there, except with gradients. In half precision and autocast, plain convolutions are rounded."""
    clips = waveforms(1, CHUNK)
    monkeypatch.setattr(modeling_mulap_audio, "FEW_OUTPUTS", 10**9)
    with torch.no_grad():
        few = backbone(clips).pooler_output
        assert fast_calls == []
        with torch.autocast("cpu", dtype=torch.bfloat16):
            backbone(clips)
    assert len(fast_calls) == 1
    assert_near(few, backbone(clips).pooler_output.detach())
    assert len(fast_calls) == 2


@torch.no_grad()
@pytest.mark.parametrize("part", ["", "conv", "norm"])
@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"])
def test_hooks_of_every_kind_run(backbone, fast_calls, part, kind):
    seen, clips = [], waveforms(1, CHUNK)
    expected = backbone(clips).pooler_output
    for layer in backbone.musicnn.timbral:
        getattr(layer.get_submodule(part), kind)(lambda module, *_: seen.append(module))
    fast_calls.clear()
    with torch.enable_grad():
        output = backbone(clips).pooler_output
        output.sum().backward()
    assert len(seen) == 2 and fast_calls == []
    assert_near(output.detach(), expected)


@torch.no_grad()
def test_hooks_on_all_modules_run(backbone):
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module))
    try:
        backbone(waveforms(1, CHUNK))
    finally:
        handle.remove()
    assert set(backbone.musicnn.timbral[0].modules()) <= set(seen)


@torch.no_grad()
def test_pruning_and_parametrizations_count(backbone):
    clips, conv = waveforms(1, CHUNK), backbone.musicnn.timbral[0].conv
    prune.random_unstructured(conv, "weight", 0.3)
    before = backbone(clips).pooler_output
    conv.weight_orig.zero_()
    assert not torch.allclose(backbone(clips).pooler_output, before)
    other = backbone.musicnn.timbral[1]
    parametrizations.weight_norm(other.conv)
    before = backbone(clips).pooler_output
    other.conv.parametrizations.weight.original0.mul_(3)
    assert not torch.allclose(backbone(clips).pooler_output, before)


@torch.no_grad()
@pytest.mark.parametrize("kind", [MulapForAudioClassification, MulapForPreTraining, MulapModel])
def test_weights_on_a_disk(kind, tmp_path):
    config = micro_config(projection_size=16, words_loss_weight=1.0, chunks_loss_weight=1.0)
    model, batch = settle(kind(config)), inputs()
    if kind is MulapForAudioClassification:
        batch = {name: batch[name] for name in ("input_values", "audio_attention_mask")}
    model.save_pretrained(tmp_path / "model")
    options = {"device_map": {"": "disk"}, "offload_folder": str(tmp_path / "offloaded")}
    offloaded = kind.from_pretrained(tmp_path / "model", **options).eval()
    assert offloaded.audio_model.musicnn.timbral[0].conv.weight.device.type == "meta"
    expected, output = model(**batch), offloaded(**batch)
    assert output.keys() == expected.keys()
    for name, value in expected.items():
        assert_near(output[name], value)


@pytest.mark.parametrize("freeze", [False, True])
def test_an_adapter_computes_the_same_when_it_is_loaded_again(freeze, tmp_path):
    """Its file has no running statistics of BatchNorm, so these stay those of the base model."""
    base = settle(MulapModel(micro_config(projection_size=16, freeze_audio=freeze)))
    base.save_pretrained(tmp_path / "base")
    adapter = LoraConfig(target_modules=["q_proj", "v_proj"], r=4, init_lora_weights=False)
    tuned, batch = get_peft_model(MulapModel.from_pretrained(tmp_path / "base"), adapter).train(), inputs(batch=3)
    loss = tuned(**batch, return_loss=True).loss
    loss.backward()
    torch.optim.SGD([value for value in tuned.parameters() if value.requires_grad], lr=0.1).step()
    tuned.eval().save_pretrained(tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(MulapModel.from_pretrained(tmp_path / "base"), tmp_path / "adapter").eval()
    with torch.no_grad():
        expected, output = tuned(**batch).logits_per_audio, loaded(**batch).logits_per_audio
        assert torch.equal(output, expected)
        assert not torch.allclose(output, base(**batch).logits_per_audio)


def test_batch_norm_with_frozen_weights_keeps_its_statistics(backbone):
    backbone.musicnn.midend[0].norm.requires_grad_(False)
    modes = [layer.norm.training for layer in backbone.train().musicnn.midend]
    assert modes[0] is False and all(modes[1:])
