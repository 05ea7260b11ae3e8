"""Zero-shot evaluation from start to end: the model, its data, the scores and the report."""

import sys
import time
from pathlib import Path

from ..data.corpora.synthetic import NOTE_TASK, SYNTHETIC_TASKS
from ..data.schema import read_tasks
from ..errors import DataError
from ..transfer.arguments import ZeroShotArguments
from ..transfer.features import FeatureCache
from ..transfer.pair_scores import PairScorer
from ..transfer.tasks import PreparedData, TaskData
from ..transfer.zero_shot import TEMPLATES, prompts, zero_shot_report
from ..transfer.zero_shot_report import shown_skipped, write_zero_shot_report


def zero_shot(args: ZeroShotArguments):
    """Evaluate a model without training; the main function of `training/zero_shot.py`.

    Raises:
        DataError: The output folder has results, or the data or a task cannot be used.
        ModelError: The model cannot be used.
    """
    folder = Path(args.output_dir)
    if (folder / "zero_shot.json").exists() and not args.overwrite_output:
        raise DataError(f"{folder} has results: choose another --output_dir, or pass --overwrite_output")
    start = time.perf_counter()
    scorer = PairScorer(args.model, args.device)
    scorer.check_kinds(args.scores)
    tasks, retrieval = open_data(args)
    report = zero_shot_report(
        scorer,
        tasks,
        FeatureCache(args.cache_dir),
        retrieval,
        args.scores,
        args.templates,
        args.top_k,
        args.recordings,
        resamples=args.resamples,
        seed=args.seed,
    )
    kinds = {data.task.kind for data in tasks.values()}
    templates = args.templates or [template for kind in sorted(kinds) for template in TEMPLATES[kind]]
    facts = {
        "model": args.model,
        "data": args.data or "the synthetic corpus",
        "templates": "; ".join(dict.fromkeys(templates)),
        "re-ranked per query": args.top_k,
        "seconds": round(time.perf_counter() - start),
    }
    path = write_zero_shot_report(folder, report, facts)
    print(path.read_text(encoding="utf-8"))
    if report["skipped"]:
        print(f"left out, {len(report['skipped'])} in all:\n{shown_skipped(report['skipped'])}", file=sys.stderr)
    print(f"Written to {folder}: zero_shot.md, .json and .png")


def open_data(args: ZeroShotArguments) -> tuple[dict[str, TaskData], PreparedData | None]:
    """The tasks asked for, or all that have classes; and what is retrieved.

    Raises:
        DataError: the data or the task does not exist, a task is a regression, or nothing is left to do.
    """
    described = None if args.data is None else args.open_described()
    of_data = (*SYNTHETIC_TASKS, NOTE_TASK) if described is None else read_tasks(described.folder)
    known = {task.name: task for task in of_data}
    names = args.task
    if not names and not args.retrieval:
        names = [name for name, task in known.items() if task.kind in TEMPLATES]
        if not names:
            raise DataError(f"{args.data}: no task has classes; if it has descriptions, pass --retrieval")
    for name in known.keys() & set(names):
        prompts(known[name], args.templates)  # fails before anything is made
    tasks = {name: args.open_task(name) for name in names}
    return tasks, (described or args.open_described()) if args.retrieval else None
