"""Batches for MuLaP: clips and captions, and what is masked and mismatched in them."""

from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from ..modeling_mulap_losses import IGNORED_LABEL, MATCHED, MISMATCHED
from ..processing_mulap import MulapProcessor
from .clips import ClipCollator

logger = logging.get_logger(__name__)


@dataclass(kw_only=True)
class PreTrainingCollator(ClipCollator):
    """Rows of a `PairStream` -> the inputs of `MulapForPreTraining`, and `caption_ids`, equal for equal captions.

    With a fixed epoch the masks are fixed. Matched and mismatched captions are masked alike, and each caption of a
    batch is used exactly once, so that neither [MASK] nor the text alone tells what matches. Where no pair is to be
    mismatched there are no `matching_labels`.

    Args:
        processor: prepares clips and captions; `sampling_rate` is taken from it.
        mlm_probability: fraction of the tokens to predict; of these 80 % become [MASK], 10 % a random token.
        whole_words: choose all pieces of a word together.
        mam_probability: fraction of the chunks to predict.
        min_masked_chunks: how many chunks of a clip to mask at least, in expectation: raises the share for short
            clips, to one half at most.
        mismatch_probability: fraction of the pairs that get another pair's caption.
        importance: `(vocabulary,)`, what each token counts among the words of a caption (see `word_importance`); none:
            there are no `word_ids` and `word_weights`.
    """

    processor: MulapProcessor
    mlm_probability: float = 0.15
    whole_words: bool = False
    mam_probability: float = 0.15
    min_masked_chunks: float = 1.0
    mismatch_probability: float = 0.5
    importance: np.ndarray | None = None

    def __post_init__(self):
        super().__post_init__()
        self.sampling_rate = self.processor.feature_extractor.sampling_rate
        tokenizer = self.processor.tokenizer
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        self._continues_word = np.array([piece.startswith("##") for piece in pieces])
        self._ordinary_ids = np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)

    def make_inputs(self, rows: list[dict], clips: list[np.ndarray], rng: np.random.Generator) -> dict:
        captions = [row["caption"] for row in rows]
        sources, mismatched = mismatch_captions(captions, self.mismatch_probability, rng)
        texts = [captions[source] for source in sources]
        inputs = self.processor(audio=clips, text=texts, sampling_rate=self.sampling_rate)
        ids = inputs["input_ids"].numpy()
        masked_ids, mlm_labels = self._mask_tokens(ids, rng)
        mlm_labels[mismatched] = IGNORED_LABEL
        batch = {
            "input_values": inputs["input_values"],
            "audio_attention_mask": inputs["audio_attention_mask"],
            "input_ids": torch.from_numpy(masked_ids),
            "attention_mask": inputs["attention_mask"],
            "masked_chunks": torch.from_numpy(self._mask_chunks([len(clip) for clip in clips], rng)),
            "mlm_labels": torch.from_numpy(mlm_labels),
            "caption_ids": torch.tensor([crc32(text.encode()) for text in texts]),
        }
        if self.mismatch_probability > 0:
            batch["matching_labels"] = torch.from_numpy(np.where(mismatched, MISMATCHED, MATCHED))
        if self.importance is not None:
            batch |= self._words(ids[np.argsort(sources)])  # back from mismatched to own
        return batch

    def _words(self, ids: np.ndarray) -> dict[str, torch.Tensor]:
        """The tokens of captions and their shares, `(batch, tokens)`; what stands in one again has a share of 0."""
        first = np.zeros(ids.shape, dtype=bool)
        for row, kept in zip(ids, first, strict=True):
            kept[np.unique(row, return_index=True)[1]] = True
        shares = np.where(first, self.importance[ids], 0)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-6)
        return {"word_ids": torch.from_numpy(ids), "word_weights": torch.from_numpy(shares.astype(np.float32))}

    def _mask_chunks(self, lengths: list[int], rng: np.random.Generator) -> np.ndarray:
        """Which chunks to predict, `(batch, chunks)`, bool."""
        chunks = np.maximum(1, np.array(lengths) // self.chunk_length)
        share = np.full(len(chunks), self.mam_probability)
        if self.mam_probability > 0:
            share = np.maximum(share, np.minimum(0.5, self.min_masked_chunks / chunks))
        drawn = rng.random((len(chunks), chunks.max())) < share[:, None]
        return drawn & (np.arange(chunks.max()) < chunks[:, None])

    def _mask_tokens(self, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Masked ids and labels, both `(batch, tokens)` (Devlin et al., 2019, section 3.1)."""
        tokenizer = self.processor.tokenizer
        special = np.isin(ids, tokenizer.all_special_ids)
        score = rng.random(ids.shape)
        if self.whole_words:
            continues = self._continues_word[ids]
            for column in range(1, ids.shape[1]):
                score[:, column] = np.where(continues[:, column], score[:, column - 1], score[:, column])
        chosen = (score < self.mlm_probability) & ~special
        fate = rng.random(ids.shape)
        masked = np.where(chosen & (fate < 0.8), tokenizer.mask_token_id, ids)
        masked = np.where(chosen & (fate >= 0.9), rng.choice(self._ordinary_ids, ids.shape), masked)
        return masked, np.where(chosen, ids, IGNORED_LABEL)


def word_importance(tokenizer: PreTrainedTokenizerBase, captions: list[str]) -> np.ndarray:
    """Inverse document frequencies, `(vocabulary,)`: the rarer a token, the more it says of a track. What no caption
    has, and special tokens, count nothing.

    Args:
        captions: at least one.
    """
    frequency = np.zeros(len(tokenizer))
    for ids in tokenizer(captions, truncation=True)["input_ids"]:
        frequency[list(set(ids))] += 1
    importance = np.log(len(captions) / np.maximum(frequency, 1)) * (frequency > 0)
    importance[tokenizer.all_special_ids] = 0
    return importance


def mismatch_captions(
    captions: list[str], probability: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Gives some clips another clip's caption, never one equal to their own, and each caption to exactly one clip.

    Args:
        captions: of the clips of a batch.
        probability: fraction of the clips to mismatch; fewer where too many captions are equal.
        rng: draws which.

    Returns:
        sources: `(batch,)`, whose caption each clip gets.
        mismatched: `(batch,)`, bool, whether that is another's.
    """
    sources = np.arange(len(captions))
    chosen = [int(index) for index in rng.permutation(len(captions)) if rng.random() < probability]
    groups: dict[str, list[int]] = {}
    for index in chosen:
        groups.setdefault(captions[index], []).append(index)
    # With equal captions side by side, moving everyone on by the largest group's size leaves nobody with an equal
    # caption, as long as no group is more than half.
    largest = max(groups.values(), key=len, default=[])
    others = len(chosen) - len(largest)
    del largest[others:]
    ordered = [index for group in groups.values() for index in group]
    if ordered:
        sources[ordered] = np.roll(ordered, len(max(groups.values(), key=len)))
    elif len(captions) > 1 and len(set(captions)) == 1:
        logger.warning_once("All captions of a batch are equal: there are no mismatched pairs to learn matching from.")
    return sources, sources != np.arange(len(captions))
