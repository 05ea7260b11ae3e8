"""What the tests of the endpoint's handler share: published folders, and audio files of all kinds."""

import base64
import importlib.util
import io
import shutil
import struct
from pathlib import Path

import numpy as np
import soundfile as sf
from helpers import RATE, ROOT, save_both

ENDPOINT = ROOT / "src" / "mulap_hf" / "publishing" / "endpoint"
LABELS = ["piano", "guitar", "techno"]
FORMATS = {"wav": "WAV", "flac": "FLAC", "ogg": "OGG", "mp3": "MP3"}


def publish(model, processor, folder: Path) -> Path:
    save_both(model, processor, folder)
    for file in ENDPOINT.iterdir():
        shutil.copy(file, folder)
    return folder


def load_handler(folder: Path):
    """The module, and the handler that it makes of the folder."""
    spec = importlib.util.spec_from_file_location("endpoint_handler", folder / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, module.EndpointHandler(str(folder))


def encode(samples: np.ndarray, rate: int = RATE, kind: str = "WAV", **options) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, format=kind, **options)
    return buffer.getvalue()


def silence(kind: str, seconds: int, rate: int = 8000) -> bytes:
    buffer = io.BytesIO()
    with sf.SoundFile(buffer, "w", rate, 1, format=kind) as file:
        for _ in range(seconds):
            file.write(np.zeros(rate, dtype=np.float32))
    return buffer.getvalue()


def wav(rate: int = RATE, channels: int = 1, announced: int | None = None, samples: int = RATE) -> bytes:
    """A wav whose header says what it is told to."""
    content = np.arange(samples * channels, dtype="<i2").tobytes()
    announced = len(content) if announced is None else announced
    header = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * channels * 2 % 2**32, channels * 2, 16)
    size = struct.pack("<I", (36 + announced) % 2**32)
    return b"RIFF" + size + b"WAVEfmt " + header + b"data" + struct.pack("<I", announced) + content


def with_flac_length(flac: bytes, samples: int) -> bytes:
    """The same stream under a header that announces so many samples; 0 = unknown, as after writing to a pipe."""
    field = int.from_bytes(flac[18:26], "big")  # of STREAMINFO, rate to length; the length is its last 36 bits
    return flac[:18] + (field >> 36 << 36 | samples).to_bytes(8, "big") + flac[26:]


def with_mp3_frames(mp3: bytes, frames: int) -> bytes:
    """The same stream under a header that announces so many frames of 576 samples."""
    at = mp3.index(b"Xing") + 8
    return mp3[:at] + frames.to_bytes(4, "big") + mp3[at + 4 :]


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()
