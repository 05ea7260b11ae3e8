"""Any dataset of the Hub, or a local folder of parquet files, that has an audio and a text column."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Audio, IterableDataset, load_dataset

from ...errors import AudioError, DataError
from ..audio_cells import audio_of
from ..captions import Captions, named_columns
from ..class_labels import check_caption_feature, classes_of, name_classes
from ..paths import has_audio_suffix, walk
from ..schema import Example, Reading, Skipped
from ..splits import split_of


def read_hub(
    root: str | Path,
    config: str | None = None,
    revision: str | None = None,
    audio_column: str = "audio",
    caption_column: str | None = None,
    caption: str | None = None,
    id_column: str | None = None,
) -> Reading:
    """A dataset as `datasets.load_dataset(root, streaming=True)` gives it.

    Audio columns are never decoded here, so that neither torchcodec nor FFmpeg is needed. A cell may be a struct of
    `bytes` and `path`, bytes, a path, or a struct of `array` and `sampling_rate`.

    Args:
        root: name on the Hub (`owner/name`), or a folder.
        config: configuration of the dataset.
        revision: branch, tag or commit on the Hub.
        audio_column: where the audio is.
        caption_column: where the text is; default: the first usual name that exists, such as "caption".
        caption: text with columns in braces that captions are composed of.
        id_column: where the ids are; default: numbers in the order of the split.

    Raises:
        DataError: it cannot be loaded, or lacks a column.
    """
    splits = {}
    for name, rows in open_splits(root, config, revision, audio_column).items():
        table = named_columns(f"{root}, {name}", rows.sample)
        audio = table.find((audio_column,), "the audio (--audio_column)")
        captions = Captions.find(table, caption_column, caption)
        check_caption_feature(captions, rows.dataset.features or {}, table.path)
        ids = table.find((id_column,), "the ids (--id_column)") if id_column else None
        splits[name] = _examples(rows, audio, captions, ids)
    return Reading(splits, {"caption": pa.string()})


@dataclass(frozen=True)
class Rows:
    """A split of a dataset: its name there, its rows, whose audio is not decoded, and the first of these."""

    split: str
    dataset: IterableDataset
    sample: Mapping[str, Any]


def open_splits(root: str | Path, config: str | None, revision: str | None, audio_column: str) -> dict[str, Rows]:
    """The splits of a dataset; raises as `read_hub` does.

    A split that is named after train, validation or test gets that name, if it is the only one.
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


def _examples(rows: Rows, audio_column: str, captions: Captions, id_column: str | None) -> Iterator[Example | Skipped]:
    classes = classes_of(rows.dataset.features)
    for number, row in enumerate(rows.dataset):
        name = str(row[id_column]) if id_column else f"{rows.split}-{number:07d}"
        named = {column: name_classes(row.get(column), names) for column, names in classes.items()}
        caption, problem = captions.of(row | named)
        try:
            audio, file_name = audio_of(row[audio_column], name)
        except AudioError as error:
            yield Skipped(name, "broken audio", str(error))
            continue
        if problem:
            yield Skipped(name, problem)
        elif audio is None:
            yield Skipped(name, "no audio")
        else:
            yield Example(name, audio, file_name, caption)
