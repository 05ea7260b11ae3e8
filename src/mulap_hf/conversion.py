"""Checkpoints in the published formats of MuLaP and of MusiCNN, as models of this package."""

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedModel

from .configuration_mulap import MulapConfig
from .errors import ModelError
from .modeling_mulap import MulapForAudioClassification, MulapForPreTraining

StateDict = dict[str, torch.Tensor]

# Published names -> ours: regular expressions, applied one after the other.
MUSICNN_NAMES = [
    (r"^spec\.spectrogram\.window$", "audio_model.log_mel.window"),
    (r"^spec\.mel_scale\.fb$", "audio_model.log_mel.mel_filters"),
    (r"^spec_bn\.", "audio_model.musicnn.input_norm."),
    (r"^layers\.0\.", "audio_model.musicnn.timbral.0."),
    (r"^layers\.1\.", "audio_model.musicnn.timbral.1."),
    (r"^layers\.2\.", "audio_model.musicnn.temporal.0."),
    (r"^layers\.3\.", "audio_model.musicnn.temporal.1."),
    (r"^layers\.4\.", "audio_model.musicnn.temporal.2."),
    (r"^layer1\.", "audio_model.musicnn.midend.0."),
    (r"^layer2\.", "audio_model.musicnn.midend.1."),
    (r"^layer3\.", "audio_model.musicnn.midend.2."),
    (r"^(audio_model\..*)\.bn\.", r"\1.norm."),
    (r"^dense1\.", "classifier.0."),
    (r"^bn\.", "classifier.1."),
    (r"^dense2\.", "classifier.4."),
]
BERT_NAMES = [
    (r"^bert\.embeddings\.(word|position)_embeddings\.", r"text_embeddings.\1_embeddings."),
    (r"^bert\.embeddings\.LayerNorm\.", "text_embeddings.norm."),
    (r"^bert\.encoder\.layer\.", "text_layers."),
    (r"\.attention\.self\.query\.", ".attention.q_proj."),
    (r"\.attention\.self\.key\.", ".attention.k_proj."),
    (r"\.attention\.self\.value\.", ".attention.v_proj."),
    (r"\.attention\.output\.dense\.", ".attention.out_proj."),
    (r"\.attention\.output\.LayerNorm\.", ".attention.norm."),
    (r"\.intermediate\.dense\.", ".feed_forward.fc1."),
    (r"\.output\.dense\.", ".feed_forward.fc2."),
    (r"\.output\.LayerNorm\.", ".feed_forward.norm."),
]
# In a connection, 1 is the audio and 2 the text; key1 and value1 answer the text's queries, and the other way round.
MULAP_NAMES = [
    (r"^audio_backbone\.feature_extractor\.", ""),
    (r"^bert\.encoder\.a_layer\.", "audio_layers."),
    (r"^bert\.encoder\.c_layer\.", "connections."),
    (r"\.biattention\.query1\.", ".audio_attention.q_proj."),
    (r"\.biattention\.key2\.", ".audio_attention.k_proj."),
    (r"\.biattention\.value2\.", ".audio_attention.v_proj."),
    (r"\.biattention\.query2\.", ".text_attention.q_proj."),
    (r"\.biattention\.key1\.", ".text_attention.k_proj."),
    (r"\.biattention\.value1\.", ".text_attention.v_proj."),
    (r"\.bioutput\.dense1\.", ".audio_attention.out_proj."),
    (r"\.bioutput\.LayerNorm1\.", ".audio_attention.norm."),
    (r"\.bioutput\.dense2\.", ".text_attention.out_proj."),
    (r"\.bioutput\.LayerNorm2\.", ".text_attention.norm."),
    (r"\.a_intermediate\.dense\.", ".audio_feed_forward.fc1."),
    (r"\.a_output\.dense\.", ".audio_feed_forward.fc2."),
    (r"\.a_output\.LayerNorm\.", ".audio_feed_forward.norm."),
    (r"\.t_intermediate\.dense\.", ".text_feed_forward.fc1."),
    (r"\.t_output\.dense\.", ".text_feed_forward.fc2."),
    (r"\.t_output\.LayerNorm\.", ".text_feed_forward.norm."),
    (r"^bert\.audio_embeddings\.audio_embeddings\.", "audio_embeddings.projection."),
    (r"^bert\.audio_embeddings\.audio_location_embeddings\.", "audio_embeddings.position_embeddings."),
    (r"^bert\.audio_embeddings\.LayerNorm\.", "audio_embeddings.norm."),
    (r"^bert\.t_pooler\.dense\.", "text_pooler."),
    (r"^bert\.a_pooler\.dense\.", "audio_pooler."),
    (r"^cls\.text_predictions\.bias$", "mlm_head.decoder.bias"),
    (r"^cls\.text_predictions\.", "mlm_head."),
    (r"^cls\.audio_predictions\.", "mam_head."),
    (r"^(mlm|mam)_head\.transform\.dense\.", r"\1_head.dense."),
    (r"^(mlm|mam)_head\.transform\.LayerNorm\.", r"\1_head.norm."),
    (r"^cls\.bi_seq_relationship\.", "matching_head."),
    *BERT_NAMES,
    *MUSICNN_NAMES,
]


def first_line(error: Exception) -> str:
    """What an error says, in one line; of a configuration's, what its check says."""
    told = error.__cause__ if isinstance(error, StrictDataclassError) else error
    return str(told).strip().partition("\n")[0] or type(told).__name__


@dataclass
class Converted:
    """A converted model, and the names in the checkpoint that have no place in it."""

    model: PreTrainedModel
    unused: list[str]


def convert_mulap(checkpoint: str | Path, config: str | Path) -> Converted:
    """A published MuLaP checkpoint with its `config.yaml` -> `MulapForPreTraining`.

    Raises:
        ModelError: a file is not of the published format, or the weights do not fit the configuration.
    """
    weights = read_checkpoint(checkpoint)
    try:
        model = MulapForPreTraining(_read_mulap_config(config, weights))
    except StrictDataclassError as error:
        raise ModelError(f"{config}: {first_line(error)}") from error
    except KeyError as error:
        raise ModelError(f"{config}: hidden_act {error} is no activation that transformers knows") from error
    return _load(model, weights, MULAP_NAMES, checkpoint)


def convert_musicnn(checkpoint: str | Path, labels: str | Path) -> Converted:
    """A supervised MusiCNN (Won et al., SMC 2020) with its tags, one per line -> `MulapForAudioClassification`.

    Raises:
        ModelError: a file is not of the published format, or there are more or fewer labels than outputs.
    """
    weights = read_checkpoint(checkpoint)
    tags = [line.strip() for line in _read_text(labels).splitlines() if line.strip()]
    for name in ("dense1.weight", "dense2.weight"):
        if name not in weights:
            raise ModelError(f"{checkpoint}: there is no {name!r} in it: this is no MusiCNN tagger")
    outputs = len(weights["dense2.weight"])
    if len(tags) != outputs:
        raise ModelError(f"{labels}: {len(tags)} labels for a tagger with {outputs} outputs ({checkpoint})")
    config = MulapConfig(
        classifier_head="musicnn",
        classifier_hidden_size=len(weights["dense1.weight"]),
        classifier_dropout=0.5,
        problem_type="multi_label_classification",
        id2label=dict(enumerate(tags)),
        label2id={tag: index for index, tag in enumerate(tags)},
    )
    return _load(MulapForAudioClassification(config), weights, MUSICNN_NAMES, checkpoint)


def read_checkpoint(path: str | Path) -> StateDict:
    """The tensors of a checkpoint, bare or under "state_dict", without the prefix that DataParallel adds.

    Raises:
        ModelError: the file does not exist, is no checkpoint, or holds more than tensors and plain values.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: the file does not exist") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(
            f"{path}: not a PyTorch checkpoint that can be read safely (weights_only=True): {first_line(error)}"
        ) from error
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    if not isinstance(content, dict) or not content or not all(torch.is_tensor(value) for value in content.values()):
        raise ModelError(f'{path}: holds no state dict, neither at its top nor under "state_dict"')
    return {name.removeprefix("module."): value for name, value in content.items()}


def rename(names: list[str], rules: list[tuple[str, str]]) -> dict[str, str]:
    """Published name -> ours."""
    renamed = {}
    for name in names:
        new = name
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        renamed[name] = new
    return renamed


def _load(model: PreTrainedModel, weights: StateDict, rules: list[tuple[str, str]], source: str | Path) -> Converted:
    """Fills every weight of the model, or says which are missing or do not fit."""
    names = rename(list(weights), rules)
    wanted = model.state_dict()
    found = {new: weights[old] for old, new in names.items() if new in wanted}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ModelError(f"{source}: {_listed(missing)} missing: the checkpoint is of another model")
    misfits = [
        f"{name} is {tuple(found[name].shape)} in the file, {tuple(wanted[name].shape)} by the configuration"
        for name in wanted
        if found[name].shape != wanted[name].shape
    ]
    if misfits:
        raise ModelError(f"{source}: {_listed(misfits)}")
    for name in ("audio_model.log_mel.window", "audio_model.log_mel.mel_filters"):
        if not torch.allclose(found[name], wanted[name], atol=1e-4):
            raise ModelError(f"{source}: its {name} is another one: the checkpoint was made with another log-mel")
    model.load_state_dict(found)
    return Converted(model.eval(), sorted(old for old, new in names.items() if new not in wanted))


def _listed(items: list[str], most: int = 5) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def _read_text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read as text in UTF-8: {error}") from error


def _read_mulap_config(path: str | Path, weights: StateDict) -> MulapConfig:
    try:
        content = yaml.safe_load(_read_text(path))
    except yaml.YAMLError as error:
        raise ModelError(f"{path}: not a readable YAML file: {error}") from error

    def get(*keys: str, default: Any = None, expect: Any = None) -> Any:
        value = content
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            if default is None:
                raise ModelError(f"{path}: {'.'.join(keys)} is missing")
            return default
        if expect is not None and value != expect:
            raise ModelError(f"{path}: {'.'.join(keys)} is {value!r}; only {expect!r} can be converted")
        return value

    get("model_config", "audio", "feature_extractor_type", expect="musicnn")
    get("model_config", "audio", "pool_type", default="avg", expect="avg")
    get("model_config", "bert", "with_coattention", default=True, expect=True)
    objective = str(get("model_config", "audio_objective", default="regression_mse"))
    mam_loss = next((loss for loss in ("mse", "huber", "kl") if loss in objective.lower()), None)
    if mam_loss is None:
        raise ModelError(f"{path}: model_config.audio_objective is {objective!r}, not mse, huber or kl")
    positions = weights.get("bert.audio_embeddings.audio_location_embeddings.weight")
    if positions is None:
        raise ModelError("the checkpoint has no bert.audio_embeddings: it is no published MuLaP")

    def stream(name: str) -> dict[str, Any]:
        fields = (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "hidden_act",
            "hidden_dropout_prob",
            "attention_probs_dropout_prob",
        )
        return {field: get("model_config", "bert", name, field) for field in fields}

    bert = ("model_config", "bert")
    text = {
        **stream("text"),
        "vocab_size": get(*bert, "text", "vocab_size"),
        "max_position_embeddings": get(*bert, "text", "max_position_embeddings"),
    }
    audio = {
        **stream("audio"),
        "max_position_embeddings": len(positions),
        "sampling_rate": get("dataset_config", "audio", "sr", default=16000),
    }
    return MulapConfig(
        text_config=text,
        audio_config=audio,
        connection_text_layers=get(*bert, "t_biattention_id"),
        connection_audio_layers=get(*bert, "a_biattention_id"),
        connection_hidden_size=get(*bert, "bi_hidden_size"),
        connection_num_heads=get(*bert, "bi_num_attention_heads"),
        pooled_size=get(*bert, "bi_hidden_size"),
        fusion=get(*bert, "fusion_method", default="mul"),
        mlm_loss_weight=get("model_config", "mlm_loss_weight", default=0.1),
        mam_loss_weight=get("model_config", "audio_loss_weight", default=4.0),
        matching_loss_weight=get("model_config", "atm_loss_weight", default=2.0),
        mam_loss=mam_loss,
        freeze_text=get("model_config", "freeze_text_branch", default=False),
    )
