"""Solos: one melodic instrument alone, which plays the melody of its song or separate notes."""

from collections.abc import Sequence

import numpy as np

from .arrangement import move_to_range
from .instruments import EXTRA_INSTRUMENTS, INSTRUMENTS, NOISES
from .song import Note, Track
from .theory import SCALES

__all__ = ["play_alone"]

_SEPARATE = 0.6  # fraction of the solos that are separate notes
_ISOLATED = 0.5  # fraction of these whose notes are followed by silence, as the files of a sample library
_BEATS = (0.5, 1, 1, 2, 2, 4)  # from one separate note to the next
_PERIODS = (1.5, 3.5)  # seconds from one isolated note to the next, uniform
_LENGTHS = (0.15, 0.9)  # of an isolated note, as a fraction of its period
_VELOCITIES = (30, 50, 70, 90, 110, 125)
_STEPS = (-7, -4, -3, -2, -1, -1, 0, 1, 1, 2, 3, 4, 7)  # from one separate note to the next, in degrees of the scale


def play_alone(
    tracks: Sequence[Track],
    beat_seconds: float,
    duration: float,
    key: tuple[int, str],
    held_out_presets: bool,
    rng: np.random.Generator,
) -> Track:
    """Return the only track of a solo, played by a random instrument.

    Args:
        tracks: Tracks of the song, whose melody it may take.
        beat_seconds: Length of a beat in seconds.
        duration: Length of the song in seconds.
        key: Pitch class of the tonic, and mode.
        held_out_presets: Play the presets that occur only in the split `test_presets`.
        rng: Random generator of all draws.

    Returns:
        The track. Without a melody in the song, it has separate notes.
    """
    name, program, pitches = _draw_instrument(held_out_presets, rng)
    melody = next((track for track in tracks if track.role == "lead" and track.notes), None)
    solo = Track("lead", name, program)
    if melody is None or rng.random() < _SEPARATE:
        isolated = rng.random() < _ISOLATED
        solo.notes = _separate_notes(None if isolated else beat_seconds, duration, key, pitches, rng)
    else:
        solo.notes = melody.notes
        move_to_range(solo, pitches)
    return solo


def _draw_instrument(held_out_presets: bool, rng: np.random.Generator) -> tuple[str, int, tuple[int, int]]:
    """Return name, General MIDI program and range of an instrument; each instrument has the same chance."""
    ranges = {name: instrument.lead_range for name, instrument in INSTRUMENTS.items()}
    programs = {name: instrument.programs for name, instrument in INSTRUMENTS.items()}
    if held_out_presets:
        programs = {name: INSTRUMENTS[name].held_out for name in programs if INSTRUMENTS[name].held_out}
    else:
        extras = {name: extra for name, extra in EXTRA_INSTRUMENTS.items() if name not in NOISES}
        ranges |= {name: extra.pitches for name, extra in extras.items()}
        programs |= {name: (extra.program,) for name, extra in extras.items()}
    name = list(programs)[rng.integers(len(programs))]
    return name, int(rng.choice(programs[name])), ranges[name]


def _separate_notes(
    beat_seconds: float | None,
    duration: float,
    key: tuple[int, str],
    pitches: tuple[int, int],
    rng: np.random.Generator,
) -> list[Note]:
    """Notes of the scale, each with its own length and loudness: on beats, or, without beats, isolated."""
    tonic, mode = key
    ladder = [pitch for pitch in range(pitches[0], pitches[1] + 1) if (pitch - tonic) % 12 in SCALES[mode]]
    degree, time, notes = int(rng.integers(len(ladder))), 0.0, []
    while time < duration:
        if beat_seconds is None:
            period = rng.uniform(*_PERIODS)
            length = period * rng.uniform(*_LENGTHS)
        else:
            period = rng.choice(_BEATS) * beat_seconds
            length = period * rng.uniform(0.4, 1)
        notes.append(Note(time, float(time + length), ladder[degree], int(rng.choice(_VELOCITIES))))
        degree = int(np.clip(degree + rng.choice(_STEPS), 0, len(ladder) - 1))
        time += period
    return notes
