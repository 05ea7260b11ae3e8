"""The optional renderer: sampled General MIDI instruments of a soundfont (SF2, SF3), played by tinysoundfont.

tinysoundfont is not a dependency of this package, because it depends on pyaudio, which many machines cannot build.
Rendering does not use pyaudio: install tinysoundfont with `pip install --no-deps tinysoundfont`.
"""

import hashlib
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, MissingPackageError
from .render import calibration_gain, calibration_track
from .song import Track

__all__ = ["SoundfontRenderer", "load_soundfont", "sha256_of_file"]

# tinysoundfont interpolates samples without a filter, so playing at 16 kHz would alias. `mix_stems` resamples the mix.
_SAMPLING_RATE = 32_000
_DRUM_BANK = 128
_DRUM_CHANNEL = 9
_MELODIC_CHANNEL = 0
_MAX_VOICES = 160
_OUTPUT_GAIN_DB = -8.0
_BYTES_PER_SAMPLE = 4


@lru_cache(maxsize=8)
def sha256_of_file(path: str) -> str:
    """Return the SHA-256 of a file in hexadecimal; cached per process."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _open_soundfont(path: str) -> Any:
    if not Path(path).is_file():
        raise DataError(f"soundfont {path} does not exist; pass the path of an SF2 or SF3 file")
    try:
        from tinysoundfont import _tinysoundfont as tinysoundfont
    except ImportError as error:
        raise MissingPackageError(
            "playing a soundfont requires tinysoundfont: pip install --no-deps tinysoundfont "
            "(--no-deps skips pyaudio, which is not used here and often fails to build)"
        ) from error
    try:
        player = tinysoundfont.SoundFont(path)
    except RuntimeError as error:
        raise DataError(f"{path} is not an SF2 or SF3 soundfont; pass the path of one") from error
    player.set_output(tinysoundfont.OutputMode.Mono, _SAMPLING_RATE, _OUTPUT_GAIN_DB)
    player.set_max_voices(_MAX_VOICES)
    return player


class SoundfontRenderer:
    """A `Renderer` that plays the presets of an SF2 or SF3 file.

    Attributes:
        name: "soundfont-" followed by the first 8 digits of the SHA-256 of the file.
        sampling_rate: 32,000 Hz.
    """

    sampling_rate = _SAMPLING_RATE

    def __init__(self, path: str):
        self._player = _open_soundfont(path)
        self._gains: dict[tuple[str, int], float] = {}
        self.name = f"soundfont-{sha256_of_file(path)[:8]}"

    def stems(self, tracks: list[Track], duration: float, rng: np.random.Generator) -> np.ndarray:
        """See `Renderer.stems`. `rng` is not used: sampled instruments always sound the same."""
        samples = round(duration * _SAMPLING_RATE)
        stems = np.zeros((len(tracks), samples), dtype=np.float32)
        for stem, track in zip(stems, tracks, strict=True):
            gain = track.gain * self._preset_gain(track.instrument, track.program)
            stem[:] = self._render_track(track, samples) * np.float32(gain)
        return stems

    def can_play(self, track: Track) -> bool:
        """See `Renderer.can_play`; a missing drum kit is replaced by the standard kit, which is close enough."""
        bank = _DRUM_BANK if track.is_drums else 0
        return track.is_drums or self._player.get_preset_index(bank, track.program) >= 0

    def _preset_gain(self, instrument: str, program: int) -> float:
        """Return the calibration gain of a preset; presets of one soundfont differ by up to 20 dB."""
        key = (instrument, program)
        if key not in self._gains:
            track = calibration_track(instrument, program)
            stem = self._render_track(track, int(1.5 * _SAMPLING_RATE))
            self._gains[key] = calibration_gain(stem, track.is_drums)
        return self._gains[key]

    def _silence(self) -> None:
        """Stop all voices. A reset alone is not enough: released voices would sound in the next track."""
        self._player.reset()
        self._player.render(memoryview(bytearray(_BYTES_PER_SAMPLE * _SAMPLING_RATE // 4)), False)
        self._player.reset()

    def _select_preset(self, channel: int, track: Track) -> None:
        """Select the program of the track, or the first one of the bank if the soundfont lacks it."""
        self._player.channel_set_bank(channel, _DRUM_BANK if track.is_drums else 0)
        try:
            self._player.channel_set_preset_number(channel, track.program, track.is_drums)
        except RuntimeError:
            self._player.channel_set_preset_number(channel, 0, track.is_drums)
        self._player.channel_set_volume(channel, 1.0)

    def _render_track(self, track: Track, samples: int) -> np.ndarray:
        channel = _DRUM_CHANNEL if track.is_drums else _MELODIC_CHANNEL
        self._silence()
        self._select_preset(channel, track)
        events = []  # (sample, velocity, pitch); velocity 0 ends a note and sorts before note starts
        for note in track.notes:
            start = int(note.start * _SAMPLING_RATE)
            events.append((start, note.velocity, note.pitch))
            events.append((max(int(note.end * _SAMPLING_RATE), start + 1), 0, note.pitch))
        output = bytearray(samples * _BYTES_PER_SAMPLE)
        view, position = memoryview(output), 0
        for sample, velocity, pitch in sorted(events):
            if sample >= samples:
                break
            if sample > position:
                self._player.render(view[position * _BYTES_PER_SAMPLE : sample * _BYTES_PER_SAMPLE], False)
                position = sample
            if velocity:
                self._player.channel_note_on(channel, pitch, velocity / 127)
            else:
                self._player.channel_note_off(channel, pitch)
        self._player.render(view[position * _BYTES_PER_SAMPLE :], False)
        return np.frombuffer(output, dtype=np.float32)


@cache
def load_soundfont(path: str) -> SoundfontRenderer:
    """Return the renderer of a soundfont; cached per process.

    Raises:
        MissingPackageError: tinysoundfont is not installed.
        DataError: The file does not exist or is not an SF2 or SF3 soundfont.
    """
    return SoundfontRenderer(path)
