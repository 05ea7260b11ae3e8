"""Scores of pairs of clips and texts: contrastive, matching, and contrastive re-ranked by matching.

Contrastive scores are cosine similarities in the joint embedding space. Matching scores are the log-odds, computed by
the fused streams, that a text describes a clip. Each clip is encoded by the backbone once, and each text by its stream
once; only the fused layers run for every pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..embedding import Embedder
from ..errors import DataError
from ..loading import TEXT_KINDS, open_text_model, saved_kind
from ..modeling_mulap_audio import MulapAudioOutput, masked_mean, unpack
from ..modeling_mulap_joint import Stream
from ..pipeline_mulap import text_scores
from ..pipeline_mulap_tasks import CONTRASTIVE, MATCHING
from ..processing_mulap import MulapProcessor
from .features import Features

_TEXTS, _CLIPS = 64, 32  # in a block; all pairs of two blocks are scored together


def has_text_side(model: str | Path) -> bool:
    """Return whether a model has a text stream, unlike a backbone or a classifier.

    Args:
        model: Folder or Hub name.

    Raises:
        ModelError: The model cannot be found, or transformers does not know it.
    """
    return saved_kind(model) in TEXT_KINDS


@dataclass(frozen=True)
class Side:
    """Clips or texts after the layers that do not depend on the other modality.

    Attributes:
        blocks: Indices and stream of each block; a block has items of similar length.
    """

    blocks: list[tuple[np.ndarray, Stream]]

    def __len__(self) -> int:
        return sum(len(rows) for rows, _ in self.blocks)


class PairScorer:
    """A model that scores pairs of clips and texts.

    Args:
        model: Folder or Hub name of a MuLaP model with a text stream.
        device: Device of the computation; None for a GPU if one is available, else the CPU.
        progress: Show progress bars.

    Raises:
        ModelError: The model cannot be found, has no text stream, or is incomplete.
    """

    def __init__(self, model: str | Path, device: str | None = None, progress: bool = True):
        self.model = open_text_model(model)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model.to(self.device).eval()
        self.extractor = Embedder(self.model, str(self.device))
        self.processor = MulapProcessor.from_pretrained(model)
        self.progress = progress
        self.name = str(model)

    @property
    def kinds(self) -> list[str]:
        """The kinds of scores that the model was trained for."""
        return sorted(text_scores(self.model))

    def check_kinds(self, kinds: Sequence[str] | None = None) -> list[str]:
        """Return the requested kinds of scores, or all that the model was trained for if `kinds` is None.

        Raises:
            DataError: The model was not trained for scores of a requested kind, or for scores of any kind.
        """
        if not self.kinds:
            reasons = "; ".join(self._why_not(kind) for kind in (CONTRASTIVE, MATCHING))
            raise DataError(f"{self.name} has no scores: {reasons}")
        for kind in kinds or []:
            if kind not in self.kinds:
                raise DataError(
                    f"{self.name} has no {kind} scores: {self._why_not(kind)}; it has {self.kinds[0]} scores"
                )
        return list(kinds or self.kinds)

    def _why_not(self, kind: str) -> str:
        """Return the reason why the model has no scores of a kind."""
        if kind == CONTRASTIVE and self.model.alignment is None:
            return "no joint embedding space (config.projection_size is 0)"
        if kind == MATCHING and self.model.is_dual_encoder:
            return "no co-attention (it is a dual encoder)"
        return f"pre-trained without them (config.{kind}_loss_weight is 0)"

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Side:
        """Encode texts, truncated to the `model_max_length` of the tokenizer."""
        blocks = []
        for rows in _blocks(np.array([len(text) for text in texts]), _TEXTS):
            inputs = self.processor(text=[texts[row] for row in rows]).to(self.device)
            blocks.append((rows, self.model.start_text(inputs["input_ids"], inputs["attention_mask"])))
        return Side(blocks)

    @torch.inference_mode()
    def encode_audio(self, features: Features) -> Side:
        """Encode clips from their backbone features.

        Chunks beyond the positions of the audio Transformer (10 minutes in the published model) affect only the
        contrastive scores.
        """
        longest = self.model.config.audio_config.max_position_embeddings - 1  # one position is the global token
        blocks = []
        for rows in _blocks(features.counts, _CLIPS):
            values = features.batch(rows)[0].to(self.device)  # (chunks of all, features)
            counts = torch.from_numpy(features.counts[rows]).to(self.device)
            mask = torch.arange(int(counts.max()), device=self.device) < counts[:, None]  # (clips, chunks)
            states = unpack(values, mask)  # (clips, chunks, features)
            output = MulapAudioOutput(
                last_hidden_state=states[:, :longest],
                pooler_output=masked_mean(states, mask),
                chunk_mask=mask[:, :longest].long(),
            )
            blocks.append((rows, self.model.start_audio(output)))
        return Side(blocks)

    @torch.inference_mode()
    def contrastive(self, clips: Side, texts: Side) -> np.ndarray:
        """Return the cosine similarities, float32 `(clips, texts)`."""
        scores = np.empty((len(clips), len(texts)), dtype=np.float32)
        for rows, audio in clips.blocks:
            for columns, text in texts.blocks:
                scores[np.ix_(rows, columns)] = (audio.embeds.float() @ text.embeds.float().T).cpu().numpy()
        return scores

    @torch.inference_mode()
    def matching(self, clips: Side, texts: Side, wanted: np.ndarray | None = None, label: str = "") -> np.ndarray:
        """Return the log-odds of a match, float32 `(clips, texts)`.

        Args:
            clips, texts: The results of `encode_audio` and `encode_texts`.
            wanted: Pairs to score, bool `(clips, texts)`; the others are NaN. None scores all pairs.
            label: Label of the progress bar.
        """
        shape = (len(clips), len(texts))
        wanted = np.ones(shape, dtype=bool) if wanted is None else wanted
        scores = np.full(shape, np.nan, dtype=np.float32)
        with tqdm(total=int(wanted.sum()), unit="pair", desc=label, disable=not self.progress) as bar:
            for (rows, audio), (columns, text) in product(clips.blocks, texts.blocks):
                pairs = np.argwhere(wanted[np.ix_(rows, columns)])  # (pairs, 2)
                if len(pairs):
                    clip, about = torch.from_numpy(pairs).to(self.device).unbind(dim=1)
                    logits = self.model.score_pairs(text, audio, about, clip)
                    scores[rows[pairs[:, 0]], columns[pairs[:, 1]]] = logits.float().cpu().numpy()
                    bar.update(len(pairs))
        return scores


def _blocks(lengths: np.ndarray, most: int) -> list[np.ndarray]:
    """Group indices into blocks of at most `most`, sorted by length to reduce padding."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + most] for start in range(0, len(order), most)]


def shortlist(similarity: np.ndarray, top_k: int) -> np.ndarray:
    """Return the `top_k` items of each query, and those with the score of the last one: bool `(queries, items)`."""
    top_k = min(top_k, similarity.shape[1])
    return similarity >= -np.partition(-similarity, top_k - 1, axis=1)[:, top_k - 1 : top_k]


def rerank(similarity: np.ndarray, matching: np.ndarray, top_k: int) -> np.ndarray:
    """Return scores that rank the `shortlist` of each query by `matching`, and the other items by `similarity`.

    Args:
        similarity: Contrastive scores, `(queries, items)`.
        matching: Matching scores, `(queries, items)`; only those of shortlisted items are used.
        top_k: Length of the shortlist.
    """
    first = shortlist(similarity, top_k)
    similarity, matching = similarity.astype(np.float64), matching.astype(np.float64)
    lowest = np.where(first, matching, np.inf).min(axis=1, keepdims=True)
    return np.where(first, similarity.max(axis=1, keepdims=True) + 1 + matching - lowest, similarity)
