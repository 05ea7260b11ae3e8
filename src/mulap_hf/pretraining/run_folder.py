"""The output folder of a training run: locked while it runs, resumed by the same run only, replaced on request."""

import json
import os
import shutil
import socket
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import RunError
from ..files import make_folder, write_json
from ..pipeline_mulap_tasks import SENTENCE_TRANSFORMERS_FILES
from ..settings import TRAINING_SETTINGS, check_settings

LOCK = ".lock"
# Checkpoints of a training loop and of a probe.
CHECKPOINTS = ("checkpoints/step-*[0-9]", "checkpoints/probe.pt")
# Names of what runs write, among them the code that is saved beside a model. A folder with other files is not deleted.
RUN_FILES = [
    *sorted(file.name for file in Path(__file__).parents[1].glob("*.py")),
    *f"{LOCK} {TRAINING_SETTINGS} {TRAINING_SETTINGS}.tmp metrics.json metrics.jsonl metrics.jsonl.tmp trackers "
    "checkpoints README.md training_report training_report.md skipped.jsonl config.json *_config.json tokenizer.json "
    "vocab.txt special_tokens_map.json *_mulap.py *_mulap_*.py model.safetensors model-*.safetensors "
    "model.safetensors.index.json probe.safetensors transfer_report.md transfer_report predictions mteb".split(),
    *SENTENCE_TRANSFORMERS_FILES,
]


class RunFolder:
    """The output folder of one run, locked as long as this object exists; made by `open`.

    `training_settings.json` is the run's settings, and under `run` its state: `unfinished`, `replaced` (while an old
    run is deleted) or `finished`.

    path: the folder.
    resumes: whether the folder has an unfinished run to resume.
    """

    def __init__(self, path: Path, settings: dict[str, Any], resumes: bool, lock: FileLock):
        self.path, self.resumes = path, resumes
        self._settings, self._lock = settings, lock

    @classmethod
    def open(
        cls,
        path: str | os.PathLike,
        settings: dict[str, Any],
        overwrite: bool = False,
        may_differ: Collection[str] = (),
    ) -> "RunFolder":
        """Takes a folder for a run, in the main process only. A folder that is refused is not changed.

        Args:
            path: new, empty, or with a run in it.
            settings: JSON values by option name, in groups or not; without a key `run`.
            overwrite: replace the run in the folder, finished or not.
            may_differ: options that may change when a run resumes (`output_dir` and `overwrite_output` among them).

        Raises:
            RunError: another process uses the folder; or it contains other files, a finished run, or an unfinished
                run with other settings.
            MulapError: it cannot be created or written to.
        """
        path = Path(path)
        settings = json.loads(json.dumps(settings))  # as they are read from the file: lists instead of tuples
        _check_content(path, overwrite)
        make_folder(path, "--output_dir")
        lock = FileLock(path / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            run = _read_settings(path).get("run", {})
            raise RunError(
                f"{path} is in use by process {run.get('pid', '?')} on {run.get('host', '?')}: wait until it ends, or "
                "pass another --output_dir"
            ) from None
        folder = cls(path, settings, False, lock)
        try:
            folder._take(overwrite, may_differ)
        except BaseException:
            folder._let_go()
            raise
        return folder

    def _take(self, overwrite: bool, may_differ: Collection[str]):
        holder = {"pid": os.getpid(), "host": socket.gethostname()}
        _check_content(self.path, overwrite)  # again, because it may have changed before the lock was acquired
        found = _read_settings(self.path)
        if found and (overwrite or found["run"]["status"] == "replaced"):
            self._write("replaced", **holder)  # a run whose deletion is killed is then not resumed
            for child in self.path.iterdir():
                if child.name not in (LOCK, TRAINING_SETTINGS):
                    shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
        elif any(
            path for pattern in CHECKPOINTS for path in self.path.glob(pattern)
        ):  # otherwise there is nothing to resume
            self._check_settings(found, may_differ)
            self.resumes = True
        self._write("unfinished", **holder)

    def _check_settings(self, found: dict[str, Any], may_differ: Collection[str]):
        old, new = (_by_option(settings, may_differ) for settings in (found, self._settings))
        what = f"{self.path} holds an unfinished run"
        remedy = "repeat its command to resume it, pass another --output_dir, or --overwrite_output to replace it"
        check_settings(old, new, what, remedy, RunError)

    def _write(self, status: str, **facts):
        write_json(self.path / TRAINING_SETTINGS, {**self._settings, "run": {"status": status, **facts}})

    def finish(self, **facts):
        """Marks the run as finished, with facts about it (JSON values), and unlocks the folder."""
        self._write("finished", **facts)
        self._let_go()

    def _let_go(self):
        (self.path / LOCK).unlink(missing_ok=True)
        self._lock.release()


def _check_content(path: Path, overwrite: bool):
    """Raises a RunError for a folder with other files than a run's, or with a finished run."""
    if not path.is_dir():
        if path.exists():
            raise RunError(f"{path} is a file: pass another --output_dir")
        return
    status = _read_settings(path).get("run", {}).get("status")
    names = sorted(child.name for child in path.iterdir())
    if status is None:
        started = (LOCK, f"{TRAINING_SETTINGS}.tmp")  # what a run leaves that is killed as it starts
        others = [name for name in names if name not in started]
    elif overwrite or status == "replaced":
        others = [name for name in names if not any(fnmatch(name, pattern) for pattern in RUN_FILES)]
    else:
        others = []
    if others:
        raise RunError(
            f"{path} contains files that no training run wrote ({', '.join(others[:5])}); they are not deleted: pass "
            "another --output_dir, or move them away"
        )
    if status == "finished" and not overwrite:
        raise RunError(f"{path} holds a finished run: pass another --output_dir, or --overwrite_output to replace it")


def _read_settings(path: Path) -> dict[str, Any]:
    """Content of `training_settings.json`; empty if the file is missing or was not written by a run."""
    try:
        content = json.loads((path / TRAINING_SETTINGS).read_text(encoding="utf-8"))
        return content if content["run"]["status"] in ("unfinished", "replaced", "finished") else {}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def _by_option(settings: dict[str, Any], may_differ: Collection[str]) -> dict[str, Any]:
    options = {}
    for name, value in settings.items():
        if isinstance(value, dict) and name != "run":
            options |= _by_option(value, may_differ)
        elif name != "run" and name not in may_differ:
            options[f"--{name}"] = value
    return options
