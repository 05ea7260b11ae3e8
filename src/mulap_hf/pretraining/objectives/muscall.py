"""Contrastive audio-text learning (MusCALL: Manco et al., ISMIR 2022): a dual encoder."""

import torch

from ...configuration_mulap import MulapConfig
from ...data.collator import PreTrainingCollator
from ...modeling_mulap import MulapModel
from ...modeling_mulap_audio import masked_mean
from ...modeling_mulap_outputs import MulapOutput
from ...processing_mulap import MulapProcessor
from ..evaluation import feature_statistics, join, mean_over, retrieval_scores
from ..objective import Objective, Record

INPUTS = ("input_values", "input_ids", "audio_attention_mask", "attention_mask", "caption_ids")


class MuscallObjective(Objective):
    """InfoNCE with a trained temperature between the embeddings of clips and of their captions."""

    config_fields = {"connection_text_layers": [], "connection_audio_layers": []}

    def make_model(self, config: MulapConfig) -> MulapModel:
        config.content_aware_weights = config.content_aware_weights or self.args.content_aware_weights
        return MulapModel(config)

    def make_collator(self, config: MulapConfig, training: bool) -> PreTrainingCollator:
        return PreTrainingCollator(
            processor=MulapProcessor(self.feature_extractor, self.tokenizer),
            **self.collator_options(config, training),
            mlm_probability=0.0,
            mam_probability=0.0,
            mismatch_probability=0.0,
        )

    def loss_weights(self, config: MulapConfig) -> dict[str, float]:
        return {"contrastive_loss": 1.0}

    def count(self, batch: dict[str, torch.Tensor]) -> dict[str, int]:
        return {"contrastive_loss": len(batch["input_ids"])}

    def forward(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> MulapOutput:
        return model(**{name: batch[name] for name in INPUTS}, return_loss=True, return_logits=False)

    def terms(self, output: MulapOutput) -> dict[str, torch.Tensor]:
        return {"contrastive_loss": output.loss}

    def measure(self, output: MulapOutput, batch: dict[str, torch.Tensor]) -> Record:
        return {
            "audio": output.audio_embeds,
            "text": output.text_embeds,
            "caption": batch["caption_ids"],
            "embedding": masked_mean(output.chunk_features, output.chunk_mask.bool()),  # (pairs, features)
        }

    def summarize(self, records: list[Record]) -> dict[str, float]:
        loss = mean_over(records, "contrastive_loss")
        similarity = join(records, "audio") @ join(records, "text").T  # (clips, texts)
        captions = join(records, "caption")
        return (
            {"loss": loss, "contrastive_loss": loss}
            | retrieval_scores(similarity, captions)
            | feature_statistics(join(records, "embedding"))
        )
