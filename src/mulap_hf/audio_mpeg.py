"""Find and count the frames of MPEG audio (mp3, mp2, mp1) without decoding them.

A file is a row of frames of about 26 ms, each with a header of four bytes. Nothing says how many there are, except
that some encoders put a frame without sound before them, with a tag ("Xing" or "Info") that counts them. Without it,
decoders estimate the length from the size of the first frame. Before, between and after the frames lie tags with cover
art, and what remains of damaged or joined files.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

_BLOCK = 2**20  # bytes that are read at a time
_CERTAIN = 3  # so many frames in a row are frames, and not bytes that look like one
# How a header begins: sync, a version and a layer that exist; a bitrate and a rate that exist.
_HEADER = re.compile(
    rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][%s]"
    % b"".join(b"\\x%x0-\\x%xb" % (nibble, nibble) for nibble in range(1, 15))
)
_TAGS = (b"Xing", b"Info")
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by the version's two bits
_BITRATES = {  # kbit/s: of version 1 by layer; of the later versions, of layer 1 and of both others
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True)
class FrameKind:
    """What a header says.

    form: Equal for frames that one decoder can read after another, as far as two bytes tell: version, layer and rate.
    rate: Sampling rate in Hz.
    samples: Per channel, of a frame.
    size: Bytes of this frame.
    mean_size: Bytes of a frame of this bitrate, on average.
    version_1: Not one of the later versions, which have half and a quarter of its rates.
    """

    form: int
    rate: int
    samples: int
    size: int
    mean_size: float
    version_1: bool


@dataclass
class Run:
    """Frames without a gap between them, which one decoder can read.

    start, end: Bytes in the file, without the frame that has the tag.
    frames: How many.
    header: The first four bytes.
    tag: The frame with the tag, if there is one.
    """

    start: int
    end: int
    frames: int
    header: bytes
    tag: bytes = b""

    @property
    def kind(self) -> FrameKind:
        return _kinds()[self.header[1] << 8 | self.header[2]]

    @property
    def promised(self) -> int | None:
        """Frames that the tag announces."""
        place = _tag_place(self.tag) if self.tag else None
        return _number(self.tag, place + 8) if place and _number(self.tag, place + 4) & 1 else None

    def prefix(self) -> bytes:
        """What a decoder has to read before the frames, so that it decodes all of them: a frame with the right tag.

        Empty where it needs none, because its estimate of the length is not too small.
        """
        tag, size = self.tag, self.end - self.start
        if self.promised is None:
            if size / self.kind.mean_size > self.frames - 0.1:
                return b""
            tag = _new_tag(self.header)
        place = _tag_place(tag)
        flags = _number(tag, place + 4)
        fields = struct.pack(">II", self.frames, len(tag) + size)[: 8 if flags & 2 else 4]
        return tag[: place + 8] + fields + tag[place + 8 + len(fields) :]


def find_runs(file: BinaryIO, start: int, size: int) -> tuple[list[Run], list[tuple[int, int]]]:
    """Finds all frames of a file.

    Args:
        file: An open binary file.
        start: The first byte to look at.
        size: Bytes in the file.

    Returns:
        The runs, and the gaps between and after them that hold neither tags nor zeros: first byte and number of bytes.
    """
    runs: list[Run] = []
    gaps: list[tuple[int, int]] = []
    position, size = start, _before_last_tags(file, start, size)
    while True:
        position = skip_tags(file, position, size)
        begin = _next_frame(file, position, size)
        end = size if begin is None else begin
        if runs and any(block.strip(b"\0") for _, block in _blocks(file, position, end)):
            gaps.append((position, end - position))
        if begin is None:
            return runs, gaps
        runs.append(_follow(file, begin, size))
        position = runs[-1].end


def is_mpeg(file: BinaryIO, start: int, size: int) -> bool:
    """Whether frames begin in the first 64 KiB from `start` on."""
    return _next_frame(file, start, min(size, start + 2**16)) is not None


@lru_cache(maxsize=1)
def _kinds() -> dict[int, FrameKind]:
    """By the second and third byte of a header; without the free bitrates, of which no header gives the size."""
    kinds = {}
    for version, rates in _RATES.items():
        for layer in (1, 2, 3):
            samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
            slot = 4 if layer == 1 else 1  # bytes of padding
            for rate_bits, rate in enumerate(rates):
                form = 0xE0 << 8 | version << 11 | (4 - layer) << 9 | rate_bits << 2
                for bitrate_bits, bitrate in enumerate(_BITRATES[version == 3, layer], start=1):
                    mean = samples * 125 * bitrate / rate
                    for padding in (0, 1):
                        size = (int(mean / slot) + padding) * slot
                        kind = FrameKind(form, rate, samples, size, mean, version == 3)
                        for other_bits in (
                            0,
                            1,
                            1 << 8,
                            1 << 8 | 1,
                        ):  # the private bit, and whether there is a checksum
                            kinds[form | bitrate_bits << 4 | padding << 1 | other_bits] = kind
    return kinds


@lru_cache(maxsize=32)
def _sizes(form: int) -> dict[int, int]:
    """Bytes of the frames of a form, by the second and third byte of a header."""
    return {key: kind.size for key, kind in _kinds().items() if kind.form == form}


def _kind(header: bytes) -> FrameKind | None:
    return _kinds().get(header[1] << 8 | header[2]) if len(header) >= 4 and header[0] == 0xFF else None


def _is_mono(header: bytes) -> bool:
    return header[3] >> 6 == 3


def _number(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + 4], "big")


def _tag_offset(header: bytes) -> int:
    """Where in a frame the tag begins, if there is one: after what a frame without sound has."""
    stereo, mono = (32, 17) if _kind(header).version_1 else (17, 9)
    return 4 + (mono if _is_mono(header) else stereo)


def _tag_place(frame: bytes) -> int | None:
    """Where in a frame the tag with the number of frames begins; None where it has none."""
    place = _tag_offset(frame)
    is_tag = frame[place : place + 4] in _TAGS and not any(frame[6:place])
    return place if is_tag and len(frame) >= place + 16 else None


def _new_tag(header: bytes) -> bytes:
    """A frame without sound, with a tag that counts frames and bytes, to go before a frame with this header."""
    for bitrate_bits in range(1, 15):
        frame = bytes((header[0], header[1] | 1, header[2] & 0x0D | bitrate_bits << 4, header[3]))
        place, size = _tag_offset(frame), _kind(frame).size
        if size >= place + 16:
            return (frame + bytes(place - 4) + b"Xing" + struct.pack(">I", 3)).ljust(size, b"\0")
    raise AssertionError("the largest frame holds a tag")


def _read(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(max(0, count))


def _blocks(file: BinaryIO, start: int, end: int, overlap: int = 0) -> Iterator[tuple[int, bytes]]:
    """The bytes from `start` to `end`, and where each block begins; each also has the first bytes of the next."""
    for position in range(start, end, _BLOCK):
        yield position, _read(file, position, min(_BLOCK + overlap, end - position))


def skip_tags(file: BinaryIO, position: int, size: int) -> int:
    """The first byte after the ID3 and APE tags that begin at `position`."""
    while True:
        head = _read(file, position, 32)
        if head[:3] == b"ID3" and len(head) >= 10:
            length = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
        elif head[:3] == b"TAG":
            length = 128
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            length = 32 + (int.from_bytes(head[12:16], "little") if head[23] & 0x20 else 0)  # else it is the footer
        else:
            return position
        if position + length > size:  # a damaged length; what follows is searched for frames
            return position
        position += length


def _before_last_tags(file: BinaryIO, start: int, size: int) -> int:
    """The end of what comes before the tags at the end of a file: ID3v1, and APE tags, which end with their size."""
    if size - start > 128 and _read(file, size - 128, 3) == b"TAG":
        size -= 128
    footer = _read(file, max(start, size - 32), 32)
    if footer[:8] == b"APETAGEX":
        length = int.from_bytes(footer[12:16], "little") + (32 if footer[23] & 0x80 else 0)
        size = max(start, size - length)
    return size


def _next_frame(file: BinaryIO, start: int, size: int) -> int | None:
    """Where the next frame begins that is followed by others, or by the end of the file."""
    if _begins_run(file, start, size, 1):
        return start
    for base, block in _blocks(file, start, size, overlap=2):
        for match in _HEADER.finditer(block):
            if _begins_run(file, base + match.start(), size, _CERTAIN):
                return base + match.start()
    return None


def _begins_run(file: BinaryIO, position: int, size: int, least: int) -> bool:
    """Whether frames of one form follow each other from here on: `_CERTAIN`, or `least` up to the end of the file."""
    form = None
    for count in range(_CERTAIN):
        header = _read(file, position, min(4, size - position))
        if len(header) < 4:
            return count >= least
        kind = _kind(header)
        if kind is None or form not in (None, kind.form):
            return False
        form = kind.form
        position += kind.size
        if position > size:
            return count >= least
    return True


def _follow(file: BinaryIO, start: int, size: int) -> Run:
    """The run that begins with the frame at `start`."""
    header = _read(file, start, 4)
    kind = _kind(header)
    tag = _read(file, start, kind.size)
    if _tag_place(tag) is None:
        tag = b""
    offset, mono, sizes = _tag_offset(header), _is_mono(header), _sizes(kind.form)
    begin = position = start + len(tag)
    frames = 0
    while position + 4 <= size:
        left = size - position
        block = _read(file, position, min(_BLOCK, left))
        # A frame with a tag begins another run. The last frames of a block, of which a tag may be in the next one, are
        # left to that.
        tags = sorted(match.start() for name in _TAGS for match in re.finditer(name, block))
        marks = [place - offset for place in tags if place > offset and not any(block[place - offset + 6 : place])]
        at = 0
        for stop in (*marks, len(block) - (3 if len(block) == left else offset + 4)):
            while at < stop:
                length = sizes.get(block[at + 1] << 8 | block[at + 2]) if block[at] == 0xFF else None
                if length is None or at + length > left or (block[at + 3] >> 6 == 3) != mono:
                    return Run(begin, position + at, frames, header, tag)
                frames += 1
                at += length
            if at in marks:
                return Run(begin, position + at, frames, header, tag)
        position += at
    return Run(begin, position, frames, header, tag)
