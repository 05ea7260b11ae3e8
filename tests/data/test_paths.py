"""Names of files from other systems and programs, resolved against what lies on disk."""

import unicodedata

import pytest

from mulap_hf.data.paths import FileFinder, Unresolved, find_audio, walk
from mulap_hf.errors import AudioError


@pytest.fixture
def folder(tmp_path):
    for name in ("Rock/Café.wav", "Rock/01.wav", "Jazz/01.wav", "a b.mp3", "1004034.2min.mp3", "Rock/x.flac", "x.m4a"):
        path = tmp_path / unicodedata.normalize("NFC", name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"audio")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found", "how"),
    [
        ("a b.mp3", "a b.mp3", None),
        ("./Rock/01.wav", "Rock/01.wav", None),
        ("a%20b.mp3", "a b.mp3", "names with % escapes"),
        ("Rock\\01.wav", "Rock/01.wav", "Windows paths"),
        ("C:\\Users\\me\\Music\\Rock\\01.wav", "Rock/01.wav", "another folder"),
        ("file:///C:/Users/me/Jazz/01.wav", "Jazz/01.wav", "another folder"),
        ("file:///Users/me/Music/Rock/Caf%C3%A9.wav", "Rock/Café.wav", "another folder"),
        ("/home/me/Music/a b.mp3", "a b.mp3", "another folder"),
        (unicodedata.normalize("NFD", "Rock/Café.wav"), "Rock/Café.wav", "other case or Unicode form"),
        ("ROCK/CAFÉ.WAV", "Rock/Café.wav", "other case or Unicode form"),
        ("Café.wav", "Rock/Café.wav", "another folder"),
        ("1004034.2min", "1004034.2min.mp3", "names found with a suffix"),
        ("a b", "a b.mp3", "names found with a suffix"),
        ("x", "Rock/x.flac", "names found with a suffix"),  # which can be read, and x.m4a cannot
    ],
)
def test_names_lead_to_files_and_it_is_said_how(folder, name, found, how):
    finder = FileFinder(folder)
    assert finder.find(name) == folder / found
    notes = finder.notes()
    assert bool(notes) == (how is not None)
    if how:
        assert how in notes[0] and f"for example {name!r} as {found!r}" in notes[0]


@pytest.mark.parametrize(
    ("name", "reason", "detail"),
    [
        ("gone.wav", "no such file", "gone.wav"),
        ("Rock/Café.mp3", "no such file", "Rock/Café.mp3; there is Rock/Café.wav"),
        ("01.wav", "several files have this name", "01.wav: Jazz/01.wav, Rock/01.wav"),
        ("Pop/01.wav", "no such file", "Pop/01.wav"),
        ("https://example.org/a.mp3", "the file is a URL", "download it"),
        ("x" * 600 + ".wav", "no such file", "x.wav"),
        ("..", "no such file", ".."),
        ("Rock", "no such file", "Rock"),
    ],
)
def test_names_that_lead_to_no_single_file(folder, name, reason, detail):
    found = FileFinder(folder).find(name)
    assert isinstance(found, Unresolved)
    assert found.reason == reason and detail in found.detail


def test_two_names_do_not_share_a_file_that_neither_names_exactly(tmp_path):
    (tmp_path / "01.wav").write_bytes(b"audio")
    finder = FileFinder(tmp_path)
    assert finder.find("A/01.wav") == tmp_path / "01.wav"
    assert "01.wav is that of 'A/01.wav'" in finder.find("B/01.wav").detail
    assert finder.find("A/01.wav") == tmp_path / "01.wav"  # the same name again
    assert finder.notes()[0].startswith("2 names found")


def test_links_to_folders_are_followed_once(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.wav").write_bytes(b"audio")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "in")
    for hidden in ("__MACOSX/b.wav", ".git/c.wav", "._a.wav"):
        (tmp_path / "in" / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / hidden).write_bytes(b"audio")
    expected = [tmp_path / "in" / "link" / "a.wav"]
    assert walk(tmp_path / "in") == expected
    assert find_audio(tmp_path / "in") == (expected, [])
    assert FileFinder(tmp_path / "in").find("A.WAV") == tmp_path / "in" / "link" / "a.wav"


def test_a_folder_that_cannot_be_listed(tmp_path):
    with pytest.raises(AudioError, match="gone cannot be read: No such file"):
        walk(tmp_path / "gone")
