"""Metrics of a training run: one line of `metrics.jsonl` per measurement, which experiment trackers also get."""

import json
import math
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType

from ..data.tables import parse_json
from ..errors import RunError
from ..files import replacing

METRICS_FILE = "metrics.jsonl"
ROW_KEYS = ("step", "epoch", "split")  # what is in a line besides metrics
TRACKERS_FOLDER = "trackers"
_PROJECT = "mulap-hf"


class RunLog:
    """Writes `metrics.jsonl`, and sends the same metrics to the trackers of accelerate.

    A line is `{"step": 20, "epoch": 0, "split": "train", **metrics}`. Real numbers have six significant digits;
    null stands for those that are not finite. Only the main process writes, and a line is written when `add` returns.
    Add the metrics of a step before saving its checkpoint: then the file of a resumed run equals that of a run without
    interruption.

    Args:
        folder: the run's output folder, which exists.
        accelerator: of the run; its trackers are to be started by `start_trackers`.
        resume_step: step of the checkpoint to resume from; later lines are removed. None for a new run, which
            starts with an empty file.

    Raises:
        DataError: a line of the existing file, other than the last, is broken.
    """

    def __init__(self, folder: str | Path, accelerator: Accelerator, resume_step: int | None = None):
        self.path = Path(folder) / METRICS_FILE
        self.accelerator = accelerator
        if accelerator.is_main_process:
            rows = read_metrics(self.path) if resume_step is not None and self.path.exists() else []
            kept = "".join(_line(row) for row in rows if row["step"] <= resume_step)
            with replacing(self.path) as temporary:
                temporary.write_text(kept, encoding="utf-8")

    def add(self, split: str, step: int, epoch: int, metrics: Mapping[str, Any]):
        """Adds a measurement.

        Args:
            split: "train" or "validation"; trackers get each number as `"{split}/{name}"`.
            step: number of optimizer steps so far.
            epoch: the current one, from 0.
            metrics: numbers, or arrays and tensors of one element.
        """
        if self.accelerator.is_main_process:
            numbers = {name: _number(value) for name, value in metrics.items()}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line({"step": step, "epoch": epoch, "split": split, **numbers}))
            self.accelerator.log({f"{split}/{name}": value for name, value in numbers.items()}, step=step)


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`, with NaN for null, without an incomplete last line.

    Raises:
        DataError: another line is broken; the message names it.
    """
    *lines, _ = Path(path).read_text(encoding="utf-8").split("\n")
    rows = (parse_json(line, path, number) for number, line in enumerate(lines, start=1))
    return [{name: math.nan if value is None else value for name, value in row.items()} for row in rows]


def tracker_names(requested: str) -> list[str]:
    """The trackers that `--trackers` asks for: `Accelerator(log_with=tracker_names(...) or None)`.

    Args:
        requested: names with commas between them, or "none".

    Raises:
        RunError: the tracker does not exist, or its package is not installed, which accelerate would ignore.
    """
    if requested.strip() == "none":
        return []
    names = [name.strip() for name in requested.split(",")]
    known = [name for name in LoggerType.list() if name != LoggerType.ALL.value]
    for name in names:
        if name not in known:
            raise RunError(f"--trackers {name!r} does not exist; there are {', '.join(known)}; or none")
        if LoggerType(name) not in get_available_trackers():
            raise RunError(f"--trackers: {name} is not installed: pip install {name}, or pass --trackers none")
    return names


def start_trackers(accelerator: Accelerator, settings: Mapping[str, Any], resume_step: int | None = None):
    """Starts the trackers; their files go to `trackers` in the folder of the run.

    Args:
        accelerator: made with `log_with` as from `tracker_names` and, where that is not None, `project_dir`.
        settings: shown as hyper-parameters; nested ones as `section/name`.
        resume_step: as in `RunLog`; TensorBoard also hides what it has of later steps.
    """
    if accelerator.log_with:
        accelerator.project_configuration.logging_dir = str(Path(accelerator.project_dir, TRACKERS_FOLDER))
        purge_step = 0 if resume_step is None else resume_step + 1
        accelerator.init_trackers(_PROJECT, _flatten(settings), {"tensorboard": {"purge_step": purge_step}})


def _flatten(settings: Mapping[str, Any], section: str = "") -> dict[str, str | int | float | bool]:
    """Of the types that TensorBoard's `add_hparams` takes."""
    flat = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{section}{name}/")
        else:
            flat[section + name] = value if isinstance(value, str | int | float) else str(value)
    return flat


def _number(value: Any) -> int | float:
    return int(value) if isinstance(value, Integral) else float(f"{float(value):.6g}")


def _line(row: Mapping[str, Any]) -> str:
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }
    return json.dumps(finite) + "\n"
