"""Find the audio files in folders, and say what else is in them."""

import os
import stat
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .audio_containers import is_audio
from .audio_limits import AUDIO_EXTENSIONS, FFMPEG_EXTENSIONS
from .errors import AudioError

_EXTENSIONS = frozenset((*AUDIO_EXTENSIONS, *FFMPEG_EXTENSIONS))
_SYSTEM_FOLDERS = frozenset(("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"))
_SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini", ".ds_store"))


@dataclass
class AudioFiles:
    """What a search found.

    files: The audio files, each once.
    skipped: What else is in the folders, by its kind.
    """

    files: list[Path] = field(default_factory=list)
    skipped: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def summary(self) -> list[str]:
        """A line per kind of skipped files: what they are, how many, and the first of them."""
        return [f"{kind}: {len(paths)}, first {paths[0]}" for kind, paths in sorted(self.skipped.items())]


def find_audio_files(paths: list[str | os.PathLike]) -> AudioFiles:
    """The files given, and the audio files in and below the folders given, those of a folder in sorted order.

    In a folder, a file is audio if its name or its first bytes say so. Links to folders are followed, unless they lead
    to one that was met before. What systems leave beside files ("._song.mp3", "__MACOSX", "Thumbs.db") is ignored.

    Raises:
        AudioError: A path does not exist, or a folder cannot be listed, so that its files would be overlooked.
    """
    found, files = AudioFiles(), {}
    for path in map(Path, paths):
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
