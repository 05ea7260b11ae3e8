"""Similarity of music by factor: a frozen backbone with a head each for melody, rhythm and timbre."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_mulap import MulapSimilarityConfig
from .modeling_mulap_arguments import only_known_arguments
from .modeling_mulap_audio import HEADS, JOINT_PARTS, MulapAudioModel, MulapPreTrainedModel

FACTORS = ("melody", "rhythm", "timbre")


@dataclass
class MulapSimilarityOutput(ModelOutput):
    """Output of `MulapForMusicSimilarity`.

    loss: with labels, the sum of the Circle losses of the factors.
    melody_embeds, rhythm_embeds, timbre_embeds: `(batch, embedding size)`, of length 1: their dot products are the
        similarities, in [-1, 1].
    pooler_output: `(batch, features)`, the embedding of the track by the backbone.
    chunk_mask: `(batch, chunks)`, 1 = real, 0 = padding.
    """

    loss: torch.FloatTensor | None = None
    melody_embeds: torch.FloatTensor | None = None
    rhythm_embeds: torch.FloatTensor | None = None
    timbre_embeds: torch.FloatTensor | None = None
    pooler_output: torch.FloatTensor | None = None
    chunk_mask: torch.LongTensor | None = None


class MulapSimilarityHeads(nn.Module):
    """Embedding of a track -> an embedding of length 1 per factor (Roy, Liang, Herremans 2026, arXiv 2605.27346).

    The input is scaled to mean 0 and variance 1 over the tracks that `fit_scale` was given.
    """

    def __init__(self, config: MulapSimilarityConfig):
        super().__init__()
        size = config.audio_config.feature_size
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.heads = nn.ModuleDict(
            {
                factor: nn.Sequential(
                    nn.Linear(size, config.head_hidden_size),
                    nn.ReLU(),
                    nn.Dropout(config.head_dropout),
                    nn.Linear(config.head_hidden_size, config.embedding_size),
                )
                for factor in FACTORS
            }
        )

    def forward(self, tracks: torch.Tensor) -> dict[str, torch.Tensor]:
        """Embeddings of tracks `(batch, features)` -> by factor `(batch, embedding size)`."""
        scaled = ((tracks.float() - self.mean) * self.scale).to(self.heads[FACTORS[0]][0].weight.dtype)
        return {factor: F.normalize(head(scaled), dim=1) for factor, head in self.heads.items()}

    @torch.no_grad()
    def fit_scale(self, tracks: torch.Tensor):
        """Sets the scaling of the input to the statistics of `(tracks, features)`."""
        self.mean.copy_(tracks.mean(dim=0))
        self.scale.copy_(1 / tracks.std(dim=0).clamp(min=1e-3))


class MulapForMusicSimilarity(MulapPreTrainedModel):
    """Embeddings of a track by melody (with harmony), rhythm and timbre, on the features of a backbone.

    Loads from the folder of any MuLaP model; the heads are then untrained, see `training/similarity.py`. A backbone
    with a pitch branch (`MulapAudioConfig.pitch_channels`) is needed for melody.

    Any input has a defined result. Audio shorter than a chunk is padded with silence; the heads are trained on three
    chunks, so less than that is less certain. Tracks of silence have similarity 1 with each other in every factor, and
    so have tracks without pitch, such as drums alone, nearly, in melody: ask whether there is a melody before.
    """

    config: MulapSimilarityConfig
    input_modalities = ("audio",)
    supports_gradient_checkpointing = False
    _auto_map = {
        "AutoConfig": "configuration_mulap.MulapSimilarityConfig",
        "AutoModel": "modeling_mulap_similarity.MulapForMusicSimilarity",
        "AutoFeatureExtractor": "feature_extraction_mulap.MulapFeatureExtractor",
    }
    _keys_to_ignore_on_load_unexpected = [JOINT_PARTS, HEADS]

    def __init__(self, config: MulapSimilarityConfig):
        super().__init__(config)
        self.audio_model = MulapAudioModel(config.audio_config)
        self.similarity = MulapSimilarityHeads(config)
        self.post_init()
        if config.freeze_audio:
            self._freeze("audio_model")

    def get_input_embeddings(self) -> nn.Module:
        return self.audio_model.get_input_embeddings()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, MulapSimilarityHeads):
            init.zeros_(module.mean)
            init.ones_(module.scale)

    @can_return_tuple
    @only_known_arguments
    def forward(
        self,
        input_values: torch.Tensor,
        audio_attention_mask: torch.Tensor | None = None,
        melody_labels: torch.Tensor | None = None,
        rhythm_labels: torch.Tensor | None = None,
        timbre_labels: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> MulapSimilarityOutput:
        """Embeddings of each track.

        Args:
            input_values, audio_attention_mask, attention_mask: as `MulapAudioModel.forward`.
            melody_labels, rhythm_labels, timbre_labels: `(batch,)`, equal for tracks that share the factor; below 0 =
                unknown. A loss needs one of them at least.

        Raises:
            ValueError: a shape does not fit.
            TypeError: an argument is unknown.
        """
        audio = self.audio_model(input_values, audio_attention_mask, attention_mask=attention_mask)
        embeds = self.similarity(audio.pooler_output)
        labels = {"melody": melody_labels, "rhythm": rhythm_labels, "timbre": timbre_labels}
        return MulapSimilarityOutput(
            loss=self.loss(embeds, {factor: given for factor, given in labels.items() if given is not None}),
            **{f"{factor}_embeds": values for factor, values in embeds.items()},
            pooler_output=audio.pooler_output,
            chunk_mask=audio.chunk_mask,
        )

    def loss(self, embeds: dict[str, torch.Tensor], labels: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """The sum of the Circle losses of the factors that have labels; None if none has.

        Args:
            embeds: by factor `(batch, embedding size)`, of length 1.
            labels: by factor `(batch,)`.

        Raises:
            ValueError: the labels of a factor have another shape.
        """
        losses = []
        for factor, groups in labels.items():
            if groups.shape != embeds[factor].shape[:1]:
                raise ValueError(
                    f"{factor}_labels has shape {tuple(groups.shape)}, expected (batch,) = {len(embeds[factor])}"
                )
            losses.append(circle_loss(embeds[factor], groups, self.config.circle_margin, self.config.circle_scale))
        return torch.stack(losses).sum() if losses else None


def circle_loss(embeds: torch.Tensor, groups: torch.Tensor, margin: float, scale: float) -> torch.Tensor:
    """The Circle loss of pairs in a batch (Sun et al., CVPR 2020, equation 6), a mean over the items that have a pair.

    Args:
        embeds: `(batch, size)`, of length 1.
        groups: `(batch,)`; items with equal numbers are positives of each other, those below 0 are left out.
        margin, scale: m and gamma.

    Returns:
        A scalar; zero, with a gradient, if no two items are in the same group.
    """
    known = groups >= 0
    similarity = embeds.float() @ embeds.float().T  # (batch, batch)
    pairs = known[:, None] & known & ~torch.eye(len(groups), dtype=torch.bool, device=groups.device)
    same = groups[:, None] == groups
    alike, different = pairs & same, pairs & ~same
    far = (1 + margin - similarity).detach().clamp(min=0)  # how far a positive is from its optimum
    near = (similarity + margin).detach().clamp(min=0)
    positive = -scale * far * (similarity - (1 - margin))
    negative = scale * near * (similarity - margin)
    lowest = torch.finfo(similarity.dtype).min / 2
    logits = torch.logsumexp(positive.masked_fill(~alike, lowest), dim=1) + torch.logsumexp(
        negative.masked_fill(~different, lowest), dim=1
    )
    usable = alike.any(dim=1) & different.any(dim=1)
    return (F.softplus(logits) * usable).sum() / usable.sum().clamp(min=1)


__all__ = ["FACTORS", "MulapForMusicSimilarity", "MulapSimilarityHeads", "MulapSimilarityOutput", "circle_loss"]
