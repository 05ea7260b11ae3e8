"""Adapters of PEFT: trained, saved and loaded again, or merged into the weights, they give the same outputs."""

import pytest
import torch
from helpers import assert_near, inputs, micro_config, settle
from peft import LoraConfig, PeftModel, get_peft_model

from mulap_hf import MulapForAudioClassification, MulapModel

CASES = {
    "both streams": (MulapModel, {"target_modules": ["q_proj", "v_proj"]}),
    "the text stream": (MulapModel, {"target_modules": r"text_layers\..*\.(q_proj|v_proj|fc1)"}),
    "a tagger's head": (MulapForAudioClassification, {"target_modules": r"classifier\.(0|3)"}),
    "a tagger's convolutions and a new head": (
        MulapForAudioClassification,
        {"target_modules": ["conv"], "modules_to_save": ["classifier"]},
    ),
}


@pytest.mark.parametrize(("kind", "targets"), CASES.values(), ids=CASES)
def test_saved_loaded_and_merged(kind, targets, tmp_path):
    batch = inputs()
    if kind is MulapForAudioClassification:
        batch = {name: batch[name] for name in ("input_values", "audio_attention_mask")}

    @torch.no_grad()
    def outputs(model) -> torch.Tensor:
        output = model.eval()(**batch)
        return output.logits if kind is MulapForAudioClassification else output.logits_per_audio

    settle(kind(micro_config(projection_size=16, num_labels=3))).save_pretrained(tmp_path / "base")
    # Without this argument a new adapter changes nothing, and no mistake would show.
    adapter = LoraConfig(r=4, init_lora_weights=False, **targets)
    tuned = get_peft_model(kind.from_pretrained(tmp_path / "base"), adapter).train()
    task = {"labels": torch.tensor([0, 1, 2])} if kind is MulapForAudioClassification else {"return_loss": True}
    tuned(**batch, **task).loss.backward()
    torch.optim.SGD([value for value in tuned.parameters() if value.requires_grad], lr=0.1).step()
    expected = outputs(tuned)
    assert not torch.allclose(expected, outputs(kind.from_pretrained(tmp_path / "base")), rtol=1e-2)

    tuned.save_pretrained(tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(kind.from_pretrained(tmp_path / "base"), tmp_path / "adapter")
    assert torch.equal(outputs(loaded), expected)
    merged = loaded.merge_and_unload()
    assert_near(outputs(merged), expected)
    merged.save_pretrained(tmp_path / "merged")
    assert torch.equal(outputs(kind.from_pretrained(tmp_path / "merged")), outputs(merged))
