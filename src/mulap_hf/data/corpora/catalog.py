"""Described audio in a user's own tables: audiofolder, CSV and the like, and the published MuLaP JSON."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ...errors import DataError
from ..audio_cells import load_waveforms
from ..described import TableOptions, column_type, read_described
from ..schema import Example, Reading


def read_catalog(root: Path, keep_columns: Sequence[str] = (), **options: str | None) -> Reading:
    """Described audio in a table of any kind, or in several (see `described.find_tables`).

    Args:
        root: the table, or a folder.
        keep_columns: further columns to carry over as they are.
        options: other fields of `TableOptions`.

    Raises:
        DataError: the table is missing, it cannot be read, or a column is missing.
    """
    if not root.exists():
        raise DataError(f"{root} does not exist; expected a table, or a folder with one")
    described = read_described(root, TableOptions(keep_columns=tuple(keep_columns), **options))
    examples = [item for items in described.splits.values() for item in items if isinstance(item, Example)]
    kept = {name: column_type(name, [example.fields[name] for example in examples]) for name in keep_columns}
    splits = {split: load_waveforms(items) for split, items in described.splits.items()}
    return Reading(splits, {"caption": pa.string(), **kept}, messages=described.notes)
