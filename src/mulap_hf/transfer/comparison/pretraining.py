"""Pre-training of a run: `pretrain.py` in a process, with the options of the comparison and of the strategy."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ...files import write_json
from ...settings import check_settings
from .plan import Plan, Run

STOP_SECONDS = 120  # for pre-training to save a checkpoint


def pretrain(plan: Plan, run: Run, threads: int):
    """Pre-train the model of a run, or resume its pre-training; a finished model is left as it is.

    Args:
        plan: Of the comparison.
        run: Its strategy is one of `plan.strategies`.
        threads: CPU threads of the process.

    Raises:
        DataError: The finished model was pre-trained with other options.
        RuntimeError: The process failed.
    """
    output, options = plan.model(run), _options(plan, run)
    done = Path(output).parent / f"{run.name}.json"
    if done.is_file():
        found = json.loads(done.read_text(encoding="utf-8"))
        check_settings(found, options, f"{output} was pre-trained", "choose another --output_dir")
        return
    words = [word for name, value in options.items() for word in (f"--{name}", _word(value))]
    command = [sys.executable, str(plan.pretrain), *words, "--output_dir", output, "--cpu_threads", str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    # A new session: Ctrl-C in a terminal does not reach the process directly, only through this one.
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        status = process.wait()
    except BaseException:
        process.terminate()  # not its data loading processes: without them it could not save a checkpoint
        process.wait(STOP_SECONDS)
        raise
    if status:
        raise RuntimeError(f"pre-training ended with status {status}: see logs/{run.name}.log")
    write_json(done, options)


def _options(plan: Plan, run: Run) -> dict[str, Any]:
    args = plan.args
    options = {
        "clip_seconds": args.pretrain_seconds,
        "max_steps": args.pretrain_steps,
        "batch_size": args.pretrain_batch_size,
        "corpus_dir": args.corpus_dir,
        "corpus_clips": args.pretrain_clips,
        "corpus_seconds": args.clip_seconds,
        "train_share": run.fraction,
        "seed": run.seed,
        **({"train_data": args.train_data} if args.train_data else {}),
        **args.more_options(),
        **plan.strategies[run.strategy],
    }
    # The last step, not the lowest validation loss, so that all strategies are trained for the same number of steps.
    return options | {"eval_steps": max(1, int(options["max_steps"]) // 4), "checkpoint_steps": 50, "keep_last": True}


def _word(value) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)
