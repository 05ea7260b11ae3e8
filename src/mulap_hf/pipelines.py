"""What a saved folder needs for its pipelines: entries in config.json, and code beside it."""

from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_relative_import_files

from . import pipeline_mulap
from .model_card import model_kind

_TEXTS = {
    "zero-shot-audio-classification": "MulapZeroShotAudioClassificationPipeline",
    "text-music-retrieval": "MulapTextMusicRetrievalPipeline",
}
_CLASSES = {
    "feature-extraction": "MulapFeatureExtractionPipeline",
    "audio-classification": "MulapAudioClassificationPipeline",
    **_TEXTS,
}


def custom_pipelines(config) -> dict[str, dict[str, Any]]:
    """The entries of `config.custom_pipelines`: by task, where `transformers.pipeline` finds its class.

    Args:
        config: of the saved model; what it is follows from its `architectures`.
    """
    kind = model_kind(config)
    tasks = ["feature-extraction"]
    if kind == "classifier":
        tasks.append("audio-classification")
    elif kind in ("fused", "dual"):
        tasks.extend(_TEXTS)
    auto = "AutoModelForAudioClassification" if kind == "classifier" else "AutoModel"
    return {
        task: {
            "impl": f"pipeline_mulap.{_CLASSES[task]}",
            "pt": [auto],
            "type": "multimodal" if task in _TEXTS else "audio",
        }
        for task in tasks
    }


def pipeline_files() -> list[Path]:
    """The code to copy into the folder, all into one place: the pipelines and what they import."""
    source = pipeline_mulap.__file__
    return [Path(source), *map(Path, get_relative_import_files(source))]
