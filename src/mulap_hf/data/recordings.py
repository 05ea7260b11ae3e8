"""Which rows are of the same recording: no split that we draw puts one recording on both of its sides."""

import io
import os
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from zlib import crc32

_BLOCK = 2**16  # bytes


@dataclass(frozen=True)
class Groups:
    """Which group each row of a dataset belongs to.

    Attributes:
        names: of the groups, a name per row.
        notes: what was found on the way, a sentence each.
    """

    names: Sequence[str]
    notes: tuple[str, ...] = ()


def audio_digest(audio: Path | bytes) -> str:
    """16 hexadecimal digits that are equal for equal audio files, whatever their names.

    They follow from the length of the file and three blocks of 64 KiB, at its start, its middle and its end, so that
    long files cost no more than short ones.

    Raises:
        OSError: the file cannot be read.
    """
    with io.BytesIO(audio) if isinstance(audio, bytes) else open(audio, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest = blake2b(str(size).encode(), digest_size=8)
        for start in sorted({0, max(0, (size - _BLOCK) // 2), max(0, size - _BLOCK)}):
            file.seek(start)
            digest.update(file.read(_BLOCK))
        return digest.hexdigest()


def file_recordings(paths: Sequence[str | Path]) -> list[str]:
    """What identifies the recording in each file: equal for links to a file and for exact copies of it.

    Only files of equal size are opened. A file that cannot be read is a recording that no other file has.
    """
    real = {path: os.path.realpath(path) for path in dict.fromkeys(paths)}
    by_size: dict[int, set[str]] = defaultdict(set)
    for file in set(real.values()):
        if os.path.isfile(file):
            by_size[os.path.getsize(file)].add(file)
    names = {}
    for files in by_size.values():
        for file in files if len(files) > 1 else ():
            try:
                names[file] = audio_digest(Path(file))
            except OSError:
                continue
    return [names.get(real[path], real[path]) for path in paths]


def group_rows(names: Sequence[str], *keys: Sequence[Hashable]) -> list[str]:
    """Which group each row belongs to: the name of the first row of the group.

    Rows that agree in any key are in one group, and so are rows that are connected through others.

    Args:
        names: of the rows.
        keys: a value per row each, for instance the recording and the artist; None agrees with nothing.
    """
    parent = list(range(len(names)))

    def find(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    for key in keys:
        first: dict[Hashable, int] = {}
        for row, value in enumerate(key):
            if value is not None:
                one, other = find(row), find(first.setdefault(value, row))
                parent[max(one, other)] = min(one, other)
    return [names[find(row)] for row in range(len(names))]


def is_drawn(group: str, fraction: float, salt: str = "") -> bool:
    """Whether a group of rows is among a fraction of all groups: the same for its name each time.

    A larger fraction contains a smaller one; with another salt the draw is independent.
    """
    return crc32((salt + group).encode()) % 10_000 < fraction * 10_000


def group_files(names: Sequence[str], paths: Sequence[str], groups: Sequence[Hashable] = ()) -> Groups:
    """Rows of a table of files by recording; exact copies of a file are the same recording, and counted.

    Args:
        names: of the rows.
        paths: of their audio files.
        groups: what else must stay together, a value per row, such as the artist; None agrees with nothing.
    """
    recordings = file_recordings(paths)
    copies = len({os.path.realpath(path) for path in paths}) - len(set(recordings))
    notes = (f"{copies} audio files are exact copies of others; a split keeps copies together",) if copies else ()
    return Groups(group_rows(names, recordings, groups), notes)
