"""The contrastive losses against their formulas, term by term; test_distributed.py has them in two processes."""

import math

import pytest
import torch
from torch.nn import functional as F

from mulap_hf.pretraining.contrastive import content_aware_weights, info_nce, nt_xent


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
