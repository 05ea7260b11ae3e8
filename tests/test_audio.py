"""Files of all kinds, whole and in part, good and bad."""

import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from helpers import RATE, write_tone

from mulap_hf import audio_seconds, load_audio
from mulap_hf.audio import stream_audio
from mulap_hf.errors import AudioError, AudioWarning


@pytest.mark.parametrize(("name", "error"), [("a.wav", 1e-4), ("a.flac", 1e-4), ("a.ogg", 0.05), ("a.mp3", 0.05)])
def test_formats(tmp_path, name, error):
    samples = write_tone(tmp_path / name, seconds=1.5, channels=2)
    waveform = load_audio(tmp_path / name)
    assert waveform.dtype == np.float32
    assert waveform.shape == (24000,)
    np.testing.assert_allclose(waveform, samples.mean(axis=1), atol=error)
    assert audio_seconds(tmp_path / name) == 1.5


def test_paths_bytes_and_open_files_are_the_same(tmp_path):
    path = tmp_path / "a.flac"
    write_tone(path)
    expected = load_audio(path)
    content = path.read_bytes()
    opened = io.BytesIO(content)
    for source in (str(path), content, bytearray(content), opened, opened):
        assert np.array_equal(load_audio(source), expected)


def test_a_flac_that_was_written_to_a_pipe_is_read_to_its_end(tmp_path):
    write_tone(tmp_path / "a.flac", seconds=1.5)
    content = (tmp_path / "a.flac").read_bytes()
    length = int.from_bytes(content[18:26], "big") >> 36 << 36  # of STREAMINFO: 0 samples, which means unknown
    streamed = content[:18] + length.to_bytes(8, "big") + content[26:]
    (tmp_path / "streamed.flac").write_bytes(streamed)
    for opened in (lambda: streamed, lambda: tmp_path / "streamed.flac", lambda: io.BytesIO(streamed)):
        assert np.array_equal(load_audio(opened()), load_audio(content))
        assert audio_seconds(opened()) == 1.5
        for part in ({"offset": 0.5}, {"position": 0.7}, {"position": 1.0}, {"position": 0.0}):
            expected = load_audio(content, duration=0.5, **part)
            assert np.array_equal(load_audio(opened(), duration=0.5, **part), expected)
    with pytest.raises(AudioError, match=r"offset 2 s is beyond its 1\.50 s"):
        load_audio(streamed, offset=2)


def test_positions_in_half_a_download_are_within_what_there_is(tmp_path):
    write_tone(tmp_path / "a.mp3", seconds=8)
    content = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "half.mp3").write_bytes(content[: len(content) // 2])
    with pytest.warns(AudioWarning, match=r"half\.mp3: it ends early, after 3\.\d\d s of the 8\.\d\d s in its header"):
        there = len(load_audio(tmp_path / "half.mp3"))
    assert 3 * RATE < there < 4 * RATE
    assert audio_seconds(tmp_path / "half.mp3") == there / RATE
    problems = []
    for position in (0, 0.9, 1):
        clip = load_audio(tmp_path / "half.mp3", duration=2, position=position, report=problems.append)
        assert len(clip) == 2 * RATE
    assert len(problems) == 3
    with pytest.raises(AudioError, match=r"offset 7 s is beyond its 3\.\d\d s"):
        load_audio(tmp_path / "half.mp3", offset=7, report=problems.append)


@pytest.mark.parametrize("source", [None, 7, np.zeros(9)])
def test_what_is_no_source_is_said_to_be_none(source):
    with pytest.raises(TypeError, match=f"{type(source).__name__} is not an audio file: pass a path"):
        load_audio(source)


def test_a_part_is_a_part_of_the_whole(tmp_path):
    write_tone(tmp_path / "a.mp3", seconds=4)
    whole = load_audio(tmp_path / "a.mp3")
    part = load_audio(tmp_path / "a.mp3", offset=1.5, duration=2.0)
    assert len(part) == 32000
    np.testing.assert_allclose(part, whole[24000:56000], atol=1e-3)
    assert len(load_audio(tmp_path / "a.mp3", offset=3.5, duration=2.0)) == 8000


def test_position_in_the_file(tmp_path):
    write_tone(tmp_path / "a.flac", seconds=4)
    whole = load_audio(tmp_path / "a.flac")
    for position, start in ((0, 0), (0.5, 24000), (1, 48000)):
        part = load_audio(tmp_path / "a.flac", duration=1, position=position)
        assert np.array_equal(part, whole[start : start + 16000])
    assert np.array_equal(load_audio(tmp_path / "a.flac", duration=9, position=0.7), whole)
    with pytest.raises(ValueError, match="position=2"):
        load_audio(tmp_path / "a.flac", duration=1, position=2)


def test_only_the_part_is_decoded(tmp_path, monkeypatch):
    write_tone(tmp_path / "a.wav", seconds=20)
    read = []
    original = sf.SoundFile.read
    monkeypatch.setattr(
        sf.SoundFile, "read", lambda self, out, **options: read.append(len(out)) or original(self, out=out, **options)
    )
    load_audio(tmp_path / "a.wav", offset=5, duration=1)
    assert read == [16000]


def test_resampling_in_blocks_is_resampling(tmp_path, monkeypatch):
    monkeypatch.setattr("mulap_hf.audio._BLOCK_SECONDS", 1)
    samples = write_tone(tmp_path / "a.wav", seconds=5.3, rate=44100, channels=2)
    waveform = load_audio(tmp_path / "a.wav", 16000)
    expected = soxr.resample(samples.mean(axis=1), 44100, 16000)
    assert abs(len(waveform) - len(expected)) <= 1
    np.testing.assert_allclose(waveform[:84000], expected[:84000], atol=1e-3)
    assert len(load_audio(tmp_path / "a.wav", sampling_rate=None)) == len(samples)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.wav", None, "missing.wav: the file does not exist"),
        ("empty.mp3", b"", r"empty.mp3: the file is empty \(0 bytes\)"),
        ("text.flac", b"no audio at all", "text.flac: broken, or not in a format"),
        ("song.raw", b"....", "song.raw: samples without a header; convert it"),
        ("x" * 300, None, "xxx: the file does not exist"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for function in (load_audio, audio_seconds):
        with pytest.raises(AudioError, match=message):
            function(tmp_path / name)


def test_other_bad_sources(tmp_path):
    with pytest.raises(AudioError, match="this is a folder"):
        load_audio(tmp_path)
    with pytest.raises(AudioError, match="audio of 4 bytes"):
        load_audio(b"nope")
    sf.write(tmp_path / "slow.wav", np.zeros((100, 1)), 999)  # a few bytes that would resample to any size
    with pytest.raises(AudioError, match="its header says 999 Hz: it is damaged"):
        load_audio(tmp_path / "slow.wav")
    sf.write(tmp_path / "none.wav", np.zeros((0, 1)), 16000)
    with pytest.raises(AudioError, match="no samples"):
        load_audio(tmp_path / "none.wav")
    write_tone(tmp_path / "a.wav", seconds=1)
    with pytest.raises(AudioError, match=r"offset 2 s is beyond its 1.00 s"):
        load_audio(tmp_path / "a.wav", offset=2)
    with pytest.raises(ValueError, match="duration=0 s must be positive"):
        load_audio(tmp_path / "a.wav", duration=0)


def test_blocks_are_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("mulap_hf.audio._BLOCK_SECONDS", 1)
    write_tone(tmp_path / "a.flac", seconds=3.2, rate=44100, channels=2)
    blocks = list(stream_audio(tmp_path / "a.flac", 16000))
    assert len(blocks) == 5 and max(map(len, blocks)) < 17000  # the last is what the resampler still has
    assert np.array_equal(np.concatenate(blocks), load_audio(tmp_path / "a.flac", 16000))


@pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="only root can become somebody else")
def test_no_permission():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        os.chmod(folder, 0o755)
        write_tone(Path(folder) / "a.wav")
        os.chmod(Path(folder) / "a.wav", 0)
        os.seteuid(65534)
        try:
            with pytest.raises(AudioError, match=r"a.wav: it cannot be opened: Permission denied"):
                load_audio(Path(folder) / "a.wav")
        finally:
            os.seteuid(0)
