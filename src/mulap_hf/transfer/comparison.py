"""The comparison: every strategy's backbone, pre-trained if need be, on every task; made by units that can be resumed.

A unit is a strategy with a share of the corpus and a seed. Its results are cells, one file each, written when they are
complete: whatever is interrupted goes on where it stopped, and whatever is added later is added to what is there.
"""

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..data.corpora import SYNTHETIC_TASKS
from ..data.schema import read_tasks
from ..errors import DataError
from ..files import write_json
from ..settings import check_settings
from .arguments import CompareArguments, ProbeArguments
from .features import HANDCRAFTED, Extractor, FeatureCache, open_extractor
from .pair_scores import CONTRASTIVE, PairScorer, has_text_side
from .protocol import learn, predict
from .tasks import SYNTHETIC_NAMES, TaskData, open_synthetic_task, open_task
from .zero_shot import zero_shot_report

TEST = "test"
_RETRIEVED = 500  # recordings in retrieval, at most
# Two thousand pairs are matched in a second: of more than so many, only what is re-ranked, and a model that has no
# contrastive scores retrieves among fewer recordings.
_MATCHED_PAIRS = 40_000
_TERMINATED = 143
_STOP_SECONDS = 120  # for pre-training to save a checkpoint


@dataclass(frozen=True)
class Unit:
    """A strategy, the share of the corpus that it is pre-trained on, and a seed."""

    strategy: str
    share: float
    seed: int

    @property
    def name(self) -> str:
        return f"{strategy_name(self.strategy)}-{self.share:g}-seed{self.seed}"


def strategy_name(strategy: str) -> str:
    """Of a folder, its last part."""
    return Path(strategy).name


@dataclass(frozen=True)
class Plan:
    """What is to be made.

    args, probe_args: what the user asked for.
    strategies: options of `pretrain.py` by name, for those that are pre-trained.
    pretrain: the script.
    """

    args: CompareArguments
    probe_args: ProbeArguments
    strategies: dict[str, dict[str, Any]]
    pretrain: Path

    @cached_property
    def folder(self) -> Path:
        return Path(self.args.output_dir)

    def units(self) -> list[Unit]:
        """Those on the whole corpus first."""
        args = self.args
        whole = [Unit(strategy, 1.0, seed) for seed in args.seeds for strategy in args.strategies]
        parts = [
            Unit(strategy, share, seed)
            for seed in args.seeds
            for share in sorted(set(args.shares) - {1.0}, reverse=True)
            for strategy in args.share_strategies
            if strategy in args.strategies
        ]
        return whole + parts

    def tasks(self) -> list[tuple[str, TaskData]]:
        """Every task, with the name that its results go by.

        Raises:
            DataError: a task is none, or two have one name.
        """
        found, args = [], self.args
        for spec in args.tasks:
            if spec in SYNTHETIC_NAMES:
                made = (args.task_dir, args.task_clips, args.clip_seconds, True, args.held_out_soundfont)
                found.append((spec, open_synthetic_task(spec, *made)))
                continue
            folder, _, name = spec.partition(":")
            if not Path(folder).is_dir():
                raise DataError(f"--tasks {spec}: neither one of {', '.join(SYNTHETIC_NAMES)} nor a folder")
            names = [name] if name else [task.name for task in read_tasks(Path(folder))]
            found += [(f"{Path(folder).name}-{name}", open_task(folder, name)) for name in names]
        _check_unique("--tasks", [name for name, _ in found])
        return found

    def conditions(self, unit: Unit, labels: int | None) -> list[str]:
        """How a cell's test audio is degraded: of the first seed on the whole corpus, with all labels."""
        is_degraded = labels is None and unit.share == 1 and unit.seed == self.args.seeds[0]
        return [condition for condition in self.args.conditions if condition != "none"] if is_degraded else []

    def cell(self, unit: Unit, name: str, labels: int | None = None) -> Path:
        """The file of a task's cell, of all labels or of some per class."""
        return self.folder / "cells" / unit.name / f"{name}{f'-{labels}' if labels else ''}.json"

    def model(self, unit: Unit) -> str:
        """Where the unit's model is, or will be."""
        if unit.strategy in self.strategies:
            return str(self.folder / "pretrained" / unit.name)
        return unit.strategy


def check_plan(plan: Plan):
    """Raises:
    DataError: an option cannot be followed; the message names it.
    """
    args = plan.args
    args.more_options()
    for strategy in args.strategies:
        known = strategy in plan.strategies or strategy == HANDCRAFTED or "/" in strategy or Path(strategy).is_dir()
        if not known:
            raise DataError(
                f"--strategies {strategy}: neither {', '.join([*plan.strategies, HANDCRAFTED])} nor a folder"
            )
    names = [strategy_name(strategy) for strategy in args.strategies]
    for option, given in (("--strategies", names), ("--seeds", args.seeds), ("--tasks", args.tasks)):
        _check_unique(option, given)
    for reference in args.reference:
        if reference not in names:
            raise DataError(f"--reference {reference} is none of the strategies: {', '.join(names)}")
    if args.held_out_soundfont is not None and not set(args.tasks) & set(SYNTHETIC_NAMES):
        raise DataError("--held_out_soundfont plays the synthetic corpus: none of its tasks is among --tasks")
    if not all(0 < share <= 1 for share in args.shares):
        raise DataError(f"--shares {args.shares}: each over 0 and at most 1")
    for strategy in args.share_strategies:
        if strategy not in plan.strategies:
            raise DataError(f"--share_strategies {strategy}: only what is pre-trained here can learn from less")


def _check_unique(option: str, given: list):
    twice = sorted({name for name in given if given.count(name) > 1})
    if not given or twice:
        raise DataError(f"{option}: {f'{twice[0]} is there twice' if twice else 'give some'}")


def run_comparison(plan: Plan, tasks: list[tuple[str, TaskData]]) -> dict[str, str]:
    """Makes every cell that is not there yet, several units at a time.

    Args:
        plan: what is to be made.
        tasks: those of the plan.

    Returns:
        What went wrong, by unit.

    Raises:
        KeyboardInterrupt: what is running has been stopped, and has saved where it was.
    """
    units = plan.units()
    jobs = plan.args.jobs or (1 if torch.cuda.is_available() else max(1, os.cpu_count() or 1))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    failed: dict[str, str] = {}
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(threads,))
    try:
        futures = {pool.submit(run_unit, plan, unit, tasks, threads): unit for unit in units}
        with tqdm(total=len(units), unit="model", desc="comparison") as bar:
            for future in as_completed(futures):
                unit = futures[future]
                try:
                    future.result()
                except Exception as error:
                    failed[unit.name] = f"{type(error).__name__}: {error}"
                bar.update()
                bar.set_postfix(failed=len(failed), last=unit.name)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        workers = multiprocessing.active_children()
        for worker in workers:
            worker.terminate()  # pre-training under it saves a checkpoint
        for worker in workers:
            worker.join(_STOP_SECONDS)
        raise
    pool.shutdown()
    return failed


def _start_worker(threads: int):
    """Ends with the process that started it, however that ended; Ctrl-C is that one's to handle."""
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    parent = multiprocessing.parent_process()

    def follow():
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()


def run_unit(plan: Plan, unit: Unit, tasks: list[tuple[str, TaskData]], threads: int):
    """Pre-trains a unit's model and makes its cells; what it says goes to `logs/UNIT.log`.

    Raises:
        RuntimeError: pre-training failed.
    """
    with _logging_to(plan.folder / "logs" / f"{unit.name}.log"):
        try:
            if unit.strategy in plan.strategies:
                pretrain(plan, unit, threads)
            transfer(plan, unit, tasks)
        except SystemExit:
            # The pool would take it for a result, and this process for one that can make the next unit.
            os._exit(_TERMINATED)
        except Exception:
            traceback.print_exc()
            raise


def pretrain(plan: Plan, unit: Unit, threads: int):
    """Runs `pretrain.py`, or goes on with it, in a process of its own.

    Raises:
        RuntimeError: it failed; the message is its last line.
    """
    args, output = plan.args, plan.model(unit)
    options = {
        "clip_seconds": args.pretrain_seconds,
        "max_steps": args.pretrain_steps,
        "batch_size": args.pretrain_batch_size,
        "corpus_dir": args.corpus_dir,
        "corpus_clips": args.pretrain_clips,
        "corpus_seconds": args.clip_seconds,
        "train_share": unit.share,
        "seed": unit.seed,
        **({"train_data": args.train_data} if args.train_data else {}),
        **args.more_options(),
        **plan.strategies[unit.strategy],
    }
    # The last step: the lowest validation loss may come early, and the strategies would be of different lengths.
    options |= {"eval_steps": max(1, int(options["max_steps"]) // 4), "checkpoint_steps": 50, "keep_last": True}
    done = Path(output).parent / f"{unit.name}.json"
    if done.is_file():
        found = json.loads(done.read_text(encoding="utf-8"))
        check_settings(found, options, f"{output} was pre-trained", "choose another --output_dir")
        return
    words = [word for name, value in options.items() for word in (f"--{name}", _word(value))]
    command = [sys.executable, str(plan.pretrain), *words, "--output_dir", output, "--cpu_threads", str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    # In a session of its own: Ctrl-C in a terminal reaches it through this process alone.
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        status = process.wait()
    except BaseException:
        process.terminate()  # it alone: without the processes that load its data it could not save where it is
        process.wait(_STOP_SECONDS)
        raise
    if status:
        raise RuntimeError(f"pre-training ended with status {status}: see logs/{unit.name}.log")
    write_json(done, options)


def _word(value) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def transfer(plan: Plan, unit: Unit, tasks: list[tuple[str, TaskData]]):
    """Makes the cells of a unit that are not there, or were made with other settings."""
    extractor = None
    model = plan.model(unit)
    cache = FeatureCache(plan.args.cache_dir)
    known = {name: data_settings(data) for name, data in tasks}
    for name, data in tasks:
        few = plan.args.labels_per_class if unit.share == 1 else []
        for labels in [None, *few]:
            path = plan.cell(unit, name, labels)
            settings = cell_settings(plan, unit, known[name], labels)
            if is_made(path, settings):
                continue
            extractor = extractor or open_extractor(model)
            print(f"{unit.name}: {name}, {labels or 'all'} labels per class", flush=True)
            content = make_cell(plan, unit, extractor, data, cache, labels, path)
            about = {"unit": asdict(unit), "task": name, "kind": data.task.kind, "labels": labels}
            write_json(path, about | content | {"settings": settings})
    path = plan.cell(unit, "zero_shot")
    settings = zero_shot_settings(plan, unit, known)
    is_reported = unit.share == 1 and unit.seed == plan.args.seeds[0] and unit.strategy != HANDCRAFTED
    if not is_reported or is_made(path, settings) or not has_text_side(model):
        return
    scorer = PairScorer(model)
    if scorer.kinds:
        clips = [data for name, data in tasks if name in {task.name for task in SYNTHETIC_TASKS}]
        recordings = _RETRIEVED if CONTRASTIVE in scorer.kinds else math.isqrt(_MATCHED_PAIRS)
        content = zero_shot_report(
            scorer,
            dict(tasks),
            cache,
            clips[0] if clips else None,
            recordings=recordings,
            most_pairs=_MATCHED_PAIRS,
        )
        write_json(path, {"unit": asdict(unit), "zero_shot": content, "settings": settings})


def make_cell(
    plan: Plan,
    unit: Unit,
    extractor: Extractor,
    data: TaskData,
    cache: FeatureCache,
    labels: int | None,
    path: Path,
) -> dict[str, Any]:
    """Learns, and predicts the tests, degraded, too, if it is wanted; their labels are not read."""
    learned = learn(extractor, data, plan.probe_args, cache, unit.seed, labels)
    probe = learned.probe
    predictions = {split: predict(probe, extractor, data, cache, split) for split in data.test_splits}
    degraded = {
        condition: predict(probe, extractor, data, cache, TEST, condition)
        for condition in plan.conditions(unit, labels)
    }
    named = predictions | {f"{TEST}-{condition}": predicted for condition, predicted in degraded.items()}
    for split, predicted in named.items():
        predicted.save(path.with_suffix("") / f"{split}.npz")
    return {
        "validation": learned.validation,
        "tracks": {"train": learned.num_train, "validation": learned.num_validation},
        "best_epoch": learned.probe.best_epoch,
        "epochs": len(learned.probe.history),
        "seconds": learned.seconds,
        "skipped": len(learned.skipped),
    }


def cell_settings(plan: Plan, unit: Unit, data: dict[str, Any], labels: int | None) -> dict[str, Any]:
    """What a cell depends on besides its unit: one that was made with other settings is made again.

    Args:
        plan, unit, labels: of the cell.
        data: `data_settings` of its task.
    """
    settings = {"probe": asdict(plan.probe_args)} | _model_settings(plan, unit) | data
    return settings | {"conditions": plan.conditions(unit, labels)}


def zero_shot_settings(plan: Plan, unit: Unit, tasks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The same of what a unit can do without labels; `tasks`: `data_settings` by name."""
    settings = _model_settings(plan, unit) | {"retrieved": _RETRIEVED, "matched_pairs": _MATCHED_PAIRS}
    return settings | {"tasks": tasks}


def _model_settings(plan: Plan, unit: Unit) -> dict[str, Any]:
    model = plan.model(unit)
    settings: dict[str, Any] = {"model": model}
    weights = Path(model) / "model.safetensors"
    if plan.folder not in weights.parents and weights.is_file():  # of a folder that others may write again
        settings["weights"] = [weights.stat().st_size, weights.stat().st_mtime_ns]
    return settings


def data_settings(data: TaskData) -> dict[str, Any]:
    """Which data these are; reads the ids of all their rows."""
    return {"data": str(data.folder), "splits": {split: data.fingerprint(split) for split in data.splits()}}


def is_made(path: Path, settings: dict[str, Any]) -> bool:
    """Whether a cell is there, with these settings."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["settings"] == settings
    except (FileNotFoundError, ValueError, KeyError):
        return False


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """What this process and those it starts print goes to a file, after what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with path.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in enumerate(kept, start=1):
                os.dup2(copy, number)
                os.close(copy)
