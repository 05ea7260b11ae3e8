"""MTG-Jamendo: full tracks with tags of genre, instrument, mood and theme, in five published splits."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ...errors import DataError
from ..paths import find_folder, find_path
from ..schema import Example, Reading, Task
from ..tables import read_cells

SUBSETS = {
    "top50": "_top50tags",
    "genre": "_genre",
    "instrument": "_instrument",
    "moodtheme": "_moodtheme",
    "all": "",
}
HEADER = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
NUM_TAGS = {"top50": 50, "genre": 87, "instrument": 40, "moodtheme": 56}
SPLITS = ("train", "validation", "test")
# Of train, validation and test in each of the five splits, counted in the published files.
NUM_TRACKS = {
    "top50": (
        (32136, 10888, 11356), (32395, 10619, 11366), (32010, 11961, 10409),
        (33173, 10468, 10739), (30868, 11593, 11919),
    ),
    "genre": (
        (32572, 11043, 11479), (32746, 10833, 11515), (32360, 12185, 10549),
        (33515, 10656, 10923), (31305, 11804, 11985),
    ),
    "instrument": (
        (14395, 5466, 5115), (14943, 4960, 5073), (14702, 5066, 5208),
        (14875, 5068, 5033), (14829, 5159, 4988),
    ),
    "moodtheme": (
        (9949, 3802, 4231), (10190, 3594, 4198), (10484, 4085, 3413),
        (10920, 3500, 3562), (10241, 3706, 4035),
    ),
}  # fmt: skip
NUM_TRACKS_ALL = 55525  # of the subset "all", in the three splits together


def read_jamendo(root: Path, subset: str = "top50", split_number: int = 0, audio_dir: str | None = None) -> Reading:
    """MTG-Jamendo: `data/splits/split-N` of its repository, and the audio as `00/1000.mp3` or `00/1000.low.mp3`.

    Args:
        root: the repository, or a folder with `splits` or `split-N`.
        subset: "top50", "genre", "instrument", "moodtheme", or "all" tags.
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
    names = {split: f"autotagging{SUBSETS[subset]}-{split}.tsv" for split in SPLITS}
    tracks = {split: _read_tracks(find_path(splits, (name,), "the split")) for split, name in names.items()}
    places = ("audio", "raw_30s/audio", "raw_30s/audio-low", "audio-low", "data/audio", ".")
    audio = find_folder(audio_dir, root, places, "the audio")
    classes = sorted({tag for split in tracks.values() for track in split for tag in track[2]})

    def examples(split: str) -> Iterator[Example]:
        for track_id, path, tags in tracks[split]:
            full = audio / path
            low = full.with_suffix(".low.mp3")
            yield Example(track_id, low if low.exists() and not full.exists() else full, fields={"tags": tags})

    notes = (f"Subset {subset}, split-{split_number}, {len(classes)} tags, named as published (`genre---rock`).",)
    differences = []
    if len(classes) != NUM_TAGS.get(subset, len(classes)):
        differences.append(f"the subset {subset} has {len(classes)} tags, published are {NUM_TAGS[subset]}")
    if subset == "all":
        expected = {"all": NUM_TRACKS_ALL}
    else:
        expected = dict(zip(SPLITS, NUM_TRACKS[subset][split_number], strict=True))
    task = Task("tagging" if subset in ("top50", "all") else subset, "multi_label", ("tags",), tuple(classes))
    return Reading(
        {split: examples(split) for split in tracks},
        {"tags": pa.list_(pa.string())},
        (task,),
        expected,
        notes=notes,
        differences=tuple(differences),
    )


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
