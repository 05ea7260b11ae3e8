"""Folders of audio without a table: captions of the tags in the files, and training without captions."""

import sys

import mutagen.flac
import mutagen.id3
import mutagen.oggvorbis
import mutagen.wave
import numpy as np
import pytest
import soundfile
from layouts import write_audio, write_broken
from mutagen.mp4 import MP4, MP4Cover, MP4FreeForm

from mulap_hf.data.audio_tags import folder_table, read_tags
from mulap_hf.data.corpora import CORPORA
from mulap_hf.data.prepare import prepare
from mulap_hf.data.streams import has_split, open_pairs
from mulap_hf.errors import DataError, MissingPackageError

CAPTION = "{title} by {artist}. {genre}, {bpm} bpm"


@pytest.fixture
def folder(tmp_path):
    """The same tags in each format, and a file without any."""
    for number, suffix in enumerate(("mp3", "flac", "ogg", "wav")):
        write_audio(tmp_path / "music" / f"{number}.{suffix}", number)
    frames = [
        mutagen.id3.TIT2(text="Blue"),
        mutagen.id3.TPE1(text="Ann"),
        mutagen.id3.TCON(text="(17)"),
        mutagen.id3.TBPM(text="90"),
        mutagen.id3.COMM(lang="eng", desc="iTunNORM", text="0000 1111"),
        mutagen.id3.COMM(lang="eng", desc="", text="calm"),
        mutagen.id3.TXXX(desc="ENERGY", text="7"),
    ]
    mp3 = mutagen.id3.ID3()
    wav = mutagen.wave.WAVE(tmp_path / "music" / "3.wav")
    wav.add_tags()
    for frame in frames:
        mp3.add(frame)
        wav.tags.add(frame)
    mp3.save(tmp_path / "music" / "0.mp3")
    wav.save()
    for kind, name in ((mutagen.flac.FLAC, "1.flac"), (mutagen.oggvorbis.OggVorbis, "2.ogg")):
        file = kind(tmp_path / "music" / name)
        file.update(
            {"TITLE": "Blue", "artist": "Ann", "GENRE": ["Rock"], "bpm": "90", "Comment": "calm", "energy": "7"}
        )
        file.save()
    write_audio(tmp_path / "music" / "sub" / "none.wav", 9)
    return tmp_path / "music"


def test_tags_of_each_format_have_the_same_names(folder):
    expected = {"title": "Blue", "artist": "Ann", "genre": "Rock", "bpm": "90", "comment": "calm", "energy": "7"}
    for path in sorted(folder.glob("*.*")):
        found = read_tags(path)
        assert {name: found[name] for name in expected} == expected
        assert found.keys() <= {*expected, "encoder"}  # which libsndfile writes
    assert read_tags(folder / "sub" / "none.wav") == {}
    assert read_tags(write_broken(folder / "broken.mp3")) == {}


def test_tags_of_mp4(tmp_path):
    av = pytest.importorskip("av")
    with av.open(tmp_path / "a.m4a", "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    file = MP4(tmp_path / "a.m4a")
    file["\xa9nam"], file["tmpo"], file["covr"] = ["Blue"], [90], [MP4Cover(b"picture")]
    file["----:com.apple.iTunes:MOOD"] = [MP4FreeForm(b"calm")]
    file.save()
    tags = read_tags(tmp_path / "a.m4a")
    assert {name: tags[name] for name in ("title", "bpm", "mood")} == {"title": "Blue", "bpm": "90", "mood": "calm"}


def test_captions_of_tags(folder, tmp_path):
    with pytest.raises(DataError, match=r"no table was found; .*or compose captions of the tags .*--caption '{title}"):
        open_pairs(folder)
    pairs = open_pairs(folder, caption=CAPTION)
    assert pairs.captions() == ["Blue by Ann. Rock, 90 bpm"] * 4
    assert pairs.ids == ["0.mp3", "1.flac", "2.ogg", "3.wav"]
    assert [(item.id, item.reason) for item in pairs.skipped] == [("sub/none.wav", "no caption")]
    report = prepare(CORPORA["audiofolder"], folder, tmp_path / "out", progress=False, caption=CAPTION)
    assert report.rows == 4
    with pytest.raises(DataError, match=r"no column 'mood' for --caption '\{mood\}'; its columns are 'file_name'"):
        open_pairs(folder, caption="{mood}")


def test_audio_alone_where_captions_are_not_needed(folder):
    pairs = open_pairs(folder, needs_captions=False)
    rows = list(pairs.dataset)
    assert [row["id"] for row in rows] == ["0.mp3", "1.flac", "2.ogg", "3.wav", "sub/none.wav"]
    assert all(row["caption"] is None and row["problem"] is None for row in rows)
    train, validation = pairs.hold_out(0.4)
    assert train.num_pairs + validation.num_pairs == 5
    assert not has_split(folder, "validation", needs_captions=False)


def test_folders_of_splits_without_a_table(tmp_path):
    for number, name in enumerate(("train/a.wav", "train/x/b.wav", "dev/c.wav")):
        write_audio(tmp_path / name, number)
    assert has_split(tmp_path, "validation", needs_captions=False)
    assert open_pairs(tmp_path, "validation", needs_captions=False).ids == ["dev/c.wav"]
    names = [row["file_name"] for row in folder_table(tmp_path, with_tags=False).rows]
    assert names == ["dev/c.wav", "train/a.wav", "train/x/b.wav"]


def test_a_folder_with_other_files_only(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="and no audio files; check the path"):
        open_pairs(tmp_path, needs_captions=False)


def test_tags_need_mutagen(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "mutagen", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'mulap-hf\[tables\]'"):
        open_pairs(folder, caption=CAPTION)
    assert open_pairs(folder, needs_captions=False).num_pairs == 5  # which reads none


def test_silence_is_still_a_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 16000)
    assert open_pairs(tmp_path, needs_captions=False).num_pairs == 1
