"""What a comparison makes: its runs, its tasks, and the files that hold their results."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...data.schema import read_tasks
from ...errors import DataError
from ..arguments import CompareArguments, ProbeArguments
from ..features import HANDCRAFTED
from ..tasks import SYNTHETIC_NAMES, TaskData, open_synthetic_task, open_task

TEST = "test"  # the split of curves and of degraded audio


@dataclass(frozen=True)
class Run:
    """A strategy, the fraction of the corpus that it is pre-trained on, and a seed."""

    strategy: str
    fraction: float
    seed: int

    @property
    def name(self) -> str:
        return f"{strategy_name(self.strategy)}-{self.fraction:g}-seed{self.seed}"


def strategy_name(strategy: str) -> str:
    """Name of a strategy in tables and files: the last part of a path."""
    return Path(strategy).name


@dataclass(frozen=True)
class Plan:
    """The runs and tasks of a comparison, and where its results are stored.

    Attributes:
        args, probe_args: Options of the user.
        strategies: Options of `pretrain.py` by the name of the strategy, for strategies that are pre-trained here.
        pretrain: Path of `pretrain.py`.
    """

    args: CompareArguments
    probe_args: ProbeArguments
    strategies: dict[str, dict[str, Any]]
    pretrain: Path

    @cached_property
    def folder(self) -> Path:
        return Path(self.args.output_dir)

    def runs(self) -> list[Run]:
        """All runs, those on the whole corpus first."""
        args = self.args
        whole = [Run(strategy, 1.0, seed) for seed in args.seeds for strategy in args.strategies]
        parts = [
            Run(strategy, fraction, seed)
            for seed in args.seeds
            for fraction in sorted(set(args.shares) - {1.0}, reverse=True)
            for strategy in args.share_strategies
            if strategy in args.strategies
        ]
        return whole + parts

    def tasks(self) -> list[tuple[str, TaskData]]:
        """Every task with its name in tables and files; writes the synthetic corpus if a task needs it.

        Raises:
            DataError: A task does not exist, or two have the same name.
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

    def degradations(self, run: Run, labels: int | None) -> list[str]:
        """Degradations of the test audio of an entry: only of the first seed, the whole corpus, and all labels."""
        is_degraded = labels is None and run.fraction == 1 and run.seed == self.args.seeds[0]
        return [name for name in self.args.conditions if name != "none"] if is_degraded else []

    def entry(self, run: Run, name: str, labels: int | None = None) -> Path:
        """Path of a table entry: the results of a run on a task, from all labels or from some per class."""
        return self.folder / "entries" / run.name / f"{name}{f'-{labels}' if labels else ''}.json"

    def model(self, run: Run) -> str:
        """Folder or Hub name of the model of a run; it may not exist yet."""
        if run.strategy in self.strategies:
            return str(self.folder / "pretrained" / run.name)
        return run.strategy


def check_plan(plan: Plan):
    """Check everything that can be checked before anything is made.

    Raises:
        DataError: An option is wrong; the message names it.
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
            raise DataError(f"--reference {reference}: not one of the strategies {', '.join(names)}")
    if args.held_out_soundfont is not None and not set(args.tasks) & set(SYNTHETIC_NAMES):
        raise DataError(
            "--held_out_soundfont applies to tasks of the synthetic corpus only, and --tasks has none: "
            f"add one of {', '.join(SYNTHETIC_NAMES)}, or leave out --held_out_soundfont"
        )
    if not all(0 < fraction <= 1 for fraction in args.shares):
        raise DataError(f"--shares {args.shares}: give numbers above 0 and at most 1")
    for strategy in args.share_strategies:
        if strategy not in plan.strategies:
            raise DataError(
                f"--share_strategies {strategy}: not pre-trained here; choose from {', '.join(plan.strategies)}"
            )


def _check_unique(option: str, given: list):
    twice = sorted({name for name in given if given.count(name) > 1})
    if not given:
        raise DataError(f"{option}: give at least one")
    if twice:
        raise DataError(f"{option}: {twice[0]} is given twice; give each once")
