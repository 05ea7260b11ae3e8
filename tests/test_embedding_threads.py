import threading

import numpy as np
import pytest
import torch
from helpers import CHUNK, micro_config

from mulap_hf import MulapAudioModel
from mulap_hf.embedding import Embedder
from mulap_hf.embedding_threads import ThreadedEncoder

CPU = torch.device("cpu")


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_batches_are_encoded_at_the_same_time_and_taken_in_order(three_threads):
    together = threading.Barrier(3, timeout=60)

    def encode(batch):
        together.wait()
        return batch, torch.get_num_threads()

    with ThreadedEncoder(encode, CPU) as encoder:
        for number in range(3):
            encoder.give(number, f"label {number}")
        assert list(encoder.take(everything=True)) == [(f"label {number}", (number, 1)) for number in range(3)]
    assert torch.get_num_threads() == 3


def test_no_more_wait_than_there_are_threads(three_threads):
    go = threading.Event()

    def encode(batch):
        if batch:
            assert go.wait(60)
        return batch

    with ThreadedEncoder(encode, CPU) as encoder:
        for number in range(3):
            encoder.give(number)
        first = [features for _, features in encoder.take(everything=False)][:1]
        encoder.give(3)
        assert first in ([0], [])  # the first is done soon, the others are not
        go.set()
        assert [features for _, features in encoder.take(everything=True)] == [0, 1, 2, 3][len(first) :]


def test_errors_reach_the_caller(three_threads):
    def encode(batch):
        raise RuntimeError(f"no memory for {batch}")

    with pytest.raises(RuntimeError, match="no memory for 7"), ThreadedEncoder(encode, CPU) as encoder:
        encoder.give(7)
        list(encoder.take(everything=True))
    assert torch.get_num_threads() == 3


def test_many_chunks_are_what_one_batch_is(three_threads):
    embedder = Embedder(MulapAudioModel(micro_config().audio_config), "cpu", batch_size=4)
    chunks = np.random.default_rng(0).normal(0, 0.1, (29, CHUNK)).astype(np.float32)
    found = embedder.encode_all(chunks)
    np.testing.assert_allclose(found, embedder.encode(list(chunks)), rtol=0, atol=1e-6 * np.abs(found).max())
    assert embedder.encode_all(chunks[:1]).shape == (1, embedder.feature_size)
    assert len(embedder.encode_all(chunks[:0])) == 0
