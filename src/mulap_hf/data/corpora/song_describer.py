"""The Song Describer dataset: up to five captions per recording, for evaluation."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ..paths import find_folder, find_path
from ..schema import Example, Reading, Skipped
from ..tables import read_rows

NUM_CAPTIONS = {"all": 1106, "valid": 746}


def read_song_describer(root: Path, audio_dir: str | None = None, subset: str = "all") -> Reading:
    """The Song Describer dataset: one row per caption, up to five captions of a recording.

    Args:
        root: folder with `song_describer.csv` and `audio/` (with `NN/<track>.2min.mp3` in it).
        audio_dir: where the folders `00` to `99` are, if elsewhere.
        subset: "all", or "valid" for the captions that its authors validated.

    Raises:
        DataError: a file or column is missing.
    """
    table = find_path(root, ("song_describer.csv", "data/song_describer.csv"), "song_describer.csv")
    rows = read_rows(table, required=("caption_id", "track_id", "caption", "is_valid_subset", "path"))
    places = ("audio/audio", "audio", "data/audio/audio", "data/audio", ".")
    audio = find_folder(audio_dir, root, places, "the audio of Song Describer")

    def examples() -> Iterator[Example | Skipped]:
        for row in rows:
            if subset == "valid" and row["is_valid_subset"].strip().lower() != "true":
                continue
            name = row["caption_id"]
            full = audio / row["path"]
            excerpt = full.with_suffix(".2min.mp3")
            if not row["caption"].strip():
                yield Skipped(name, "no caption")
                continue
            fields = {"track_id": row["track_id"]}
            yield Example(name, excerpt if excerpt.exists() else full, caption=row["caption"].strip(), fields=fields)

    return Reading(
        {"test": examples()},
        {"caption": pa.string(), "track_id": pa.string()},
        expected={"test": NUM_CAPTIONS[subset]},
        notes=(
            "Its authors mean it for evaluation only, and drew it from the test split of MTG-Jamendo's split-0: it is "
            "the split `test` here. Recordings with several captions are stored once per caption.",
        ),
    )
