"""Music theory: keys, scales, and chords from Roman numerals to pitches."""

import re
from dataclasses import dataclass
from functools import cache

__all__ = [
    "KEY_NAMES",
    "MODES",
    "SCALES",
    "Chord",
    "nearest_pitch",
    "parse_chord",
    "parse_progression",
    "scale_pitch_classes",
    "voice_chord",
]

KEY_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MODES = ("major", "minor")

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "major blues": (0, 2, 3, 4, 7, 9),
    "minor blues": (0, 3, 5, 6, 7, 10),
}

_DEGREES = {"I": 0, "II": 2, "III": 4, "IV": 5, "V": 7, "VI": 9, "VII": 11}

# Suffix of a Roman numeral -> intervals above the root, for an upper-case (major) and a lower-case (minor) numeral.
_QUALITIES = {
    "": ((0, 4, 7), (0, 3, 7)),
    "5": ((0, 7, 12), (0, 7, 12)),
    "7": ((0, 4, 7, 10), (0, 3, 7, 10)),
    "M7": ((0, 4, 7, 11), (0, 3, 7, 11)),
    "9": ((0, 4, 10, 14), (0, 3, 10, 14)),
    "add9": ((0, 4, 7, 14), (0, 3, 7, 14)),
    "sus": ((0, 5, 7), (0, 5, 7)),
    "dim": ((0, 3, 6), (0, 3, 6)),
    "m7b5": ((0, 3, 6, 10), (0, 3, 6, 10)),
}

_SYMBOL = re.compile(r"(?P<accidental>[b#]?)(?P<numeral>[IV]+|[iv]+)(?P<suffix>.*)")


@dataclass(frozen=True)
class Chord:
    """A chord relative to the tonic of its key.

    Attributes:
        root: Semitones from the tonic to the root, 0 to 11.
        intervals: Semitones from the root to each chord tone.
    """

    root: int
    intervals: tuple[int, ...]

    @property
    def third(self) -> int:
        """Semitones from the root to the third, or to the fifth for a chord without a third."""
        return next((interval for interval in self.intervals if interval in (3, 4)), 7)

    def pitch_classes(self, tonic: int) -> list[int]:
        """Return the pitch classes (0 = C) of the chord tones in the key of `tonic`, in the order of the intervals."""
        return [(tonic + self.root + interval) % 12 for interval in self.intervals]


@cache
def parse_chord(symbol: str) -> Chord:
    """Parse one Roman numeral chord symbol.

    The case of the numeral selects the third (`IV` is major, `iv` minor). An accidental before the numeral shifts the
    root (`bVII`). A suffix selects the chord type: `5`, `7`, `M7`, `9`, `add9`, `sus`, `dim`, `m7b5`.

    Raises:
        ValueError: The text is not a chord symbol.
    """
    match = _SYMBOL.fullmatch(symbol)
    if match is None or match["numeral"].upper() not in _DEGREES or match["suffix"] not in _QUALITIES:
        raise ValueError(f"not a chord symbol: {symbol!r} (expected for example I, bVII, ii7, IVM7, iim7b5)")
    shift = {"b": -1, "#": 1, "": 0}[match["accidental"]]
    root = (_DEGREES[match["numeral"].upper()] + shift) % 12
    major, minor = _QUALITIES[match["suffix"]]
    return Chord(root, major if match["numeral"].isupper() else minor)


def parse_progression(symbols: str) -> list[Chord]:
    """Parse a progression such as `"I V vi IV"`, one chord per bar."""
    return [parse_chord(symbol) for symbol in symbols.split()]


def scale_pitch_classes(tonic: int, scale: str) -> list[int]:
    """Return the pitch classes of a scale of `SCALES` on `tonic`."""
    return [(tonic + step) % 12 for step in SCALES[scale]]


def nearest_pitch(pitch_class: int, reference: int) -> int:
    """Return the pitch of the given class nearest to `reference`; of two equally near ones, the lower."""
    return reference + (pitch_class - reference + 6) % 12 - 6


def voice_chord(chord: Chord, tonic: int, center: int, previous: list[int] | None) -> list[int]:
    """Return a voicing of a chord near the previous voicing, so that voices move by small steps.

    Args:
        chord: The chord.
        tonic: Pitch class of the key.
        center: MIDI pitch near the middle of the voicing.
        previous: Voicing of the previous chord in ascending order; None for the first chord.

    Returns:
        Distinct MIDI pitches in ascending order.
    """
    references = previous or [center - 4, center, center + 4, center + 7]
    pitches: list[int] = []
    for voice, pitch_class in enumerate(chord.pitch_classes(tonic)):
        pitch = nearest_pitch(pitch_class, references[min(voice, len(references) - 1)])
        while pitch in pitches:
            pitch += 12
        pitches.append(pitch)
    in_range = {
        pitch if center - 10 <= pitch <= center + 14 else pitch + 12 * round((center - pitch) / 12)
        for pitch in pitches
    }
    return sorted(in_range)
