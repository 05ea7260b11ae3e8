"""The instruments of the corpus: General MIDI programs, held-out programs, melody ranges, families and labels."""

from dataclasses import dataclass

__all__ = [
    "DRUM_KITS",
    "HELD_OUT_DRUM_KITS",
    "INSTRUMENTS",
    "INSTRUMENT_LABELS",
    "NOTE_FAMILIES",
    "Instrument",
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
