"""Targets of masked audio modeling and the content of the global token: fixed, and as published."""

import pytest
import torch
from helpers import CHUNK, assert_near, inputs, micro_config, settle
from torch.nn import functional as F

from mulap_hf import MulapForPreTraining


def masked_inputs() -> dict:
    """The second of three chunks of each clip is masked; the last clip has two chunks."""
    batch = inputs(batch=3, chunks=3)
    batch["audio_attention_mask"] = (torch.arange(3 * CHUNK) < torch.tensor([[3], [3], [2]]) * CHUNK).long()
    return batch | {"masked_chunks": torch.tensor([[False, True, False]] * 3)}


@torch.no_grad()
def test_targets_as_configured():
    batch = masked_inputs()
    models = {kind: settle(MulapForPreTraining(micro_config(mam_target=kind))) for kind in
              ("features", "normalized", "zeros")}  # fmt: skip
    output = {kind: model(**batch) for kind, model in models.items()}
    features = output["features"].chunk_features
    assert torch.equal(output["features"].mam_targets, features)
    assert not output["zeros"].mam_targets.any()
    assert_near(output["zeros"].mam_loss, output["zeros"].mam_predictions[:, 1].square().mean())
    real = torch.cat([features[:2].flatten(0, 1), features[2, :2]])  # without the padded chunk
    expected = (features - real.mean(dim=0)) / real.std(dim=0, unbiased=False).clamp(min=1e-5)
    assert_near(output["normalized"].mam_targets, expected)
    predictions = output["normalized"].mam_predictions
    assert_near(output["normalized"].mam_loss, F.mse_loss(predictions[:, 1], expected[:, 1]))


@pytest.mark.parametrize(("kind", "tells"), [("unmasked", False), ("all", True)])
@torch.no_grad()
def test_only_the_published_global_token_tells_what_is_masked(kind, tells):
    """Other audio in the masked chunk changes no prediction, unless the global token contains it."""
    model = settle(MulapForPreTraining(micro_config(global_token=kind)))
    batch = masked_inputs()
    other = batch["input_values"].clone()
    other[:, CHUNK : 2 * CHUNK] = other[:, CHUNK : 2 * CHUNK].flip(1) * 0.3
    first, second = (model(**batch | {"input_values": values}) for values in (batch["input_values"], other))
    assert torch.equal(first.mam_predictions, second.mam_predictions) is not tells
