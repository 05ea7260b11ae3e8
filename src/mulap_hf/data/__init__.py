"""Described audio: where it comes from and how it becomes batches."""

from .collator import PreTrainingCollator
from .sources import DataError, Pairs, Skipped, read_pairs

__all__ = ["DataError", "Pairs", "PreTrainingCollator", "Skipped", "read_pairs"]
