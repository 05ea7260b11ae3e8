"""Names of files as tables and lists have them, resolved against what lies on disk."""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote, urlsplit

from .. import audio_search
from ..audio_limits import AUDIO_EXTENSIONS, FFMPEG_EXTENSIONS
from ..audio_search import find_audio_files
from ..errors import DataError

WAVEFORM_SUFFIX = ".npy"  # waveforms in the published MuLaP format
_READABLE = (*AUDIO_EXTENSIONS, WAVEFORM_SUFFIX)
_KNOWN = (*_READABLE, *FFMPEG_EXTENSIONS)


def find_path(root: Path, candidates: Sequence[str], what: str) -> Path:
    """The first of some usual places, relative to the root of a corpus, that exists.

    Args:
        root: folder of the corpus as it was unpacked.
        candidates: paths relative to it; "." is the root itself.
        what: what is looked for, for the error.

    Raises:
        DataError: none exists; the message names every place.
    """
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    looked = " or ".join(str(root / candidate) for candidate in candidates)
    missing = "" if root.exists() else f" ({root} does not exist)"
    raise DataError(f"{what} was not found: looked for {looked}{missing}; check --root")


def find_folder(given: str | None, root: Path, candidates: Sequence[str], what: str) -> Path:
    """A folder that an option names, or else the first of some usual places below the root of a corpus.

    Raises:
        DataError: it does not exist; the message names every place.
    """
    if given is None:
        return find_path(root, candidates, what)
    if not Path(given).is_dir():
        raise DataError(f"{what}: the folder {given} does not exist")
    return Path(given)


def walk(folder: Path) -> list[Path]:
    """All files in and below a folder in sorted order, but hidden ones; links to folders are followed once.

    Raises:
        AudioError: a folder cannot be listed.
    """
    return sorted(path for path in audio_search.walk(folder) if not is_hidden(path.relative_to(folder)))


def is_hidden(path: Path) -> bool:
    """Whether a file or one of its folders has a name that begins with a dot."""
    return any(part.startswith(".") for part in path.parts)


def has_audio_suffix(name: str) -> bool:
    """Whether a name ends like that of an audio file, readable or not, or of a `.npy` waveform."""
    return name.lower().endswith(_KNOWN)


def is_readable(path: Path) -> bool:
    """Whether the suffix is one that is read without further packages."""
    return path.suffix.lower() in _READABLE


def find_audio(folder: Path) -> tuple[list[Path], list[str]]:
    """The audio files in and below a folder, in sorted order, and a line per kind of other files, with their number.

    Raises:
        AudioError: a folder cannot be listed.
    """
    found = find_audio_files([folder])
    return [path for path in found.files if not is_hidden(path.relative_to(folder))], found.summary()


@dataclass(frozen=True)
class Unresolved:
    """Why a name does not lead to a file: a reason that many names may share, and this case."""

    reason: str
    detail: str


class FileFinder:
    """Finds the files that a table names, also where the names are those of another system, and counts these.

    A name leads to a file relative to the folder; else as a `file://` URL, with `%20`, as a Windows path, with other
    case or Unicode normalization, without its suffix, or where one of the two paths ends like the other, if there is
    only one such file and no other name leads to it.

    Args:
        folder: that the names are relative to.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._taken: dict[PurePosixPath, str] = {}

    def find(self, name: str) -> Path | Unresolved:
        """The file that a name leads to; it exists."""
        if name.startswith(("http://", "https://")):
            return Unresolved("the file is a URL", f"{name}: download it, and name the file")
        forms = dict(_spellings(name))
        for spelling, how in forms.items():
            # Unlike Path.is_file, os.path takes names of any length.
            if os.path.isfile(self.folder / spelling):
                if how:
                    self._count(how, name, spelling)
                return self.folder / spelling
        return self._look_up(name, PurePosixPath(list(forms)[-1]))

    def notes(self) -> list[str]:
        """How names were resolved that did not lead to a file as they are, a sentence each."""
        return [f"{count:,} {how}, for example {self._examples[how]}" for how, count in self._counts.most_common()]

    def _count(self, how: str, name: str, found: str | Path):
        self._counts[how] += 1
        self._examples.setdefault(how, f"{name!r} as {str(found)!r}")

    @cached_property
    def _index(self) -> dict[str, list[PurePosixPath]]:
        """The files below the folder, relative to it, by their folded names with and without suffix."""
        index = defaultdict(list)
        for path in walk(self.folder) if self.folder.is_dir() else ():
            if has_audio_suffix(path.name):
                inside = PurePosixPath(path.relative_to(self.folder).as_posix())
                index[_fold(inside.name)].append(inside)
                index[_fold(inside.stem) + "\0"].append(inside)
        return index

    def _look_up(self, name: str, wanted: PurePosixPath) -> Path | Unresolved:
        how = "names found with other case or Unicode form, or in another folder"
        found = self._alike(_fold(wanted.name), wanted)
        if not found and not has_audio_suffix(wanted.name):
            how = "names found with a suffix"
            found = self._alike(_fold(wanted.name) + "\0", wanted)
        if len(found) > 1:
            shown = ", ".join(map(str, found[:3])) + (", ..." if len(found) > 3 else "")
            return Unresolved("several files have this name", f"{name}: {shown}")
        if not found:
            others = self._index.get(_fold(wanted.stem) + "\0", [])
            hint = f"; there is {others[0]}" if len(others) == 1 else ""
            return Unresolved("no such file", f"{self.folder / name}{hint}")
        other = self._taken.setdefault(found[0], name)
        if other != name:
            return Unresolved("no such file", f"{self.folder / name}; {found[0]} is that of {other!r}")
        self._count(how, name, found[0])
        return self.folder / found[0]

    def _alike(self, key: str, wanted: PurePosixPath) -> list[PurePosixPath]:
        """Files of which one path ends like the other; those that agree in most folders, readable ones if any."""
        common = {path: _common_folders(path, wanted) for path in self._index.get(key, [])}
        ends = {path: count for path, count in common.items() if count is not None}
        found = [path for path, count in ends.items() if count == max(ends.values())]
        return [path for path in found if path.suffix.lower() in _READABLE] or found


def _spellings(name: str) -> Iterator[tuple[str, str | None]]:
    """A name as a path of this system, in the order in which it is tried, each with what it takes the name for."""
    yield name, None
    if name.startswith("file:"):
        url = urlsplit(name)
        name = unquote(url.path)
        name = name[1:] if PureWindowsPath(name[1:]).drive else name
        yield name, "file:// URLs"
    elif "%" in name:
        name = unquote(name)
        yield name, "names with % escapes"
    if "\\" in name or PureWindowsPath(name).drive:
        path = PureWindowsPath(name)
        yield path.relative_to(path.anchor).as_posix(), "Windows paths"


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _common_folders(path: PurePosixPath, wanted: PurePosixPath) -> int | None:
    """How many folders they have in common at their ends; None if neither path ends like the other."""
    one, other = (list(map(_fold, reversed(parts.parent.parts))) for parts in (path, wanted))
    if "/" in other:
        other.remove("/")
    shared = min(len(one), len(other))
    return shared if one[:shared] == other[:shared] else None
