"""What the tasks of `mulap embed --ray` do, here without Ray."""

import faulthandler
import multiprocessing
import os
import signal

import numpy as np
import pytest
from helpers import RATE, write_tone

from mulap_hf import decoding
from mulap_hf.embedding_blocks import decode_block, file_block

CHUNK = RATE // 2


@pytest.fixture
def music(tmp_path):
    for index in range(4):
        write_tone(tmp_path / f"{index}.wav", seconds=0.7 + index, seed=index)
    return sorted(tmp_path.iterdir())


def decode(music, run="run"):
    blocks = list(decode_block(file_block(list(enumerate(music))), run, RATE, CHUNK))
    return [row for block in blocks for row in block.to_pylist()]


def test_blocks_have_the_chunks_of_the_files(music):
    rows = decode(music)
    for number, pieces in enumerate(decoding.decode_files([path], RATE, CHUNK) for path in music):
        expected = np.concatenate([np.reshape(piece.chunks, (-1, CHUNK)) for piece in pieces])
        mine = [row for row in rows if row["number"] == number]
        found = np.concatenate([np.frombuffer(row["values"], np.float32).reshape(-1, CHUNK) for row in mine])
        np.testing.assert_array_equal(found, expected)
        assert [row["end"] is None for row in mine] == [True] * (len(mine) - 1) + [False]


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the crash is patched into a fork")
def test_a_file_that_crashes_the_decoder_fails_alone_in_the_second_attempt(music, monkeypatch, tmp_path_factory):
    place = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(place))
    stream = decoding.stream_audio

    def crashing(path, rate, **options):
        if path.endswith("2.wav"):
            faulthandler.disable()  # pytest's: it would fill the log
            os.kill(os.getpid(), signal.SIGSEGV)
        return stream(path, rate, **options)

    monkeypatch.setattr(decoding, "stream_audio", crashing)
    first = multiprocessing.get_context("fork").Process(target=decode, args=(music,))
    first.start()
    first.join(60)
    assert first.exitcode == -signal.SIGSEGV and len(list(place.iterdir())) == 1
    rows = decode(music)
    ends = {row["number"]: row["end"] for row in rows if row["end"]}
    assert ends.keys() == {0, 1, 2, 3}
    assert b"SIGSEGV" in ends[2] and not any(b"SIGSEGV" in ends[number] for number in (0, 1, 3))
    assert not list(place.iterdir())
