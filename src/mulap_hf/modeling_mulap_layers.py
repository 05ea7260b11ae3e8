"""Building blocks of the two Transformer streams, of the co-attention between them, and of the heads."""

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration_mulap import MulapAudioConfig, MulapConfig, MulapTextConfig

StreamConfig = MulapTextConfig | MulapAudioConfig
LARGEST_LOGIT_SCALE = math.log(100)


def eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    """Attention step by step: the only implementation that returns its weights."""
    scores = query @ key.transpose(2, 3) * scaling  # (batch, heads, queries, keys)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    dropped = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (dropped @ value).transpose(1, 2), weights


class MulapAttention(nn.Module):
    """Multi-head attention of one stream to itself or to the other, then dropout, residual and LayerNorm.

    Args:
        config: of the whole model; its `_attn_implementation` is read at every call.
        stream: of the stream of the queries.
        context_size: width of the stream of the keys and values.
        hidden_size, num_heads: of the attention itself.
    """

    def __init__(self, config: MulapConfig, stream: StreamConfig, context_size: int, hidden_size: int, num_heads: int):
        super().__init__()
        self.config = config
        self.head_size = hidden_size // num_heads
        self.scaling = self.head_size**-0.5
        self.is_causal = False
        self.attention_dropout = stream.attention_probs_dropout_prob
        self.q_proj = nn.Linear(stream.hidden_size, hidden_size)
        self.k_proj = nn.Linear(context_size, hidden_size)
        self.v_proj = nn.Linear(context_size, hidden_size)
        self.out_proj = nn.Linear(hidden_size, stream.hidden_size)
        self.dropout = nn.Dropout(stream.hidden_dropout_prob)
        self.norm = nn.LayerNorm(stream.hidden_size, eps=stream.layer_norm_eps)

    def forward(
        self,
        hidden_states: torch.Tensor,
        context: torch.Tensor,
        mask: torch.Tensor | None,
        output_attentions: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`(batch, queries, size)` and `(batch, keys, context size)` -> `(batch, queries, size)` and, from eager
        attention only, the weights `(batch, heads, queries, keys)`.

        Args:
            hidden_states, context: the stream of the queries and that of the keys.
            mask: which keys the queries may attend to.
            output_attentions: compute eagerly, whatever implementation is configured.
        """

        def split_heads(states: torch.Tensor) -> torch.Tensor:
            return states.unflatten(-1, (-1, self.head_size)).transpose(1, 2)  # (batch, heads, items, head size)

        implementation = "eager" if output_attentions else self.config._attn_implementation
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
        attended, weights = attend(
            self,
            split_heads(self.q_proj(hidden_states)),
            split_heads(self.k_proj(context)),
            split_heads(self.v_proj(context)),
            mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
        )  # (batch, queries, heads, head size)
        output = self.dropout(self.out_proj(attended.flatten(2)))
        return self.norm(hidden_states + output), weights


class MulapFeedForward(nn.Module):
    """Two linear layers with an activation between them, then dropout, residual and LayerNorm."""

    def __init__(self, stream: StreamConfig):
        super().__init__()
        self.fc1 = nn.Linear(stream.hidden_size, stream.intermediate_size)
        self.fc2 = nn.Linear(stream.intermediate_size, stream.hidden_size)
        self.activation = ACT2FN[stream.hidden_act]
        self.dropout = nn.Dropout(stream.hidden_dropout_prob)
        self.norm = nn.LayerNorm(stream.hidden_size, eps=stream.layer_norm_eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.norm(hidden_states + self.dropout(self.fc2(self.activation(self.fc1(hidden_states)))))


class MulapLayer(GradientCheckpointingLayer):
    """A Transformer layer of one stream, LayerNorm after each residual as in BERT."""

    def __init__(self, config: MulapConfig, stream: StreamConfig):
        super().__init__()
        self.attention = MulapAttention(
            config, stream, stream.hidden_size, stream.hidden_size, stream.num_attention_heads
        )
        self.feed_forward = MulapFeedForward(stream)

    def forward(
        self, hidden_states: torch.Tensor, mask: torch.Tensor | None, output_attentions: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`(batch, tokens, size)` -> the same and, from eager attention only, `(batch, heads, tokens, tokens)`."""
        hidden_states, weights = self.attention(hidden_states, hidden_states, mask, output_attentions)
        return self.feed_forward(hidden_states), weights


class MulapConnection(GradientCheckpointingLayer):
    """Co-attention (Lu et al., ViLBERT, 2019): each stream's queries attend to the other stream's keys and values."""

    def __init__(self, config: MulapConfig):
        super().__init__()
        text, audio = config.text_config, config.audio_config
        sizes = (config.connection_hidden_size, config.connection_num_heads)
        self.text_attention = MulapAttention(config, text, audio.hidden_size, *sizes)
        self.audio_attention = MulapAttention(config, audio, text.hidden_size, *sizes)
        self.text_feed_forward = MulapFeedForward(text)
        self.audio_feed_forward = MulapFeedForward(audio)

    def forward(
        self,
        text_states: torch.Tensor,
        audio_states: torch.Tensor,
        text_mask: torch.Tensor | None,
        audio_mask: torch.Tensor | None,
        output_attentions: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """The two streams and, from eager attention only, the weights of text to audio and of audio to text.

        Args:
            text_states, audio_states: `(batch, tokens, text size)` and `(batch, 1 + chunks, audio size)`.
            text_mask, audio_mask: which keys the queries of the text, and those of the audio, may attend to.
            output_attentions: compute eagerly, whatever implementation is configured.
        """
        text, text_weights = self.text_attention(text_states, audio_states, text_mask, output_attentions)
        audio, audio_weights = self.audio_attention(audio_states, text_states, audio_mask, output_attentions)
        return self.text_feed_forward(text), self.audio_feed_forward(audio), text_weights, audio_weights


class MulapTextEmbeddings(nn.Module):
    """Word and position embeddings, LayerNorm, dropout."""

    def __init__(self, stream: MulapTextConfig):
        super().__init__()
        self.word_embeddings = nn.Embedding(stream.vocab_size, stream.hidden_size, padding_idx=stream.pad_token_id)
        self.position_embeddings = nn.Embedding(stream.max_position_embeddings, stream.hidden_size)
        self.norm = nn.LayerNorm(stream.hidden_size, eps=stream.layer_norm_eps)
        self.dropout = nn.Dropout(stream.hidden_dropout_prob)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """`(batch, tokens)` -> `(batch, tokens, size)`."""
        tokens, limit = input_ids.shape[1], self.position_embeddings.num_embeddings
        if tokens > limit:
            raise ValueError(
                f"a text has {tokens} tokens, the model takes {limit}: tokenize with truncation=True, "
                f"max_length={limit}, or configure text_config.max_position_embeddings"
            )
        positions = self.position_embeddings(torch.arange(tokens, device=input_ids.device))
        return self.dropout(self.norm(self.word_embeddings(input_ids) + positions))


class MulapAudioEmbeddings(nn.Module):
    """Chunk features behind a global token, projected, with positions, LayerNorm, dropout."""

    def __init__(self, stream: MulapAudioConfig):
        super().__init__()
        self.projection = nn.Linear(stream.feature_size, stream.hidden_size)
        self.position_embeddings = nn.Embedding(stream.max_position_embeddings, stream.hidden_size)
        self.norm = nn.LayerNorm(stream.hidden_size, eps=stream.layer_norm_eps)
        self.dropout = nn.Dropout(stream.hidden_dropout_prob)

    def forward(self, global_feature: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """`(batch, features)` and `(batch, chunks, features)` -> `(batch, 1 + chunks, size)`."""
        tokens, limit = 1 + features.shape[1], self.position_embeddings.num_embeddings
        if tokens > limit:
            raise ValueError(
                f"a clip has {tokens - 1} chunks, the audio Transformer takes {limit - 1}: crop the audio "
                "(max_seconds of the feature extractor), or configure audio_config.max_position_embeddings; track "
                "embeddings (get_audio_features) have no limit"
            )
        hidden_states = self.projection(torch.cat([global_feature.unsqueeze(1), features], dim=1))
        positions = self.position_embeddings(torch.arange(tokens, device=features.device))
        return self.dropout(self.norm(hidden_states + positions))


class MulapAlignment(nn.Module):
    """The joint embedding space of clips and texts (Radford et al., CLIP, 2021; Li et al., ALBEF, 2021, section 3.2).

    BatchNorm first removes what all clips have in common, and all texts. Without it their random projections point in
    almost the same direction, and the contrastive loss starts with a very small gradient.
    """

    def __init__(self, config: MulapConfig):
        super().__init__()
        self.audio_norm = nn.BatchNorm1d(config.audio_config.feature_size)
        self.text_norm = nn.BatchNorm1d(config.text_config.hidden_size)
        self.audio_projection = nn.Linear(config.audio_config.feature_size, config.projection_size)
        self.text_projection = nn.Linear(config.text_config.hidden_size, config.projection_size)
        self.logit_scale = nn.Parameter(torch.tensor(config.logit_scale_init_value, dtype=torch.float32))

    def forward(self) -> torch.Tensor:
        """The factor of cosine similarities: one over the trained temperature, 100 at most."""
        return self.logit_scale.clamp(max=LARGEST_LOGIT_SCALE).exp()

    @property
    def scale(self) -> torch.Tensor:
        """As `forward`, which is called, so that hooks on this module (weights on a disk) run."""
        return self()

    def project_audio(self, features: torch.Tensor) -> torch.Tensor:
        """`(clips, features)` -> `(clips, projection size)`, of length 1."""
        return F.normalize(self.audio_projection(batch_norm(self.audio_norm, features)), dim=-1)

    def project_text(self, states: torch.Tensor) -> torch.Tensor:
        """`(texts, text size)` -> `(texts, projection size)`, of length 1."""
        return F.normalize(self.text_projection(batch_norm(self.text_norm, states)), dim=-1)


def batch_norm(norm: nn.BatchNorm1d, values: torch.Tensor) -> torch.Tensor:
    """BatchNorm that also takes a single row in training, and normalizes it by the running statistics.

    A synchronized norm takes the statistics of all processes, so all of them must call it.
    """
    if norm.training and len(values) < 2 and type(norm) is nn.BatchNorm1d:
        return F.batch_norm(values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    return norm(values)


class MulapWordsHead(nn.Module):
    """Predicts the words of a caption from the embedding of its track: BatchNorm and a linear classifier (Huang et
    al., SuperClass, NeurIPS 2024)."""

    def __init__(self, config: MulapConfig):
        super().__init__()
        self.norm = nn.BatchNorm1d(config.audio_config.feature_size)
        self.decoder = nn.Linear(config.audio_config.feature_size, config.text_config.vocab_size)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """`(tracks, features)` -> `(tracks, vocabulary)`."""
        return self.decoder(batch_norm(self.norm, embeddings))


class MulapViewHead(nn.Sequential):
    """Projects backbone features to where views of the same clip are compared, `(views, features)` -> `(views, 128)`
    (Chen et al., SimCLR, ICML 2020, section 2.1)."""

    size = 128  # SimCLR's, and CLMR's

    def __init__(self, features: int):
        super().__init__(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, self.size))


class MulapPredictionHead(nn.Module):
    """Linear layer, activation, LayerNorm, and a linear layer to what is predicted: tokens or chunk features."""

    def __init__(self, stream: StreamConfig, output_size: int):
        super().__init__()
        self.dense = nn.Linear(stream.hidden_size, stream.hidden_size)
        self.activation = ACT2FN[stream.hidden_act]
        self.norm = nn.LayerNorm(stream.hidden_size, eps=stream.layer_norm_eps)
        self.decoder = nn.Linear(stream.hidden_size, output_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.norm(self.activation(self.dense(hidden_states))))


def classifier_head(head: str, feature_size: int, num_labels: int, hidden_size: int, dropout: float) -> nn.Module:
    """A new classifier, `(chunks, features)` -> `(chunks, labels)`.

    Args:
        head: as `config.classifier_head`.
        feature_size, num_labels: sizes of what it takes and returns.
        hidden_size, dropout: of the hidden layer; ignored by "linear".
    """
    if head == "linear":
        return nn.Linear(feature_size, num_labels)
    norm = [nn.BatchNorm1d(hidden_size)] if head == "musicnn" else []
    return nn.Sequential(
        nn.Linear(feature_size, hidden_size),
        *norm,
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden_size, num_labels),
    )
