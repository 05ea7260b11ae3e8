"""Pieces of music with the groups that share a factor, as folders of audio with `metadata.jsonl`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError

METADATA_FILE = "metadata.jsonl"


@dataclass(frozen=True)
class Pieces:
    """The pieces of a folder, in the order of its `metadata.jsonl`.

    Attributes:
        folder: The folder.
        files: Paths of the audio files, relative to the folder.
        groups: For each factor `(pieces,)`, int64: equal numbers share the factor, -1 is unknown.
    """

    folder: Path
    files: list[str]
    groups: dict[str, np.ndarray]

    # What `FeatureCache` needs of a dataset.
    seconds = None

    def ids(self, split: str) -> list[str]:
        return self.files

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        for file in self.files:
            yield {"id": file, "audio": {"bytes": None, "path": str(self.folder / file)}}

    def stores_audio(self, split: str) -> bool:
        return False

    def fingerprint(self, split: str) -> str:
        """Return a hash of the names, sizes and times of the files."""
        found = [path.stat() for path in (self.folder / file for file in self.files) if path.exists()]
        return sha256(json.dumps([self.files, [(s.st_size, s.st_mtime_ns) for s in found]]).encode()).hexdigest()

    def select(self, files: list[str]) -> dict[str, np.ndarray]:
        """Return the groups of some files, in their order."""
        position = {file: index for index, file in enumerate(self.files)}
        rows = [position[file] for file in files]
        return {factor: groups[rows] for factor, groups in self.groups.items()}


def open_pieces(folder: str | Path, factors: Sequence[str], all_known: bool = True) -> Pieces:
    """Open a folder of audio whose `metadata.jsonl` says which pieces share which factor.

    A line per file has `file_name` and, for each factor, anything that is equal for pieces that share the factor:
    `{"file_name": "a.flac", "melody": "Autumn Leaves", "rhythm": 17, "timbre": null}`.

    Args:
        folder: The folder, such as `DIR/grids/train` of `python -m mulap_hf.synthetic --grids`.
        factors: Names of the columns.
        all_known: Whether every factor must be known; otherwise one is enough.

    Raises:
        DataError: The file does not exist, a line is not as above, or no two pieces share a factor.
    """
    path = Path(folder) / METADATA_FILE
    if not path.is_file():
        raise DataError(
            f"{path} does not exist: pass a folder of audio with a {METADATA_FILE}, such as DIR/grids/train after "
            "python -m mulap_hf.synthetic --grids --output DIR"
        )
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            rows.append({"file_name": row["file_name"], **{factor: row.get(factor) for factor in factors}})
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise DataError(f"{path}, line {number}: expected a JSON object with file_name ({error})") from error
    groups = {factor: _numbered([row[factor] for row in rows]) for factor in factors}
    unknown = [factor for factor, numbers in groups.items() if not _has_pair(numbers)]
    if unknown and (all_known or len(unknown) == len(groups)):
        raise DataError(f"{path}: no two pieces have the same {unknown[0]!r}; add the column to its lines")
    return Pieces(Path(folder), [row["file_name"] for row in rows], groups)


def _has_pair(numbers: np.ndarray) -> bool:
    return bool((np.unique(numbers[numbers >= 0], return_counts=True)[1] > 1).any())


def _numbered(values: list[Any]) -> np.ndarray:
    """Return a number per value, equal for equal values, -1 for None."""
    numbers: dict[str, int] = {}
    keys = [None if value is None else json.dumps(value, sort_keys=True) for value in values]
    return np.array([-1 if key is None else numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def components(groups: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the number of each piece's cluster, `(pieces,)`: pieces that share a factor are in the same cluster."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(next(iter(groups.values())))
    first, second = [], []
    for numbers in groups.values():
        order = np.argsort(numbers, kind="stable")
        same = (np.diff(numbers[order]) == 0) & (numbers[order][1:] >= 0)
        first.append(order[:-1][same])
        second.append(order[1:][same])
    ends = np.concatenate(first), np.concatenate(second)
    return connected_components(coo_array((np.ones(len(ends[0])), ends), shape=(size, size)), directed=False)[1]


def folder_pieces(folder: str | Path, files: list[Path]) -> Pieces:
    """Return audio files of a folder as pieces without groups."""
    return Pieces(Path(folder), [str(Path(file).relative_to(folder)) for file in files], {})
