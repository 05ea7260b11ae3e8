"""Solos: clips of a single melodic instrument."""

from itertools import pairwise

import numpy as np
import pytest

from mulap_hf.errors import DataError
from mulap_hf.synthetic import STYLE_NAMES, CorpusConfig, make_clip
from mulap_hf.synthetic.compose import compose
from mulap_hf.synthetic.generate import fingerprint
from mulap_hf.synthetic.instruments import EXTRA_INSTRUMENTS, INSTRUMENTS, NOISES
from mulap_hf.synthetic.theory import SCALES


def songs(number, **options):
    composed = (
        compose(np.random.default_rng([6, index]), STYLE_NAMES[index % 12], 6.0, **options) for index in range(number)
    )
    return [song for song in composed if song.tracks]  # a melody may begin after the clip


def test_any_melodic_instrument_plays_alone_in_its_range():
    solos = songs(400, solos=1.0)
    assert {len(song.tracks) for song in solos} == {1}
    played = {song.tracks[0].instrument for song in solos}
    assert played == (INSTRUMENTS.keys() | EXTRA_INSTRUMENTS.keys()) - NOISES.keys()
    for song in solos:
        (track,) = song.tracks
        low, high = (
            INSTRUMENTS[track.instrument].lead_range
            if track.instrument in INSTRUMENTS
            else EXTRA_INSTRUMENTS[track.instrument].pitches
        )
        assert abs(np.mean([note.pitch for note in track.notes]) - (low + high) / 2) <= (high - low) / 2 + 6
        assert song.groove == "none"


def test_separate_notes_are_in_the_key_one_after_the_other_and_vary_in_length_and_loudness():
    separate = [
        song
        for song in songs(200, solos=1.0)
        if all((note.pitch - song.tonic) % 12 in SCALES[song.mode] for note in song.tracks[0].notes)
        and all(a.end <= b.start for a, b in zip(song.tracks[0].notes, song.tracks[0].notes[1:], strict=False))
    ]
    assert len(separate) >= 110  # six of ten, and some melodies
    notes = [note for song in separate for note in song.tracks[0].notes]
    lengths = [note.end - note.start for note in notes]
    assert np.quantile(lengths, 0.05) < 0.4
    assert np.quantile(lengths, 0.95) > 1.2
    assert len({note.velocity for note in notes}) >= 6


def test_in_three_of_ten_solos_silence_follows_each_note():
    solos = [song.tracks[0].notes for song in songs(300, solos=1.0) if len(song.tracks[0].notes) > 1]
    silences = [np.median([b.start - a.end for a, b in pairwise(notes)]) for notes in solos]
    assert 0.2 <= np.mean(np.array(silences) > 0.8) <= 0.4


def test_held_out_presets_play_solos_of_test_presets():
    solos = songs(60, solos=1.0, held_out_presets=True)
    assert all(song.tracks[0].program in INSTRUMENTS[song.tracks[0].instrument].held_out for song in solos)


def test_the_fraction_is_that_of_the_clips_and_0_changes_nothing():
    assert np.mean([len(song.tracks) == 1 for song in songs(300, solos=0.4)]) == pytest.approx(0.42, abs=0.08)
    assert songs(3, solos=0.0) == songs(3)
    assert "solo_fraction" not in fingerprint(CorpusConfig())
    assert fingerprint(CorpusConfig(solo_fraction=0.5))["solo_fraction"] == 0.5
    with pytest.raises(DataError, match=r"solo_fraction must be from 0 to 1, got 1\.5"):
        CorpusConfig(solo_fraction=1.5)


def test_captions_of_solos_name_the_instrument_more_often():
    config = CorpusConfig(clip_seconds=2.0, solo_fraction=1.0)
    clips = [make_clip(config, "train", index) for index in range(40)]
    labeled = [clip for clip in clips if clip["instruments"]]
    named = [clip["instruments"][0] in clip["caption_right"] + clip["caption_wrong"] for clip in labeled]
    assert len(labeled) >= 15
    assert np.mean(named) > 0.65  # of songs: 0.5
