"""MTG-Jamendo: full tracks with tags of genre, instrument, mood and theme, in five published splits."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ...errors import DataError
from ..paths import find_folder, find_path
from ..schema import Example, Reading, Task
from ..tables import read_cells

SUBSETS = {"top50": "top50tags", "genre": "genre", "instrument": "instrument", "moodtheme": "moodtheme"}
HEADER = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
NUM_TAGS = {"top50": 50, "genre": 87, "instrument": 40, "moodtheme": 56}
EXPECTED = {"top50": {"all": 54380}, "moodtheme": {"all": 17982}}  # tracks in the three splits, whichever their number


def read_jamendo(root: Path, subset: str = "top50", split_number: int = 0, audio_dir: str | None = None) -> Reading:
    """MTG-Jamendo: `data/splits/split-N` of its repository, and the audio as `00/1000.mp3` or `00/1000.low.mp3`.

    Args:
        root: the repository, or a folder with `splits` or `split-N`.
        subset: "top50", "genre", "instrument" or "moodtheme".
        split_number: 0 to 4.
        audio_dir: where the folders `00` to `99` are, if not in the root, `audio` or `raw_30s/audio`.

    Raises:
        DataError: a file is missing or has another layout.
    """
    splits = find_path(
        root,
        tuple(f"{folder}/split-{split_number}" for folder in ("data/splits", "splits", ".")),
        f"the folder split-{split_number}",
    )
    names = {split: f"autotagging_{SUBSETS[subset]}-{split}.tsv" for split in ("train", "validation", "test")}
    tracks = {split: _read_tracks(find_path(splits, (name,), "the split")) for split, name in names.items()}
    places = ("audio", "raw_30s/audio", "raw_30s/audio-low", "audio-low", "data/audio", ".")
    audio = find_folder(audio_dir, root, places, "the audio")
    classes = sorted({tag for split in tracks.values() for track in split for tag in track[2]})

    def examples(split: str) -> Iterator[Example]:
        for track_id, path, tags in tracks[split]:
            full = audio / path
            low = full.with_suffix(".low.mp3")
            yield Example(track_id, low if low.exists() and not full.exists() else full, fields={"tags": tags})

    notes = [f"Subset {subset}, split-{split_number}, {len(classes)} tags, named as published (`genre---rock`)."]
    if len(classes) != NUM_TAGS[subset]:
        notes.append(f"The published splits of this subset have {NUM_TAGS[subset]} tags, these files {len(classes)}.")
    task = Task("tagging" if subset == "top50" else subset, "multi_label", ("tags",), tuple(classes))
    columns = {"tags": pa.list_(pa.string())}
    splits = {split: examples(split) for split in tracks}
    return Reading(splits, columns, (task,), EXPECTED.get(subset, {}), tuple(notes))


def _read_tracks(path: Path) -> list[tuple[str, str, list[str]]]:
    """(track_id, path of the audio, tags) of the tracks; the tags are as many further columns as there are."""
    lines = read_cells(path, "\t")
    header = next(lines, [])
    if header != HEADER:
        raise DataError(f"{path}: expected the header {' '.join(HEADER)}, tab-separated; found {' '.join(header)!r}")
    tracks = []
    for number, line in enumerate(lines, start=2):
        if len(line) < 6:
            raise DataError(f"{path}, line {number}: expected five columns and one tag or more, found {len(line)}")
        tracks.append((line[0], line[3], [tag for tag in line[5:] if tag]))
    return tracks
