"""A comparison from start to end: the corpus, pre-training, transfer, and the report."""

import json
import sys
from pathlib import Path

from ..errors import DataError
from ..files import make_folder
from ..synthetic import write_pretraining_corpus
from ..transfer.arguments import CompareArguments, ProbeArguments
from ..transfer.comparison.plan import Plan, check_plan
from ..transfer.comparison.report import write_comparison_report
from ..transfer.comparison.results import collect_results
from ..transfer.comparison.workers import run_comparison


def compare(args: CompareArguments, probe_args: ProbeArguments, strategies: Path, pretrain: Path) -> int:
    """Compare strategies; the main function of `training/compare.py`.

    Args:
        args: Strategies, data and tasks.
        probe_args: Settings of the probe.
        strategies: JSON file with the options of `pretrain.py` by strategy.
        pretrain: Path of `pretrain.py`.

    Returns:
        The exit status: 1 if a run failed, else 0.
    """
    options = json.loads(strategies.read_text(encoding="utf-8"))
    plan = Plan(args, probe_args, options, pretrain)
    check_plan(plan)
    make_folder(plan.folder, "--output_dir")
    tasks = plan.tasks()
    if args.train_data is None and set(args.strategies) & set(options):
        try:
            write_pretraining_corpus(args.corpus_dir, args.pretrain_clips, args.clip_seconds)
        except DataError as error:
            raise DataError(f"--corpus_dir: {error}") from error
    failed = run_comparison(plan, tasks)
    results = collect_results(plan, tasks)
    report = write_comparison_report(plan.folder, results)
    for run, reason in failed.items():
        print(f"failed: {run}: {reason}; see {plan.folder / 'logs' / run}.log", file=sys.stderr)
    print(f"Read {report}")
    return 1 if failed else 0
