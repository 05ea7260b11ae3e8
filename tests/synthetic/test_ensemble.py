"""Several soundfonts and the synthesizer in one corpus."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from soundfonts import write_soundfont

from mulap_hf.errors import MulapError
from mulap_hf.synthetic import CorpusConfig, make_clip, make_note, write_corpus
from mulap_hf.synthetic.__main__ import main
from mulap_hf.synthetic.factors import make_triplet
from mulap_hf.synthetic.generate import fingerprint, players_for
from mulap_hf.synthetic.song import Note, Track

pytest.importorskip("tinysoundfont")


@pytest.fixture(scope="module")
def fonts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fonts")
    return tuple(str(write_soundfont(folder / name, overtones)) for name, overtones in (("a.sf2", 3), ("b.sf3", 9)))


@pytest.fixture
def mixed(fonts):
    return CorpusConfig(clip_seconds=2.0, soundfont=fonts, synthesizer_fraction=0.4)


def test_an_sf3_file_sounds_like_its_sf2_file(config, tmp_path):
    sounds = [
        make_note(replace(config, soundfont=str(write_soundfont(tmp_path / name)), effect_strength=0.0), "train", 0)
        for name in ("tone.sf2", "tone.sf3")
    ]
    assert np.corrcoef(sounds[0]["audio"], sounds[1]["audio"])[0, 1] > 0.999
    assert sounds[0]["renderer"] != sounds[1]["renderer"]


def test_tracks_of_a_song_come_from_several_renderers_in_the_given_proportion(mixed):
    players = players_for(mixed, "train")
    tracks = [Track("lead", "piano", 0, notes=[Note(0, 1, 60, 90)])] * 5
    songs = [
        [player.name for player in players.for_tracks(tracks, np.random.default_rng(seed)).players]
        for seed in range(400)
    ]
    counts = Counter(name for song in songs for name in song)
    assert len(counts) == 3
    assert counts["numpy"] / 2000 == pytest.approx(0.4, abs=0.06)
    several = np.mean([len(set(song)) > 1 for song in songs])
    assert 0.4 < several < 0.95  # some songs have a single renderer, more have several


def test_without_a_synthesizer_fraction_only_soundfonts_play(fonts):
    names = {player.name for player in players_for(CorpusConfig(soundfont=fonts), "train").renderers}
    assert len(names) == 2 and "numpy" not in names


def test_a_soundfont_without_a_preset_leaves_it_to_another_renderer(mixed):
    """The soundfonts of these tests have a single preset, 0, so the synthesizer plays all others."""
    players = players_for(replace(mixed, synthesizer_fraction=0.01), "train")
    flutes = [Track("lead", "flute", 73)] * 20
    assert {player.name for player in players.for_tracks(flutes, np.random.default_rng(0)).players} == {"numpy"}


def test_a_mixed_corpus_is_the_same_in_any_process(mixed, tmp_path):
    mixed = replace(mixed, production="varied", composition="varied", caption_style="varied")
    folder = write_corpus(mixed, "train", 6, tmp_path, num_workers=2, progress=False)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    for index, row in enumerate(rows):
        clip = make_clip(mixed, "train", index)
        del row["file_name"], clip["audio"]
        assert row == json.loads(json.dumps(clip))
    assert any("+" in row["renderer"] for row in rows)
    settings = json.loads((tmp_path / "corpus.json").read_text())
    assert len(settings["soundfont"]) == 2 and settings["synthesizer_fraction"] == 0.4


def test_the_timbre_of_a_triplet_decides_on_its_renderers(mixed):
    triplet = make_triplet(mixed, "train", "timbre", 3)
    again = make_triplet(mixed, "train", "timbre", 3)
    assert triplet["anchor"]["audio"].tobytes() == again["anchor"]["audio"].tobytes()


def test_the_settings_of_a_default_corpus_are_those_of_earlier_versions(config):
    assert set(fingerprint(config)) == {
        *("version", "seed", "clip_seconds", "sampling_rate", "soundfont", "held_out_soundfont"),
        *("effect_strength", "borrowing", "max_silence", "captions"),
    }


def test_the_held_out_soundfont_plays_no_other_split(mixed, fonts, tmp_path):
    other = str(write_soundfont(tmp_path / "c.sf2", 5))
    held_out = make_clip(replace(mixed, held_out_soundfont=other), "test_soundfont", 0)["renderer"]
    assert held_out not in {player.name for player in players_for(mixed, "train").renderers}
    with pytest.raises(MulapError, match=r"a\.sf2 is the same file as the soundfont .*a\.sf2; hold out a soundfont"):
        make_clip(replace(mixed, held_out_soundfont=fonts[0]), "test_soundfont", 0)


def test_errors_of_the_command_line_name_the_cause(tmp_path, fonts, capsys):
    broken = tmp_path / "broken.sf3"
    broken.write_bytes(write_soundfont(tmp_path / "whole.sf3").read_bytes()[:700])
    output = ["--output", str(tmp_path / "corpus"), "--num_clips", "1", "--clip_seconds", "2"]
    both = ["--soundfont", fonts[0], "--soundfont"]
    for arguments, message in (
        ([*both, str(tmp_path / "nowhere.sf3")], r"nowhere\.sf3 does not exist; pass the path"),
        ([*both, str(broken)], r"broken\.sf3 is not an SF2 or SF3 soundfont; pass the path"),
        ([*both, fonts[1], "--synthesizer_fraction", "1.5"], "must be at least 0 and below 1, got 1.5"),
        (["--synthesizer_fraction", "0.5"], "there is no soundfont to mix with"),
        (
            [*both, fonts[1], "--synthesizer_fraction", "0.5", "--split", "test_renderer"],
            "both the synthesizer and soundfonts do; use the split 'test_soundfont'",
        ),
    ):
        with pytest.raises(MulapError, match=message):
            main([*output, *arguments])
    assert not (tmp_path / "corpus").exists()
    with pytest.raises(SystemExit):
        main([*output, "--production", "loud"])
    assert "invalid choice: 'loud'" in capsys.readouterr().err
