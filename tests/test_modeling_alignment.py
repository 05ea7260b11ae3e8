"""The joint embedding space of clips and texts: dual encoders, and alignment before fusion."""

import math

import pytest
import torch
from helpers import assert_near, inputs, micro_config, settle
from torch.nn import functional as F
from transformers import AutoModel

from mulap_hf import MulapForPreTraining, MulapModel

DUAL = {"connection_text_layers": [], "connection_audio_layers": [], "projection_size": 16}
FUSED = {"projection_size": 16, "matching_similarity": True, "matching_negatives": "hard"}


@pytest.fixture
def dual() -> MulapModel:
    return settle(MulapModel(micro_config(**DUAL)))


@pytest.fixture
def fused() -> MulapForPreTraining:
    return settle(MulapForPreTraining(micro_config(**FUSED)))


@torch.no_grad()
def test_dual_encoder_scores_are_scaled_cosines_of_its_features(dual):
    batch = inputs(batch=3)
    texts = {name: batch[name][:2] for name in ("input_ids", "attention_mask")}
    output = dual(**batch | texts)
    audio = dual.get_audio_features(batch["input_values"], batch["audio_attention_mask"]).pooler_output
    text = dual.get_text_features(**texts).pooler_output
    assert audio.shape == (3, 16) and text.shape == (2, 16)
    torch.testing.assert_close(audio.norm(dim=1), torch.ones(3))
    assert_near(output.logits_per_audio, dual.alignment.logit_scale.exp() * audio @ text.T)
    assert torch.equal(output.logits_per_text, output.logits_per_audio.T)
    assert output.matching_logits is None
    # the embedding is that of the backbone, projected
    pooled = dual.audio_model(batch["input_values"], batch["audio_attention_mask"]).pooler_output
    centered = dual.alignment.audio_norm(pooled)
    assert_near(audio, F.normalize(dual.alignment.audio_projection(centered), dim=1))


@torch.no_grad()
def test_text_padding_changes_no_text_embedding(dual):
    batch = inputs(batch=3)
    alone = dual.get_text_features(batch["input_ids"][2:, :6]).pooler_output
    assert batch["attention_mask"][2].sum() == 6
    assert_near(dual.get_text_features(batch["input_ids"], batch["attention_mask"]).pooler_output[2:], alone)


def test_dual_encoder_loads_by_auto_model_and_has_no_other_part(dual, tmp_path):
    dual.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, MulapModel)
    parts = {name.split(".")[0] for name in loaded.state_dict()}
    assert parts == {"audio_model", "text_embeddings", "text_layers", "alignment"}
    batch = inputs()
    assert torch.equal(loaded(**batch).logits_per_audio, dual(**batch).logits_per_audio)


def test_proxy_tasks_need_co_attention():
    with pytest.raises(ValueError, match="the proxy tasks need co-attention"):
        MulapForPreTraining(micro_config(**DUAL))


def test_text_features_need_a_joint_space(model):
    batch = inputs()
    plain = MulapModel(micro_config())
    with pytest.raises(ValueError, match="projection_size is 0"):
        plain.get_text_features(batch["input_ids"])


def test_the_scale_has_an_initial_value_and_a_limit():
    model = MulapModel(micro_config(**DUAL, logit_scale_init_value=math.log(20)))
    assert model.alignment.scale.item() == pytest.approx(20)
    model.alignment.logit_scale.data.fill_(9.0)
    assert model.alignment.scale.item() == pytest.approx(100)


@torch.no_grad()
def test_the_matching_head_starts_from_the_similarity(fused):
    batch = inputs()
    fused.matching_head.weight.zero_()
    fused.matching_head.bias.zero_()
    output = fused(**batch)
    similarity = (output.audio_embeds * output.text_embeds).sum(dim=1) * output.logit_scale
    assert_near(output.matching_logits[:, 0] - output.matching_logits[:, 1], similarity)


@torch.no_grad()
def test_every_pair_is_scored_as_the_aligned_pair_is(fused, tmp_path):
    fused.save_pretrained(tmp_path)
    model = MulapModel.from_pretrained(tmp_path).eval()
    output = model(**inputs())
    aligned = output.matching_logits[:, 0] - output.matching_logits[:, 1]
    assert_near(output.logits_per_audio.diagonal(), aligned)


@pytest.mark.parametrize("kind", ["random", "hard"])
def test_negatives_are_never_of_equal_captions(kind):
    """Two captions only: each clip must meet the other one's texts. With all equal there is nothing to draw."""
    model = settle(MulapForPreTraining(micro_config(**{**FUSED, "matching_negatives": kind})))
    seen = []
    fuse = model._fuse

    def record(text, audio, *options):
        seen.append((text.embeds, audio.embeds))
        return fuse(text, audio, *options)

    model._fuse = record
    batch = inputs(batch=4)
    output = model(**batch, caption_ids=torch.tensor([7, 8, 7, 8]))
    (texts, clips), _ = seen
    groups = {row.sum().item(): index % 2 for index, row in enumerate(output.text_embeds)}
    clip_groups = {row.sum().item(): index % 2 for index, row in enumerate(output.audio_embeds)}
    assert len(texts) == 8  # one for each clip and one for each text
    for text, clip in zip(texts, clips, strict=True):
        assert groups[text.sum().item()] != clip_groups[clip.sum().item()]
    seen.clear()
    alike = model(**batch, caption_ids=torch.zeros(4, dtype=torch.long))
    expected = F.cross_entropy(alike.matching_logits, torch.zeros(4, dtype=torch.long)) / 2
    assert_near(alike.matching_loss, expected)


@torch.no_grad()
def test_hard_negatives_are_the_similar_ones(fused):
    """With a huge scale each clip draws the most similar text of another."""
    batch = inputs(batch=4)
    fused.alignment.logit_scale.fill_(math.log(100))
    for norm in (fused.alignment.audio_norm, fused.alignment.text_norm):
        norm.momentum = 1.0  # the statistics of this batch, which spread its embeddings
    fused.alignment.train()
    fused(**batch)
    fused.eval()
    seen = []
    fuse = fused._fuse
    fused._fuse = lambda text, audio, *options: seen.append((text.embeds, audio.embeds)) or fuse(text, audio, *options)
    torch.manual_seed(0)
    output = fused(**batch, caption_ids=torch.arange(4))
    similarity = (100 * output.audio_embeds @ output.text_embeds.T).fill_diagonal_(-torch.inf)
    texts, clips = seen[0]
    certain = similarity.softmax(dim=1).max(dim=1).values > 0.999
    assert certain.any()
    for clip in certain.nonzero().flatten().tolist():
        assert torch.equal(texts[clip], output.text_embeds[similarity[clip].argmax()])
        assert torch.equal(clips[clip], output.audio_embeds[clip])


def test_gradient_reaches_the_joint_space_and_the_backbone(fused):
    fused.train()
    output = fused(**inputs(batch=4), caption_ids=torch.arange(4))
    output.matching_loss.backward()
    for name in ("alignment.audio_projection.weight", "alignment.text_projection.weight", "alignment.logit_scale"):
        assert fused.get_parameter(name).grad.abs().max() > 0, name
    assert fused.audio_model.musicnn.timbral[0].conv.weight.grad.abs().max() > 0
