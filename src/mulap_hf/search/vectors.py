"""The vectors of one embedding in a faiss index: exact for small catalogs, inverted lists with measured recall above.

Every index begins with a preparation, which is stored with it: vectors are centered or whitened, if that is wanted,
then scaled to length 1. Scores are inner products of prepared vectors, that is, cosine similarities.

Inverted lists are preferred to a graph (HNSW): they are built in minutes, take no more memory than the vectors, can be
searched among any subset of the tracks, and accept new tracks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from tqdm import tqdm

from ..errors import DataError

EXACT_TRACKS = 100_000
WANTED_RECALL = 0.97
NEIGHBORS = 10  # of which recall is measured
_QUERIES = 500  # of the catalog's own vectors, with which recall is measured
_FITTED = 100_000  # vectors that a preparation is fitted on
_PER_LIST, _ROUNDS = 64, 10  # training vectors per inverted list, and rounds of k-means
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Vectors:
    """A column of embeddings that is mapped into memory.

    values: fixed-size lists of float32, `(tracks,)`.
    """

    values: pa.ChunkedArray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def size(self) -> int:
        return self.values.type.list_size

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of some tracks, float32 `(rows, size)`."""
        return self._numpy(self.values.take(pa.array(rows)))

    def sample(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows `(sample,)` and vectors `(sample, size)` of at most so many tracks, the same ones each time."""
        rows = np.arange(len(self))
        if len(rows) > most:
            rows = np.sort(np.random.default_rng(0).choice(len(self), most, replace=False))
        return rows, self.take(rows)

    def blocks(self, start: int = 0) -> Iterator[np.ndarray]:
        """All vectors from a row on, `(rows, size)` at a time."""
        for first in range(start, len(self), _BLOCK):
            yield self._numpy(self.values.slice(first, _BLOCK))

    def _numpy(self, values: pa.ChunkedArray) -> np.ndarray:
        parts = [chunk.flatten().to_numpy() for chunk in values.chunks]
        return np.concatenate(parts or [np.empty(0, np.float32)]).reshape(-1, self.size)


def build(vectors: Vectors, preparation: str | int, label: str) -> tuple[faiss.IndexPreTransform, dict[str, Any]]:
    """An index of all vectors.

    Args:
        vectors: Of all tracks.
        preparation: "plain", "centered", or the number of principal components to whiten to.
        label: Of the progress bar.

    Returns:
        The index, and what is worth knowing about it: `tracks`, `preparation`, `kind` and, of inverted lists, `lists`,
        `probes` (lists that a query searches) and `recall`.

    Raises:
        DataError: There are too few vectors for so many principal components.
    """
    size = preparation if isinstance(preparation, int) else vectors.size
    exact = len(vectors) <= EXACT_TRACKS
    lists = 1 << round(np.log2(2 * len(vectors) ** 0.5))
    factory = "Flat" if exact else f"IVF{lists},Flat"
    index = faiss.IndexPreTransform(faiss.index_factory(size, factory, faiss.METRIC_INNER_PRODUCT))
    index.prepend_transform(faiss.NormalizationTransform(size))
    if preparation == "centered":
        index.prepend_transform(faiss.CenteringTransform(size))
    elif isinstance(preparation, int):
        if preparation >= min(len(vectors), vectors.size + 1):
            raise DataError(
                f"--whiten {preparation}: {len(vectors)} vectors of {vectors.size} numbers have fewer principal "
                "components: pass a smaller number"
            )
        index.prepend_transform(faiss.PCAMatrix(vectors.size, size, -0.5))  # -0.5 whitens
    if not exact:
        inverted = faiss.extract_index_ivf(index)
        inverted.cp.max_points_per_centroid, inverted.cp.niter = _PER_LIST, _ROUNDS
    index.train(vectors.sample(_FITTED if exact else max(_FITTED, _PER_LIST * lists))[1])
    add(index, vectors, 0, label)
    words = f"whitened to {preparation} principal components" if isinstance(preparation, int) else preparation
    facts: dict[str, Any] = {"tracks": len(vectors), "preparation": words, "kind": "exact"}
    if not exact:
        facts |= {"kind": "inverted lists", "lists": lists} | choose_probes(index, vectors)
    return index, facts


def add(index: faiss.IndexPreTransform, vectors: Vectors, start: int, label: str):
    """Adds the vectors from a row on."""
    with tqdm(total=len(vectors) - start, unit="track", desc=label) as bar:
        for block in vectors.blocks(start):
            index.add(block)
            bar.update(len(block))


def choose_probes(index: faiss.IndexPreTransform, vectors: Vectors) -> dict[str, Any]:
    """How many inverted lists a query must search.

    Returns:
        `probes`, the smallest power of 2 with the wanted recall, and that recall: the fraction of the ten nearest
        tracks, by an exact search, that are found, over a sample of the catalog's own tracks.
    """
    rows, queries = vectors.sample(_QUERIES)
    exact = faiss.ResultHeap(len(queries), NEIGHBORS + 1, keep_max=True)
    prepared, first = prepare(index, queries), 0
    for block in vectors.blocks():
        scores, found = faiss.knn(prepared, prepare(index, block), exact.k, faiss.METRIC_INNER_PRODUCT)
        exact.add_result(scores, found + first)
        first += len(block)
    exact.finalize()
    lists = faiss.extract_index_ivf(index).nlist
    probes = 4
    while True:
        probes = min(2 * probes, lists)
        recall = _recall(rows, exact.I, search(index, queries, NEIGHBORS + 1, probes)[1])
        if recall >= WANTED_RECALL or probes == lists:
            return {"probes": probes, "recall": round(recall, 4), "recall_queries": len(queries)}


def _recall(own: np.ndarray, exact: np.ndarray, found: np.ndarray) -> float:
    """The fraction of the nearest tracks that are found; a track does not count as its own neighbor."""
    hits = []
    for row, wanted, got in zip(own, exact, found, strict=True):
        wanted, got = ([other for other in rows if other != row][:NEIGHBORS] for rows in (wanted, got))
        hits.append(len({*wanted} & {*got}) / len(wanted))
    return float(np.mean(hits))


def prepare(index: faiss.IndexPreTransform, vectors: np.ndarray) -> np.ndarray:
    """Vectors `(rows, size)` as the index compares them: centered or whitened, if it does so, and of length 1."""
    for position in range(index.chain.size()):
        vectors = faiss.downcast_VectorTransform(index.chain.at(position)).apply(vectors)
    return vectors


def search(
    index: faiss.IndexPreTransform, queries: np.ndarray, number: int, probes: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The scores and rows of the nearest tracks, `(queries, number)` each; row -1 where there are fewer.

    Args:
        index: Of all tracks.
        queries: `(queries, size)`, unprepared.
        number: Of tracks per query.
        probes: Inverted lists to search, see `choose_probes`; ignored by an exact index.
        allowed: Whether a track may be found, bool `(tracks,)`; None for all of them.
    """
    return index.search(queries, number, params=parameters(index, probes, allowed))


def parameters(index: faiss.IndexPreTransform, probes: int, allowed: np.ndarray | None) -> faiss.SearchParameters:
    """The parameters of a search, see `search`."""
    inner: dict[str, Any] = {}
    if allowed is not None:
        inner["sel"] = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        # The fewer tracks are allowed, the more lists it takes to meet as many of them.
        probes = int(np.ceil(probes * len(allowed) / max(allowed.sum(), 1)))
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is not None:
        inner["nprobe"] = min(probes, inverted.nlist)
    kind = faiss.SearchParameters if inverted is None else faiss.SearchParametersIVF
    return faiss.SearchParametersPreTransform(index_params=kind(**inner))
