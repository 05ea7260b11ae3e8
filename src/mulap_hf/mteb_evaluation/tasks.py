"""The tasks to evaluate: those of MTEB by their names, and those of a prepared folder in MTEB's form."""

import difflib
import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mteb
import numpy as np
import soundfile as sf
from datasets import Dataset, DatasetDict, Features, List, Value
from mteb.abstasks import AbsTask, AbsTaskClassification, AbsTaskMultilabelClassification, AbsTaskRetrieval
from mteb.abstasks.regression import AbsTaskRegression
from mteb.abstasks.task_metadata import TaskMetadata

from ..audio import load_audio
from ..data.schema import Task, read_tasks
from ..errors import DataError
from ..transfer.tasks import TRAIN, PreparedData, TaskData, open_described, open_task
from .arguments import CAPTIONS, MUSIC

_RATE = 16000
_AUDIO = {"bytes": Value("binary"), "path": Value("string")}


def named_tasks(names: Sequence[str], modalities: Sequence[str]) -> tuple[list[AbsTask], list[str]]:
    """Return tasks of MTEB, and the names of those that the model cannot do.

    Args:
        names: Names of tasks; `MUSIC` stands for all tasks about music.
        modalities: What the model encodes: "audio", "text".

    Raises:
        DataError: MTEB has no such task, or the model cannot do one that is named.
    """
    tasks: dict[str, AbsTask] = {}
    left_out = []
    known = {task.metadata.name: task for task in mteb.get_tasks(modalities=["audio"])}
    for name in names:
        if name == MUSIC:
            music = {task: found for task, found in known.items() if "Music" in (found.metadata.domains or [])}
            tasks |= {task: found for task, found in music.items() if _is_possible(found, modalities)}
            left_out += [task for task in music if task not in tasks]
        elif name not in known:
            close = difflib.get_close_matches(name, known, 1)
            raise DataError(
                f"--tasks {name}: MTEB {mteb.__version__} has no audio task of this name; "
                + (f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known)[:20])}, ...")
            )
        elif not _is_possible(known[name], modalities):
            raise DataError(
                f"--tasks {name}: it needs {' and '.join(known[name].metadata.modalities)} "
                f"({known[name].metadata.category}), but this model encodes {' and '.join(modalities)}: choose "
                "another task, or a model with a joint embedding space"
            )
        else:
            tasks[name] = known[name]
    return list(tasks.values()), sorted(left_out)


def _is_possible(task: AbsTask, modalities: Sequence[str]) -> bool:
    """Whether a model can do a task; none is given texts and audio as one input."""
    mixed = any("a" in side and "t" in side for side in (task.metadata.category or "").split("2"))
    return set(task.metadata.modalities) <= set(modalities) and not mixed


def prepared_tasks(folder: str, names: Sequence[str], modalities: Sequence[str]) -> list[AbsTask]:
    """Return the tasks of a folder made by `training/prepare_dataset.py`, as MTEB's.

    A task with classes is scored by MTEB's logistic regression, tags by its nearest neighbors and numbers by its
    linear regression (one task per column), all trained on the split train. Descriptions become retrieval in both
    directions. Each is evaluated on all test splits of the folder.

    Args:
        folder: The folder.
        names: Names of tasks in its `tasks.json`; `CAPTIONS` stands for retrieval. Empty for all that there are.
        modalities: What the model encodes: "audio", "text".

    Raises:
        DataError: The folder or a task cannot be used.
    """
    data = open_described(folder)
    known = {task.name: task for task in read_tasks(data.folder)}
    if not names:
        has_captions = "text" in modalities and _has_captions(data)
        names = [*known, *([CAPTIONS] if has_captions else [])]
    if not names:
        raise DataError(f"--data {folder}: it has no tasks that this model can do: choose another folder")
    tasks: list[AbsTask] = []
    for name in names:
        if name == CAPTIONS:
            if "text" not in modalities:
                raise DataError(f"--tasks {CAPTIONS}: this model encodes audio only: choose one that encodes texts")
            tasks += [_retrieval(data, category) for category in ("t2a", "a2t")]
        else:
            opened = open_task(folder, name)
            tasks += [_supervised(opened, index) for index in range(_parts(known[name]))]
    return tasks


def _has_captions(data: PreparedData) -> bool:
    try:
        return all(data.captions(split) for split in data.test_splits)
    except DataError:
        return False


def _parts(task: Task) -> int:
    return len(task.columns) if task.kind == "regression" else 1


def _supervised(data: TaskData, index: int) -> AbsTask:
    """The task as MTEB's: `index` is that of the column of a regression."""
    kind, base, score = {
        "single_label": ("AudioClassification", AbsTaskClassification, "accuracy"),
        "multi_label": ("AudioMultilabelClassification", AbsTaskMultilabelClassification, "lrap"),
        "regression": ("Regression", AbsTaskRegression, "r2"),
    }[data.task.kind]
    name = data.task.name if _parts(data.task) == 1 else f"{data.task.name}-{data.task.columns[index]}"
    return _make(base, _metadata(data, name, kind, "a2c", score, ["audio"]), _SupervisedRows(data, index))


def _retrieval(data: PreparedData, category: str) -> AbsTask:
    name = f"{CAPTIONS}-{'TextToAudio' if category == 't2a' else 'AudioToText'}"
    metadata = _metadata(data, name, "Any2AnyRetrieval", category, "ndcg_at_10", ["audio", "text"])
    return _make(AbsTaskRetrieval, metadata, _RetrievalRows(data, category))


def _make(base: type[AbsTask], metadata: TaskMetadata, rows: "_SupervisedRows | _RetrievalRows") -> AbsTask:
    """A task with its own class, as MTEB's are, that loads what `rows` gives."""

    def load_data(self, *arguments, **options):
        if not self.data_loaded:
            self._folder = tempfile.TemporaryDirectory(prefix="mulap-mteb-")
            self.dataset = rows.load(self._folder.name)
            self.data_loaded = True

    content = {"metadata": metadata, "load_data": load_data, "input_column_name": "audio"}
    return type(metadata.name, (base,), content)()


def _metadata(
    data: PreparedData, name: str, kind: str, category: str, score: str, modalities: list[str]
) -> TaskMetadata:
    splits = [TRAIN, *data.test_splits] if isinstance(data, TaskData) else data.test_splits
    return TaskMetadata(
        name=f"{data.folder.resolve().name}-{name}",
        description=f"{name} of the prepared folder {data.folder.resolve().name}",
        dataset={
            "path": f"local/{data.folder.resolve().name}",
            "name": name,
            "revision": "-".join(data.fingerprint(split)[:8] for split in splits),
        },
        type=kind,
        category=category,
        modalities=modalities,
        eval_splits=data.test_splits,
        eval_langs=["eng-Latn"],
        main_score=score,
        domains=["Music"],
    )


class _SupervisedRows:
    """The rows of a task with their targets."""

    def __init__(self, data: TaskData, index: int):
        self.data, self.index = data, index

    def load(self, cache: str) -> DatasetDict:
        kind = self.data.task.kind
        label = {
            "single_label": Value("int64"),
            "multi_label": List(Value("string")),
            "regression": Value("float64"),
        }
        column = "value" if kind == "regression" else "label"
        features = Features({"audio": _AUDIO, column: label[kind]})
        splits = {}
        for split in [TRAIN, *self.data.test_splits]:
            make = {"split": split, "column": column}
            splits[split] = Dataset.from_generator(self._rows, features, cache, gen_kwargs=make)
        return DatasetDict(splits)

    def _rows(self, split: str, column: str) -> Iterator[dict[str, Any]]:
        targets = self.data.targets(split)
        if targets.skipped:
            print(f"{self.data.folder}, {split}: {len(targets.skipped)} rows without a label of {self.data.task.name}")
        for row in self.data.rows(split):
            if row["id"] in targets.by_id:
                yield {"audio": _part(row["audio"], self.data.seconds), column: self._label(targets.by_id[row["id"]])}

    def _label(self, target: np.ndarray) -> Any:
        if self.data.task.kind == "multi_label":
            return [name for name, is_set in zip(self.data.task.classes, target, strict=True) if is_set]
        return target.item() if target.ndim == 0 else target[self.index].item()


class _RetrievalRows:
    """Recordings and their descriptions, one of which is searched by the other.

    Rows with equal descriptions, and rows of the same recording, are relevant for each other.
    """

    def __init__(self, data: PreparedData, category: str):
        self.data, self.category = data, category

    def load(self, cache: str) -> dict[str, dict[str, dict[str, Any]]]:
        return {"default": {split: self._split(split, cache) for split in self.data.test_splits}}

    def _split(self, split: str, cache: str) -> dict[str, Any]:
        captions, recordings = self.data.captions(split), self.data.recordings(split)
        text_ids = {text: f"text{index}" for index, text in enumerate(dict.fromkeys(captions.values()))}
        text_rows = Dataset.from_dict({"id": list(text_ids.values()), "text": list(text_ids)})
        features = Features({"id": Value("string"), "audio": _AUDIO})
        audio_rows = Dataset.from_generator(self._rows, features, cache, gen_kwargs={"split": split})
        by_text: dict[str, dict[str, int]] = {}
        by_sound: dict[str, dict[str, int]] = {}
        for name, text in captions.items():
            by_text.setdefault(text_ids[text], {})[recordings[name]] = 1
            by_sound.setdefault(recordings[name], {})[text_ids[text]] = 1
        if self.category == "t2a":
            return {"corpus": audio_rows, "queries": text_rows, "relevant_docs": by_text, "top_ranked": None}
        return {"corpus": text_rows, "queries": audio_rows, "relevant_docs": by_sound, "top_ranked": None}

    def _rows(self, split: str) -> Iterator[dict[str, Any]]:
        captions, recordings = self.data.captions(split), self.data.recordings(split)
        seen = set()
        for row in self.data.rows(split):
            sound = recordings[row["id"]]
            if row["id"] in captions and sound not in seen:
                seen.add(sound)
                yield {"id": sound, "audio": _part(row["audio"], self.data.seconds)}


def _part(audio: dict[str, Any], seconds: float | None) -> dict[str, Any]:
    """The audio of a row, cut to the part that the task uses."""
    if seconds is None:
        return audio
    source = audio["bytes"] if audio["bytes"] is not None else Path(audio["path"])
    buffer = io.BytesIO()
    sf.write(buffer, load_audio(source, _RATE, duration=seconds), _RATE, format="WAV", subtype="FLOAT")
    return {"bytes": buffer.getvalue(), "path": None}
