"""WebDataset tars: members that share a name up to the first dot are one item (`0001.flac`, `0001.json`)."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ...audio import AUDIO_EXTENSIONS
from ...errors import DataError
from ..schema import Example, Reading
from ..tables import Skipped, clean_caption, find_column, split_of
from .captioned import CAPTION_COLUMNS


def read_webdataset(root: Path, caption_column: str | None = None) -> Reading:
    """Tar files with audio of any format, and the caption in a .txt member or in a .json member.

    Args:
        root: a tar file; or a folder of them, each in the split that its folder or name says
            (`train/0000.tar`, `train-0000.tar`), in train where they say none.
        caption_column: key of the caption in the .json members; default: the first of "caption", "text" and
            "description" there is.

    Raises:
        DataError: there is no tar file.
    """
    archives = [root] if root.is_file() else sorted(root.rglob("*.tar"))
    if not archives:
        raise DataError(f"{root}: there are no .tar files in it; is --root right?")
    splits: dict[str, dict[str, Path]] = {}
    for archive in archives:
        name = archive.relative_to(root).with_suffix("").as_posix() if archive != root else archive.stem
        split = split_of(name.replace("/", " ")) if archive != root else None
        splits.setdefault(split or "train", {})[name] = archive
    captions = (caption_column,) if caption_column else CAPTION_COLUMNS
    return Reading(
        {split: read_archives(archives, captions) for split, archives in splits.items()}, {"caption": pa.string()}
    )


def read_archives(
    archives: dict[str, Path],
    captions: tuple[str, ...],
    keep_columns: tuple[str, ...] = (),
    needs_captions: bool = True,
) -> Iterator[Example | Skipped]:
    """The items of tar files, one after another; what comes after the damage of a broken one is left out.

    Args:
        archives: tar files by the name that goes before the ids of their items.
        captions: keys of the caption in .json members, the first that exists.
        keep_columns: keys of .json members to carry over as they are.
        needs_captions: leave out what has no caption.
    """
    for name, archive in archives.items():
        try:
            for key, members in _samples(archive):
                yield _example(f"{name}/{key}", members, captions, keep_columns, needs_captions)
        except (tarfile.TarError, EOFError, OSError) as error:
            yield Skipped(archive.name, "the rest of a broken tar file", str(error))


def _samples(archive: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Neighboring members with the same key, by what follows the first dot of their names."""
    current, members = None, {}
    with tarfile.open(archive, mode="r|*") as tar:
        for member in tar:
            folder, _, name = member.name.rpartition("/")
            stem, _, suffix = name.partition(".")
            if not member.isfile() or not stem:
                continue
            key = f"{folder}/{stem}".removeprefix("./").lstrip("/")
            if key != current and members:
                yield current, members
                members = {}
            current = key
            members[suffix.lower()] = tar.extractfile(member).read()
    if members:
        yield current, members


def _example(
    name: str,
    members: dict[str, bytes],
    captions: tuple[str, ...],
    keep_columns: tuple[str, ...],
    needs_captions: bool,
) -> Example | Skipped:
    audio = next((suffix for suffix in members if f".{suffix.rpartition('.')[2]}" in AUDIO_EXTENSIONS), None)
    if audio is None:
        return Skipped(name, "no audio member", f"its members are {', '.join(members)}")
    row = {}
    try:
        if "json" in members and (keep_columns or "txt" not in members):
            row = json.loads(members["json"])
        if "txt" in members:
            caption = clean_caption(members["txt"].decode("utf-8-sig"))
        elif "json" in members:
            column = find_column([row], captions, Path(f"{name}.json"), "the caption", needs_captions)
            caption = clean_caption(row.get(column))
        else:
            caption = ""
        fields = {column: row.get(column) for column in keep_columns}
    except (AttributeError, DataError, ValueError, TypeError) as error:
        return Skipped(name, "no caption" if needs_captions else "broken .json member", str(error))
    if not caption and needs_captions:
        return Skipped(name, "no caption")
    return Example(name, members[audio], f"{name.rpartition('/')[2]}.{audio}", caption or None, fields)
