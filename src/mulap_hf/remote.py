"""Files and folders here or on any storage that fsspec opens by its address: s3://, gs://, hf:// and others."""

import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

from .errors import DataError, MissingPackageError, MulapError
from .files import make_folder, replacing

# What differs between versions of a file, as the storages call it.
_MARKS = ("ETag", "etag", "blob_id", "md5Hash", "content_md5", "LastModified", "last_modified", "mtime", "updated")


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
def explained(address: str, what: str, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turns whatever a storage raises into one clear error.

    Args:
        address: What is read or written, for the message.
        what: For instance "it cannot be read".
        passing: Exceptions that are not of the storage, and are passed on as they are.

    Raises:
        DataError: Anything failed in the block.
    """
    try:
        yield
    except (MulapError, *passing):
        raise
    except Exception as error:  # each kind of storage has its own classes
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        if isinstance(error, FileNotFoundError):
            reason = f"it does not exist ({reason})"
        raise DataError(f"{address}: {what}: {reason}: check the address, the credentials and the network") from error


def open_binary(path: str | os.PathLike) -> BinaryIO:
    """A file, here or at an address, to be read from its start to its end.

    Raises:
        OSError: The file is here and cannot be opened.
        MulapError: The file is at an address and cannot be opened; also raised while it is read.
    """
    if not is_address(path):
        return open(path, "rb")
    filesystem, place = open_filesystem(path)
    with explained(path, "it cannot be read"):
        return _Reader(filesystem.open(place, "rb"), path)


class _Reader(io.RawIOBase):
    """A remote file whose errors are explained."""

    def __init__(self, file: BinaryIO, address: str):
        self.file, self.address = file, address

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with explained(self.address, "it cannot be read"):
            return self.file.read(size)

    def close(self):
        self.file.close()
        super().close()


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


def list_files(address: str) -> dict[str, dict[str, Any]]:
    """What the storage says of each file in and below a remote folder, or of a remote file, by address.

    Raises:
        MulapError: It cannot be listed, or there is nothing.
    """
    filesystem, root = open_filesystem(address)
    with explained(address, "it cannot be listed"):
        found = filesystem.find(root, detail=True)
        if not found:
            raise FileNotFoundError(root)
    return {filesystem.unstrip_protocol(name): found[name] for name in sorted(found)}


def version_of(files: dict[str, dict[str, Any]]) -> int | None:
    """A number that differs if any of the files from `list_files` differs; None if the storage does not tell."""
    lines = []
    for address, info in files.items():
        marks = [info[name] for name in _MARKS if info.get(name) is not None]
        if not marks:
            return None
        lines.append(f"{address} {info['size']} {marks[0]}")
    return crc32("\n".join(lines).encode())


def modified(info: dict[str, Any]) -> float | None:
    """When a file was last modified, in seconds since 1970; None if its storage does not say.

    Args:
        info: From `list_files`.
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
