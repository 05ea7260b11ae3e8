"""MuLaP (Manco et al., ICASSP 2022): masked language, masked audio, matching; before the fusion, what the backbone is
taught by itself."""

import math
from functools import cached_property

import numpy as np
import torch

from ...configuration_mulap import MulapConfig
from ...data.collator import PreTrainingCollator, word_importance
from ...modeling_mulap import IGNORED_LABEL, MATCHED, MISMATCHED, MulapForPreTraining
from ...modeling_mulap_audio import masked_mean
from ..contrastive import info_nce, nt_xent
from ..evaluation import feature_statistics, join, known_scores, mean_over, variance_explained
from ..objective import Objective, Record

TASKS = ("mlm", "mam", "matching", "contrastive", "words", "chunks")


class MulapObjective(Objective):
    """The paper's proxy tasks and, as the model's configuration says, align before fuse (Li et al., NeurIPS 2021), the
    captions' words as classes (Huang et al., SuperClass, NeurIPS 2024) and a clip's chunks as views of each other
    (Chen et al., SimCLR, ICML 2020)."""

    def make_model(self, config: MulapConfig) -> MulapForPreTraining:
        self._config = config
        return MulapForPreTraining(config)

    def make_collator(self, config: MulapConfig, training: bool) -> PreTrainingCollator:
        mismatch = self.data_args.mismatch_probability
        if training and config.matching_negatives != "given":
            mismatch = 0.0  # the model draws its own
        return PreTrainingCollator(
            **self.collator_options(config, training),
            mlm_probability=self.data_args.mlm_probability,
            whole_words=self.data_args.whole_words,
            mam_probability=self.data_args.mam_probability,
            min_masked_chunks=self.data_args.min_masked_chunks,
            mismatch_probability=mismatch,
            importance=self._importance if config.words_loss_weight else None,
        )

    def loss_weights(self, config: MulapConfig) -> dict[str, float]:
        weights = {f"{task}_loss": getattr(config, f"{task}_loss_weight") for task in TASKS}
        parts = {
            "contrastive_loss": config.projection_size,
            "words_loss": config.words_loss_weight,
            "chunks_loss": config.chunks_loss_weight,
        }
        return {name: weight for name, weight in weights.items() if parts.get(name, True)}

    @cached_property
    def _importance(self) -> np.ndarray:
        return word_importance(self.processor.tokenizer, self.pairs.captions())

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

    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        output = model(**batch)
        losses = {f"{task}_loss": output[f"{task}_loss"] for task in TASKS if f"{task}_loss" in output}
        if output.audio_embeds is not None:
            matched = _matched(batch)
            losses["contrastive_loss"] = info_nce(
                output.audio_embeds[matched],
                output.text_embeds[matched],
                output.logit_scale,
                text_ids=batch["caption_ids"][matched],
            )
        if output.chunk_views is not None:
            losses["chunks_loss"] = nt_xent(*output.chunk_views.unbind(dim=1), self._config.chunks_temperature)
        return losses

    def measure(self, model: MulapForPreTraining, batch: dict[str, torch.Tensor]) -> Record:
        output = model(**batch)
        labels = batch["mlm_labels"][batch["mlm_labels"] != IGNORED_LABEL]
        masked = batch["masked_chunks"]
        record = {f"{name}_count": count for name, count in self.count(batch).items()}
        record |= self.losses(lambda **_: output, batch)
        return record | {
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
    """`(pairs,)`, bool: where the text is the clip's own."""
    labels = batch.get("matching_labels")
    return torch.ones_like(batch["caption_ids"], dtype=torch.bool) if labels is None else labels == MATCHED
