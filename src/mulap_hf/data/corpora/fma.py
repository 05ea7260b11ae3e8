"""FMA-small: 8,000 clips of 30 s in eight balanced genres."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ...errors import DataError
from ..paths import find_folder, find_path
from ..schema import Example, Reading, Task
from ..tables import read_cells

GENRES = ("Electronic", "Experimental", "Folk", "Hip-Hop", "Instrumental", "International", "Pop", "Rock")
GENRE = Task("genre", "single_label", ("genre",), GENRES)
# Clips of 0 to 1.6 s instead of 30 s (mdeff/fma, wiki: "Excerpts shorter than 30s").
SHORT_TRACKS = (98565, 98567, 98569, 99134, 108925, 133297)
EXPECTED = {"train": 6400, "validation": 800, "test": 794}  # without the short ones, which are all in test
SPLITS = {"training": "train", "validation": "validation", "test": "test"}
COLUMNS = {"subset": ("set", "subset"), "split": ("set", "split"), "genre": ("track", "genre_top")}


def read_fma(root: Path, audio_dir: str | None = None) -> Reading:
    """FMA-small: `fma_metadata/tracks.csv` (three header rows) and `fma_small/000/000002.mp3`.

    Args:
        root: folder that both archives were unpacked in.
        audio_dir: the folder `fma_small`, if elsewhere.

    Raises:
        DataError: a file is missing or has another layout.
    """
    table = find_path(root, ("fma_metadata/tracks.csv", "tracks.csv"), "the metadata of FMA")
    audio = find_folder(audio_dir, root, ("fma_small",), "the audio of FMA-small")
    tracks = {split: [] for split in SPLITS.values()}
    for track_id, split, genre in _read_tracks(table):
        if track_id not in SHORT_TRACKS:
            tracks[split].append((track_id, genre))

    def examples(split: str) -> Iterator[Example]:
        for track_id, genre in tracks[split]:
            name = f"{track_id:06d}"
            yield Example(name, audio / name[:3] / f"{name}.mp3", fields={"genre": genre})

    note = "Official split. Six clips shorter than 2 s are left out: " + ", ".join(map(str, SHORT_TRACKS)) + "."
    splits = {split: examples(split) for split in tracks}
    return Reading(splits, {"genre": pa.string()}, (GENRE,), EXPECTED, notes=(note,))


def _read_tracks(path: Path) -> Iterator[tuple[int, str, str]]:
    """(track_id, split, genre) of the tracks in the subset "small"."""
    lines = read_cells(path)
    groups, names, index = (next(lines, []) for _ in range(3))
    headers = list(zip(groups, names, strict=False))
    if not index or index[0] != "track_id" or any(column not in headers for column in COLUMNS.values()):
        raise DataError(
            f"{path}: expected the three header rows of the published tracks.csv, with set/subset, set/split and "
            f"track/genre_top, and track_id in the third"
        )
    at = {name: headers.index(column) for name, column in COLUMNS.items()}
    for line in lines:
        if len(line) == len(headers) and line[at["subset"]] == "small":
            if line[at["split"]] not in SPLITS or line[at["genre"]] not in GENRES:
                found = f"{line[at['split']]!r} and {line[at['genre']]!r}"
                raise DataError(f"{path}: track {line[0]} has split and genre {found}; is this the published file?")
            yield int(line[0]), SPLITS[line[at["split"]]], line[at["genre"]]
