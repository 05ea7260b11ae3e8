"""What a saved folder needs for its pipelines: entries in config.json, and code beside it."""

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import AutoConfig
from transformers.dynamic_module_utils import get_relative_import_files

from .files import write_json
from .loading import TEXT_KINDS, model_kind

_PACKAGE = Path(__file__).parent
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")

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
    elif kind in TEXT_KINDS:
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


def add_code(folder: Path):
    """Gives a saved folder the package's code, flat, and the entries of config.json by which transformers finds it.

    Args:
        folder: as `save_pretrained` leaves it, which adds the code of the model and the processor alone.
    """
    config = AutoConfig.from_pretrained(folder)
    pipelines = custom_pipelines(config)
    entries = [*config.auto_map.values(), *(entry["impl"] for entry in pipelines.values())]
    for file in filter(Path.is_file, map(folder.joinpath, _PROCESSOR_FILES)):
        entries += json.loads(file.read_text(encoding="utf-8")).get("auto_map", {}).values()
    modules = {_PACKAGE / f"{entry.partition('.')[0]}.py" for entry in entries}
    for file in modules | {Path(name) for module in modules for name in get_relative_import_files(module)}:
        shutil.copyfile(file, folder / file.name)
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", content | {"auto_map": config.auto_map, "custom_pipelines": pipelines})
