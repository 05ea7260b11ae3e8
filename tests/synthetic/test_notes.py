import numpy as np
import pytest

from mulap_hf.synthetic import NOTE_FAMILIES, make_note
from mulap_hf.synthetic.instruments import INSTRUMENTS


@pytest.fixture(scope="module")
def notes():
    from mulap_hf.synthetic import CorpusConfig

    return [make_note(CorpusConfig(), "train", index) for index in range(220)]


def test_fields_of_a_note_are_consistent(notes):
    for note in notes:
        assert note["audio"].dtype == np.float32 and note["audio"].shape == (64_000,)
        assert INSTRUMENTS[note["instrument"]].family == note["family"]
        assert note["program"] in INSTRUMENTS[note["instrument"]].programs
        assert np.mean(note["audio"] ** 2) > 1e-5


def test_families_are_balanced_and_have_the_same_pitch_range(notes):
    families = [note["family"] for note in notes]
    assert {family: families.count(family) for family in NOTE_FAMILIES} == dict.fromkeys(NOTE_FAMILIES, 20)
    assert len(NOTE_FAMILIES) == 11
    pitches = np.array([note["pitch"] for note in notes])
    assert pitches.min() >= 36 and pitches.max() <= 84
    means = [np.mean([note["pitch"] for note in notes if note["family"] == family]) for family in NOTE_FAMILIES]
    # Uniform over 49 pitches: one note has a standard deviation of 14.1.
    np.testing.assert_allclose(means, 60, atol=4 * 14.1 / np.sqrt(20))


def test_audio_has_the_labeled_pitch(notes):
    """The strongest frequency is a multiple of the fundamental."""
    right = 0
    chosen = [note for note in notes if note["family"] in ("organ", "string", "reed") and note["pitch"] > 60][:20]
    for note in chosen:
        spectrum = np.abs(np.fft.rfft(note["audio"][8_000:40_000] * np.hanning(32_000)))
        frequency = np.argmax(spectrum) / 2
        semitones = 12 * np.log2(frequency / (440 * 2 ** ((note["pitch"] - 69) / 12)))
        right += min(abs(semitones - 12 * np.log2(multiple)) for multiple in range(1, 9)) < 0.5
    assert right >= 0.9 * len(chosen)


def test_notes_are_reproducible_and_splits_differ(config):
    first, again = (make_note(config, "test", 5)["audio"] for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert not np.array_equal(first, make_note(config, "validation", 5)["audio"])


def test_test_presets_has_held_out_presets_only(config):
    for index in range(44):
        note = make_note(config, "test_presets", index)
        assert note["program"] in INSTRUMENTS[note["instrument"]].held_out
