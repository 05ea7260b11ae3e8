"""The worker processes of a comparison: each makes one run after another, its model and its table entries."""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed

import torch
from tqdm import tqdm

from ..tasks import TaskData
from .entries import make_entries
from .logs import logging_to
from .plan import Plan, Run
from .pretraining import STOP_SECONDS, pretrain

_TERMINATED = 143  # exit status after SIGTERM


def run_comparison(plan: Plan, tasks: list[tuple[str, TaskData]]) -> dict[str, str]:
    """Make every model and table entry that is missing, several runs at a time.

    Args:
        plan: What to make.
        tasks: The tasks of the plan.

    Returns:
        Error messages by the name of the failed run.

    Raises:
        KeyboardInterrupt: The runs in progress were stopped; pre-training has saved a checkpoint.
    """
    runs = plan.runs()
    jobs = plan.args.jobs or (1 if torch.cuda.is_available() else max(1, os.cpu_count() or 1))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    failed: dict[str, str] = {}
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(threads,))
    try:
        futures = {pool.submit(_make_run, plan, run, tasks, threads): run for run in runs}
        with tqdm(total=len(runs), unit="model", desc="comparison") as bar:
            for future in as_completed(futures):
                run = futures[future]
                try:
                    future.result()
                except Exception as error:
                    failed[run.name] = f"{type(error).__name__}: {error}"
                bar.update()
                bar.set_postfix(failed=len(failed), last=run.name)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        workers = multiprocessing.active_children()
        for worker in workers:
            worker.terminate()  # the worker passes it on to its pre-training process, which saves a checkpoint
        for worker in workers:
            worker.join(STOP_SECONDS)
        raise
    pool.shutdown()
    return failed


def _start_worker(threads: int):
    """Prepare a worker: it ends when the main process ends, for whatever reason, and leaves Ctrl-C to it."""
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    parent = multiprocessing.parent_process()

    def follow():
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()


def _make_run(plan: Plan, run: Run, tasks: list[tuple[str, TaskData]], threads: int):
    """Pre-train the model of a run and make its table entries; all output goes to `logs/RUN.log`.

    Raises:
        RuntimeError: Pre-training failed.
    """
    with logging_to(plan.folder / "logs" / f"{run.name}.log"):
        try:
            if run.strategy in plan.strategies:
                pretrain(plan, run, threads)
            make_entries(plan, run, tasks)
        except SystemExit:
            # The pool would take it for a result, and give this process the next run.
            os._exit(_TERMINATED)
        except Exception:
            traceback.print_exc()
            raise
