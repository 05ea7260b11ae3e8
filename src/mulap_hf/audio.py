"""Audio files as waveforms.

libsndfile, which comes with soundfile, decodes wav, flac, ogg, opus, mp3, aiff, caf and others without any system
package; FFmpeg, which comes with PyAV, decodes m4a, aac, wma, webm and others where it is installed.
"""

import errno
import io
import os
import shlex
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .audio_chunks import NEGLIGIBLE
from .audio_containers import FFMPEG_FORMATS, Stream, find_flac, inspect, left_out, what_else
from .audio_decoders import Decoder, SoundFileDecoder, open_ffmpeg
from .audio_limits import LOUDEST, SHORTEST_SECONDS
from .errors import AudioError, AudioWarning, MissingPackageError, MulapError
from .remote import copy_here, is_address
from .sampling_rate import FASTEST_RATE, SLOWEST_RATE

_BLOCK_SECONDS = 10
_BLOCK_SAMPLES = 2**23  # of all channels; 32 MiB
_MISSING_SECONDS = 0.1  # a file that lacks less than its header promises is whole

AudioSource = str | os.PathLike | bytes | bytearray | memoryview | BinaryIO
Report = Callable[[str], None]


def warn(problem: str):
    """Shows an `AudioWarning`."""
    warnings.warn(problem, AudioWarning, stacklevel=2)


def refuse(problem: str):
    """Raises an `AudioError`; for `load_audio`, where a file must be complete."""
    raise AudioError(problem)


def load_audio(
    source: AudioSource,
    sampling_rate: int | None = 16000,
    offset: float = 0.0,
    duration: float | None = None,
    position: float | None = None,
    report: Report = warn,
) -> np.ndarray:
    """A file, or a part of it, as mono float32 `(samples,)`.

    The file is decoded to the end of its data, whatever its header says about its length; streams that follow each
    other in it are joined. Only what is asked for is decoded, in blocks that are mixed down and resampled as they
    come: an hour of stereo at 44.1 kHz takes the memory of its hour of mono at `sampling_rate`.

    Args:
        source: Path, address (`s3://bucket/song.ogg`, see `remote`), the bytes of a file, or an open binary file,
            which is read from its start.
        sampling_rate: Of the result, in Hz; None keeps the file's.
        offset: Where to start, in seconds.
        duration: How much to read, in seconds; None reads to the end.
        position: Instead of `offset`, where in the file to take `duration` from: 0 = its start, 1 = its end.
        report: Called with a sentence for everything that is missing from a file that can be used: that it ends early,
            or has bytes that are not audio. Default: `warnings.warn`; `refuse` raises an error.

    Raises:
        AudioError: The file is missing, empty, not audio, damaged, in a format that cannot be decoded, shorter than
            `offset`, or it has samples that are not finite or far beyond full scale.
        ValueError: `offset` or `duration` is negative, or `position` is outside 0 to 1 or comes without `duration`.
        TypeError: `source` is none of the above.
    """
    return np.concatenate(list(stream_audio(source, sampling_rate, offset, duration, position, report)))


def stream_audio(
    source: AudioSource,
    sampling_rate: int | None = 16000,
    offset: float = 0.0,
    duration: float | None = None,
    position: float | None = None,
    report: Report = warn,
) -> Iterator[np.ndarray]:
    """`load_audio` block by block, each `(samples,)`: a file of any length in the memory of ten seconds.

    Raises:
        AudioError, ValueError, TypeError: As `load_audio`, when the first block is asked for, or the damaged one; that
            there are no samples, at the end.
    """
    if position is not None and (duration is None or offset or not 0 <= position <= 1):
        raise ValueError(f"position={position} must lie in 0 to 1, and needs duration and no offset")
    if offset < 0 or (duration is not None and duration <= 0):
        raise ValueError(f"offset={offset} s must not be negative and duration={duration} s must be positive")
    with _open(source, report) as audio:
        if not position:
            yield from audio.blocks(sampling_rate, offset, duration)
            return
        try:
            yield from audio.blocks(sampling_rate, position * max(0.0, audio.seconds() - duration), duration)
        except _TooShort as error:  # the header promised more than there is
            yield from audio.blocks(sampling_rate, position * max(0.0, error.seconds - duration), duration)


def audio_seconds(source: AudioSource) -> float:
    """Length of a file in seconds: of the samples that are in it, whatever its header says.

    They are counted, or decoded where that is the only way, as in a flac or m4a.

    Raises:
        AudioError, TypeError: As `load_audio`.
    """
    with _open(source, report=lambda problem: None) as audio:
        return audio.seconds(exact=True)


class _TooShort(AudioError):
    """Less audio than `offset`; `seconds` is its length."""

    def __init__(self, message: str, seconds: float):
        super().__init__(message)
        self.seconds = seconds


class _Audio:
    """An open file.

    Args:
        name: Of the file, for messages.
        file: The file, which can seek.
        size: Its bytes.
        path: Where it is, if it has a path.
        report: See `load_audio`.
    """

    def __init__(self, name: str, file: BinaryIO, size: int, path: str | os.PathLike | None, report: Report):
        self.name, self.file, self.size, self.path, self.report = name, file, size, path, report
        self._opened: dict[int, Decoder] = {}  # and not used yet
        self._reported: set[str] = set()
        contents = inspect(file, size)
        if contents is None:
            file.seek(0)
            raise AudioError(f"{name}: {_what_it_is(file.read(64), name)}")
        self.contents = contents

    def close(self):
        for decoder in self._opened.values():
            decoder.close()

    def seconds(self, exact: bool = False) -> float:
        """The length. If not `exact`, a header is believed where only decoding would show whether it is right."""
        total = 0.0
        for index in range(len(self.contents.streams)):
            decoder = self._opened[index] = self._decoder(index)
            if decoder.frames is None or (exact and decoder.promised is not None):
                return sum(map(len, self.blocks(decoder.rate))) / decoder.rate
            total += decoder.frames / decoder.rate
        return total

    def blocks(
        self, sampling_rate: int | None, offset: float = 0.0, duration: float | None = None
    ) -> Iterator[np.ndarray]:
        """Mono blocks `(samples,)`, see `load_audio`."""
        for problem in self.contents.problems:
            self._report(problem)
        seconds, left, is_empty = 0.0, duration, True  # seconds: of the streams so far
        streams = self.contents.streams  # of which more may be found on the way
        for index, stream in enumerate(streams):
            with closing(self._opened.pop(index, None) or self._decoder(index)) as decoder:
                rate = decoder.rate
                sampling_rate = sampling_rate or rate
                self._report_cut(stream, decoder, seconds)
                skip = max(0, round((offset - seconds) * rate))
                count = None if left is None else round(left * rate)
                if decoder.skip(skip) == skip and count != 0:
                    for block in _resample(self._mono(decoder, seconds, count), rate, sampling_rate):
                        is_empty = is_empty and not len(block)
                        yield block
                    if count is not None:
                        left -= (decoder.position - skip) / rate
                seconds += decoder.position / rate
                if count is not None and decoder.position == skip + count:
                    return
                streams += self._after(stream, decoder, seconds)
        if is_empty and offset:
            raise _TooShort(f"{self.name}: offset {offset} s is beyond its {seconds:.2f} s", seconds)
        if seconds < SHORTEST_SECONDS and not offset:
            samples = f"only {seconds * 1000:.2g} ms of audio" if seconds else "no samples"
            reason = next(iter(self.contents.problems), "its export or recording failed, repeat it")
            raise AudioError(f"{self.name}: there are {samples} in it: {reason}")

    def _report(self, problem: str):
        if problem not in self._reported:
            self._reported.add(problem)
            self.report(f"{self.name}: {problem}")

    def _decoder(self, index: int) -> Decoder:
        """libsndfile where it can decode a stream, else FFmpeg."""
        stream, format, ffmpeg = self.contents.streams[index], self.contents.format, self.contents.ffmpeg
        try:
            if ffmpeg is not None:
                decoder = open_ffmpeg(self.file, stream, ffmpeg)
            else:
                is_whole = not stream.prefix and (stream.start, stream.end) == (0, self.size)
                decoder = SoundFileDecoder(self.file, stream, self.path if is_whole else None)
        except MissingPackageError as error:
            if ffmpeg is None:
                raise
            raise AudioError(f"{self.name}: {format} {self._how_to_convert()}") from error
        except AudioError as error:
            reason = f"{self.name}: its {format} data cannot be decoded: {error}"
            if ffmpeg is not None or format not in FFMPEG_FORMATS:
                raise AudioError(reason) from error
            try:
                decoder = open_ffmpeg(
                    self.file, Stream(stream.start, stream.end, stream.prefix), FFMPEG_FORMATS[format]
                )
            except MissingPackageError:
                raise AudioError(f"{reason}. If it is whole, it {self._how_to_convert()}") from error
            except AudioError:
                raise AudioError(reason) from error
        if SLOWEST_RATE <= decoder.rate <= FASTEST_RATE:
            return decoder
        decoder.close()
        raise AudioError(f"{self.name}: its header says {decoder.rate} Hz: it is damaged")

    def _how_to_convert(self) -> str:
        name = Path(self.name if self.path is not None else "song")
        return (
            'needs FFmpeg: pip install "mulap-hf[formats]" (which installs PyAV, av), or convert it: '
            f"ffmpeg -i {shlex.quote(name.name)} {shlex.quote(f'{name.stem}.flac')}"
        )

    def _mono(self, decoder: Decoder, seconds: float, count: int | None) -> Iterator[np.ndarray]:
        """The next `count` frames of a stream that begins at `seconds`, or all, in blocks `(samples,)`."""
        size = max(1, min(_BLOCK_SECONDS * decoder.rate, _BLOCK_SAMPLES // decoder.channels))
        while count is None or count > 0:
            start = seconds + decoder.position / decoder.rate
            block = decoder.read(size if count is None else min(size, count))
            if not len(block):
                return
            mono = _mix_down(block)
            if not max(mono.max(), -mono.min()) <= LOUDEST:  # also where one of them is NaN
                raise AudioError(f"{self.name}: {_what_is_wrong(mono, start, decoder.rate)}")
            yield mono
            count = None if count is None else count - len(block)

    def _report_cut(self, stream: Stream, decoder: Decoder, seconds: float):
        """Reports what is known of a stream before it is decoded, which begins at `seconds`."""
        if decoder.frames is None or decoder.frames == decoder.promised:
            return
        found = decoder.frames / decoder.rate
        missing = max(0, (stream.promised or 0) - decoder.frames) / decoder.rate
        missing += stream.missing / decoder.rate + (stream.ratio - 1) * found
        end = seconds + found
        if missing > _MISSING_SECONDS:
            self._report(f"it ends early, after {end:.2f} s of the {end + missing:.2f} s in its header")
        elif stream.cut:
            self._report(f"it breaks off after {end:.2f} s: its last page is missing")

    def _after(self, stream: Stream, decoder: Decoder, seconds: float) -> list[Stream]:
        """Reports what is known of a stream after it was decoded.

        Returns:
            The streams that begin where it ends, as far as they were not found before.

        Raises:
            AudioError: It is damaged, and more data follow.
        """
        for problem in decoder.problems:
            self._report(problem)
        more = []
        if decoder.error is not None and self.contents.format == "FLAC":
            following = find_flac(self.file, max(stream.start + 1, decoder.place - 2**16), self.size)
            if following is not None:
                more = inspect(self.file, self.size, following).streams
        left = stream.end - decoder.place
        if decoder.error is not None and decoder.promised is not None and decoder.position >= decoder.promised:
            if left > NEGLIGIBLE and not more:
                self._report(left_out(left, decoder.place))
        elif decoder.error is not None and not more and left > 0:
            raise AudioError(f"{self.name}: it is damaged at {seconds:.2f} s ({decoder.error})")
        missing = (decoder.frames or 0) - decoder.position
        if missing > _MISSING_SECONDS * decoder.rate:
            expected = seconds + missing / decoder.rate
            if decoder.promised is None:
                self._report(f"it is damaged: only {seconds:.2f} s of {expected:.2f} s can be decoded")
            else:
                self._report(f"it ends early, after {seconds:.2f} s of the {expected:.2f} s in its header")
        elif decoder.frames is None and (stream.cut or decoder.error is not None):
            self._report(f"it breaks off after {seconds:.2f} s")
        return more


@contextmanager
def _open(source: AudioSource, report: Report) -> Iterator[_Audio]:
    name, path = _name(source), None
    if isinstance(source, (bytes, bytearray, memoryview)):
        file = io.BytesIO(source)
    elif isinstance(source, (str, os.PathLike)):
        file, path = _open_path(source, name), None if is_address(source) else source
    elif hasattr(source, "read"):
        file = source if source.seekable() else io.BytesIO(source.read())
    else:
        raise TypeError(
            f"{type(source).__name__} is not an audio file: pass a path, its bytes, or an open binary file"
        )
    try:
        audio = _Audio(name, file, file.seek(0, os.SEEK_END), path, report)
        try:
            yield audio
        finally:
            audio.close()
    except OSError as error:
        raise AudioError(f"{name}: it cannot be read: {error.strerror or error}") from error
    finally:
        if isinstance(source, (str, os.PathLike)):
            file.close()


def _open_path(path: str | os.PathLike, name: str) -> BinaryIO:
    if is_address(path):
        try:
            return copy_here(path)
        except MulapError as error:
            raise AudioError(str(error)) from error
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return open(path, "rb")
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        missing = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
        if isinstance(error, OSError) and error.errno not in missing:
            reason = f"it cannot be opened: {error.strerror}"
        elif os.path.islink(path):
            reason = f"it is a link to {os.readlink(path)}, which does not exist"
        else:
            reason = "the file does not exist"
        raise AudioError(f"{name}: {reason}") from error
    what = "a folder" if stat.S_ISDIR(mode) else "not a file but a pipe or a device: pass its bytes"
    raise AudioError(f"{name}: this is {what}")


def _resample(blocks: Iterator[np.ndarray], rate: int, sampling_rate: int) -> Iterator[np.ndarray]:
    if rate == sampling_rate:
        yield from blocks
        return
    try:  # transformers demands of saved code what it imports outside of such a block
        import soxr
    except ImportError as error:
        raise MissingPackageError("audio files are resampled with soxr: pip install soxr") from error
    resampler = soxr.ResampleStream(rate, sampling_rate, 1, dtype="float32")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def _mix_down(block: np.ndarray) -> np.ndarray:
    """Mean over the channels of `(samples, channels)`; numpy takes forty times as long over a short last axis."""
    mono = block[:, 0].copy()
    with np.errstate(all="ignore"):  # what is not finite is refused with its time
        for channel in range(1, block.shape[1]):
            mono += block[:, channel]
    return mono / block.shape[1] if block.shape[1] > 1 else mono


def _name(source: AudioSource) -> str:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"audio of {len(source)} bytes"
    return str(source) if isinstance(source, (str, os.PathLike)) else str(getattr(source, "name", source))


def _what_is_wrong(mono: np.ndarray, start: float, rate: int) -> str:
    """Of samples that are not finite or far beyond full scale, the first of them at `start` s."""
    bad = ~np.isfinite(mono)
    if bad.any():
        first = int(bad.argmax())
        kind = "NaN" if np.isnan(mono[first]) else "infinite"
        return f"the sample at {start + first / rate:.3f} s is {kind}: export it again, or replace it with zeros"
    peak = float(np.abs(mono).max())
    scale = f"samples reach {peak:,.5g}, where full scale is 1"
    bits = next((bits for bits in (16, 24, 32) if peak <= 2 ** (bits - 1)), None)
    if bits is None:
        return f"{scale}: it is damaged, export it again"
    full_scale = 2 ** (bits - 1)
    return (
        f"{scale}; they look like integers of {bits} bits saved as floats: divide them by {full_scale}, for example "
        f"ffmpeg -i FILE -af volume=1/{full_scale} SCALED.wav"
    )


def _what_it_is(head: bytes, name: str) -> str:
    """Of a file whose format is not recognized, what it is, and what to do."""
    if not head:
        return "the file is empty (0 bytes)"
    if Path(name).suffix.lower() in (".raw", ".pcm"):
        return "samples without a header; convert it to wav or flac"
    return what_else(head) or f"broken, or not in a format that is known here (it begins with {head[:8]!r})"
