"""An index of a catalog, as a folder: its tracks with metadata, a faiss file per embedding, and `index.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, concatenate_datasets

from ..errors import DataError
from .vectors import EXACT_TRACKS, Vectors, parameters, prepare

ABOUT = "index.json"
FORMAT = 1
BACKBONE, JOINT, MELODY = "embedding", "joint_embedding", "melody_embedding"
_CANDIDATES = 500  # of each embedding, when several are mixed


def column_name(space: str) -> str:
    """The column of an embedding by its short name: "backbone", "joint", "melody" and so on."""
    return BACKBONE if space == "backbone" else f"{space}_embedding"


def space_name(column: str) -> str:
    """The reverse of `column_name`."""
    return "backbone" if column == BACKBONE else column.removesuffix("_embedding")


@dataclass(frozen=True)
class Hit:
    """A track that was found.

    row: Of the track in the index.
    path: As it was embedded.
    score: Cosine similarity, or a weighted sum of several.
    metadata: What else is known about the track, by column.
    match: Probability, by the fused model, that the text describes the track; None if it was not asked.
    """

    row: int
    path: str
    score: float
    metadata: dict[str, Any] = field(default_factory=dict)
    match: float | None = None


class SearchIndex:
    """An index on the disk, for searching.

    Args:
        folder: What `mulap index` wrote.

    Attributes:
        about: Content of `index.json`.
        tracks: All rows, also those that were replaced or removed: a `datasets.Dataset` with a faiss index per column
            of embeddings.
        live: Which rows are there, bool `(rows,)`.

    Raises:
        DataError: The folder has no index, or files of it are missing.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.about = read_about(self.folder)
        try:
            files = [str(self.folder / name) for name in self.about["files"]]
            self.tracks = concatenate_datasets([Dataset.from_file(file) for file in files])
            for column, space in self.about["spaces"].items():
                self.tracks.load_faiss_index(column, self.folder / space["file"])
        except (OSError, RuntimeError, pa.ArrowInvalid) as error:
            raise DataError(f"{folder}: the index is damaged: {error}; build it again") from error
        self.live = np.ones(len(self.tracks), dtype=bool)
        self.live[self.about["removed"]] = False

    def __len__(self) -> int:
        return int(self.live.sum())

    @property
    def columns(self) -> list[str]:
        """The columns of embeddings."""
        return list(self.about["spaces"])

    @cached_property
    def table(self) -> pa.Table:
        """All rows without their embeddings."""
        return self.tracks.data.table.drop_columns(self.columns)

    def vectors(self, column: str) -> Vectors:
        """The embeddings of all rows."""
        return Vectors(self.tracks.data.table[column])

    def row(self, path: str) -> int:
        """The row of a track.

        Raises:
            DataError: The index has no such track.
        """
        rows = np.flatnonzero(pc.equal(self.table["path"], path).to_numpy() & self.live)
        if not len(rows):
            example = self.table["path"][int(np.argmax(self.live))]
            raise DataError(f"{self.folder} has no track {path}: pass a path as it was embedded, such as {example}")
        return int(rows[0])

    def file(self, row: int) -> Path:
        """The audio file of a track: its path, which may be relative to the folder where it was embedded."""
        return Path(self.about["root"], self.table["path"][row].as_py())

    def allowed(self, where: str | None = None) -> np.ndarray:
        """Which rows are there and fulfill a condition, bool `(rows,)`.

        Args:
            where: A condition in SQL on the columns of the metadata: "genre = 'jazz' and year >= 1990".

        Raises:
            DataError: The condition cannot be understood, or no track fulfills it.
        """
        if where is None:
            return self.live
        table = self.table.append_column("row_number", pa.array(np.arange(len(self.live))))
        connection = duckdb.connect(config={"enable_external_access": "false"})
        try:
            found = connection.from_arrow(table).filter(where).select("row_number").fetchnumpy()["row_number"]
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            columns = ", ".join(self.table.column_names)
            raise DataError(
                f"--where {where}: {reason} Columns: {columns}. Write texts in single quotes: genre = 'jazz'"
            ) from error
        mask = np.zeros(len(self.live), dtype=bool)
        mask[found] = True
        mask &= self.live
        if not mask.any():
            raise DataError(f"--where {where}: none of the {len(self)} tracks fulfills it")
        return mask

    def search(
        self,
        query: Mapping[str, np.ndarray],
        number: int = 10,
        where: str | None = None,
        weights: Mapping[str, float] | None = None,
        exclude: Sequence[int] = (),
    ) -> list[Hit]:
        """The nearest tracks, best first.

        With several embeddings, the score is the weighted sum of their similarities. Up to 100,000 tracks it is exact;
        above, the candidates are the 500 nearest tracks by each of the embeddings.

        Args:
            query: A vector `(size,)` by column of embeddings.
            number: Of tracks.
            where: See `allowed`.
            weights: By column; default: 1 each.
            exclude: Rows that are not to be found.

        Raises:
            DataError: The index lacks an embedding, its size differs, or see `allowed`.
        """
        for column, vector in query.items():
            self._check_column(column)
            if len(vector) != (size := self.vectors(column).size):
                raise DataError(f"the query has {len(vector)} numbers, but {column} of {self.folder} has {size}")
        allowed = self.allowed(where)
        if len(exclude):
            allowed = allowed.copy()
            allowed[list(exclude)] = False
        weights = weights or dict.fromkeys(query, 1.0)
        if len(query) == 1:
            ((column, vector),) = query.items()
            scores, rows = self._nearest(column, vector, number, allowed)
            scores = scores * weights[column]
        else:
            rows = self._candidates(query, number, allowed)
            scores = np.sum(
                [weights[column] * self._similarity(column, query[column], rows) for column in query], axis=0
            )
        order = np.argsort(-scores, kind="stable")[:number]
        return [self.hit(int(rows[place]), float(scores[place])) for place in order]

    def query_like(self, row: int, columns: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors of a track, by column, to search with.

        Raises:
            DataError: The index lacks one of the embeddings.
        """
        for column in columns:
            self._check_column(column)
        return {column: self.vectors(column).take(np.array([row]))[0] for column in columns}

    def hit(self, row: int, score: float) -> Hit:
        """A track with its metadata."""
        metadata = {name: self.table[name][row].as_py() for name in self.table.column_names}
        return Hit(row, metadata.pop("path"), score, metadata)

    def faiss_index(self, column: str) -> faiss.IndexPreTransform:
        return self.tracks.get_index(column).faiss_index

    def _check_column(self, column: str):
        if column not in self.columns:
            names = ", ".join(map(space_name, self.columns))
            raise DataError(f"{self.folder} has no {space_name(column)} embedding: it has {names}")

    def _nearest(
        self, column: str, vector: np.ndarray, number: int, allowed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        query, probes = np.asarray(vector, dtype=np.float32)[None], self.about["spaces"][column].get("probes", 0)
        number, mask = min(number, int(allowed.sum())), None if allowed.all() else allowed
        for lists in (probes, self.about["spaces"][column].get("lists", 0)):  # all of them if the first have too few
            how = parameters(self.faiss_index(column), lists, mask)
            (scores,), (rows,) = self.tracks.search_batch(column, query, number, params=how)
            if (rows >= 0).all():
                break
        return scores[rows >= 0], rows[rows >= 0]

    def _candidates(self, query: Mapping[str, np.ndarray], number: int, allowed: np.ndarray) -> np.ndarray:
        if len(allowed) <= EXACT_TRACKS:
            return np.flatnonzero(allowed)
        most = max(_CANDIDATES, number)
        return np.unique(np.concatenate([self._nearest(name, query[name], most, allowed)[1] for name in query]))

    def _similarity(self, column: str, vector: np.ndarray, rows: np.ndarray) -> np.ndarray:
        index = self.faiss_index(column)
        query = prepare(index, np.asarray(vector, dtype=np.float32)[None])[0]
        return prepare(index, self.vectors(column).take(rows)) @ query


def read_about(folder: Path) -> dict[str, Any]:
    """The content of `index.json`.

    Raises:
        DataError: There is none, or it is of another version of this package.
    """
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} is not an index: pass a folder that `mulap index` wrote") from error
    if about.get("format") != FORMAT:
        raise DataError(f"{folder} is an index of another version of this package: build it again")
    return about
