"""HuggingFace datasets: their splits with audio that is not decoded, and the names of their class numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Audio, IterableDataset, load_dataset

from ..errors import DataError
from .captions import Captions
from .paths import has_audio_suffix, walk
from .splits import split_of


@dataclass(frozen=True)
class Rows:
    """A split of a dataset: its name there, its rows, whose audio is not decoded, and the first of these."""

    split: str
    dataset: IterableDataset
    sample: Mapping[str, Any]


def open_splits(root: str | Path, config: str | None, revision: str | None, audio_column: str) -> dict[str, Rows]:
    """The splits of a dataset; as `datasets.load_dataset(root, streaming=True)` gives them.

    A split that is named after train, validation or test gets that name, if it is the only one.

    Raises:
        DataError: the dataset cannot be loaded, or is a folder of loose audio files.
    """
    folder = Path(root)
    names = [path.name for path in walk(folder)] if folder.is_dir() else []
    if any(map(has_audio_suffix, names)) and not any(name.endswith(".parquet") for name in names):
        raise DataError(
            f"{root} is a folder of audio files, not a dataset: prepare it as audiofolder or csv if a table describes "
            "them, as labeled if they have labels"
        )
    try:
        loaded = load_dataset(str(root), name=config, revision=revision, streaming=True)
    except Exception as error:  # of many kinds: network, authorization, layout, builder
        raise DataError(f"{root}: datasets.load_dataset could not load it: {error}") from error
    splits, meant = {}, [split_of(split) for split in loaded]
    for split, rows in loaded.items():
        if rows.features is not None and isinstance(rows.features.get(audio_column), Audio):
            rows = rows.cast_column(audio_column, Audio(decode=False))
        try:
            sample = next(iter(rows), {})
        except (ImportError, RuntimeError) as error:
            raise DataError(
                f"{root}, {split}: datasets reads loose audio files and tars with torchcodec only ({error}); "
                f"download it (hf download {root} --repo-type dataset --local-dir DIR) and prepare DIR as "
                "audiofolder, csv or webdataset"
            ) from error
        # Of `test_seen` and `test_unseen`, neither is the split `test`.
        name = split_of(split) if meant.count(split_of(split)) == 1 else split
        splits[name or split] = Rows(split, rows, sample)
    return splits


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
