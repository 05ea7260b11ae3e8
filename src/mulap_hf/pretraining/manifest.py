"""checkpoint.json: size and sha256 of every file in a folder, and its own sha256, by which damage is found."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..files import sync, write_json

MANIFEST = "checkpoint.json"


def write_manifest(folder: Path, facts: dict[str, Any]):
    """Writes checkpoint.json after all files that it lists are on the disk.

    Args:
        folder: complete except for checkpoint.json.
        facts: JSON values to store in it; without the keys `files` and `sha256`.
    """
    described = {
        file.relative_to(folder).as_posix(): {"size": file.stat().st_size, "sha256": _sha256(file)}
        for file in sync_all(folder)
    }
    manifest = {**facts, "files": described}
    write_json(folder / MANIFEST, {**manifest, "sha256": _own_sha256(manifest)})


def read_manifest(folder: Path) -> dict[str, Any]:
    """The facts, and under `files` the sizes and sha256 that `verify_files` compares.

    Raises:
        RunError: it is missing or has changed.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        whole = manifest.pop("sha256") == _own_sha256(manifest)
    except FileNotFoundError:
        raise _damaged(folder, MANIFEST, "it is missing") from None
    except (ValueError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise _damaged(folder, MANIFEST, "it has changed")
    return manifest


def verify_files(folder: Path, manifest: dict[str, Any], of_interest: Callable[[str], bool]):
    """Compares the files of interest, by their names in the folder, with the manifest.

    Raises:
        RunError: one is missing or has changed; the message names it.
    """
    for name, described in manifest["files"].items():
        if not of_interest(name):
            continue
        file = folder / name
        if not file.is_file():
            raise _damaged(folder, name, "it is missing")
        if file.stat().st_size != described["size"]:
            raise _damaged(folder, name, f"it has {file.stat().st_size:,} bytes, not {described['size']:,}")
        if _sha256(file) != described["sha256"]:
            raise _damaged(folder, name, "it has changed")


def sync_all(folder: Path) -> list[Path]:
    """The files below a folder, after they and their names have been written to the disk."""
    items = sorted(folder.rglob("*"))
    for item in [*items, folder]:
        sync(item)
    return [item for item in items if item.is_file()]


def _damaged(folder: Path, name: str, how: str) -> RunError:
    return RunError(
        f"{folder / name} is damaged ({how}): delete the folder {folder} to resume from the "
        "checkpoint before, or pass --overwrite_output to start again"
    )


def _own_sha256(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest).encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
