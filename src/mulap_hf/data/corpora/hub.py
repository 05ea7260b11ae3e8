"""Any dataset of the Hub, or a local folder of parquet files, that has an audio and a text column."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ...errors import AudioError
from ..audio_cells import audio_of
from ..captions import Captions, named_columns
from ..hub_datasets import Rows, check_caption_feature, classes_of, name_classes, open_splits
from ..schema import Example, Reading, Skipped


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
