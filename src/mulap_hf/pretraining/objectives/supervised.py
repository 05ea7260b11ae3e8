"""Supervised tagging or classification, as a reference for the other objectives."""

from dataclasses import dataclass

import numpy as np

from ...configuration_mulap import MulapConfig
from ...data.schema import Task
from ...errors import DataError
from ..classification import ClassificationObjective, TargetCollator


@dataclass(kw_only=True)
class LabelCollator(TargetCollator):
    """Rows of a `PairStream`.

    Args:
        task: names of the labels, and whether a clip may have any number of them.
    """

    task: Task

    def target(self, row: dict) -> np.ndarray | None:
        if self.task.kind == "multi_label":
            return self.task.target(row)
        label = next((label for label in row["labels"] if label in self.task.classes), None)
        return None if label is None else self.task.target({"labels": label})


class SupervisedObjective(ClassificationObjective):
    """Trains on the `data_args.num_labels` most frequent labels of a column.

    The loss is binary cross entropy of each label if the column contains lists, and cross entropy over all if it
    contains names.

    Raises:
        DataError: there are fewer than two labels.
    """

    needs_labels = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        counts = self.pairs.label_counts()
        labels = list(counts)[: self.data_args.num_labels]
        if len(labels) < 2:
            raise DataError(
                f"--label_column {self.data_args.label_column}: {len(counts)} different labels in the training data, "
                f"of which --num_labels {self.data_args.num_labels} are used: at least two are needed"
            )
        kind = "multi_label" if self.pairs.multi_label else "single_label"
        self._task = Task(self.data_args.label_column, kind, ("labels",), tuple(labels))

    @property
    def task(self) -> Task:
        return self._task

    def make_collator(self, config: MulapConfig, training: bool) -> LabelCollator:
        return LabelCollator(**self.collator_options(config, training), task=self.task)
