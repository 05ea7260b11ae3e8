import pytest

from mulap_hf.synthetic.theory import parse_chord, parse_progression, scale_pitch_classes, voice_chord


@pytest.mark.parametrize(
    ("symbol", "in_c"),
    [
        ("I", [0, 4, 7]),
        ("ii7", [2, 5, 9, 0]),
        ("V7", [7, 11, 2, 5]),
        ("bVII", [10, 2, 5]),
        ("#Idim", [1, 4, 7]),
        ("bIIIM7", [3, 7, 10, 2]),
        ("iim7b5", [2, 5, 8, 0]),
        ("i5", [0, 7, 0]),
        ("I9", [0, 4, 10, 2]),
        ("iv9", [5, 8, 3, 7]),
        ("Iadd9", [0, 4, 7, 2]),
        ("Vsus", [7, 0, 2]),
    ],
)
def test_chord_symbols(symbol, in_c):
    assert parse_chord(symbol).pitch_classes(tonic=0) == in_c
    assert parse_chord(symbol).pitch_classes(tonic=9) == [(pitch + 9) % 12 for pitch in in_c]


@pytest.mark.parametrize("symbol", ["", "H", "IIII", "I13", "Iv", "bb", "v V"])
def test_invalid_chord_symbols_are_refused(symbol):
    with pytest.raises(ValueError, match="not a chord symbol"):
        parse_chord(symbol)


def test_thirds():
    assert [chord.third for chord in parse_progression("I i V5")] == [4, 3, 7]


def test_voicings_stay_in_range_and_move_by_small_steps():
    voicing = None
    for chord in parse_progression("I V vi iii IV I ii7 V7"):
        previous, voicing = voicing, voice_chord(chord, tonic=4, center=60, previous=voicing)
        assert {pitch % 12 for pitch in voicing} == set(chord.pitch_classes(4))
        assert voicing[0] >= 48 and voicing[-1] <= 76
        if previous:
            assert max(min(abs(pitch - old) for old in previous) for pitch in voicing) <= 6


def test_scale():
    assert scale_pitch_classes(9, "minor") == [9, 11, 0, 2, 4, 5, 7]
