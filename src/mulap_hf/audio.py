"""Audio files as waveforms: wav, flac, ogg and mp3 without any system package (libsndfile comes with soundfile)."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

try:  # transformers refuses to load a model if a file saved beside it imports, outside of `try`, what is not installed
    import soundfile as sf
    import soxr
except ImportError as error:
    raise ImportError(f"{error}: audio files are read with soundfile and soxr: pip install soundfile soxr") from error

from .errors import AudioError
from .sampling_rate import FASTEST_RATE, SLOWEST_RATE

AUDIO_EXTENSIONS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")
# Music as well, but libsndfile does not read it: such files are reported, not overlooked.
UNSUPPORTED_EXTENSIONS = (".m4a", ".aac", ".mp4", ".wma")
_BLOCK_SECONDS = 10
_UNKNOWN_FRAMES = 2**63 - 1  # what libsndfile says of a flac that was written to a pipe

AudioSource = str | os.PathLike | bytes | bytearray | BinaryIO


def load_audio(
    source: AudioSource,
    sampling_rate: int | None = 16000,
    offset: float = 0.0,
    duration: float | None = None,
    position: float | None = None,
) -> np.ndarray:
    """A file, or a part of it, as mono float32 `(samples,)`.

    Only what is asked for is decoded, in blocks that are mixed down and resampled as they come: an hour of stereo at
    44.1 kHz takes the memory of its hour of mono at `sampling_rate`.

    Args:
        source: path, the bytes of a file, or an open binary file, which is read from its start.
        sampling_rate: of the result, in Hz; None keeps the file's.
        offset: where to start, in seconds.
        duration: how much to read, in seconds; None reads to the end.
        position: instead of `offset`, where in the file to take `duration` from: 0 = its start, 1 = its end.

    Raises:
        AudioError: the file is missing, empty, no audio, in a format that libsndfile does not read, or ends before
            `offset`.
        ValueError: offset or duration is negative, or position is outside 0 to 1 or comes without duration.
    """
    return np.concatenate(list(stream_audio(source, sampling_rate, offset, duration, position)))


def stream_audio(
    source: AudioSource,
    sampling_rate: int | None = 16000,
    offset: float = 0.0,
    duration: float | None = None,
    position: float | None = None,
) -> Iterator[np.ndarray]:
    """`load_audio`, block by block, each `(samples,)`: a file of any length in the memory of ten seconds.

    Raises:
        AudioError, ValueError: as `load_audio`, when the first block is asked for, or the one that is broken; that
            there are no samples, at the end.
    """
    if position is not None and (duration is None or offset or not 0 <= position <= 1):
        raise ValueError(f"position={position} must lie in 0 to 1, and needs duration and no offset")
    if offset < 0 or (duration is not None and duration <= 0):
        raise ValueError(f"offset={offset} s must not be negative and duration={duration} s must be positive")
    name = _name(source)
    samples = 0
    try:
        with _open(source) as file:
            frames = -1 if duration is None else round(duration * file.samplerate)
            if offset or position:
                length = _length(file, source)
                start = round(position * max(0, length - frames) if position else offset * file.samplerate)
                if start >= max(1, length):
                    raise AudioError(f"{name}: offset {offset} s is beyond its {length / file.samplerate:.2f} s")
                _skip(file, start)
            for block in _read(file, frames, sampling_rate):
                samples += len(block)
                yield block
    except (sf.SoundFileError, OSError) as error:
        raise AudioError(f"{name}: {_reason(source, error)}") from error
    if samples == 0 and position:  # the header announces more than there is
        seconds = _count(source) / file.samplerate
        yield from stream_audio(source, sampling_rate, position * max(0.0, seconds - duration), duration)
    elif samples == 0:
        raise AudioError(f"{name}: there are no samples in it")


def audio_seconds(source: AudioSource) -> float:
    """Length of a file in seconds, from its header, if that has it.

    Raises:
        AudioError: as `load_audio`.
    """
    try:
        with _open(source) as file:
            return _length(file, source) / file.samplerate
    except (sf.SoundFileError, OSError) as error:
        raise AudioError(f"{_name(source)}: {_reason(source, error)}") from error


def find_audio_files(paths: list[str | os.PathLike]) -> list[Path]:
    """The files given, and all audio files in and below the folders given, each once, folders' in sorted order.

    Links to folders are followed, unless they lead to one that was met before.

    Raises:
        AudioError: a path does not exist, or a folder cannot be listed, so that its files would be overlooked.
    """
    music = AUDIO_EXTENSIONS + UNSUPPORTED_EXTENSIONS
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = (file for file in _walk(path) if file.suffix.lower() in music and file.is_file())
            found.update(dict.fromkeys(sorted(inside)))
        elif path.exists():
            found[path] = None
        else:
            raise AudioError(f"{path} does not exist")
    return list(found)


def _walk(root: Path) -> Iterator[Path]:
    met = set()
    for folder, folders, names in os.walk(root, onerror=_raise, followlinks=True):
        real = os.path.realpath(folder)
        if real in met:
            folders.clear()
            continue
        met.add(real)
        folders.sort()
        yield from (Path(folder, name) for name in names)


def _raise(error: OSError):
    raise AudioError(f"{error.filename} cannot be read: {error.strerror}") from error


def _open(source: AudioSource) -> sf.SoundFile:
    """Raises:
    AudioError: samples without a header, or a header that claims a rate at which nothing is recorded.
    TypeError: this is no source.
    """
    name = _name(source)
    if isinstance(source, (bytes, bytearray)):
        source = io.BytesIO(source)
    elif isinstance(source, (str, os.PathLike)):
        if os.name != "nt":
            source = os.fsencode(source)  # soundfile fails at names that are no UTF-8
    elif hasattr(source, "read"):
        source.seek(0)
    else:
        raise TypeError(f"{type(source).__name__} is no audio file: pass a path, its bytes, or an open binary file")
    try:
        file = sf.SoundFile(source)
    except TypeError as error:  # libsndfile takes a file for samples alone by its extension
        raise AudioError(f"{name}: samples without a header; convert it to wav or flac") from error
    if not SLOWEST_RATE <= file.samplerate <= FASTEST_RATE:
        raise AudioError(f"{name}: its header says {file.samplerate} Hz: it is damaged")
    if file.frames == _UNKNOWN_FRAMES:
        file.seekable = lambda: False  # soundfile seeks after every read, and the end of such a file cannot be sought
    return file


def _length(file: sf.SoundFile, source: AudioSource) -> int:
    """How many frames an opened file has; where its header does not say, they are decoded and counted."""
    if file.frames != _UNKNOWN_FRAMES:
        return file.frames
    place = source.tell() if hasattr(source, "tell") else None
    length = _count(source)
    if place is not None:
        source.seek(place)
    return length


def _count(source: AudioSource) -> int:
    """The frames that can be decoded."""
    with _open(source) as file:
        return sum(map(len, _read(file, -1, None)))


def _skip(file: sf.SoundFile, frames: int):
    if file.seekable():
        file.seek(frames)
    else:
        for _ in _read(file, frames, None):
            pass


def _read(file: sf.SoundFile, frames: int, sampling_rate: int | None) -> Iterator[np.ndarray]:
    resampler = None
    if sampling_rate is not None and sampling_rate != file.samplerate:
        resampler = soxr.ResampleStream(file.samplerate, sampling_rate, 1, dtype="float32")
    while frames != 0:
        size = _BLOCK_SECONDS * file.samplerate
        block = file.read(size if frames < 0 else min(size, frames), dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        frames -= len(block) if frames > 0 else 0
        mono = _mix_down(block)
        yield mono if resampler is None else resampler.resample_chunk(mono)
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def _mix_down(block: np.ndarray) -> np.ndarray:
    """Mean over the channels of `(samples, channels)`; numpy takes forty times as long over a short last axis."""
    mono = block[:, 0].copy()
    for channel in range(1, block.shape[1]):
        mono += block[:, channel]
    return mono / block.shape[1] if block.shape[1] > 1 else mono


def _name(source: AudioSource) -> str:
    if isinstance(source, (bytes, bytearray)):
        return f"audio of {len(source)} bytes"
    return str(source) if isinstance(source, (str, os.PathLike)) else str(getattr(source, "name", source))


def _reason(source: AudioSource, error: Exception) -> str:
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if not os.path.exists(path):  # which, unlike Path's own, takes names of any length
            return "the file does not exist"
        if path.is_dir():
            return "this is a folder"
        try:
            path.open("rb").close()
        except OSError as refusal:
            return f"it cannot be opened: {refusal.strerror}"
        if path.stat().st_size == 0:
            return "the file is empty (0 bytes)"
        if path.suffix.lower() in UNSUPPORTED_EXTENSIONS:
            return f"{path.suffix} is not supported; convert it, for example: ffmpeg -i {path.name} {path.stem}.flac"
    return f"broken, or not in a format that libsndfile reads (libsndfile: {getattr(error, 'error_string', error)})"
