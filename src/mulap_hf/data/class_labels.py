"""Columns of HuggingFace datasets that hold numbers of classes, by the names of the classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from .captions import Captions


def class_names(feature: Any) -> list[str] | None:
    """What the numbers in a column of `ClassLabel`, or of lists of them, stand for."""
    return getattr(getattr(feature, "feature", feature), "names", None)


def classes_of(features: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """The names of the classes, by the columns that hold class numbers."""
    return {name: names for name, feature in (features or {}).items() if (names := class_names(feature))}


def name_classes(cell: Any, classes: list[str] | None) -> Any:
    """A cell with the names of its class numbers; -1 is unknown."""
    if classes is None or cell is None:
        return cell
    if isinstance(cell, list):
        return [classes[number] for number in cell if number >= 0]
    return classes[cell] if cell >= 0 else None


def check_caption_feature(captions: Captions, features: Mapping[str, Any], where: str | Path):
    """Raises:
    DataError: the column of the captions holds numbers.
    """
    feature = features.get(captions.column)
    names = class_names(feature)
    kind = "class numbers" if names else getattr(feature, "dtype", "")
    if names or str(kind).startswith(("int", "uint", "float", "bool")):
        raise DataError(
            f"{where}: the column {captions.column!r} holds {kind}, not captions; pass another --caption_column, or "
            "compose captions with --caption"
        )
