"""Described audio on disk as a table of (audio file, caption) pairs."""

from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

from .corpora.captioned import CAPTION_COLUMNS, METADATA_NAMES, read_described
from .tables import DataError, Skipped, read_rows


@dataclass
class Pairs:
    """Described audio: a table with the columns `id`, `audio` (path) and `caption`, and what was left out of it."""

    table: Dataset
    skipped: list[Skipped]


def read_pairs(source: str | Path, caption_column: str | None = None) -> Pairs:
    """Reads a folder of audio with metadata, or a published MuLaP JSON.

    Args:
        source: a folder with `metadata.jsonl` or `metadata.csv` (a column `file_name` relative to the folder, and a
            caption), or a JSON file: a list of `{"audio_id", "caption", "audio_path"}`, paths relative to the file.
            A folder without metadata but with exactly one JSON file is read by that file.
        caption_column: where the captions are; default: the first of "caption", "text" and "description" there is.

    Raises:
        DataError: there is no metadata, it cannot be parsed, a column is missing, or no usable pair is left.
    """
    metadata = find_metadata(Path(source))
    rows = read_rows(metadata)
    captions = (caption_column,) if caption_column else CAPTION_COLUMNS
    pairs, skipped = [], []
    for item in read_described(metadata, rows, ("file_name", "audio_path"), captions):
        if isinstance(item, Skipped):
            skipped.append(item)
        elif isinstance(item.audio, bytes):
            skipped.append(Skipped(item.id, "a .npy waveform: prepare it with training/prepare_dataset.py mulap_json"))
        elif not item.audio.is_file():
            skipped.append(Skipped(item.id, f"no such file: {item.audio}"))
        else:
            pairs.append({"id": item.id, "audio": str(item.audio), "caption": item.caption})
    if not pairs:
        reasons = ", ".join(sorted({item.reason for item in skipped})[:3])
        raise DataError(f"{metadata}: none of its {len(rows)} rows can be used ({reasons})")
    return Pairs(Dataset.from_list(pairs), skipped)


def find_metadata(source: Path) -> Path:
    """The metadata file of a folder, or the file itself.

    Raises:
        DataError: there is none, or it is not clear which.
    """
    if source.is_file():
        return source
    if not source.is_dir():
        raise DataError(f"{source} does not exist; --train_data wants a folder of audio with metadata or a JSON file")
    for name in METADATA_NAMES:
        if (source / name).is_file():
            return source / name
    candidates = sorted(source.glob("*.json"))
    if len(candidates) == 1:
        return candidates[0]
    found = f"{len(candidates)} JSON files" if candidates else "none"
    raise DataError(
        f"{source}: no metadata.jsonl or metadata.csv (columns file_name, caption) and not exactly one JSON file "
        f"(found {found}): add one, or name the JSON file itself"
    )
