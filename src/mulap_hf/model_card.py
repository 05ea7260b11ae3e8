"""README.md of a saved model, from the run's own files."""

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from transformers import AutoConfig

from .configuration_mulap import MulapConfig
from .files import format_interval

MEANINGS = {
    "loss": "weighted sum of the losses below; the best step has the lowest",
    "mlm_loss": "masked words: cross entropy",
    "mlm_accuracy": "masked words found",
    "mlm_perplexity": "masked words: exponential of the cross entropy",
    "mam_loss": "masked audio: distance to the features of the masked chunks",
    "mam_r2": "masked audio: share of the features' variance that is predicted (0 = their mean)",
    "matching_loss": "audio-text matching: cross entropy (0.693 = chance)",
    "matching_accuracy": "does the text describe the clip, right answers (0.5 = chance)",
    "matching_auc": "does the text describe the clip, area under the ROC curve (0.5 = chance)",
    "contrastive_loss": "cross entropy of finding the partner in the batch",
    "retrieval_r1": "clips found by their text among all: first",
    "retrieval_r5": "clips found by their text among all: in the first five",
    "retrieval_r10": "clips found by their text among all: in the first ten",
    "retrieval_median_rank": "median rank of the clip among all, by its text",
    "view_accuracy": "the other view of a clip found in the batch",
    "classification_loss": "cross entropy of the labels",
    "roc_auc": "area under the ROC curve, mean over the labels that some clips have and some do not",
    "pr_auc": "average precision, mean over the same labels",
    "roc_auc_micro": "area under the ROC curve of all pairs of clip and label",
    "pr_auc_micro": "average precision of all pairs of clip and label",
    "accuracy": "right labels",
    "macro_f1": "F1, mean over the labels",
    "r2": "share of the variance that is predicted, mean over the values",
    "feature_std": "standard deviation of the embeddings between clips, mean over the features",
    "effective_rank": "effective dimensions of the embeddings (1 = collapsed)",
}


def write_pretraining_card(template: Path, folder: Path, settings: dict[str, Any], metrics: dict[str, float]):
    """Writes the card of a pre-trained model into its folder.

    Args:
        template: Jinja template of the card.
        folder: the saved model; the card is named after it.
        settings: as in the run's `training_settings.json`.
        metrics: measured on held-out pairs.
    """
    config = AutoConfig.from_pretrained(folder)
    audio = config.audio_config if isinstance(config, MulapConfig) else config
    kind = model_kind(config)
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="audio-classification" if kind == "classifier" else "feature-extraction",
        tags=["mulap", "music", "audio", "custom_code"]
        + ([] if kind in ("backbone", "classifier") else ["multimodal"]),
    )
    card = ModelCard.from_template(
        data,
        template_path=str(template),
        name=folder.name,
        kind=kind,
        projection_size=getattr(config, "projection_size", 0) if kind in ("fused", "dual") else 0,
        sampling_rate=audio.sampling_rate,
        chunk_seconds=f"{audio.chunk_seconds:g}",
        feature_size=audio.feature_size,
        objective=settings["model"]["objective"],
        num_train=settings["pairs"]["train"] or "An unknown number of",
        num_validation=settings["pairs"]["validation"] or "an unknown number of",
        corpus="" if settings["data"]["train_data"] else " of the package's embedded corpus (generated music)",
        max_steps=settings["max_steps"],
        batch_size=settings["training"]["batch_size"],
        seconds=settings["seconds"],
        metrics=[(name, value, MEANINGS.get(name, "")) for name, value in metrics.items()],
    )
    card.save(folder / "README.md")


def write_transfer_card(template: Path, folder: Path, facts: dict[str, Any], tests: dict[str, dict[str, Any]]):
    """Writes the card of a classifier or regressor into its folder.

    Args:
        template: Jinja template of the card.
        folder: the saved model; the card is named after it.
        facts: as in the run's `training_settings.json` under `run`.
        tests: what `transfer.protocol.judge` gives, by split.
    """
    config = AutoConfig.from_pretrained(folder)
    task, data = facts["task"], facts["data"]
    card = ModelCard.from_template(
        ModelCardData(
            library_name="transformers",
            pipeline_tag="audio-classification",
            tags=["mulap", "music", "audio", "custom_code"],
        ),
        template_path=str(template),
        name=folder.name,
        kind=task["kind"],
        task=task["name"],
        corpus=data.get("title", ""),
        sampling_rate=config.audio_config.sampling_rate,
        labels=list(config.id2label.values()),
        method=facts["method"],
        num_train=facts["tracks"]["train"],
        num_validation=facts["tracks"]["validation"],
        chosen=facts["chosen"],
        chosen_by=task["chosen_by"],
        model=facts["model"]["name"],
        tests=tests,
        metrics=list(next(iter(tests.values()))["metrics"]),
        format_interval=format_interval,
    )
    card.save(folder / "README.md")


def model_kind(config) -> str:
    """What the saved model is: "fused", "dual", "classifier" or "backbone"."""
    if not isinstance(config, MulapConfig):
        return "backbone"
    if config.architectures == ["MulapForAudioClassification"]:
        return "classifier"
    return "fused" if config.connection_text_layers else "dual"
