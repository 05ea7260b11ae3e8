"""Decoders of audio streams: libsndfile, and FFmpeg for the formats that libsndfile does not decode.

FFmpeg comes with PyAV, or else is used through torchcodec, where that is installed. All read samples in order from an
open file. None is imported before a file needs it.
"""

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

import numpy as np

from .audio_containers import Stream
from .errors import AudioError, MissingPackageError

_UNKNOWN_FRAMES = 2**62  # libsndfile gives a larger number where it does not know
_STEP = 8192  # frames that are decoded at a time where data may be damaged; as many may be lost before the damage
_BLOCK, _LEAD = 10.0, 1.0  # seconds that torchcodec decodes at a time, and that it decodes again before them
_ESTIMATES = ("aac", "ac3", "amr")  # formats of which FFmpeg only estimates the duration


class Decoder:
    """A stream that is being decoded.

    Attributes:
        rate: Sampling rate in Hz.
        channels: How many.
        frames: Samples per channel, where that is known beforehand.
        promised: Samples per channel that the header announces, where decoding alone shows how many there are.
        position: Frames that were read or skipped.
        error: What stopped decoding before the end, a clause.
        problems: What was left out, each a clause.
        place: The byte of the file up to which it was read.
    """

    rate: int
    channels: int
    frames: int | None
    promised: int | None
    position: int = 0
    error: str | None = None
    problems: list[str] = ()
    place: int = 0

    def read(self, count: int) -> np.ndarray:
        """The next frames, float32 `(frames, channels)`; fewer than `count` only at the end, or at an error.

        Raises:
            OSError: The file cannot be read.
        """
        block = self._read(count)
        self.position += len(block)
        return block

    def skip(self, count: int) -> int:
        """Moves on by so many frames from the start, and returns by how many there were."""
        if count:
            self.position = self._seek(count)
        while self.position < count and len(self.read(min(count - self.position, 2**18))):
            pass
        return self.position

    def close(self):
        raise NotImplementedError

    def _read(self, count: int) -> np.ndarray:
        raise NotImplementedError

    def _seek(self, count: int) -> int:
        """Moves to frame `count` or one before it, without decoding, and returns which."""
        return 0


class Part(io.RawIOBase):
    """Some bytes of an open file as a file, with other bytes before them.

    Attributes:
        error: What went wrong when the file was read. libsndfile takes it for the end of the file.
    """

    def __init__(self, file: BinaryIO, stream: Stream):
        self.file, self.start, self.prefix = file, stream.start, stream.prefix
        self.size = len(stream.prefix) + stream.end - stream.start
        self.position = 0
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = max(0, offset + (0, self.position, self.size)[whence])
        return self.position

    def readinto(self, buffer) -> int:
        count = max(0, min(len(buffer), self.size - self.position))
        head = self.prefix[self.position : self.position + count]
        buffer[: len(head)] = head
        done = len(head)
        try:
            if done < count:
                self.file.seek(self.start + self.position + done - len(self.prefix))
            while done < count and (piece := self.file.read(count - done)):
                buffer[done : done + len(piece)] = piece
                done += len(piece)
        except OSError as error:
            self.error = error
        self.position += done
        return done


class SoundFileDecoder(Decoder):
    """libsndfile.

    Args:
        file: An open binary file.
        stream: What of it to decode.
        path: Of the file, where the stream is all of it: libsndfile then reads it itself, which is faster.

    Raises:
        AudioError: libsndfile cannot decode it; the message is a clause.
    """

    def __init__(self, file: BinaryIO, stream: Stream, path: str | os.PathLike | None = None):
        self._file, self._stream, self._path = file, stream, path
        self.promised, self.problems = stream.promised, []
        self._open()

    def _open(self):
        try:  # transformers demands of saved code what it imports outside of such a block
            import soundfile
        except ImportError as error:
            raise MissingPackageError("audio files are decoded with soundfile: pip install soundfile") from error
        self._errors = soundfile.SoundFileError
        self._part = Part(self._file, self._stream)
        own = None if self._path is None else os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            self._sound = soundfile.SoundFile(self._part if own is None else own)
        except self._errors as error:
            raise AudioError(_text(error)) from error
        self.rate, self.channels = self._sound.samplerate, self._sound.channels
        frames = self._sound.frames if self._stream.frames is None else self._stream.frames
        self.frames = frames if frames < _UNKNOWN_FRAMES else self.promised
        if self._sound.format != "MP3" and self._sound.subtype == "MPEG_LAYER_III":  # an mp3 in a wav: an estimate
            self.frames = None
        if self._sound.subtype.startswith("ALAC"):  # of which a table says how many samples there should be
            self.promised = self.frames
        self._can_seek = self._sound.seekable()
        self._sound.seekable = lambda: False  # else soundfile seeks after every read, which some formats cannot
        self._step = _STEP if self._sound.format in ("FLAC", "OGG", "MP3") else None

    def _read(self, count: int) -> np.ndarray:
        if self._stream.frames is not None:  # else libsndfile may add silence
            count = max(0, min(count, self._stream.frames - self.position))
        block = np.empty((count, self.channels), dtype=np.float32)
        done = 0
        while done < count and self.error is None:
            position = self.position + done
            step = min(self._step or count, count - done)
            if position < (self.promised or 0):  # what may come after it, tags for example, is read apart
                step = min(step, self.promised - position)
            try:
                new = len(self._sound.read(dtype="float32", out=block[done : done + step]))
            except self._errors as error:
                self.error = _text(error)
                break
            if not new:
                break
            done += new
        if self._part.error is not None:
            raise self._part.error
        return block[:done]

    def _seek(self, count: int) -> int:
        if self.frames is None or not self._can_seek or count >= self.frames:
            return 0
        try:
            return self._sound.seek(count)
        except self._errors:  # the header promised too much
            self.close()
            self._open()
            return 0

    @property
    def place(self) -> int:
        return self._stream.start + self._part.position - len(self._stream.prefix)

    def close(self):
        with suppress(self._errors):
            self._sound.close()


class FFmpegDecoder(Decoder):
    """FFmpeg, by PyAV. Packets that it cannot decode are left out, and counted in `problems`.

    Args:
        file: An open binary file.
        stream: What of it to decode.
        format: FFmpeg's name for the format.

    Raises:
        MissingPackageError: PyAV is not installed.
        AudioError: FFmpeg cannot decode the file; the message is a clause.
    """

    def __init__(self, file: BinaryIO, stream: Stream, format: str):
        try:
            import av
        except ImportError as error:
            raise MissingPackageError("PyAV is not installed") from error
        self._av, self._damaged = av, 0
        self._part = Part(file, stream)
        try:
            self._container = av.open(self._part, format=format, metadata_errors="ignore")
        except av.FFmpegError as error:
            index = ", or its end is missing, which has the index" if format == "mp4" else ""
            raise AudioError(f"{error.strerror}{index}") from error
        if not self._container.streams.audio:
            raise AudioError("it contains no audio")
        self._audio = self._container.streams.audio[0]
        self._layout = self._form = self._resampler = None
        self._blocks = self._decode()
        self._origin, self._rest = next(self._blocks, (None, None))
        if self._rest is None:
            raise AudioError("there are no samples in it")
        self._can_seek = format == "mp4" and self._origin is not None
        seconds = None if format in _ESTIMATES else self._duration()
        self.frames = self.promised = None if seconds is None else round(seconds * self.rate)

    @property
    def problems(self) -> list[str]:
        return [f"damaged packets were left out: {self._damaged}"] if self._damaged else []

    def _read(self, count: int) -> np.ndarray:
        blocks, done = [], 0
        while done < count and self._rest is not None:
            blocks.append(self._rest[: count - done])
            done += len(blocks[-1])
            self._rest = self._rest[len(blocks[-1]) :]
            if not len(self._rest):
                _, self._rest = next(self._blocks, (None, None))
        if self._part.error is not None:
            raise self._part.error
        return np.concatenate(blocks) if blocks else np.zeros((0, self.channels), dtype=np.float32)

    def _seek(self, count: int) -> int:
        """Where the file has an index, to a second before: decoders need some packets until they are right again."""
        if not self._can_seek or not self.rate < count < (self.frames or 0):
            return 0
        self._container.seek(round((count / self.rate - 1) * self._av.time_base))
        self._blocks = self._decode()
        seconds, self._rest = next(self._blocks, (None, None))
        return 0 if seconds is None else round((seconds - self._origin) * self.rate)

    def close(self):
        self._container.close()

    def _duration(self) -> float | None:
        """Seconds that the header announces."""
        if self._audio.duration is not None:
            return float(self._audio.duration * self._audio.time_base)
        return None if self._container.duration is None else self._container.duration / self._av.time_base

    def _decode(self) -> Iterator[tuple[float | None, np.ndarray]]:
        """Blocks `(samples, channels)`, in the form of the first one, and the times in s at which they begin."""
        packets = self._container.demux(self._audio)
        while True:
            try:
                packet = next(packets, None)
                blocks = [] if packet is None else [self._convert(frame) for frame in packet.decode()]
            except self._av.FFmpegError:
                self._damaged += 1
                continue
            if packet is None:
                return
            yield from blocks

    def _convert(self, frame) -> tuple[float | None, np.ndarray]:
        """The time of a frame in s, and its samples in the form of the first frame."""
        if self._layout is None:
            self.rate, self.channels = frame.sample_rate, frame.layout.nb_channels
            self._layout = frame.layout.name
        form = frame.format.name, frame.layout.name, frame.sample_rate
        if form != self._form:
            self._form, self._resampler = form, self._av.AudioResampler("flt", self._layout, self.rate)
        seconds = None if frame.pts is None else float(frame.pts * frame.time_base)
        # Not planes: of those, PyAV reads no more than eight, and crashes where there are more channels.
        pieces = [piece.to_ndarray().reshape(-1, self.channels) for piece in self._resampler.resample(frame)]
        return seconds, np.concatenate(pieces) if pieces else np.zeros((0, self.channels), dtype=np.float32)


class TorchcodecDecoder(Decoder):
    """FFmpeg, by torchcodec, which needs FFmpeg's libraries on the machine: where PyAV is not installed.

    Args:
        file: An open binary file.
        stream: What of it to decode.

    Raises:
        MissingPackageError: torchcodec is not installed, or does not find FFmpeg.
        AudioError: FFmpeg cannot decode the file; the message is a clause.
    """

    def __init__(self, file: BinaryIO, stream: Stream):
        try:
            from torchcodec.decoders import AudioDecoder
        except (ImportError, OSError, RuntimeError) as error:  # which of them depends on its version
            raise MissingPackageError("torchcodec is not installed, or does not find FFmpeg") from error
        self._part, self.problems = Part(file, stream), []
        try:
            self._decoder = AudioDecoder(self._part)
        except (RuntimeError, ValueError) as error:
            if "libtorchcodec" in str(error):
                raise MissingPackageError("torchcodec does not find FFmpeg") from error
            raise AudioError(f"FFmpeg finds no audio in it: {str(error)[:200]}") from error
        metadata = self._decoder.metadata
        self.rate, self.channels = metadata.sample_rate, metadata.num_channels
        self.frames = self.promised = None
        self._time = max(0.0, metadata.begin_stream_seconds or 0.0)
        self._rest = np.zeros((0, self.channels), np.float32)

    def _read(self, count: int) -> np.ndarray:
        while len(self._rest) < count and len(block := self._next_block()):
            self._rest = np.concatenate([self._rest, block])
        if self._part.error is not None:
            raise self._part.error
        block, self._rest = self._rest[:count], self._rest[count:]
        return block

    def _next_block(self) -> np.ndarray:
        """The next seconds, `(samples, channels)`; none at the end."""
        start = max(0.0, self._time - _LEAD)  # decoders need some packets until they are right
        try:
            samples = self._decoder.get_samples_played_in_range(start, self._time + _BLOCK)
        except RuntimeError as error:
            if "No audio frames" not in str(error):
                self.error = str(error)[:200]
            return self._rest[:0]
        block = samples.data.numpy().T[max(0, round((self._time - samples.pts_seconds) * self.rate)) :]
        self._time += len(block) / self.rate
        return block

    def close(self):
        self._decoder = None


def open_ffmpeg(file: BinaryIO, stream: Stream, format: str) -> Decoder:
    """The decoder of PyAV, or that of torchcodec where PyAV is not installed; see both.

    Raises:
        MissingPackageError: Neither is installed.
        AudioError: FFmpeg cannot decode the file; the message is a clause.
    """
    try:
        return FFmpegDecoder(file, stream, format)
    except MissingPackageError:
        return TorchcodecDecoder(file, stream)


def _text(error: Exception) -> str:
    return (getattr(error, "error_string", None) or str(error)).removeprefix("Error : ").rstrip(".")
