"""Sound design of the numpy synthesizer: one patch per General MIDI program, one voice per drum."""

from dataclasses import dataclass, replace

__all__ = ["DRUM_KIT_SOUNDS", "DRUM_VOICES", "PATCHES", "DrumKitSound", "DrumVoice", "Patch"]


@dataclass(frozen=True)
class Patch:
    """Parameters of a pitched preset.

    Attributes:
        tilt: Spectral roll-off of the harmonics in dB per octave at full velocity.
        even: Level of the even harmonics relative to the odd ones (low for a clarinet).
        harmonics: Levels of the first harmonics, in place of `tilt` and `even` (the drawbars of an organ).
        partials: Inharmonic partials (frequency ratio, level, decay in seconds), in place of a harmonic spectrum.
        formants: Fixed resonances (frequency in Hz, gain in dB, width in octaves).
        attack: Attack time in seconds.
        decay: Time constant in seconds of the decay to `sustain`; for `sustain` 0, the time constant at middle C.
        sustain: Sustain level; 0 for plucked and struck sounds.
        release: Time constant in seconds of the release.
        damping: Time constant in seconds of the decay of the high harmonics; 0 keeps the spectrum constant.
        voices: Number of detuned copies.
        detune: Spread of the copies in cents.
        vibrato: Depth in cents.
        tremolo: Depth, 0 to 1.
        noise: Level of breath, bow or hammer noise.
        noise_decay: Time constant of the noise in seconds; 0 for noise as long as the note.
        drive: Distortion of the whole track; 0 for none.
        cabinet: Cutoff frequency in Hz of the loudspeaker's low-pass filter; 0 for none.
    """

    tilt: float = 7.0
    even: float = 1.0
    harmonics: tuple[float, ...] = ()
    partials: tuple[tuple[float, float, float], ...] = ()
    formants: tuple[tuple[float, float, float], ...] = ()
    attack: float = 0.01
    decay: float = 0.3
    sustain: float = 0.8
    release: float = 0.06
    damping: float = 0.0
    voices: int = 1
    detune: float = 0.0
    vibrato: float = 0.0
    tremolo: float = 0.0
    noise: float = 0.0
    noise_decay: float = 0.0
    drive: float = 0.0
    cabinet: float = 0.0


_PIANO = Patch(
    tilt=7,
    attack=0.003,
    decay=0.9,
    sustain=0,
    release=0.1,
    damping=0.25,
    voices=2,
    detune=2,
    noise=0.10,
    noise_decay=0.015,
    formants=((120, 3, 1.0),),
)
_TINE_PIANO = Patch(
    partials=((1, 1.0, 0.9), (2, 0.15, 0.6), (3, 0.06, 0.5), (6.9, 0.30, 0.09), (14.1, 0.10, 0.04)),
    attack=0.003,
    release=0.1,
    tremolo=0.15,
)
_ORGAN = Patch(
    harmonics=(1.0, 0.8, 0.55, 0.5, 0.15, 0.3, 0.05, 0.25), attack=0.008, sustain=1, release=0.03, vibrato=8
)
_REED_ORGAN = Patch(tilt=4.5, attack=0.05, sustain=0.95, release=0.07, voices=2, detune=9, formants=((900, 5, 1.2),))
_STEEL_GUITAR = Patch(
    tilt=5,
    attack=0.002,
    decay=0.7,
    sustain=0,
    release=0.07,
    damping=0.22,
    noise=0.15,
    noise_decay=0.012,
    formants=((110, 5, 0.5), (220, 4, 0.6)),
)
_ELECTRIC_GUITAR = Patch(
    tilt=6,
    even=0.7,
    attack=0.002,
    decay=1.1,
    sustain=0,
    release=0.05,
    damping=0.5,
    noise=0.06,
    noise_decay=0.008,
    formants=((2400, 5, 0.8),),
    cabinet=4200,
)
_DISTORTED_GUITAR = replace(_ELECTRIC_GUITAR, decay=2.5, damping=1.2, drive=9, cabinet=3900, release=0.04)
_BASS = Patch(tilt=8, attack=0.004, decay=0.9, sustain=0, release=0.05, damping=0.18, noise=0.06, noise_decay=0.01)
_BOWED = Patch(
    tilt=5,
    attack=0.08,
    sustain=0.9,
    release=0.09,
    vibrato=14,
    noise=0.03,
    formants=((450, 5, 0.6), (1100, 4, 0.5), (2800, 6, 0.7)),
)
_STRING_SECTION = Patch(
    tilt=6, attack=0.16, sustain=0.95, release=0.25, voices=4, detune=22, vibrato=6, formants=((500, 3, 0.8),)
)
_BRASS = Patch(
    tilt=4.5,
    attack=0.035,
    decay=0.12,
    sustain=0.8,
    release=0.05,
    vibrato=7,
    formants=((1200, 6, 1.0),),
    noise=0.02,
    noise_decay=0.03,
)
_CHOIR = Patch(
    tilt=6,
    attack=0.18,
    sustain=0.95,
    release=0.25,
    voices=3,
    detune=24,
    vibrato=18,
    noise=0.03,
    formants=((620, 14, 0.35), (1080, 10, 0.3), (2650, 10, 0.25)),
)
_SAXOPHONE = Patch(
    tilt=4.5,
    attack=0.03,
    sustain=0.85,
    release=0.05,
    vibrato=16,
    noise=0.05,
    formants=((600, 6, 0.7), (1500, 5, 0.6)),
)
_FLUTE = Patch(tilt=13, even=0.8, attack=0.06, sustain=0.9, release=0.07, vibrato=14, tremolo=0.12, noise=0.10)
_SAW_LEAD = Patch(tilt=6, attack=0.006, sustain=0.85, release=0.06, voices=2, detune=10)
_PAD = Patch(tilt=9, attack=0.45, sustain=0.95, release=0.5, voices=3, detune=18, tremolo=0.08)
_BAR = Patch(partials=((1, 1.0, 1.3), (4.0, 0.25, 0.35), (10.0, 0.08, 0.1)), attack=0.002, release=0.3, tremolo=0.35)
_BELL = Patch(
    partials=((0.5, 0.25, 2.0), (1, 0.8, 1.6), (1.19, 0.4, 1.2), (2.0, 0.5, 0.9), (2.74, 0.35, 0.6), (5.2, 0.2, 0.3)),
    attack=0.002,
    release=0.7,
)

PATCHES: dict[int, Patch] = {
    # pianos and other keyboards
    0: _PIANO,
    1: replace(_PIANO, tilt=5.5, damping=0.35),
    2: replace(_PIANO, tilt=6, even=0.6, noise=0.05, detune=4),
    3: replace(_PIANO, detune=14, tilt=6, decay=0.6),
    4: _TINE_PIANO,
    5: replace(_TINE_PIANO, partials=((1, 1.0, 1.1), (2, 0.3, 0.9), (3, 0.2, 0.4), (5, 0.25, 0.2), (9, 0.15, 0.08))),
    6: Patch(tilt=2.5, attack=0.001, decay=0.5, sustain=0, release=0.04, damping=0.4, noise=0.12, noise_decay=0.008),
    # organs and free reeds
    16: _ORGAN,
    17: replace(_ORGAN, harmonics=(1.0, 0.5, 0.9, 0.1, 0, 0.1), noise=0.15, noise_decay=0.01, vibrato=0),
    18: replace(_ORGAN, harmonics=(1.0, 0.9, 0.8, 0.7, 0.4, 0.5, 0.2, 0.5), drive=2, vibrato=18, tremolo=0.2),
    19: replace(
        _ORGAN, harmonics=(1.0, 0.7, 0.3, 0.7, 0.1, 0.2, 0.1, 0.5), attack=0.06, release=0.3, voices=2, detune=5
    ),
    21: _REED_ORGAN,
    22: replace(_REED_ORGAN, even=0.5, voices=1, vibrato=20, formants=((1600, 7, 0.8),), noise=0.05),
    23: replace(_REED_ORGAN, tilt=3.5, even=0.8, detune=3, formants=((700, 6, 0.8), (1900, 4, 0.6))),
    # plucked strings
    24: replace(_STEEL_GUITAR, tilt=8, damping=0.15, decay=0.5),
    25: _STEEL_GUITAR,
    26: replace(_ELECTRIC_GUITAR, tilt=9, cabinet=2600, formants=((350, 3, 0.8),)),
    27: _ELECTRIC_GUITAR,
    28: replace(_ELECTRIC_GUITAR, decay=0.14, damping=0.06, release=0.03),
    29: replace(_DISTORTED_GUITAR, drive=4, cabinet=3200),
    30: _DISTORTED_GUITAR,
    46: replace(_STEEL_GUITAR, tilt=9, decay=1.1, damping=0.3, release=0.5, noise=0.05, formants=((300, 3, 1.0),)),
    105: replace(_STEEL_GUITAR, tilt=2.5, decay=0.25, damping=0.12, release=0.05, formants=((750, 7, 0.6),)),
    # basses
    32: replace(_BASS, tilt=11, decay=0.6, damping=0.1, noise=0.1, noise_decay=0.02),
    33: _BASS,
    34: replace(_BASS, tilt=6, damping=0.3, noise=0.12),
    35: replace(_BASS, tilt=9, decay=1.5, damping=0.6, attack=0.03, vibrato=8, formants=((500, 5, 0.6),)),
    36: replace(_BASS, tilt=4.5, decay=0.5, damping=0.1, noise=0.25, formants=((1800, 6, 0.8),)),
    38: Patch(tilt=6, attack=0.004, decay=0.25, sustain=0.5, release=0.04, damping=0.15, voices=2, detune=6),
    39: Patch(tilt=7, even=0.2, attack=0.004, decay=0.4, sustain=0.7, release=0.04, damping=0.4),
    # bowed strings and voices
    40: _BOWED,
    42: replace(_BOWED, attack=0.09, vibrato=11, formants=((250, 5, 0.6), (600, 4, 0.5), (1500, 4, 0.6))),
    110: replace(_BOWED, attack=0.04, vibrato=6, noise=0.06, tilt=4, formants=((500, 3, 0.6), (2200, 7, 0.6))),
    48: _STRING_SECTION,
    49: replace(_STRING_SECTION, attack=0.3, tilt=7.5),
    50: replace(_STRING_SECTION, tilt=5, detune=30, vibrato=0, attack=0.08, formants=()),
    52: _CHOIR,
    53: replace(_CHOIR, attack=0.08, formants=((400, 12, 0.35), (850, 10, 0.3), (2500, 6, 0.25))),
    54: replace(_CHOIR, vibrato=6, noise=0.0, tilt=5, formants=((500, 12, 0.35), (1500, 10, 0.3), (2400, 9, 0.25))),
    # brass
    56: _BRASS,
    57: replace(_BRASS, tilt=5.5, attack=0.045, formants=((600, 6, 0.9),)),
    59: replace(_BRASS, tilt=2.5, even=0.8, formants=((1700, 12, 0.5),), vibrato=10),
    60: replace(_BRASS, tilt=9, attack=0.06, release=0.1, formants=((400, 5, 0.8),)),
    61: replace(_BRASS, voices=3, detune=16, vibrato=3, attack=0.04),
    62: replace(_BRASS, tilt=6, voices=2, detune=16, vibrato=0, damping=0.35, formants=()),
    63: replace(_BRASS, tilt=8, voices=3, detune=24, vibrato=0, attack=0.09, formants=()),
    # reeds and flutes
    64: replace(_SAXOPHONE, formants=((1000, 6, 0.7), (2200, 6, 0.6)), tilt=4),
    65: _SAXOPHONE,
    66: replace(_SAXOPHONE, formants=((450, 6, 0.7), (1200, 5, 0.6)), noise=0.08),
    67: replace(_SAXOPHONE, formants=((300, 6, 0.7), (900, 6, 0.6)), noise=0.06, tilt=3.5),
    68: replace(_SAXOPHONE, tilt=3, formants=((1100, 10, 0.5), (2900, 6, 0.5)), vibrato=12, noise=0.02),
    71: Patch(tilt=6.5, even=0.12, attack=0.035, sustain=0.9, release=0.05, vibrato=4, noise=0.02),
    73: _FLUTE,
    74: replace(_FLUTE, tilt=11, even=0.35, tremolo=0.03, vibrato=6, noise=0.06, attack=0.03),
    75: replace(_FLUTE, tilt=12, attack=0.09, noise=0.25, vibrato=22),
    # synthesizers
    80: replace(_SAW_LEAD, even=0.05, voices=1),
    81: _SAW_LEAD,
    82: replace(_SAW_LEAD, tilt=10, even=0.3, noise=0.06, vibrato=12, voices=1),
    87: replace(_SAW_LEAD, tilt=5, voices=3, detune=22, damping=0.4),
    88: replace(_PAD, tilt=7, formants=((3000, 8, 0.8),)),
    89: _PAD,
    94: replace(_PAD, even=0.4, formants=((800, 8, 0.5), (2200, 6, 0.5)), tremolo=0.25),
    95: replace(_PAD, tilt=6, attack=0.7, detune=28, formants=((1200, 6, 0.6),)),
    # struck bars, bells and pans
    9: replace(_BELL, partials=((1, 1.0, 0.9), (2.7, 0.5, 0.4), (5.4, 0.3, 0.2)), release=0.4),
    10: replace(_BELL, partials=((1, 1.0, 0.7), (2.0, 0.15, 0.5), (6.2, 0.2, 0.15)), release=0.3),
    11: _BAR,
    12: replace(_BAR, tremolo=0.0, partials=((1, 1.0, 0.25), (3.9, 0.35, 0.08), (9.2, 0.12, 0.03)), release=0.1),
    14: _BELL,
    114: replace(_BELL, partials=((1, 1.0, 0.4), (2.0, 0.7, 0.35), (3.0, 0.3, 0.2), (4.1, 0.25, 0.15)), release=0.15),
}


@dataclass(frozen=True)
class DrumVoice:
    """Parameters of one drum: a tone with a falling pitch, plus a noise burst.

    Attributes:
        level: Overall level.
        tone: Final frequency of the tone in Hz; 0 for no tone.
        sweep: Initial frequency offset of the tone, as a fraction of `tone`.
        tone_decay: Time constant of the tone in seconds.
        noise: Level of the noise relative to the tone.
        noise_decay: Time constant of the noise in seconds.
        low_cut: Cutoff frequency in Hz of the noise's high-pass filter.
        metal: Frequency ratio of a second tone for cowbell-like sounds; 0 for none.
    """

    level: float
    tone: float = 0.0
    sweep: float = 0.0
    tone_decay: float = 0.1
    noise: float = 1.0
    noise_decay: float = 0.05
    low_cut: float = 2000.0
    metal: float = 0.0


DRUM_VOICES: dict[int, DrumVoice] = {
    36: DrumVoice(1.0, tone=52, sweep=2.2, tone_decay=0.13, noise=0.12, noise_decay=0.006, low_cut=500),
    37: DrumVoice(0.5, tone=1700, tone_decay=0.015, noise=0.6, noise_decay=0.01),
    38: DrumVoice(0.8, tone=185, sweep=0.4, tone_decay=0.06, noise=0.9, noise_decay=0.09, low_cut=900),
    39: DrumVoice(0.6, noise_decay=0.09, low_cut=1100),
    42: DrumVoice(0.30, noise_decay=0.03, low_cut=5000),
    44: DrumVoice(0.25, noise_decay=0.04, low_cut=4000),
    45: DrumVoice(0.8, tone=95, sweep=0.5, tone_decay=0.16, noise=0.1),
    46: DrumVoice(0.30, noise_decay=0.20, low_cut=4500),
    47: DrumVoice(0.8, tone=125, sweep=0.5, tone_decay=0.14, noise=0.1),
    49: DrumVoice(0.40, noise_decay=0.60, low_cut=3000),
    50: DrumVoice(0.8, tone=165, sweep=0.5, tone_decay=0.12, noise=0.1),
    51: DrumVoice(0.30, tone=3300, tone_decay=0.12, noise=1.5, noise_decay=0.25, low_cut=4500, metal=1.34),
    54: DrumVoice(0.28, tone=5200, tone_decay=0.06, noise=2.0, noise_decay=0.07, low_cut=5000, metal=1.27),
    56: DrumVoice(0.40, tone=560, tone_decay=0.08, noise=0.1, metal=1.50),
    63: DrumVoice(0.60, tone=270, sweep=0.15, tone_decay=0.09, noise=0.15, noise_decay=0.01),
    70: DrumVoice(0.25, noise_decay=0.035, low_cut=4200),
    75: DrumVoice(0.45, tone=2450, tone_decay=0.02, noise=0.0),
}


@dataclass(frozen=True)
class DrumKitSound:
    """Parameters of a drum kit, applied to every drum: factors on pitch, decay and noise, and distortion."""

    pitch: float = 1.0
    decay: float = 1.0
    noise: float = 1.0
    drive: float = 0.0


DRUM_KIT_SOUNDS: dict[int, DrumKitSound] = {
    0: DrumKitSound(),
    8: DrumKitSound(pitch=0.95, decay=1.5),
    16: DrumKitSound(pitch=0.9, decay=1.3, noise=1.2, drive=2.5),
    24: DrumKitSound(pitch=1.25, decay=0.7, noise=0.7, drive=3.5),
    25: DrumKitSound(pitch=0.85, decay=1.1, noise=0.55),
    32: DrumKitSound(pitch=1.1, decay=0.6, noise=0.9),
    40: DrumKitSound(pitch=1.05, decay=0.9, noise=0.45),
}
