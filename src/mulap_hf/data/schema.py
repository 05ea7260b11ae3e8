"""The one schema of all corpora: examples as they are read, tasks, and what a prepared dataset looks like.

A prepared dataset is a folder with `<split>-00000-of-000NN.parquet` shards, `README.md`, `tasks.json` and
`prepare.json`. Every shard has the columns `id` (string), `audio` (struct of `bytes` and `path`, one of them null) and
`recording` (string, equal in rows with the same audio), `caption` (string) where there are captions, and the columns
that the tasks predict.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from ..errors import DataError
from .tables import read_text

TASKS_FILE = "tasks.json"
SETTINGS_FILE = "prepare.json"
AUDIO_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})

Kind = Literal["multi_label", "single_label", "regression"]


@dataclass(frozen=True)
class Skipped:
    """An item that was left out, and why: a reason that many items may share, and what it was in this case."""

    id: str
    reason: str
    detail: str = ""

    def __str__(self):
        return f"{self.id}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True)
class Example:
    """An item of a corpus.

    Attributes:
        id: unique in its split.
        audio: an audio file, or the bytes of one.
        name: file name that the bytes go by, for its suffix; of a file it is its own.
        caption: free text about the music; None in corpora without.
        fields: further columns, by name.
    """

    id: str
    audio: Path | bytes
    name: str | None = None
    caption: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """What is predicted from the music, and from which columns the truth comes.

    Attributes:
        name: of the task.
        kind: "multi_label" (a column of lists of classes), "single_label" (a column with a class) or "regression"
            (one or more columns of numbers).
        columns: where the truth is; exactly one, except for regression.
        classes: in the order of the outputs; none for regression.
        seconds: length of the input in seconds, from the start of each clip; None for the whole clip.
        description: for humans.
    """

    name: str
    kind: Kind
    columns: tuple[str, ...]
    classes: tuple[str, ...] = ()
    seconds: float | None = None
    description: str = ""

    def __post_init__(self):
        object.__setattr__(self, "columns", tuple(self.columns))
        object.__setattr__(self, "classes", tuple(self.classes))
        if self.kind == "regression":
            if self.classes or not self.columns:
                raise ValueError(f"task {self.name!r}: regression has columns and no classes")
        elif self.kind not in ("multi_label", "single_label"):
            raise ValueError(f"task {self.name!r}: kind is multi_label, single_label or regression, not {self.kind!r}")
        elif len(self.columns) != 1 or len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(
                f"task {self.name!r}: {self.kind} has exactly one column and two or more distinct classes"
            )

    @property
    def num_outputs(self) -> int:
        """How many numbers a model gives for it."""
        return len(self.classes) or len(self.columns)

    def target(self, row: Mapping[str, Any]) -> np.ndarray:
        """The truth about a row of a prepared dataset.

        Returns:
            float32 `(classes,)` of zeros and ones, int64 `()` with the index of the class, or float32 `(columns,)`.
            Tags that are not classes of the task are left out.

        Raises:
            ValueError: the class of a single-label task is none of its classes.
        """
        if self.kind == "regression":
            return np.array([row[column] for column in self.columns], dtype=np.float32)
        value = row[self.columns[0]]
        if self.kind == "multi_label":
            return np.isin(self.classes, list(value)).astype(np.float32)
        if value not in self.classes:
            raise ValueError(f"task {self.name!r}: {value!r} is none of its {len(self.classes)} classes")
        return np.array(self.classes.index(value))


@dataclass(frozen=True)
class Reading:
    """What a reader found in a corpus on disk.

    Attributes:
        splits: examples, and what is left out, by split; read as they are asked for, once.
        columns: Arrow types of the columns besides `id`, `audio` and `recording`.
        tasks: what can be predicted from the columns.
        expected: published number of items per split; "all" for their sum, where only that is known.
        known_broken: ids of items that are broken in the published archives; `expected` does not count them.
        differences: how what was read differs from what was published, a sentence each.
        missing: splits that are not on disk, and why that is known.
        notes: what the reader decided, for the dataset card, a sentence each.
        messages: what the user should know besides; they may have paths of this machine, and do not go to the card.
    """

    splits: Mapping[str, Iterable[Example | Skipped]]
    columns: Mapping[str, pa.DataType]
    tasks: tuple[Task, ...] = ()
    expected: Mapping[str, int] = field(default_factory=dict)
    known_broken: frozenset[str] = frozenset()
    differences: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()

    @property
    def arrow_schema(self) -> pa.Schema:
        return pa.schema({"id": pa.string(), "audio": AUDIO_TYPE, "recording": pa.string(), **self.columns})


def write_tasks(folder: Path, tasks: Iterable[Task]):
    """Writes the tasks of a prepared dataset into its folder."""
    content = json.dumps([asdict(task) for task in tasks], indent=2, ensure_ascii=False)
    (folder / TASKS_FILE).write_text(content + "\n", encoding="utf-8")


def read_tasks(folder: Path) -> tuple[Task, ...]:
    """The tasks of a prepared dataset.

    Raises:
        DataError: its `tasks.json` is missing or not one of ours.
    """
    path = Path(folder) / TASKS_FILE
    try:
        return tuple(Task(**task) for task in json.loads(read_text(path)))
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: not a list of tasks ({error}); prepare the dataset anew") from error
