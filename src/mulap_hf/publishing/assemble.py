"""A folder for the Hub, made from a trained model's: what users load, and nothing of the user's own files."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import soundfile as sf
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, pipeline
from transformers.dynamic_module_utils import get_relative_import_files

from ..audio import load_audio, refuse
from ..configuration_mulap import MulapAudioConfig, MulapConfig
from ..errors import AudioError, PublishError
from ..files import known, printable, write_json
from ..loading import TEXT_KINDS, model_kind
from ..modeling_mulap import MulapForAudioClassification, MulapForPreTraining, MulapModel
from ..modeling_mulap_audio import MulapAudioModel
from ..pipeline_mulap_tasks import custom_pipelines
from ..pretraining.run_folder import SETTINGS
from .card import PICTURES, UNKNOWN_LICENSE, ZERO_SHOT_FILE, Sample, make_card

_PACKAGE = Path(__file__).parents[1]
_MODELS = {
    model.__name__: model for model in (MulapAudioModel, MulapModel, MulapForPreTraining, MulapForAudioClassification)
}
ENDPOINT_FILES = ("handler.py", "requirements.txt")
SAMPLES_FOLDER = "samples"
OUTPUTS_FILE = "sample_outputs.json"
# Lists of skipped items, reports and predictions name the user's files: they stay where they are.
_PUBLISHED = ("*.safetensors", "*.safetensors.index.json", "config.json", "tokenizer*", "vocab.txt", "metrics.json")
_PUBLISHED += ("special_tokens_map.json", "processor_config.json", "preprocessor_config.json", "metrics.jsonl")
_PUBLISHED += (SETTINGS, ZERO_SHOT_FILE, *PICTURES)
_SAMPLE_CLIPS, _SAMPLE_SECONDS = 3, 12.0
_TOP_LABELS = 5
_TEXTS = ("calm piano", "fast techno")


def complete_folder(templates: Path, folder: Path, settings: dict[str, Any], metrics: dict[str, Any]):
    """Adds its card to the folder of a finished run, in place.

    Args:
        templates: of cards.
        folder: the model's; its snippets load it by this path.
        settings: as in `training_settings.json`, facts of the finished run included.
        metrics: as in `metrics.json`.
    """
    make_card(templates, folder, settings, metrics, str(folder)).save(folder / "README.md")


def assemble(
    model_cards: Path,
    source: Path,
    target: Path,
    repo_id: str,
    license: str = UNKNOWN_LICENSE,
    samples: Sequence[Path] = (),
):
    """Copies what is to be published of a model's folder, and adds code, samples, endpoint files and card.

    Args:
        model_cards: folder with `templates/` and `endpoint/`.
        source: a run's folder, or any saved model and its processor; stays as it is.
        target: is made.
        repo_id: what it will be called on the Hub.
        license: of the model, by the Hub's name for it.
        samples: audio files to publish as examples; none: generated ones.

    Raises:
        PublishError: something in the source is missing, broken, or does not fit the rest, or a sample cannot be read.
    """
    check_source(source)
    target.mkdir(parents=True)
    for pattern in _PUBLISHED:
        for file in source.glob(pattern):
            copy = target / file.relative_to(source)
            if file.suffix == ".json":
                _read_json(file)  # before something that uses it breaks at it
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    _write_both_forms(target)
    _add_code(target)
    for name in ENDPOINT_FILES:
        shutil.copyfile(model_cards / "endpoint" / name, target / name)
    files = copy_samples(target, samples) if samples else generate_samples(target)
    try:
        outputs = _hear(target, [name for name, _ in files])
    except Exception as error:  # of every kind: parts that do not fit each other break anywhere
        raise PublishError(
            f"{source} cannot be used: {type(error).__name__}: {error}\nSave its model and its processor again"
        ) from error
    write_json(target / OUTPUTS_FILE, outputs)
    examples = [Sample(name, title, outputs[name].get("labels", ())) for name, title in files]
    settings, metrics = (_read_json(target / name) for name in (SETTINGS, "metrics.json"))
    card = make_card(model_cards / "templates", target, settings, metrics, repo_id, license, examples)
    card.save(target / "README.md")


def check_source(source: Path):
    """Raises:
    PublishError: it is no folder of a finished MuLaP model with its processor, or a file in it is broken.
    """
    if not source.is_dir():
        raise PublishError(f"{source} is no folder: give the output folder of a training script, or a saved model")
    if not (source / "config.json").is_file() or not list(source.glob("*.safetensors")):
        raise PublishError(f"{source} has no config.json and model.safetensors: give a saved model's folder")
    status = _read_json(source / SETTINGS).get("run", {}).get("status", "finished")
    if status != "finished":
        raise PublishError(f"{source} holds an unfinished run: repeat its command until it is done")
    file = source / "config.json"
    model_type = _read_json(file).get("model_type")  # AutoConfig asks whether to run code of types it does not know
    if model_type not in (MulapConfig.model_type, MulapAudioConfig.model_type):
        raise PublishError(f"{file} has model_type {known(model_type)}: this publishes MuLaP models")
    try:
        config = AutoConfig.from_pretrained(source)
    except (ValueError, StrictDataclassError) as error:
        raise PublishError(f"{file}: {error}") from error
    if len(config.architectures or []) != 1 or config.architectures[0] not in _MODELS:
        raise PublishError(
            f"{file} has architectures {known(config.architectures)}, which must be one of {', '.join(_MODELS)}: save "
            "the model again, with save_pretrained"
        )
    if not any((source / name).is_file() for name in ("processor_config.json", "preprocessor_config.json")):
        raise PublishError(
            f"{source} has no processor: save it there, MulapProcessor(...).save_pretrained, or of a model without "
            "text side MulapFeatureExtractor().save_pretrained"
        )
    if model_kind(config) in TEXT_KINDS and not (source / "tokenizer_config.json").is_file():
        raise PublishError(f"{source} has a text side and no tokenizer: save its MulapProcessor there")
    for file in source.glob("*.safetensors"):
        try:
            safe_open(file, "pt")
        except SafetensorError as error:
            raise PublishError(f"{file} is broken ({error}): save the model again") from error


def _write_both_forms(folder: Path):
    """The feature extractor within the processor, where transformers 5 looks, and in a file of its own, for 4."""
    whole, alone = folder / "processor_config.json", folder / "preprocessor_config.json"
    if whole.is_file() and not alone.is_file():
        write_json(alone, _read_json(whole)["feature_extractor"])


def _add_code(folder: Path):
    """Copies the package's code into a folder, flat, and makes config.json name it, as `save_pretrained` does."""
    config = AutoConfig.from_pretrained(folder)
    model_class = _MODELS[config.architectures[0]]
    pipelines = custom_pipelines(config, model_class.__name__)
    entries = [*model_class._auto_map.values(), *(entry["impl"] for entry in pipelines.values())]
    modules = {_PACKAGE / f"{entry.partition('.')[0]}.py" for entry in entries}
    for file in modules | {Path(name) for module in modules for name in get_relative_import_files(module)}:
        shutil.copyfile(file, folder / file.name)
    content = _read_json(folder / "config.json")
    named = {"auto_map": model_class._auto_map, "custom_pipelines": pipelines}
    write_json(folder / "config.json", content | named)


def generate_samples(folder: Path, name: str = SAMPLES_FOLDER, clips: int = _SAMPLE_CLIPS) -> list[tuple[str, str]]:
    """Clips of the synthetic corpus that no model has been trained on: `(path in the folder, title)`.

    Args:
        folder: where to.
        name: of the folder in it that is made.
        clips: how many, of styles of their own up to twelve.
    """
    from ..synthetic import CorpusConfig, make_clip

    config = CorpusConfig(clip_seconds=_SAMPLE_SECONDS)
    found = []
    (folder / name).mkdir()
    for index in range(clips):
        clip = make_clip(config, "test", index)
        path = f"{name}/{clip['style']}.flac"
        sf.write(folder / path, clip["audio"], config.sampling_rate)
        found.append((path, f"generated {clip['style']}"))
    return found


def copy_samples(folder: Path, files: Sequence[Path], name: str = SAMPLES_FOLDER) -> list[tuple[str, str]]:
    """The user's own: `(path in the folder, title)`.

    Args:
        folder: where to.
        files: audio.
        name: of the folder in it that is made.

    Raises:
        PublishError: one cannot be read or has a name that does not print, or two have the same name.
    """
    (folder / name).mkdir()
    found = []
    for file in files:
        try:
            load_audio(file, report=refuse)
        except AudioError as error:
            raise PublishError(f"--{name}: {error}") from error
        if not file.name.isprintable():  # line breaks, and bytes that are not UTF-8, which no card can hold
            raise PublishError(
                f"--{name}: {printable(str(file))} has characters in its name that do not print: rename it"
            )
        path = f"{name}/{file.name}"
        if (folder / path).exists():
            raise PublishError(f"--{name}: two files are called {file.name}: rename one")
        shutil.copyfile(file, folder / path)
        found.append((path, file.stem))
    return found


def _hear(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the model says of each sample, computed by what is published: `labels` with scores, or its `embedding` and,
    of a model with a text side, `scores` of the card's two texts."""

    def say(task: str, **options) -> list[list]:
        tell = pipeline(task, model=str(folder), trust_remote_code=True, device="cpu")
        return [tell(str(folder / name), **options) for name in names]

    kind = model_kind(AutoConfig.from_pretrained(folder))
    if kind == "classifier":
        said = {"labels": say("audio-classification", top_k=_TOP_LABELS)}
    else:
        said = {"embedding": [[round(value, 4) for value in values] for values in say("feature-extraction")]}
    if kind in TEXT_KINDS:
        said["scores"] = say("zero-shot-audio-classification", candidate_labels=list(_TEXTS))
    return {name: {key: of_all[place] for key, of_all in said.items()} for place, name in enumerate(names)}


def _read_json(path: Path) -> dict[str, Any]:
    """Raises:
    PublishError: it holds something else; where there is none, it is taken for empty.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PublishError(f"{path} is no JSON ({error}): save it again") from error
    if not isinstance(content, dict):
        raise PublishError(f"{path} holds no JSON object: save it again")
    return content
