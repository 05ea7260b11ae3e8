"""The varied production chain: how a song is mixed, recorded, mastered and encoded, independent of the song.

The chain runs in stereo: positions of the tracks, room, equalizers, saturation, compression, noise. Then it mixes down
to mono, sets the level and passes the clip through a lossy codec.
"""

import io
from dataclasses import dataclass

import numpy as np
import scipy  # submodules are imported on first use
import soundfile

from .effects import bell, colored_noise, limit, log_uniform, rms, shelf
from .render import SAMPLING_RATE
from .song import Track

__all__ = ["RECORDINGS", "Production", "draw_production", "produce"]


@dataclass(frozen=True)
class Recording:
    """A kind of recording: its probability, and the probabilities (`p_...`) and ranges of the stages of the chain.

    The ranges have the names and units of the settings in `Production`. `gain` is the standard deviation of the gains
    of the equalizers in dB.
    """

    probability: float
    width: tuple[float, float]
    p_doubling: float
    p_room: float
    room_level: tuple[float, float]
    gain: float
    p_low_pass: float
    low_pass: tuple[float, float]
    p_high_pass: float
    high_pass: tuple[float, float]
    p_saturation: float
    drive: tuple[float, float]
    p_compressor: float
    ratio: tuple[float, float]
    p_hiss: float
    hiss: tuple[float, float]
    p_hum: float
    hum: tuple[float, float]
    p_crackles: float
    p_codec: float
    quality: tuple[float, float]
    level: tuple[float, float]


RECORDINGS = {
    "studio": Recording(
        probability=0.6,
        width=(0.2, 1.0),
        p_doubling=0.5,
        p_room=0.85,
        room_level=(-24, -6),
        gain=2.5,
        p_low_pass=0.03,
        low_pass=(5000, 7500),
        p_high_pass=0.3,
        high_pass=(25, 80),
        p_saturation=0.25,
        drive=(1.5, 5),
        p_compressor=0.8,
        ratio=(1.5, 6),
        p_hiss=0.1,
        hiss=(40, 60),
        p_hum=0.0,
        hum=(40, 60),
        p_crackles=0.0,
        p_codec=0.5,
        quality=(0.25, 0.6),
        level=(-22, -9),
    ),
    "home": Recording(
        probability=0.25,
        width=(0.0, 0.8),
        p_doubling=0.25,
        p_room=0.8,
        room_level=(-20, -3),
        gain=4.0,
        p_low_pass=0.2,
        low_pass=(3500, 7000),
        p_high_pass=0.3,
        high_pass=(50, 180),
        p_saturation=0.35,
        drive=(2, 8),
        p_compressor=0.4,
        ratio=(1.5, 8),
        p_hiss=0.5,
        hiss=(25, 45),
        p_hum=0.2,
        hum=(25, 45),
        p_crackles=0.03,
        p_codec=0.6,
        quality=(0.15, 0.5),
        level=(-28, -12),
    ),
    "lo-fi": Recording(
        probability=0.15,
        width=(0.0, 0.4),
        p_doubling=0.1,
        p_room=0.6,
        room_level=(-18, 0),
        gain=6.0,
        p_low_pass=0.7,
        low_pass=(1800, 5000),
        p_high_pass=0.6,
        high_pass=(100, 400),
        p_saturation=0.8,
        drive=(4, 20),
        p_compressor=0.6,
        ratio=(3, 12),
        p_hiss=0.85,
        hiss=(10, 28),
        p_hum=0.35,
        hum=(14, 32),
        p_crackles=0.4,
        p_codec=0.7,
        quality=(0.07, 0.25),
        level=(-30, -8),
    ),
}
"""Kinds of recordings, from clean and wide to noisy, narrow and distorted."""

ROOMS = {
    "small room": (0.15, 0.4),
    "room": (0.3, 0.8),
    "hall": (1.0, 2.8),
    "plate": (0.6, 2.0),
    "cathedral": (2.5, 5.0),
}
"""Shortest and longest reverberation time of each kind of room, in seconds."""

SATURATIONS = ("tape", "tube", "clipping", "bits")
DOWNMIXES = ("sum", "left", "out of phase")
_BLOCK = 64  # samples per gain of the compressor (4 ms)
_MP3_DELAY = 1105  # samples: 576 of the encoder and 529 of the decoder


@dataclass(frozen=True)
class Production:
    """Settings of the varied production chain; None turns a stage off.

    Attributes:
        recording: Kind of the recording, a key of `RECORDINGS`.
        width: How far tracks are panned from the middle, 0 to 1.
        doubling: Delay in seconds between the channels of a doubled track; tracks are doubled at random.
        room: Kind of the room, a key of `ROOMS`.
        room_time: Reverberation time in seconds (decay by 60 dB).
        room_level: Level of the reverberation relative to the direct sound in dB.
        room_color: Low-pass frequency of the reverberation in Hz.
        low_shelf: Frequency in Hz and gain in dB of the low shelf.
        high_shelf: Frequency in Hz and gain in dB of the high shelf.
        low_peak: Frequency in Hz, gain in dB and quality factor of the lower peak filter.
        high_peak: The same of the higher peak filter.
        low_pass: Cutoff frequency in Hz.
        high_pass: Cutoff frequency in Hz.
        saturation: Kind of saturation, one of `SATURATIONS`.
        drive: Amount of saturation; for "bits", the number of bits of a sample.
        ratio: Ratio of the compressor.
        threshold: Threshold of the compressor in dB relative to the RMS level.
        release: Release time of the compressor in seconds.
        hiss: Signal-to-noise ratio of hiss in dB.
        hiss_color: Low-pass frequency of the hiss in Hz.
        hum: Signal-to-noise ratio of mains hum in dB.
        hum_frequency: Mains frequency in Hz, 50 or 60.
        crackles: Number of vinyl clicks.
        downmix: How stereo becomes mono: "sum" of both channels, "left" channel only, or "out of phase", which
            attenuates the middle.
        codec: "mp3" or "vorbis" (Ogg).
        quality: Quality of the codec from 0 to 1: about 8 to 160 kbit/s for mp3, 27 to 68 kbit/s for vorbis.
        level: RMS level in dB relative to full scale.
    """

    recording: str
    width: float
    doubling: float | None
    room: str | None
    room_time: float | None
    room_level: float | None
    room_color: float | None
    low_shelf: tuple[float, float] | None
    high_shelf: tuple[float, float] | None
    low_peak: tuple[float, float, float] | None
    high_peak: tuple[float, float, float] | None
    low_pass: float | None
    high_pass: float | None
    saturation: str | None
    drive: float | None
    ratio: float | None
    threshold: float | None
    release: float | None
    hiss: float | None
    hiss_color: float | None
    hum: float | None
    hum_frequency: float | None
    crackles: int | None
    downmix: str
    codec: str | None
    quality: float | None
    level: float


def draw_production(rng: np.random.Generator, strength: float) -> Production:
    """Draw the settings of the varied production chain.

    The draw is independent of the song, so that the production carries no information about the labels.

    Args:
        rng: Random generator of the draw.
        strength: Factor on the probability of the stages and the gains of the equalizers; 0 leaves only a fixed level.
    """
    names = list(RECORDINGS)
    name = names[rng.choice(len(names), p=[RECORDINGS[name].probability for name in names])]
    kind = RECORDINGS[name]
    if strength == 0:
        return Production(name, 0.0, *[None] * 21, downmix="sum", codec=None, quality=None, level=-20.0)

    def happens(probability: float) -> bool:
        return bool(rng.random() < probability * strength)

    def gain() -> float:
        return float(rng.normal(0, kind.gain * strength))

    width, doubling = rng.uniform(*kind.width), happens(kind.p_doubling)
    room = str(rng.choice(list(ROOMS), p=(0.3, 0.3, 0.2, 0.15, 0.05))) if happens(kind.p_room) else None
    saturation = str(rng.choice(SATURATIONS, p=(0.4, 0.3, 0.2, 0.1))) if happens(kind.p_saturation) else None
    compressor, hiss, hum = happens(kind.p_compressor), happens(kind.p_hiss), happens(kind.p_hum)
    codec = str(rng.choice(("mp3", "vorbis"))) if happens(kind.p_codec) else None
    return Production(
        recording=name,
        width=width,
        doubling=rng.uniform(0.006, 0.028) if doubling else None,
        room=room,
        room_time=log_uniform(rng, *ROOMS[room]) if room else None,
        room_level=rng.uniform(*kind.room_level) if room else None,
        room_color=log_uniform(rng, 1200, 6500) if room else None,
        low_shelf=(log_uniform(rng, 70, 300), gain()),
        high_shelf=(log_uniform(rng, 1800, 5500), gain()),
        low_peak=(log_uniform(rng, 120, 800), gain(), rng.uniform(0.5, 2)),
        high_peak=(log_uniform(rng, 800, 5000), gain(), rng.uniform(0.5, 2)),
        low_pass=log_uniform(rng, *kind.low_pass) if happens(kind.p_low_pass) else None,
        high_pass=log_uniform(rng, *kind.high_pass) if happens(kind.p_high_pass) else None,
        saturation=saturation,
        drive=_draw_drive(rng, saturation, kind.drive) if saturation else None,
        ratio=log_uniform(rng, *kind.ratio) if compressor else None,
        threshold=rng.uniform(-12, 3) if compressor else None,
        release=log_uniform(rng, 0.05, 0.5) if compressor else None,
        hiss=rng.uniform(*kind.hiss) if hiss else None,
        hiss_color=log_uniform(rng, 1500, 7500) if hiss else None,
        hum=rng.uniform(*kind.hum) if hum else None,
        hum_frequency=float(rng.choice((50.0, 60.0))) if hum else None,
        crackles=int(rng.integers(20, 400)) if happens(kind.p_crackles) else None,
        downmix=str(rng.choice(DOWNMIXES, p=(0.8, 0.12, 0.08))),
        codec=codec,
        quality=rng.uniform(*kind.quality) if codec else None,
        level=rng.uniform(*kind.level),
    )


def _draw_drive(rng: np.random.Generator, saturation: str, drive: tuple[float, float]) -> float:
    return float(rng.integers(5, 10)) if saturation == "bits" else log_uniform(rng, *drive)


def _mix(stems: np.ndarray, tracks: list[Track], settings: Production, rng: np.random.Generator) -> np.ndarray:
    """Return the stereo mix of the stems: `(2, samples)`. Each track has its own equalizer and position."""
    mix = np.zeros((2, stems.shape[1]), dtype=np.float32)
    for stem, track in zip(stems, tracks, strict=True):
        low, high, position, doubled = rng.normal(0, 2), rng.normal(0, 3), rng.uniform(-1, 1), rng.random() < 0.35
        stem = _filter(
            stem, [shelf(300, low, high=False), bell(rng.uniform(500, 4000), high, 0.8), shelf(3000, high, high=True)]
        )
        if track.role in ("bass", "drums"):
            position *= 0.15  # low frequencies stay in the middle
        angle = (1 + position * settings.width) * np.pi / 4
        mix[0] += np.float32(np.sqrt(2) * np.cos(angle)) * stem
        delay = int(settings.doubling * SAMPLING_RATE) if settings.doubling and doubled else 0
        mix[1, delay:] += np.float32(np.sqrt(2) * np.sin(angle)) * stem[: len(stem) - delay]
    return mix


def _filter(audio: np.ndarray, sections: list[np.ndarray]) -> np.ndarray:
    return scipy.signal.sosfilt(np.array(sections, dtype=np.float32), audio)


def _equalize(audio: np.ndarray, settings: Production, brightness: float) -> np.ndarray:
    """Apply the equalizers in one pass, starting with the spectral tilt of the song."""
    sections = [shelf(1800, brightness, high=True)]
    for bounds, high in ((settings.low_shelf, False), (settings.high_shelf, True)):
        if bounds:
            sections.append(shelf(*bounds, high=high))
    sections += [bell(*peak) for peak in (settings.low_peak, settings.high_peak) if peak]
    return _filter(audio, sections)


def _limit_band(audio: np.ndarray, settings: Production) -> np.ndarray:
    for frequency, kind in ((settings.low_pass, "low"), (settings.high_pass, "high")):
        if frequency:
            audio = _filter(audio, list(scipy.signal.butter(2, frequency, kind, fs=SAMPLING_RATE, output="sos")))
    return audio


def room_response(settings: Production, rng: np.random.Generator) -> np.ndarray:
    """Return the impulse response of the room without the direct sound, of energy 1 per channel: `(2, samples)`.

    Early reflections, then noise whose high frequencies decay twice as fast as the low ones.
    """
    size = settings.room_time**0.5
    samples = int((settings.room_time + 0.1 * size) * SAMPLING_RATE)
    time = np.arange(samples) / SAMPLING_RATE
    response = np.zeros((2, samples))
    onset = int(rng.uniform(0.002, 0.03) * size * SAMPLING_RATE)
    for channel in response:
        for color, decay in ((settings.room_color, 2.0), (settings.room_color / 4, 1.0)):
            tail = colored_noise(rng, samples - onset, color)
            tail *= np.exp(-6.9 * decay * time[: samples - onset] / settings.room_time)
            channel[onset:] += tail / rms(tail)
        level = np.abs(channel).max()
        if settings.room != "plate":  # a plate has a dense response from the start
            reflections = rng.integers(onset // 2, onset + int(0.06 * size * SAMPLING_RATE), 12)
            channel[reflections] += level * rng.uniform(-1.5, 1.5, 12)
        channel /= np.sqrt(np.sum(channel**2))
    return response.astype(np.float32)


def _add_room(audio: np.ndarray, settings: Production, rng: np.random.Generator) -> np.ndarray:
    wet = scipy.signal.oaconvolve(audio, room_response(settings, rng), axes=1)[:, : audio.shape[1]]
    return audio + np.float32(10 ** (settings.room_level / 20)) * wet


def _saturate(audio: np.ndarray, settings: Production) -> np.ndarray:
    """Distort audio; the drive is relative to its RMS level."""
    scale = np.float32(0.1 * settings.drive / rms(audio))
    if settings.saturation == "tape":
        return np.tanh(scale * audio)
    if settings.saturation == "tube":  # asymmetric: adds even harmonics
        return np.tanh(scale * audio + np.float32(0.5)) - np.tanh(np.float32(0.5))
    if settings.saturation == "clipping":
        return np.clip(2 * scale * audio, -1, 1)
    steps = np.float32(2 ** (settings.drive - 1) / np.abs(audio).max())
    return np.round(audio * steps) / steps


def compressor_gain(level: np.ndarray, settings: Production) -> np.ndarray:
    """Return the gain of the compressor in dB for each block of 4 ms, from the levels of the blocks in dB."""
    wanted = np.minimum(0, (settings.threshold - level) * (1 - 1 / settings.ratio))
    attack, release = (1 - np.exp(-_BLOCK / SAMPLING_RATE / time) for time in (0.01, settings.release))
    gain, gains = 0.0, []
    for target in wanted.tolist():
        gain += (attack if target < gain else release) * (target - gain)
        gains.append(gain)
    return np.array(gains)


def _compress(audio: np.ndarray, settings: Production) -> np.ndarray:
    samples = audio.shape[1]
    blocks = np.pad(audio, ((0, 0), (0, -samples % _BLOCK))).reshape(2, -1, _BLOCK)
    power = np.mean(blocks**2, axis=(0, 2))
    level = 10 * np.log10(power / power.mean() + 1e-9)
    centers = (np.arange(len(level)) + 0.5) * _BLOCK
    gain = np.interp(np.arange(samples), centers, compressor_gain(level, settings))
    return audio * (10 ** (gain / 20)).astype(np.float32)


def _add_noise(audio: np.ndarray, settings: Production, rng: np.random.Generator) -> np.ndarray:
    """Add hiss (different in both channels), hum (the same in both) and clicks; levels are relative to the audio."""
    level = rms(audio)
    samples = audio.shape[1]
    if settings.hiss is not None:
        noise = np.stack([colored_noise(rng, samples, settings.hiss_color) for _ in audio])
        audio = audio + (noise * (level / rms(noise) * 10 ** (-settings.hiss / 20))).astype(np.float32)
    if settings.hum is not None:
        time = np.arange(samples) / SAMPLING_RATE
        harmonics = np.arange(1, 9)
        weights = rng.random(8) / harmonics
        hum = sum(
            w * np.sin(2 * np.pi * settings.hum_frequency * n * time) for n, w in zip(harmonics, weights, strict=True)
        )
        audio = audio + (hum * (level / rms(hum) * 10 ** (-settings.hum / 20))).astype(np.float32)
    if settings.crackles:
        audio = audio.copy()
        audio[:, rng.integers(0, samples, settings.crackles)] += rng.normal(0, level, settings.crackles)
    return audio


def _downmix(audio: np.ndarray, settings: Production) -> np.ndarray:
    left, right = audio
    if settings.downmix == "left":
        return left
    return left - right / 2 if settings.downmix == "out of phase" else (left + right) / 2


def encode_and_decode(audio: np.ndarray, codec: str, quality: float) -> np.ndarray:
    """Return mono audio after a lossy codec, of the same length.

    Args:
        audio: Float32 audio at 16 kHz, `(samples,)`.
        codec: "mp3" or "vorbis".
        quality: From 0 to 1.
    """
    format, subtype = {"mp3": ("MP3", "MPEG_LAYER_III"), "vorbis": ("OGG", "VORBIS")}[codec]
    rate = {"bitrate_mode": "CONSTANT"} if codec == "mp3" else {}
    buffer = io.BytesIO()
    soundfile.write(
        buffer, audio, SAMPLING_RATE, format=format, subtype=subtype, compression_level=1 - quality, **rate
    )
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32")
    if len(decoded) > len(audio):  # mp3 files of low rates lack the field with the encoder's delay
        decoded = decoded[_MP3_DELAY : _MP3_DELAY + len(audio)]
    return np.pad(decoded, (0, len(audio) - len(decoded)))


def produce(
    stems: np.ndarray, tracks: list[Track], settings: Production, brightness: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the finished audio of a clip.

    Args:
        stems: Dry audio of each track at 16 kHz, `(tracks, samples)`.
        tracks: The tracks.
        settings: Settings of the chain.
        brightness: Spectral tilt of the song in dB.
        rng: Random generator of positions, rooms and noise.

    Returns:
        Mono float32 audio of the same length with samples in [-1, 1].
    """
    audio = _equalize(_mix(stems, tracks, settings, rng), settings, brightness)
    if settings.room:
        audio = _add_room(audio, settings, rng)
    if settings.saturation:
        audio = _saturate(audio, settings)
    if settings.ratio:
        audio = _compress(audio, settings)
    audio = _limit_band(_add_noise(audio, settings, rng), settings)
    audio = _downmix(audio, settings)
    audio = audio - audio.mean()
    audio = limit(audio * np.float32(10 ** (settings.level / 20) / rms(audio))).astype(np.float32)
    if settings.codec:
        audio = encode_and_decode(audio, settings.codec, settings.quality)
    return np.clip(audio, -1, 1)
