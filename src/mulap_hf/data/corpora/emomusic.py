"""EmoMusic (1000 songs): 45 s clips with arousal and valence, each rated from 1 to 9."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ..paths import find_folder, find_path
from ..schema import Example, Reading, Skipped, Task
from ..tables import read_rows

TASK_SECONDS = 30.0
EMOTION = Task(
    "emotion",
    "regression",
    ("arousal", "valence"),
    seconds=TASK_SECONDS,
    description="Means of the raters, from 1 to 9; the input is the first 30 s of each clip.",
)
SET_COLUMN = "Mediaeval 2013 set"
EXPECTED = {"train": 504, "validation": 115, "test": 125}


def read_emomusic(root: Path, audio_dir: str | None = None) -> Reading:
    """EmoMusic: `songs_info.csv` and `static_annotations.csv`, and the clips as `clips_45seconds/<song_id>.mp3`.

    Args:
        root: folder that annotations and clips were unpacked in.
        audio_dir: the folder of the clips, if elsewhere.

    Raises:
        DataError: a file is missing or has another layout.
    """
    info, static = (
        find_path(root, (f"annotations/{name}", name), name) for name in ("songs_info.csv", "static_annotations.csv")
    )
    places = ("clips_45seconds", "clips_45sec/clips_45seconds", "clips_45sec", "clips")
    audio = find_folder(audio_dir, root, places, "the folder of the clips")
    songs = read_rows(info, required=("song_id", "Artist", SET_COLUMN))
    ratings = {
        int(row["song_id"]): row for row in read_rows(static, required=("song_id", "mean_arousal", "mean_valence"))
    }

    def examples(split: str) -> Iterator[Example | Skipped]:
        for song in songs:
            if _split(song) != split:
                continue
            number = int(song["song_id"])
            rating = ratings.get(number)
            if rating is None:
                yield Skipped(str(number), "no rating in static_annotations.csv")
                continue
            fields = {name: float(rating[f"mean_{name}"]) for name in EMOTION.columns}
            yield Example(str(number), audio / f"{number}.mp3", fields=fields)

    notes = (
        "Split: MediaEval 2013's evaluation songs are the test split. Of the development songs, those of about a "
        "fifth of the artists are the validation split: an artist's split follows from the SHA-1 of its name, as in "
        "Castellon, Donahue and Liang (2021), so that no artist of validation is in train.",
        f"The task uses the first {TASK_SECONDS:g} s of the 45 s clips; the clips are stored whole.",
    )
    splits = {split: examples(split) for split in EXPECTED}
    columns = {name: pa.float32() for name in EMOTION.columns}
    return Reading(splits, columns, (EMOTION,), EXPECTED, notes=notes)


def _split(song: dict) -> str:
    """Published cells end in tabs and spaces; only letters of an artist's name count, in lower case."""
    if song[SET_COLUMN].strip() == "evaluation":
        return "test"
    letters = (letter for letter in song["Artist"].lower() if letter.isascii())
    artist = " ".join("".join(letter for letter in letters if letter.isalpha() or letter.isspace()).split())
    return "train" if int(hashlib.sha1(artist.encode()).hexdigest(), 16) % 10 < 8 else "validation"
