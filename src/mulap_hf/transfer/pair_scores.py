"""Scores of clips against texts by a model with a text side: contrastive, matching, and one re-ranked by the other.

Contrastive scores are cosine similarities in the space shared by clips and texts; matching scores are the log-odds of
the fused streams that a text describes a clip. A clip goes through the backbone once and a text through its stream
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
from ..errors import DataError, ModelError
from ..loading import TEXT_KINDS, saved_kind
from ..modeling_mulap import MulapModel
from ..modeling_mulap_audio import MulapAudioOutput, masked_mean, unpack
from ..modeling_mulap_joint import Stream
from ..pipeline_mulap import text_scores
from ..pipeline_mulap_tasks import CONTRASTIVE, MATCHING
from ..processing_mulap import MulapProcessor
from .features import Features

_TEXTS, _CLIPS = 64, 32  # in a block; their pairs are scored together


def has_text_side(model: str | Path) -> bool:
    """Whether a folder or Hub name is a model of clips and texts, and not a backbone or a classifier.

    Raises:
        ModelError: it cannot be found, or is no model that transformers knows.
    """
    return saved_kind(model) in TEXT_KINDS


@dataclass(frozen=True)
class Side:
    """Clips or texts on their way through a model, up to where they meet.

    blocks: which of them (indices), and their stream; those of about the same length are together.
    """

    blocks: list[tuple[np.ndarray, Stream]]

    def __len__(self) -> int:
        return sum(len(rows) for rows, _ in self.blocks)


class PairScorer:
    """A model that scores clips against texts.

    Args:
        model: folder or Hub name of a MuLaP with a text side.
        device: where to compute; default: the GPU if there is one.
        progress: show bars.

    Raises:
        ModelError: it cannot be found, or has no text side.
    """

    def __init__(self, model: str | Path, device: str | None = None, progress: bool = True):
        if not has_text_side(model):
            raise ModelError(f"{model} has no text side (it is a backbone or a classifier): it reads no prompts")
        self.model, info = MulapModel.from_pretrained(model, output_loading_info=True)
        if info["missing_keys"]:  # transformers fills them at random
            raise ModelError(f"{model} is incomplete: it has no {sorted(info['missing_keys'])[0]}")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model.to(self.device).eval()
        self.extractor = Embedder(self.model.audio_model, str(self.device))
        self.processor = MulapProcessor.from_pretrained(model)
        self.progress = progress
        self.name = str(model)

    @property
    def kinds(self) -> list[str]:
        """The kinds of scores that it was trained for."""
        return sorted(text_scores(self.model))

    def check_kinds(self, kinds: Sequence[str] | None = None) -> list[str]:
        """The kinds that are asked for; None: all that it was trained for.

        Raises:
            DataError: it was not trained for scores of these kinds, or of any.
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
        if kind == CONTRASTIVE and self.model.alignment is None:
            return "no space shared by clips and texts (config.projection_size is 0)"
        if kind == MATCHING and self.model.is_dual_encoder:
            return "no co-attention (it is a dual encoder)"
        return f"pre-trained without them (config.{kind}_loss_weight is 0)"

    @torch.inference_mode()
    def read(self, texts: Sequence[str]) -> Side:
        """Texts, which are cut at the tokenizer's `model_max_length`."""
        blocks = []
        for rows in _blocks(np.array([len(text) for text in texts]), _TEXTS):
            inputs = self.processor(text=[texts[row] for row in rows]).to(self.device)
            blocks.append((rows, self.model.start_text(inputs["input_ids"], inputs["attention_mask"])))
        return Side(blocks)

    @torch.inference_mode()
    def hear(self, features: Features) -> Side:
        """Clips, from what the backbone made of them.

        Chunks beyond the positions of the audio Transformer (10 minutes in the published model) count for contrastive
        scores only.
        """
        longest = self.model.config.audio_config.max_position_embeddings - 1  # the global token has a position, too
        blocks = []
        for rows in _blocks(features.counts, _CLIPS):
            values = features.batch(rows)[0].to(self.device)  # (chunks of all, features)
            counts = torch.from_numpy(features.counts[rows]).to(self.device)
            mask = torch.arange(int(counts.max()), device=self.device) < counts[:, None]  # (clips, chunks)
            states = unpack(values, mask)  # (clips, chunks, features)
            heard = MulapAudioOutput(
                last_hidden_state=states[:, :longest],
                pooler_output=masked_mean(states, mask),
                chunk_mask=mask[:, :longest].long(),
            )
            blocks.append((rows, self.model.start_audio(heard)))
        return Side(blocks)

    @torch.inference_mode()
    def contrastive(self, clips: Side, texts: Side) -> np.ndarray:
        """Cosine similarities, `(clips, texts)`, float32."""
        scores = np.empty((len(clips), len(texts)), dtype=np.float32)
        for rows, audio in clips.blocks:
            for columns, text in texts.blocks:
                scores[np.ix_(rows, columns)] = (audio.embeds.float() @ text.embeds.float().T).cpu().numpy()
        return scores

    @torch.inference_mode()
    def matching(self, clips: Side, texts: Side, wanted: np.ndarray | None = None, label: str = "") -> np.ndarray:
        """Log-odds of a match, `(clips, texts)`, float32.

        Args:
            clips, texts: as `hear` and `read` give them.
            wanted: `(clips, texts)`, bool, which pairs to score; the others are NaN. None: all.
            label: of the bar.
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
    """Indices in blocks of at most so many, the shortest first, so that there is little padding in a block."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + most] for start in range(0, len(order), most)]


def shortlist(similarity: np.ndarray, top_k: int) -> np.ndarray:
    """The first `top_k` items of each query, and those that tie with the last of them: `(queries, items)`, bool."""
    top_k = min(top_k, similarity.shape[1])
    return similarity >= -np.partition(-similarity, top_k - 1, axis=1)[:, top_k - 1 : top_k]


def rerank(similarity: np.ndarray, matching: np.ndarray, top_k: int) -> np.ndarray:
    """Scores that order each query's `shortlist` by `matching`, with the rest behind it as they were.

    Args:
        similarity: `(queries, items)`.
        matching: `(queries, items)`; what is on no shortlist is not looked at.
        top_k: length of a shortlist.
    """
    first = shortlist(similarity, top_k)
    similarity, matching = similarity.astype(np.float64), matching.astype(np.float64)
    lowest = np.where(first, matching, np.inf).min(axis=1, keepdims=True)
    return np.where(first, similarity.max(axis=1, keepdims=True) + 1 + matching - lowest, similarity)
