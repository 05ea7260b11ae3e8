"""Time and memory of a command in a process of its own, with the processes that it starts."""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile

_POLL_SECONDS = 0.05
# The command of a user, without the imports: they take seconds, and do not grow.
_EMBED = (
    "import sys, time\nfrom mulap_hf.cli import main\nstarted = time.perf_counter()\nstatus = main(sys.argv[1:])\n"
    "print(time.perf_counter() - started)\nsys.exit(status)"
)


def run_embed(*arguments: str | Path) -> tuple[float, float | None]:
    """Runs `mulap embed` in a process of its own.

    Returns:
        Its seconds without the imports, and the most memory in MiB of it and its workers, imports included; None
        where there is no /proc.

    Raises:
        RuntimeError: it failed; with what it complained about.
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
            raise RuntimeError(f"{command} ended with status {process.returncode}: {errors.read()}")
        return float(output.read().split()[-1]), peak


def tree_memory(pid: int) -> float | None:
    """MiB of a process and its descendants; pages that several of them share count once. None if it has ended."""
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
