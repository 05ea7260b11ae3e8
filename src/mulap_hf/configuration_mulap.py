"""Configurations of MuLaP: the text stream, the audio stream and the whole model."""

from typing import Literal

from transformers.utils.versions import require_version

require_version("transformers>=5.10", "Older releases do not load MuLaP: pip install --upgrade transformers")

from huggingface_hub.dataclasses import strict  # noqa: E402
from transformers import PreTrainedConfig  # noqa: E402

LOSSES = ("mlm", "mam", "matching", "contrastive", "words", "chunks")
PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


@strict
class MulapTextConfig(PreTrainedConfig):
    """The text stream: a BERT encoder without token-type embedding. Defaults: first six layers of bert-base-uncased.

    Args:
        vocab_size: number of WordPiece tokens.
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, hidden_act: sizes of the Transformer.
        hidden_dropout_prob, attention_probs_dropout_prob: dropout rates.
        max_position_embeddings: length in tokens of the longest text.
    """

    model_type = "mulap_text_model"
    base_config_key = "text_config"

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 6
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    max_position_embeddings: int = 512
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    pad_token_id: int | None = 0

    def validate_heads(self):
        _check_heads("text_config.hidden_size", self.hidden_size, self.num_attention_heads)

    def validate_positions(self):
        if self.max_position_embeddings < 1:
            raise ValueError(f"text_config.max_position_embeddings={self.max_position_embeddings} must be at least 1")


@strict
class MulapAudioConfig(PreTrainedConfig):
    """The audio stream: log-mel, MusiCNN backbone and audio Transformer. Defaults: the published sizes.

    Args:
        sampling_rate: samples per second of the waveforms that the model takes.
        chunk_length: samples per chunk; the backbone encodes each chunk independently (48,000 samples = 3 s).
        n_fft, hop_length, num_mel_bins, f_min, f_max: the log-mel's geometry, in samples and Hz.
        top_db: each chunk's decibels are clamped to this far below that chunk's own maximum.
        timbral_channels: filters of each of the two tall convolutions.
        timbral_heights: their heights as fractions of `num_mel_bins`.
        timbral_width: their width in frames (odd).
        temporal_channels: filters of each of the long convolutions on the frequency mean.
        temporal_lengths: their lengths in frames (odd).
        midend_channels, midend_layers, midend_length: the 1-D convolutions after the front end (length odd).
        pitch_channels: harmony templates of the pitch branch, whose features follow MusiCNN's; 0: there is none, as in
            the published model.
        pitch_octaves, pitch_f_min: its range: octaves from a lowest frequency in Hz.
        pitch_decimation: the branch keeps one in so many samples, after a low-pass filter.
        pitch_n_fft, pitch_hop_length: of its spectrogram, in samples that are kept.
        chunk_batch_size: chunks that the backbone computes at a time in eval mode; bounds memory.
        fast_convolutions: on CPUs, compute the tall convolutions as matrix products (`modeling_mulap_conv`): the same
            up to rounding, several times as fast. The plain convolutions are taken in any case where the modules have
            hooks, pruning or other parametrizations, or weights on a disk.
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, hidden_act: the audio Transformer.
        max_position_embeddings: longest sequence of the audio Transformer: one global token plus the chunks.
    """

    model_type = "mulap_audio_model"
    base_config_key = "audio_config"

    sampling_rate: int = 16000
    chunk_length: int = 48000
    n_fft: int = 512
    hop_length: int = 256
    num_mel_bins: int = 96
    f_min: float | int = 0.0
    f_max: float | int = 8000.0
    top_db: float | int = 80.0
    timbral_channels: int = 204
    timbral_heights: list[float] | tuple[float, ...] = (0.7, 0.4)
    timbral_width: int = 7
    temporal_channels: int = 51
    temporal_lengths: list[int] | tuple[int, ...] = (129, 65, 33)
    midend_channels: int = 64
    midend_layers: int = 3
    midend_length: int = 7
    pitch_channels: int = 0
    pitch_octaves: int = 4
    pitch_f_min: float | int = 65.406  # C2
    pitch_decimation: int = 6
    pitch_n_fft: int = 1024
    pitch_hop_length: int = 768
    chunk_batch_size: int = 16
    fast_convolutions: bool = True

    hidden_size: int = 256
    num_hidden_layers: int = 6
    num_attention_heads: int = 8
    intermediate_size: int = 1024
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    max_position_embeddings: int = 213
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02

    @property
    def frontend_size(self) -> int:
        """Channels of the front end: timbral and temporal filters together."""
        return len(self.timbral_heights) * self.timbral_channels + len(self.temporal_lengths) * self.temporal_channels

    @property
    def feature_size(self) -> int:
        """Size of a chunk's feature: maximum and mean over time of the front end and of every mid-end layer, then the
        pitch branch."""
        return 2 * (self.frontend_size + self.midend_layers * self.midend_channels) + self.pitch_size

    @property
    def pitch_size(self) -> int:
        """Size of the pitch branch's part of a chunk's feature, as `MulapPitch` describes it."""
        return 13 * self.pitch_channels + 12 * self.pitch_octaves + 6 if self.pitch_channels else 0

    @property
    def chunk_seconds(self) -> float:
        return self.chunk_length / self.sampling_rate

    def validate_heads(self):
        _check_heads("audio_config.hidden_size", self.hidden_size, self.num_attention_heads)

    def validate_positions(self):
        if self.max_position_embeddings < 2:
            raise ValueError(
                f"audio_config.max_position_embeddings={self.max_position_embeddings} must be at least 2, for the "
                "global token and a chunk"
            )

    def validate_frontend(self):
        if self.f_max > self.sampling_rate / 2:
            raise ValueError(f"f_max={self.f_max} Hz is above half of sampling_rate={self.sampling_rate} Hz")
        if not 0 <= self.f_min < self.f_max:
            raise ValueError(f"f_min={self.f_min} Hz must not be negative, and below f_max={self.f_max} Hz")
        if self.chunk_length < self.n_fft:
            raise ValueError(f"chunk_length={self.chunk_length} is shorter than one window, n_fft={self.n_fft}")
        for name in ("timbral_width", "midend_length"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name}={getattr(self, name)} must be odd, so that the frames stay aligned")
        if any(length % 2 == 0 for length in self.temporal_lengths):
            raise ValueError(f"temporal_lengths={self.temporal_lengths} must be odd, so that the frames stay aligned")
        if not all(height <= 1 and int(height * self.num_mel_bins) >= 1 for height in self.timbral_heights):
            raise ValueError(
                f"timbral_heights={self.timbral_heights} must be fractions of num_mel_bins={self.num_mel_bins}, at "
                "least one band and at most all"
            )
        if self.pitch_channels:
            self._validate_pitch()
        if self.chunk_batch_size < 1:
            raise ValueError(f"chunk_batch_size={self.chunk_batch_size} must be at least 1")

    def _validate_pitch(self):
        if min(self.pitch_channels, self.pitch_octaves, self.pitch_decimation, self.pitch_hop_length) < 1:
            raise ValueError(
                f"pitch_channels={self.pitch_channels}, pitch_octaves={self.pitch_octaves}, pitch_decimation="
                f"{self.pitch_decimation} and pitch_hop_length={self.pitch_hop_length} must be at least 1"
            )
        highest = self.pitch_f_min * 2 ** (self.pitch_octaves - 1 / 12)
        limit = self.sampling_rate / self.pitch_decimation / 2
        if not 0 < self.pitch_f_min < highest <= limit:
            raise ValueError(
                f"pitch_octaves={self.pitch_octaves} from pitch_f_min={self.pitch_f_min} Hz reach {highest:g} Hz, but "
                f"pitch_decimation={self.pitch_decimation} leaves only frequencies up to {limit:g} Hz"
            )
        if self.chunk_length // self.pitch_decimation < self.pitch_n_fft:
            raise ValueError(
                f"pitch_n_fft={self.pitch_n_fft} samples, one in {self.pitch_decimation}, are longer than "
                f"chunk_length={self.chunk_length}: set a smaller pitch_n_fft, or pitch_channels=0 for no pitch branch"
            )


@strict
class MulapConfig(PreTrainedConfig):
    """MuLaP (Manco et al., ICASSP 2022). Defaults: the published model; `MulapConfig.from_preset("tiny")` for two CPU
    cores, "small" with the published backbone and small
    Transformers.

    Args:
        text_config, audio_config: `MulapTextConfig` and `MulapAudioConfig`, or dicts of their fields.
        connection_text_layers, connection_audio_layers: connection i sits just before these layers of the two streams.
            Empty: a dual encoder, whose streams do not meet.
        connection_hidden_size, connection_num_heads: size of the co-attention.
        pooled_size: size of the pooled vector of each stream.
        fusion: how the two pooled vectors become one, by product ("mul") or sum.
        fusion_dropout_prob: dropout on the fused vector.
        projection_size: size of the joint embedding space of clips and texts, before the co-attention; 0: none.
        logit_scale_init_value: logarithm of the initial scale of similarities in that space, one over the temperature.
        matching_similarity: whether the matching head adds a correction to that similarity.
        matching_negatives: whether the mismatched pairs are "given" in the data or drawn from the batch for each clip
            and each text: at "random", or "hard", with a higher probability for more similar ones.
        num_matching_negatives: how many are drawn for each clip and for each text.
        mlm_loss_weight, mam_loss_weight, matching_loss_weight, contrastive_loss_weight: weights of the losses.
        words_loss_weight: weight of predicting the words of the caption from the track embedding; 0: no such head.
        chunks_loss_weight: weight of the chunk-level contrastive loss, in which two chunks of a clip are to find each
            other among those of other clips; 0: without that head.
        chunks_temperature: what the cosine similarities of chunks are divided by.
        content_aware_weights: whether the contrastive loss, in training, weights each pair by how much its text
            resembles the other texts.
        mam_loss: what masked audio modeling minimizes: "mse", "huber", or "kl" between softmaxes.
        mam_target: what it predicts: the "features" of the masked chunks, these "normalized" (each feature over the
            real chunks of the batch, to mean 0 and variance 1), or "zeros", a bug of the published implementation.
        global_token: the chunks whose mean is the first token of the audio stream: the "unmasked" ones, or "all",
            which reveals what was masked: another bug of the published implementation.
        pair_batch_size: (clip, text) pairs that are fused at once when all clips meet all texts; bounds memory.
        freeze_audio: the backbone gets no gradient and stays in eval mode, so its BatchNorm statistics do not change.
        freeze_text: the same for the text stream (embeddings and layers).
        classifier_head: "linear", "mlp" (one hidden layer) or "musicnn" (hidden layer with BatchNorm and dropout).
        classifier_hidden_size, classifier_dropout: of the last two.
    """

    model_type = "mulap"
    sub_configs = {"text_config": MulapTextConfig, "audio_config": MulapAudioConfig}
    # For Trainer, which otherwise returns all outputs as predictions: these are the logits and the scores alone.
    keys_to_ignore_at_inference = [
        *(f"{name}_loss" for name in LOSSES),
        "pooler_output",
        "hidden_states",
        "chunk_mask",
        "chunk_logits",
        "chunk_features",
        "chunk_views",
        *(
            f"{stream}_{field}"
            for stream in ("text", "audio")
            for field in ("last_hidden_state", "pooler_output", "hidden_states", "attentions", "embeds")
        ),
        "text_to_audio_attentions",
        "audio_to_text_attentions",
        "logit_scale",
        "logits_per_text",
        "mlm_logits",
        "words_logits",
        "mam_predictions",
        "mam_targets",
    ]

    text_config: dict | PreTrainedConfig | None = None
    audio_config: dict | PreTrainedConfig | None = None
    connection_text_layers: list[int] | tuple[int, ...] = (4, 5)
    connection_audio_layers: list[int] | tuple[int, ...] = (0, 1)
    connection_hidden_size: int = 1024
    connection_num_heads: int = 8
    pooled_size: int = 1024
    fusion: Literal["mul", "sum"] = "mul"
    fusion_dropout_prob: float | int = 0.1
    projection_size: int = 0
    logit_scale_init_value: float | int = 2.6593  # a temperature of 0.07
    matching_similarity: bool = False
    matching_negatives: Literal["given", "random", "hard"] = "given"
    num_matching_negatives: int = 1
    mlm_loss_weight: float | int = 0.1
    mam_loss_weight: float | int = 4.0
    matching_loss_weight: float | int = 2.0
    contrastive_loss_weight: float | int = 1.0
    words_loss_weight: float | int = 0.0
    chunks_loss_weight: float | int = 0.0
    chunks_temperature: float = 0.5
    content_aware_weights: bool = False
    mam_loss: Literal["mse", "huber", "kl"] = "mse"
    mam_target: Literal["features", "normalized", "zeros"] = "features"
    global_token: Literal["unmasked", "all"] = "unmasked"
    pair_batch_size: int = 64
    freeze_audio: bool = False
    freeze_text: bool = False
    classifier_head: Literal["linear", "mlp", "musicnn"] = "mlp"
    classifier_hidden_size: int = 512
    classifier_dropout: float | int = 0.0
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True

    def __post_init__(self, **kwargs):
        # transformers does this only since 5.20, and with another name in 5.20 and 5.21 than since 5.22.
        for name, config_class in self.sub_configs.items():
            if not isinstance(getattr(self, name), PreTrainedConfig):
                setattr(self, name, config_class(**(getattr(self, name) or {})))
        super().__post_init__(**kwargs)

    def loss_weights(self) -> dict[str, float]:
        """Weights of the terms of `MulapForPreTraining`'s loss, by their names in its output.

        A term is left out if the model has no part that computes it.
        """
        parts = {
            "contrastive": self.projection_size,
            "words": self.words_loss_weight,
            "chunks": self.chunks_loss_weight,
        }
        return {f"{name}_loss": getattr(self, f"{name}_loss_weight") for name in LOSSES if parts.get(name, True)}

    @classmethod
    def from_preset(cls, name: str, **overrides) -> "MulapConfig":
        """A configuration by name: "published" (the paper's sizes), "small", or "tiny" (for two CPU cores).

        Args:
            name: a key of `PRESETS`.
            overrides: fields of the configuration; dicts for `text_config` and `audio_config` are merged.

        Raises:
            ValueError: the preset does not exist.
        """
        if name not in PRESETS:
            raise ValueError(f"preset {name!r} does not exist; there are {sorted(PRESETS)}")
        fields = {**PRESETS[name], **overrides}
        for key in cls.sub_configs:
            fields[key] = {**PRESETS[name].get(key, {}), **overrides.get(key, {})}
        return cls(**fields)

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path, **kwargs):
        """As in transformers; the folder of a backbone becomes the `audio_config`, so heads load from it, too."""
        content, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if content.get("model_type") == MulapAudioConfig.model_type:
            content = {"model_type": cls.model_type, "audio_config": content}
        return content, kwargs

    def validate_problem_type(self):
        if self.problem_type not in (None, *PROBLEM_TYPES):
            raise ValueError(f"problem_type={self.problem_type!r} is unknown; there are {', '.join(PROBLEM_TYPES)}")

    def validate_connections(self):
        _check_heads("connection_hidden_size", self.connection_hidden_size, self.connection_num_heads)
        if len(self.connection_text_layers) != len(self.connection_audio_layers):
            raise ValueError(
                f"connection_text_layers={self.connection_text_layers} and connection_audio_layers="
                f"{self.connection_audio_layers} must have one entry each per connection"
            )
        for stream in ("text", "audio"):
            layers = list(getattr(self, f"connection_{stream}_layers"))
            config = getattr(self, f"{stream}_config")
            if layers and (layers != sorted(layers) or layers[0] < 0):
                raise ValueError(f"connection_{stream}_layers={layers} must be ascending and not negative")
            if layers and isinstance(config, PreTrainedConfig) and layers[-1] > config.num_hidden_layers:
                raise ValueError(
                    f"connection_{stream}_layers={layers} goes beyond the {config.num_hidden_layers} layers of "
                    f"{stream}_config"
                )

    def validate_alignment(self):
        if self.projection_size < 0 or self.num_matching_negatives < 1 or self.pair_batch_size < 1:
            raise ValueError(
                f"projection_size={self.projection_size} must not be negative, num_matching_negatives="
                f"{self.num_matching_negatives} and pair_batch_size={self.pair_batch_size} at least 1"
            )
        if self.projection_size:
            return
        for field, needs in (
            ("connection_text_layers", not self.connection_text_layers),
            ("matching_similarity", self.matching_similarity),
            ("matching_negatives", self.matching_negatives == "hard"),
        ):
            if needs:
                raise ValueError(
                    f"{field}={getattr(self, field)!r} needs a joint embedding space of clips and texts: set "
                    "projection_size"
                )


def _check_heads(name: str, size: int, heads: int):
    if heads < 1 or size % heads:
        raise ValueError(f"{name}={size} must be a multiple of its number of attention heads, {heads}")


PRESETS = {
    "published": {"text_config": {}, "audio_config": {}},
    "small": {
        "text_config": {
            "vocab_size": 1024,
            "hidden_size": 128,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 512,
            "max_position_embeddings": 64,
        },
        "audio_config": {
            "pitch_channels": 16,
            "hidden_size": 128,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 512,
        },
        "connection_text_layers": [1, 2],
        "connection_audio_layers": [0, 1],
        "connection_hidden_size": 128,
        "connection_num_heads": 4,
        "pooled_size": 128,
    },
    "tiny": {
        "text_config": {
            "vocab_size": 1024,
            "hidden_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 384,
            "max_position_embeddings": 64,
        },
        "audio_config": {
            "hop_length": 512,
            "num_mel_bins": 48,
            "pitch_channels": 16,
            "timbral_channels": 48,
            "temporal_channels": 16,
            "temporal_lengths": [65, 33, 17],
            "midend_channels": 32,
            "hidden_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 384,
        },
        "connection_text_layers": [1, 2],
        "connection_audio_layers": [0, 1],
        "connection_hidden_size": 96,
        "connection_num_heads": 4,
        "pooled_size": 96,
    },
}

__all__ = ["PRESETS", "MulapAudioConfig", "MulapConfig", "MulapTextConfig"]
