"""Contrastive audio-text learning (MusCALL: Manco et al., ISMIR 2022): a dual encoder."""

import torch

from ...configuration_mulap import MulapConfig
from ...data.collator import PreTrainingCollator
from ...modeling_mulap import MulapModel
from ..contrastive import content_aware_weights, info_nce
from ..evaluation import feature_statistics, join, mean_over, retrieval_scores
from ..objective import Objective, Record


class MuscallObjective(Objective):
    """InfoNCE with a learned temperature between the embeddings of clips and of their captions."""

    config_fields = {"connection_text_layers": [], "connection_audio_layers": []}

    def make_model(self, config: MulapConfig) -> MulapModel:
        return MulapModel(config)

    def make_collator(self, config: MulapConfig, training: bool) -> PreTrainingCollator:
        return PreTrainingCollator(
            **self.collator_options(config, training),
            mlm_probability=0.0,
            mam_probability=0.0,
            mismatch_probability=0.0,
        )

    def loss_weights(self, config: MulapConfig) -> dict[str, float]:
        return {"contrastive_loss": 1.0}

    def count(self, batch: dict[str, torch.Tensor]) -> dict[str, int]:
        return {"contrastive_loss": len(batch["input_ids"])}

    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        output = model(**batch, return_logits=False)
        weights = content_aware_weights(output.text_embeds) if self.args.content_aware_weights else None
        loss = info_nce(
            output.audio_embeds, output.text_embeds, output.logit_scale, weights=weights, text_ids=batch["caption_ids"]
        )
        return {"contrastive_loss": loss}

    def measure(self, model: MulapModel, batch: dict[str, torch.Tensor]) -> Record:
        backbone = model.audio_model(batch["input_values"], batch["audio_attention_mask"])
        audio = model.alignment.project_audio(backbone.pooler_output)
        text = model.get_text_features(batch["input_ids"], batch["attention_mask"]).pooler_output
        loss = info_nce(audio, text, model.alignment.scale, text_ids=batch["caption_ids"])
        return {
            "contrastive_loss": loss,
            "contrastive_loss_count": len(batch["input_ids"]),
            "audio": audio,
            "text": text,
            "caption": batch["caption_ids"],
            "embedding": backbone.pooler_output,
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
