"""Which files of a folder are audio, by name and content, and what is said of the others."""

import os

import numpy as np
import pytest
import soundfile as sf
from helpers import write_tone

from mulap_hf import AudioError
from mulap_hf.audio_search import find_audio_files

APPLE_DOUBLE = bytes.fromhex("0005160700020000") + b"Mac OS X        " + bytes(4000)


def test_names_and_order(tmp_path):
    for name in ("b.wav", "sub/a.FLAC", "sub/c.m4a", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    expected = [tmp_path / "b.wav", tmp_path / "sub" / "a.FLAC", tmp_path / "sub" / "c.m4a"]
    assert find_audio_files([tmp_path]).files == expected
    assert find_audio_files([tmp_path / "notes.txt", tmp_path]).files == [tmp_path / "notes.txt", *expected]
    with pytest.raises(AudioError, match="nowhere does not exist"):
        find_audio_files([tmp_path / "nowhere"])


def test_links_to_folders_are_followed_once(tmp_path):
    for name in ("disk/b.wav", "music/a.wav"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "music" / "disk").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "back").symlink_to(tmp_path / "music")
    found = find_audio_files([tmp_path / "music"])
    assert found.files == [tmp_path / "music" / "a.wav", tmp_path / "music" / "disk" / "b.wav"]


def test_audio_of_other_names_is_found_by_its_content(tmp_path):
    tone = np.sin(np.arange(16000) / 20).astype(np.float32)
    for name, format in (("track01", "FLAC"), ("take.bak", "WAV"), ("cd.0", "OGG"), ("song", "MP3")):
        sf.write(tmp_path / name, tone, 16000, format=format)
    for name, content in {
        "cover.jpg": b"\xff\xd8\xff\xe0" + bytes(range(256)) * 50,
        "film.mkv": b"\x1a\x45\xdf\xa3" + bytes(100),
        "photo.heic": b"\0\0\0\x18ftypheic" + bytes(100),
        "data.mat": b"MATLAB 5.0 MAT-file" + bytes(100),
        "README": b"text",
        "list.txt": b"text",
        "notes.txt": b"\xff\xfb\x90 text that begins like an mp3",
    }.items():
        (tmp_path / name).write_bytes(content)
    found = find_audio_files([tmp_path])
    assert [path.name for path in found.files] == ["cd.0", "song", "take.bak", "track01"]
    assert found.summary() == [
        f".heic files: 1, first {tmp_path / 'photo.heic'}",
        f".jpg files: 1, first {tmp_path / 'cover.jpg'}",
        f".mat files: 1, first {tmp_path / 'data.mat'}",
        f".mkv files: 1, first {tmp_path / 'film.mkv'}",
        f".txt files: 2, first {tmp_path / 'list.txt'}",
        f"files without an extension: 1, first {tmp_path / 'README'}",
    ]


def test_what_systems_leave_is_ignored(tmp_path):
    write_tone(tmp_path / "ok.wav")
    for name in ("._ok.wav", "__MACOSX/._ok.wav", "__MACOSX/ok.wav", "@eaDir/ok.wav", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(APPLE_DOUBLE)
    found = find_audio_files([tmp_path, tmp_path])
    assert found.files == [tmp_path / "ok.wav"]
    assert found.summary() == []


def test_what_is_not_a_file_is_listed(tmp_path):
    write_tone(tmp_path / "ok.wav")
    (tmp_path / "track.wav").symlink_to("annex-object-not-here")
    (tmp_path / ".ok.wav.part").write_bytes((tmp_path / "ok.wav").read_bytes())
    os.mkfifo(tmp_path / "pipe.wav")
    found = find_audio_files([tmp_path, tmp_path])
    assert found.files == [tmp_path / "ok.wav"]
    assert found.summary() == [
        f"hidden files: 1, first {tmp_path / '.ok.wav.part'}",
        f"links to files that do not exist: 1, first {tmp_path / 'track.wav'}",
        f"pipes, sockets and devices: 1, first {tmp_path / 'pipe.wav'}",
    ]
    # Named on the command line, it is to be read: the error says why it cannot.
    assert find_audio_files([tmp_path / "track.wav"]).files == [tmp_path / "track.wav"]
