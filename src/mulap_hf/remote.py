"""Files and folders here or on any storage that fsspec opens by its address: s3://, gs://, hf:// and others."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .errors import DataError, MissingPackageError, MulapError
from .files import make_folder, replacing


def is_address(path: Any) -> bool:
    """Whether a path is an address such as `s3://bucket/song.ogg`, which fsspec opens."""
    return isinstance(path, str) and re.match(r"[a-z][a-z0-9+.-]*://", path) is not None


def open_filesystem(address: str) -> tuple[Any, str]:
    """The fsspec filesystem of an address, and the path in it.

    Raises:
        MissingPackageError: The package for this kind of storage is not installed.
        DataError: Nothing opens this kind of address.
    """
    import fsspec  # only commands that read addresses need it

    try:
        return fsspec.core.url_to_fs(address)
    except ImportError as error:
        remedy = 'pip install "mulap-hf[s3]"' if address.startswith("s3") else str(error)
        raise MissingPackageError(f"{address} cannot be opened without another package: {remedy}") from error
    except ValueError as error:
        raise DataError(f"{address} cannot be opened: {error}: use s3://, gs://, hf:// or a path") from error


@contextmanager
def explained(address: str, what: str) -> Iterator[None]:
    """Turns whatever a storage raises into one clear error.

    Args:
        address: What is read or written, for the message.
        what: For instance "it cannot be read".

    Raises:
        DataError: Anything failed in the block.
    """
    try:
        yield
    except MulapError:
        raise
    except Exception as error:  # each kind of storage has its own classes
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        if isinstance(error, FileNotFoundError):
            reason = f"it does not exist ({reason})"
        raise DataError(f"{address}: {what}: {reason}: check the address, the credentials and the network") from error


def copy_here(address: str) -> BinaryIO:
    """A temporary local copy of a file, open at its start; it is gone once closed.

    Raises:
        MulapError: It cannot be read.
    """
    filesystem, path = open_filesystem(address)
    copy = tempfile.TemporaryFile()  # noqa: SIM115, its user closes it
    try:
        with explained(address, "it cannot be read"), filesystem.open(path, "rb", cache_type="none") as file:
            shutil.copyfileobj(file, copy, 2**22)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy


def modified(filesystem: Any, info: dict[str, Any]) -> float | None:
    """When a file was last modified, in seconds since 1970; None if its storage does not say.

    Args:
        filesystem: Of fsspec.
        info: What its `find(..., detail=True)` says of the file.
    """
    for name in ("LastModified", "mtime", "last_modified", "updated"):
        value = info.get(name)
        if value is not None:
            return value.timestamp() if hasattr(value, "timestamp") else value if isinstance(value, float) else None
    return None


class Folder:
    """A folder, here or on other storage, whose files are whole or not there.

    Args:
        address: Its path or address; it is created.
        option: The command-line option that names it, for errors.

    Raises:
        MulapError: It cannot be created or listed.
    """

    def __init__(self, address: str | os.PathLike, option: str = ""):
        self.address = os.fspath(address).rstrip("/")
        self.path = None if is_address(self.address) else Path(self.address)
        if self.path is not None:
            make_folder(self.path, option)
            return
        self.filesystem, self.root = open_filesystem(self.address)
        self.names()  # what cannot be listed should fail at once, not after an hour of work

    def __str__(self) -> str:
        return self.address

    def names(self) -> list[str]:
        """The names of its files, sorted."""
        if self.path is not None:
            return sorted(os.listdir(self.path))
        with explained(self.address, "it cannot be listed"):
            self.filesystem.invalidate_cache()
            try:
                found = self.filesystem.ls(self.root, detail=False)
            except FileNotFoundError:  # storage without folders; a bucket that does not exist is an error
                if self.filesystem.exists(self.root.partition("/")[0]):
                    return []
                raise
            return sorted(name.rstrip("/").rpartition("/")[2] for name in found if name.rstrip("/") != self.root)

    def open(self, name: str) -> BinaryIO:
        """A file to read from; it can seek."""
        if self.path is not None:
            return open(self.path / name, "rb")
        with explained(f"{self.address}/{name}", "it cannot be read"):
            return self.filesystem.open(f"{self.root}/{name}", "rb")

    def read(self, name: str) -> bytes:
        """The contents of a file."""
        with self.open(name) as file, explained(f"{self.address}/{name}", "it cannot be read"):
            return file.read()

    def write(self, name: str, contents: bytes):
        """Replaces a file at once and durably."""
        if self.path is not None:
            with replacing(self.path / name, durable=True) as temporary:
                temporary.write_bytes(contents)
            return
        with explained(f"{self.address}/{name}", "it cannot be written"):
            self.filesystem.pipe_file(f"{self.root}/{name}", contents)

    def remove(self, name: str):
        """Removes a file."""
        if self.path is not None:
            (self.path / name).unlink()
            return
        with explained(f"{self.address}/{name}", "it cannot be removed"):
            self.filesystem.rm_file(f"{self.root}/{name}")
