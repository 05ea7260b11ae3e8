"""The composed song as data: notes, tracks, and the labels of the song."""

from dataclasses import dataclass, field
from typing import NamedTuple

from .instruments import label_of
from .theory import KEY_NAMES

__all__ = ["Note", "Section", "Song", "Track"]


class Note(NamedTuple):
    """One note: start and end in seconds, MIDI pitch (or General MIDI drum), velocity from 1 to 127."""

    start: float
    end: float
    pitch: int
    velocity: int


@dataclass
class Track:
    """One track: an instrument and its notes.

    Attributes:
        role: "drums", "bass", "comping" or "lead"; "noise" for sounds around the music.
        instrument: Name in `instruments.INSTRUMENTS` or `instruments.EXTRA_INSTRUMENTS`, or "drums".
        program: General MIDI program, or drum kit.
        gain: Linear gain in the mix, applied after the calibration of the preset.
        notes: Notes in the order of their start.
        pattern: Name of the pattern of a bass or an accompaniment.
    """

    role: str
    instrument: str
    program: int
    gain: float = 1.0
    notes: list[Note] = field(default_factory=list)
    pattern: str = ""

    @property
    def is_drums(self) -> bool:
        """Whether the pitches are General MIDI drums."""
        return self.instrument == "drums"

    @property
    def label(self) -> str:
        """Label of the instrument in the ground truth, "" if it has none (see `instruments.EXTRA_INSTRUMENTS`)."""
        return label_of(self.instrument)


class Section(NamedTuple):
    """A section of a varied song: its kind, a key of `arrangement.KINDS`, and start and end in seconds."""

    kind: str
    start: float
    end: float


@dataclass
class Song:
    """A composed clip and its labels.

    Attributes:
        tracks: The tracks.
        duration: Length in seconds.
        style: Name of the style.
        tempo: Beats per minute.
        tonic: Pitch class of the key.
        mode: "major" or "minor".
        beats_per_bar: 4, or 3 in triple time.
        groove: Name of the drum grid; "none" without drums.
        progression: Chord symbols, one per bar.
        arousal: Arousal in [-1, 1], see `affect.perceived_affect`.
        valence: Valence in [-1, 1], see `affect.perceived_affect`.
        brightness: Spectral tilt in dB, applied by the production chain.
        sections: The sections within the clip; empty for plain songs.
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
    sections: tuple[Section, ...] = ()

    @property
    def key(self) -> str:
        """The key as text, for example "C minor"."""
        return f"{KEY_NAMES[self.tonic]} {self.mode}"
