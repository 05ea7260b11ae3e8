"""A soundfont of a few kilobytes: one looped tone, which all programs and drums play."""

import io
import struct
from pathlib import Path

import numpy as np
import soundfile

_RATE = 31_608
_PERIOD, _PITCH = 64, 71  # a B4
_PLAIN, _VORBIS = 1, 0x11  # types of a sample; the second is that of SF3
_INSTRUMENT, _SAMPLE, _MODES, _LOOP = 41, 53, 54, 1  # generators, section 8.1 of the SoundFont 2.01 specification


def write_soundfont(path: Path, overtones: int = 8) -> Path:
    """Writes an SF2 file, or an SF3 file by that suffix; with another number of overtones it is another one."""
    phase = 2 * np.pi * np.arange(_PERIOD * 50) / _PERIOD
    tone = sum(np.sin(number * phase) / number for number in range(1, overtones + 1))
    samples = np.concatenate([tone / np.abs(tone).max() * 20_000, np.zeros(46)]).astype("<i2")
    compressed = path.suffix == ".sf3"
    content = _vorbis(samples) if compressed else samples.tobytes()
    presets = _named("melodic", "HHHIII", 0, 0, 0, 0, 0, 0) + _named("drums", "HHHIII", 0, 128, 1, 0, 0, 0)
    end = len(content) if compressed else len(tone)
    loop = (0, end, _PERIOD, len(tone) - _PERIOD, _RATE)
    kind = _VORBIS if compressed else _PLAIN
    pdta = {
        "phdr": presets + _named("EOP", "HHHIII", 0, 0, 2, 0, 0, 0),
        "pbag": struct.pack("<6H", 0, 0, 1, 0, 2, 0),
        "pmod": bytes(10),
        "pgen": struct.pack("<6H", _INSTRUMENT, 0, _INSTRUMENT, 0, 0, 0),
        "inst": _named("tone", "H", 0) + _named("EOI", "H", 1),
        "ibag": struct.pack("<4H", 0, 0, 2, 0),
        "imod": bytes(10),
        "igen": struct.pack("<6H", _MODES, _LOOP, _SAMPLE, 0, 0, 0),
        "shdr": _named("tone", "IIIIIBbHH", *loop, _PITCH, 0, 0, kind) + _named("EOS", "IIIIIBbHH", *[0] * 9),
    }
    info = {"ifil": struct.pack("<2H", 2, 1), "isng": b"EMU8000\0", "INAM": b"a tone\0\0"}
    parts = _list("INFO", info) + _list("sdta", {"smpl": content}) + _list("pdta", pdta)
    path.write_bytes(_chunk("RIFF", b"sfbk" + parts))
    return path


def _vorbis(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, _RATE, format="OGG", subtype="VORBIS", compression_level=0.0)
    return buffer.getvalue() + bytes(buffer.tell() % 2)


def _named(name: str, form: str, *values: int) -> bytes:
    return struct.pack(f"<20s{form}", name.encode(), *values)


def _chunk(name: str, content: bytes) -> bytes:
    return name.encode() + struct.pack("<I", len(content)) + content


def _list(name: str, chunks: dict[str, bytes]) -> bytes:
    return _chunk("LIST", name.encode() + b"".join(_chunk(*item) for item in chunks.items()))
