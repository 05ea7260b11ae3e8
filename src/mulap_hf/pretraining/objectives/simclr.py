"""Contrastive learning of audio alone between two augmented views of each clip (SimCLR: Chen et al., ICML 2020; of
music, CLMR: Spijkervet & Burgoyne, ISMIR 2021)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from ...configuration_mulap import MulapConfig
from ...data.augmentation import Augmentation
from ...data.clips import ClipCollator
from ...errors import DataError
from ...modeling_mulap_audio import MulapAudioModel, MulapPreTrainedModel
from ...modeling_mulap_layers import MulapViewHead
from ...modeling_mulap_losses import nt_xent
from ..evaluation import feature_statistics, join, mean_over
from ..objective import Objective, Record


@dataclass
class ViewOutput(ModelOutput):
    """The loss, the projections that it compares, and the embeddings.

    loss: NT-Xent, in which each view is to find the other view of its clip.
    projections: `(views, 128)`.
    pooler_output: `(views, features)`, the backbone's embedding of each view.
    """

    loss: torch.FloatTensor | None = None
    projections: torch.FloatTensor | None = None
    pooler_output: torch.FloatTensor | None = None


class ViewModel(MulapPreTrainedModel):
    """The backbone and, on its embedding, a projection head that is not kept after training.

    Args:
        config: of the backbone.
        temperature: what the cosine similarities of views are divided by.
    """

    input_modalities = ("audio",)
    supports_gradient_checkpointing = False

    def __init__(self, config: MulapConfig, temperature: float):
        super().__init__(config)
        self.temperature = temperature
        self.audio_model = MulapAudioModel(config.audio_config)
        self.projection = MulapViewHead(config.audio_config.feature_size)
        self.post_init()

    @can_return_tuple
    def forward(self, input_values: torch.Tensor) -> ViewOutput:
        """The loss and what it is computed from.

        Args:
            input_values: `(2 * clips, samples)`, first one view of each clip, then the other one of each.
        """
        embeddings = self.audio_model(input_values).pooler_output  # (views, features)
        projections = self.projection(embeddings)
        first, second = projections.chunk(2)
        loss = nt_xent(first, second, self.temperature, across_processes=self.training)
        return ViewOutput(loss=loss, projections=projections, pooler_output=embeddings)


@dataclass(kw_only=True)
class ViewCollator(ClipCollator):
    """Rows of a `PairStream` -> `input_values` `(2 * batch, samples)`: first one view of each clip, then the other.

    Args:
        augmentation: makes a view.
        view_samples: length of a view; a shorter clip is repeated.
    """

    augmentation: Augmentation
    view_samples: int

    def augment(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return clip  # each of its views is augmented instead

    def make_inputs(self, rows: list[dict], clips: list[np.ndarray], rng: np.random.Generator) -> dict:
        views = [self.augmentation(clip, rng, self.view_samples) for _ in range(2) for clip in clips]
        return {"input_values": torch.from_numpy(np.stack(views))}


class SimclrObjective(Objective):
    """NT-Xent over two views of each clip, at the temperature `args.temperature`."""

    needs_captions = False

    def make_model(self, config: MulapConfig) -> ViewModel:
        return ViewModel(config, self.args.temperature)

    def make_collator(self, config: MulapConfig, training: bool) -> ViewCollator:
        if not 0 < self.data_args.view_share <= 1:
            raise DataError(f"--view_share must be more than 0 and at most 1, got {self.data_args.view_share}")
        rate, chunk_length = self.feature_extractor.sampling_rate, config.audio_config.chunk_length
        chunks = int(self.data_args.view_share * self.data_args.clip_seconds * rate / chunk_length)
        augmentation = Augmentation(rate).weakened(self.data_args.augment_strength)
        options = self.collator_options(config, training) | {"augmentation": augmentation}
        return ViewCollator(**options, view_samples=max(1, chunks) * chunk_length)

    def loss_weights(self, config: MulapConfig) -> dict[str, float]:
        return {"contrastive_loss": 1.0}

    def count(self, batch: dict[str, torch.Tensor]) -> dict[str, int]:
        return {"contrastive_loss": len(batch["input_values"]) // 2}

    def terms(self, output: ViewOutput) -> dict[str, torch.Tensor]:
        return {"contrastive_loss": output.loss}

    def measure(self, output: ViewOutput, batch: dict[str, torch.Tensor]) -> Record:
        views = F.normalize(output.projections.float(), dim=1)  # (2 * batch, 128)
        similarity = (views @ views.T).fill_diagonal_(-torch.inf)
        partners = torch.arange(len(views), device=views.device).roll(len(views) // 2)
        return {
            "found": similarity.argmax(dim=1) == partners,  # (2 * batch,)
            "embedding": output.pooler_output,
        }

    def summarize(self, records: list[Record]) -> dict[str, float]:
        loss = mean_over(records, "contrastive_loss")
        metrics = {"loss": loss, "contrastive_loss": loss, "view_accuracy": float(join(records, "found").mean())}
        return metrics | feature_statistics(join(records, "embedding"))

    def export(self, model: ViewModel) -> MulapAudioModel:
        return model.audio_model
