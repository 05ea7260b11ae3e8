"""The package's own corpus as `mulap_hf.corpus.write_corpus` writes it, and its tasks."""

from functools import partial
from pathlib import Path

import pyarrow as pa

from ...corpus import SPLITS, STYLE_NAMES, TAGS
from ...corpus.instruments import NOTE_FAMILIES
from ...corpus.theory import KEY_NAMES, MODES
from ..schema import Reading, Task
from ..tables import find_path, read_rows
from .captioned import read_described

EMBEDDED_TASKS = (
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


def read_embedded(root: Path) -> Reading:
    """The folder that `write_corpus` was given: a folder per split, with `metadata.jsonl` and `audio/`.

    Raises:
        DataError: there is no split in it, or a column is missing.
    """
    found = {split: root / split / "metadata.jsonl" for split in SPLITS if (root / split / "metadata.jsonl").is_file()}
    if not found:
        find_path(root, [f"{split}/metadata.jsonl" for split in SPLITS], "a split of the embedded corpus")
    read = partial(read_described, file_columns=("file_name",), keep_columns=tuple(COLUMNS))
    splits = {split: read(table, read_rows(table, required=COLUMNS)) for split, table in found.items()}
    return Reading(splits, {"caption": pa.string(), **COLUMNS}, EMBEDDED_TASKS)
