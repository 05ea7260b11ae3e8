"""Parts of a new model from pre-trained ones: the text stream from BERT, the backbone from any MuLaP folder."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from .configuration_mulap import MulapAudioConfig, MulapConfig, MulapTextConfig
from .configuration_mulap_similarity import MulapSimilarityConfig
from .conversion import BERT_NAMES, first_line, rename
from .errors import ModelError
from .modeling_mulap import MulapJointModel, MulapModel
from .modeling_mulap_audio import MulapAudioModel, MulapPreTrainedModel
from .modeling_mulap_similarity import MulapForMusicSimilarity
from .pipeline_mulap_tasks import CONTRASTIVE, trained_scores

# What a backbone computes: the fields of the audio stream without those of a Transformer and those of its execution.
_BACKBONE_FIELDS = [
    field
    for field in MulapAudioConfig.__annotations__
    if field not in MulapTextConfig.__annotations__ and field not in ("chunk_batch_size", "fast_convolutions")
]


@contextmanager
def loading_errors(model: str | Path) -> Iterator[None]:
    """Convert the errors of transformers for a folder or Hub name that cannot be loaded into a ModelError."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        missing = isinstance(error, OSError) and not Path(model).exists()
        problem = "found neither as a folder nor on the Hub" if missing else "cannot be loaded"
        raise ModelError(f"{model}: {problem}: {first_line(error)}") from error


def text_config_from_bert(bert: str | Path, num_hidden_layers: int = 6) -> dict[str, Any]:
    """Return the fields of a `MulapTextConfig` for the first layers of a BERT model.

    Args:
        bert: Hub name or folder of a BERT model, for example "bert-base-uncased".
        num_hidden_layers: Number of layers to use.

    Raises:
        ModelError: The model cannot be loaded, is not a BERT model, or has fewer layers.
    """
    with loading_errors(bert):
        config = AutoConfig.from_pretrained(bert)
    if config.model_type != "bert":
        raise ModelError(f"{bert} is of model type {config.model_type!r}; the text stream takes BERT weights")
    if config.num_hidden_layers < num_hidden_layers:
        raise ModelError(f"{bert} has {config.num_hidden_layers} layers, {num_hidden_layers} were asked for")
    fields = (
        "vocab_size",
        "hidden_size",
        "num_attention_heads",
        "intermediate_size",
        "hidden_act",
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "max_position_embeddings",
        "layer_norm_eps",
        "pad_token_id",
    )
    return {field: getattr(config, field) for field in fields} | {"num_hidden_layers": num_hidden_layers}


@torch.no_grad()
def load_bert(model: MulapJointModel, bert: str | Path):
    """Load the first layers of a BERT model into the text stream, in place.

    The text stream then computes the same hidden states as BERT. MuLaP has no token-type embeddings: the embedding of
    type 0 is added to the position embeddings.

    Args:
        model: A model whose `text_config` was made by `text_config_from_bert`.
        bert: Hub name or folder of a BERT model.

    Raises:
        ModelError: The model cannot be loaded, or a size does not fit.
    """
    with loading_errors(bert):
        source = AutoModel.from_pretrained(bert, dtype=torch.float32)
    if source.config.model_type != "bert":
        raise ModelError(f"{bert} is of model type {source.config.model_type!r}, not BERT")
    weights = {f"bert.{name}": value for name, value in source.state_dict().items()}
    weights["bert.embeddings.position_embeddings.weight"] += weights["bert.embeddings.token_type_embeddings.weight"][0]
    names = {new: old for old, new in rename(list(weights), BERT_NAMES).items()}
    for name, parameter in model.state_dict().items():
        if not name.startswith(("text_embeddings.", "text_layers.")):
            continue
        value = weights.get(names.get(name))
        if value is not None and name == "text_embeddings.position_embeddings.weight":
            value = value[: len(parameter)]  # the text stream may have fewer positions
        if value is None or value.shape != parameter.shape:
            found = "is missing" if value is None else f"is {tuple(value.shape)}"
            raise ModelError(
                f"{bert}: {name} {found}, the model wants {tuple(parameter.shape)}: make its text_config with "
                "text_config_from_bert"
            )
        parameter.copy_(value)


TEXT_KINDS = ("fused", "dual")  # models with a text stream


def model_kind(config: PreTrainedConfig) -> str:
    """Return the kind of a saved model: "fused", "dual", "classifier", "similarity" or "backbone"."""
    if config.model_type == MulapSimilarityConfig.model_type:
        return "similarity"
    if config.model_type != MulapConfig.model_type:
        return "backbone"
    if config.architectures == ["MulapForAudioClassification"]:
        return "classifier"
    return "fused" if config.connection_text_layers else "dual"


def saved_kind(model: str | Path) -> str:
    """Return the `model_kind` of a folder or Hub name; "backbone" for models other than MuLaP.

    Raises:
        ModelError: The model cannot be loaded, or transformers does not know it.
    """
    with loading_errors(model):
        return model_kind(AutoConfig.from_pretrained(model))


def open_backbone(model: str | Path, pitch: bool = True) -> MulapAudioModel:
    """Load the backbone of any saved MuLaP model.

    Args:
        model: Folder or Hub name.
        pitch: With the features of its pitch branch, if it has one.

    Raises:
        ModelError: The model cannot be loaded, or is not a MuLaP model.
    """
    with loading_errors(model):
        changes = {} if pitch else {"pitch_channels": 0}
        backbone, info = MulapAudioModel.from_pretrained(model, output_loading_info=True, **changes)
    if info["missing_keys"]:  # transformers would initialize them at random
        raise ModelError(
            f"{model} is not a MuLaP model: the weight {sorted(info['missing_keys'])[0]} is missing; pass a folder "
            "made by training/pretrain.py"
        )
    return backbone


def open_similarity(model: str | Path) -> MulapForMusicSimilarity:
    """Load a model of music similarity by factor.

    Args:
        model: Folder or Hub name.

    Raises:
        ModelError: The model cannot be loaded, or is another one.
    """
    if saved_kind(model) != "similarity":
        raise ModelError(f"{model} has no heads for melody, rhythm and timbre: train them with training/similarity.py")
    with loading_errors(model):
        return MulapForMusicSimilarity.from_pretrained(model)


def open_text_model(model: str | Path) -> MulapModel:
    """Load a MuLaP model with both streams.

    Args:
        model: Folder or Hub name.

    Raises:
        ModelError: The model cannot be loaded, has no text stream, or is incomplete.
    """
    if saved_kind(model) not in TEXT_KINDS:
        raise ModelError(
            f"{model} has no text side, because it is a backbone or a classifier; pass a model of "
            "training/pretrain.py with captions"
        )
    with loading_errors(model):
        found, info = MulapModel.from_pretrained(model, output_loading_info=True)
    if info["missing_keys"]:  # transformers would initialize them at random
        raise ModelError(
            f"{model} is incomplete: the weight {sorted(info['missing_keys'])[0]} is missing; save the model again"
        )
    return found


def open_joint_model(model: str | Path) -> MulapModel:
    """Load a MuLaP model with a trained joint embedding space of audio and text.

    Raises:
        ModelError: The joint space was not trained, or see `open_text_model`.
    """
    found = open_text_model(model)
    if CONTRASTIVE not in trained_scores(found.config):
        raise ModelError(
            f"{model} has no joint embedding space of audio and text (config.projection_size, "
            "config.contrastive_loss_weight): leave out --space joint, or pass a model that was trained with one"
        )
    return found


def backbone_fingerprint(backbone: MulapAudioModel) -> str:
    """Return a hash of the weights and the log-mel settings of a backbone."""
    return _fingerprint(backbone, backbone.config)


def model_fingerprint(model: MulapModel | MulapForMusicSimilarity) -> str:
    """Return a hash of all weights of a model with more than a backbone, and of its log-mel settings."""
    return _fingerprint(model, model.config.audio_config)


def _fingerprint(model: MulapPreTrainedModel, config: MulapAudioConfig) -> str:
    fields = {field: getattr(config, field) for field in _BACKBONE_FIELDS}
    digest = sha256(json.dumps(fields, default=list, sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def load_backbone(model: MulapPreTrainedModel, folder: str | Path):
    """Load the audio backbone of any saved MuLaP model, such as a supervised tagger, in place.

    Args:
        model: A model with an `audio_model`.
        folder: Folder or Hub name of a MuLaP model.

    Raises:
        ModelError: The model cannot be loaded, is not a MuLaP model, or has other sizes or log-mel settings.
    """
    source = open_backbone(folder)
    wanted, given = model.audio_model.config, source.config

    def value(config, field):
        content = getattr(config, field)
        return list(content) if isinstance(content, (list, tuple)) else content

    for field in _BACKBONE_FIELDS:
        if value(wanted, field) != value(given, field):
            raise ModelError(
                f"{folder}: its backbone has {field}={value(given, field)}, the model {value(wanted, field)}"
            )
    model.audio_model.load_state_dict(source.state_dict())
