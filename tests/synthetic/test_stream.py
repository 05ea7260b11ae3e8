import numpy as np
import pytest
from torch.utils.data import DataLoader

from mulap_hf.synthetic import corpus_dataset, make_clip

datasets_distributed = pytest.importorskip("datasets.distributed")


def identify(clip):
    return clip["clip_id"], np.asarray(clip["audio"], dtype=np.float32).tobytes(), clip["caption"], clip["arousal"]


def test_two_workers_stream_the_same_clips(config):
    expected = [identify(make_clip(config, "train", index)) for index in range(10)]
    stream = corpus_dataset(config, "train", 10, num_shards=5)
    assert stream.num_shards == 5
    assert [identify(clip) for clip in stream] == expected
    loader = DataLoader(stream, batch_size=None, num_workers=2)
    assert sorted(identify(clip) for clip in loader) == sorted(expected)


def test_each_clip_reaches_one_worker_of_one_rank(config):
    clip_ids = []
    for rank in range(2):
        stream = corpus_dataset(config, "test", 11, num_shards=4)
        part = datasets_distributed.split_dataset_by_node(stream, rank=rank, world_size=2)
        clip_ids += [clip["clip_id"] for clip in DataLoader(part, batch_size=None, num_workers=2)]
    assert sorted(clip_ids) == [f"test-{index:06d}" for index in range(11)]


def test_more_shards_than_clips(config):
    stream = corpus_dataset(config, "validation", 3, num_shards=64)
    assert stream.num_shards == 3
    assert len(list(stream)) == 3


def test_invalid_streams_are_refused_before_iteration(config):
    with pytest.raises(ValueError, match="soundfont"):
        corpus_dataset(config, "test_soundfont", 3)
