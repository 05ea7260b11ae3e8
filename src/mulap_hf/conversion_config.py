"""The `config.yaml` of a published MuLaP checkpoint as a `MulapConfig`."""

from pathlib import Path
from typing import Any

import yaml

from .configuration_mulap import MulapConfig
from .errors import ModelError

_STREAM_FIELDS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
)


def read_mulap_config(path: str | Path, audio_positions: int) -> MulapConfig:
    """The configuration of a published checkpoint.

    Args:
        path: the file; interpolations in what is not needed here are left alone.
        audio_positions: positions of the checkpoint's audio stream, which the file does not say.

    Raises:
        ModelError: the file cannot be read, lacks a setting, or has one that cannot be converted.
    """
    settings = _Settings(path)
    settings.check("model_config.audio.feature_extractor_type", "musicnn", required=True)
    settings.check("model_config.audio.pool_type", "avg")
    settings.check("model_config.bert.with_coattention", True)
    objective = str(settings.get("model_config.audio_objective", "regression_mse"))
    mam_loss = next((loss for loss in ("mse", "huber", "kl") if loss in objective.lower()), None)
    if mam_loss is None:
        raise ModelError(f"{path}: model_config.audio_objective is {objective!r}, not mse, huber or kl")
    text, audio = (
        {field: settings.get(f"model_config.bert.{stream}.{field}") for field in _STREAM_FIELDS}
        for stream in ("text", "audio")
    )
    for field in ("vocab_size", "max_position_embeddings"):
        text[field] = settings.get(f"model_config.bert.text.{field}")
    audio["max_position_embeddings"] = audio_positions
    audio["sampling_rate"] = settings.get("dataset_config.audio.sr", 16000)
    return MulapConfig(
        text_config=text,
        audio_config=audio,
        connection_text_layers=settings.get("model_config.bert.t_biattention_id"),
        connection_audio_layers=settings.get("model_config.bert.a_biattention_id"),
        connection_hidden_size=settings.get("model_config.bert.bi_hidden_size"),
        connection_num_heads=settings.get("model_config.bert.bi_num_attention_heads"),
        pooled_size=settings.get("model_config.bert.bi_hidden_size"),
        fusion=settings.get("model_config.bert.fusion_method", "mul"),
        mlm_loss_weight=settings.get("model_config.mlm_loss_weight", 0.1),
        mam_loss_weight=settings.get("model_config.audio_loss_weight", 4.0),
        matching_loss_weight=settings.get("model_config.atm_loss_weight", 2.0),
        mam_loss=mam_loss,
        freeze_text=settings.get("model_config.freeze_text_branch", False),
    )


def read_text(path: str | Path) -> str:
    """The content of a text file in UTF-8.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read as text in UTF-8: {error}") from error


class _Settings:
    """The settings of a YAML file by dotted name."""

    def __init__(self, path: str | Path):
        self.path = path
        try:
            self.content = yaml.safe_load(read_text(path))
        except yaml.YAMLError as error:
            raise ModelError(f"{path}: not a readable YAML file: {error}") from error

    def get(self, name: str, default: Any = None) -> Any:
        """A setting; without a default it has to be there."""
        value = self.content
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is None and default is None:
            raise ModelError(f"{self.path}: {name} is missing")
        return default if value is None else value

    def check(self, name: str, expected: Any, required: bool = False):
        """Refuses another value than the one that can be converted."""
        value = self.get(name, None if required else expected)
        if value != expected:
            raise ModelError(f"{self.path}: {name} is {value!r}; only {expected!r} can be converted")
