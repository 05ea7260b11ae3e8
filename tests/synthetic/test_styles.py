"""The styles refer only to existing patterns, grooves, instruments and scales, and use all of them."""

import pytest

from mulap_hf.synthetic.grooves import GROOVES, TRIPLE_GROOVES
from mulap_hf.synthetic.instruments import DRUM_KITS, HELD_OUT_DRUM_KITS, INSTRUMENT_LABELS, INSTRUMENTS
from mulap_hf.synthetic.patches import DRUM_KIT_SOUNDS, DRUM_VOICES, PATCHES
from mulap_hf.synthetic.patterns import BASS_PATTERNS, COMPING_PATTERNS
from mulap_hf.synthetic.styles import STYLES
from mulap_hf.synthetic.tags import TAGS
from mulap_hf.synthetic.theory import SCALES, parse_progression
from mulap_hf.synthetic.vocabulary import INSTRUMENT_WORDS, STYLE_WORDS


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_names_of_a_style_exist(style):
    assert style.bass.patterns.keys() <= BASS_PATTERNS.keys()
    assert all(part.patterns.keys() <= COMPING_PATTERNS.keys() for part in style.comping)
    assert style.grooves.keys() <= GROOVES.keys()
    assert set(style.kits) <= set(DRUM_KITS)
    for part in (style.bass, *style.comping, style.lead):
        assert part.instruments.keys() <= INSTRUMENTS.keys()
    assert style.scales.keys() == {"major", "minor"}
    assert all(weights.keys() <= SCALES.keys() for weights in style.scales.values())
    for progression in (*style.major_progressions, *style.minor_progressions):
        assert parse_progression(progression)


def test_every_pattern_groove_and_instrument_is_used():
    parts = [part for style in STYLES.values() for part in style.comping]
    assert {name for part in parts for name in part.patterns} == COMPING_PATTERNS.keys()
    assert {name for style in STYLES.values() for name in style.bass.patterns} == BASS_PATTERNS.keys()
    assert {name for style in STYLES.values() for name in style.grooves} == GROOVES.keys()
    played = [part for style in STYLES.values() for part in (style.bass, *style.comping, style.lead)]
    assert {name for part in played for name in part.instruments} == INSTRUMENTS.keys()


@pytest.mark.parametrize(("grooves", "steps"), [(GROOVES, 16), (TRIPLE_GROOVES, 12)])
def test_grids_fill_a_bar_and_every_drum_has_a_voice(grooves, steps):
    for grid in grooves.values():
        assert grid.keys() <= DRUM_VOICES.keys()
        assert all(len(row) == steps and set(row) <= set(".123456789") for row in grid.values())


def test_every_preset_has_a_patch_and_is_held_out_or_not():
    regular = [program for instrument in INSTRUMENTS.values() for program in instrument.programs]
    held_out = [program for instrument in INSTRUMENTS.values() for program in instrument.held_out]
    assert len(set(regular + held_out)) == len(regular) + len(held_out)
    assert PATCHES.keys() == {*regular, *held_out}
    assert DRUM_KIT_SOUNDS.keys() == {*DRUM_KITS, *HELD_OUT_DRUM_KITS}
    assert not set(DRUM_KITS) & set(HELD_OUT_DRUM_KITS)


def test_captions_have_words_for_every_style_and_instrument():
    assert STYLE_WORDS.keys() == STYLES.keys()
    assert INSTRUMENT_WORDS.keys() == set(INSTRUMENT_LABELS)
    assert {*STYLES, *INSTRUMENT_LABELS} < set(TAGS)
