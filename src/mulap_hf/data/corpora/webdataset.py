"""WebDataset tars of described audio."""

from pathlib import Path

import pyarrow as pa

from ...errors import DataError
from ..archives import find_archives, read_archives
from ..described import TableOptions
from ..schema import Reading
from ..splits import order_splits


def read_webdataset(root: Path, caption_column: str | None = None, caption: str | None = None) -> Reading:
    """Tar files, compressed or not, with audio of any format, and the caption in a .txt or .json member.

    Args:
        root: a tar file; or a folder of them, each in the split that its folder or name says
            (`train/0000.tar`, `train-0000.tar`), in train where they say none.
        caption_column: key of the caption in the .json members; default: the first usual one that exists.
        caption: text with keys of the .json members in braces that captions are composed of.

    Raises:
        DataError: the folder has no tar file.
    """
    found = find_archives(root) if root.exists() else {}
    if not found:
        raise DataError(f"{root}: there are no .tar or .tar.gz files in it; check --root")
    archives: dict[str, dict[str, Path]] = {}
    for split, members in found.items():
        archives.setdefault(split or "train", {}).update(members)
    options = TableOptions(caption_column=caption_column, caption=caption)
    splits = {split: read_archives(archives[split], options) for split in order_splits(archives)}
    return Reading(splits, {"caption": pa.string()})
