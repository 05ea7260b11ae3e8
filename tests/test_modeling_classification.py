"""The classifier: which labels it takes, and what it refuses; masks and arguments of models without a text side."""

import pytest
import torch
from helpers import CHUNK, assert_near, inputs, micro_config, settle, waveforms
from huggingface_hub.errors import StrictDataclassError
from torch.nn import functional as F

from mulap_hf import MulapAudioModel, MulapConfig, MulapForAudioClassification, MulapModel

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
IGNORED = -100


def classifier(problem: str | None = None, labels: int = 3) -> MulapForAudioClassification:
    return settle(MulapForAudioClassification(micro_config(num_labels=labels, problem_type=problem)))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("problem", [None, SINGLE])
def test_class_indices_of_any_integer_type(problem, dtype):
    model, clips = classifier(problem), waveforms(2, CHUNK)
    output = model(clips, labels=torch.tensor([0, 2], dtype=dtype))
    assert_near(output.loss, F.cross_entropy(output.logits, torch.tensor([0, 2])))
    assert model.config.problem_type == SINGLE


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.int64, torch.float32])
@pytest.mark.parametrize("problem", [None, MULTI])
def test_several_labels_of_any_type(problem, dtype):
    model, clips = classifier(problem), waveforms(2, CHUNK)
    labels = torch.tensor([[0, 1, 1], [1, 0, 0]])
    output = model(clips, labels=labels.to(dtype))
    assert_near(output.loss, F.binary_cross_entropy_with_logits(output.logits, labels.float()))
    assert model.config.problem_type == MULTI


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_one_output_is_regressed(shape, dtype):
    model, values = classifier(labels=1), torch.tensor([3, 4])
    output = model(waveforms(2, CHUNK), labels=values.view(shape).to(dtype))
    assert_near(output.loss, F.mse_loss(output.logits[:, 0], values.float()))
    assert model.config.problem_type == REGRESSION


def test_ignored_labels_do_not_count():
    model, clips = classifier(SINGLE), waveforms(3, CHUNK)
    output = model(clips, labels=torch.tensor([1, IGNORED, 2]))
    assert_near(output.loss, F.cross_entropy(output.logits[[0, 2]], torch.tensor([1, 2])))


@pytest.mark.parametrize(
    ("problem", "labels", "message"),
    [
        (SINGLE, torch.tensor([IGNORED, IGNORED]), "all labels of the batch are -100, which is ignored: leave such"),
        (SINGLE, torch.tensor([0, 3]), "must be from 0 to 2, and one of them is 3"),
        (SINGLE, torch.tensor([-1, 0]), "one of them is -1"),
        (SINGLE, torch.tensor([0.0, 1.0]), r"must be \(2,\) class indices, integers from 0 to 2"),
        (SINGLE, torch.tensor([0, 1, 2]), r"have shape \(3,\) and type torch.int64; they must be \(2,\)"),
        (SINGLE, torch.eye(2, 3).long(), r"have shape \(2, 3\)"),
        (MULTI, torch.tensor([0, 1]), r"have shape \(2,\) .* must be \(2, 3\), a value per clip and output"),
        (MULTI, torch.eye(3, 2), r"have shape \(3, 2\)"),
        (MULTI, torch.tensor([[0, 1, 2], [0, 0, 0]]), "must be 0 or 1, and one of them is 2"),
        (MULTI, torch.full((2, 3), torch.nan), "must be 0 or 1, and one of them is nan"),
        (REGRESSION, torch.tensor([0.0, 1.0]), r"must be \(2, 3\)"),
        (REGRESSION, torch.full((2, 3), torch.inf), "must be finite, and one of them is inf"),
        (None, torch.eye(2, 4).long(), r"labels of multi_label_classification have shape \(2, 4\)"),
    ],
)
def test_labels_that_do_not_fit(problem, labels, message):
    with pytest.raises(ValueError, match=message):
        classifier(problem)(waveforms(2, CHUNK), labels=labels)


def test_misspelled_problem_types(tmp_path):
    message = "problem_type='regresion' is unknown; there are single_label_classification, multi_label_classification"
    model = classifier()
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        MulapForAudioClassification.from_pretrained(tmp_path, problem_type="regresion")
    with pytest.raises(StrictDataclassError, match="regresion"):
        MulapConfig(problem_type="regresion")
    model.config.__dict__["problem_type"] = "regresion"
    with pytest.raises(ValueError, match=message):
        model(waveforms(2, CHUNK), labels=torch.zeros(2, 3))


@torch.no_grad()
@pytest.mark.parametrize("call", ["classifier", "backbone", "features"])
def test_attention_mask_is_the_mask_of_the_audio(call):
    """The name that `SequenceFeatureExtractor.pad` and Trainer's default collator use."""
    model = {
        "classifier": lambda: classifier(),
        "backbone": lambda: settle(MulapAudioModel(micro_config().audio_config)),
        "features": lambda: settle(MulapModel(micro_config())).get_audio_features,
    }[call]()
    values, mask = (inputs()[name] for name in ("input_values", "audio_attention_mask"))
    expected = model(values, audio_attention_mask=mask).pooler_output
    assert torch.equal(model(values, attention_mask=mask).pooler_output, expected)
    assert torch.equal(model(values, audio_attention_mask=mask, attention_mask=mask.bool()).pooler_output, expected)
    assert not torch.allclose(model(values).pooler_output, expected)
    with pytest.raises(ValueError, match="audio_attention_mask and attention_mask differ"):
        model(values, audio_attention_mask=mask, attention_mask=torch.ones_like(mask))


def test_unknown_arguments_are_refused_with_the_nearest_name(model):
    batch = inputs()
    joint, backbone = MulapModel(micro_config(projection_size=8)), MulapAudioModel(micro_config().audio_config)
    audio = {"input_values": batch["input_values"]}
    text = {"input_ids": batch["input_ids"]}
    for forward, known, wrong, nearest in (
        (model, batch, "mlm_label", "mlm_labels"),
        (joint, batch, "caption_id", "caption_ids"),
        (joint.get_audio_features, audio, "audio_mask", "audio_attention_mask"),
        (joint.get_text_features, text, "atention_mask", "attention_mask"),
        (backbone, audio, "output_hidden_state", "output_hidden_states"),
        (classifier(), audio, "label", "labels"),
    ):
        with pytest.raises(TypeError, match=f"takes no argument '{wrong}': did you mean '{nearest}'"):
            forward(**known, **{wrong: None})
    with pytest.raises(
        TypeError, match=r"MulapAudioModel\.forward takes no argument 'zzz': it takes attention_mask, "
    ):
        backbone(**audio, zzz=1)


@torch.no_grad()
def test_token_types_of_bert_tokenizers(model):
    batch = inputs()
    zeros = torch.zeros_like(batch["input_ids"])
    assert torch.equal(model(**batch, token_type_ids=zeros).matching_logits, model(**batch).matching_logits)
    with pytest.raises(ValueError, match="token_type_ids has other types than 0"):
        model(**batch, token_type_ids=zeros + 1)
