"""NSynth: single notes of 4 s of about a thousand instruments in eleven families."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ...errors import DataError
from ..paths import find_path
from ..schema import Example, Reading, Task
from ..tables import parse_json, read_text

FAMILIES = (
    "bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal",
)  # fmt: skip
INSTRUMENT = Task("instrument", "single_label", ("instrument",), FAMILIES, description="Family of the instrument.")
FOLDERS = {"train": "nsynth-train", "validation": "nsynth-valid", "test": "nsynth-test"}
EXPECTED = {"train": 289205, "validation": 12678, "test": 4096}


def read_nsynth(root: Path) -> Reading:
    """NSynth: `nsynth-train`, `nsynth-valid` and `nsynth-test`, each with `examples.json` and `audio/<note>.wav`.

    Raises:
        DataError: a folder is missing or has another layout.
    """
    folders = {split: root / name for split, name in FOLDERS.items() if (root / name).is_dir()}
    if not folders:
        find_path(root, list(FOLDERS.values()), "a split of NSynth")
    missing = {split: f"{root / name} does not exist" for split, name in FOLDERS.items() if split not in folders}
    for folder in folders.values():
        find_path(folder, ("examples.json",), "the notes")

    def examples(folder: Path) -> Iterator[Example]:
        table = folder / "examples.json"
        notes = parse_json(read_text(table), table)
        for name, note in notes.items():
            if "instrument_family_str" not in note:
                raise DataError(f"{table}: {name} has no 'instrument_family_str'; is this the published file?")
            fields = {"instrument": note["instrument_family_str"], "pitch": note["pitch"]}
            yield Example(name, folder / "audio" / f"{name}.wav", fields=fields)

    columns = {"instrument": pa.string(), "pitch": pa.int32()}
    splits = {split: examples(folder) for split, folder in folders.items()}
    note = "Official split: validation and test have instruments that are not in train, and no synth_lead."
    return Reading(splits, columns, (INSTRUMENT,), EXPECTED, notes=(note,), missing=missing)
