"""GTZAN with the fault-filtered split: 30 s clips in ten genres, without repetitions and wrong labels."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ...errors import DataError
from ..paths import find_folder, find_path
from ..schema import Example, Reading, Task
from ..tables import read_text

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
GENRE = Task("genre", "single_label", ("genre",), GENRES)
LISTS = {"train": "train_filtered.txt", "validation": "valid_filtered.txt", "test": "test_filtered.txt"}
EXPECTED = {"train": 443, "validation": 197, "test": 290}
SUFFIXES = (".au", ".wav", ".mp3", ".flac")


def read_gtzan(root: Path, split_dir: str | None = None, audio_dir: str | None = None) -> Reading:
    """GTZAN: `genres/blues/blues.00000.au` (or .wav), and the published lists of the fault-filtered split.

    Args:
        root: folder with `genres` or `genres_original`.
        split_dir: folder of `train_filtered.txt`, `valid_filtered.txt` and `test_filtered.txt`, if not in the root,
            `split` or `split/gtzan`.
        audio_dir: the folder of the genres' folders, if elsewhere.

    Raises:
        DataError: a file is missing or has another layout.
    """
    folder = Path(split_dir) if split_dir else root
    lists = {
        split: find_path(folder, (name, f"split/{name}", f"split/gtzan/{name}"), f"the list of the {split} split")
        for split, name in LISTS.items()
    }
    places = ("genres", "genres_original", "Data/genres_original", ".")
    audio = find_folder(audio_dir, root, places, "the folder of the genres")

    def examples(path: Path) -> Iterator[Example]:
        for line in read_text(path).split():
            genre, _, name = line.partition("/")
            if genre not in GENRES or not name:
                raise DataError(f"{path}: {line!r} is not of the form blues/blues.00012.au")
            file = audio / genre / name
            file = next((file.with_suffix(suffix) for suffix in SUFFIXES if file.with_suffix(suffix).exists()), file)
            yield Example(file.stem, file, fields={"genre": genre})

    splits = {split: examples(path) for split, path in lists.items()}
    return Reading(
        splits,
        {"genre": pa.string()},
        (GENRE,),
        EXPECTED,
        notes=("Fault-filtered split (Kereliuk, Sturm and Larsen, 2015).",),
    )
