"""Described audio and its tasks: where they come from and how they become batches."""

from ..errors import DataError
from .clips import ClipCollator
from .collator import PreTrainingCollator
from .schema import Example, Task, read_tasks
from .streams import PairStream, has_split, open_pairs
from .tables import Skipped

__all__ = [
    "ClipCollator",
    "DataError",
    "Example",
    "PairStream",
    "PreTrainingCollator",
    "Skipped",
    "Task",
    "has_split",
    "open_pairs",
    "read_tasks",
]
