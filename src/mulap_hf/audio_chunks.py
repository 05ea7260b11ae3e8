"""Files of chunks (wav, aiff, caf and others): where the samples are, how many are promised, and what follows them."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from .audio_mpeg import skip_tags

NEGLIGIBLE = 4096  # bytes: 0.1 s of an mp3 of 320 kbit/s
_FILES = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"riff", b"caff")  # how a file of chunks begins


@dataclass(frozen=True)
class _Layout:
    """How chunks follow each other: each has a name and a size, and then so many bytes.

    start: The first chunk's place.
    name: Bytes of a chunk's name.
    size: `struct` format of its size.
    alignment: Chunks begin at multiples of it.
    samples: Name of the chunk with the samples.
    before: Bytes of that chunk before the samples.
    counts_itself: A chunk's size is that of its name and size, too.
    """

    start: int
    name: int
    size: str
    alignment: int
    samples: bytes
    before: int = 0
    counts_itself: bool = False


LAYOUTS = {
    "WAV": _Layout(12, 4, "<I", 2, b"data"),
    "W64": _Layout(40, 16, "<q", 8, b"data", counts_itself=True),
    "AIFF": _Layout(12, 4, ">I", 2, b"SSND", before=8),
    "SVX": _Layout(12, 4, ">I", 2, b"BODY"),
    "CAF": _Layout(8, 4, ">q", 1, b"data", before=4),
}


@dataclass
class Samples:
    """The samples in a file of chunks.

    start, end: The bytes to decode, after `prefix`.
    prefix: The header with the right size, where it says another one and libsndfile would believe it.
    ratio: Bytes that the header promises, divided by those that are there.
    following: Where another file begins after them.
    strange: Bytes after them that are neither chunks nor tags.
    """

    start: int
    end: int
    prefix: bytes = b""
    ratio: float = 1.0
    following: int | None = None
    strange: int = 0


def find_samples(file: BinaryIO, format: str, start: int, size: int) -> Samples:
    """The samples of the file that begins at byte `start` of an open file of `size` bytes."""
    layout, samples = LAYOUTS[format], Samples(start, size)
    if _read(file, start, 4) == b"RIFX":
        layout = replace(layout, size=">I")
    block = 1  # bytes that are decoded together; of an incomplete block, libsndfile makes noise
    large = None  # the size in a file of over 4 GiB, which its chunk cannot say
    for name, place, stated in _chunks(file, start + layout.start, size, layout):
        begin, length = place + struct.calcsize(layout.size), stated
        if name[:4] == b"fmt ":
            block = max(1, int.from_bytes(_read(file, begin + 12, 2), "little"))
        if name == b"ds64":
            large = int.from_bytes(_read(file, begin + 8, 8), "little")
        if name[:4] == layout.samples:
            break
    else:
        return samples
    there = size - begin
    if large is not None and length == 2**32 - 1:
        length = large
    following, strange = _what_follows(file, begin + max(0, length), size, layout)
    is_known = not _is_unknown(length, layout) or (length == 0 and not strange)
    if length < strange:  # it was written before the samples, or is of a wav of over 4 GiB, which cannot say it
        is_known = False
    if is_known and length <= there:
        samples.following, samples.strange = following, strange
        samples.end = size if following is None else following
    else:
        samples.end = size - there % block
        if is_known:
            samples.ratio = (length - layout.before) / max(1, there - layout.before)
    if there > layout.before and (not is_known or (format == "CAF" and length > there)):
        right = there + (layout.name + begin - place if layout.counts_itself else 0)
        right = min(right, 2**32 - 1) if layout.size[1] == "I" else right
        samples.prefix = _read(file, start, place - start) + struct.pack(layout.size, right)
        samples.start = begin
    return samples


def _what_follows(file: BinaryIO, start: int, end: int, layout: _Layout) -> tuple[int | None, int]:
    """What comes after the samples: where another file begins, and how many bytes are neither chunks nor tags."""
    start += -start % layout.alignment
    for name, place, length in _chunks(file, start, end, layout):
        if name[:4] in _FILES:
            return place - layout.name, 0
        after = place + struct.calcsize(layout.size) + length
        if length < 0 or after > end + NEGLIGIBLE or not all(32 <= letter < 127 for letter in name[:4]):
            break
        start = after
    start = skip_tags(file, min(start, end), end)
    return None, end - start if any(_read(file, start, 2**16)) else 0


def _chunks(file: BinaryIO, start: int, end: int, layout: _Layout) -> Iterator[tuple[bytes, int, int]]:
    """Of chunk after chunk: its name, the place of its size, and the number of bytes that follow the size."""
    width = struct.calcsize(layout.size)
    for _ in range(10_000):
        head = _read(file, start, layout.name + width)
        if len(head) < layout.name + width or start + len(head) > end:
            return
        (length,) = struct.unpack(layout.size, head[layout.name :])
        if layout.counts_itself:
            length -= len(head)
        yield head[: layout.name], start + layout.name, length
        if length < 0:
            return
        start += len(head) + length
        start += -start % layout.alignment


def _is_unknown(length: int, layout: _Layout) -> bool:
    """Whether it is what programs write before they know the size; they write to a pipe, or were stopped."""
    if layout.size[1] == "I":
        return length == 0 or 0x7FFFF000 <= length <= 0x80000000 or length >= 0xFFFFF000
    return length <= 0 or length >= 2**48


def _read(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)
