"""The two streams of MuLaP and how they meet: in a space shared by both, by co-attention, or both."""

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F
from transformers.masking_utils import create_bidirectional_mask
from transformers.utils import ModelOutput, logging

from .configuration_mulap import MulapConfig
from .modeling_mulap_audio import (
    HEADS,
    MulapAudioModel,
    MulapAudioOutput,
    MulapPreTrainedModel,
    check_shape,
    masked_mean,
)
from .modeling_mulap_layers import (
    MulapAlignment,
    MulapAudioEmbeddings,
    MulapConnection,
    MulapLayer,
    MulapTextEmbeddings,
)

logger = logging.get_logger(__name__)


@dataclass
class MulapStates(ModelOutput):
    """What the two streams make of aligned pairs (clip i with text i).

    matching_logits: `(batch, 2)`; class 0 = the text describes the clip, 1 = it does not.
    pooler_output: `(batch, pooled size)`, the fused vector of the pair.
    text_last_hidden_state, audio_last_hidden_state: `(batch, tokens, text size)`, `(batch, 1 + chunks, audio size)`;
        the audio's first token is the global one.
    text_pooler_output, audio_pooler_output: `(batch, pooled size)`.
    chunk_mask: `(batch, chunks)`, 1 = real, 0 = padding.
    text_hidden_states, audio_hidden_states: on request, the embeddings and the output of every layer.
    text_attentions, audio_attentions: on request, `(batch, heads, tokens, tokens)` per layer.
    audio_embeds, text_embeds: `(clips, projection size)`, `(texts, projection size)`, of length 1, in the shared space
        of a model with `config.projection_size`; logit_scale: what their products are multiplied by.
    text_to_audio_attentions: on request, `(batch, heads, tokens, 1 + chunks)` per connection.
    audio_to_text_attentions: on request, `(batch, heads, 1 + chunks, tokens)` per connection.
    """

    matching_logits: torch.FloatTensor | None = None
    pooler_output: torch.FloatTensor | None = None
    text_last_hidden_state: torch.FloatTensor | None = None
    audio_last_hidden_state: torch.FloatTensor | None = None
    text_pooler_output: torch.FloatTensor | None = None
    audio_pooler_output: torch.FloatTensor | None = None
    chunk_mask: torch.LongTensor | None = None
    text_hidden_states: tuple[torch.FloatTensor, ...] | None = None
    audio_hidden_states: tuple[torch.FloatTensor, ...] | None = None
    text_attentions: tuple[torch.FloatTensor, ...] | None = None
    audio_attentions: tuple[torch.FloatTensor, ...] | None = None
    text_to_audio_attentions: tuple[torch.FloatTensor, ...] | None = None
    audio_to_text_attentions: tuple[torch.FloatTensor, ...] | None = None
    audio_embeds: torch.FloatTensor | None = None
    text_embeds: torch.FloatTensor | None = None
    logit_scale: torch.FloatTensor | None = None


@dataclass
class Stream:
    """One stream on its way through the layers, with what is recorded of it."""

    states: torch.Tensor  # (batch, tokens, size)
    mask: torch.Tensor  # (batch, tokens), bool
    embeds: torch.Tensor | None = None  # (batch, projection size)
    hidden_states: list[torch.Tensor] = field(default_factory=list)
    attentions: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self):
        self.hidden_states.append(self.states)

    def select(self, rows: torch.Tensor) -> "Stream":
        """Copies of some rows, for layers to go on from."""
        return Stream(self.states[rows], self.mask[rows], None if self.embeds is None else self.embeds[rows])


class MulapJointModel(MulapPreTrainedModel):
    """Both streams, their co-attention and the matching head (Manco et al., ICASSP 2022, section 2), without a forward
    pass: what `MulapModel` and `MulapForPreTraining` have in common.

    With `config.projection_size` clips and texts also have embeddings in a shared space, before the streams meet;
    without connections there is nothing but these: a dual encoder.
    """

    _keys_to_ignore_on_load_unexpected = [HEADS]

    def __init__(self, config: MulapConfig):
        super().__init__(config)
        text, audio = config.text_config, config.audio_config
        self.audio_model = MulapAudioModel(audio)
        self.text_embeddings = MulapTextEmbeddings(text)
        self.text_layers = nn.ModuleList(MulapLayer(config, text) for _ in range(text.num_hidden_layers))
        self.alignment = MulapAlignment(config) if config.projection_size else None
        if self.is_dual_encoder:
            return
        self.audio_embeddings = MulapAudioEmbeddings(audio)
        self.audio_layers = nn.ModuleList(MulapLayer(config, audio) for _ in range(audio.num_hidden_layers))
        self.connections = nn.ModuleList(MulapConnection(config) for _ in config.connection_text_layers)
        self.text_pooler = nn.Linear(text.hidden_size, config.pooled_size)
        self.audio_pooler = nn.Linear(audio.hidden_size, config.pooled_size)
        self.fusion_dropout = nn.Dropout(config.fusion_dropout_prob)
        self.matching_head = nn.Linear(config.pooled_size, 2)

    def post_init(self):
        super().post_init()
        if self.config.freeze_audio:
            self._freeze("audio_model")
        if self.config.freeze_text:
            self._freeze("text_embeddings", "text_layers")

    @property
    def is_dual_encoder(self) -> bool:
        """Whether the streams only meet in the shared space."""
        return not self.config.connection_text_layers

    def get_input_embeddings(self) -> nn.Embedding:
        return self.text_embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding):
        self.text_embeddings.word_embeddings = value

    def start_text(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> Stream:
        """The text stream up to where it meets the audio, or to its end.

        Args:
            input_ids, attention_mask: as `MulapModel.forward`.

        Raises:
            ValueError: a shape does not fit.
        """
        if input_ids.dim() != 2 or input_ids.shape[1] == 0:
            raise ValueError(
                f"input_ids has shape {tuple(input_ids.shape)}; MuLaP takes (texts, tokens): let the processor "
                "prepare them"
            )
        check_shape("attention_mask", attention_mask, "(texts, tokens)", input_ids.shape)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        stream = Stream(self.text_embeddings(input_ids), attention_mask.bool())
        self._run(self.text_layers[: (*self.config.connection_text_layers, None)[0]], stream)
        if self.alignment is not None:
            stream.embeds = self.alignment.project_text(masked_mean(stream.states, stream.mask))
        return stream

    def start_audio(self, audio: MulapAudioOutput, masked_chunks: torch.Tensor | None = None) -> Stream:
        """The audio stream up to where it meets the text.

        The embedding hears the whole clip; the global token, by default, only the chunks left unmasked: so it does not
        tell what was masked.

        Args:
            audio: what the backbone hears.
            masked_chunks: `(batch, chunks)`, bool.
        """
        features, chunk_mask = audio.last_hidden_state, audio.chunk_mask.bool()
        embeds = None if self.alignment is None else self.alignment.project_audio(audio.pooler_output)
        if self.is_dual_encoder:
            return Stream(features, chunk_mask, embeds)
        heard = chunk_mask
        if masked_chunks is not None and self.config.global_token == "unmasked":
            heard = chunk_mask & ~masked_chunks
        global_feature = masked_mean(features, heard).detach()
        if masked_chunks is not None:
            features = features.masked_fill(masked_chunks.unsqueeze(-1), 0)
        states = self.audio_embeddings(global_feature, features)
        mask = F.pad(chunk_mask, (1, 0), value=True)  # the global token is always real
        return self._run(self.audio_layers[: self.config.connection_audio_layers[0]], Stream(states, mask, embeds))

    def _run(self, layers: nn.ModuleList, stream: Stream) -> Stream:
        mask = self._mask(stream, stream)
        for layer in layers:
            stream.states, weights = layer(stream.states, mask)
            stream.hidden_states.append(stream.states)
            stream.attentions.append(weights)
        return stream

    def _mask(self, queries: Stream, keys: Stream) -> torch.Tensor | None:
        """Which keys the queries may see, in the form that the attention implementation wants."""
        return create_bidirectional_mask(
            self.config, inputs_embeds=queries.states, attention_mask=keys.mask, encoder_hidden_states=keys.states
        )

    def _fuse(
        self,
        text: Stream,
        audio: Stream,
        output_hidden_states: bool | None = False,
        output_attentions: bool | None = False,
    ) -> MulapStates:
        """Both streams from their first connection on, as pairs: text i with clip i."""
        hidden_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        attentions = self.config.output_attentions if output_attentions is None else output_attentions
        if attentions and self.config._attn_implementation != "eager":
            attentions = False
            logger.warning_once(
                f"output_attentions: the attention implementation {self.config._attn_implementation!r} returns no "
                'weights; call model.set_attn_implementation("eager") first'
            )
        text_starts, audio_starts = self.config.connection_text_layers, self.config.connection_audio_layers
        text_ends = [*text_starts[1:], len(self.text_layers)]
        audio_ends = [*audio_starts[1:], len(self.audio_layers)]
        text_to_audio, audio_to_text = [], []
        for connection, text_start, text_end, audio_start, audio_end in zip(
            self.connections, text_starts, text_ends, audio_starts, audio_ends, strict=True
        ):
            text.states, audio.states, text_weights, audio_weights = connection(
                text.states, audio.states, self._mask(text, audio), self._mask(audio, text)
            )
            text_to_audio.append(text_weights)
            audio_to_text.append(audio_weights)
            self._run(self.text_layers[text_start:text_end], text)
            self._run(self.audio_layers[audio_start:audio_end], audio)
        text_pooled = torch.tanh(self.text_pooler(text.states[:, 0]))
        audio_pooled = torch.tanh(self.audio_pooler(audio.states[:, 0]))
        fused = text_pooled * audio_pooled if self.config.fusion == "mul" else text_pooled + audio_pooled
        fused = self.fusion_dropout(fused)  # (batch, pooled size)
        matching_logits = self.matching_head(fused)  # (batch, 2)
        if self.config.matching_similarity:
            similarity = self.alignment.scale * (audio.embeds * text.embeds).sum(dim=-1, keepdim=True)
            matching_logits = matching_logits + torch.cat([similarity, -similarity], dim=1) / 2
        return MulapStates(
            matching_logits=matching_logits,
            pooler_output=fused,
            text_last_hidden_state=text.states,
            audio_last_hidden_state=audio.states,
            text_pooler_output=text_pooled,
            audio_pooler_output=audio_pooled,
            chunk_mask=audio.mask[:, 1:].long(),
            text_hidden_states=tuple(text.hidden_states) if hidden_states else None,
            audio_hidden_states=tuple(audio.hidden_states) if hidden_states else None,
            text_attentions=tuple(text.attentions) if attentions else None,
            audio_attentions=tuple(audio.attentions) if attentions else None,
            text_to_audio_attentions=tuple(text_to_audio) if attentions else None,
            audio_to_text_attentions=tuple(audio_to_text) if attentions else None,
            audio_embeds=audio.embeds,
            text_embeds=text.embeds,
            logit_scale=None if self.alignment is None else self.alignment.scale,
        )
