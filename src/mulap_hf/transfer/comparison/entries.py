"""The table entries of a comparison: what a probe, or zero-shot, predicts for a run and a task, a JSON file each.

An entry is written when it is complete, with the settings that it depends on. An interrupted comparison therefore
resumes at the entry where it stopped, and an entry with other settings is made again.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...data.corpora.synthetic import SYNTHETIC_TASKS
from ...files import write_json
from ..features import HANDCRAFTED, Extractor, FeatureCache, open_extractor
from ..pair_scores import CONTRASTIVE, PairScorer, has_text_side
from ..protocol import learn, predict
from ..tasks import TaskData
from ..zero_shot import zero_shot_report
from .plan import TEST, Plan, Run

_RETRIEVED = 500  # recordings in retrieval, at most
# About two thousand pairs are matched per second. Above this number, only the pairs to re-rank are matched, and a
# model without contrastive scores retrieves among fewer recordings.
_MATCHED_PAIRS = 40_000


def make_entries(plan: Plan, run: Run, tasks: list[tuple[str, TaskData]]):
    """Make the entries of a run that do not exist, or were made with other settings; its model exists."""
    extractor = None
    cache = FeatureCache(plan.args.cache_dir)
    known = {name: data_settings(data) for name, data in tasks}
    few = plan.args.labels_per_class if run.fraction == 1 else []
    for name, data in tasks:
        for labels in [None, *few]:
            path = plan.entry(run, name, labels)
            settings = entry_settings(plan, run, known[name], labels)
            if is_complete(path, settings):
                continue
            extractor = extractor or open_extractor(plan.model(run))
            print(f"{run.name}: {name}, {labels or 'all'} labels per class", flush=True)
            content = _make_entry(plan, run, extractor, data, cache, labels, path)
            about = {"run": asdict(run), "task": name, "kind": data.task.kind, "labels": labels}
            write_json(path, about | content | {"settings": settings})
    _make_zero_shot(plan, run, dict(tasks), known, cache)


def _make_entry(
    plan: Plan,
    run: Run,
    extractor: Extractor,
    data: TaskData,
    cache: FeatureCache,
    labels: int | None,
    path: Path,
) -> dict[str, Any]:
    """Train a probe and store its predictions for the test splits, clean and degraded; reads no test labels."""
    learned = learn(extractor, data, plan.probe_args, cache, run.seed, labels)
    probe = learned.probe
    predictions = {split: predict(probe, extractor, data, cache, split) for split in data.test_splits}
    for degradation in plan.degradations(run, labels):
        predictions[f"{TEST}-{degradation}"] = predict(probe, extractor, data, cache, TEST, degradation)
    for split, predicted in predictions.items():
        predicted.save(path.with_suffix("") / f"{split}.npz")
    return {
        "validation": learned.validation,
        "tracks": {"train": learned.num_train, "validation": learned.num_validation},
        "best_epoch": learned.probe.best_epoch,
        "epochs": len(learned.probe.history),
        "seconds": learned.seconds,
        "skipped": len(learned.skipped),
    }


def _make_zero_shot(
    plan: Plan, run: Run, tasks: dict[str, TaskData], known: dict[str, dict[str, Any]], cache: FeatureCache
):
    """The same for zero-shot classification and retrieval, of the first seed, by models of audio and text."""
    path = plan.entry(run, "zero_shot")
    settings = zero_shot_settings(plan, run, known)
    is_reported = run.fraction == 1 and run.seed == plan.args.seeds[0] and run.strategy != HANDCRAFTED
    if not is_reported or is_complete(path, settings) or not has_text_side(plan.model(run)):
        return
    scorer = PairScorer(plan.model(run))
    if not scorer.kinds:
        return
    described = [tasks[task.name] for task in SYNTHETIC_TASKS if task.name in tasks]
    recordings = _RETRIEVED if CONTRASTIVE in scorer.kinds else math.isqrt(_MATCHED_PAIRS)
    content = zero_shot_report(
        scorer,
        tasks,
        cache,
        described[0] if described else None,
        recordings=recordings,
        most_pairs=_MATCHED_PAIRS,
    )
    write_json(path, {"run": asdict(run), "zero_shot": content, "settings": settings})


def entry_settings(plan: Plan, run: Run, data: dict[str, Any], labels: int | None) -> dict[str, Any]:
    """Everything that an entry depends on besides its run.

    Args:
        plan, run, labels: Of the entry.
        data: `data_settings` of its task.
    """
    settings = {"probe": asdict(plan.probe_args)} | _model_settings(plan, run) | data
    return settings | {"degradations": plan.degradations(run, labels)}


def zero_shot_settings(plan: Plan, run: Run, tasks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Everything that the zero-shot entry of a run depends on; `tasks`: `data_settings` by name."""
    settings = _model_settings(plan, run) | {"retrieved": _RETRIEVED, "matched_pairs": _MATCHED_PAIRS}
    return settings | {"tasks": tasks}


def _model_settings(plan: Plan, run: Run) -> dict[str, Any]:
    model = plan.model(run)
    settings: dict[str, Any] = {"model": model}
    weights = Path(model) / "model.safetensors"
    if plan.folder not in weights.parents and weights.is_file():  # the user may replace the model in this folder
        settings["weights"] = [weights.stat().st_size, weights.stat().st_mtime_ns]
    return settings


def data_settings(data: TaskData) -> dict[str, Any]:
    """Identify the data of a task; reads the ids of all rows."""
    return {"data": str(data.folder), "splits": {split: data.fingerprint(split) for split in data.splits()}}


def is_complete(path: Path, settings: dict[str, Any]) -> bool:
    """Whether an entry exists and was made with these settings."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["settings"] == settings
    except (FileNotFoundError, ValueError, KeyError):
        return False
