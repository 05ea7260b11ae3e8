"""Contrastive losses against their formulas, and the terms of the pre-training loss.

pretraining/test_distributed.py computes all of them in two processes.
"""

import math

import pytest
import torch
from helpers import assert_near, inputs, micro_config, settle
from torch.nn import functional as F

from mulap_hf import MulapForPreTraining, MulapModel, modeling_mulap
from mulap_hf.modeling_mulap_losses import content_aware_weights, info_nce, nt_xent


@pytest.fixture
def embeddings() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 8, generator=generator), 3 * torch.randn(5, 8, generator=generator)


def cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    first, second = first.double(), second.double()
    return float(first @ second / first.norm() / second.norm())


def test_nt_xent_is_equation_1(embeddings):
    views = [view for pair in zip(*embeddings, strict=True) for view in pair]
    losses = []
    for anchor in range(10):
        positive = anchor + 1 if anchor % 2 == 0 else anchor - 1
        similarity = [math.exp(cosine(views[anchor], other) / 0.3) for other in views]
        negatives = sum(value for index, value in enumerate(similarity) if index not in (anchor, positive))
        losses.append(-math.log(similarity[positive] / (similarity[positive] + negatives)))
    assert nt_xent(*embeddings, temperature=0.3).item() == pytest.approx(sum(losses) / 10, rel=1e-6)


def test_nt_xent_of_orthogonal_pairs_in_closed_form():
    views = torch.eye(4)
    # The positive has similarity 1, the 6 negatives 0.
    assert nt_xent(views, views, 0.5).item() == pytest.approx(math.log(1 + 6 * math.exp(-2)), rel=1e-6)


def naive_info_nce(audio, text, scale, weights, same) -> float:
    """Mean over the pairs of the mean over both directions, with `same[i][j]` leaving out j as a negative of i."""
    total = 0.0
    for i in range(len(audio)):
        for query, keys in ((audio[i], text), (text[i], audio)):
            scores = {
                j: math.exp(scale * cosine(query, keys[j])) for j in range(len(keys)) if j == i or not same[i][j]
            }
            total -= weights[i] * math.log(scores[i] / sum(scores.values())) / 2
    return total / len(audio)


def test_info_nce_in_both_directions(embeddings):
    expected = naive_info_nce(*embeddings, 4.0, [1] * 5, [[False] * 5] * 5)
    assert info_nce(*embeddings, scale=4.0).item() == pytest.approx(expected, rel=1e-6)


def test_equal_texts_are_no_negatives_and_pairs_are_weighted(embeddings):
    weights, ids = [0.5, 2.0, 1.0, 0.25, 1.25], [2**60, 7, 2**60, 2**60 + 1, 7]
    same = [[first == second for second in ids] for first in ids]
    expected = naive_info_nce(*embeddings, 4.0, weights, same)
    actual = info_nce(*embeddings, 4.0, weights=torch.tensor(weights), text_ids=torch.tensor(ids))
    assert actual.item() == pytest.approx(expected, rel=1e-6)


def test_where_all_texts_are_equal_nothing_is_learned(embeddings):
    audio = embeddings[0].requires_grad_()
    loss = info_nce(audio, embeddings[1], 4.0, text_ids=torch.zeros(5, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(audio.grad, torch.zeros_like(audio))


def test_the_scale_is_learned(embeddings):
    scale = torch.tensor(4.0, requires_grad=True)
    info_nce(*embeddings, scale).backward()
    slope = (info_nce(*embeddings, 4.01) - info_nce(*embeddings, 3.99)) / 0.02
    assert scale.grad.item() == pytest.approx(slope.item(), rel=1e-3)


def test_content_aware_weights_are_the_formula(embeddings):
    texts = embeddings[1]
    means = [sum(cosine(texts[i], texts[j]) for j in range(5) if j != i) / 4 for i in range(5)]
    unscaled = [math.exp(mean / 0.1) for mean in means]
    expected = torch.tensor([value * 5 / sum(unscaled) for value in unscaled])
    torch.testing.assert_close(content_aware_weights(texts, temperature=0.1), expected, rtol=1e-5, atol=1e-6)


def test_content_aware_weights_do_not_overflow():
    texts = F.normalize(torch.ones(6, 4) + torch.arange(24.0).view(6, 4).cos() / 100, dim=1)  # exp(1 / 0.001) = inf
    weights = content_aware_weights(texts, temperature=0.001)
    assert torch.isfinite(weights).all()
    assert weights.mean().item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(content_aware_weights(texts[:1]), torch.ones(1))  # a single text has no others


def test_losses_are_float32_under_autocast(embeddings):
    expected = nt_xent(*embeddings, 0.1), info_nce(*embeddings, 10.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = nt_xent(*embeddings, 0.1), info_nce(*embeddings, 10.0)
    assert actual == expected
    half = [values.bfloat16() for values in embeddings]
    assert nt_xent(*half, 0.1).dtype == info_nce(*half, 10.0).dtype == torch.float32


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(4, 2\): both must be \(rows, size\)"):
        nt_xent(torch.ones(3, 2), torch.ones(4, 2), 0.1)


TERMS = {
    "projection_size": 16,
    "words_loss_weight": 0.5,
    "chunks_loss_weight": 2.0,
    "contrastive_loss_weight": 3.0,
    "matching_negatives": "random",
}


def label_inputs() -> dict[str, torch.Tensor]:
    ids = inputs(batch=4)["input_ids"]
    return {
        "mlm_labels": torch.where(torch.arange(10) < 3, ids, -100),
        "masked_chunks": torch.tensor([[0, 1, 0]] * 4),
        "matching_labels": torch.tensor([0, 1, 0, 0]),
        "caption_ids": torch.tensor([1, 2, 1, 3]),
        "word_ids": ids,
        "word_weights": torch.full((4, 10), 0.1),
    }


@pytest.fixture(scope="module")
def whole() -> MulapForPreTraining:
    """With all six terms."""
    return settle(MulapForPreTraining(micro_config(**TERMS)))


@pytest.mark.parametrize(
    ("given", "terms"),
    [
        ((), set()),
        (("mlm_labels",), {"mlm", "chunks"}),
        (("masked_chunks",), {"mam", "chunks"}),
        (("matching_labels",), {"matching", "chunks"}),
        (("caption_ids",), {"matching", "contrastive", "chunks"}),
        (("word_ids", "word_weights"), {"words", "chunks"}),
        (tuple(label_inputs()), {"mlm", "mam", "matching", "contrastive", "words", "chunks"}),
    ],
)
@torch.no_grad()
def test_which_inputs_give_which_terms(whole, given, terms):
    labels = label_inputs()
    batch = {**inputs(batch=4), **{name: labels[name] for name in given}}
    torch.manual_seed(0)  # mismatched pairs are drawn
    output = whole(**batch)
    assert {name.removesuffix("_loss") for name in output if name.endswith("_loss")} == terms
    if not terms:
        assert output.loss is None
        return
    weights = whole.config.loss_weights()
    assert weights == {
        "mlm_loss": 0.1, "mam_loss": 4.0, "matching_loss": 2.0,
        "contrastive_loss": 3.0, "words_loss": 0.5, "chunks_loss": 2.0,
    }  # fmt: skip
    assert output.loss.item() == pytest.approx(sum(weights[f"{name}_loss"] * output[f"{name}_loss"] for name in terms))
    torch.manual_seed(0)
    assert whole(**batch, return_dict=False)[0] == output.loss


@torch.no_grad()
def test_contrastive_terms_of_the_model(whole):
    """Of the matched pairs, without equal captions as negatives; and of the first two chunks of each clip."""
    labels = label_inputs()
    output = whole(**inputs(batch=4), **labels)
    kept, ids = [0, 2, 3], [1, 1, 3]
    same = [[first == second for second in ids] for first in ids]
    audio, text = output.audio_embeds[kept], output.text_embeds[kept]
    expected = naive_info_nce(audio, text, float(output.logit_scale), [1] * 3, same)
    assert output.contrastive_loss.item() == pytest.approx(expected, rel=1e-5)
    assert len(output.chunk_views) == 1  # only one of the clips has two chunks
    views = whole.chunks_head(output.chunk_features[:1, :2])
    assert_near(output.chunk_views, views)


def test_a_term_without_its_inputs_is_warned_about_in_training(monkeypatch):
    warnings = []
    monkeypatch.setattr(modeling_mulap.logger, "warning_once", warnings.append)
    model = settle(MulapForPreTraining(micro_config(**TERMS, mlm_loss_weight=0.0)))
    batch, labels = inputs(batch=4), label_inputs()
    del labels["word_ids"], labels["word_weights"], labels["mlm_labels"]
    model(**batch, **labels)
    assert warnings == []
    model.train()(**batch, **labels)
    assert len(warnings) == 1
    assert "words_loss needs word_ids and word_weights. Pass these inputs, or set the weights to 0" in warnings[0]
    assert "mlm_loss" not in warnings[0]


@torch.no_grad()
def test_a_dual_encoder_returns_its_loss_as_clip_does():
    config = micro_config(projection_size=16, connection_text_layers=[], connection_audio_layers=[])
    model = settle(MulapModel(config))
    batch = inputs(batch=4)
    output = model(**batch, return_loss=True)
    rows = F.cross_entropy(output.logits_per_audio, torch.arange(4))
    columns = F.cross_entropy(output.logits_per_text, torch.arange(4))
    assert_near(output.loss, (rows + columns) / 2)
    assert model(**batch).loss is None
    other = model(**batch, return_loss=True, caption_ids=torch.tensor([1, 2, 1, 3])).loss
    assert other < output.loss  # fewer negatives
    with pytest.raises(ValueError, match=r"as many texts as clips, here 2 and 4"):
        model(**batch | {name: batch[name][:2] for name in ("input_ids", "attention_mask")}, return_loss=True)
    with pytest.raises(ValueError, match=r"config\.projection_size=0"):
        MulapModel(micro_config())(**batch, return_loss=True)


def test_words_need_their_weights(whole):
    with pytest.raises(ValueError, match="word_ids and word_weights belong together"):
        whole(**inputs(batch=4), word_ids=label_inputs()["word_ids"])
