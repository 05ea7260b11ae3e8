"""Results of a comparison from its table entries: means over seeds, intervals, and paired differences."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from tqdm import tqdm

from ...metrics.scores import MAIN_METRIC, Resampled, difference_of, interval_of, resample, without_nan
from ..features import HANDCRAFTED
from ..protocol import Predictions
from ..tasks import Targets, TaskData
from .entries import data_settings, entry_settings, is_complete, zero_shot_settings
from .plan import TEST, Plan, Run, strategy_name

FEWER_RESAMPLES = 300  # of curves and of the losses under degradation, of which there are many
_PRETRAIN_METRICS = ("effective_rank", "matching_auc")  # of the validation clips

Number = dict[str, float | None]
"""A `value`, its 95 % interval `low` to `high`, and the number of `seeds` behind it."""


def collect_results(plan: Plan, tasks: list[tuple[str, TaskData]]) -> dict[str, Any]:
    """Results of all complete entries, as JSON values.

    Returns:
        `settings`; `strategies`; `given`: those that were trained elsewhere; `references`; `tasks`: by name, its
        `kind`, main `metric`, number of `outputs` and test `splits`; `scores`: by task, split and strategy, each
        metric as a Number, the number of `tracks`, the main metric `by_seed`, and, by reference, the `differences` to
        that strategy, over the seeds that both have, on the same tracks; `labels`, `shares`: the main metric on the
        split test, by task, strategy and number of labels per class, or fraction of the corpus; `drops`: by task,
        strategy and degradation, the loss in the main metric, of the first seed, on the same tracks; `zero_shot`: by
        strategy, of the first seed; `compute`: by run; `missing`: entries that do not exist.
    """
    known = {name: data_settings(data) for name, data in tasks}
    results: dict[str, Any] = {
        "settings": {"comparison": asdict(plan.args), "probe": asdict(plan.probe_args)},
        "strategies": [strategy_name(strategy) for strategy in plan.args.strategies],
        "given": [
            strategy_name(one) for one in plan.args.strategies if one not in plan.strategies and one != HANDCRAFTED
        ],
        "references": plan.args.reference,
        "tasks": {},
        **{part: {} for part in ("scores", "labels", "shares", "drops")},
        "zero_shot": _zero_shot(plan, known),
        "compute": {run.name: _compute(plan, run) for run in plan.runs()},
        "missing": [
            f"{run.name}, {name}"
            for run in plan.runs()
            for name in known
            if not is_complete(plan.entry(run, name), entry_settings(plan, run, known[name], None))
        ],
    }
    for name, data in (bar := tqdm(tasks, unit="task", desc="intervals")):
        bar.set_postfix(task=name)
        collector = _Collector(plan, name, data, known[name])
        results["tasks"][name] = {
            "kind": data.task.kind,
            "metric": MAIN_METRIC[data.task.kind],
            "outputs": data.task.num_outputs,
            "splits": data.test_splits,
        }
        results["scores"][name] = {split: collector.scores(split) for split in data.test_splits}
        results["labels"][name] = collector.labels()
        results["shares"][name] = collector.fractions()
        results["drops"][name] = collector.drops()
    return results


class _Collector:
    """Results of one task.

    Args:
        plan: Of the comparison.
        name: Of the task in tables and files.
        data: Of the task.
        settings: `data_settings` of the data.
    """

    def __init__(self, plan: Plan, name: str, data: TaskData, settings: dict[str, Any]):
        self.plan, self.name, self.settings, self.kind = plan, name, settings, data.task.kind
        self.metric = MAIN_METRIC[self.kind]
        self.targets = {split: data.targets(split) for split in data.test_splits}
        self.strategies = {strategy_name(strategy): strategy for strategy in plan.args.strategies}

    def scores(self, split: str) -> dict[str, dict[str, Any]]:
        found = {
            name: predictions
            for name, strategy in self.strategies.items()
            if (predictions := self._predictions(strategy, split))
        }
        ids = _common(self.targets[split], (one for by_seed in found.values() for one in by_seed.values()))
        if not ids:
            return {}
        runs = {name: self._resample(split, by_seed, ids, self.plan.args.resamples) for name, by_seed in found.items()}
        rows = {}
        for name, by_seed in runs.items():
            rows[name] = _numbers(interval_of(list(by_seed.values())), len(by_seed))
            rows[name]["tracks"] = len(ids)
            rows[name]["by_seed"] = without_nan({str(seed): run.values[self.metric] for seed, run in by_seed.items()})
            others = [reference for reference in self.plan.args.reference if reference in runs and reference != name]
            differences = {reference: self._difference(by_seed, runs[reference]) for reference in others}
            rows[name]["differences"] = {reference: number for reference, number in differences.items() if number}
        return rows

    def _resample(
        self, split: str, by_seed: dict[int, Predictions], ids: list[str], resamples: int = FEWER_RESAMPLES
    ) -> dict[int, Resampled]:
        truth = self.targets[split].of(ids)
        return {
            seed: resample(self.kind, truth, _scores_of(predictions, ids), resamples)
            for seed, predictions in by_seed.items()
        }

    def _difference(self, runs_a: dict[int, Resampled], runs_b: dict[int, Resampled]) -> Number | None:
        """Difference in the main metric over the seeds that both have; None if they have none in common."""
        seeds = [seed for seed in runs_a if seed in runs_b]
        if not seeds:
            return None
        found = difference_of(*([runs[seed] for seed in seeds] for runs in (runs_a, runs_b)))
        return _numbers(found, len(seeds))[self.metric]

    def labels(self) -> dict[str, dict[str, Number]]:
        curves = {}
        for name, strategy in self.strategies.items():
            few_and_all = [*self.plan.args.labels_per_class, None]
            curve = {str(labels or "all"): self._main(strategy, 1.0, labels) for labels in few_and_all}
            curves[name] = {labels: value for labels, value in curve.items() if value}
        return curves

    def fractions(self) -> dict[str, dict[str, Number]]:
        fractions = sorted({*self.plan.args.shares, 1.0})
        curves = {
            name: {f"{fraction:g}": self._main(strategy, fraction) for fraction in fractions}
            for name, strategy in self.strategies.items()
            if strategy in self.plan.args.share_strategies
        }
        return {name: {place: value for place, value in curve.items() if value} for name, curve in curves.items()}

    def drops(self) -> dict[str, dict[str, Number]]:
        degradations = [name for name in self.plan.args.conditions if name != "none"]
        if TEST not in self.targets:
            return {}
        return {
            name: {
                degradation: drop
                for degradation in degradations
                if (drop := self._drop(strategy, degradation)) is not None
            }
            for name, strategy in self.strategies.items()
        }

    def _drop(self, strategy: str, degradation: str) -> Number | None:
        first = self.plan.args.seeds[:1]
        clean, degraded = (
            self._predictions(strategy, split, seeds=first) for split in (TEST, f"{TEST}-{degradation}")
        )
        if not clean or not degraded:
            return None
        ids = _common(self.targets[TEST], [*clean.values(), *degraded.values()])
        return self._difference(*(self._resample(TEST, by_seed, ids) for by_seed in (clean, degraded)))

    def _main(self, strategy: str, fraction: float, labels: int | None = None) -> Number | None:
        """The main metric on the split test."""
        predictions = self._predictions(strategy, TEST, fraction, labels)
        if not predictions:
            return None
        runs = self._resample(TEST, predictions, _common(self.targets[TEST], predictions.values()))
        return _numbers(interval_of(list(runs.values())), len(runs))[self.metric]

    def _predictions(
        self,
        strategy: str,
        split: str,
        fraction: float = 1.0,
        labels: int | None = None,
        seeds: Sequence[int] | None = None,
    ) -> dict[int, Predictions]:
        """Predictions by seed, of complete entries with the settings of the plan."""
        found = {}
        for seed in self.plan.args.seeds if seeds is None else seeds:
            run = Run(strategy, fraction, seed)
            path = self.plan.entry(run, self.name, labels)
            file = path.with_suffix("") / f"{split}.npz"
            if file.is_file() and is_complete(path, entry_settings(self.plan, run, self.settings, labels)):
                found[seed] = Predictions.load(file)
        return found


def _common(targets: Targets, predictions: Iterable[Predictions]) -> list[str]:
    """Ids of the tracks that have a label and are among all predictions."""
    predicted = [set(one.ids) for one in predictions]
    return [name for name in targets.by_id if all(name in ids for ids in predicted)] if predicted else []


def _scores_of(predictions: Predictions, ids: list[str]) -> np.ndarray:
    position = {name: row for row, name in enumerate(predictions.ids)}
    return predictions.scores[[position[name] for name in ids]]


def _numbers(found: dict[str, tuple[float, float, float]], seeds: int) -> dict[str, Number]:
    return {
        name: without_nan({"value": value, "low": low, "high": high, "seeds": seeds})
        for name, (value, low, high) in found.items()
    }


def _zero_shot(plan: Plan, tasks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for strategy in plan.args.strategies:
        run = Run(strategy, 1.0, plan.args.seeds[0])
        path = plan.entry(run, "zero_shot")
        if is_complete(path, zero_shot_settings(plan, run, tasks)):
            found[strategy_name(strategy)] = json.loads(path.read_text(encoding="utf-8"))["zero_shot"]
    return found


def _compute(plan: Plan, run: Run) -> dict[str, Any]:
    """Time, data and metrics of the training of a run; None: unknown, as the pre-training of a given folder is."""
    entries = [json.loads(path.read_text(encoding="utf-8")) for path in plan.entry(run, "x").parent.glob("*.json")]
    took = {"probe_seconds": round(sum(entry.get("seconds", 0) for entry in entries), 1), "parameters": None}
    took |= {"pretrain_seconds": None, "pretrain_steps": None, "audio_hours": None}
    took |= dict.fromkeys(_PRETRAIN_METRICS)
    folder = Path(plan.model(run))
    weights = folder / "model.safetensors"
    if weights.is_file():
        with safe_open(weights, "pt") as file:
            took["parameters"] = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    settings = folder / "training_settings.json"
    if run.strategy in plan.strategies and settings.is_file():
        content = json.loads(settings.read_text(encoding="utf-8"))
        steps = content["run"].get("max_steps")
        took |= {"pretrain_seconds": content["run"].get("seconds"), "pretrain_steps": steps}
        if steps is not None:
            clips = steps * content["training"]["batch_size"] * content["training"]["gradient_accumulation_steps"]
            took["audio_hours"] = clips * content["data"]["clip_seconds"] / 3600
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        took |= {name: metrics.get(name) for name in _PRETRAIN_METRICS}
    return took
