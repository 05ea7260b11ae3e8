"""Build an index, add tracks to it, replace them, and remove them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from filelock import FileLock, Timeout

from ..embedding import Embedder
from ..errors import DataError
from ..files import make_folder, write_json
from .index import ABOUT, FORMAT, JOINT, MELODY, SearchIndex, read_about, space_name
from .tracks import Embeddings, locate_metadata, open_embeddings, read_metadata, write_tracks
from .vectors import Vectors, add, build

LOCK = ".lock"
TRACKS_PER_COMPONENT = 10
"""Fewer tracks per principal component than this may be too few to whiten; the user is told to compare."""
REBUILD_FRACTION = 0.3  # of the rows that are new or removed since the index was built
"""The fraction of changed rows above which building the index again is recommended."""


def create_index(
    embeddings: str | Path,
    output: str | Path,
    metadata: str | Path | None = None,
    whiten: int | None = None,
    model: str | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Builds an index.

    Args:
        embeddings: What `mulap embed` wrote: a parquet file, or a folder of them.
        output: Folder to write.
        metadata: Table with a column `path` and others, which searches can filter by.
        whiten: Number of principal components, fitted on the catalog, that embeddings are whitened to; None to center
            them. The joint embedding is compared as it is, since texts have another distribution.
        model: Folder or Hub name of the model, for tables that do not name it.
        overwrite: Replace an existing index.

    Returns:
        Sentences on what was done.

    Raises:
        DataError: The embeddings or the metadata cannot be used, or the output exists.
    """
    source, folder = _with_model(open_embeddings(Path(embeddings)), model), Path(output)
    old = read_about(folder) if (folder / ABOUT).exists() else None
    if old is not None and not overwrite:
        raise DataError(f"{folder} is an index: pass --overwrite to replace it, or --add to add to it")
    if old is None and folder.exists() and not (folder.is_dir() and _is_ours(folder)):
        raise DataError(f"{folder} exists and is not an index: choose another --output")
    paths, notes, table = source.paths(), [], None
    if metadata is not None:
        table, note = locate_metadata(read_metadata(Path(metadata)), Path(metadata), paths)
        notes.append(note)
    with _locked(folder):
        number = 0 if old is None else old["generation"] + 1
        name = f"tracks-{number}.arrow"
        write_tracks(source, table, folder / name)
        rows, spaces = _open(folder / name), {}
        for column in source.columns:
            index, facts = build(Vectors(rows[column]), _preparation(column, whiten), space_name(column))
            spaces[column] = {"file": f"{column}-{number}.faiss"} | facts
            faiss.write_index(index, str(folder / spaces[column]["file"]))
        about = {
            "format": FORMAT,
            "generation": number,
            "model": source.model,
            "fingerprints": source.fingerprints,
            "root": os.getcwd(),
            "files": [name],
            "removed": [],
            "spaces": spaces,
        }
        _switch(folder, about)
    if whiten and len(rows) < TRACKS_PER_COMPONENT * whiten:
        notes.append(f"--whiten {whiten} is fitted on {len(rows)} tracks only: compare with an index without it")
    return [*notes, f"{len(rows)} tracks indexed in {folder}", *describe(about)]


def add_tracks(
    embeddings: str | Path, output: str | Path, metadata: str | Path | None = None, model: str | None = None
) -> list[str]:
    """Adds tracks to an index; those that it has already are replaced.

    Tracks without metadata in the table, or without a table, keep what the index knows about them.

    Args:
        embeddings, metadata, model: See `create_index`.
        output: Folder of the index.

    Returns:
        Sentences on what was done.

    Raises:
        DataError: The embeddings are of another model or have other columns, or see `create_index`.
    """
    source, folder = _with_model(open_embeddings(Path(embeddings)), model), Path(output)
    paths, notes = source.paths(), []
    with _locked(folder):
        index = SearchIndex(folder)
        about = index.about
        _check_same_model(source, index)
        known = index.table.filter(pa.array(index.live))
        known = known.select(["path", *(name for name in known.column_names if name not in source.schema.names)])
        if metadata is not None:
            table, note = locate_metadata(read_metadata(Path(metadata)), Path(metadata), paths)
            notes.append(note)
            known = _merge(known, table, f"--metadata {metadata}")
        replaced = pc.is_in(index.table["path"], value_set=paths.combine_chunks()).to_numpy() & index.live
        about["generation"] += 1
        name = f"tracks-{about['generation']}.arrow"
        write_tracks(source, known, folder / name, index.tracks.data.table.schema)
        first, rows = len(index.live), _open(folder / name)
        for column, space in about["spaces"].items():
            vectors = index.faiss_index(column)
            add(vectors, Vectors(rows[column]), 0, space_name(column))
            space["file"] = f"{column}-{about['generation']}.faiss"
            faiss.write_index(vectors, str(folder / space["file"]))
        about["files"].append(name)
        about["removed"] += np.flatnonzero(replaced).tolist()
        _switch(folder, about)
    new = len(rows) - int(replaced.sum())
    notes.append(f"{new} tracks added to {folder}, {int(replaced.sum())} replaced")
    return notes + _advice(about, first + len(rows))


def remove_tracks(output: str | Path, paths: Sequence[str]) -> list[str]:
    """Removes tracks from an index.

    Args:
        output: Folder of the index.
        paths: Of tracks as they were embedded, or of folders of them.

    Returns:
        Sentences on what was done.

    Raises:
        DataError: The index has no such track, or none of a folder, or no other tracks.
    """
    folder = Path(output)
    with _locked(folder):
        index = SearchIndex(folder)
        gone = np.zeros(len(index.live), dtype=bool)
        for path in paths:
            names = index.table["path"]
            found = pc.or_(pc.equal(names, path), pc.starts_with(names, path.rstrip("/") + "/"))
            found = found.to_numpy() & index.live
            if not found.any():
                index.row(path)  # raises
            gone |= found
        if gone.sum() == len(index):
            raise DataError(f"--remove: these are all tracks of {folder}: remove the folder instead")
        index.about["removed"] += np.flatnonzero(gone).tolist()
        _switch(folder, index.about)
    return [f"{int(gone.sum())} tracks removed from {folder}", *_advice(index.about, len(index.live))]


def describe(about: dict[str, Any]) -> list[str]:
    """A line per embedding: how it is prepared, how it is searched, and with which recall."""
    lines = []
    for column, space in about["spaces"].items():
        how = f"{space_name(column)}: {space['preparation']}, {space['kind']}"
        if "recall" in space:
            how += (
                f", {space['lists']} of which a query searches {space['probes']}; recall@10 {space['recall']:.3f} "
                f"(measured with {space['recall_queries']} of the tracks)"
            )
        lines.append(how)
    return lines


def _with_model(source: Embeddings, model: str | None) -> Embeddings:
    """The embeddings with the fingerprints of a model, which are checked where they are known.

    Raises:
        DataError: The model is neither known nor given, or is another one.
    """
    if model is None:
        if not source.fingerprints:
            raise DataError(f"{source.path} does not say which model it is of: name the model with --model")
        return source
    embedder = Embedder(model, "cpu", joint=JOINT in source.columns, factors=MELODY in source.columns)
    found = {name: value for name, value in embedder.fingerprints.items() if name in source.columns}
    if source.fingerprints and any(source.fingerprints.get(name) != value for name, value in found.items()):
        raise DataError(f"--model {model} is not the model that {source.path} was embedded with")
    return replace(source, model=embedder.name, fingerprints=source.fingerprints or found)


def _check_same_model(source: Embeddings, index: SearchIndex):
    """Raises:
    DataError: The embeddings are of another model than those of the index, or of other kinds.
    """
    if set(source.columns) != set(index.columns):
        raise DataError(
            f"{source.path} has {', '.join(source.columns)}, but {index.folder} has {', '.join(index.columns)}: embed "
            "the files with the same --space"
        )
    if source.fingerprints != index.about["fingerprints"]:
        raise DataError(
            f"{source.path} was embedded with another model ({source.model}) than {index.folder} "
            f"({index.about['model']}): embed the files with the same model"
        )


def _merge(known: pa.Table, new: pa.Table, what: str) -> pa.Table:
    """The metadata of an index with that of new tracks, which comes first.

    Raises:
        DataError: The new one has other columns, or values of other types.
    """
    others = set(new.column_names) - set(known.column_names)
    if others:
        raise DataError(f"{what}: the index has no column {min(others)}: leave it out, or build the index again")
    try:
        new = new.cast(pa.schema([known.schema.field(name) for name in new.column_names]))
    except pa.ArrowInvalid as error:
        raise DataError(f"{what}: a value does not fit into its column of the index: {error}") from error
    kept = known.filter(pc.invert(pc.is_in(known["path"], value_set=new["path"].combine_chunks())))
    return pa.concat_tables([new, kept], promote_options="default")


def _preparation(column: str, whiten: int | None) -> str | int:
    """Texts have another distribution than audio, so the joint embedding stays as it is."""
    return "plain" if column == JOINT else whiten or "centered"


def _open(file: Path) -> pa.Table:
    return Dataset.from_file(str(file)).data.table


def _is_ours(folder: Path) -> bool:
    """Whether a folder has nothing but what an interrupted build leaves."""
    return all(path.suffix in (".arrow", ".faiss") or path.name == LOCK for path in folder.iterdir())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time changes an index."""
    make_folder(folder, "--output")
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise DataError(f"{folder} is being changed by another process: wait until it ends") from error


def _switch(folder: Path, about: dict[str, Any]):
    """Makes the new files the index, at once, and removes files that are not part of it any more."""
    write_json(folder / ABOUT, about)
    kept = {ABOUT, LOCK, *about["files"], *(space["file"] for space in about["spaces"].values())}
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink()


def _advice(about: dict[str, Any], rows: int) -> list[str]:
    """A sentence if so much has changed that the index should be built again."""
    changed = rows - about["spaces"][next(iter(about["spaces"]))]["tracks"] + len(about["removed"])
    if changed <= REBUILD_FRACTION * rows:
        return []
    return [f"{changed} of {rows} rows were added or removed since the index was built: build it again"]
