"""MuLaP (Manco et al., ICASSP 2022): masked language modeling, masked audio modeling and matching, and optional terms
on what the streams are before they are fused."""

import math
from functools import cached_property

import numpy as np
import torch

from ...configuration_mulap import MulapConfig
from ...data.collator import PreTrainingCollator, word_importance
from ...modeling_mulap import MulapForPreTraining
from ...modeling_mulap_audio import masked_mean
from ...modeling_mulap_losses import IGNORED_LABEL, MATCHED, MISMATCHED
from ...modeling_mulap_outputs import MulapForPreTrainingOutput
from ...processing_mulap import MulapProcessor
from ..evaluation import feature_statistics, join, known_scores, mean_over, variance_explained
from ..objective import Objective, Record


class MulapObjective(Objective):
    """The proxy tasks of the paper and, if the model's configuration gives them a weight, three more.

    These are a contrastive loss between clips and captions before the fusion (Li et al., ALBEF, NeurIPS 2021), the
    words of the captions as classes (Huang et al., SuperClass, NeurIPS 2024), and a contrastive loss between chunks of
    a clip (Chen et al., SimCLR, ICML 2020). `MulapForPreTraining` computes all of them.
    """

    def make_model(self, config: MulapConfig) -> MulapForPreTraining:
        self._config = config
        return MulapForPreTraining(config)

    def make_collator(self, config: MulapConfig, training: bool) -> PreTrainingCollator:
        mismatch = self.data_args.mismatch_probability
        if training and config.matching_negatives != "given":
            mismatch = 0.0  # the model draws mismatched pairs itself
        return PreTrainingCollator(
            processor=MulapProcessor(self.feature_extractor, self.tokenizer),
            **self.collator_options(config, training),
            mlm_probability=self.data_args.mlm_probability,
            whole_words=self.data_args.whole_words,
            mam_probability=self.data_args.mam_probability,
            min_masked_chunks=self.data_args.min_masked_chunks,
            mismatch_probability=mismatch,
            importance=self._importance if config.words_loss_weight else None,
        )

    def loss_weights(self, config: MulapConfig) -> dict[str, float]:
        return config.loss_weights()

    @cached_property
    def _importance(self) -> np.ndarray:
        return word_importance(self.tokenizer, self.pairs.captions())

    def count(self, batch: dict[str, torch.Tensor]) -> dict[str, int]:
        pairs, two_chunks = len(batch["input_ids"]), 2 * self._config.audio_config.chunk_length
        counts = {
            "mlm_loss": int((batch["mlm_labels"] != IGNORED_LABEL).sum()),
            "mam_loss": int(batch["masked_chunks"].sum()),
            "matching_loss": pairs,
            "contrastive_loss": int(_matched(batch).sum()),
            "words_loss": pairs,
            "chunks_loss": int((batch["audio_attention_mask"].sum(dim=1) >= two_chunks).sum()),
        }
        return {name: counts[name] for name in self.loss_weights(self._config)}

    def terms(self, output: MulapForPreTrainingOutput) -> dict[str, torch.Tensor]:
        return {name: output[name] for name in self.loss_weights(self._config)}

    def measure(self, output: MulapForPreTrainingOutput, batch: dict[str, torch.Tensor]) -> Record:
        labels = batch["mlm_labels"][batch["mlm_labels"] != IGNORED_LABEL]
        masked = batch["masked_chunks"]
        return {
            "mlm_correct": output.mlm_logits.argmax(-1) == labels,  # (labels,)
            "mam_prediction": output.mam_predictions[masked],  # (masked, features)
            "mam_target": output.mam_targets[masked],
            "matched": _matched(batch),  # (pairs,)
            "matching_score": output.matching_logits[:, MATCHED] - output.matching_logits[:, MISMATCHED],
            "embedding": masked_mean(output.chunk_features, output.chunk_mask.bool()),  # (pairs, features)
        }

    def summarize(self, records: list[Record]) -> dict[str, float]:
        weights = self.loss_weights(self._config)
        losses = {name: mean_over(records, name) for name in weights}
        metrics = {name: loss for name, loss in losses.items() if loss is not None}
        metrics = {"loss": sum(weights[name] * loss for name, loss in metrics.items())} | metrics
        if "mlm_loss" in metrics:
            metrics["mlm_accuracy"] = float(join(records, "mlm_correct").mean())
            metrics["mlm_perplexity"] = math.exp(min(metrics["mlm_loss"], 50.0))
        matched, scores = join(records, "matched"), join(records, "matching_score")
        metrics["matching_accuracy"] = float(((scores > 0) == matched).mean())
        scored = {
            "matching_auc": known_scores("multi_label", matched[:, None], scores[:, None]).get("roc_auc"),
            "mam_r2": variance_explained(join(records, "mam_target"), join(records, "mam_prediction")),
        }
        metrics |= {name: value for name, value in scored.items() if value is not None}
        return metrics | feature_statistics(join(records, "embedding"))


def _matched(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """`(pairs,)`, bool, whether the text is that of the clip."""
    labels = batch.get("matching_labels")
    return torch.ones_like(batch["caption_ids"], dtype=torch.bool) if labels is None else labels == MATCHED
