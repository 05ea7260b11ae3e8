"""Labeled audio that a script is given as it lies on disk: prepared on the way, once."""

import json
import re
from hashlib import blake2b
from pathlib import Path

from filelock import FileLock

from .corpora import CORPORA
from .described import find_tables
from .paths import walk
from .prepare import prepare
from .schema import SETTINGS_FILE, TASKS_FILE
from .shards import find_shards


def prepare_labeled(source: str | Path, folder: str | Path) -> Path:
    """The prepared dataset of a folder of class folders, or of a table with labels; see `corpora.labeled`.

    Args:
        source: the folder or table. What is prepared already is returned as it is.
        folder: where prepared datasets are kept; files that have changed are prepared anew, under another name.

    Raises:
        DataError: there are no labels in it, or they cannot be read.
    """
    source = Path(source)
    if not source.exists() or any((source / name).is_file() for name in (TASKS_FILE, SETTINGS_FILE)):
        return source
    if source.is_dir() and find_shards(source) and not find_tables(source):
        return source
    target = Path(folder) / f"{re.sub(r'[^A-Za-z0-9]+', '-', source.resolve().name)}-{_state(source)}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):  # others that want the same wait until it is there
        if not _is_finished(target):
            report = prepare(CORPORA["labeled"], source, target, embed=False, progress=False)
            print(f"Prepared {source} in {target}", *report.sizes(), *report.warnings(), sep="\n")
    return target


def _state(source: Path) -> str:
    """Another one when files are added, removed or changed."""
    files = walk(source) if source.is_dir() else [source]
    digest = blake2b(str(source.resolve()).encode(errors="surrogateescape"), digest_size=6)
    for path in files:
        status = path.stat() if path.exists() else None  # which a dangling link does not
        digest.update(repr((str(path), status and (status.st_size, status.st_mtime_ns))).encode(errors="replace"))
    return digest.hexdigest()


def _is_finished(folder: Path) -> bool:
    settings = folder / SETTINGS_FILE
    return settings.is_file() and json.loads(settings.read_text(encoding="utf-8"))["finished"] is not None
