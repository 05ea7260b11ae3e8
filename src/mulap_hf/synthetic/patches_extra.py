"""Sounds of the numpy synthesizer for the additional instruments of varied songs, by General MIDI program."""

from dataclasses import replace

from .patches import PATCHES, Patch

__all__ = ["EXTRA_PATCHES"]

_SITAR = replace(PATCHES[105], tilt=2, decay=0.8, damping=0.6, vibrato=12, formants=((900, 8, 0.5), (2600, 6, 0.5)))
_PIZZICATO = replace(
    PATCHES[46], tilt=8, decay=0.22, damping=0.08, release=0.08, noise=0.12, formants=((400, 4, 0.7), (1000, 3, 0.6))
)
_VOICE = Patch(
    tilt=5,
    attack=0.07,
    sustain=0.95,
    release=0.12,
    vibrato=38,
    noise=0.04,
    formants=((730, 15, 0.3), (1090, 11, 0.25), (2440, 9, 0.2), (3400, 8, 0.2)),
)
_NOISE = Patch(tilt=30, attack=0.3, sustain=1, release=0.5, noise=20)

EXTRA_PATCHES: dict[int, Patch] = {
    # keys and struck strings
    7: replace(PATCHES[6], tilt=3.5, decay=0.35, damping=0.12, formants=((1400, 7, 0.6),)),
    8: replace(PATCHES[10], partials=((1, 1.0, 0.8), (3.0, 0.3, 0.3), (6.0, 0.1, 0.1)), release=0.25),
    13: replace(
        PATCHES[12], partials=((1, 1.0, 0.16), (3.0, 0.5, 0.07), (7.2, 0.2, 0.03)), noise=0.1, noise_decay=0.01
    ),
    15: replace(PATCHES[25], voices=3, detune=9, decay=0.9, damping=0.35, tilt=4, formants=()),
    20: replace(PATCHES[23], voices=3, detune=6, attack=0.08, formants=((500, 5, 0.8), (1300, 4, 0.6))),
    # basses, bowed and plucked strings
    37: replace(PATCHES[36], decay=0.35, noise=0.4, noise_decay=0.012, formants=((2400, 8, 0.8),)),
    41: replace(PATCHES[40], formants=((330, 5, 0.6), (800, 5, 0.5), (2000, 5, 0.7)), vibrato=12),
    43: replace(PATCHES[42], attack=0.12, formants=((120, 5, 0.6), (300, 4, 0.5), (800, 3, 0.6)), noise=0.05),
    44: replace(PATCHES[48], tremolo=0.5, noise=0.06, attack=0.08),
    45: _PIZZICATO,
    104: _SITAR,
    106: replace(PATCHES[105], tilt=3, decay=0.35, noise=0.3, noise_decay=0.02, formants=((600, 6, 0.6),)),
    107: replace(PATCHES[46], tilt=5, decay=0.8, damping=0.2, noise=0.15, noise_decay=0.008, vibrato=6),
    108: replace(
        PATCHES[12], partials=((1, 1.0, 0.5), (5.8, 0.25, 0.08), (8.1, 0.1, 0.04)), noise=0.08, noise_decay=0.01
    ),
    # winds
    58: replace(PATCHES[57], tilt=8, attack=0.06, formants=((250, 6, 0.9),)),
    69: replace(PATCHES[68], tilt=4, formants=((900, 8, 0.5), (2000, 5, 0.5))),
    70: replace(PATCHES[68], tilt=4.5, formants=((450, 9, 0.5), (1150, 5, 0.5)), attack=0.04),
    72: replace(PATCHES[73], tilt=10, noise=0.06, vibrato=10, attack=0.03),
    77: replace(PATCHES[75], tilt=11, noise=0.6, vibrato=35, attack=0.12),
    78: replace(PATCHES[73], tilt=26, noise=0.04, vibrato=25, attack=0.04),
    79: replace(PATCHES[73], tilt=18, even=0.3, noise=0.05, vibrato=8),
    109: replace(PATCHES[23], tilt=2, voices=2, detune=12, formants=((1100, 8, 0.6), (2700, 6, 0.5)), attack=0.03),
    111: replace(PATCHES[68], tilt=2, formants=((1400, 10, 0.4), (3000, 8, 0.4)), vibrato=22),
    # voices and synthesizers
    85: _VOICE,
    83: replace(PATCHES[82], noise=0.4, noise_decay=0.05),
    84: replace(PATCHES[30], tilt=4, drive=6),
    86: replace(PATCHES[81], harmonics=(1.0, 0.5, 0.9, 0.4, 0.3, 0.6, 0.2, 0.2, 0.4), voices=2),
    90: replace(PATCHES[81], attack=0.03, release=0.3, voices=4, detune=20),
    91: replace(PATCHES[52], attack=0.35, release=0.5, noise=0.08),
    92: replace(PATCHES[89], attack=0.4, formants=((1500, 9, 0.4), (3300, 7, 0.4)), vibrato=8),
    93: replace(PATCHES[89], partials=((1, 0.8, 2.5), (2.76, 0.4, 2.0), (5.4, 0.25, 1.4)), attack=0.3, release=0.6),
    112: replace(
        PATCHES[14], partials=((1, 0.5, 0.8), (2.4, 0.6, 0.7), (4.1, 0.5, 0.5), (6.6, 0.3, 0.3)), release=0.4
    ),
    # noises
    119: replace(_NOISE, attack=1.5, release=0.05),
    122: replace(_NOISE, attack=0.8, release=0.8, cabinet=1800),
    123: Patch(tilt=30, attack=0.03, decay=0.12, sustain=0, release=0.05, vibrato=400),
    126: replace(_NOISE, tremolo=0.7, cabinet=4500),
}
