"""Both streams: pairs, scores, the three losses, freezing, saving."""

import copy

import pytest
import torch
from helpers import CHUNK, assert_near, inputs, micro_config, settle, waveforms
from torch.nn import functional as F

from mulap_hf import (
    MulapAudioModel,
    MulapForAudioClassification,
    MulapForPreTraining,
    MulapModel,
    modeling_mulap_joint,
)
from mulap_hf.modeling_mulap_losses import mam_loss


@pytest.fixture
def joint() -> MulapModel:
    return settle(MulapModel(micro_config()))


def labels(batch: dict, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    size, tokens = batch["input_ids"].shape
    chosen = torch.zeros(size, tokens, dtype=torch.bool)
    chosen[:, 1:3] = True
    masked = torch.zeros(size, batch["input_values"].shape[1] // CHUNK, dtype=torch.long)
    masked[:, 0] = 1
    masked[-1] = 0
    return {
        "masked_chunks": masked,
        "mlm_labels": torch.where(chosen, torch.randint(5, 120, (size, tokens), generator=generator), -100),
        "matching_labels": torch.arange(size) % 2,
    }


@torch.no_grad()
def test_every_clip_meets_every_text(joint):
    batch = inputs(batch=3)
    output = joint(**batch)
    assert output.logits_per_audio.shape == (3, 3)
    assert torch.equal(output.logits_per_text, output.logits_per_audio.T)
    aligned = output.matching_logits[:, 0] - output.matching_logits[:, 1]
    assert_near(output.logits_per_audio.diagonal(), aligned)
    for clip in range(3):
        for text in range(3):
            one = joint(
                batch["input_values"][[clip]],
                batch["input_ids"][[text]],
                batch["audio_attention_mask"][[clip]],
                batch["attention_mask"][[text]],
            )
            assert_near(one.logits_per_audio[0, 0], output.logits_per_audio[clip, text])


@torch.no_grad()
def test_other_numbers_of_clips_and_texts(joint):
    batch = inputs(batch=3)
    full = joint(**batch)
    joint.config.pair_batch_size = 2
    some = joint(
        batch["input_values"][:2], batch["input_ids"], batch["audio_attention_mask"][:2], batch["attention_mask"]
    )
    assert some.logits_per_audio.shape == (2, 3)
    assert some.matching_logits is None
    assert_near(some.logits_per_audio, full.logits_per_audio[:2])
    assert joint(**batch, return_logits=False).logits_per_audio is None


@torch.no_grad()
@pytest.mark.parametrize("dual", [False, True])
def test_the_shared_space_is_given_of_any_numbers(dual):
    layers = {"connection_text_layers": [], "connection_audio_layers": []} if dual else {}
    aligned = settle(MulapModel(micro_config(projection_size=16, **layers)))
    batch = inputs(batch=3)
    texts = {name: batch[name][:2] for name in ("input_ids", "attention_mask")}
    for output in (aligned(**batch), aligned(**batch | texts), aligned(**batch | texts, return_logits=False)):
        assert output.logit_scale == aligned.alignment.scale
        assert output.audio_embeds.shape == (3, 16)
        assert output.chunk_mask.shape == (3, 3)


@torch.no_grad()
def test_text_padding_changes_nothing(joint):
    batch = inputs(batch=2)
    expected = joint(**batch)
    scrambled = torch.where(batch["attention_mask"] == 0, 7, batch["input_ids"])
    output = joint(**{**batch, "input_ids": scrambled})
    assert_near(output.logits_per_audio, expected.logits_per_audio)
    longer = F.pad(batch["input_ids"], (0, 4)), F.pad(batch["attention_mask"], (0, 4))
    output = joint(**{**batch, "input_ids": longer[0], "attention_mask": longer[1]})
    assert_near(output.logits_per_audio, expected.logits_per_audio)


@torch.no_grad()
def test_eager_equals_sdpa(joint):
    batch = inputs()
    expected = joint(**batch)
    joint.set_attn_implementation("eager")
    output = joint(**batch)
    for name in ("logits_per_audio", "matching_logits", "text_last_hidden_state", "audio_last_hidden_state"):
        assert_near(output[name], expected[name])


def test_flash_attention_is_refused(joint):
    with pytest.raises(ValueError, match="does not support Flash Attention"):
        joint.set_attn_implementation("flash_attention_2")


@torch.no_grad()
def test_attentions_and_hidden_states(joint, monkeypatch):
    batch = inputs(batch=3, chunks=3, tokens=10)
    warnings = []
    monkeypatch.setattr(modeling_mulap_joint.logger, "warning_once", warnings.append)
    from_sdpa = joint(**batch, output_attentions=True)
    assert len(warnings) == 1
    assert "'sdpa' returns no weights, so attention is computed eagerly, which is slower" in warnings[0]
    assert from_sdpa.text_hidden_states is None
    joint.set_attn_implementation("eager")
    output = joint(**batch, output_attentions=True, output_hidden_states=True)
    assert len(warnings) == 1
    for name in ("text", "audio", "text_to_audio", "audio_to_text"):
        for weights, expected in zip(from_sdpa[f"{name}_attentions"], output[f"{name}_attentions"], strict=True):
            assert torch.equal(weights, expected)
    assert torch.equal(from_sdpa.matching_logits, output.matching_logits)
    assert [tuple(a.shape) for a in output.text_attentions] == [(3, 4, 10, 10)] * 2
    assert [tuple(a.shape) for a in output.audio_attentions] == [(3, 4, 4, 4)] * 2
    assert [tuple(a.shape) for a in output.text_to_audio_attentions] == [(3, 4, 10, 4)] * 2
    assert [tuple(a.shape) for a in output.audio_to_text_attentions] == [(3, 4, 4, 10)] * 2
    padding = (batch["attention_mask"] == 0)[:, None, None, :]
    for weights in output.audio_to_text_attentions:
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))
        assert (weights * padding).abs().max() < 1e-6
    padding = F.pad(output.chunk_mask == 0, (1, 0))[:, None, None, :]
    for weights in output.text_to_audio_attentions:
        assert (weights * padding).abs().max() < 1e-6
    assert [tuple(h.shape) for h in output.text_hidden_states] == [(3, 10, 32)] * 3
    assert torch.equal(output.text_hidden_states[0], joint.text_embeddings(batch["input_ids"]))
    assert [tuple(h.shape) for h in output.audio_hidden_states] == [(3, 4, 32)] * 3
    assert torch.equal(output.audio_hidden_states[-1], output.audio_last_hidden_state)


@torch.no_grad()
def test_audio_features_are_the_backbones(joint):
    batch = inputs()
    audio = {"input_values": batch["input_values"], "audio_attention_mask": batch["audio_attention_mask"]}
    assert torch.equal(joint.get_audio_features(**audio).pooler_output, joint.audio_model(**audio).pooler_output)


@torch.no_grad()
def test_losses_by_hand(model):
    batch = inputs(batch=4, chunks=5)
    targets = labels(batch)
    output = model(**batch, **targets)
    features = model.audio_model(batch["input_values"], batch["audio_attention_mask"]).last_hidden_state
    unlabeled = model(**batch, masked_chunks=targets["masked_chunks"])

    chosen = targets["mlm_labels"] != -100
    assert unlabeled.mlm_logits.shape == (4, 10, 120)
    assert_near(output.mlm_logits, unlabeled.mlm_logits[chosen])
    expected_mlm = F.cross_entropy(unlabeled.mlm_logits[chosen], targets["mlm_labels"][chosen])
    masked = targets["masked_chunks"].bool() & output.chunk_mask.bool()
    expected_mam = (output.mam_predictions - features)[masked].square().mean()
    expected_matching = F.cross_entropy(output.matching_logits, targets["matching_labels"])
    torch.testing.assert_close(output.mlm_loss, expected_mlm)
    torch.testing.assert_close(output.mam_loss, expected_mam)
    torch.testing.assert_close(output.matching_loss, expected_matching)
    torch.testing.assert_close(output.loss, 0.1 * expected_mlm + 4 * expected_mam + 2 * expected_matching)
    assert unlabeled.mlm_loss is None
    assert unlabeled.matching_loss is None
    torch.testing.assert_close(unlabeled.loss, 4 * expected_mam)


@torch.no_grad()
@pytest.mark.parametrize("loss", ["huber", "kl"])
def test_other_mam_losses(loss):
    generator = torch.Generator().manual_seed(0)
    predictions, features = torch.randn(2, 2, 3, 8, generator=generator)
    masked = torch.tensor([[1, 0, 1], [0, 1, 0]]).bool()
    if loss == "huber":
        expected = F.huber_loss(predictions[masked], features[masked])
    else:
        expected = F.kl_div(predictions[masked].log_softmax(-1), features[masked].softmax(-1), reduction="batchmean")
    torch.testing.assert_close(mam_loss(loss, predictions, features, masked), expected)


@torch.no_grad()
def test_masked_chunks_do_not_reach_their_predictions(model):
    batch = inputs(batch=2)
    masked = torch.tensor([[0, 1, 0], [1, 0, 0]])
    expected = model(**batch, masked_chunks=masked)
    other = batch["input_values"].clone()
    other[0, CHUNK : 2 * CHUNK] = waveforms(1, CHUNK, seed=9)
    output = model(**{**batch, "input_values": other}, masked_chunks=masked)
    # Neither directly nor through the global token.
    torch.testing.assert_close(output.mam_predictions, expected.mam_predictions)
    assert not torch.allclose(output.mam_loss, expected.mam_loss)


def test_no_labels_at_all_give_no_nan(model):
    batch = inputs()
    targets = {
        "masked_chunks": torch.zeros(3, 3),
        "mlm_labels": torch.full((3, 10), -100),
        "matching_labels": torch.full((3,), -100),
    }
    output = model.train()(**batch, **targets)
    assert output.loss == 0
    output.loss.backward()


def test_gradients_reach_everything_that_trains(model):
    batch = inputs(batch=4)
    model.train()(**batch, **labels(batch)).loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    # Keys of unit queries get no gradient from softmax's shift, biases before BatchNorm none from its mean.
    still = ("k_proj.bias", "conv.bias")
    zero = [n for n, p in model.named_parameters() if not p.grad.any() and not n.endswith(still)]
    assert zero == []


@pytest.mark.parametrize(
    ("freeze", "prefixes"),
    [("freeze_audio", ("audio_model.",)), ("freeze_text", ("text_embeddings.", "text_layers."))],
)
@pytest.mark.parametrize("loaded", [False, True])
def test_frozen_means_bit_identical(freeze, prefixes, loaded, tmp_path):
    model = settle(MulapForPreTraining(micro_config(**{freeze: True})))
    if loaded:
        model.save_pretrained(tmp_path)
        model = MulapForPreTraining.from_pretrained(tmp_path)
    model.train()
    before = copy.deepcopy(model.state_dict())
    batch = inputs(batch=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        model(**batch, **labels(batch)).loss.backward()
        optimizer.step()
    for name, value in model.state_dict().items():
        frozen = name.startswith(prefixes) or (freeze == "freeze_text" and name == "mlm_head.decoder.weight")
        untouched = "log_mel" in name
        if frozen or untouched:
            assert torch.equal(value, before[name]), name
        elif value.is_floating_point() and not name.endswith("k_proj.bias"):
            assert not torch.equal(value, before[name]), name


def test_gradient_checkpointing_changes_no_gradient():
    config = micro_config(
        text_config={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
        audio_config={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
        fusion_dropout_prob=0.0,
    )
    batch = inputs(batch=4)
    gradients = []
    for checkpointing in (False, True):
        model = settle(MulapForPreTraining(config)).train()
        if checkpointing:
            model.activation_checkpointing_enable()
        model(**batch, **labels(batch)).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


def test_save_and_load_is_bit_equal(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded, info = MulapForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert loaded.mlm_head.decoder.weight is loaded.text_embeddings.word_embeddings.weight
    # transformers builds the model on the meta device: buffers that are not in the file would be garbage.
    assert model.state_dict().keys() == loaded.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    batch = inputs()
    with torch.no_grad():
        assert torch.equal(model(**batch).matching_logits, loaded(**batch).matching_logits)


def test_any_class_loads_from_any_folder(model, tmp_path):
    model.save_pretrained(tmp_path / "pretraining")
    tagger = MulapForAudioClassification.from_pretrained(tmp_path / "pretraining", num_labels=3)
    tagger.save_pretrained(tmp_path / "tagger")
    MulapAudioModel.from_pretrained(tmp_path / "tagger").save_pretrained(tmp_path / "audio")
    for folder in ("pretraining", "tagger", "audio"):
        for cls in (MulapForPreTraining, MulapModel, MulapForAudioClassification, MulapAudioModel):
            loaded = cls.from_pretrained(tmp_path / folder)
            backbone = loaded if cls is MulapAudioModel else loaded.audio_model
            for name, value in model.audio_model.state_dict().items():
                assert torch.equal(value, backbone.state_dict()[name]), (folder, cls, name)


@torch.no_grad()
def test_resized_vocabulary_stays_tied(tmp_path):
    model = settle(MulapForPreTraining(micro_config(words_loss_weight=1.0)))
    before = model(**inputs())
    model.resize_token_embeddings(130)
    assert model.config.text_config.vocab_size == 130
    model.save_pretrained(tmp_path)
    for each in (model, MulapForPreTraining.from_pretrained(tmp_path)):
        assert each.mlm_head.decoder.weight is each.text_embeddings.word_embeddings.weight
        output = each(**inputs())
        for name in ("mlm_logits", "words_logits"):
            assert output[name].shape[-1] == 130
            assert_near(output[name][..., :120], before[name])


def test_wrong_pairs_are_refused(model):
    batch = inputs(batch=3)
    with pytest.raises(ValueError, match="3 clips with 2 texts"):
        model(batch["input_values"], batch["input_ids"][:2])
    with pytest.raises(ValueError, match=r"masked_chunks has shape \(3, 9\).*\(3, 3\)"):
        model(**batch, masked_chunks=torch.ones(3, 9))
    with pytest.raises(ValueError, match="40 tokens, the model takes 32"):
        model(batch["input_values"], torch.ones(3, 40, dtype=torch.long))
    with pytest.raises(ValueError, match="300 chunks, the audio Transformer takes 212"):
        model(waveforms(1, 300 * CHUNK), batch["input_ids"][:1])


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("input_ids", (3,), r"input_ids has shape \(3,\); MuLaP takes \(texts, tokens\)"),
        ("input_ids", (3, 0), r"input_ids has shape \(3, 0\)"),
        ("attention_mask", (3, 9), r"attention_mask has shape \(3, 9\), it must be \(texts, tokens\), here \(3, 10\)"),
        ("audio_attention_mask", (3, 9), r"audio_attention_mask has shape \(3, 9\)"),
        ("mlm_labels", (3, 9), r"mlm_labels has shape \(3, 9\), it must be \(batch, tokens\), here \(3, 10\)"),
        ("matching_labels", (2,), r"matching_labels has shape \(2,\), it must be \(batch,\), here \(3,\)"),
        ("caption_ids", (3, 1), r"caption_ids has shape \(3, 1\)"),
        ("word_ids", (2, 4), r"word_ids has shape \(2, 4\), it must be \(batch, words\), here \(3, 4\)"),
        ("word_weights", (3, 5), r"word_weights has shape \(3, 5\), it must be \(batch, words\), here \(3, 4\)"),
    ],
)
def test_wrong_shapes_are_refused(model, joint, name, shape, message):
    words = {"word_ids": torch.ones(3, 4, dtype=torch.long), "word_weights": torch.ones(3, 4)}
    wrong = {name: torch.ones(shape, dtype=torch.long)}
    with pytest.raises(ValueError, match=message):
        model(**inputs(batch=3) | words | wrong)
    if name in inputs():
        with pytest.raises(ValueError, match=message):
            joint(**inputs(batch=3) | wrong)


@torch.no_grad()
def test_autocast_to_bfloat16(model):
    batch = inputs()
    expected = model(**batch).matching_logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**batch)
    assert output.matching_logits.dtype == torch.bfloat16
    torch.testing.assert_close(output.matching_logits.float(), expected, atol=0.15, rtol=0.1)


def test_sum_fusion_differs():
    batch = inputs()
    models = [settle(MulapModel(micro_config(fusion=fusion))) for fusion in ("mul", "sum")]
    product, total = (m(**batch) for m in models)
    torch.testing.assert_close(product.pooler_output, product.text_pooler_output * product.audio_pooler_output)
    torch.testing.assert_close(total.pooler_output, total.text_pooler_output + total.audio_pooler_output)


@pytest.mark.parametrize("head", ["linear", "mlp", "musicnn"])
def test_classifier_heads(head):
    model = settle(
        MulapForAudioClassification(micro_config(classifier_head=head, classifier_hidden_size=16, num_labels=5))
    )
    batch = inputs(batch=3)
    with torch.no_grad():
        output = model(batch["input_values"], batch["audio_attention_mask"])
    assert output.logits.shape == (3, 5)
    assert output.chunk_logits.shape == (3, 3, 5)
    for row in range(3):
        chunks = output.chunk_mask[row].sum()
        torch.testing.assert_close(output.logits[row], output.chunk_logits[row, :chunks].mean(dim=0))
    assert output.loss is None


REGRESSED = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("problem", "target", "loss"),
    [
        ("single_label_classification", torch.tensor([0, 3, 1]), F.cross_entropy),
        ("multi_label_classification", torch.eye(3, 4), F.binary_cross_entropy_with_logits),
        ("regression", REGRESSED, F.mse_loss),
        (None, torch.tensor([0, 3, 1]), F.cross_entropy),
        (None, torch.eye(3, 4), F.binary_cross_entropy_with_logits),
    ],
)
def test_problem_types(problem, target, loss):
    model = settle(MulapForAudioClassification(micro_config(num_labels=4, problem_type=problem)))
    output = model(inputs()["input_values"], labels=target)
    torch.testing.assert_close(output.loss, loss(output.logits, target))


def test_frozen_backbone_of_a_classifier(tmp_path):
    settle(MulapForAudioClassification(micro_config(num_labels=2, freeze_audio=True))).save_pretrained(tmp_path)
    model = MulapForAudioClassification.from_pretrained(tmp_path).train()
    assert not model.audio_model.musicnn.input_norm.training
    before = copy.deepcopy(model.audio_model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(inputs()["input_values"], labels=torch.tensor([0, 1, 0])).loss.backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.audio_model.state_dict().items())
    assert all(parameter.grad is not None for parameter in model.classifier.parameters())
