"""Queries as vectors: words and audio files go through the model that embedded the catalog."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..embedding import Embedder
from ..errors import AudioError, DataError, ModelError
from ..loading import TEXT_KINDS, saved_kind
from ..pipeline_mulap_tasks import MATCHING
from ..transfer.features import Features
from ..transfer.pair_scores import PairScorer
from .index import BACKBONE, JOINT, MELODY, Hit, SearchIndex, space_name


class QueryEncoder:
    """The model of an index.

    Args:
        index: The index.
        model: Folder or Hub name of the model; None for the one that the index names.
        device: Where to compute. Default: the GPU if there is one.

    Raises:
        DataError: The model is not the one that the index was made with.
        ModelError: The model cannot be loaded.
    """

    def __init__(self, index: SearchIndex, model: str | None = None, device: str | None = None):
        self.index = index
        self.name = model or index.about["model"]
        if self.name is None:
            raise DataError(f"{index.folder} does not name its model: pass --model")
        try:
            kind = saved_kind(self.name)
        except ModelError as error:
            raise ModelError(f"{error}: {index.folder} was made with it; name its new place with --model") from error
        self.scorer = PairScorer(self.name, device, progress=False) if kind in TEXT_KINDS else None
        if self.scorer is None:
            self.embedder = Embedder(self.name, device, factors=MELODY in index.columns)
        else:
            self.embedder = self.scorer.extractor
        known = index.about["fingerprints"]
        for column, fingerprint in self.embedder.fingerprints.items():
            if column in known and known[column] != fingerprint:
                raise DataError(
                    f"{index.folder} was made with another model than {self.name} (the fingerprints of "
                    f"{space_name(column)} differ): pass the model that embedded the tracks"
                )

    def text(self, text: str) -> dict[str, np.ndarray]:
        """The vector of a text in the joint embedding space, by its column.

        Raises:
            DataError: The text is empty, or the index has no joint embeddings.
        """
        if not text.strip():
            raise DataError("the text to search for is empty: describe the music in a few words")
        if JOINT not in self.index.columns or self.scorer is None or JOINT not in self.embedder.fingerprints:
            raise DataError(
                f"{self.index.folder} cannot be searched by words, because it has no joint embeddings of audio and "
                "text: embed the files with --space joint, by a model that has such a space"
            )
        ((_, stream),) = self.scorer.encode_texts([text]).blocks
        return {JOINT: stream.embeds[0].float().cpu().numpy()}

    def audio(self, path: str | Path, columns: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors of an audio file by column.

        Args:
            path: The file.
            columns: Which vectors.

        Raises:
            AudioError: The file cannot be read.
            DataError: The model does not give such an embedding.
        """
        for column in columns:
            if column not in self.embedder.fingerprints:
                raise DataError(
                    f"{self.name} gives no {space_name(column)} embedding of an audio file: compare with a track of "
                    "the index (--like)"
                )
        track = self.embedder.embed(path)
        return {name: track.track if name == BACKBONE else track.more[name] for name in columns}

    def rerank(self, text: str, hits: Sequence[Hit]) -> tuple[list[Hit], list[AudioError]]:
        """Sorts tracks by the probability, by the fused streams, that a text describes them.

        Args:
            text: The query.
            hits: What a search found; their files are decoded again.

        Returns:
            The tracks, those whose files cannot be read last, and the errors of these.

        Raises:
            DataError: The model was not trained to match audio and text.
        """
        if MATCHING not in self._kinds:
            raise DataError(f"--rerank: {self.name} was not trained to match audio and text: leave --rerank out")
        found, errors = {}, []
        for result in self.embedder.embed_all([self.index.file(hit.row) for hit in hits]):
            if isinstance(result, AudioError):
                errors.append(result)
            else:
                found[result.path] = result.chunks
        known = [hit for hit in hits if str(self.index.file(hit.row)) in found]
        if not known:
            return list(hits), errors
        chunks = [found[str(self.index.file(hit.row))] for hit in known]
        counts = np.array([len(rows) for rows in chunks])
        names = [hit.path for hit in known]
        features = Features(names, np.cumsum(counts) - counts, counts, np.concatenate(chunks), [])
        logits = self.scorer.matching(self.scorer.encode_audio(features), self.scorer.encode_texts([text]))[:, 0]
        matches = 1 / (1 + np.exp(-logits.astype(float)))
        order = np.argsort(-logits, kind="stable")
        best = [replace(known[place], match=float(matches[place])) for place in order]
        return best + [hit for hit in hits if hit not in known], errors

    @cached_property
    def _kinds(self) -> list[str]:
        return [] if self.scorer is None else self.scorer.kinds
