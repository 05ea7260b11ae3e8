"""Embeddings of files by the machines of a Ray cluster: decoding in tasks, the model in actors."""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from .cluster import connect, is_this_machine
from .decoding import Piece
from .embedding import Embedder, TrackEmbedding
from .embedding_blocks import EncodeBlock, decode_block, encode_block, file_block, read_pieces
from .errors import AudioError
from .modeling_mulap_audio import MulapPreTrainedModel
from .remote import is_address

_MOST_FILES_PER_TASK = 32  # a task that is lost is repeated, and its files with it
_TASKS_AHEAD = 3  # per core, if all were as large as the next one
_FILES_PER_RUN = 200_000  # Ray Data keeps track of all tasks of a run
_BLOCK_BYTES = 16 * 2**20  # the most that a worker gives to the next one at a time
_CORES_PER_ACTOR = 4


class RayEmbedder(Embedder):
    """An embedder whose `embed_all` uses all machines of a Ray cluster.

    Args:
        model: As for `Embedder`. The nodes get it from here: they need the package, but not the folder.
        address: Of the cluster: `host:port`, or "auto" for the one that this machine is a node of. Default: a
            cluster of this machine alone, which ends with the process.
        device: Where the actors compute. Default: the GPUs of the cluster if it has any.
        batch_size: As for `Embedder`.
        joint, factors: As for `Embedder`.

    Raises:
        MissingPackageError: Ray is not installed.
        MulapError: No cluster answers at the address, or one of its nodes lacks this version of the package.
        ModelError: As for `Embedder`.
    """

    def __init__(
        self,
        model: str | Path | MulapPreTrainedModel,
        address: str | None = None,
        device: str | None = None,
        batch_size: int | None = None,
        joint: bool = False,
        factors: bool = False,
    ):
        self._ray = connect(address)
        super().__init__(model, "cpu", batch_size, joint, factors)
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        gpus = 0 if device == "cpu" else int(sum(node.get("GPU", 0) for node in nodes))
        cores = [int(node.get("CPU", 0)) for node in nodes]
        self._cores = sum(cores)
        self._threads = min(_CORES_PER_ACTOR, max(cores))
        self._actor_gpus = int(gpus > 0)
        self._actors = gpus or sum(-(-count // _CORES_PER_ACTOR) for count in cores)
        self._actor_device = device or ("cuda" if gpus else "cpu")
        # A small machine alone: importing torch in one more process would take longer than it saves.
        self._encodes_here = self._actors == 1 and not gpus and is_this_machine(self._ray)
        models = f"a model on each of {gpus} GPUs" if gpus else f"{self._actors} models"
        models = "the model in this process" if self._encodes_here else models
        print(f"Ray cluster: {len(nodes)} nodes, {self._cores} cores, {models}", file=sys.stderr)

    def embed_all(self, paths: Iterable[str | os.PathLike], workers: int = 0) -> Iterator[TrackEmbedding | AudioError]:
        """Embeds files, see `Embedder.embed_all`.

        Args:
            paths: Audio files: addresses, or paths under which every node finds them.
            workers: Not used: each core of the cluster decodes.
        """
        paths = iter(paths)
        while files := list(islice(paths, _FILES_PER_RUN)):
            yield from self._run(files)

    def _run(self, files: list[str | os.PathLike]) -> Iterator[TrackEmbedding | AudioError]:
        tracks: dict[int, dict[int, list[np.ndarray]]] = {}  # features by their first chunk
        ends: dict[int, tuple[int, Piece]] = {}  # with their number of chunks
        for block in self._blocks(files):
            for number, start, features, end in read_pieces(block):
                parts = tracks.setdefault(number, {})
                parts[start] = features
                if end is not None:
                    ends[number] = start + len(features), end
                if number in ends and sum(map(len, parts.values())) == ends[number][0]:
                    del tracks[number]
                    features = [row for start in sorted(parts) for row in parts[start]]
                    yield self._result(_renamed(ends.pop(number)[1], files[number]), features)

    def _blocks(self, files: list[str | os.PathLike]) -> Iterator[Any]:
        """Blocks of features, as they are computed."""
        data = self._ray.data
        context = data.DataContext.get_current()
        context.enable_progress_bars, context.target_max_block_size = False, _BLOCK_BYTES
        groups = [file_block(group) for group in _groups(list(enumerate(map(_absolute, files))), self._cores)]
        config = self.model.config
        decode = partial(
            decode_block, run=uuid4().hex, sampling_rate=self.sampling_rate, chunk_length=config.chunk_length
        )
        blocks = data.from_arrow(groups).map_batches(
            decode, batch_size=None, batch_format="pyarrow", zero_copy_batch=True, num_cpus=1
        )
        if self._encodes_here:
            for block in blocks.iter_batches(batch_size=None, batch_format="pyarrow"):
                yield encode_block(self, block)
            return
        features = blocks.map_batches(
            EncodeBlock,
            fn_constructor_args=(self._ray.put(self.similarity or self.model), self._actor_device, self._threads),
            compute=data.ActorPoolStrategy(size=self._actors),
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=0,  # the model and the decoders share the cores, as in a run without Ray
            num_gpus=self._actor_gpus,
        )
        yield from features.iter_batches(batch_size=None, batch_format="pyarrow")


def _groups(files: list[Any], cores: int) -> Iterator[list[Any]]:
    """Files of a task each: fewer and fewer, so that all cores end at the same time."""
    start = 0
    while start < len(files):
        count = max(1, min(_MOST_FILES_PER_TASK, (len(files) - start) // (_TASKS_AHEAD * cores)))
        yield files[start : start + count]
        start += count


def _absolute(path: str | os.PathLike) -> str | os.PathLike:
    """Nodes work in other folders."""
    return path if is_address(path) else os.path.abspath(path)


def _renamed(end: Piece, path: str | os.PathLike) -> Piece:
    """The end of a file with its path as it was given, in its messages, too."""
    old, new = str(end.path), os.fsdecode(path)
    problems = [problem.replace(old, new, 1) for problem in end.problems]
    error = None if end.error is None else AudioError(str(end.error).replace(old, new, 1))
    return replace(end, path=new, error=error, problems=problems)
