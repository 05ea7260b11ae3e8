"""README.md of a saved model, from the run's own files."""

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from .configuration_mulap import MulapConfig


def write_pretraining_card(template: Path, folder: Path, settings: dict[str, Any], metrics: dict[str, float]):
    """Writes the card of a pre-trained model into its folder.

    Args:
        template: Jinja template of the card.
        folder: the saved model; the card is named after it.
        settings: as in the run's `training_settings.json`.
        metrics: measured on held-out pairs.
    """
    audio = MulapConfig.from_pretrained(folder).audio_config
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="feature-extraction",
        tags=["mulap", "music", "audio", "multimodal", "custom_code"],
    )
    card = ModelCard.from_template(
        data,
        template_path=str(template),
        name=folder.name,
        sampling_rate=audio.sampling_rate,
        chunk_seconds=f"{audio.chunk_seconds:g}",
        feature_size=audio.feature_size,
        num_train=settings["pairs"]["train"] or "An unknown number of",
        num_validation=settings["pairs"]["validation"] or "an unknown number of",
        corpus="" if settings["data"]["train_data"] else " of the package's embedded corpus (generated music)",
        max_steps=settings["training"]["max_steps"],
        batch_size=settings["training"]["batch_size"],
        seconds=settings["seconds"],
        metrics=metrics,
    )
    card.save(folder / "README.md")
