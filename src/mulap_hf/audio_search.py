"""Find the audio files in folders, and say what else is in them."""

import os
import stat
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .audio_containers import is_audio
from .audio_limits import AUDIO_EXTENSIONS, FFMPEG_EXTENSIONS
from .errors import AudioError, DataError
from .remote import explained, is_address, modified, open_filesystem

_EXTENSIONS = frozenset((*AUDIO_EXTENSIONS, *FFMPEG_EXTENSIONS))
_PATH_COLUMNS = ("path", "file_name", "filename", "file", "audio_path", "audio", "location")
_SYSTEM_FOLDERS = frozenset(("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"))
_SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini", ".ds_store"))


@dataclass
class AudioFiles:
    """What a search found.

    files: The audio files, each once.
    skipped: What else is in the folders, by its kind.
    modified: When files were modified that are not here, in seconds since 1970, where their storage says so.
    """

    files: list[Path | str] = field(default_factory=list)
    skipped: dict[str, list[Path | str]] = field(default_factory=lambda: defaultdict(list))
    modified: dict[str, float] = field(default_factory=dict)

    def summary(self) -> list[str]:
        """A line per kind of skipped files: what they are, how many, and the first of them."""
        return [f"{kind}: {len(paths)}, first {paths[0]}" for kind, paths in sorted(self.skipped.items())]


def find_audio_files(paths: list[str | os.PathLike]) -> AudioFiles:
    """The files given, and the audio files in and below the folders given, those of a folder in sorted order.

    In a folder, a file is audio if its name or its first bytes say so. Links to folders are followed, unless they lead
    to one that was met before. What systems leave beside files ("._song.mp3", "__MACOSX", "Thumbs.db") is ignored. In
    a folder that is given by its address, such as `s3://bucket/music`, only names are looked at.

    Raises:
        AudioError: A path does not exist, or a folder cannot be listed, so that its files would be overlooked.
        MulapError: An address cannot be listed, or does not exist.
    """
    found, files = AudioFiles(), {}
    for path in paths:
        if is_address(path):
            files |= dict.fromkeys(_find_remote(path, found))
            continue
        path = Path(path)
        if path.is_dir():
            for file in sorted(walk(path)):
                kind = _other_kind(file)
                if kind is None:
                    files[file] = None
                elif file not in found.skipped[kind]:
                    found.skipped[kind].append(file)
        elif os.path.lexists(path):
            files[path] = None
        else:
            raise AudioError(f"{path} does not exist")
    found.files = list(files)
    return found


def _find_remote(address: str, found: AudioFiles) -> Iterator[str]:
    """The addresses of the audio files in a remote folder; notes in `found` what else is there."""
    filesystem, root = open_filesystem(address)
    with explained(address, "it cannot be listed"):
        info = filesystem.info(root)
        folders = [(root, [], {"": info})] if info["type"] == "file" else filesystem.walk(root, detail=True)
        for folder, _, entries in folders:
            for name, info in sorted(entries.items()):
                file = filesystem.unstrip_protocol(f"{folder}/{name}" if name else folder)
                extension = Path(file).suffix.lower()
                if name and extension not in _EXTENSIONS:
                    kind = f"{extension} files" if extension else "files without an extension"
                    if name.startswith("."):
                        kind = "hidden files"
                    found.skipped[kind].append(file)
                    continue
                when = modified(info)
                if when is not None:
                    found.modified[file] = when
                yield file


def read_paths(table: str, column: str | None = None) -> list[str]:
    """Paths in a column of a table, each once; relative ones are relative to the folder of the table.

    Args:
        table: Parquet or CSV file, here or by address.
        column: Its column; by default the first that has a usual name.

    Raises:
        DataError: The table or the column cannot be read, or a row has no path.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    filesystem, path = open_filesystem(table if is_address(table) else os.path.abspath(table))
    try:
        with explained(table, "it cannot be read"), filesystem.open(path, "rb") as file:
            if table.lower().endswith(".parquet"):
                names = pq.read_schema(file).names
                file.seek(0)
                cells = pq.read_table(file, columns=[_path_column(names, column, table)]).column(0)
            else:
                text = pa.csv.ConvertOptions(strings_can_be_null=True)
                rows = pa.csv.read_csv(file, convert_options=text)
                cells = rows[_path_column(rows.column_names, column, table)]
    except pa.ArrowException as error:
        raise DataError(f"{table}: it cannot be read as parquet or CSV: {error}") from error
    folder = table.rpartition("/")[0]
    paths = {}
    for row, cell in enumerate(cells.to_pylist()):
        if not isinstance(cell, str):
            raise DataError(f"{table}: row {row} has no path: remove it, or choose another --path_column")
        absolute = is_address(cell) or os.path.isabs(cell)
        paths[cell if absolute or not folder else f"{folder}/{cell}"] = None
    return list(paths)


def _path_column(names: list[str], column: str | None, table: str) -> str:
    if column is None:
        column = next((name for name in _PATH_COLUMNS if name in names), None)
    if column not in names:
        wanted = column or " or ".join(_PATH_COLUMNS)
        raise DataError(f"{table}: no column {wanted} (it has {', '.join(names)}): name one with --path_column")
    return column


def walk(root: Path) -> Iterator[Path]:
    """All files in and below a folder but what systems leave beside files; each linked folder is visited once.

    Raises:
        AudioError: A folder cannot be listed, so that its files would be overlooked.
    """
    met = set()
    for folder, folders, names in os.walk(root, onerror=_raise, followlinks=True):
        real = os.path.realpath(folder)
        if real in met:
            folders.clear()
            continue
        met.add(real)
        folders[:] = sorted(set(folders) - _SYSTEM_FOLDERS)
        yield from (
            Path(folder, name) for name in names if not name.startswith("._") and name.lower() not in _SYSTEM_FILES
        )


def _raise(error: OSError):
    raise AudioError(f"{error.filename} cannot be read: {error.strerror}") from error


def _other_kind(path: Path) -> str | None:
    """What a file in a folder is if it is not audio, in the plural."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return "links to files that do not exist"
    if not stat.S_ISREG(mode):
        return "pipes, sockets and devices"
    if path.name.startswith("."):
        return "hidden files"
    extension = path.suffix.lower()
    if extension in _EXTENSIONS:
        return None
    try:
        with open(path, "rb") as file:
            if is_audio(file, os.fstat(file.fileno()).st_size):
                return None
    except OSError:  # it may not be read, and its name does not say that it is audio
        pass
    return f"{extension} files" if extension else "files without an extension"
