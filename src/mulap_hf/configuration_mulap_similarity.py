"""Configuration of the similarity model."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .configuration_mulap import MulapAudioConfig, MulapConfig


@strict
class MulapSimilarityConfig(PreTrainedConfig):
    """A backbone with three heads for similarity by melody, rhythm and timbre (`MulapForMusicSimilarity`).

    Args:
        audio_config: `MulapAudioConfig` of the backbone, or a dict of its fields.
        onset_bands: frequency ranges in which onsets are followed for the rhythm, besides the whole range.
        onset_seconds: longest lag of the autocorrelation of the onsets, below the length of a chunk. Default: two
            thirds of it.
        head_hidden_size: of each head, a perceptron with two layers.
        head_dropout: on its hidden layer.
        embedding_size: of the embedding of each factor.
        circle_margin, circle_scale: margin m and scale gamma of the Circle loss (Sun et al., CVPR 2020).
        freeze_audio: the backbone gets no gradient and stays in eval mode.
    """

    model_type = "mulap_music_similarity"
    sub_configs = {"audio_config": MulapAudioConfig}
    keys_to_ignore_at_inference = ["pooler_output", "chunk_mask"]

    audio_config: dict | PreTrainedConfig | None = None
    onset_bands: int = 4
    onset_seconds: float | int | None = None
    head_hidden_size: int = 512
    head_dropout: float | int = 0.5
    embedding_size: int = 128
    circle_margin: float = 0.25
    circle_scale: float | int = 32.0
    freeze_audio: bool = True
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        if not isinstance(self.audio_config, PreTrainedConfig):
            self.audio_config = MulapAudioConfig(**(self.audio_config or {}))
        if self.onset_seconds is None:
            self.onset_seconds = self.audio_config.chunk_seconds * 2 / 3
        super().__post_init__(**kwargs)

    @property
    def onset_lags(self) -> int:
        """Lags of the autocorrelation, in frames of the log-mel."""
        return round(self.onset_seconds * self.audio_config.sampling_rate / self.audio_config.hop_length)

    @property
    def feature_size(self) -> int:
        """Size of the input of the heads: features of the backbone, then those of the onsets."""
        return self.audio_config.feature_size + (self.onset_bands + 1) * (self.onset_lags + 2)

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path, **kwargs):
        """As in transformers; the folder of any MuLaP model gives the `audio_config`."""
        content, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if content.get("model_type") == MulapAudioConfig.model_type:
            content = {"audio_config": content}
        elif content.get("model_type") == MulapConfig.model_type:
            content = {"audio_config": content["audio_config"]}
        return {**content, "model_type": cls.model_type}, kwargs

    def validate_heads(self):
        if min(self.head_hidden_size, self.embedding_size) < 1 or not 0 <= self.head_dropout < 1:
            raise ValueError(
                f"head_hidden_size={self.head_hidden_size} and embedding_size={self.embedding_size} must be at least "
                f"1, head_dropout={self.head_dropout} at least 0 and below 1"
            )

    def validate_onsets(self):
        if not 1 <= self.onset_bands <= self.audio_config.num_mel_bins:
            raise ValueError(
                f"onset_bands={self.onset_bands} must be at least 1, and at most num_mel_bins="
                f"{self.audio_config.num_mel_bins}"
            )
        if self.onset_lags < 1 or self.onset_seconds >= self.audio_config.chunk_seconds:
            raise ValueError(
                f"onset_seconds={self.onset_seconds} must be at least a frame, and below the "
                f"{self.audio_config.chunk_seconds:g} s of a chunk"
            )

    def validate_loss(self):
        if not 0 < self.circle_margin < 1 or self.circle_scale <= 0:
            raise ValueError(
                f"circle_margin={self.circle_margin} must be between 0 and 1, circle_scale={self.circle_scale} above 0"
            )


__all__ = ["MulapSimilarityConfig"]
