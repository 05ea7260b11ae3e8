"""The model card: rendered from the files of the run; what they do not contain is shown as unknown."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from safetensors import safe_open
from transformers import AutoConfig

from ..files import format_interval, known
from ..loading import TEXT_KINDS, model_kind
from ..modeling_mulap_similarity import FACTORS
from ..pipeline_mulap_tasks import has_joint_space
from .arguments import UNKNOWN_LICENSE
from .mteb_scores import MTEB_FILE, read_scores

PIPELINE_TAGS = {"classifier": "audio-classification"}  # the others: feature-extraction
PICTURES = ("training_report/losses.png", "training_report/scores.png", "transfer_report/outputs.png")
PICTURES += ("transfer_report/history.png", "similarity_report/test.png")
ZERO_SHOT_FILE = "zero_shot/zero_shot.json"
RESULTS_FILE = "results.md"  # optional, written by hand: shown above the results of the run
MEANINGS = {
    "loss": "weighted sum of the terms below",
    "mlm_loss": "masked words: cross entropy",
    "words_loss": "words of the caption, predicted from the embedding of the track: cross entropy",
    "chunks_loss": "chunk-level contrastive loss: finding the other chunk of the same clip in the batch",
    "mlm_accuracy": "masked words: fraction predicted correctly",
    "mlm_perplexity": "masked words: exponential of the cross entropy",
    "mam_loss": "masked audio: distance between predicted and true features of the masked chunks",
    "mam_r2": "masked audio: fraction of the variance of the features that is explained (0 = predicting their mean)",
    "matching_loss": "audio-text matching: cross entropy (0.693 = chance)",
    "matching_accuracy": "audio-text matching: fraction of correct answers (0.5 = chance)",
    "matching_auc": "audio-text matching: area under the ROC curve (0.5 = chance)",
    "contrastive_loss": "finding the matching text, or the matching audio, in the batch: cross entropy",
    "retrieval_r1": "fraction of texts that rank their clip first among all clips",
    "retrieval_r5": "fraction of texts that rank their clip among the first five",
    "retrieval_r10": "fraction of texts that rank their clip among the first ten",
    "retrieval_median_rank": "median rank of the clip that a text describes, among all clips",
    "view_accuracy": "fraction of clips whose other view is found in the batch",
    "classification_loss": "labels: cross entropy",
    "roc_auc": "area under the ROC curve, mean over the labels that have both positive and negative clips",
    "pr_auc": "average precision, mean over the same labels",
    "roc_auc_micro": "area under the ROC curve over all pairs of clip and label",
    "pr_auc_micro": "average precision over all pairs of clip and label",
    "accuracy": "fraction of correct labels",
    "macro_f1": "F1, mean over the labels",
    "r2": "fraction of the variance that is explained, mean over the values",
    "pearson": "correlation with the true values, mean over the values",
    **{
        f"{factor}_accuracy": f"triplets that differ in {factor} only: fraction its head decides right (0.5 = chance)"
        for factor in FACTORS
    },
    **{
        f"{head}_head_on_{factor}": f"the {head} head on triplets of {factor}, of which it should say nothing (0.5)"
        for head in FACTORS
        for factor in FACTORS
        if head != factor
    },
    "feature_std": "standard deviation of the embeddings between clips, mean over the features",
    "effective_rank": "number of effective dimensions of the embeddings (1 = collapsed)",
}
# Not in the metadata of the card, like the losses: models are not compared by them.
_NO_SCORES = ("feature_std", "effective_rank", "mlm_perplexity")
# Names that the Hub knows; other metrics keep their name.
_HUB_METRICS = {"pr_auc": "average_precision", "macro_f1": "f1", "r2": "r_squared"}


@dataclass(frozen=True)
class Sample:
    """An audio file in the model's repository.

    path: path in the repository.
    title: title in the card.
    output: the model's `{"label", "score"}` for it, best first; empty if the model is not a classifier.
    """

    path: str
    title: str
    output: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Table:
    """A table of results.

    title: the data that were evaluated.
    rows: name of the measure, value, and meaning.
    """

    title: str
    rows: list[tuple[str, str, str]]


def make_card(
    folder: Path,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
    model_id: str,
    license: str = UNKNOWN_LICENSE,
    samples: Sequence[Sample] = (),
) -> ModelCard:
    """The card of a saved model.

    Args:
        folder: folder of the model.
        settings: content of the run's `training_settings.json`; empty if the model was not trained by this package.
        metrics: content of the run's `metrics.json`.
        model_id: Hub name or folder that the snippets load.
        license: the Hub's identifier for the license of the model.
        samples: audio files in the folder, shown as examples.
    """
    config = AutoConfig.from_pretrained(folder)
    kind = model_kind(config)
    mteb = read_scores(folder / MTEB_FILE)
    tables = [*_tables(settings, metrics), *_zero_shot_tables(folder), *_mteb_tables(mteb)]
    facts = {
        "title": model_id.rstrip("/").rpartition("/")[2],
        "model_id": model_id,
        "kind": kind,
        "license": license,
        "tables": tables,
        "more_results": results.read_text(encoding="utf-8") if (results := folder / RESULTS_FILE).is_file() else "",
        "samples": samples,
        "pictures": [name for name in PICTURES if (folder / name).is_file()],
        **_model_facts(config, folder),
        **_training_facts(settings),
    }
    template = "similarity.md" if kind == "similarity" else "pretrained.md"
    if kind == "classifier":
        template = "regression.md" if config.problem_type == "regression" else "classifier.md"
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["known"] = known
    text = environment.get_template(template).render(facts)
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=PIPELINE_TAGS.get(kind, "feature-extraction"),
        license=license,
        tags=[
            "mulap",
            "music",
            "audio",
            "custom_code",
            "sentence-transformers",
            *(["mteb"] if mteb else []),
            *(["multimodal"] if kind in TEXT_KINDS else []),
        ],
        datasets=[facts["data"]["hub"]] if facts["data"].get("hub") else None,
        base_model=facts["base_model"] if facts["base_on_hub"] else None,
        base_model_relation="finetune" if facts["base_on_hub"] else None,
        metrics=sorted({_HUB_METRICS.get(name, name) for name, _, _ in _scores(metrics)}) or None,
        widget=[_widget(sample) for sample in samples if sample.output] or None,
        model_name=facts["title"],
        eval_results=[*_eval_results(facts, kind, metrics), *mteb] or None,
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text.strip()}\n")


def _widget(sample: Sample) -> dict[str, Any]:
    output = [{"label": one["label"], "score": round(one["score"], 4)} for one in sample.output]
    return {"src": sample.path, "example_title": sample.title, "output": output}


def _model_facts(config, folder: Path) -> dict[str, Any]:
    audio = getattr(config, "audio_config", config)
    text = getattr(config, "text_config", None)
    return {
        "sampling_rate": audio.sampling_rate,
        "chunk_seconds": f"{audio.chunk_seconds:g}",
        "highest_frequency": f"{audio.f_max:g}",
        "longest_minutes": f"{(audio.max_position_embeddings - 1) * audio.chunk_seconds / 60:.0f}",
        "feature_size": audio.feature_size,
        "joint": has_joint_space(config, (config.architectures or [""])[0]),
        "projection_size": getattr(config, "projection_size", 0),
        "longest_text": getattr(text, "max_position_embeddings", None),
        "labels": list(config.id2label.values()),
        "problem_type": config.problem_type,
        "parameters": f"{_count_parameters(folder):,}",
    }


def _count_parameters(folder: Path) -> int:
    total = 0
    for file in folder.glob("model*.safetensors"):
        with safe_open(file, "pt") as weights:
            total += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return total


def _training_facts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Facts about a run of `pretrain.py` or `transfer.py`; None is shown as unknown."""
    run, training, data = settings.get("run", {}), settings.get("training", {}), settings.get("data", {})
    machine = run.get("environment", {})
    tracks = run.get("pairs") or run.get("tracks") or {}
    steps = run.get("steps", run.get("max_steps"))  # steps done, which are fewer than requested after early stopping
    audio_hours = None
    if steps and data.get("clip_seconds") and machine.get("processes"):
        clips = steps * training["batch_size"] * training["gradient_accumulation_steps"]
        audio_hours = f"{clips * machine['processes'] * data['clip_seconds'] / 3600:.1f}"
    base = run.get("model", {})
    return {
        "objective": settings.get("model", {}).get("objective"),
        "task": run.get("task", {}).get("name"),
        "chosen": run.get("chosen"),
        "method": run.get("method"),
        "base_model": base.get("name"),
        "base_on_hub": base.get("on_hub", False),
        "data": run.get("data", {}),
        "num_train": tracks.get("train"),
        "num_validation": tracks.get("validation"),
        "steps": steps,
        "kept": "last step" if training.get("keep_last") else "step with the lowest validation loss",
        "batch_size": training.get("batch_size"),
        "seed": training.get("seed"),
        "seconds": run.get("seconds"),
        "audio_hours": audio_hours,
        "machine": machine,
    }


def _numbers(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, float | None]]]:
    """Every number: its name, its split, and its value with the interval."""
    for name, content in metrics.items():
        if not isinstance(content, Mapping):
            yield name, "validation", {"value": content, "low": None, "high": None}
        elif "metrics" in content:
            yield from ((metric, name, number) for metric, number in content["metrics"].items())


def _scores(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, float | None]]]:
    """The numbers by which models can be compared."""
    for name, split, number in _numbers(metrics):
        if number["value"] is not None and not name.endswith("loss") and name not in _NO_SCORES:
            yield name, split, number


def _tables(settings: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[Table]:
    """One table for each test split, or one for the validation of pre-training."""
    tables: dict[str, Table] = {}
    facts = _training_facts(settings)
    for name, split, number in _numbers(metrics):
        if split == "validation":
            title = f"{known(facts['num_validation'])} held-out items, evaluated at the {facts['kept']}"
        else:
            title = f"Split `{split}`, {metrics[split]['tracks']} tracks"
        table = tables.setdefault(split, Table(title, []))
        table.rows.append((name, format_interval(number), MEANINGS.get(name, "")))
    return list(tables.values())


def _zero_shot_tables(folder: Path) -> list[Table]:
    """The main metric of every method, if `training/zero_shot.py --output_dir FOLDER/zero_shot` was run."""
    file = folder / ZERO_SHOT_FILE
    if not file.is_file():
        return []
    report = json.loads(file.read_text(encoding="utf-8"))
    tables = []
    for task, splits in report["tasks"].items():
        for split, methods in splits.items():
            rows = []
            for method, numbers in methods.items():
                metric, number = next(iter(numbers.items()))
                rows.append((f"{metric}, {method.replace('_', ', ')}", format_interval(number), MEANINGS[metric]))
            tables.append(Table(f"Zero-shot: {task}, {split}", rows))
    return tables


def _mteb_tables(scores: Sequence[EvalResult]) -> list[Table]:
    """The scores of `training/mteb_eval.py`, if it was run."""
    rows = [
        (
            f"{score.metric_name}, {score.dataset_name}",
            f"{score.metric_value:.3f}",
            f"{score.task_name}, {score.dataset_split}",
        )
        for score in scores
    ]
    return [Table("Main scores by [MTEB](https://github.com/embeddings-benchmark/mteb)", rows)] if rows else []


def _eval_results(facts: Mapping[str, Any], kind: str, metrics: Mapping[str, Any]) -> list[EvalResult]:
    data = facts["data"]
    task = PIPELINE_TAGS.get(kind, "feature-extraction")
    name = f"{data.get('title') or 'unnamed data'}{', ' + facts['task'] if facts['task'] else ''}"
    return [
        EvalResult(
            task_type=task,
            dataset_type=data.get("hub") or data.get("corpus") or "unnamed",
            dataset_name=name,
            dataset_split=split,
            metric_type=_HUB_METRICS.get(metric, metric),
            metric_name=metric,
            metric_value=number["value"],
            metric_args=None if number["low"] is None else {"interval_95": [number["low"], number["high"]]},
        )
        for metric, split, number in _scores(metrics)
    ]
