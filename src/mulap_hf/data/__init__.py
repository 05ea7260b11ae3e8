"""Described audio and its tasks: where they come from and how they become batches."""

from .collator import PreTrainingCollator
from .schema import Example, Task, read_tasks
from .sources import Pairs, read_pairs
from .tables import DataError, Skipped

__all__ = [
    "DataError",
    "Example",
    "Pairs",
    "PreTrainingCollator",
    "Skipped",
    "Task",
    "read_pairs",
    "read_tasks",
]
