"""The corpus as a stream for training: nothing on disk, shards for workers and ranks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .generate import CorpusConfig, make_clip, renderer_for

if TYPE_CHECKING:
    from datasets import IterableDataset

__all__ = ["corpus_dataset"]


def _clips(config: CorpusConfig, split: str, shards: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """The clips of some shards; `datasets` gives every worker a part of the list."""
    for first, end in shards:
        for index in range(first, end):
            yield make_clip(config, split, index)


def corpus_dataset(config: CorpusConfig, split: str, num_clips: int, num_shards: int = 64) -> IterableDataset:
    """Streams a split; each clip is made when it is asked for (see `make_clip` for its columns).

    The clips are the same for any number of shards, workers and ranks, and each comes once. Making a clip takes many
    times as long as decoding a file: for more than one epoch, use `write_corpus`.

    Args:
        config: Settings of the corpus.
        split: Name of a split in `SPLITS`.
        num_clips: Number of clips.
        num_shards: Number of consecutive parts; at least the number of ranks times that of workers.
    """
    from datasets import IterableDataset

    renderer_for(config, split)  # complains now rather than in a worker
    num_shards = max(1, min(num_shards, num_clips))
    bounds = [num_clips * shard // num_shards for shard in range(num_shards + 1)]
    shards = list(pairwise(bounds))
    return IterableDataset.from_generator(_clips, gen_kwargs={"config": config, "split": split, "shards": shards})
