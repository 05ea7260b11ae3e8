"""Audio files that tests make, whole and in parts: a tone that rises, so that no two moments are alike."""

import io
import struct
from fractions import Fraction

import numpy as np
import soundfile as sf

RATES = {"GSM610": 8000, "WVE": 8000, "OPUS": 48000}  # of formats and subtypes that have no other


def sweep(rate: int, seconds: float, channels: int = 1) -> np.ndarray:
    """`(samples,)`, or `(samples, channels)` of several; float32."""
    time = np.arange(round(rate * seconds)) / rate
    tone = 0.3 * np.sin(2 * np.pi * (200 + 40 * time) * time)
    samples = (tone + np.random.default_rng(0).normal(0, 0.005, len(time))).astype(np.float32)
    return samples if channels == 1 else np.stack([samples] * channels, axis=1)


def encode(samples: np.ndarray, rate: int, format: str, subtype: str | None = None, **options) -> bytes:
    """A file, written in blocks: libsndfile overflows its stack when it encodes long Vorbis at once."""
    file = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with sf.SoundFile(file, "w", rate, channels, format=format, subtype=subtype, **options) as sound:
        for start in range(0, len(samples), 4096):
            sound.write(samples[start : start + 4096])
    return file.getvalue()


def encode_with_ffmpeg(samples: np.ndarray, rate: int, format: str, codec: str) -> bytes:
    """Mono `(samples,)` as a file that PyAV writes."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout, stream.format = "mono", stream.codec_context.codec.audio_formats[0]
        if codec == "wmav2":
            stream.bit_rate = 128_000
        stream.codec_context.open(strict=False)
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.rate = rate
        queue = av.AudioFifo()
        for converted in av.AudioResampler(stream.format, "mono", rate).resample(frame):
            converted.pts = None
            queue.write(converted)
        start = 0
        while (frame := queue.read(stream.codec_context.frame_size or 1024, partial=True)) is not None:
            frame.pts, frame.time_base = start, Fraction(1, rate)
            start += frame.samples
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def without_tag(mp3: bytes) -> bytes:
    """An mp3 without the frame that says how many there are, as streams and recordings of them are."""
    place = max(mp3.find(b"Xing", 0, 400), mp3.find(b"Info", 0, 400))
    bitrates = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    start = place - (36 if mp3[3] >> 6 != 3 else 21)
    bitrate, padding = bitrates[mp3[start + 2] >> 4], mp3[start + 2] >> 1 & 1
    return mp3[start + 144_000 * bitrate // 44100 + padding :]


def id3_with_cover(size: int) -> bytes:
    """An ID3 tag with a picture of random bytes, in which there are bytes like headers of frames."""
    picture = b"\0image/jpeg\0\3\0" + np.random.default_rng(0).bytes(size)
    frame = b"APIC" + struct.pack(">I", len(picture)) + b"\0\0" + picture
    return b"ID3\3\0\0" + bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0)) + frame


def correlation(samples: np.ndarray, expected: np.ndarray, shift: int = 2400) -> float:
    """The highest correlation of decoded with encoded samples, which codecs move by up to `shift` samples."""
    count = min(len(samples), len(expected)) - 2 * shift
    middle = expected[shift : shift + count]
    size = 2 * max(len(samples), len(expected))
    products = np.fft.irfft(np.fft.rfft(samples, size) * np.conj(np.fft.rfft(middle, size)))
    start = int(np.argmax(products[: 2 * shift + 1]))
    return float(np.corrcoef(samples[start : start + count], middle)[0, 1])
