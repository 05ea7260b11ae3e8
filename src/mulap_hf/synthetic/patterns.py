"""Accompaniment patterns: bass and comping patterns by name, and drum hits, fills and ghost notes.

A pattern takes a `Bar` and returns `Hit`s on a grid of sixteenth notes. Hits beyond the end of a bar of three beats
are ignored by the composer.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .grooves import FILL_DRUMS, HI_HAT, OPEN_HI_HAT, QUIET_GROOVES, SHAKER, SNARE, TIMEKEEPERS
from .theory import Chord

__all__ = ["BASS_PATTERNS", "COMPING_PATTERNS", "Bar", "Hit", "drum_fill", "drum_hits", "plays_fill"]


class Hit(NamedTuple):
    """A note on the grid.

    Attributes:
        step: Onset in sixteenths from the start of the bar.
        length: Length in sixteenths before articulation.
        pitch: MIDI pitch or General MIDI drum.
        accent: Velocity offset from the velocity of the part.
        legato: Play the full length, independent of the articulation of the song.
    """

    step: float
    length: float
    pitch: int
    accent: float = 0.0
    legato: bool = False


@dataclass(frozen=True)
class Bar:
    """The context of a pattern: one bar of a song.

    Attributes:
        index: Index of the bar in the song.
        steps: Length in sixteenths.
        chord: Chord of the bar.
        next_chord: Chord of the next bar.
        tonic: Pitch class of the key.
        tempo: Beats per minute.
        energy: Energy of the song, 0 to 1.
        rng: Random generator of the variations.
    """

    index: int
    steps: int
    chord: Chord
    next_chord: Chord
    tonic: int
    tempo: float
    energy: float
    rng: np.random.Generator

    @property
    def bass_root(self) -> int:
        """The root of the chord in the lowest octave of the bass."""
        return 36 + (self.tonic + self.chord.root) % 12

    @property
    def next_bass_root(self) -> int:
        """The root of the next chord in the lowest octave of the bass."""
        return 36 + (self.tonic + self.next_chord.root) % 12

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return bool(self.rng.random() < probability)


BassPattern = Callable[[Bar], list[Hit]]
CompingPattern = Callable[[Bar, list[int], float], list[Hit]]

BASS_PATTERNS: dict[str, BassPattern] = {}
COMPING_PATTERNS: dict[str, CompingPattern] = {}


def _bass(name: str) -> Callable[[BassPattern], BassPattern]:
    """Register a bass pattern `(bar) -> hits` under a name."""

    def register(pattern: BassPattern) -> BassPattern:
        BASS_PATTERNS[name] = pattern
        return pattern

    return register


def _comping(name: str) -> Callable[[CompingPattern], CompingPattern]:
    """Register a comping pattern `(bar, chord pitches, steps between two strings of a strum) -> hits` under a name."""

    def register(pattern: CompingPattern) -> CompingPattern:
        COMPING_PATTERNS[name] = pattern
        return pattern

    return register


# ---------------------------------------------------------------------------------------------------------- bass


@_bass("eighth roots")
def _eighth_roots(bar: Bar) -> list[Hit]:
    return [Hit(step, 2, bar.bass_root) for step in range(0, bar.steps, 2)]


@_bass("sixteenth roots")
def _sixteenth_roots(bar: Bar) -> list[Hit]:
    return [Hit(step, 1, bar.bass_root) for step in range(bar.steps)]


@_bass("offbeat roots")
def _offbeat_roots(bar: Bar) -> list[Hit]:
    return [Hit(step, 1.8, bar.bass_root) for step in range(2, bar.steps, 4)]


@_bass("octaves")
def _octaves(bar: Bar) -> list[Hit]:
    return [Hit(step, 1.7, bar.bass_root + 12 * (step // 2 % 2)) for step in range(0, bar.steps, 2)]


@_bass("long roots")
def _long_roots(bar: Bar) -> list[Hit]:
    return [Hit(0, 0.98 * bar.steps, bar.bass_root)]


@_bass("root and fifth")
def _root_and_fifth(bar: Bar) -> list[Hit]:
    fifth = bar.bass_root + 7
    if fifth > 45 and bar.chance(0.4):
        fifth -= 12
    return [Hit(0, bar.steps / 2, bar.bass_root), Hit(8, bar.steps / 3, fifth)]


@_bass("sub")
def _sub(bar: Bar) -> list[Hit]:
    pitch = bar.bass_root if bar.bass_root < 44 else bar.bass_root - 12
    steps = (0, 10) if bar.chance(0.6) else (0, 7, 10)
    return [Hit(step, 5, pitch, 8) for step in steps]


@_bass("syncopated")
def _syncopated(bar: Bar) -> list[Hit]:
    root = bar.bass_root
    eighths = [
        Hit(step, 2, root if bar.chance(0.75) else root + 7)
        for step in range(0, bar.steps, 2)
        if step == 0 or bar.chance(0.5)
    ]
    return eighths + [Hit(step, 1, root) for step in (3, 7, 11) if bar.chance(0.3)]


@_bass("walking")
def _walking(bar: Bar) -> list[Hit]:
    root, third = bar.bass_root, bar.bass_root + bar.chord.third
    approach = bar.next_bass_root + (1 if bar.chance(0.5) else -1)
    middle = [third, root + 7] if bar.chance(0.6) else [root + 2, third]
    return [Hit(4 * beat, 4, pitch) for beat, pitch in enumerate([root, *middle, approach])]


@_bass("boogie")
def _boogie(bar: Bar) -> list[Hit]:
    third = bar.chord.third
    return [Hit(2 * i, 2, bar.bass_root + step) for i, step in enumerate((0, 0, third, third, 7, 7, 9, 7))]


@_bass("funk")
def _funk(bar: Bar) -> list[Hit]:
    figure = ((0, 0), (3, 12), (6, 10), (7, 12), (10, 0), (13, 7), (14, 10))
    return [Hit(step, 1.2, bar.bass_root + up) for step, up in figure if step == 0 or bar.chance(0.75)]


@_bass("tumbao")
def _tumbao(bar: Bar) -> list[Hit]:
    fifth = bar.bass_root + 7
    hits = [Hit(6, 3, fifth), Hit(12, 3, bar.next_bass_root)]
    if bar.chance(0.4):
        hits.append(Hit(3, 3, fifth))
    if bar.index == 0:
        hits.append(Hit(0, 3, bar.bass_root))
    return hits


@_bass("bossa")
def _bossa_bass(bar: Bar) -> list[Hit]:
    return [Hit(step, 2.5, bar.bass_root + up) for step, up in ((0, 0), (6, 7), (8, 7), (14, 0))]


@_bass("reggae")
def _reggae_bass(bar: Bar) -> list[Hit]:
    figures = (
        ((0, 3, 0), (4, 2, 0), (6, 2, 7), (8, 4, 5 if bar.chance(0.3) else 0)),
        ((2, 2, 0), (4, 3, 0), (8, 2, 7), (10, 4, 0)),
        ((0, 2, 0), (3, 2, 0), (6, 4, 12), (12, 2, 7)),
    )
    figure = figures[bar.index % 2 + bar.index // 4 % 2]
    return [Hit(step, length, bar.bass_root + up) for step, length, up in figure]


# ------------------------------------------------------------------------------------------------------- comping


def _chord(
    step: float,
    length: float,
    pitches: Iterable[int],
    accent: float = 0.0,
    spread: float = 0.0,
    legato: bool = False,
) -> list[Hit]:
    """Return the hits of one chord; consecutive pitches start `spread` steps apart, like the strings of a guitar."""
    return [Hit(step + spread * i, length, pitch, accent, legato) for i, pitch in enumerate(pitches)]


def _chords(
    steps: Iterable[float], length: float, pitches: list[int], accent: float = 0.0, spread: float = 0.0
) -> list[Hit]:
    """Return the hits of one chord repeated at several steps."""
    return [hit for step in steps for hit in _chord(step, length, pitches, accent, spread)]


@_comping("sustained")
def _sustained(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    return _chord(0, bar.steps, pitches, legato=True)


@_comping("block")
def _block(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    if bar.energy < 0.35:
        steps = range(1)
    elif bar.energy < 0.7:
        steps = range(0, bar.steps, bar.steps // 2)
    else:
        steps = range(0, bar.steps, 4)
    return _chords(steps, 0.475 * bar.steps, pitches, spread=1.2 * spread)


@_comping("strummed eighths")
def _strummed_eighths(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    hits = []
    for step in range(0, bar.steps, 2):
        if step % 4 == 0:
            hits += _chord(step, 2, pitches, 6, spread)
        elif bar.chance(0.45 + 0.4 * bar.energy):
            hits += _chord(step, 2, pitches[1:], -4, spread)
    return hits


def _power(bar: Bar, pitches: list[int], every: int, length: float) -> list[Hit]:
    return [
        hit for step in range(0, bar.steps, every) for hit in _chord(step, length, pitches, 5 if step % 8 == 0 else 0)
    ]


@_comping("power eighths")
def _power_eighths(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    return _power(bar, pitches, every=2, length=1.6)


@_comping("power sixteenths")
def _power_sixteenths(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    return _power(bar, pitches, every=1, length=0.8)


@_comping("gallop")
def _gallop(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    on_beat = _chords(range(0, bar.steps, 4), 1.6, pitches)
    return on_beat + _chords((step for step in range(bar.steps) if step % 4 > 1), 0.8, pitches)


@_comping("shuffle")
def _shuffle(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    return _chords(range(0, bar.steps, 4), 1.4, pitches) + _chords(range(2, bar.steps, 4), 1.4, pitches, -8)


@_comping("charleston")
def _charleston(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    figures = (((0, 3), (6, 2)), ((2, 2), (8, 3)), ((6, 2), (14, 2)))
    figure = figures[bar.rng.choice(3, p=(0.5, 0.25, 0.25))]
    return [hit for step, length in figure for hit in _chord(step, length, pitches)]


@_comping("offbeats")
def _offbeats(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    return _chords(range(2, bar.steps, 4), 1.3, pitches)


@_comping("skank")
def _skank(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    # Fast songs play it in half time.
    steps = (4, 12) if bar.tempo > 84 else range(2, bar.steps, 4)
    return _chords(steps, 0.9, pitches)


@_comping("bubble")
def _bubble(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    return _chords(range(2, bar.steps, 4), 0.8, pitches[:2]) + _chords(range(3, bar.steps, 4), 0.8, pitches[1:])


@_comping("boom chick")
def _boom_chick(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    boom = [Hit(step, 3, bar.bass_root + (12 if step % 8 == 0 else 19)) for step in range(0, bar.steps, 4)]
    return boom + _chords(range(2, bar.steps, 4), 1.6, pitches, spread=spread)


@_comping("stabs")
def _stabs(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    figures = ((0, 3, 6), (0, 6), (3, 10), (0, 3, 8, 11), (7, 14))
    return _chords(figures[(bar.index // 2 + bar.tonic) % len(figures)], 1.5, pitches)


@_comping("scratched sixteenths")
def _scratched_sixteenths(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    hits = []
    for step in range(bar.steps):
        if bar.chance(0.7 if step % 4 > 1 else 0.45):
            hits += _chord(step, 0.6, pitches, 2 if step % 4 == 2 else -8)
    return hits


@_comping("montuno")
def _montuno(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    groups = (pitches[1::2], pitches[::2])
    return [hit for i, step in enumerate((0, 2, 3, 5, 7, 9, 11, 13, 15)) for hit in _chord(step, 1.6, groups[i % 2])]


@_comping("bossa")
def _bossa_comping(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    return _chords((0, 3, 6, 10, 13) if bar.index % 2 == 0 else (2, 6, 10, 12), 1.8, pitches)


@_comping("alberti")
def _alberti(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    low, middle, high = pitches[0], pitches[len(pitches) // 2], pitches[-1]
    figure = (low, high, middle, high)
    return [Hit(step, 2, figure[step // 2 % 4]) for step in range(0, bar.steps, 2)]


def _arpeggio(bar: Bar, pitches: list[int], every: int) -> list[Hit]:
    """Return an arpeggio up a little more than an octave and down again, continued over two bars."""
    up = pitches + [pitch + 12 for pitch in pitches[:2]]
    figure = up + up[-2:0:-1]
    first = bar.index % 2 * bar.steps // every
    return [
        Hit(step, 1.6 * every, figure[(first + step // every) % len(figure)])
        for step in range(0, bar.steps, every)
        if bar.chance(0.95)
    ]


@_comping("arpeggio quarters")
def _arpeggio_quarters(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    return _arpeggio(bar, pitches, every=4)


@_comping("arpeggio eighths")
def _arpeggio_eighths(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    return _arpeggio(bar, pitches, every=2)


@_comping("arpeggio sixteenths")
def _arpeggio_sixteenths(bar: Bar, pitches: list[int], spread: float) -> list[Hit]:
    return _arpeggio(bar, pitches, every=1)


# --------------------------------------------------------------------------------------------------------- drums


def drum_hits(bar: Bar, grid: dict[int, str], fill: bool) -> list[tuple[float, Hit]]:
    """Return the drum hits of one bar, with random omissions and ghost notes.

    Args:
        bar: The bar.
        grid: One row of strokes per drum, see `grooves.GROOVES`.
        fill: Leave out snare and hi-hats in the last beat, for a fill.

    Returns:
        Pairs of relative velocity (0 to 1) and hit.
    """
    hits = []
    calmness = max(0.0, 1 - 2 * bar.energy)
    for drum, row in grid.items():
        for step, stroke in enumerate(row):
            if fill and step >= bar.steps - 4 and drum in (SNARE, HI_HAT, OPEN_HI_HAT):
                continue
            if stroke != ".":
                thinned_out = drum in TIMEKEEPERS and step % 4 and bar.chance(0.7 * calmness)
                if not thinned_out and not bar.chance(0.03):
                    hits.append((int(stroke) / 9, Hit(step, 1, drum)))
            elif bar.chance(_ghost_probability(drum, bar.energy)):
                hits.append((0.3, Hit(step, 1, drum)))
    return hits


def _ghost_probability(drum: int, energy: float) -> float:
    """Return the probability of a quiet stroke where the grid has a rest."""
    if drum == SNARE:
        return 0.03 * energy
    if drum in (HI_HAT, SHAKER):
        return max(0.0, energy - 0.6)
    return 0.0


def drum_fill(bar: Bar) -> list[Hit]:
    """Return a fill: sixteenths on snare and toms in the last beat of the bar."""
    return [
        Hit(bar.steps - 4 + i, 1, drum if bar.chance(0.7) else SNARE, 18)
        for i, drum in enumerate(FILL_DRUMS)
        if bar.chance(0.85)
    ]


def plays_fill(bar: Bar, groove: str) -> bool:
    """Draw whether the bar ends with a fill: only in every fourth bar, and never in a quiet groove."""
    return bar.index % 4 == 3 and groove not in QUIET_GROOVES and bar.chance(0.3 + 0.3 * bar.energy)
