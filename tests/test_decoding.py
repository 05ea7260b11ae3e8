"""Files as chunks, from a thread or from processes: the same, in bounded quantity, whatever a file does."""

import faulthandler
import multiprocessing
import os
import signal
from contextlib import closing

import numpy as np
import pytest
import soundfile as sf
from helpers import CHUNK, RATE, write_tone

from mulap_hf import decoding, load_audio
from mulap_hf.decoding import decode_files, prefetch


@pytest.fixture
def music(tmp_path):
    """Shorter than a chunk, exactly one, two and a half, many (of several blocks); and of another rate."""
    paths = []
    for index, chunks in enumerate((0.4, 1, 2.5, 150)):
        paths.append(tmp_path / f"{index}.wav")
        write_tone(paths[-1], seconds=chunks * CHUNK / RATE, seed=index)
    paths.append(tmp_path / "other.flac")
    write_tone(paths[-1], seconds=3.3, rate=44100, channels=2)
    return paths


def collect(paths, workers: int) -> dict[int, list[decoding.Piece]]:
    pieces = {}
    for piece in decode_files(paths, RATE, CHUNK, workers):
        assert piece.path == paths[piece.number]
        assert not any(earlier.last for earlier in pieces.get(piece.number, ()))
        pieces.setdefault(piece.number, []).append(piece)
    assert all(parts[-1].last for parts in pieces.values())
    return pieces


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_chunks_are_the_waveform(music, workers):
    pieces = collect(music * 2, workers)
    assert sorted(pieces) == list(range(10))
    for number, parts in pieces.items():
        waveform = load_audio((music * 2)[number])
        chunks = np.stack([chunk for piece in parts for chunk in piece.chunks])
        count = max(1, len(waveform) // CHUNK)
        padded = np.pad(waveform, (0, max(0, CHUNK - len(waveform))))
        assert np.array_equal(chunks, padded[: count * CHUNK].reshape(count, CHUNK))
        assert parts[-1].seconds == len(waveform) / RATE
    assert len(pieces[3]) == 6  # 45 s in blocks of 10 s, and the end


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_files_give_their_errors(music, tmp_path, workers):
    samples = np.zeros(70 * RATE, dtype=np.float32)
    samples[[RATE, 40 * RATE]] = np.nan, np.inf
    sf.write(tmp_path / "nan.wav", samples, RATE, subtype="FLOAT")
    (tmp_path / "empty.wav").write_bytes(b"")
    sf.write(tmp_path / "none.wav", samples[:0], RATE)
    paths = [tmp_path / "nan.wav", tmp_path / "empty.wav", tmp_path / "none.wav", tmp_path / "gone.wav", music[2]]
    pieces = collect(paths, workers)
    assert [str(pieces[number][-1].error) for number in range(4)] == [
        f"{paths[0]}: the sample at 1.000 s is NaN: export it again, or replace it with zeros",
        f"{paths[1]}: the file is empty (0 bytes)",
        f"{paths[2]}: there are no samples in it: its export or recording failed, repeat it",
        f"{paths[3]}: the file does not exist",
    ]
    assert sum(len(piece.chunks) for piece in pieces[4]) == 2


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the crash is patched into a fork")
def test_a_file_that_crashes_the_decoder_is_named(music, monkeypatch):
    original = decoding.stream_audio

    def crashing(path, rate, **options):
        for block in original(path, rate, **options):
            yield block
            if path == music[3]:
                faulthandler.disable()  # pytest's: it would fill the log
                os.kill(os.getpid(), signal.SIGSEGV)

    monkeypatch.setattr(decoding, "stream_audio", crashing)
    pieces = collect([music[3], *music, music[3]], workers=2)
    failed = [number for number, parts in pieces.items() if parts[-1].error]
    assert sorted(failed) == [0, 4, 6]
    assert str(pieces[0][-1].error) == f"{music[3]}: the process that decoded it was ended by SIGSEGV"
    for number in (1, 2, 3, 5):
        waveform = load_audio([music[3], *music][number])
        assert sum(len(piece.chunks) for piece in pieces[number]) == max(1, len(waveform) // CHUNK)


def test_what_nobody_foresaw_is_an_error_of_the_file(music, monkeypatch):
    def absurd(path, rate, **options):
        raise MemoryError("Unable to allocate 120 GiB")
        yield

    monkeypatch.setattr(decoding, "stream_audio", absurd)
    (piece,) = decode_files(music[:1], RATE, CHUNK)
    assert str(piece.error) == f"{music[0]}: MemoryError('Unable to allocate 120 GiB')"


def test_processes_end_with_the_iteration(music):
    before = set(multiprocessing.active_children())
    with closing(decode_files(iter(music * 100), RATE, CHUNK, workers=2)) as pieces:
        next(pieces)
        assert len(set(multiprocessing.active_children()) - before) == 2
    assert set(multiprocessing.active_children()) == before


def test_prefetch():
    made = []

    def make():
        for number in range(6):
            made.append(number)
            yield number
        raise RuntimeError("broken")

    with closing(prefetch(make(), ahead=2)) as items:
        assert next(items) == 0
        assert set(made) <= {0, 1, 2, 3}  # the first, two ahead, and one that may be on its way
    with pytest.raises(RuntimeError, match="broken"), closing(prefetch(make(), ahead=2)) as items:
        assert [next(items) for _ in range(6)] == list(range(6))
        next(items)
    assert list(prefetch([], ahead=3)) == []
