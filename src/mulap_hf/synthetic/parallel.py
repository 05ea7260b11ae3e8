"""The same task for many numbers, in several processes."""

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
    """Runs a task for each number and returns the results in the order of the numbers.

    Args:
        task: A function that can be pickled.
        numbers: Its arguments.
        num_workers: Number of processes, by default one per CPU core; with 1, everything runs in this process.
        progress: Whether to show a progress bar.
        unit: What the progress bar counts.
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
    """Processes that do not descend from this one: a fork of a process with running threads (torch has some) may hang.

    Where there is a fork server, it imports everything once, and the workers start in no time.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "mulap_hf.synthetic.generate"])
    return context
