"""What pictures are made of: clips of a split, their waveforms, descriptions and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..data.schema import Task, read_tasks
from ..errors import DataError
from ..transfer.features import hear
from ..transfer.tasks import PreparedData, TaskData
from ..transfer.zero_shot import TEMPLATES, clean_label


@dataclass(frozen=True)
class Illustration:
    """A part of the page.

    title: of its section.
    text: Markdown of the section: what is seen, tables, pictures.
    summary: what the pictures show, and the number that goes with it.
    pictures: file names, in the folder of the page.
    numbers: what is drawn, as JSON values.
    """

    title: str
    text: str
    summary: str
    pictures: list[str]
    numbers: dict[str, Any]


@dataclass(frozen=True)
class Material:
    """A split of a prepared dataset, for humans.

    data: the dataset.
    split: of it.
    """

    data: PreparedData
    split: str

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        return read_tasks(self.data.folder)

    def truth(self, task: Task) -> dict[str, np.ndarray]:
        """What `Task.target` gives, by clip."""
        return self._truth[task.name]

    @cached_property
    def _truth(self) -> dict[str, dict[str, np.ndarray]]:
        return {task.name: TaskData(self.data.folder, task).targets(self.split).by_id for task in self.tasks}

    @cached_property
    def captions(self) -> dict[str, str]:
        """Descriptions by clip; of data without, none."""
        try:
            return self.data.captions(self.split)
        except DataError:
            return {}

    def classes_of(self, task: Task, clip: str) -> list[str]:
        """The classes that are true of a clip, in a task that has classes; none where nobody knows."""
        target = self.truth(task).get(clip)
        if target is None:
            return []
        indices = np.flatnonzero(target) if task.kind == "multi_label" else [int(target)]
        return [task.classes[index] for index in indices]

    def labels(self, clip: str) -> list[str]:
        """What the data says of a clip: its class of every task in one text, its other tags in another."""
        names: dict[str, list[str]] = {kind: [] for kind in TEMPLATES}
        for task in self.tasks:
            if task.kind in TEMPLATES:
                names[task.kind] += map(clean_label, self.classes_of(task, clip))
        classes = names["single_label"]
        tags = [name for name in dict.fromkeys(names["multi_label"]) if name not in classes]
        return [text for text in (" · ".join(classes), ", ".join(tags)) if text]

    def waveforms(self, clips: Sequence[str], rate: int) -> dict[str, np.ndarray]:
        """Mono waveforms `(samples,)` of some clips; those that cannot be heard are not among them."""
        wanted = set(clips)
        heard = dict(hear(row, rate, self.data.seconds) for row in self.data.rows(self.split) if row["id"] in wanted)
        return {clip: waveform for clip, waveform in heard.items() if isinstance(waveform, np.ndarray)}
