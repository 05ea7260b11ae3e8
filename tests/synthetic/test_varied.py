"""Varied songs: additional instruments, octaves, voices, noises and sections."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest

from mulap_hf.errors import MulapError
from mulap_hf.synthetic import INSTRUMENT_LABELS, STYLE_NAMES, CorpusConfig, make_clip, write_corpus, write_parquet
from mulap_hf.synthetic.__main__ import main
from mulap_hf.synthetic.arrangement import KINDS
from mulap_hf.synthetic.compose import compose
from mulap_hf.synthetic.instruments import EXTRA_INSTRUMENTS, INSTRUMENTS, NOISES, VOICES
from mulap_hf.synthetic.song import Note, Track
from mulap_hf.synthetic.synth import NumpySynth

VARIED = CorpusConfig(clip_seconds=4.0, composition="varied", production="varied", caption_style="varied")


def songs(number, duration=9.0, **options):
    return [
        compose(np.random.default_rng([5, index]), STYLE_NAMES[index % 12], duration, **options)
        for index in range(number)
    ]


@pytest.fixture(scope="module")
def varied():
    return songs(120, varied=True)


@pytest.fixture(scope="module")
def plain():
    return songs(120)


def tracks_of(songs):
    return [track for song in songs for track in song.tracks]


def test_additional_instruments_voices_and_noises_play_beside_the_others(varied, plain):
    played = Counter(track.instrument for track in tracks_of(varied))
    assert not EXTRA_INSTRUMENTS.keys() & {track.instrument for track in tracks_of(plain)}
    assert len(EXTRA_INSTRUMENTS.keys() & played.keys()) > 20
    leads = [track for track in tracks_of(varied) if track.role == "lead"]
    assert np.mean([track.instrument in VOICES for track in leads]) == pytest.approx(0.25, abs=0.12)
    assert sum(played[name] for name in NOISES) > 2
    assert len(INSTRUMENTS.keys() & played.keys()) > 20


@pytest.mark.parametrize("name", EXTRA_INSTRUMENTS)
def test_the_synthesizer_plays_every_additional_instrument(name):
    extra = EXTRA_INSTRUMENTS[name]
    notes = [Note(0.1, 0.7, pitch, 100) for pitch in extra.pitches]
    track = Track("lead", name, extra.program, notes=notes)
    (stem,) = NumpySynth().stems([track], 1.0, np.random.default_rng(0))
    assert NumpySynth().can_play(track)
    assert 0.003 < np.sqrt(np.mean(stem**2)) < 0.3 and np.abs(stem).max() < 1.5
    assert extra.label in ("", *INSTRUMENT_LABELS)
    assert set(extra.replaces) <= set(INSTRUMENTS)


def test_a_voice_has_vibrato_and_formants_and_noise_has_no_pitch():
    def spectrum(name, pitch):
        track = Track("lead", name, EXTRA_INSTRUMENTS[name].program, notes=[Note(0.0, 2.0, pitch, 100)])
        (stem,) = NumpySynth().stems([track], 2.0, np.random.default_rng(0))
        return np.abs(np.fft.rfft(stem[8000:24000] * np.hanning(16000))) ** 2  # 1 Hz per bin

    voice, noise = spectrum("male voice", 50), spectrum("waves", 60)
    assert voice[550:900].sum() > 3 * voice[1500:2100].sum()  # the first formant
    flatness = [np.exp(np.mean(np.log(part[200:1500] + 1e-12))) / part[200:1500].mean() for part in (voice, noise)]
    assert flatness[0] < 0.1 < flatness[1]


def test_octaves_and_registers_are_wider(varied, plain):
    def spread(songs, role):
        return np.std(
            [np.mean([note.pitch for note in track.notes]) for track in tracks_of(songs) if track.role == role]
        )

    assert spread(varied, "lead") > 1.15 * spread(plain, "lead")
    assert spread(varied, "comping") > 1.3 * spread(plain, "comping")
    pitches = [note.pitch for track in tracks_of(varied) if not track.is_drums for note in track.notes]
    assert min(pitches) >= 20 and max(pitches) <= 108


def test_a_long_song_has_an_intro_choruses_and_an_outro():
    for song in songs(8, duration=100.0, varied=True):
        kinds = [section.kind for section in song.sections]
        assert kinds[0] == "intro" and kinds[-1] == "outro" and "chorus" in kinds and set(kinds) <= set(KINDS)
        assert song.sections[0].start == 0 and song.sections[-1].end == 100
        for first, second in zip(song.sections, song.sections[1:], strict=False):
            assert first.end == second.start


def test_sections_differ_in_density_and_dynamics():
    """Both relative to the whole song, because songs differ more than sections."""
    density, velocity = {kind: [] for kind in KINDS}, {kind: [] for kind in KINDS}
    for song in songs(12, duration=100.0, varied=True):
        notes = [note for track in song.tracks for note in track.notes]
        loudness = np.mean([note.velocity for note in notes])
        for section in song.sections:
            inside = [note.velocity for note in notes if section.start <= note.start < section.end]
            if inside:
                density[section.kind].append(len(inside) / (section.end - section.start) / (len(notes) / 100))
                velocity[section.kind].append(np.mean(inside) / loudness)
    density, velocity = ({kind: np.mean(part[kind]) for kind in KINDS} for part in (density, velocity))
    assert density["chorus"] > 1.1 * density["verse"] > 1.1 * density["break"]
    assert velocity["chorus"] > 1.1 * velocity["verse"] > 1.1 * velocity["break"]


def test_varied_clips_have_consistent_labels_on_disk(tmp_path):
    folder = write_corpus(VARIED, "train", 4, tmp_path, num_workers=1, progress=False)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    for index, row in enumerate(rows):
        clip = make_clip(VARIED, "train", index)
        audio = clip.pop("audio")
        del row["file_name"]
        assert row == json.loads(json.dumps(clip))
        assert np.isfinite(audio).all() and 0.05 < np.abs(audio).max() <= 1
        assert set(clip["instruments"]) <= set(clip["tags"]) and "" not in clip["tags"]
        assert clip["sections"] and set(clip["instruments"]) <= set(INSTRUMENT_LABELS)
    (path,) = write_parquet(VARIED, "test", 1, tmp_path / "parquet", num_workers=1, progress=False)
    (row,) = pyarrow.parquet.read_table(path).to_pylist()
    assert row["sections"] == make_clip(VARIED, "test", 0)["sections"]


def test_held_out_presets_stay_the_only_ones_of_their_split():
    for song in songs(24, varied=True, held_out_presets=True):
        assert not EXTRA_INSTRUMENTS.keys() & {track.instrument for track in song.tracks}


def test_caption_style_and_production_leave_the_notes_alone():
    clips = [
        make_clip(replace(VARIED, caption_style=style, production=production), "train", 3)
        for style, production in (("plain", "plain"), ("varied", "plain"), ("varied", "varied"))
    ]
    assert clips[0]["audio"].tobytes() == clips[1]["audio"].tobytes()
    assert clips[0]["caption"] != clips[1]["caption"]
    assert clips[0]["tracks"] == clips[1]["tracks"] == clips[2]["tracks"]


def test_the_command_line_takes_the_options(tmp_path):
    options = ["--composition", "varied", "--captions", "varied", "--production", "varied", "--num_workers", "1"]
    main(["--output", str(tmp_path), "--num_clips", "1", "--clip_seconds", "2", *options])
    settings = json.loads((tmp_path / "corpus.json").read_text())
    assert [settings[name] for name in ("composition", "production", "caption_style")] == ["varied"] * 3
    with pytest.raises(MulapError, match=r"other settings: caption_style \('varied', now None\)"):
        main(["--output", str(tmp_path), "--num_clips", "1", "--clip_seconds", "2", *options[:2], *options[4:]])


def test_unknown_settings_are_refused():
    with pytest.raises(MulapError, match="unknown composition 'free'; choose one of plain, varied"):
        CorpusConfig(composition="free")
    with pytest.raises(MulapError, match="unknown caption_style 'long'; choose one of plain, varied"):
        CorpusConfig(caption_style="long")
