"""The default renderer: a small synthesizer in numpy.

Pitched sounds are wavetables with an envelope (bright and dark layers, detuned copies, vibrato, noise) or sums of
decaying partials. Drums are swept sines and filtered noise. Every track varies its patch at random, so that a preset
sounds slightly different in each song.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import scipy  # submodules are imported on first use

from .patches import DRUM_KIT_SOUNDS, DRUM_VOICES, PATCHES, DrumKitSound, DrumVoice, Patch
from .patches_extra import EXTRA_PATCHES
from .render import SAMPLING_RATE, calibration_gain, calibration_track
from .song import Note, Track

__all__ = ["NumpySynth"]

_ALL_PATCHES = PATCHES | EXTRA_PATCHES
_TABLE_SIZE = 4096
_HIGHEST_HARMONIC = 7_400.0  # Hz
_MAX_HARMONICS = 48
_DARK_TILT = 9.0  # additional spectral roll-off of the dark layer in dB per octave
_TIME = np.arange(40 * SAMPLING_RATE, dtype=np.float32) / SAMPLING_RATE


def _seconds(length: float) -> np.ndarray:
    """Return the sample times of a segment of the given length in seconds."""
    return _TIME[: max(1, int(length * SAMPLING_RATE))]


def _deviate(patch: Patch, rng: np.random.Generator) -> Patch:
    """Return a random variation of a patch: brighter or darker, slower or faster."""
    size = float(np.exp(rng.normal(0, 0.06)))
    speed = np.exp(rng.normal(0, 0.2, 4))
    return replace(
        patch,
        tilt=patch.tilt + rng.normal(0, 1.2),
        partials=tuple(
            (ratio, level * np.exp(rng.normal(0, 0.25)), decay * speed[1]) for ratio, level, decay in patch.partials
        ),
        formants=tuple((frequency * size, gain, width) for frequency, gain, width in patch.formants),
        attack=patch.attack * speed[0],
        decay=patch.decay * speed[1],
        damping=patch.damping * speed[2],
        vibrato=patch.vibrato * speed[3],
        noise=patch.noise * speed[2],
        detune=patch.detune * speed[3],
        drive=patch.drive * speed[0],
    )


class _Voice:
    """The sound of one patch in one track; repeated notes are cached."""

    def __init__(self, patch: Patch, rng: np.random.Generator, tuning: float = 0.0):
        self.patch = patch
        self.tuning = tuning  # cents
        self.phases = rng.uniform(0, 2 * np.pi, _MAX_HARMONICS)
        self.copies = rng.uniform(0, 1, patch.voices)  # initial phase of each detuned copy, in periods
        self.noise = rng.standard_normal(2 * SAMPLING_RATE, dtype=np.float32)
        self.vibrato_rate = rng.uniform(4.6, 6.2)
        self.cache: dict[tuple[int, int, int], np.ndarray] = {}

    def note(self, note: Note) -> np.ndarray:
        """Return the sound of a note; velocity and length are rounded so that similar notes share a cache entry."""
        length = max(1, round((note.end - note.start) * 20))
        loudness = note.velocity // 12
        key = (note.pitch, loudness, length)
        if key not in self.cache:
            velocity = min(1.0, (12 * loudness + 6) / 127)
            self.cache[key] = self._synthesize(note.pitch, velocity, length / 20)
        return self.cache[key]

    def _synthesize(self, pitch: int, velocity: float, length: float) -> np.ndarray:
        patch = self.patch
        frequency = 440 * 2 ** ((pitch - 69 + self.tuning / 100) / 12)
        time = _seconds(length + min(5 * patch.release, 1.5))
        tone = self._partials(frequency, velocity, time) if patch.partials else self._wave(frequency, velocity, time)
        if patch.noise:
            tone = tone + self._breath(velocity, len(time))
        if patch.tremolo:
            tone = tone * (1 + patch.tremolo * np.sin(2 * np.pi * self.vibrato_rate * time))
        tone *= self._envelope(frequency, length, time)
        return (tone * velocity**1.4).astype(np.float32)

    def _envelope(self, frequency: float, length: float, time: np.ndarray) -> np.ndarray:
        """Return the envelope: attack, decay to the sustain level, release after `length` seconds."""
        patch = self.patch
        if patch.partials:
            envelope = np.ones_like(time)  # each partial has its own decay
        else:
            # Higher notes of plucked and struck sounds decay faster.
            decay = patch.decay * (262 / frequency) ** 0.5 if patch.sustain == 0 else patch.decay
            envelope = patch.sustain + (1 - patch.sustain) * np.exp(-time / np.float32(decay))
        attack = min(len(time), int(patch.attack * SAMPLING_RATE) + 1)
        envelope[:attack] *= np.sin(np.linspace(0, np.pi / 2, attack, dtype=np.float32))
        end = int(length * SAMPLING_RATE)
        envelope[end:] *= np.exp(-time[: len(time) - end] / np.float32(patch.release))
        return envelope

    def _cycles(self, frequency: float, time: np.ndarray) -> np.ndarray:
        """Return the phase in periods, with a vibrato that grows over the first 0.35 s."""
        cycles = np.arange(len(time)) * (frequency / SAMPLING_RATE)
        if self.patch.vibrato:
            depth = frequency * (2 ** (self.patch.vibrato / 1200) - 1) / (2 * np.pi * self.vibrato_rate)
            onset = np.minimum(time / np.float32(0.35), 1)
            cycles += depth * onset * np.sin(2 * np.pi * self.vibrato_rate * time)
        return cycles

    def _table(self, frequency: float, tilt: float) -> np.ndarray:
        """Return one period of the waveform, band-limited for its fundamental frequency."""
        patch = self.patch
        count = int(np.clip(_HIGHEST_HARMONIC // frequency, 1, _MAX_HARMONICS))
        number = np.arange(1, count + 1)
        if patch.harmonics:
            levels = np.zeros(count)
            given = patch.harmonics[:count]
            levels[: len(given)] = given
            levels *= number ** (-(tilt - patch.tilt) / 6.02)
        else:
            levels = number ** (-tilt / 6.02)
            levels[1::2] *= patch.even
        for center, gain, width in patch.formants:
            levels = levels * 10 ** (gain / 20 * np.exp(-((np.log2(number * frequency / center) / width) ** 2)))
        spectrum = np.zeros(_TABLE_SIZE // 2 + 1, dtype=np.complex128)
        spectrum[1 : count + 1] = levels * np.exp(1j * self.phases[:count])
        table = np.fft.irfft(spectrum) * _TABLE_SIZE
        return (0.2 * table / np.sqrt(np.mean(table**2))).astype(np.float32)

    def _wave(self, frequency: float, velocity: float, time: np.ndarray) -> np.ndarray:
        """Return a wavetable tone; plucked and struck sounds fade from the bright to the dark layer."""
        patch = self.patch
        tilt = patch.tilt + 5 * (1 - velocity)
        bright = self._table(frequency, tilt)
        dark = self._table(frequency, tilt + _DARK_TILT) if patch.damping else None
        cycles = self._cycles(frequency, time)
        fading = np.exp(-time / np.float32(patch.damping)) if patch.damping else None
        tone = np.zeros_like(time)
        spread = np.linspace(-1, 1, patch.voices) if patch.voices > 1 else np.zeros(1)
        for offset, start in zip(spread, self.copies, strict=True):
            position = ((cycles * 2 ** (offset * patch.detune / 1200) + start) * _TABLE_SIZE).astype(np.int64)
            position &= _TABLE_SIZE - 1
            layer = bright[position]
            if dark is not None:
                faded = dark[position]
                layer = faded + (layer - faded) * fading
            tone += layer
        return tone / np.float32(np.sqrt(patch.voices))

    def _partials(self, frequency: float, velocity: float, time: np.ndarray) -> np.ndarray:
        """Return a sum of partials with individual decays; a low velocity attenuates high partials."""
        tone = np.zeros_like(time)
        for ratio, level, decay in self.patch.partials:
            if frequency * ratio > _HIGHEST_HARMONIC:
                continue
            softened = level * velocity ** max(0.0, 0.5 * np.log2(ratio))
            decay = decay * (262 / frequency) ** 0.4
            tone += (
                np.float32(softened) * np.sin(2 * np.pi * frequency * ratio * time) * np.exp(-time / np.float32(decay))
            )
        return np.float32(0.3) * tone

    def _breath(self, velocity: float, samples: int) -> np.ndarray:
        """Return breath or bow noise (as long as the note), or hammer or pick noise (a short burst)."""
        patch = self.patch
        repeats = -(-samples // len(self.noise))
        noise = np.tile(self.noise, repeats)[:samples] * np.float32(0.2 * patch.noise * (0.5 + velocity))
        if patch.noise_decay:
            noise = noise * np.exp(-_TIME[:samples] / np.float32(patch.noise_decay)) * 4
        return noise


class _DrumKit:
    """The sound of one drum kit in one track; repeated strokes are cached."""

    def __init__(self, kit: DrumKitSound, rng: np.random.Generator, variety: float = 1.0):
        self.kit = replace(
            kit,
            pitch=kit.pitch * np.exp(variety * rng.normal(0, 0.08)),
            decay=kit.decay * np.exp(variety * rng.normal(0, 0.2)),
            noise=kit.noise * np.exp(variety * rng.normal(0, 0.2)),
        )
        self.rng = rng
        self.cache: dict[tuple[int, int], np.ndarray] = {}

    def note(self, note: Note) -> np.ndarray:
        """Return the sound of a stroke."""
        loudness = note.velocity // 12
        key = (note.pitch, loudness)
        if key not in self.cache:
            velocity = min(1.0, (12 * loudness + 6) / 127)
            self.cache[key] = self._synthesize(DRUM_VOICES[note.pitch], velocity)
        return self.cache[key]

    def _synthesize(self, voice: DrumVoice, velocity: float) -> np.ndarray:
        kit = self.kit
        tone_decay, noise_decay = voice.tone_decay * kit.decay, voice.noise_decay * kit.decay
        time = _seconds(min(5 * max(tone_decay if voice.tone else 0.0, noise_decay), 1.6))
        sound = np.zeros_like(time)
        if voice.tone:
            frequency = voice.tone * kit.pitch
            cycles = frequency * (time + voice.sweep * 0.03 * (1 - np.exp(-time / np.float32(0.03))))
            tone = np.sin(2 * np.pi * cycles)
            if voice.metal:
                tone = np.sign(tone) + np.sign(np.sin(2 * np.pi * voice.metal * cycles))
            sound += tone * np.exp(-time / np.float32(tone_decay))
        if voice.noise:
            noise = self.rng.standard_normal(len(time), dtype=np.float32)
            cutoff = min(voice.low_cut * kit.pitch, 0.45 * SAMPLING_RATE)
            numerator, denominator = scipy.signal.butter(1, cutoff, "high", fs=SAMPLING_RATE)
            noise = scipy.signal.lfilter(numerator.astype(np.float32), denominator.astype(np.float32), noise)
            brightness = 0.6 + 0.4 * velocity
            sound += np.float32(voice.noise * kit.noise * brightness) * noise * np.exp(-time / np.float32(noise_decay))
        return (0.3 * voice.level * velocity**1.4 * sound).astype(np.float32)


def _distort(stem: np.ndarray, drive: float) -> np.ndarray:
    """Apply soft clipping relative to the RMS level of the track."""
    level = np.sqrt(np.mean(np.square(stem))) + 1e-9
    return np.tanh(stem * (drive / (3 * level))) * level


def _low_pass(stem: np.ndarray, frequency: float) -> np.ndarray:
    sections = scipy.signal.butter(2, frequency, fs=SAMPLING_RATE, output="sos").astype(np.float32)
    return scipy.signal.sosfilt(sections, stem)


def _play(sounds: _Voice | _DrumKit, notes: list[Note], samples: int) -> np.ndarray:
    """Return the sum of the sounds of all notes of a track."""
    stem = np.zeros(samples, dtype=np.float32)
    for note in notes:
        start = int(note.start * SAMPLING_RATE)
        sound = sounds.note(note)[: samples - start]
        stem[start : start + len(sound)] += sound
    return stem


def _render_track(track: Track, samples: int, rng: np.random.Generator, variety: float) -> np.ndarray:
    """Render one track before calibration; `variety` scales the random variation (0 for the plain patch)."""
    if track.is_drums:
        kit = DRUM_KIT_SOUNDS[track.program]
        stem = _play(_DrumKit(kit, rng, variety), track.notes, samples)
        return _distort(stem, kit.drive) if kit.drive else stem
    patch = _ALL_PATCHES[track.program]
    if variety:
        patch = _deviate(patch, rng)
    stem = _play(_Voice(patch, rng, tuning=variety * rng.normal(0, 5)), track.notes, samples)
    if patch.drive:
        stem = _distort(stem, patch.drive)
    if patch.cabinet:
        stem = _low_pass(stem, patch.cabinet)
    return stem


@lru_cache(maxsize=256)
def _preset_gain(instrument: str, program: int) -> float:
    track = calibration_track(instrument, program)
    stem = _render_track(track, int(1.5 * SAMPLING_RATE), np.random.default_rng(0), variety=0.0)
    return calibration_gain(stem, track.is_drums)


class NumpySynth:
    """A `Renderer` that synthesizes all sounds with numpy and scipy."""

    name = "numpy"
    sampling_rate = SAMPLING_RATE

    def stems(self, tracks: list[Track], duration: float, rng: np.random.Generator) -> np.ndarray:
        """See `Renderer.stems`."""
        samples = round(duration * SAMPLING_RATE)
        stems = np.zeros((len(tracks), samples), dtype=np.float32)
        for stem, track in zip(stems, tracks, strict=True):
            gain = track.gain * _preset_gain(track.instrument, track.program)
            stem[:] = _render_track(track, samples, rng, variety=1.0) * np.float32(gain)
        return stems

    def can_play(self, track: Track) -> bool:
        """See `Renderer.can_play`."""
        return track.program in (DRUM_KIT_SOUNDS if track.is_drums else _ALL_PATCHES)
