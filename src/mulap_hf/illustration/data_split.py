"""Waveforms, descriptions and labels of a split of a prepared dataset."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..data.schema import Task, read_tasks
from ..errors import DataError
from ..transfer.features import load_waveform
from ..transfer.tasks import PreparedData, TaskData
from ..transfer.zero_shot import TEMPLATES, clean_label


@dataclass(frozen=True)
class DataSplit:
    """A split of a prepared dataset, with the labels of all its tasks.

    Attributes:
        data: The dataset.
        split: Name of the split.
    """

    data: PreparedData
    split: str

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of the dataset."""
        return read_tasks(self.data.folder)

    def truth(self, task: Task) -> dict[str, np.ndarray]:
        """Return the target of a task (see `Task.target`) by id of the clip."""
        return self._truth[task.name]

    @cached_property
    def _truth(self) -> dict[str, dict[str, np.ndarray]]:
        return {task.name: TaskData(self.data.folder, task).targets(self.split).by_id for task in self.tasks}

    @cached_property
    def captions(self) -> dict[str, str]:
        """Descriptions by id of the clip; empty if the dataset has no descriptions."""
        try:
            return self.data.captions(self.split)
        except DataError:
            return {}

    def classes_of(self, task: Task, clip: str) -> list[str]:
        """Return the true classes of a clip in a classification task; empty if the clip has no label."""
        target = self.truth(task).get(clip)
        if target is None:
            return []
        indices = np.flatnonzero(target) if task.kind == "multi_label" else [int(target)]
        return [task.classes[index] for index in indices]

    def labels(self, clip: str) -> list[str]:
        """Return the labels of a clip as up to two texts: its classes in single-label tasks, and its other tags."""
        names: dict[str, list[str]] = {kind: [] for kind in TEMPLATES}
        for task in self.tasks:
            if task.kind in TEMPLATES:
                names[task.kind] += map(clean_label, self.classes_of(task, clip))
        classes = names["single_label"]
        tags = [name for name in dict.fromkeys(names["multi_label"]) if name not in classes]
        return [text for text in (" · ".join(classes), ", ".join(tags)) if text]

    def waveforms(self, clips: Sequence[str], rate: int) -> dict[str, np.ndarray]:
        """Return the mono waveforms `(samples,)` of clips by id, without the clips that cannot be decoded."""
        wanted = set(clips)
        rows = (row for row in self.data.rows(self.split) if row["id"] in wanted)
        decoded = (load_waveform(row, rate, self.data.seconds) for row in rows)
        return {clip: waveform for clip, waveform in decoded if isinstance(waveform, np.ndarray)}
