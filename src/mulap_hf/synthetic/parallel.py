"""A parallel map over integers, with a progress bar."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from tqdm import tqdm

__all__ = ["run_in_processes"]

Result = TypeVar("Result")


def run_in_processes(
    task: Callable[[int], Result],
    numbers: Sequence[int],
    num_workers: int | None = None,
    progress: bool = True,
    unit: str = "clip",
) -> list[Result]:
    """Return `task(number)` for each number, in the order of the numbers.

    Args:
        task: Picklable function of one integer.
        numbers: Arguments of the task.
        num_workers: Number of processes; None for one per CPU core, 1 to run in this process.
        progress: Show a progress bar.
        unit: Unit of the progress bar.
    """
    num_workers = min(num_workers or os.cpu_count() or 1, len(numbers))
    with tqdm(total=len(numbers), unit=unit, disable=not progress) as bar:
        if num_workers <= 1:
            results = []
            for number in numbers:
                results.append(task(number))
                bar.update()
            return results
        with ProcessPoolExecutor(num_workers, mp_context=_context()) as pool:
            try:
                futures = [pool.submit(task, number) for number in numbers]
                for future in as_completed(futures):
                    future.result()
                    bar.update()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return [future.result() for future in futures]


def _context() -> multiprocessing.context.BaseContext:
    """Return the context of the worker processes: a fork server that has imported the generator, else spawn.

    A plain fork may hang, because this process may have running threads (torch starts some).
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "mulap_hf.synthetic.generate"])
    return context
