"""Prepared datasets and their tasks. Audio and labels are read separately, so that test labels are read last."""

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

from ..data.corpora import CORPORA
from ..data.corpora.synthetic import NOTE_TASK, SYNTHETIC_TASKS
from ..data.prepare import prepare
from ..data.recordings import group_rows
from ..data.schema import SETTINGS_FILE, Skipped, Task, read_tasks
from ..data.shards import find_shards, read_recordings
from ..errors import DataError
from ..files import make_folder
from ..synthetic import CorpusConfig, write_corpus, write_notes
from ..synthetic.generate import players_for
from ..synthetic.write import check_folder

TRAIN, VALIDATION = "train", "validation"
HELD_OUT_SHARE = 0.1  # fraction of the training rows for validation if a dataset has no validation split
SYNTHETIC_NAMES = tuple(task.name for task in (*SYNTHETIC_TASKS, NOTE_TASK))
_TEST_SPLITS = ("test", "test_presets")
_SOUNDFONT_SPLIT = "test_soundfont"
# The default pre-training corpus has seed 0, so tasks and pre-training have no song in common.
_SYNTHETIC_SEED = 1


@dataclass(frozen=True)
class Targets:
    """The targets of the rows of a split.

    Attributes:
        by_id: Target of each row by id, see `Task.target`.
        skipped: Rows without a valid label.
    """

    by_id: dict[str, np.ndarray]
    skipped: list[Skipped]

    def of(self, ids: list[str]) -> np.ndarray:
        """Return the stacked targets of rows that all have one: `(rows, ...)`."""
        return np.stack([self.by_id[name] for name in ids])


@dataclass(frozen=True)
class PreparedData:
    """A prepared dataset without labels, opened by `open_described`. Shards are read when they are needed.

    Attributes:
        folder: Folder of the dataset.
        hidden: Splits to ignore.
    """

    folder: Path
    hidden: frozenset[str] = field(default=frozenset(), kw_only=True)

    @property
    def seconds(self) -> float | None:
        """Length of the input in seconds, from the start of each clip; None for the whole clip."""
        return None

    @cached_property
    def _shards(self) -> dict[str, list[Path]]:
        return {split: paths for split, paths in find_shards(self.folder).items() if split not in {None, *self.hidden}}

    @property
    def test_splits(self) -> list[str]:
        """The test splits, beginning with `test` if it exists."""
        return sorted(split for split in self._shards if split.startswith("test"))

    def splits(self) -> list[str]:
        """Return all splits: train, validation, and the test splits."""
        return [TRAIN, VALIDATION, *self.test_splits]

    def ids(self, split: str) -> list[str]:
        """Return the ids of the rows in order. Without a validation split, a part of the training rows is used."""
        if split == VALIDATION and VALIDATION not in self._shards:
            return [name for name in self._column(TRAIN, "id") if name in self._held_out]
        names = self._column(split, "id")
        if split == TRAIN and VALIDATION not in self._shards:
            names = [name for name in names if name not in self._held_out]
        return names

    @cached_property
    def _held_out(self) -> frozenset[str]:
        """Training rows that form the validation split if there is none; a recording is never divided."""
        names = self._column(TRAIN, "id")
        groups = group_rows(names, read_recordings(self._find(TRAIN)))
        return frozenset(name for name, group in zip(names, groups, strict=True) if _is_held_out(group))

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a split with `id` and `audio` (a struct of `bytes` and `path`) only."""
        wanted = set(self.ids(split))
        for shard in self._find(split):
            for batch in pq.ParquetFile(shard).iter_batches(batch_size=16, columns=["id", "audio"]):
                yield from (row for row in batch.to_pylist() if row["id"] in wanted)

    def stores_audio(self, split: str) -> bool:
        """Return whether the shards contain the audio, judging by the first row, rather than paths of audio files."""
        first = next(self.rows(split), None)
        return first is not None and first["audio"]["bytes"] is not None

    def captions(self, split: str) -> dict[str, str]:
        """Return the descriptions by id, for the rows that have one.

        Raises:
            DataError: The split has no descriptions.
        """
        texts = {}
        if "caption" in pq.read_schema(self._find(split)[0]).names:
            wanted = set(self.ids(split))
            cells = zip(self._column(split, "id"), self._column(split, "caption"), strict=True)
            texts = {name: text for name, text in cells if text and name in wanted}
        if not texts:
            raise DataError(
                f"{self.folder}: its split {split} has no descriptions (column caption); choose another dataset"
            )
        return texts

    def recordings(self, split: str) -> dict[str, str]:
        """Return the recording of each row by id; rows with the same audio have the same recording."""
        recordings = dict(zip(self._column(split, "id"), read_recordings(self._find(split)), strict=True))
        return {name: recordings[name] for name in self.ids(split)}

    def fingerprint(self, split: str) -> str:
        """Return a hash of the ids and the shards of a split; shards are identified by name, size and time."""
        files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self._find(split)]
        return sha256(json.dumps([files, self.ids(split)]).encode()).hexdigest()

    def read_split(self, split: str) -> str:
        """Return the split whose shards contain this split."""
        return TRAIN if split == VALIDATION and VALIDATION not in self._shards else split

    def _find(self, split: str) -> list[Path]:
        split = self.read_split(split)
        if split not in self._shards:
            raise DataError(f"{self.folder}: unknown split {split!r}; choose one of {', '.join(self._shards)}")
        return self._shards[split]

    def _column(self, split: str, name: str) -> list:
        cells = []
        for shard in self._find(split):
            try:
                cells += pq.read_table(shard, columns=[name])[name].to_pylist()
            except (KeyError, pa.ArrowException, OSError) as error:
                raise DataError(
                    f"{shard}: the column {name!r} cannot be read ({error}); prepare the dataset again"
                ) from error
        return cells


@dataclass(frozen=True)
class TaskData(PreparedData):
    """A task of a prepared dataset, opened by `open_task`. Only `targets` reads labels.

    Attributes:
        task: The task.
    """

    task: Task

    @property
    def seconds(self) -> float | None:
        return self.task.seconds

    def targets(self, split: str) -> Targets:
        """Read the labels of a split; return the targets of its rows.

        Raises:
            DataError: The labels cannot be read.
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
    """Open a prepared dataset without its labels.

    Args:
        folder: Folder made by `training/prepare_dataset.py`.

    Raises:
        DataError: The dataset does not exist, or has no test split.
    """
    data = PreparedData(_find_folder(folder))
    if not data.test_splits:
        raise DataError(
            f"{folder}: the split test is missing (found: {', '.join(data._shards) or 'no splits'}); choose a dataset "
            "with a test split"
        )
    return data


def open_task(folder: str | Path, name: str | None = None, hidden: Iterable[str] = ()) -> TaskData:
    """Open a task of a prepared dataset.

    Args:
        folder: Folder made by `training/prepare_dataset.py`.
        name: Name of the task; None for the only task.
        hidden: Splits to ignore.

    Raises:
        DataError: The dataset or the task does not exist, or the training or test split is missing.
    """
    folder = _find_folder(folder)
    tasks = {task.name: task for task in read_tasks(folder)}
    if not tasks:
        raise DataError(f"{folder}: this corpus has no tasks, only descriptions for pre-training; choose another one")
    if name is None and len(tasks) == 1:
        name = next(iter(tasks))
    if name not in tasks:
        problem = "it has several tasks" if name is None else f"it has no task {name!r}"
        raise DataError(f"{folder}: {problem}; pass --task with one of: {', '.join(tasks)}")
    data = TaskData(folder, tasks[name], hidden=frozenset(hidden))
    if TRAIN not in data._shards or not data.test_splits:
        raise DataError(
            f"{folder}: a task requires the splits train and test (found: {', '.join(data._shards) or 'no splits'}); "
            "choose a dataset with both"
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
    """Open a task of the synthetic corpus, generating the corpus if it does not exist.

    Args:
        name: One of `SYNTHETIC_NAMES`.
        directory: Folder of the generated corpora, one subfolder per size.
        clips: Number of training clips; the validation split has a quarter, each test split half of it.
        clip_seconds: Length of a clip in seconds; single notes have a fixed length.
        progress: Show progress bars.
        held_out_soundfont: Path of an SF2 file for the additional test split `test_soundfont`, which is added to an
            existing corpus. None ignores that split.

    Raises:
        DataError: The task does not exist, the soundfont cannot be played, or the existing corpus was generated with
            other settings, such as another soundfont.
    """
    if name not in SYNTHETIC_NAMES:
        raise DataError(
            f"--task {name}: the synthetic corpus has the tasks {', '.join(SYNTHETIC_NAMES)}; for other tasks, pass "
            "--data with a folder made by training/prepare_dataset.py"
        )
    if held_out_soundfont is not None and not Path(held_out_soundfont).is_file():
        raise DataError(
            f"--held_out_soundfont {held_out_soundfont}: the file does not exist; pass the path of an SF2 file"
        )
    notes = name == NOTE_TASK.name
    folder = Path(directory) / (f"notes-{clips}" if notes else f"clips-{clips}x{clip_seconds:g}s")
    sizes = {TRAIN: clips, VALIDATION: clips // 4, **dict.fromkeys(_TEST_SPLITS, clips // 2)}
    prepared = folder / "prepared"
    config = CorpusConfig(seed=_SYNTHETIC_SEED, clip_seconds=clip_seconds, held_out_soundfont=held_out_soundfont)
    if held_out_soundfont is not None:
        sizes[_SOUNDFONT_SPLIT] = clips // 2
        check_folder(config, _SOUNDFONT_SPLIT, folder)
    if held_out_soundfont is not None and _SOUNDFONT_SPLIT not in _prepared_splits(prepared):
        players_for(config, _SOUNDFONT_SPLIT)  # raises before anything is generated
    make_folder(folder, "--corpus_dir")
    with FileLock(folder / ".prepare.lock"):  # a second process that needs the same corpus waits here
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
