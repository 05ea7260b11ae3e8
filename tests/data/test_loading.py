"""The endless stream of batches: complete, reshuffled, grouped by length, and exact when it goes on."""

import json
from itertools import islice
from threading import Event

import numpy as np
import pytest
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from helpers import write_tone

from mulap_hf.data import loading
from mulap_hf.data.collator import PreTrainingCollator
from mulap_hf.data.loading import BatchStream, training_loader
from mulap_hf.data.streams import open_pairs
from mulap_hf.errors import DataError

ITEMS = 50
WORDS = ["calm", "loud", "fast", "slow", "sad", "happy", "piano", "guitar", "techno", "violin"]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("catalog")
    rng = np.random.default_rng(0)
    rows = []
    for index in range(ITEMS):
        write_tone(folder / f"{index}.wav", seconds=0.7, seed=index)
        caption = " ".join(rng.choice(WORDS, rng.integers(1, 12)))
        rows.append({"file_name": f"{index}.wav", "caption": f"{caption} {index}"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


class CountingCollator(PreTrainingCollator):
    """Notes what it decodes."""

    decoded: list[str] | None = None

    def load(self, row, position, report):
        if self.decoded is not None:
            self.decoded.append(row["id"])
        return super().load(row, position, report)


def make_stream(
    folder, processor, workers: int, batch_size: int = 4, kind=CountingCollator, start_method: str | None = None
) -> BatchStream:
    collator = kind(processor=processor, chunk_length=4800, clip_seconds=0.6, mismatch_probability=0.0)
    loader = training_loader(open_pairs(folder), collator, batch_size, workers, shuffle_buffer=16)
    loader.multiprocessing_context = start_method
    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(dispatch_batches=False))
    return BatchStream(accelerator.prepare(loader), collator)


def epoch_of(stream: BatchStream) -> list[list[str]]:
    """The ids of each batch of the epoch that the stream is in."""
    batches, seen = [], 0
    iterator = iter(stream)
    while seen < ITEMS:
        batches.append(next(iterator)["ids"])
        seen += len(batches[-1])
    return batches


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_an_epoch_has_everything_once_and_the_next_another_order(catalog, processor, workers):
    stream = make_stream(catalog, processor, workers)
    iterator = iter(stream)
    epochs = []
    for epoch in range(2):
        ids = []
        while len(ids) < ITEMS:
            ids += next(iterator)["ids"]
            assert stream.epoch == epoch
        assert sorted(ids) == sorted(f"{index}.wav" for index in range(ITEMS))
        epochs.append(ids)
    assert epochs[0] != epochs[1]


def test_captions_of_a_batch_have_similar_lengths(catalog, processor):
    stream = make_stream(catalog, processor, workers=0)
    captions = {row["id"]: row["caption"] for row in open_pairs(catalog).dataset}

    def padding(batches: list[list[str]]) -> float:
        lengths = [[len(captions[name]) for name in batch] for batch in batches]
        return 1 - sum(map(sum, lengths)) / sum(len(batch) * max(batch) for batch in lengths)

    grouped = epoch_of(stream)
    ids = np.random.default_rng(0).permutation([name for batch in grouped for name in batch]).tolist()
    ungrouped = [ids[start : start + 4] for start in range(0, ITEMS, 4)]
    assert padding(grouped) < 0.4 * padding(ungrouped)


def test_workers_need_not_be_forked(catalog, processor):
    """They are not on macOS and Windows, nor anywhere by Python 3.14."""
    expected = make_stream(catalog, processor, workers=1)
    stream = make_stream(catalog, processor, workers=1, start_method="spawn")
    for batch, same in zip(islice(stream, 3), expected, strict=False):
        assert batch["ids"] == same["ids"]
        assert torch.equal(batch["input_values"], same["input_values"])


@pytest.mark.parametrize("workers", [0, 2])
def test_goes_on_bit_by_bit_from_anywhere(catalog, processor, workers):
    """Across the end of the epoch, too; what was used before is not decoded again."""
    whole = list(islice(make_stream(catalog, processor, workers), 30))
    for used in (1, 5, 12, 14, 20):
        stream = make_stream(catalog, processor, workers)
        iterator = iter(stream)
        for _ in range(used):
            next(iterator)
        state = json.loads(json.dumps(stream.state_dict()))
        resumed = make_stream(catalog, processor, workers)
        resumed.load_state_dict(state)
        decoded = resumed.collator.decoded = []
        for expected, batch in zip(whole[used : used + 6], resumed, strict=False):
            assert batch.keys() == expected.keys()
            for name, value in expected.items():
                assert torch.equal(batch[name], value) if torch.is_tensor(value) else batch[name] == value
        if workers == 0:  # accelerate looks one batch ahead
            assert 0 < len(decoded) <= sum(len(batch["ids"]) for batch in whole[used : used + 8])


def test_broken_items_are_remembered_when_the_stream_goes_on(catalog, processor, tmp_path):
    rows = [json.loads(line) for line in (catalog / "metadata.jsonl").read_text().splitlines()[:6]]
    for row in rows[:4]:
        (tmp_path / row["file_name"]).write_bytes((catalog / row["file_name"]).read_bytes())
    for row in rows[4:]:
        (tmp_path / row["file_name"]).write_bytes(b"RIFF")
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stream = make_stream(tmp_path, processor, workers=0, batch_size=6)
    assert sorted(next(iter(stream))["ids"]) == ["0.wav", "1.wav", "2.wav", "3.wav"]
    assert set(stream.skipped) == {"4.wav", "5.wav"}
    resumed = make_stream(tmp_path, processor, workers=0, batch_size=6)
    resumed.load_state_dict(json.loads(json.dumps(stream.state_dict())))
    assert resumed.skipped == stream.skipped
    assert len(next(iter(resumed))["ids"]) == 4  # the epoch was over: the next one
    assert resumed.epoch == 1


def test_nothing_usable_is_an_error_with_the_first_reason(processor, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.wav", "caption": "broken"}\n')
    with pytest.raises(DataError, match=r"no item of a whole epoch could be used; the first reason: a\.wav: "):
        next(iter(make_stream(tmp_path, processor, workers=0)))


class StuckCollator(PreTrainingCollator):
    """Never gives anything."""

    def load(self, row, position, report):
        Event().wait()


def test_workers_that_hang_end_the_run_with_the_mend(catalog, processor, monkeypatch):
    monkeypatch.setattr(loading, "WORKER_SECONDS", 1)
    stream = make_stream(catalog, processor, workers=1, kind=StuckCollator)
    with pytest.raises(DataError, match=r"have given nothing for 1 s: repeat the command .* --num_workers 0"):
        next(iter(stream))
