"""Work of a model in several threads of Python, each of which computes whole operations alone.

Threads of torch share each operation instead: they wait for each other at each one, and read what other cores have
written. On some machines two of them are then slower than one.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache

import torch
from torch import nn


def run_in_threads(work: Callable[[int], None], number: int):
    """Calls `work(0)` to `work(number - 1)` at the same time, each with operations of one thread and without gradient.

    This thread does part 0 itself.

    Args:
        work: What to do with the number of a part.
        number: Of parts, at most `torch.get_num_threads()`.
    """
    inference = torch.is_inference_mode_enabled()  # which is of a thread

    def run(part: int):
        with torch.inference_mode(inference), torch.no_grad():
            work(part)

    threads = torch.get_num_threads()
    others = [_pool(threads - 1).submit(run, part) for part in range(1, number)]
    torch.set_num_threads(1)
    try:
        run(0)
    finally:
        wait(others)
        torch.set_num_threads(threads)  # also for threads that begin later: those of the pool have set one
    for other in others:
        other.result()


def can_run_in_threads(module: nn.Module, inputs: torch.Tensor) -> bool:
    """Whether parts of a batch can be computed by several threads of a CPU as they would be by this one.

    Gradients, autocast and modes of torch belong to a thread. Hooks may not expect several, such as those of
    accelerate, which load weights from a disk.
    """
    return (
        torch.get_num_threads() > 1
        and inputs.device.type == "cpu"
        and type(inputs) is torch.Tensor
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch.overrides._get_current_function_mode_stack()
        and not nn.modules.module._has_any_global_hook()
        and not any(has_hooks(part) for part in module.modules())
    )


def has_hooks(module: nn.Module) -> bool:
    """Whether a call of a module does more than its class."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or "forward" in vars(module)  # which accelerate replaces to load weights from a disk


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "mulap", initializer=compute_alone)


def compute_alone():
    """Makes the operations of this thread use no other one, and those of threads that begin later."""
    torch.set_num_threads(1)
    torch.get_num_threads()  # at its first call in a thread, torch sets what is set last anywhere


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a copy of the process has no threads
