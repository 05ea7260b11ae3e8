"""Find the links of an Ogg file: streams that were joined one after another, each with its own header.

An Ogg file is a row of pages. The first page of a stream is marked, and so is its last one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

_PAGE = b"OggS\0"  # how every page begins
_FIRST, _LAST = 2, 4  # marks
_DECODED = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC")  # how streams begin that libsndfile decodes


@dataclass
class Link:
    """Pages of streams that begin together; of audio files, one stream.

    start, end: Bytes in the file.
    beginnings: The first bytes of each stream, by its number; none where the first page is missing.
    ended: Numbers of the streams whose last page is there.
    pages: How many.
    """

    start: int
    end: int
    beginnings: dict[int, bytes] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    pages: int = 0

    @property
    def is_decoded(self) -> bool:
        """Whether libsndfile decodes it."""
        return len(self.beginnings) == 1 and all(first.startswith(_DECODED) for first in self.beginnings.values())

    @property
    def is_whole(self) -> bool:
        return self.ended >= self.beginnings.keys()


def find_links(file: BinaryIO, start: int, size: int) -> tuple[list[Link], list[tuple[int, int]]]:
    """Finds all links of a file.

    Args:
        file: An open binary file.
        start: The first byte to look at.
        size: Bytes in the file.

    Returns:
        The links, and the gaps between and after their pages: first byte and number of bytes.
    """
    links: list[Link] = []
    gaps = []
    position = start
    for place, length, header in _pages(file, start, size):
        if place > position:
            gaps.append((position, place - position))
        position = place + length
        is_first, number = header[5] & _FIRST, int.from_bytes(header[14:18], "little")
        link = links[-1] if links else None
        if is_first:
            is_new = link is None or link.pages > len(link.beginnings)
        else:
            is_new = link is None or (number not in link.beginnings and bool(link.beginnings))
        if is_new:
            link = Link(place, position)
            links.append(link)
        if is_first:
            file.seek(place + len(header))
            link.beginnings[number] = file.read(8)
        if header[5] & _LAST:
            link.ended.add(number)
        link.end = position
        link.pages += 1
    file.seek(position)
    if size > position and file.read(len(_PAGE)) != _PAGE:  # not a page that is cut off
        gaps.append((position, size - position))
    return links, gaps


def _pages(file: BinaryIO, start: int, size: int) -> Iterator[tuple[int, int, bytes]]:
    """The whole pages: the place of each, its bytes, and its header."""
    position = start
    while position + 27 <= size:
        file.seek(position)
        head = file.read(27 + 255 + 5)
        header = head[: 27 + head[26]]
        length = len(header) + sum(header[27:])
        end = position + length
        is_page = head.startswith(_PAGE) and end <= size
        if is_page and end < size:
            file.seek(end)
            if file.read(len(_PAGE)) != _PAGE:  # something else follows, or a part of this page is missing
                inside = find(file, _PAGE, position + len(_PAGE), end)
                is_page = inside is None
        if is_page:
            yield position, length, header
            position = end
        else:
            following = find(file, _PAGE, position + 1, size)
            if following is None:
                return
            position = following


def find(file: BinaryIO, pattern: bytes, start: int, end: int) -> int | None:
    """Where a pattern is next in the bytes from `start` to `end` of a file."""
    block = 2**20
    for position in range(start, end, block):
        file.seek(position)
        place = file.read(min(block + len(pattern) - 1, end - position)).find(pattern)
        if place >= 0:
            return position + place
    return None
