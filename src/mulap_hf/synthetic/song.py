"""What a composed song is made of: notes, tracks and the truth about them."""

from dataclasses import dataclass, field
from typing import NamedTuple

from .instruments import INSTRUMENTS
from .theory import KEY_NAMES

__all__ = ["Note", "Song", "Track"]


class Note(NamedTuple):
    """One note: start and end in seconds, MIDI pitch (or General-MIDI drum), velocity from 1 to 127."""

    start: float
    end: float
    pitch: int
    velocity: int


@dataclass
class Track:
    """One player.

    Attributes:
        role: What the track does: drums, bass, comping or lead.
        instrument: Name in `instruments.INSTRUMENTS`, or "drums".
        program: General-MIDI program, or drum kit.
        gain: Linear gain in the mix, on top of the calibration of the preset.
        notes: The notes, in the order of their start.
    """

    role: str
    instrument: str
    program: int
    gain: float = 1.0
    notes: list[Note] = field(default_factory=list)

    @property
    def is_drums(self) -> bool:
        """Whether pitches are General-MIDI drums."""
        return self.instrument == "drums"

    @property
    def label(self) -> str:
        """Name of the instrument in the ground truth."""
        return "drums" if self.is_drums else INSTRUMENTS[self.instrument].label


@dataclass
class Song:
    """A clip of composed music.

    Attributes:
        tracks: The players.
        duration: Length in seconds.
        style: Name of the style.
        tempo: Beats per minute.
        tonic: Pitch class of the key.
        mode: "major" or "minor".
        beats_per_bar: 4, or 3 in triple time.
        groove: Name of the drum grid, "none" without drums.
        progression: Chord symbols, one per bar.
        arousal: Perceived energy in [-1, 1], computed from what is played, with rater noise.
        valence: Perceived pleasantness in [-1, 1], computed likewise.
        brightness: Tilt of the timbre in dB that belongs to the expression (mastering applies it).
    """

    tracks: list[Track]
    duration: float
    style: str
    tempo: float
    tonic: int
    mode: str
    beats_per_bar: int
    groove: str
    progression: str
    arousal: float
    valence: float
    brightness: float

    @property
    def key(self) -> str:
        """Key as text, for example "C minor"."""
        return f"{KEY_NAMES[self.tonic]} {self.mode}"
