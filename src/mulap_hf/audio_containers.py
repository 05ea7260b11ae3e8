"""What the bytes of an audio file say about it: its format, the streams in it, and how much of them is missing.

Nothing is decoded here. Decoders read the first stream of a file as far as its header says; but files hold several
streams one after another (chained Ogg, joined mp3s), and headers promise more samples than there are, or none at all.
"""

import re
import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from .audio_chunks import LAYOUTS, NEGLIGIBLE, find_samples
from .audio_mpeg import find_runs, is_mpeg, skip_tags
from .audio_ogg import find, find_links

# How files begin: bytes, their place, and the format. libsndfile decodes these ...
_BUILT_IN = (
    (b"WAVE", 8, "WAV"),
    (b"fLaC", 0, "FLAC"),
    (b"OggS", 0, "Ogg"),
    (b"AIFF", 8, "AIFF"),
    (b"AIFC", 8, "AIFF"),
    (b"riff\x2e\x91\xcf\x11", 0, "W64"),
    (b"caff", 0, "CAF"),
    (b".snd", 0, "AU"),
    (b"dns.", 0, "AU"),
    (b"8SVX", 8, "SVX"),
    (b"16SV", 8, "SVX"),
    (b"NIST_1A", 0, "NIST"),
    (b"Creative Voice File", 0, "VOC"),
    (b" paf", 0, "PAF"),
    (b"fap ", 0, "PAF"),
    (b"PVF1", 0, "PVF"),
    (b"2BIT", 0, "AVR"),
    (b"ALawSoundFile", 0, "WVE"),
    (b"Extended Instrument", 0, "XI"),
    (b"\x64\xa3", 0, "IRCAM"),
    (b"\0\0\xa3\x64", 0, "IRCAM"),
    (b"MATLAB 5.0", 0, "MAT"),
    (b"\0\0\0\0\1\0\0\0\1\0\0\0", 0, "MAT"),
    (b"\0\0\x03\xe8\0\0\0\1\0\0\0\1", 0, "MAT"),
    (b"\xf0\x7e", 0, "SDS"),
    (b"\1\4", 0, "MPC2000"),
    (b"\0\2\0\0", 8, "HTK"),
)
# ... and FFmpeg these, by the name that it has for the format.
_FFMPEG = (
    (b"ftyp", 4, "MP4", "mp4"),
    (b"moov", 4, "MP4", "mp4"),
    (b"\x1a\x45\xdf\xa3", 0, "Matroska", "matroska"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0, "WMA", "asf"),
    (b"\xff\xf1", 0, "AAC", "aac"),
    (b"\xff\xf9", 0, "AAC", "aac"),
    (b"wvpk", 0, "WavPack", "wv"),
    (b"MAC ", 0, "Monkey's Audio", "ape"),
    (b"MPCK", 0, "Musepack", "mpc8"),
    (b"MP+", 0, "Musepack", "mpc"),
    (b"TTA1", 0, "True Audio", "tta"),
    (b"tBaK", 0, "TAK", "tak"),
    (b"DSD ", 0, "DSF", "dsf"),
    (b"FRM8", 0, "DFF", "iff"),
    (b"\x0b\x77", 0, "AC-3", "ac3"),
    (b"#!AMR", 0, "AMR", "amr"),
    (b"AVI ", 8, "AVI", "avi"),
    (b"FLV\1", 0, "FLV", "flv"),
)
# FFmpeg's names for formats of which libsndfile decodes some kinds only.
FFMPEG_FORMATS = {"WAV": "wav", "W64": "w64", "AIFF": "aiff", "CAF": "caf", "AU": "au", "Ogg": "ogg", "VOC": "voc"}
# What is found under the names of audio files, and what to do about it.
_NOT_AUDIO = (
    (b"<!doctype html", "it is a web page (HTML), not audio: the download failed, download the file again"),
    (b"<html", "it is a web page (HTML), not audio: the download failed, download the file again"),
    (b"<?xml", "it is an XML document, perhaps a server's error message, not audio: download the file again"),
    (b'{"', "it is a JSON document, perhaps a server's error message, not audio: download the file again"),
    (b"version https://git-lfs", "it is a pointer to a file in Git LFS: fetch the file with git lfs pull"),
    (b"/annex/objects", "it is a pointer to a file in git-annex: fetch the file with git annex get"),
    (b"\0\x05\x16\x07", "it is the companion that macOS writes beside a file, and holds no audio: delete it"),
    (b"mthd", "it is MIDI, which has notes but no sound: render it with a synthesizer, for example fluidsynth"),
    (b"#extm3u", "it is a playlist: pass the files that it names"),
    (b"%pdf", "it is a PDF document, not audio"),
    (b"pk\3\4", "it is a zip archive: unpack it"),
    (b"\x1f\x8b", "it is a gzip archive: unpack it"),
    (b"rar!", "it is a RAR archive: unpack it"),
    (b"\x89png", "it is an image, not audio"),
    (b"\xff\xd8\xff", "it is an image, not audio"),
    (b"gif8", "it is an image, not audio"),
)
_COUNTS = {"AVR": (26, ">I"), "WVE": (18, ">I"), "MPC2000": (26, "<I")}  # where headers have the number of samples
_VIDEO = ("MP4", "Matroska", "WMA", "AVI", "FLV")  # which mostly are video where names do not say audio
_WEAK = ("SDS", "MPC2000", "HTK", "IRCAM", "AC-3", "AAC", "MAT")  # few bytes, which other files begin with as well


@dataclass
class Stream:
    """Bytes that one decoder reads from their start to their end.

    start, end: In the file.
    prefix: What the decoder reads before them, instead of a header that is wrong.
    frames: Samples per channel, where they are counted and the decoder would only estimate them.
    promised: Samples per channel that the header announces.
    missing: Samples per channel that the header announces, and that are not there.
    ratio: Bytes of samples that the header announces, divided by those that are there.
    cut: The format marks the end of a stream, but the mark is missing.
    """

    start: int
    end: int
    prefix: bytes = b""
    frames: int | None = None
    promised: int | None = None
    missing: int = 0
    ratio: float = 1.0
    cut: bool = False


@dataclass
class Contents:
    """What is in a file.

    format: Its name.
    ffmpeg: FFmpeg's name for the format, where libsndfile does not decode it.
    streams: One after another.
    problems: What is between and after them, each a clause.
    """

    format: str
    ffmpeg: str | None
    streams: list[Stream]
    problems: list[str] = field(default_factory=list)


def inspect(file: BinaryIO, size: int, start: int = 0) -> Contents | None:
    """The contents of an open file of `size` bytes, from `start` on; None where no format is recognized."""
    start = skip_tags(file, start, size)
    format, ffmpeg = _format(_read(file, start, 64))
    if format in (None, *_WEAK) and is_mpeg(file, start, size):
        format, ffmpeg = "MP3", None
    if format is None:
        return None
    if format == "MP3":
        return _mpeg(file, start, size)
    if format == "Ogg":
        return _ogg(file, start, size)
    contents = Contents(format, ffmpeg, [Stream(start, size)])
    if format == "FLAC":
        _hide_length(contents.streams[0], _read(file, start, 26))
    elif format in LAYOUTS:
        _join_chunks(file, contents, start, size)
    elif format == "AU":
        _check_au(_read(file, start, 12), contents.streams[0])
    elif format in _COUNTS:
        place, layout = _COUNTS[format]
        (contents.streams[0].promised,) = struct.unpack(layout, _read(file, start + place, 4).ljust(4, b"\0"))
    elif format == "NIST":
        count = re.search(rb"sample_count -i (\d{1,15})\n", _read(file, start, 1024))
        contents.streams[0].promised = int(count[1]) if count else None
    elif format == "SDS":
        _count_sds(_read(file, start, 21), contents.streams[0])
    return contents


def is_audio(file: BinaryIO, size: int) -> bool:
    """Whether the first bytes of a file leave no doubt that it is audio, and not video or something else."""
    start = skip_tags(file, 0, min(size, 2**28))
    head = _read(file, start, 64)
    format, _ = _format(head)
    if format is None or format in _WEAK:
        return (start > 0 or head[:1] == b"\xff") and is_mpeg(file, start, size)
    return format not in _VIDEO


def what_else(head: bytes) -> str | None:
    """What a file that begins with these bytes is instead of audio, and what to do; None where that is unknown."""
    lower = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head and not any(head):
        return "it begins with zeros instead of audio: the copy or the download failed, repeat it"
    return next((what for magic, what in _NOT_AUDIO if lower.startswith(magic)), None)


def _format(head: bytes) -> tuple[str | None, str | None]:
    """The format, and FFmpeg's name for it where only FFmpeg decodes it."""
    found = ((name, None) for magic, place, name in _BUILT_IN if head.startswith(magic, place))
    ffmpeg = ((name, code) for magic, place, name, code in _FFMPEG if head.startswith(magic, place))
    return next(found, None) or next(ffmpeg, (None, None))


def _read(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


def find_flac(file: BinaryIO, start: int, size: int) -> int | None:
    """Where the next FLAC begins from byte `start` on, if there is one."""
    return find(file, b"fLaC\0\0\0\x22", start, size)


def left_out(count: int, place: int) -> str:
    """A clause about bytes that are not decoded."""
    return f"{count:,} bytes from byte {place:,} on are not in its audio streams and were left out"


def _mpeg(file: BinaryIO, start: int, size: int) -> Contents:
    runs, gaps = find_runs(file, start, size)
    streams, promised = [], None  # promised: frames that a tag announces, without those that follow it so far
    for index, run in enumerate(runs):
        prefix = run.prefix()
        streams.append(Stream(run.start, run.end, prefix, None if prefix else run.frames * run.kind.samples))
        promised = run.promised if run.tag else promised
        if promised is not None:
            promised -= run.frames
            if index + 1 == len(runs) or runs[index + 1].tag:
                streams[-1].missing = promised * run.kind.samples
    problems = [left_out(count, place) for place, count in gaps if count > NEGLIGIBLE]
    return Contents("MP3", None, streams, problems)


def _ogg(file: BinaryIO, start: int, size: int) -> Contents:
    links, gaps = find_links(file, start, size)
    contents = Contents("Ogg", None, [])
    contents.problems = [left_out(count, place) for place, count in gaps if count > NEGLIGIBLE]
    for link in links:
        if not link.beginnings:
            problem = (
                f"bytes {link.start:,} to {link.end:,} cannot be decoded: the start of their Ogg stream is missing"
            )
            contents.problems.append(problem)
        elif link.is_decoded:
            contents.streams.append(Stream(link.start, link.end, cut=not link.is_whole))
        else:
            return Contents("Ogg", "ogg", [Stream(start, size)])
    return contents


def _hide_length(stream: Stream, head: bytes):
    """Has a FLAC decoded to its end: libsndfile stops at the length in the header, which may be too small.

    The header ends with 64 bits, of which the last 36 are the number of samples, or 0 where it is unknown.
    """
    fields = int.from_bytes(head[18:26], "big")
    stream.promised = fields % 2**36 or None
    if stream.promised is not None:
        stream.prefix = head[:18] + (fields - stream.promised).to_bytes(8, "big")
        stream.start += len(head)


def _join_chunks(file: BinaryIO, contents: Contents, start: int, size: int):
    """The samples of a file of chunks, and of those that follow it."""
    samples = find_samples(file, contents.format, start, size)
    contents.streams = [Stream(samples.start, samples.end, samples.prefix, ratio=samples.ratio)]
    if samples.strange > NEGLIGIBLE:
        contents.problems.append(left_out(samples.strange, size - samples.strange))
    if samples.following is not None:
        more = inspect(file, size, samples.following)
        contents.streams += more.streams
        contents.problems += more.problems


def _check_au(head: bytes, stream: Stream):
    """Compares the size of the samples in the header with what is there, and corrects it if it is far too small."""
    order = ">" if head.startswith(b".snd") else "<"
    place, length = struct.unpack(f"{order}II", head[4:12].ljust(8, b"\0"))
    there = stream.end - stream.start - place
    if there - length >= length:
        stream.prefix = head[:8] + b"\xff" * 4  # unknown
        stream.start += 12
    elif 0 < there < length < 2**32 - 1:
        stream.ratio = length / there


def _count_sds(head: bytes, stream: Stream):
    """The samples in the whole packets of a MIDI sample dump; libsndfile fills up with silence what is missing."""
    bytes_per_sample = 2 if head[6:7] < b"\x0f" else 3 if head[6:7] < b"\x16" else 4
    there = (stream.end - stream.start - 21) // 127 * (120 // bytes_per_sample)
    promised = sum(byte << shift for byte, shift in zip(head[10:13], (0, 7, 14), strict=False))
    stream.frames = max(0, min(there, promised))
    stream.missing = promised - stream.frames
