"""The package's own corpus as `mulap_hf.synthetic` writes it, and its tasks."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...synthetic import SPLITS, STYLE_NAMES, TAGS
from ...synthetic.instruments import NOTE_FAMILIES
from ...synthetic.theory import KEY_NAMES, MODES
from ...synthetic.write_shards import written_shards
from ..described import TableOptions, read_described
from ..paths import find_path
from ..schema import Example, Reading, Task
from ..tables import read_rows

SYNTHETIC_TASKS = (
    Task("tagging", "multi_label", ("tags",), TAGS),
    Task("style", "single_label", ("style",), STYLE_NAMES),
    Task("emotion", "regression", ("arousal", "valence"), description="In [-1, 1]."),
    Task("key", "single_label", ("key",), tuple(f"{name} {mode}" for mode in MODES for name in KEY_NAMES)),
)
NOTE_TASK = Task("instrument", "single_label", ("family",), NOTE_FAMILIES, description="Family of a single note.")

COLUMNS = {
    "tags": pa.list_(pa.string()),
    "style": pa.string(),
    "arousal": pa.float32(),
    "valence": pa.float32(),
    "key": pa.string(),
}

NOTE_COLUMNS = {"family": pa.string(), "pitch": pa.int32()}


def read_synthetic(root: Path) -> Reading:
    """The folder that `write_corpus` or `write_parquet` was given.

    It has a folder per split with `metadata.jsonl` and `audio/`, or shards `<split>-<first clip>-<end>.parquet`.

    Raises:
        DataError: it has no split, or a column is missing.
    """
    found = {split: root / split / "metadata.jsonl" for split in SPLITS if (root / split / "metadata.jsonl").is_file()}
    shards = {split: paths for split in SPLITS if split not in found and (paths := written_shards(root, split))}
    if not found and not shards:
        find_path(root, [f"{split}/metadata.jsonl" for split in SPLITS], "a split of the synthetic corpus")
    options = TableOptions(file_column="file_name", caption_column="caption", keep_columns=tuple(COLUMNS))
    splits = {split: read_described(table, options).splits["train"] for split, table in found.items()}
    splits |= {split: _read_shards(paths) for split, paths in shards.items()}
    return Reading(splits, {"caption": pa.string(), **COLUMNS}, SYNTHETIC_TASKS)


def _read_shards(paths: list[Path]) -> Iterator[Example]:
    for path in paths:
        file = pq.ParquetFile(path)
        for batch in file.iter_batches(batch_size=16, columns=["clip_id", "audio", "caption", *COLUMNS]):
            for row in batch.to_pylist():
                fields = {column: row[column] for column in COLUMNS}
                yield Example(row["clip_id"], row["audio"]["bytes"], row["audio"]["path"], row["caption"], fields)


def read_synthetic_notes(root: Path) -> Reading:
    """Single notes: the folder that `write_notes` was given, or its `notes`.

    Raises:
        DataError: it has no split, or a column is missing.
    """
    folder = root / "notes" if (root / "notes").is_dir() else root
    found = {split: folder / split / "metadata.jsonl" for split in SPLITS}
    found = {split: table for split, table in found.items() if table.is_file()}
    if not found:
        find_path(root, [f"notes/{split}/metadata.jsonl" for split in SPLITS], "a split of the single notes")

    def examples(table: Path) -> Iterator[Example]:
        for row in read_rows(table, required=("note_id", "file_name", *NOTE_COLUMNS)):
            fields = {column: row[column] for column in NOTE_COLUMNS}
            yield Example(row["note_id"], table.parent / row["file_name"], fields=fields)

    return Reading({split: examples(table) for split, table in found.items()}, NOTE_COLUMNS, (NOTE_TASK,))
