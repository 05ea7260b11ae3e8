"""Tasks and the prepared datasets that they are learned from: audio without labels, and labels when they are due."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from ..data.corpora import CORPORA, NOTE_TASK, SYNTHETIC_TASKS
from ..data.prepare import prepare
from ..data.recordings import group_rows
from ..data.schema import SETTINGS_FILE, Task, read_tasks
from ..data.shards import find_shards, read_recordings
from ..data.tables import Skipped
from ..errors import DataError
from ..files import make_folder
from ..synthetic import CorpusConfig, write_corpus, write_notes
from ..synthetic.generate import renderer_for
from ..synthetic.write import check_folder

TRAIN, VALIDATION = "train", "validation"
HELD_OUT_SHARE = 0.1  # of the training rows, to validate on where a dataset has no validation split
SYNTHETIC_NAMES = tuple(task.name for task in (*SYNTHETIC_TASKS, NOTE_TASK))
_TEST_SPLITS = ("test", "test_presets")
_SOUNDFONT_SPLIT = "test_soundfont"
# Pre-training takes the corpus of seed 0: no song is in both.
_SYNTHETIC_SEED = 1


@dataclass(frozen=True)
class Targets:
    """The truth about the rows of a split.

    by_id: what `Task.target` gives, by row.
    skipped: rows about which the task's columns say nothing that it knows.
    """

    by_id: dict[str, np.ndarray]
    skipped: list[Skipped]

    def of(self, ids: list[str]) -> np.ndarray:
        """`(rows, ...)`, of rows that all have one."""
        return np.stack([self.by_id[name] for name in ids])


@dataclass(frozen=True)
class PreparedData:
    """A prepared dataset without its labels; made by `open_described`. Nothing is read before it is asked for.

    folder: of the dataset.
    hidden: splits in it that are as if they were not there.
    """

    folder: Path
    hidden: frozenset[str] = field(default=frozenset(), kw_only=True)

    @property
    def seconds(self) -> float | None:
        """How much of each clip is heard, from its start; None for all of it."""
        return None

    @cached_property
    def _shards(self) -> dict[str, list[Path]]:
        return {split: paths for split, paths in find_shards(self.folder).items() if split not in {None, *self.hidden}}

    @property
    def test_splits(self) -> list[str]:
        """`test` first, if there is one."""
        return sorted(split for split in self._shards if split.startswith("test"))

    def splits(self) -> list[str]:
        """What it is learned on and chosen by, then the tests."""
        return [TRAIN, VALIDATION, *self.test_splits]

    def ids(self, split: str) -> list[str]:
        """Ids of the rows, in order. Where there is no validation split, a part of the training rows is one."""
        if split == VALIDATION and VALIDATION not in self._shards:
            return [name for name in self._column(TRAIN, "id") if name in self._held_out]
        names = self._column(split, "id")
        if split == TRAIN and VALIDATION not in self._shards:
            names = [name for name in names if name not in self._held_out]
        return names

    @cached_property
    def _held_out(self) -> frozenset[str]:
        """Training rows that validate where there is no validation split: all rows of a recording, or none."""
        names = self._column(TRAIN, "id")
        groups = group_rows(names, read_recordings(self._find(TRAIN)))
        return frozenset(name for name, group in zip(names, groups, strict=True) if _is_held_out(group))

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """Rows with `id` and `audio` (a struct of `bytes` and `path`), and nothing else."""
        wanted = set(self.ids(split))
        for shard in self._find(split):
            for batch in pq.ParquetFile(shard).iter_batches(batch_size=16, columns=["id", "audio"]):
                yield from (row for row in batch.to_pylist() if row["id"] in wanted)

    def is_synthetic(self, split: str) -> bool:
        """Whether the audio itself is in the shards, or of the first row at least, rather than the paths of files."""
        first = next(self.rows(split), None)
        return first is not None and first["audio"]["bytes"] is not None

    def captions(self, split: str) -> dict[str, str]:
        """Descriptions by id, of the rows that have one.

        Raises:
            DataError: there are none.
        """
        texts = {}
        if "caption" in pq.read_schema(self._find(split)[0]).names:
            wanted = set(self.ids(split))
            cells = zip(self._column(split, "id"), self._column(split, "caption"), strict=True)
            texts = {name: text for name, text in cells if text and name in wanted}
        if not texts:
            raise DataError(f"{self.folder}: its split {split} has no descriptions (column caption)")
        return texts

    def recordings(self, split: str) -> dict[str, str]:
        """Which audio a row has, by id: equal where the same file is stored with several descriptions."""
        recordings = dict(zip(self._column(split, "id"), read_recordings(self._find(split)), strict=True))
        return {name: recordings[name] for name in self.ids(split)}

    def fingerprint(self, split: str) -> str:
        """Another one for other ids or other files; files of the same size and time are taken to be the same."""
        files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self._find(split)]
        return sha256(json.dumps([files, self.ids(split)]).encode()).hexdigest()

    def read_split(self, split: str) -> str:
        """The one whose shards hold it."""
        return TRAIN if split == VALIDATION and VALIDATION not in self._shards else split

    def _find(self, split: str) -> list[Path]:
        split = self.read_split(split)
        if split not in self._shards:
            raise DataError(f"{self.folder}: there is no split {split!r}; there are {', '.join(self._shards)}")
        return self._shards[split]

    def _column(self, split: str, name: str) -> list:
        cells = []
        for shard in self._find(split):
            try:
                cells += pq.read_table(shard, columns=[name])[name].to_pylist()
            except (KeyError, pa.ArrowException, OSError) as error:
                raise DataError(f"{shard}: its column {name!r} cannot be read: {error}; prepare it anew") from error
        return cells


@dataclass(frozen=True)
class TaskData(PreparedData):
    """A task on a prepared dataset; made by `open_task`. Labels are read by `targets` only.

    task: what is learned.
    """

    task: Task

    @property
    def seconds(self) -> float | None:
        return self.task.seconds

    def targets(self, split: str) -> Targets:
        """The truth about the rows of a split: reads their labels.

        Raises:
            DataError: they cannot be read.
        """
        by_id, skipped = {}, []
        columns = {column: self._column(split, column) for column in self.task.columns}
        wanted = set(self.ids(split))
        for index, name in enumerate(self._column(split, "id")):
            if name not in wanted:
                continue
            row = {column: cells[index] for column, cells in columns.items()}
            if any(cell is None for cell in row.values()):
                skipped.append(Skipped(name, f"no label for the task {self.task.name}"))
                continue
            try:
                target = self.task.target(row)
            except ValueError as error:
                skipped.append(Skipped(name, f"no label for the task {self.task.name}", str(error)))
                continue
            if np.isfinite(target).all():
                by_id[name] = target
            else:
                skipped.append(Skipped(name, f"no label for the task {self.task.name}", "not a finite number"))
        return Targets(by_id, skipped)


def open_described(folder: str | Path) -> PreparedData:
    """A prepared dataset for what needs no labels; it may have descriptions only.

    Args:
        folder: as `training/prepare_dataset.py` writes it.

    Raises:
        DataError: there is no such dataset, or it has nothing to test on.
    """
    data = PreparedData(_find_folder(folder))
    if not data.test_splits:
        raise DataError(f"{folder}: there is no split test; there are {', '.join(data._shards) or 'no splits'}")
    return data


def open_task(folder: str | Path, name: str | None = None, hidden: Iterable[str] = ()) -> TaskData:
    """A task of a prepared dataset.

    Args:
        folder: as `training/prepare_dataset.py` writes it.
        name: of the task; None where there is only one.
        hidden: splits to leave alone.

    Raises:
        DataError: there is no such dataset or task, or it has nothing to learn or to test on.
    """
    folder = _find_folder(folder)
    tasks = {task.name: task for task in read_tasks(folder)}
    if not tasks:
        raise DataError(f"{folder}: this corpus has no tasks, only descriptions to pre-train on")
    if name is None and len(tasks) == 1:
        name = next(iter(tasks))
    if name not in tasks:
        asked = "it has several tasks" if name is None else f"it has no task {name!r}"
        raise DataError(f"{folder}: {asked}; pass --task with one of: {', '.join(tasks)}")
    data = TaskData(folder, tasks[name], hidden=frozenset(hidden))
    if TRAIN not in data._shards or not data.test_splits:
        raise DataError(
            f"{folder}: a task is learned on the split train and tested on test; there are "
            f"{', '.join(data._shards) or 'no splits'}"
        )
    return data


def open_synthetic_task(
    name: str,
    directory: str | Path,
    clips: int,
    clip_seconds: float,
    progress: bool,
    held_out_soundfont: str | None = None,
) -> TaskData:
    """A task of the synthetic corpus, which is made, once, in `directory`.

    Args:
        name: one of `SYNTHETIC_NAMES`.
        directory: where corpora of any size are kept.
        clips: to learn from; a quarter of it to validate on, half of it per test split.
        clip_seconds: their length; single notes have their own.
        progress: show bars.
        held_out_soundfont: path of an SF2 file whose instruments play one more test split, `test_soundfont`; it is
            added where the rest is there. None: no such split, also where there is one.

    Raises:
        DataError: there is no such task, the soundfont cannot be played, or what is there was made with other
            settings, such as another soundfont.
    """
    if name not in SYNTHETIC_NAMES:
        raise DataError(
            f"--task {name}: the synthetic corpus has {', '.join(SYNTHETIC_NAMES)}; other tasks need --data, a folder "
            "made by training/prepare_dataset.py"
        )
    if held_out_soundfont is not None and not Path(held_out_soundfont).is_file():
        raise DataError(f"--held_out_soundfont {held_out_soundfont}: there is no such file")
    notes = name == NOTE_TASK.name
    folder = Path(directory) / (f"notes-{clips}" if notes else f"clips-{clips}x{clip_seconds:g}s")
    sizes = {TRAIN: clips, VALIDATION: clips // 4, **dict.fromkeys(_TEST_SPLITS, clips // 2)}
    prepared = folder / "prepared"
    config = CorpusConfig(seed=_SYNTHETIC_SEED, clip_seconds=clip_seconds, held_out_soundfont=held_out_soundfont)
    if held_out_soundfont is not None:
        sizes[_SOUNDFONT_SPLIT] = clips // 2
        check_folder(config, _SOUNDFONT_SPLIT, folder)
    if held_out_soundfont is not None and _SOUNDFONT_SPLIT not in _prepared_splits(prepared):
        renderer_for(config, _SOUNDFONT_SPLIT)  # complains before anything is made
    make_folder(folder, "--corpus_dir")
    with FileLock(folder / ".prepare.lock"):  # others that want the same wait until it is there
        if sizes.keys() - _prepared_splits(prepared):
            for split, number in sizes.items():
                (write_notes if notes else write_corpus)(config, split, max(1, number), folder, progress=progress)
            corpus = CORPORA["synthetic_notes" if notes else "synthetic"]
            prepare(corpus, folder, prepared, embed=False, progress=progress)
    return open_task(prepared, name, {_SOUNDFONT_SPLIT} - sizes.keys())


def _find_folder(folder: str | Path) -> Path:
    if not Path(folder).is_dir():
        raise DataError(f"--data {folder} does not exist; prepare one with training/prepare_dataset.py")
    return Path(folder)


def _prepared_splits(folder: Path) -> set[str]:
    path = folder / SETTINGS_FILE
    return set(json.loads(path.read_text(encoding="utf-8"))["finished"] or ()) if path.is_file() else set()


def _is_held_out(name: str) -> bool:
    return int.from_bytes(sha256(name.encode()).digest()[:4], "big") < HELD_OUT_SHARE * 2**32
