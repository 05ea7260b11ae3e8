"""Speed of pre-training steps in several processes with synchronized BatchNorm, compared with one process."""

import multiprocessing
import socket
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ..configuration_mulap import MulapConfig
from ..modeling_mulap import MulapForPreTraining
from ..pretraining.distributed import synchronize_batch_norm
from .measure import Variant, measure
from .reference import plain
from .report import make_report, write_report
from .training import make_batch, make_step

PROCESSES = 2
ONE_THREAD, ALL_THREADS = "one process, 1 thread", "one process, all threads"


def run(output: Path, rounds: int, batches: dict[str, int], clip_seconds: float = 6.0) -> str:
    """Measure pre-training steps in one and in two processes; write `OUTPUT/processes-PRESET.*`.

    Each of the two processes has one thread and half of the batch, and the same gradients as one process.

    Args:
        output: Folder of the reports.
        rounds: Number of measured rounds.
        batches: Number of clips per batch of all processes, by preset.
        clip_seconds: Length of a clip in seconds.

    Returns:
        The Markdown reports.
    """
    threads = torch.get_num_threads()
    reports = []
    for preset, batch in batches.items():
        config = MulapConfig.from_preset(preset)
        torch.manual_seed(0)
        step = make_step(MulapForPreTraining(config).train(), make_batch(config, batch, clip_seconds))
        with ExitStack() as stack:
            variants = [
                Variant(ONE_THREAD, with_threads(step, 1, threads), batch),
                Variant(ALL_THREADS, step, batch),
            ]
            for name, fast in (("plain convolutions", False), ("fast path", True)):
                together = stack.enter_context(started(preset, batch // PROCESSES, clip_seconds, fast))
                variants.append(Variant(f"two processes, {name}", together, batch))
            measurements = measure(variants, rounds)
        for measurement in measurements[2:]:
            measurement.peak_mib = None  # it is that of this process, which only waits
        notes = [
            f"Pre-training steps of the preset `{preset}` on a batch of {batch} clips of {clip_seconds:g} s: forward, "
            f"backward and AdamW. Each of {PROCESSES} processes takes its part of the batch in one thread, with "
            "synchronized BatchNorm and averaged gradients."
        ]
        title = f"Pre-training speed in several processes: preset {preset}"
        report = make_report(title, measurements, "clips", [ONE_THREAD, ALL_THREADS], notes=notes)
        reports.append(write_report(output / f"processes-{preset}", report))
    return "\n".join(reports)


def with_threads(step: Callable[[], None], number: int, before: int) -> Callable[[], None]:
    """Return a function that calls another one with a number of threads, and then sets the former number."""

    def run_step():
        torch.set_num_threads(number)
        step()
        torch.set_num_threads(before)

    return run_step


@contextmanager
def started(preset: str, batch: int, clip_seconds: float, fast: bool):
    """Start processes that train together; the value is a function that lets all run one step.

    Args:
        preset: Preset of the model.
        batch: Clips per process.
        clip_seconds: Length of a clip in seconds.
        fast: Use the fast path of the convolutions.
    """
    context = multiprocessing.get_context("spawn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    ours, processes = [], []
    for rank in range(PROCESSES):
        connection, theirs = context.Pipe()
        arguments = (rank, address, preset, batch, clip_seconds, fast, theirs)
        processes.append(context.Process(target=_train, args=arguments, daemon=True))
        processes[-1].start()
        theirs.close()
        ours.append(connection)

    def step():
        for connection in ours:
            connection.send(True)
        for connection in ours:
            connection.recv()

    try:
        yield step
    finally:
        for connection in ours:
            connection.close()
        for process in processes:
            process.join()


def _train(
    rank: int, address: str, preset: str, batch: int, clip_seconds: float, fast: bool, connection: Connection
) -> None:
    """A process: one step for every message, until the connection is closed."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=PROCESSES)
    torch.manual_seed(0)
    config = MulapConfig.from_preset(preset)
    model = synchronize_batch_norm(MulapForPreTraining(config).train())
    model = DistributedDataParallel(model if fast else plain(model))
    step = make_step(model, make_batch(config, batch, clip_seconds))
    try:
        while connection.recv():
            step()
            connection.send(True)
    except EOFError:
        pass
    dist.destroy_process_group()
