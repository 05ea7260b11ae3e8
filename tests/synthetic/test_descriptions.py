"""Varied captions, and the comparison of their words with those of real captions."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mulap_hf.errors import MulapError
from mulap_hf.synthetic import CaptionRates, CorpusConfig
from mulap_hf.synthetic.__main__ import main
from mulap_hf.synthetic.compose import compose
from mulap_hf.synthetic.description_words import SENTENCES
from mulap_hf.synthetic.descriptions import write_description
from mulap_hf.synthetic.effects import draw_effects
from mulap_hf.synthetic.instruments import VOICES
from mulap_hf.synthetic.production import draw_production
from mulap_hf.synthetic.styles import STYLE_NAMES
from mulap_hf.synthetic.traits import traits_of
from mulap_hf.synthetic.word_comparison import compare_words, frequent_words, read_captions

PERFECT = CaptionRates(drop=0, wrong=0, irrelevant=0, extra_sentence=0, typo=0, lower_case=0)
CLEAN = replace(draw_production(np.random.default_rng(0), 0.0), recording="studio")


@pytest.fixture(scope="module")
def songs():
    return [
        compose(np.random.default_rng([9, index]), STYLE_NAMES[index % 12], 9.0, varied=True) for index in range(72)
    ]


def captions(song, effects, number=12, rates=PERFECT):
    return [
        write_description(song, song.tracks, effects, np.random.default_rng([index, 7]), rates).text
        for index in range(number)
    ]


def test_captions_are_sentences_without_gaps(songs):
    for song in songs:
        for text in captions(song, CLEAN, 6, replace(PERFECT, drop=0.5)):
            assert text[0].isupper() or text[0].isdigit() or not text[0].isalpha()
            assert "{" not in text and "  " not in text and " ," not in text and " ." not in text, text
            for wrong in (" a a", " an b", " a e", " a i", " of .", " with .", " by .", " None"):
                assert wrong not in text.replace("4/4", ""), text


@pytest.mark.parametrize(
    ("settings", "trait"),
    [
        ({"hiss": 15.0}, "noisy"),
        ({"hum": 20.0}, "hum"),
        ({"crackles": 100}, "crackles"),
        ({"room": "hall", "room_time": 2.0, "room_level": -6.0}, "reverberant"),
        ({"saturation": "tape", "drive": 12.0}, "distorted"),
        ({"low_pass": 2000.0}, "muffled"),
        ({"high_pass": 300.0}, "thin"),
        ({"low_shelf": (100.0, 8.0)}, "boomy"),
        ({"codec": "mp3", "quality": 0.1}, "compressed file"),
        ({"ratio": 6.0}, "compressed"),
        ({"level": -28.0}, "quiet"),
        ({"recording": "lo-fi"}, "lo-fi"),
    ],
)
def test_the_recording_is_described_as_it_was_made(songs, settings, trait):
    song, effects = songs[0], replace(CLEAN, **settings)
    assert trait in traits_of(song, song.tracks, effects) and trait not in traits_of(song, song.tracks, CLEAN)
    said, not_said = (" ".join(captions(song, chain, 150)) for chain in (effects, CLEAN))
    assert any(sentence in said for sentence in SENTENCES[trait])
    assert not any(sentence in not_said for sentence in SENTENCES[trait])


def test_plain_effects_are_described_too(songs):
    effects = replace(draw_effects(np.random.default_rng(0), 0.0), snr=20.0, reverb_time=2.0, reverb_level=0.3)
    assert {"noisy", "reverberant"} <= traits_of(songs[0], songs[0].tracks, effects)


def test_traits_follow_from_the_notes(songs):
    for song in songs:
        traits = traits_of(song, song.tracks, CLEAN)
        names = {track.instrument for track in song.tracks}
        assert ("voice" in traits) == bool(VOICES.keys() & names)
        if "voice" in traits:
            assert "instrumental" not in " ".join(captions(song, CLEAN, 20)).lower()
        assert ("no drums" in traits) == ("drums" not in names)
        assert ("triple" in traits) == (song.beats_per_bar == 3)
        assert ("fast" in traits) == (song.tempo >= 120)
        assert "solo" not in traits or len({track.role for track in song.tracks} - {"noise"}) == 1
        if {"ascending", "descending"} & traits:
            pitches = [note.pitch for track in song.tracks if track.role == "lead" for note in track.notes]
            half = len(pitches) // 2
            assert (np.mean(pitches[half:]) > np.mean(pitches[:half])) == ("ascending" in traits)


def test_wrong_and_irrelevant_captions_occur_as_asked(songs):
    song = songs[1]
    wrong = [
        write_description(song, song.tracks, CLEAN, np.random.default_rng(index), replace(PERFECT, wrong=1.0))
        for index in range(40)
    ]
    assert all("style" in caption.wrong and "style" not in caption.right for caption in wrong)
    assert len(set(captions(song, CLEAN, 200))) > 150


def test_frequent_words_leave_function_words_out():
    words = frequent_words(["The slow piano and the slow strings.", "A piano plays."], 2)
    assert words == {"slow": 2, "piano": 2}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id,caption\n1,"a ""slow"" song, with piano"\n2,a blorp\n'),
        ("a.tsv", "caption\tid\na slow song with piano\t1\na blorp\t2\n"),
        ("a.jsonl", json.dumps({"caption": "a slow song with piano"}) + "\n" + json.dumps({"caption": "a blorp"})),
        ("a.txt", "a slow song with piano\n\na blorp\n"),
    ],
)
def test_the_command_compares_the_words_of_a_file(tmp_path, name, content, capsys, monkeypatch):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert len(read_captions(tmp_path / name)) == 2
    report = compare_words(read_captions(tmp_path / name), CorpusConfig(clip_seconds=3.0), 24)
    assert "4 most frequent content words of 2 captions" in report
    assert "| varied | 3 | 0.750 | 0.750 |" in report
    assert "Not used by varied captions, most frequent first: blorp." in report
    if name == "a.csv":
        monkeypatch.setattr("mulap_hf.synthetic.word_comparison.generated_words", lambda *_: {"slow": 1})
        main(["--compare_words", str(tmp_path / name)])
        assert "| plain | 1 | 0.250 | 0.250 |" in capsys.readouterr().out


def test_files_without_captions_are_named(tmp_path):
    for name, content, message in (
        ("a.csv", "text\nhello\n", r"a\.csv has no column 'caption' in every row"),
        ("b.jsonl", '{"text": "hello"}\n', r"b\.jsonl has no column 'caption'"),
        ("c.jsonl", "hello\n", r"c\.jsonl cannot be read as UTF-8 jsonl"),
        ("d.csv", "caption\n", r"d\.csv has no captions"),
        ("e.mp3", "", r"e\.mp3 is not a file of captions; pass a \.csv"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(MulapError, match=message):
            main(["--compare_words", str(tmp_path / name)])
    with pytest.raises(MulapError, match=r"nowhere\.csv does not exist"):
        main(["--compare_words", str(tmp_path / "nowhere.csv")])


def test_either_a_folder_or_a_file_of_captions_is_required(capsys):
    with pytest.raises(SystemExit):
        main(["--num_clips", "3"])
    assert "--output --compare_words is required" in capsys.readouterr().err
