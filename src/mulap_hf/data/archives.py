"""WebDataset tars: neighboring members that share a name up to the first dot are one item (`1.flac`, `1.json`)."""

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeVar

from ..audio_limits import AUDIO_EXTENSIONS, FFMPEG_EXTENSIONS
from ..errors import DataError
from ..remote import open_binary
from .captions import Captions, named_columns
from .described import TableOptions
from .paths import walk
from .schema import Example, Skipped
from .splits import name_splits
from .tables import clean_text
from .templates import Template

Archive = TypeVar("Archive")  # a path here, or an address
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_AUDIO_SUFFIXES = tuple(suffix[1:] for suffix in (*AUDIO_EXTENSIONS, *FFMPEG_EXTENSIONS))


def is_archive(path: PurePath) -> bool:
    """Whether a file is a tar by its name, compressed or not."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def find_archives(source: Path) -> dict[str | None, dict[str, Path]]:
    """The tars in and below a folder, or the tar itself: by split, and by the names that go before ids.

    The split is that which a folder above the tar, or the tar, is named after (see `splits.name_splits`), else None.
    """
    if source.is_file():
        return archives_by_split({source: PurePosixPath(source.name)}, named=False)
    return archives_by_split(
        {path: PurePosixPath(path.relative_to(source).as_posix()) for path in walk(source) if is_archive(path)}
    )


def archives_by_split(
    inside: Mapping[Archive, PurePosixPath], named: bool = True
) -> dict[str | None, dict[str, Archive]]:
    """Tars by split, and by the names that go before ids, see `find_archives`.

    Args:
        inside: with their paths in the folder.
        named: whether these may be named after splits.
    """
    parts = {path: [*name.parent.parts, PurePosixPath(_stem(name)).name] for path, name in inside.items()}
    splits = name_splits(part for words in parts.values() for part in words)
    found: dict[str | None, dict[str, Archive]] = {}
    for path, name in inside.items():
        split = next((splits[part] for part in parts[path] if splits[part] and named), None)
        found.setdefault(split, {})[_stem(name)] = path
    return found


def _stem(name: PurePosixPath) -> str:
    suffix = next((suffix for suffix in ARCHIVE_SUFFIXES if name.name.lower().endswith(suffix)), "")
    return name.as_posix().removesuffix(name.name[len(name.name) - len(suffix) :])


def read_archives(archives: dict[str, Path | str], options: TableOptions) -> Iterator[Example | Skipped]:
    """The items of tars, one after another; what comes after the damage of a broken one is left out.

    Args:
        archives: tars by the name that goes before the ids of their items.
        options: where captions and other columns are in the .json members; a .txt member is the caption.
    """
    for name, archive in archives.items():
        try:
            for key, members in _samples(archive):
                yield _example(f"{name}/{key}", members, options)
        except (tarfile.TarError, EOFError, OSError) as error:
            yield Skipped(PurePath(archive).name, "the rest of a broken tar file", str(error))


def _samples(archive: Path | str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Keys, and members by what follows the key in their names, in lower case."""
    current, members = None, {}
    with open_binary(archive) as file, tarfile.open(fileobj=file, mode="r|*") as tar:
        for member in tar:
            folder, _, name = member.name.rpartition("/")
            stem, _, suffix = name.partition(".")
            if not member.isfile() or not stem:
                continue
            key = f"{folder}/{stem}".removeprefix("./").lstrip("/")
            if key != current and members:
                yield from _separate(current, members)
                members = {}
            current = key
            members[suffix] = tar.extractfile(member).read()
    if members:
        yield from _separate(current, members)


def _separate(key: str, members: dict[str, bytes]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """One item; or one per audio file, if several begin alike (`Mr. Blue.mp3`, `Mr. Red.mp3`)."""
    if sum(_kind(suffix) in _AUDIO_SUFFIXES for suffix in members) < 2:
        yield key, {_kind(suffix): content for suffix, content in members.items()}
        return
    items: dict[str, dict[str, bytes]] = {}
    for suffix, content in members.items():
        items.setdefault(suffix.rpartition(".")[0], {})[_kind(suffix)] = content
    for rest, item in items.items():
        yield (f"{key}.{rest}" if rest else key), item


def _kind(suffix: str) -> str:
    return suffix.rpartition(".")[2].lower()


def _example(name: str, members: dict[str, bytes], options: TableOptions) -> Example | Skipped:
    audio = next((suffix for suffix in members if suffix in _AUDIO_SUFFIXES), None)
    if audio is None:
        return Skipped(name, "no audio member", f"its members are {', '.join(members)}")
    try:
        caption, row, problem = _describe(name, members, options)
    except (AttributeError, DataError, ValueError, TypeError) as error:
        return Skipped(name, "no caption" if options.needs_captions else "broken .json member", str(error))
    if problem and options.needs_captions:
        return Skipped(name, problem)
    fields = {column: row.get(column) for column in options.kept}
    return Example(name, members[audio], f"{name.rpartition('/')[2]}.{audio}", caption or None, fields)


def _describe(name: str, members: dict[str, bytes], options: TableOptions) -> tuple[str, dict, str | None]:
    """Caption, cells and why it has no caption."""
    row = {}
    if "json" in members and (options.kept or options.caption or "txt" not in members):
        row = json.loads(members["json"])
    if "txt" in members and not options.caption:
        text = clean_text(members["txt"].decode("utf-8-sig"))
        return text, row, None if text else "no caption"
    if "json" not in members:
        return "", row, "no caption"
    if options.caption:  # of which any part may be missing
        captions = Captions(template=Template(options.caption, "--caption"))
    else:
        captions = options.captions(named_columns(f"{name}.json", row))
    caption, problem = captions.of(row)
    return caption, row, problem


def column_of(archives: Iterable[Example | Skipped], name: str) -> object | None:
    """The first cell of a column that is not empty; None if there is none."""
    items = (item for item in archives if isinstance(item, Example))
    return next((cell for item in items if (cell := item.fields[name]) is not None), None)
