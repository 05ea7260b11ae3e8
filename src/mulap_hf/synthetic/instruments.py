"""The instruments of the corpus: General MIDI programs, held-out programs, melody ranges, families and labels."""

from dataclasses import dataclass

__all__ = [
    "DRUM_KITS",
    "EXTRA_INSTRUMENTS",
    "HELD_OUT_DRUM_KITS",
    "INSTRUMENTS",
    "INSTRUMENT_LABELS",
    "NOISES",
    "NOTE_FAMILIES",
    "VOICES",
    "Extra",
    "Instrument",
    "label_of",
]


@dataclass(frozen=True)
class Instrument:
    """One instrument class.

    Attributes:
        programs: General MIDI programs (from 0) of every split except `test_presets`.
        held_out: Programs that occur only in `test_presets`; empty if General MIDI has a single preset.
        lead_range: Lowest and highest MIDI pitch of a melody.
        family: Label in the single-note task.
        label: Label in the ground truth of clips (the three basses share one).
    """

    programs: tuple[int, ...]
    held_out: tuple[int, ...]
    lead_range: tuple[int, int]
    family: str
    label: str


def _instrument(name, programs, held_out=(), lead_range=(60, 84), *, family, label=None) -> tuple[str, Instrument]:
    return name, Instrument(tuple(programs), tuple(held_out), lead_range, family, label or name)


INSTRUMENTS: dict[str, Instrument] = dict(
    [
        _instrument("piano", [0, 1, 2], [3], family="keyboard"),
        _instrument("electric piano", [4], [5], family="keyboard"),
        _instrument("harpsichord", [6], family="keyboard"),
        _instrument("organ", [16, 17, 18], [19], family="organ"),
        _instrument("accordion", [21], [23], family="organ"),
        _instrument("harmonica", [22], [], (60, 82), family="reed"),
        _instrument("acoustic guitar", [24], [25], (57, 79), family="guitar"),
        _instrument("electric guitar", [27, 26], [28], (57, 80), family="guitar"),
        _instrument("distorted guitar", [30], [29], (57, 80), family="guitar"),
        _instrument("banjo", [105], family="guitar"),
        _instrument("acoustic bass", [32], [], (33, 55), family="bass", label="bass"),
        _instrument("electric bass", [33, 34, 36], [35], (33, 55), family="bass", label="bass"),
        _instrument("synth bass", [38], [39], (33, 55), family="bass", label="bass"),
        _instrument("violin", [40], [110], (62, 88), family="string"),
        _instrument("cello", [42], [], (43, 62), family="string"),
        _instrument("strings", [48, 50], [49], family="string"),
        _instrument("harp", [46], family="string"),
        _instrument("choir", [52, 53], [54], (55, 76), family="vocal"),
        _instrument("trumpet", [56], [59], (58, 80), family="brass"),
        _instrument("trombone", [57], [], (48, 67), family="brass"),
        _instrument("french horn", [60], [], (50, 70), family="brass"),
        _instrument("brass section", [61, 62], [63], (55, 76), family="brass"),
        _instrument("saxophone", [65, 66, 64], [67], (55, 78), family="reed"),
        _instrument("clarinet", [71], [], (57, 82), family="reed"),
        _instrument("oboe", [68], [], (62, 84), family="reed"),
        _instrument("flute", [73, 74], [75], (65, 90), family="flute"),
        _instrument("synth lead", [81, 80, 87], [82], family="synth lead"),
        _instrument("synth pad", [89, 88, 95], [94], family="synth pad"),
        _instrument("vibraphone", [11], [12], family="mallet"),
        _instrument("bells", [14, 10], [9], (67, 91), family="mallet"),
        _instrument("steel drums", [114], family="mallet"),
    ]
)

DRUM_KITS = (0, 8, 16, 25, 40)
HELD_OUT_DRUM_KITS = (24, 32)

INSTRUMENT_LABELS = tuple(sorted({instrument.label for instrument in INSTRUMENTS.values()} | {"drums"}))

# The eleven instrument families of NSynth (Engel et al., ICML 2017). NSynth has no family for pads.
NOTE_FAMILIES = tuple(sorted({instrument.family for instrument in INSTRUMENTS.values()} - {"synth pad"}))


@dataclass(frozen=True)
class Extra:
    """An instrument that only varied songs have.

    Attributes:
        program: General MIDI program.
        replaces: Names of the instruments in `INSTRUMENTS` whose part it may play.
        pitches: Lowest and highest MIDI pitch of its melodies.
        label: Label in the ground truth of clips; "" if no label of `INSTRUMENT_LABELS` is true of it.
    """

    program: int
    replaces: tuple[str, ...]
    pitches: tuple[int, int]
    label: str = ""


VOICES: dict[str, Extra] = {
    "female voice": Extra(85, (), (57, 79)),
    "male voice": Extra(85, (), (43, 62)),
}
"""Singing voices, without words; any melody may be sung."""

NOISES: dict[str, Extra] = {
    "riser": Extra(119, (), (60, 60)),
    "waves": Extra(122, (), (60, 60)),
    "birds": Extra(123, (), (84, 100)),
    "applause": Extra(126, (), (60, 60)),
}
"""Sounds around the music."""

EXTRA_INSTRUMENTS: dict[str, Extra] = {
    **VOICES,
    **NOISES,
    "clavinet": Extra(7, ("electric piano", "harpsichord"), (48, 76)),
    "celesta": Extra(8, ("bells", "vibraphone"), (64, 90), "bells"),
    "xylophone": Extra(13, ("vibraphone", "bells", "steel drums"), (60, 88)),
    "dulcimer": Extra(15, ("harp", "acoustic guitar", "banjo"), (50, 80)),
    "reed organ": Extra(20, ("organ", "accordion"), (50, 79), "organ"),
    "slap bass": Extra(37, ("electric bass", "synth bass"), (33, 55), "bass"),
    "viola": Extra(41, ("violin", "cello"), (50, 76)),
    "contrabass": Extra(43, ("cello", "acoustic bass"), (30, 50)),
    "tremolo strings": Extra(44, ("strings",), (50, 80), "strings"),
    "pizzicato strings": Extra(45, ("strings", "harp"), (48, 80), "strings"),
    "tuba": Extra(58, ("trombone", "french horn"), (30, 52)),
    "english horn": Extra(69, ("oboe",), (52, 76)),
    "bassoon": Extra(70, ("clarinet", "oboe"), (38, 62)),
    "piccolo": Extra(72, ("flute",), (74, 96), "flute"),
    "shakuhachi": Extra(77, ("flute",), (57, 80), "flute"),
    "whistle": Extra(78, ("flute", "harmonica"), (70, 92)),
    "ocarina": Extra(79, ("flute",), (64, 86), "flute"),
    "chiff lead": Extra(83, ("synth lead",), (55, 80), "synth lead"),
    "charang lead": Extra(84, ("synth lead", "distorted guitar"), (52, 80), "synth lead"),
    "fifths lead": Extra(86, ("synth lead",), (50, 76), "synth lead"),
    "polysynth": Extra(90, ("synth pad", "synth lead"), (50, 80), "synth pad"),
    "choir pad": Extra(91, ("choir", "synth pad"), (50, 78), "synth pad"),
    "bowed glass": Extra(92, ("synth pad",), (50, 80), "synth pad"),
    "metallic pad": Extra(93, ("synth pad",), (50, 80), "synth pad"),
    "sitar": Extra(104, ("banjo", "acoustic guitar", "harp"), (48, 76)),
    "shamisen": Extra(106, ("banjo", "acoustic guitar"), (50, 78)),
    "koto": Extra(107, ("harp", "acoustic guitar"), (50, 80)),
    "kalimba": Extra(108, ("vibraphone", "bells", "steel drums"), (60, 84)),
    "bagpipes": Extra(109, ("accordion", "harmonica", "violin"), (58, 78)),
    "shanai": Extra(111, ("oboe", "saxophone"), (58, 80)),
    "tinkle bell": Extra(112, ("bells",), (72, 96), "bells"),
}


def label_of(instrument: str) -> str:
    """Return the label of an instrument in the ground truth of clips, "" if it has none."""
    if instrument == "drums":
        return "drums"
    return INSTRUMENTS[instrument].label if instrument in INSTRUMENTS else EXTRA_INSTRUMENTS[instrument].label
