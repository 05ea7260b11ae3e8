"""Varied songs: additional instruments, other octaves, sections of different density, and sounds around the music."""

from dataclasses import dataclass

import numpy as np

from .grooves import TIMEKEEPERS
from .instruments import EXTRA_INSTRUMENTS, NOISES, VOICES
from .song import Note, Section, Track

__all__ = ["KINDS", "arrange", "draw_noise", "move_to_range", "vary_instruments", "vary_octaves"]

_REPLACED = 0.3  # probability that an additional instrument plays a part, where one fits
_SUNG = 0.25  # probability that a voice sings a melody
_SHIFTED = {"bass": 0.1, "comping": 0.25, "lead": 0.25}  # probability of another octave
_NOISE = 0.08
_LOWEST, _HIGHEST = 26, 103
_SECTION_BARS = (2, 4, 4, 8)
_WHOLE_PIECE = 40  # bars from which a song begins with its intro and ends with its outro


@dataclass(frozen=True)
class Kind:
    """A kind of section: the probability that a track of each role plays, and the factor on velocities."""

    drums: float
    bass: float
    comping: float
    lead: float
    loudness: float


KINDS = {
    "intro": Kind(0.4, 0.4, 0.85, 0.25, 0.8),
    "verse": Kind(0.95, 0.95, 0.8, 0.6, 0.92),
    "chorus": Kind(1.0, 1.0, 1.0, 0.95, 1.12),
    "break": Kind(0.5, 0.4, 0.6, 0.3, 0.72),
    "outro": Kind(0.5, 0.5, 0.85, 0.3, 0.8),
}
_FORM = ("intro", "verse", "verse", "chorus", "verse", "chorus", "break", "chorus", "outro")


def vary_instruments(tracks: list[Track], rng: np.random.Generator) -> None:
    """Give some of the parts to an instrument of `EXTRA_INSTRUMENTS`, moved into its range by octaves."""
    for track in tracks:
        instruments = [name for name, extra in EXTRA_INSTRUMENTS.items() if track.instrument in extra.replaces]
        if track.role == "lead" and rng.random() < _SUNG:
            instruments = list(VOICES)
        elif not instruments or rng.random() >= _REPLACED:
            continue
        track.instrument = instruments[rng.integers(len(instruments))]
        extra = EXTRA_INSTRUMENTS[track.instrument]
        track.program = extra.program
        move_to_range(track, extra.pitches)


def move_to_range(track: Track, pitches: tuple[int, int]) -> None:
    """Move a track by octaves, so that its mean pitch is near the middle of a range."""
    if track.notes:
        middle = np.mean([note.pitch for note in track.notes])
        _transpose(track, 12 * round((np.mean(pitches) - middle) / 12))


def vary_octaves(tracks: list[Track], rng: np.random.Generator) -> None:
    """Move some of the tracks up or down by an octave; a bass only up."""
    for track in tracks:
        if rng.random() < _SHIFTED.get(track.role, 0.0):
            _transpose(track, 12 if track.role == "bass" else int(rng.choice((-12, 12))))


def _transpose(track: Track, semitones: int) -> None:
    pitches = [note.pitch + semitones for note in track.notes]
    if pitches and min(pitches) >= _LOWEST and max(pitches) <= _HIGHEST:
        track.notes = [note._replace(pitch=pitch) for note, pitch in zip(track.notes, pitches, strict=True)]


def _draw_sections(bar_seconds: float, num_bars: int, rng: np.random.Generator) -> list[Section]:
    """Draw the sections: a long song from its beginning to its end, a short one from anywhere in the form."""
    whole = num_bars >= _WHOLE_PIECE
    position = 0 if whole else int(rng.integers(len(_FORM)))
    sections, bar = [], 0
    while bar < num_bars:
        length = int(rng.choice(_SECTION_BARS))
        kind = _FORM[position] if position < len(_FORM) else ("verse", "chorus", "break", "chorus")[position % 4]
        if whole and bar + length + 4 >= num_bars:
            kind, length = "outro", num_bars - bar
        elif whole and kind == "outro":
            kind = "verse"
        sections.append(Section(kind, bar * bar_seconds, (bar + length) * bar_seconds))
        bar, position = bar + length, position + 1
    return sections


def arrange(tracks: list[Track], bar_seconds: float, num_bars: int, rng: np.random.Generator) -> list[Section]:
    """Divide a song into sections: decide which tracks play in each of them, how loudly, and how densely.

    Args:
        tracks: Tracks of the song, whose notes are changed.
        bar_seconds: Length of a bar in seconds.
        num_bars: Length of the song in bars.
        rng: Random generator of all draws.

    Returns:
        The sections, in sequence from 0 to the end of the song.
    """
    sections = _draw_sections(bar_seconds, num_bars, rng)
    arranged: list[list[Note]] = [[] for _ in tracks]
    for section in sections:
        kind = KINDS[section.kind]
        plays = np.array([rng.random() < getattr(kind, track.role) for track in tracks], dtype=bool)
        if len(tracks) and not plays.any():
            plays[rng.integers(len(tracks))] = True
        swell = section.kind in ("intro", "break", "outro") and rng.random() < 0.5
        sparse = section.kind in ("intro", "break") and rng.random() < 0.5
        doubled = section.kind == "chorus" and rng.random() < 0.4
        for track, notes, play in zip(tracks, arranged, plays, strict=True):
            inside = [note for note in track.notes if section.start <= note.start + 0.03 < section.end]
            if not play or not inside:
                continue
            if sparse and track.is_drums:
                inside = [note for note in inside if note.pitch in TIMEKEEPERS] or inside
            if doubled and track.role == "lead" and max(note.pitch for note in inside) + 12 <= _HIGHEST:
                inside += [note._replace(pitch=note.pitch + 12) for note in inside]
            notes += [_louder(note, section, kind.loudness, swell) for note in inside]
    for track, notes in zip(tracks, arranged, strict=True):
        track.notes = notes
    return sections


def _louder(note: Note, section: Section, loudness: float, swell: bool) -> Note:
    """Return a note with the loudness of its section; with `swell` it grows, or fades in an outro."""
    if swell:
        position = np.clip((note.start - section.start) / (section.end - section.start), 0, 1)
        loudness *= 1 - position / 2 if section.kind == "outro" else (2 + position) / 3
    return note._replace(velocity=int(np.clip(note.velocity * loudness, 8, 127)))


def draw_noise(duration: float, rng: np.random.Generator) -> list[Track]:
    """Return a track of a sound around the music, such as birds or applause, for a few of the songs."""
    if rng.random() >= _NOISE:
        return []
    name = list(NOISES)[rng.integers(len(NOISES))]
    low, high = NOISES[name].pitches
    track = Track("noise", name, NOISES[name].program, gain=10 ** (rng.uniform(-26, -12) / 20))
    time = rng.uniform(0, 2)
    while time < duration:
        length = rng.uniform(0.15, 0.5) if name == "birds" else rng.uniform(1.5, 6)
        track.notes.append(Note(time, time + length, int(rng.integers(low, high + 1)), int(rng.integers(60, 110))))
        time += length + (rng.exponential(0.8) if name == "birds" else rng.exponential(2.0))
    return [track]
