"""Similarity of music by factor: a frozen backbone with a head each for melody, rhythm and timbre."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_mulap_similarity import MulapSimilarityConfig
from .modeling_mulap_arguments import mask_of_audio, only_known_arguments
from .modeling_mulap_audio import (
    HEADS,
    JOINT_PARTS,
    MulapAudioModel,
    MulapPreTrainedModel,
    masked_mean,
    unpack,
)
from .modeling_mulap_outputs import MulapAudioOutput

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


class MulapOnsets(nn.Module):
    """Log-mel of chunks `(chunks, bands, frames)` -> how their onsets repeat `(chunks, size)`, without parameters.

    The onset strength is the mean increase of the bands (spectral flux: Böck et al., ISMIR 2012, section 2), over all
    bands and over each range of them. Of each: its autocorrelation for lags up to `config.onset_seconds`, whose peaks
    are at the beat and its multiples; its mean; its standard deviation. All are zero for silence.
    """

    def __init__(self, config: MulapSimilarityConfig):
        super().__init__()
        self.ranges, self.lags = config.onset_bands, config.onset_lags

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        rise = F.relu(log_mel.diff(dim=2))  # (chunks, bands, frames - 1), in dB
        strengths = [rise.mean(dim=1), *(part.mean(dim=1) for part in rise.tensor_split(self.ranges, dim=1))]
        onsets = torch.stack(strengths, dim=1)  # (chunks, 1 + ranges, frames - 1)
        mean, deviation = onsets.mean(dim=2, keepdim=True), onsets.std(dim=2, keepdim=True)
        spectrum = torch.fft.rfft(onsets - mean, n=2 * onsets.shape[2]).abs().square()
        correlation = torch.fft.irfft(spectrum)[:, :, : self.lags + 1]  # (chunks, 1 + ranges, 1 + lags)
        repeats = correlation[:, :, 1:] / correlation[:, :, :1].clamp(min=1e-6)
        return torch.cat([repeats, mean, deviation], dim=2).flatten(1)


class MulapSimilarityHeads(nn.Module):
    """Features of a track -> an embedding of length 1 per factor (Roy, Liang, Herremans 2026, arXiv 2605.27346).

    The input is scaled to mean 0 and variance 1 over the tracks that `fit_scale` was given.
    """

    def __init__(self, config: MulapSimilarityConfig):
        super().__init__()
        size = config.feature_size
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
        """Features of tracks `(batch, config.feature_size)` -> by factor `(batch, embedding size)`."""
        scaled = ((tracks.float() - self.mean) * self.scale).to(self.heads[FACTORS[0]][0].weight.dtype)
        return {factor: F.normalize(head(scaled), dim=1) for factor, head in self.heads.items()}

    @torch.no_grad()
    def fit_scale(self, tracks: torch.Tensor):
        """Sets the scaling of the input to the statistics of `(tracks, features)`."""
        self.mean.copy_(tracks.mean(dim=0))
        self.scale.copy_(1 / tracks.std(dim=0).clamp(min=1e-3))


class MulapForMusicSimilarity(MulapPreTrainedModel):
    """Embeddings of a track by melody (with harmony), rhythm and timbre.

    The heads take the mean over the chunks of the backbone's features and of those of the onsets (`MulapOnsets`),
    because the backbone, made for what sounds, says little about when.

    Loads from the folder of any MuLaP model; the heads are then untrained, see `training/similarity.py`. A backbone
    with a pitch branch (`MulapAudioConfig.pitch_channels`) is needed for melody.

    Any input has a defined result. Audio shorter than a chunk is padded with silence; the heads are trained on three
    chunks, so less than that is less certain. Tracks of silence have similarity 1 with each other in every factor, and
    music without pitch, such as drums alone, has a melody embedding as well, which says little.
    """

    config: MulapSimilarityConfig
    input_modalities = ("audio",)
    supports_gradient_checkpointing = False
    _auto_map = {
        "AutoConfig": "configuration_mulap_similarity.MulapSimilarityConfig",
        "AutoModel": "modeling_mulap_similarity.MulapForMusicSimilarity",
        "AutoFeatureExtractor": "feature_extraction_mulap.MulapFeatureExtractor",
    }
    _keys_to_ignore_on_load_unexpected = [JOINT_PARTS, HEADS]

    def __init__(self, config: MulapSimilarityConfig):
        super().__init__(config)
        self.audio_model = MulapAudioModel(config.audio_config)
        self.onsets = MulapOnsets(config)
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
        audio_attention_mask = mask_of_audio(audio_attention_mask, attention_mask)
        audio = self.audio_model(input_values, audio_attention_mask)
        features = self.chunk_features(input_values, audio_attention_mask, audio)
        embeds = self.similarity(masked_mean(features, audio.chunk_mask.bool()))
        labels = {"melody": melody_labels, "rhythm": rhythm_labels, "timbre": timbre_labels}
        return MulapSimilarityOutput(
            loss=self.loss(embeds, {factor: given for factor, given in labels.items() if given is not None}),
            **{f"{factor}_embeds": values for factor, values in embeds.items()},
            pooler_output=audio.pooler_output,
            chunk_mask=audio.chunk_mask,
        )

    def chunk_features(
        self, input_values: torch.Tensor, audio_attention_mask: torch.Tensor | None, audio: MulapAudioOutput
    ) -> torch.Tensor:
        """Features of every chunk, `(batch, chunks, config.feature_size)`, float32, zero where a chunk is padding.

        Args:
            input_values, audio_attention_mask: as `MulapAudioModel.forward`.
            audio: its output for them.
        """
        chunks, mask = self.audio_model.split(input_values, audio_attention_mask)
        batches = chunks[mask].split(self.config.audio_config.chunk_batch_size)
        onsets = unpack(torch.cat([self.onsets(self.audio_model.log_mel(batch)) for batch in batches]), mask)
        return torch.cat([audio.last_hidden_state.float(), onsets], dim=2)

    def loss(self, embeds: dict[str, torch.Tensor], labels: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """The sum of the Circle losses of the factors that have labels; None if none has.

        A head is to see its factor and nothing else. So the negatives of an item are those that share another factor
        with it; all of them, if there is none like that.

        Args:
            embeds: by factor `(batch, embedding size)`, of length 1.
            labels: by factor `(batch,)`.

        Raises:
            ValueError: the labels of a factor have another shape.
        """
        for factor, groups in labels.items():
            if groups.shape != embeds[factor].shape[:1]:
                raise ValueError(
                    f"{factor}_labels has shape {tuple(groups.shape)}, expected (batch,) = {len(embeds[factor])}"
                )
        share = {factor: _pairs(groups, groups[:, None] == groups) for factor, groups in labels.items()}
        losses = []
        for factor, groups in labels.items():
            different = _pairs(groups, groups[:, None] != groups)
            others = [pairs for name, pairs in share.items() if name != factor]
            related = different & torch.stack(others).any(dim=0) if others else different
            negatives = torch.where(related.any(dim=1, keepdim=True), related, different)
            similarity = embeds[factor].float() @ embeds[factor].float().T  # (batch, batch)
            losses.append(
                circle_loss(similarity, share[factor], negatives, self.config.circle_margin, self.config.circle_scale)
            )
        return torch.stack(losses).sum() if losses else None


def _pairs(groups: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Of the chosen pairs `(batch, batch)`, those of two items whose groups are known."""
    known = groups >= 0
    return chosen & known[:, None] & known & ~torch.eye(len(groups), dtype=torch.bool, device=groups.device)


def circle_loss(
    similarity: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor, margin: float, scale: float
) -> torch.Tensor:
    """The Circle loss of pairs (Sun et al., CVPR 2020, equation 6), a mean over the items that have both kinds.

    Args:
        similarity: `(batch, batch)`, cosines.
        positives, negatives: `(batch, batch)`, which pairs are to be similar, and which are not.
        margin, scale: m and gamma.

    Returns:
        A scalar; zero, with a gradient, if no item has a positive and a negative.
    """
    far = (1 + margin - similarity).detach().clamp(min=0)  # how far a positive is from its optimum
    near = (similarity + margin).detach().clamp(min=0)
    positive = -scale * far * (similarity - (1 - margin))
    negative = scale * near * (similarity - margin)
    lowest = torch.finfo(similarity.dtype).min / 2
    logits = torch.logsumexp(positive.masked_fill(~positives, lowest), dim=1) + torch.logsumexp(
        negative.masked_fill(~negatives, lowest), dim=1
    )
    usable = positives.any(dim=1) & negatives.any(dim=1)
    return (F.softplus(logits) * usable).sum() / usable.sum().clamp(min=1)


__all__ = ["FACTORS", "MulapForMusicSimilarity", "MulapSimilarityHeads", "MulapSimilarityOutput", "circle_loss"]
