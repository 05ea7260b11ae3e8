"""Checkpoints of a training run: complete or absent, and verified before a run resumes from them.

    step-000100/          a model that `from_pretrained` takes
        checkpoint.json   what this is, and every file's size and sha256
        state/            what `Accelerator.save_state` writes, and `process-RANK.json`
    best/                 the best model so far, with metrics.json

A learning-rate schedule that accelerate does not step is registered by the caller before `save` and `load`:
`accelerator.register_for_checkpointing(schedule)` puts it into state/custom_checkpoint_0.pkl.
"""

import json
import os
import re
import shutil
import traceback
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import accelerate
import torch
from accelerate import Accelerator
from accelerate.utils import RNG_STATE_NAME, gather_object

from .. import __version__
from ..errors import RunError
from ..files import sync, write_json
from .manifest import read_manifest, sync_all, verify_files, write_manifest

VERSIONS = {"torch": torch.__version__, "accelerate": accelerate.__version__, "mulap-hf": __version__}
Result = TypeVar("Result")


class Checkpoints:
    """The checkpoints in the folder of a run, which all processes must see.

    Args:
        folder: of the checkpoints; it exists.
        keep: number of the newest ones to keep.
    """

    def __init__(self, folder: str | os.PathLike, keep: int):
        if keep < 1:
            raise RunError(f"--keep_checkpoints {keep}: at least 1 is needed to resume")
        self.folder, self.keep = Path(folder), keep

    def save(
        self,
        accelerator: Accelerator,
        step: int,
        state: dict[str, Any],
        local_state: dict[str, Any],
        export: Callable[[Path], None],
    ):
        """Saves a checkpoint and deletes the oldest ones; called by all processes. An existing one is not replaced.

        Args:
            accelerator: has prepared what is trained.
            step: optimizer steps done.
            state: JSON values of the whole run, those of the main process.
            local_state: JSON values of this process.
            export: writes the model and its processor into a folder; called in the main process.

        Raises:
            RunError: saving failed in one process, for instance because the disk is full. All processes raise it. The
                earlier checkpoints are unchanged, so the run can resume.
        """
        final = self.folder / f"step-{step:06d}"
        partial = final.with_name(f"{final.name}.incomplete")
        main = accelerator.is_main_process

        def begin() -> bool:
            if not main or final.exists():
                return False
            self.clean()
            (partial / "state").mkdir(parents=True)
            return True

        def write():
            if main:
                export(partial)
            # Not as safetensors, which accelerate cannot load if a buffer is a view of a larger one.
            accelerator.save_state(str(partial / "state"), safe_serialization=False)
            write_json(partial / "state" / f"process-{accelerator.process_index}.json", local_state)

        def seal():
            if main:
                processes = range(accelerator.num_processes)
                if not all((partial / "state" / f"process-{rank}.json").exists() for rank in processes):
                    raise RunError("not all processes see the same folder")
                facts = {
                    "step": step,
                    "state": state,
                    "processes": len(processes),
                    "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                    "versions": VERSIONS,
                }
                write_manifest(partial, facts)
                os.rename(partial, final)
                sync(self.folder)
                for old in self._complete()[: -self.keep]:
                    _delete(old)

        if self._write(accelerator, partial, begin)[0]:
            self._write(accelerator, partial, write)
            self._write(accelerator, partial, seal)

    def load(self, accelerator: Accelerator, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Verifies a checkpoint and restores its state, including the random generators.

        Args:
            accelerator: has prepared and registered the same as when it was saved.
            path: of the checkpoint.

        Returns:
            `state` and this process' `local_state` as they were saved.

        Raises:
            RunError: a file is damaged, or another number of processes saved it. All processes raise it.
        """
        rank = accelerator.process_index

        def verify() -> dict[str, Any]:
            manifest = read_manifest(path)
            if manifest["processes"] != accelerator.num_processes:
                raise RunError(
                    f"{path}: saved by {manifest['processes']} processes, this run has {accelerator.num_processes}: "
                    "the order of the data would differ; launch as many processes as before (--num_processes)"
                )
            verify_files(path, manifest, lambda name: accelerator.is_main_process or _is_read_by(name, rank))
            return manifest

        def restore() -> dict[str, Any]:
            state = path / "state"
            accelerator.load_state(str(state))
            # accelerate does not raise an error if it cannot restore the random generators.
            random_state = accelerate.utils.load(state / f"{RNG_STATE_NAME}_{rank}.pkl")["torch_manual_seed"]
            if not torch.equal(random_state, torch.get_rng_state()):
                raise RunError(f"{path}: accelerate {accelerate.__version__} restored no random generators")
            return json.loads((state / f"process-{rank}.json").read_text(encoding="utf-8"))

        manifest = _together(accelerator, verify)[0]
        return manifest["state"], _together(accelerator, restore)[rank]

    def save_best(self, accelerator: Accelerator, export: Callable[[Path], None], metrics: dict[str, Any]):
        """Replaces the best model; called by all processes. `best_folder` is a complete model at any time.

        Args:
            accelerator: of the run.
            export: writes the model and its processor into a folder; called in the main process.
            metrics: JSON values for `metrics.json` beside it.

        Raises:
            RunError: saving failed in one process. All processes raise it. The earlier best model is unchanged.
        """
        best = self.folder / "best"
        partial, previous = best.with_name("best.incomplete"), best.with_name("best.previous")

        def write():
            if accelerator.is_main_process:
                self.clean()
                partial.mkdir()
                export(partial)
                write_json(partial / "metrics.json", metrics)
                sync_all(partial)
                if best.exists():
                    os.rename(best, previous)
                os.rename(partial, best)
                sync(self.folder)
                shutil.rmtree(previous, ignore_errors=True)

        self._write(accelerator, partial, write)

    def latest(self) -> Path | None:
        """The newest checkpoint."""
        return next(reversed(self._complete()), None)

    def best_folder(self) -> Path | None:
        """The best model, also after a run was killed while replacing it."""
        return next((path for name in ("best", "best.previous") if (path := self.folder / name).exists()), None)

    def clean(self):
        """Deletes what a killed run has left; in the main process, while no other process saves."""
        previous, best = self.folder / "best.previous", self.folder / "best"
        if previous.exists() and not best.exists():
            os.rename(previous, best)
        for pattern in ("step-*.incomplete", "step-*.deleted", "best.incomplete", "best.previous"):
            for path in self.folder.glob(pattern):
                shutil.rmtree(path)

    def _complete(self) -> list[Path]:
        """Oldest first."""
        paths = [path for path in self.folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
        return sorted(paths, key=lambda path: int(path.name.removeprefix("step-")))

    def _write(self, accelerator: Accelerator, partial: Path, work: Callable[[], Result]) -> list[Result]:
        """As `_together`; if the work fails, what it has written is deleted."""
        try:
            return _together(accelerator, work)
        except RunError as error:
            if accelerator.is_main_process:
                shutil.rmtree(partial, ignore_errors=True)
            accelerator.wait_for_everyone()
            before = self.latest() or self.best_folder()
            free = shutil.disk_usage(self.folder).free
            room = f"{free:,} bytes are free"
            if before:
                took = sum(file.stat().st_size for file in before.rglob("*"))
                room += f", {before.name} took {took:,}" + (": the disk is full" if free < took else "")
            raise RunError(
                f"{partial.with_suffix('')} could not be saved: {error} ({room}); earlier checkpoints are unchanged"
            ) from error


def _together(accelerator: Accelerator, work: Callable[[], Result]) -> list[Result]:
    """Results of `work` in every process. If it fails in one, all raise, so that no process waits for another."""
    result = reason = cause = None
    try:
        result = work()
    except Exception as error:  # a full disk is an OSError, RuntimeError, SafetensorError or Exception: as who writes
        reason = str(error) if isinstance(error, (RunError, OSError)) else f"{type(error).__name__}: {error}"
        link = cause = error
        while link:  # closes files in its frames: a deleted file takes space as long as it is open
            traceback.clear_frames(link.__traceback__)
            link = link.__context__
    outcomes = gather_object([(result, reason)])
    for rank, (_, reason) in enumerate(outcomes):
        if reason is not None:
            where = f"process {rank}: " if accelerator.num_processes > 1 else ""
            raise RunError(where + reason) from cause
    return [result for result, _ in outcomes]


def _delete(path: Path):
    """Deletes a checkpoint, which disappears at once for whoever lists checkpoints."""
    doomed = path.with_name(f"{path.name}.deleted")
    os.rename(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)  # `clean` deletes what resists


def _is_read_by(name: str, rank: int) -> bool:
    own = re.fullmatch(r"state/(?:random_states_|process-)(\d+)\.\w+", name)
    return name.startswith("state/") and (own is None or int(own[1]) == rank)
