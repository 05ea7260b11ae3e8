"""How the commands of this project start and end.

A script parses its options, and imports what it runs afterwards: torch and transformers take seconds to import, which
`--help` and a mistake in the options should not cost.
"""

import ctypes
import gc
import importlib.metadata
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from .errors import Interrupted, MulapError

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells count it."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def free_waiting_threads():
    """Lets torch's threads sleep while they wait, so that they leave the cores to processes that decode audio.

    To be called before torch is imported, which reads the variable.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def keep_freed_memory():
    """Lets the C library keep memory that is freed for what is allocated next, which the same computation needs again.

    By default glibc returns large blocks to the system, which clears them page by page before they are used again: up
    to 18,000 pages per training step, which takes 3 to 7 % of its time. The peak of a process stays the same.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def run_script(
    main: Callable[[], int | None], failed: int = 1, after_interrupt: str = "repeat the command to resume"
) -> NoReturn:
    """Runs the main function of a script, then ends the process.

    Args:
        main: returns the exit status; None stands for 0.
        failed: exit status after a `MulapError`, whose message is printed.
        after_interrupt: what to do after Ctrl-C, for the message.
    """
    keep_freed_memory()
    try:
        status = main()
    except KeyboardInterrupt:
        print(f"interrupted: {after_interrupt}", file=sys.stderr)
        status = INTERRUPTED
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        status = INTERRUPTED
    except MulapError as error:
        print(f"error: {error}", file=sys.stderr)
        status = failed
    except ImportError as error:
        if (remedy := _installs(error.name or "")) is None:
            raise
        print(f"error: {error.name} is not installed: {remedy}", file=sys.stderr)
        status = failed
    gc.freeze()  # or the interpreter searches all objects of torch and transformers as it ends, for a second
    sys.exit(status or 0)


def _installs(module: str) -> str | None:
    """The command that installs a missing package of an extra; None for any other module."""
    name = {"sklearn": "scikit-learn"}.get(module.partition(".")[0], module.partition(".")[0])
    requirements: list[str] = []
    try:
        requirements = importlib.metadata.requires("mulap-hf") or []
        importlib.metadata.version(name or "mulap-hf")
    except importlib.metadata.PackageNotFoundError:
        for requirement in requirements:
            extra = re.fullmatch(rf"{re.escape(name)}\b[^;]*; extra == ['\"](.+)['\"]", requirement)
            if extra:
                return f'pip install "mulap-hf[{extra[1]}]"'
    return None
