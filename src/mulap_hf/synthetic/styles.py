"""The twelve styles as data: tempo, harmony, grooves, patterns, instruments and prior affect."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from . import harmony

__all__ = ["STYLES", "STYLE_NAMES", "LeadPart", "Part", "Style"]


@dataclass(frozen=True)
class Part:
    """An accompanying part: its probability, and the weights of its instruments and patterns."""

    probability: float
    instruments: Mapping[str, float]
    patterns: Mapping[str, float]


@dataclass(frozen=True)
class LeadPart:
    """The melody: its probability, the weights of its instruments, and its note density (0 to 1)."""

    probability: float
    instruments: Mapping[str, float]
    density: float


@dataclass(frozen=True)
class Style:
    """One style.

    Attributes:
        tempo: Lowest and highest tempo in beats per minute.
        arousal: Prior mean of the arousal of a song, in [-1, 1].
        valence: Prior mean of the valence of a song, in [-1, 1].
        minor: Prior probability of the minor mode.
        major_progressions: Progressions in major, one chord per bar.
        minor_progressions: Progressions in minor, one chord per bar.
        kits: General MIDI drum kits.
        drums: Probability of drums.
        grooves: Weights of the drum grids.
        bass: The bass part.
        comping: The accompanying parts: the first one carries the harmony, the others are optional layers.
        lead: The melody.
        swing: Fraction of a beat that its first half takes; 0.5 is straight, 0.66 triplet swing.
        triple: Probability of three beats per bar.
        scales: For each mode, the scales of a melody and their weights.
        quantized: Probability of machine timing, with nearly no deviations.
    """

    tempo: tuple[float, float]
    arousal: float
    valence: float
    minor: float
    major_progressions: tuple[str, ...]
    minor_progressions: tuple[str, ...]
    kits: tuple[int, ...]
    drums: float
    grooves: Mapping[str, float]
    bass: Part
    comping: tuple[Part, ...]
    lead: LeadPart
    swing: float = 0.5
    triple: float = 0.02
    scales: Mapping[str, Mapping[str, float]] = field(
        default_factory=lambda: {"major": {"major": 1.0}, "minor": {"minor": 1.0}}
    )
    quantized: float = 0.0


STYLES: dict[str, Style] = {
    "rock": Style(
        tempo=(88, 164),
        arousal=0.35,
        valence=0.1,
        minor=0.4,
        major_progressions=harmony.POP_MAJOR,
        minor_progressions=harmony.POP_MINOR,
        kits=(0, 8, 16),
        drums=0.97,
        grooves={"rock": 4, "open rock": 2, "punk": 1, "half time": 1},
        bass=Part(
            0.97,
            {"electric bass": 9, "synth bass": 0.3},
            {"eighth roots": 4, "root and fifth": 2, "long roots": 1, "syncopated": 2},
        ),
        comping=(
            Part(
                0.9,
                {"electric guitar": 4, "distorted guitar": 4, "acoustic guitar": 2},
                {"strummed eighths": 4, "power eighths": 3, "block": 1},
            ),
            Part(
                0.4,
                {"piano": 2, "organ": 3, "electric piano": 1, "strings": 1, "choir": 0.5},
                {"block": 3, "strummed eighths": 1, "sustained": 2},
            ),
        ),
        lead=LeadPart(
            0.6,
            {
                "electric guitar": 3,
                "distorted guitar": 4,
                "organ": 1,
                "piano": 1,
                "saxophone": 0.5,
                "harmonica": 0.5,
                "brass section": 0.5,
            },
            0.6,
        ),
        scales=harmony.PENTATONIC_SCALES,
    ),
    "metal": Style(
        tempo=(90, 190),
        arousal=0.7,
        valence=-0.35,
        minor=0.9,
        major_progressions=harmony.METAL_MAJOR,
        minor_progressions=harmony.METAL_MINOR,
        kits=(16, 0),
        drums=0.99,
        grooves={"double bass": 4, "metal half time": 3, "punk": 2, "rock": 1, "half time": 1},
        bass=Part(0.97, {"electric bass": 1}, {"eighth roots": 3, "sixteenth roots": 3, "syncopated": 1}),
        comping=(
            Part(1.0, {"distorted guitar": 1}, {"power eighths": 4, "gallop": 4, "power sixteenths": 2}),
            Part(
                0.3,
                {"distorted guitar": 2, "strings": 1.5, "choir": 1.5, "organ": 1},
                {"sustained": 2, "power eighths": 2},
            ),
        ),
        lead=LeadPart(0.55, {"distorted guitar": 5, "violin": 0.5, "synth lead": 0.7}, 0.9),
    ),
    "blues": Style(
        tempo=(58, 132),
        arousal=-0.1,
        valence=-0.1,
        minor=0.35,
        major_progressions=harmony.BLUES_MAJOR,
        minor_progressions=harmony.BLUES_MINOR,
        kits=(0, 8, 40),
        drums=0.8,
        grooves={"shuffle": 5, "rock": 2, "brushes": 1, "half time": 1},
        bass=Part(
            0.85,
            {"electric bass": 3, "acoustic bass": 2},
            {"walking": 3, "boogie": 3, "eighth roots": 1, "long roots": 1},
        ),
        comping=(
            Part(
                0.95,
                {"electric guitar": 4, "acoustic guitar": 3, "piano": 3, "organ": 2},
                {"shuffle": 4, "block": 2, "charleston": 1, "strummed eighths": 1},
            ),
            Part(0.3, {"piano": 2, "organ": 2, "brass section": 1}, {"block": 2, "charleston": 1}),
        ),
        lead=LeadPart(
            0.85,
            {"harmonica": 3, "electric guitar": 3, "saxophone": 2, "distorted guitar": 1, "piano": 1.5},
            0.6,
        ),
        swing=0.62,
        scales=harmony.BLUES_SCALES,
    ),
    "jazz": Style(
        tempo=(66, 210),
        arousal=-0.05,
        valence=0.2,
        minor=0.4,
        major_progressions=harmony.JAZZ_MAJOR,
        minor_progressions=harmony.JAZZ_MINOR,
        kits=(0, 40, 8),
        drums=0.85,
        grooves={"swing": 6, "brushes": 3, "bossa nova": 1},
        bass=Part(
            0.95,
            {"acoustic bass": 5, "electric bass": 1},
            {"walking": 7, "long roots": 1, "root and fifth": 1},
        ),
        comping=(
            Part(
                0.92,
                {"piano": 6, "electric guitar": 2, "electric piano": 2, "organ": 1, "vibraphone": 1},
                {"charleston": 5, "block": 2, "offbeats": 1},
            ),
            Part(0.15, {"brass section": 3, "vibraphone": 1}, {"stabs": 2, "sustained": 1}),
        ),
        lead=LeadPart(
            0.85,
            {
                "saxophone": 4,
                "trumpet": 3,
                "piano": 1.5,
                "clarinet": 1,
                "vibraphone": 1,
                "trombone": 1,
                "flute": 1,
                "electric guitar": 1,
            },
            0.8,
        ),
        swing=0.64,
    ),
    "classical": Style(
        tempo=(54, 160),
        arousal=-0.25,
        valence=0.1,
        minor=0.5,
        major_progressions=harmony.CLASSICAL_MAJOR,
        minor_progressions=harmony.CLASSICAL_MINOR,
        kits=(0,),
        drums=0.0,
        grooves={"sparse": 1},
        bass=Part(
            0.5,
            {"cello": 4, "acoustic bass": 1},
            {"long roots": 3, "root and fifth": 2, "eighth roots": 1},
        ),
        comping=(
            Part(
                1.0,
                {"piano": 5, "strings": 5, "harpsichord": 2, "harp": 1.5, "acoustic guitar": 1},
                {"alberti": 4, "block": 3, "arpeggio eighths": 3, "sustained": 2},
            ),
            Part(
                0.5,
                {"strings": 4, "choir": 2, "french horn": 1.5, "organ": 0.7, "brass section": 0.7},
                {"sustained": 3, "block": 2},
            ),
        ),
        lead=LeadPart(
            0.85,
            {
                "violin": 4,
                "flute": 2,
                "oboe": 2,
                "clarinet": 2,
                "piano": 2,
                "trumpet": 0.7,
                "french horn": 1,
                "cello": 1,
                "bells": 0.5,
            },
            0.6,
        ),
        triple=0.35,
    ),
    "electronic": Style(
        tempo=(104, 148),
        arousal=0.5,
        valence=0.15,
        minor=0.65,
        major_progressions=harmony.POP_MAJOR + harmony.MODAL_MAJOR,
        minor_progressions=harmony.POP_MINOR + harmony.MODAL_MINOR,
        kits=(25, 0),
        drums=0.95,
        grooves={"four on the floor": 4, "techno": 4, "breakbeat": 1.5, "disco": 1},
        bass=Part(
            0.9,
            {"synth bass": 8, "electric bass": 1},
            {"offbeat roots": 4, "sixteenth roots": 2, "syncopated": 2, "eighth roots": 1},
        ),
        comping=(
            Part(
                0.9,
                {"synth lead": 3, "synth pad": 2, "electric piano": 1, "piano": 1.5, "organ": 0.7, "bells": 0.8},
                {"stabs": 3, "arpeggio sixteenths": 4, "offbeats": 2},
            ),
            Part(0.6, {"synth pad": 4, "strings": 2, "choir": 1.3}, {"sustained": 1}),
        ),
        lead=LeadPart(0.45, {"synth lead": 6, "bells": 2, "piano": 1, "flute": 0.4}, 0.7),
        quantized=1.0,
    ),
    "hip-hop": Style(
        tempo=(68, 112),
        arousal=0.0,
        valence=-0.05,
        minor=0.7,
        major_progressions=harmony.MODAL_MAJOR + harmony.JAZZ_MAJOR,
        minor_progressions=harmony.MODAL_MINOR + harmony.POP_MINOR,
        kits=(0, 25, 8),
        drums=0.97,
        grooves={"boom bap": 5, "trap": 4, "half time": 1, "funk": 0.7},
        bass=Part(
            0.95,
            {"synth bass": 4, "electric bass": 3, "acoustic bass": 1},
            {"sub": 4, "syncopated": 3, "long roots": 2},
        ),
        comping=(
            Part(
                0.9,
                {
                    "electric piano": 4,
                    "piano": 3,
                    "strings": 2,
                    "electric guitar": 1,
                    "vibraphone": 1,
                    "synth pad": 1.5,
                    "bells": 1,
                },
                {"block": 3, "stabs": 2, "arpeggio eighths": 2, "sustained": 2},
            ),
            Part(
                0.35,
                {"strings": 2, "synth pad": 2, "choir": 1.5, "brass section": 1.7},
                {"sustained": 2, "stabs": 1},
            ),
        ),
        lead=LeadPart(
            0.45,
            {"bells": 3, "flute": 1.5, "synth lead": 2, "saxophone": 1, "trumpet": 1, "piano": 1},
            0.4,
        ),
        swing=0.56,
        scales=harmony.PENTATONIC_SCALES,
        quantized=0.5,
    ),
    "folk": Style(
        tempo=(66, 150),
        arousal=-0.2,
        valence=0.3,
        minor=0.3,
        major_progressions=(*harmony.POP_MAJOR, "I IV V I"),
        minor_progressions=harmony.POP_MINOR + harmony.REGGAE_MINOR,
        kits=(0, 40),
        drums=0.4,
        grooves={"hand percussion": 4, "train beat": 2, "brushes": 1},
        bass=Part(0.55, {"acoustic bass": 4, "electric bass": 1}, {"root and fifth": 5, "long roots": 2}),
        comping=(
            Part(
                1.0,
                {"acoustic guitar": 7, "banjo": 2, "piano": 1, "accordion": 1, "harp": 0.5},
                {"strummed eighths": 4, "arpeggio eighths": 4, "boom chick": 2},
            ),
            Part(
                0.35,
                {"accordion": 2, "acoustic guitar": 2, "banjo": 2, "choir": 0.6},
                {"block": 1, "arpeggio eighths": 1, "boom chick": 1},
            ),
        ),
        lead=LeadPart(
            0.75,
            {
                "violin": 4,
                "flute": 2,
                "harmonica": 3,
                "accordion": 1.5,
                "acoustic guitar": 1.5,
                "banjo": 1,
                "clarinet": 0.5,
            },
            0.7,
        ),
        triple=0.25,
    ),
    "ambient": Style(
        tempo=(50, 96),
        arousal=-0.7,
        valence=0.0,
        minor=0.55,
        major_progressions=harmony.MODAL_MAJOR,
        minor_progressions=harmony.MODAL_MINOR,
        kits=(25, 40),
        drums=0.18,
        grooves={"sparse": 3, "half time": 1},
        bass=Part(0.4, {"synth bass": 2, "acoustic bass": 1, "cello": 1}, {"long roots": 1}),
        comping=(
            Part(1.0, {"synth pad": 5, "strings": 2, "choir": 3, "organ": 0.7}, {"sustained": 1}),
            Part(
                0.7,
                {"piano": 3, "electric piano": 1, "harp": 1, "bells": 2.5, "vibraphone": 1, "acoustic guitar": 1},
                {"arpeggio quarters": 4, "block": 1, "arpeggio eighths": 1},
            ),
        ),
        lead=LeadPart(
            0.4,
            {"flute": 1.5, "bells": 3, "synth lead": 1, "violin": 0.7, "piano": 1, "electric guitar": 1, "choir": 0.7},
            0.15,
        ),
    ),
    "latin": Style(
        tempo=(84, 190),
        arousal=0.3,
        valence=0.4,
        minor=0.5,
        major_progressions=harmony.LATIN_MAJOR,
        minor_progressions=harmony.LATIN_MINOR,
        kits=(0, 8),
        drums=0.95,
        grooves={"salsa": 4, "bossa nova": 3, "samba": 2, "reggaeton": 2},
        bass=Part(0.95, {"acoustic bass": 3, "electric bass": 4}, {"tumbao": 5, "bossa": 3}),
        comping=(
            Part(
                0.95,
                {"piano": 5, "acoustic guitar": 4, "electric piano": 0.7, "accordion": 1},
                {"montuno": 5, "bossa": 3, "offbeats": 1},
            ),
            Part(0.3, {"strings": 1, "brass section": 3, "organ": 0.5}, {"stabs": 2, "sustained": 1}),
        ),
        lead=LeadPart(
            0.75,
            {
                "trumpet": 4,
                "trombone": 1,
                "flute": 2.5,
                "saxophone": 1.5,
                "brass section": 3,
                "acoustic guitar": 1,
                "steel drums": 0.8,
            },
            0.7,
        ),
    ),
    "reggae": Style(
        tempo=(62, 104),
        arousal=-0.05,
        valence=0.4,
        minor=0.4,
        major_progressions=harmony.REGGAE_MAJOR,
        minor_progressions=harmony.REGGAE_MINOR,
        kits=(0, 8),
        drums=0.95,
        grooves={"one drop": 5, "steppers": 3, "half time": 1, "rock": 0.5},
        bass=Part(0.97, {"electric bass": 6, "synth bass": 1}, {"reggae": 6, "syncopated": 1}),
        comping=(
            Part(1.0, {"electric guitar": 5, "organ": 3, "piano": 2}, {"skank": 8, "offbeats": 2}),
            Part(0.5, {"organ": 5, "piano": 1, "electric piano": 1}, {"bubble": 4, "skank": 1}),
        ),
        lead=LeadPart(
            0.6,
            {
                "trumpet": 1.5,
                "trombone": 1,
                "saxophone": 2,
                "brass section": 2.5,
                "flute": 0.7,
                "organ": 1,
                "harmonica": 1,
                "electric guitar": 1,
                "steel drums": 0.7,
            },
            0.4,
        ),
        swing=0.54,
    ),
    "funk": Style(
        tempo=(88, 132),
        arousal=0.4,
        valence=0.4,
        minor=0.55,
        major_progressions=harmony.FUNK_MAJOR + harmony.POP_MAJOR[:2],
        minor_progressions=harmony.FUNK_MINOR,
        kits=(0, 8, 16),
        drums=0.97,
        grooves={"funk": 6, "disco": 3, "breakbeat": 1, "rock": 0.5},
        bass=Part(0.97, {"electric bass": 6, "synth bass": 2}, {"funk": 5, "octaves": 3, "syncopated": 1}),
        comping=(
            Part(
                0.95,
                {"electric guitar": 6, "electric piano": 2, "organ": 1.5, "piano": 1},
                {"scratched sixteenths": 5, "stabs": 2, "offbeats": 1},
            ),
            Part(
                0.6,
                {"brass section": 5, "electric piano": 2, "organ": 2, "strings": 2},
                {"stabs": 3, "sustained": 1.5},
            ),
        ),
        lead=LeadPart(
            0.5,
            {
                "saxophone": 2,
                "trumpet": 1.5,
                "brass section": 2,
                "synth lead": 1.5,
                "electric guitar": 1,
                "organ": 1,
            },
            0.6,
        ),
        swing=0.53,
        scales=harmony.PENTATONIC_SCALES,
    ),
}

STYLE_NAMES = tuple(STYLES)
