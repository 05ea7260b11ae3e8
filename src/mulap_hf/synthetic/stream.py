"""The synthetic corpus as a `datasets.IterableDataset`, generated on the fly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .generate import CorpusConfig, make_clip, players_for

if TYPE_CHECKING:
    from datasets import IterableDataset

__all__ = ["corpus_dataset"]


def _clips(config: CorpusConfig, split: str, shards: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Yield the clips of some shards; `datasets` splits the list of shards among workers and ranks."""
    for first, end in shards:
        for index in range(first, end):
            yield make_clip(config, split, index)


def corpus_dataset(config: CorpusConfig, split: str, num_clips: int, num_shards: int = 64) -> IterableDataset:
    """Return a split as a stream that generates each clip when it is read.

    The stream has each clip once, for any number of shards, workers and ranks. Generating a clip takes much longer
    than decoding a file; for more than one epoch, use `write_corpus`.

    Args:
        config: Settings of the corpus.
        split: Name of a split in `SPLITS`.
        num_clips: Number of clips.
        num_shards: Number of shards; at least the number of ranks times the number of workers per rank.

    Returns:
        A dataset with the columns of `make_clip`.
    """
    from datasets import IterableDataset

    players_for(config, split)  # raises here rather than in a worker
    num_shards = max(1, min(num_shards, num_clips))
    bounds = [num_clips * shard // num_shards for shard in range(num_shards + 1)]
    shards = list(pairwise(bounds))
    return IterableDataset.from_generator(_clips, gen_kwargs={"config": config, "split": split, "shards": shards})
