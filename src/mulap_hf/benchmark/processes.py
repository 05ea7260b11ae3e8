"""Time and memory of `mulap embed` in a new process, including its worker processes."""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile

_POLL_SECONDS = 0.05
# The command without the time for imports, which does not depend on the amount of work.
_EMBED = """
import sys, time
from mulap_hf.scripts import free_waiting_threads
free_waiting_threads()
import mulap_hf.embedding_files
from mulap_hf.cli import main
started = time.perf_counter()
try:
    main(sys.argv[1:])
finally:
    print(time.perf_counter() - started)
"""


def run_embed(*arguments: str | Path) -> tuple[float, float | None]:
    """Run `mulap embed` in a new process.

    Args:
        arguments: Command-line arguments after `mulap embed`.

    Returns:
        The run time in seconds without imports, and the peak memory in MiB of the process and its workers, with
        imports (None on systems without /proc).

    Raises:
        RuntimeError: The command failed; the message has its error output.
    """
    peak = None
    with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        command = [sys.executable, "-c", _EMBED, "embed", *map(str, arguments)]
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        while process.poll() is None:
            memory = tree_memory(process.pid)
            if memory is not None:
                peak = max(memory, peak or 0.0)
            time.sleep(_POLL_SECONDS)
        output.seek(0), errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{command} failed with exit status {process.returncode}: {errors.read()}")
        return float(output.read().split()[-1]), peak


def tree_memory(pid: int) -> float | None:
    """Return the memory of a process and its descendants in MiB, with shared pages counted once; None if it ended."""
    folder = Path("/proc", str(pid))
    try:
        lines = (folder / "smaps_rollup").read_text().splitlines()
        children = [
            int(child) for task in (folder / "task").iterdir() for child in (task / "children").read_text().split()
        ]
    except OSError:
        return None
    own = next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return own + sum(tree_memory(child) or 0.0 for child in children)
