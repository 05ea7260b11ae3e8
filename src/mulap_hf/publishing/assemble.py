"""A folder for the Hub, made from the folder of a trained model: what users load, and none of the user's own files."""

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
from ..configuration_mulap_similarity import MulapSimilarityConfig
from ..errors import AudioError, PublishError
from ..files import known, printable, write_json
from ..loading import TEXT_KINDS, model_kind
from ..modeling_mulap import MulapForAudioClassification, MulapForPreTraining, MulapModel
from ..modeling_mulap_audio import MulapAudioModel
from ..modeling_mulap_similarity import MulapForMusicSimilarity
from ..pipeline_mulap_tasks import custom_pipelines, sentence_transformers_files
from ..settings import TRAINING_SETTINGS
from .arguments import UNKNOWN_LICENSE
from .card import PICTURES, RESULTS_FILE, ZERO_SHOT_FILE, Sample, make_card
from .mteb_scores import MTEB_FILE

_PACKAGE = Path(__file__).parents[1]
_ENDPOINT = Path(__file__).with_name("endpoint")
_MODELS = {
    model.__name__: model
    for model in (
        MulapAudioModel,
        MulapModel,
        MulapForPreTraining,
        MulapForAudioClassification,
        MulapForMusicSimilarity,
    )
}
ENDPOINT_FILES = ("handler.py", "requirements.txt")
SAMPLES_FOLDER = "samples"
OUTPUTS_FILE = "sample_outputs.json"
# Lists of skipped items, reports and predictions name the user's files: they are not published.
_PUBLISHED = ("*.safetensors", "*.safetensors.index.json", "config.json", "tokenizer*", "vocab.txt", "metrics.json")
_PUBLISHED += ("special_tokens_map.json", "processor_config.json", "preprocessor_config.json", "metrics.jsonl")
_PUBLISHED += (TRAINING_SETTINGS, RESULTS_FILE, ZERO_SHOT_FILE, MTEB_FILE, *PICTURES)
_SAMPLE_CLIPS, _SAMPLE_SECONDS = 3, 12.0
_TOP_LABELS = 5
_TEXTS = ("calm piano", "fast techno")


def complete_folder(folder: Path, settings: dict[str, Any], metrics: dict[str, Any]):
    """Adds a model card to the folder of a finished run.

    Args:
        folder: folder of the model; the card's snippets load it by this path.
        settings: content of `training_settings.json`, including the facts of the finished run.
        metrics: content of `metrics.json`.
    """
    make_card(folder, settings, metrics, str(folder)).save(folder / "README.md")


def assemble(
    source: Path,
    target: Path,
    repo_id: str,
    license: str = UNKNOWN_LICENSE,
    samples: Sequence[Path] = (),
):
    """Copies the files to publish from a model's folder, and adds code, samples, endpoint files and card.

    Args:
        source: output folder of a run, or any saved model with its processor; is not changed.
        target: folder to create.
        repo_id: name of the repository on the Hub.
        license: the Hub's identifier for the license of the model.
        samples: audio files to publish as examples; default: generated ones.

    Raises:
        PublishError: a file of the source is missing or broken, the files do not fit each other, or a sample cannot be
            read.
    """
    check_source(source)
    target.mkdir(parents=True)
    for pattern in _PUBLISHED:
        for file in source.glob(pattern):
            copy = target / file.relative_to(source)
            if file.suffix == ".json":
                _read_json(file)  # raises the error that names the file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    _write_both_forms(target)
    _add_code(target)
    for name in ENDPOINT_FILES:
        shutil.copyfile(_ENDPOINT / name, target / name)
    files = copy_samples(target, samples) if samples else generate_samples(target)
    try:
        outputs = _sample_outputs(target, [name for name, _ in files])
    except Exception as error:  # any: a model and a processor that do not fit each other fail in many ways
        raise PublishError(
            f"the model in {source} fails on the samples: {type(error).__name__}: {error}\nSave the model and its "
            "processor again"
        ) from error
    write_json(target / OUTPUTS_FILE, outputs)
    examples = [Sample(name, title, outputs[name].get("labels", ())) for name, title in files]
    settings, metrics = (_read_json(target / name) for name in (TRAINING_SETTINGS, "metrics.json"))
    card = make_card(target, settings, metrics, repo_id, license, examples)
    card.save(target / "README.md")


def check_source(source: Path):
    """Raises:
    PublishError: this is not the folder of a finished MuLaP model with its processor, or a file in it is broken.
    """
    if not source.is_dir():
        raise PublishError(f"{source} is not a folder: pass the output folder of a training script, or a saved model")
    if not (source / "config.json").is_file() or not list(source.glob("*.safetensors")):
        raise PublishError(f"{source} lacks config.json or model.safetensors: pass the folder of a saved model")
    status = _read_json(source / TRAINING_SETTINGS).get("run", {}).get("status", "finished")
    if status != "finished":
        raise PublishError(f"{source} contains an unfinished run: repeat its command to finish it")
    file = source / "config.json"
    model_type = _read_json(file).get("model_type")  # AutoConfig asks whether to run code of types it does not know
    if model_type not in {config.model_type for config in (MulapConfig, MulapAudioConfig, MulapSimilarityConfig)}:
        raise PublishError(f"{file} has model_type {known(model_type)}: only MuLaP models can be published")
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
            f"{source} has no processor: save it there with MulapProcessor(...).save_pretrained, or, if the model has "
            "no text side, with MulapFeatureExtractor().save_pretrained"
        )
    if model_kind(config) in TEXT_KINDS and not (source / "tokenizer_config.json").is_file():
        raise PublishError(f"{source} has a text side but no tokenizer: save its MulapProcessor there")
    for file in source.glob("*.safetensors"):
        try:
            safe_open(file, "pt")
        except SafetensorError as error:
            raise PublishError(f"{file} is broken ({error}): save the model again") from error


def _write_both_forms(folder: Path):
    """Writes the feature extractor to its own file, where transformers 4 looks; 5 reads it from the processor's."""
    whole, alone = folder / "processor_config.json", folder / "preprocessor_config.json"
    if whole.is_file() and not alone.is_file():
        write_json(alone, _read_json(whole)["feature_extractor"])


def _add_code(folder: Path):
    """Copies the package's code into a folder, and names it in config.json, as `save_pretrained` does."""
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
    for name, value in sentence_transformers_files(config, model_class.__name__).items():
        write_json(folder / name, value)


def generate_samples(folder: Path, name: str = SAMPLES_FOLDER, clips: int = _SAMPLE_CLIPS) -> list[tuple[str, str]]:
    """Generates clips of the synthetic corpus's test split, and returns `(path in the folder, title)` for each.

    Args:
        folder: folder to write to.
        name: name of the subfolder to create.
        clips: number of clips; up to twelve, they have different styles.
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
    """Copies the user's samples, and returns `(path in the folder, title)` for each.

    Args:
        folder: folder to write to.
        files: audio files.
        name: name of the subfolder to create.

    Raises:
        PublishError: a file cannot be read, its name has unprintable characters, or two files have the same name.
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
                f"--{name}: the name of {printable(str(file))} has characters that cannot be printed: rename it"
            )
        path = f"{name}/{file.name}"
        if (folder / path).exists():
            raise PublishError(f"--{name}: two files are called {file.name}: rename one")
        shutil.copyfile(file, folder / path)
        found.append((path, file.stem))
    return found


def _sample_outputs(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The outputs of the assembled model for each sample: `labels` with scores, or the `embedding` and, if the model
    has a text side, the `scores` of the two texts in the card."""

    def compute(task: str, **options) -> list[list]:
        pipe = pipeline(task, model=str(folder), trust_remote_code=True, device="cpu")
        return [pipe(str(folder / name), **options) for name in names]

    kind = model_kind(AutoConfig.from_pretrained(folder))
    if kind == "classifier":
        outputs = {"labels": compute("audio-classification", top_k=_TOP_LABELS)}
    else:
        outputs = {"embedding": [[round(value, 4) for value in values] for values in compute("feature-extraction")]}
    if kind in TEXT_KINDS:
        outputs["scores"] = compute("zero-shot-audio-classification", candidate_labels=list(_TEXTS))
    return {name: {key: values[index] for key, values in outputs.items()} for index, name in enumerate(names)}


def _read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file; {} if the file does not exist.

    Raises:
        PublishError: the file does not contain a JSON object.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PublishError(f"{path} is not valid JSON ({error}): save it again") from error
    if not isinstance(content, dict):
        raise PublishError(f"{path} contains a {type(content).__name__}, not a JSON object: save it again")
    return content
