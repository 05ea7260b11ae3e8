"""Audio in the forms that datasets and tables have it in: as a file, its bytes, or its samples."""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ..errors import AudioError
from .paths import WAVEFORM_SUFFIX
from .schema import Example, Skipped

WAVEFORM_RATE = 16000  # of waveforms in the published MuLaP format


def wav_bytes(waveform: np.ndarray, sampling_rate: int) -> bytes:
    """A waveform, `(samples,)` or `(samples, channels)`, as a 32-bit float wav file, which stores it unchanged."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, sampling_rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def audio_of(cell: Any, name: str) -> tuple[Path | bytes | None, str | None]:
    """A cell with audio in any of its usual forms: the file or its bytes (None if it is empty), and a file name.

    Args:
        cell: a struct of `bytes` and `path`, bytes, a path, or a struct of `array`, `(samples,)` or
            `(channels, samples)`, and `sampling_rate`.
        name: what to call bytes that have no name; may be empty.

    Raises:
        AudioError: the array and its rate are not a waveform.
    """
    if isinstance(cell, dict) and cell.get("array") is not None:
        try:
            content = wav_bytes(np.asarray(cell["array"], dtype=np.float32).T, int(cell["sampling_rate"]))
        except (TypeError, ValueError, soundfile.SoundFileError) as error:
            raise AudioError(f"no waveform in its array and sampling rate: {error}") from error
        return content, f"{name}.wav" if name else ""
    path = cell.get("path") if isinstance(cell, dict) else cell if isinstance(cell, str) else None
    content = cell.get("bytes") if isinstance(cell, dict) else cell if isinstance(cell, bytes) else None
    if content is not None:
        return content, Path(path).name if path else name
    return (Path(path), None) if path else (None, None)


def load_waveforms(items: Iterable[Example | Skipped]) -> Iterator[Example | Skipped]:
    """The same items, in which `.npy` waveforms have become wav files in memory."""
    return (item if isinstance(item, Skipped) or not _is_waveform(item) else _load_waveform(item) for item in items)


def _is_waveform(example: Example) -> bool:
    return isinstance(example.audio, Path) and example.audio.suffix.lower() == WAVEFORM_SUFFIX


def _load_waveform(example: Example) -> Example | Skipped:
    path = example.audio
    try:
        waveform = np.squeeze(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        return Skipped(example.id, "broken audio", f"{path}: {error}")
    if waveform.ndim != 1 or waveform.dtype.kind != "f" or waveform.size == 0:
        found = f"{waveform.dtype} {waveform.shape}"
        return Skipped(example.id, "broken audio", f"{path}: expected mono float samples, found {found}")
    audio = wav_bytes(waveform.astype(np.float32), WAVEFORM_RATE)
    return Example(example.id, audio, f"{path.stem}.wav", example.caption, example.fields)
