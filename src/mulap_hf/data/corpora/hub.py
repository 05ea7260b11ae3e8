"""Any dataset of the Hub, or a local folder of parquet files, that has an audio and a text column."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import soundfile

from ...errors import AudioError, DataError
from ..schema import Example, Reading
from ..tables import Skipped, clean_caption, split_of
from .captioned import CAPTION_COLUMNS, wav_bytes

if TYPE_CHECKING:
    from datasets import IterableDataset


def read_hub(
    root: str | Path,
    config: str | None = None,
    revision: str | None = None,
    audio_column: str = "audio",
    caption_column: str | None = None,
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
        caption_column: where the text is; default: the first of "caption", "text" and "description" there is.
        id_column: where the ids are; default: numbers in the order of the split.

    Raises:
        DataError: it cannot be loaded, or lacks a column.
    """
    from datasets import load_dataset

    try:
        loaded = load_dataset(str(root), name=config, revision=revision, streaming=True)
    except Exception as error:  # of many kinds: network, authorization, layout, builder
        raise DataError(f"{root}: datasets.load_dataset could not load it: {error}") from error
    names = (caption_column,) if caption_column else CAPTION_COLUMNS
    splits, meant = {}, [split_of(split) for split in loaded]
    for split, rows in loaded.items():
        try:
            first = next(iter(_undecoded(rows, audio_column)), {})
        except (ImportError, RuntimeError) as error:
            raise DataError(
                f"{root}, {split}: datasets reads loose audio files and tars with torchcodec only ({error}); "
                f"download it (hf download {root} --repo-type dataset --local-dir DIR) and prepare DIR as "
                "audiofolder, csv or webdataset"
            ) from error
        caption = next((name for name in names if name in first), None)
        wanted = {audio_column: "--audio_column", caption or names[0]: "--caption_column"}
        if id_column:
            wanted[id_column] = "--id_column"
        missing = [f"{name!r} ({flag})" for name, flag in wanted.items() if name not in first]
        if missing:
            raise DataError(f"{root}, {split}: no column {' or '.join(missing)}; its columns are {list(first)}")
        # Of `test_seen` and `test_unseen`, neither is the split `test`.
        name = split_of(split) if meant.count(split_of(split)) == 1 else split
        splits[name or split] = _examples(rows, split, audio_column, caption, id_column)
    return Reading(splits, {"caption": pa.string()})


def _undecoded(rows: "IterableDataset", audio_column: str) -> "IterableDataset":
    from datasets import Audio

    if rows.features is not None and isinstance(rows.features.get(audio_column), Audio):
        return rows.cast_column(audio_column, Audio(decode=False))
    return rows


def _examples(
    rows: "IterableDataset", split: str, audio_column: str, caption_column: str, id_column: str | None
) -> Iterator[Example | Skipped]:
    for number, row in enumerate(_undecoded(rows, audio_column)):
        name = str(row[id_column]) if id_column else f"{split}-{number:07d}"
        caption = clean_caption(row[caption_column])
        try:
            audio, file_name = audio_of(row[audio_column], name)
        except AudioError as error:
            yield Skipped(name, "broken audio", str(error))
            continue
        if not caption:
            yield Skipped(name, "no caption")
        elif audio is None:
            yield Skipped(name, "no audio")
        else:
            yield Example(name, audio, file_name, caption)


def audio_of(cell: Any, name: str) -> tuple[Path | bytes | None, str | None]:
    """A cell with audio in any of its usual forms: the file or its bytes (None if it is empty), and a file name.

    Args:
        cell: a struct of `bytes` and `path`, bytes, a path, or a struct of `array`, `(samples,)` or
            `(channels, samples)`, and `sampling_rate`.
        name: what to call bytes that have no name; may be empty.

    Raises:
        AudioError: the array and its rate are no waveform.
    """
    if isinstance(cell, dict) and cell.get("array") is not None:
        try:
            content = wav_bytes(np.asarray(cell["array"], dtype=np.float32).T, int(cell["sampling_rate"]))
        except (TypeError, ValueError, soundfile.SoundFileError) as error:
            raise AudioError(f"no waveform in its array and sampling rate: {error}") from error
        return content, f"{name}.wav" if name else ""
    path = cell.get("path") if isinstance(cell, dict) else cell if isinstance(cell, str) else None
    content = cell.get("bytes") if isinstance(cell, dict) else cell if isinstance(cell, bytes) else None
    if content is not None:
        return content, Path(path).name if path else name
    return (Path(path), None) if path else (None, None)
