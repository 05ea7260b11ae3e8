"""The two streams of MuLaP and how they meet: in a joint embedding space, by co-attention, or both."""

from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F
from transformers.masking_utils import create_bidirectional_mask
from transformers.utils import logging

from .configuration_mulap import MulapConfig
from .modeling_mulap_arguments import check_shape
from .modeling_mulap_audio import HEADS, MulapAudioModel, MulapPreTrainedModel, masked_mean
from .modeling_mulap_layers import (
    MulapAlignment,
    MulapAudioEmbeddings,
    MulapConnection,
    MulapLayer,
    MulapTextEmbeddings,
)
from .modeling_mulap_losses import content_aware_weights, info_nce
from .modeling_mulap_outputs import MulapAudioOutput, MulapStates

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class Stream:
    """The states of one stream between two layers; each layer makes a new one.

    states: `(batch, tokens, size)`.
    mask: `(batch, tokens)`, bool, which tokens are real.
    embeds: `(batch, projection size)`, in the joint embedding space.
    hidden_states, attentions: what the layers so far have given; None if it is not recorded.
    """

    states: torch.Tensor
    mask: torch.Tensor
    embeds: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None

    @classmethod
    def start(
        cls,
        states: torch.Tensor,
        mask: torch.Tensor,
        embeds: torch.Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> "Stream":
        """The stream before its first layer, with the records that are asked for."""
        return cls(
            states, mask, embeds, (states,) if output_hidden_states else None, () if output_attentions else None
        )

    def after(self, states: torch.Tensor, weights: torch.Tensor | None) -> "Stream":
        """The stream after a layer that gave these states and attention weights."""
        return replace(
            self,
            states=states,
            hidden_states=None if self.hidden_states is None else (*self.hidden_states, states),
            attentions=None if self.attentions is None else (*self.attentions, weights),
        )

    def select(self, rows: torch.Tensor) -> "Stream":
        """Some rows, in any order and any number of times, without records."""
        return Stream(self.states[rows], self.mask[rows], None if self.embeds is None else self.embeds[rows])


class MulapJointModel(MulapPreTrainedModel):
    """Both streams, their co-attention and the matching head (Manco et al., ICASSP 2022, section 2), without a forward
    pass: what `MulapModel` and `MulapForPreTraining` have in common.

    With `config.projection_size` clips and texts also have embeddings in a joint space, before the streams meet.
    Without connections these embeddings are all there is: a dual encoder.
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
        """Whether the streams only meet in the joint embedding space."""
        return not self.config.connection_text_layers

    def get_input_embeddings(self) -> nn.Embedding:
        return self.text_embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding):
        self.text_embeddings.word_embeddings = value

    def start_text(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> Stream:
        """The text stream up to where it meets the audio; of a dual encoder, up to its end.

        Args:
            input_ids, attention_mask: as `MulapModel.forward`.
            output_hidden_states, output_attentions: record these from here on.

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
        states, mask = self.text_embeddings(input_ids), attention_mask.bool()
        layers = (
            self.text_layers if self.is_dual_encoder else self.text_layers[: self.config.connection_text_layers[0]]
        )
        text = self._run(layers, Stream.start(states, mask, None, output_hidden_states, output_attentions))
        if self.alignment is None:
            return text
        return replace(text, embeds=self.alignment.project_text(masked_mean(text.states, text.mask)))

    def start_audio(
        self,
        audio: MulapAudioOutput,
        masked_chunks: torch.Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> Stream:
        """The audio stream up to where it meets the text.

        The embedding is of the whole clip. The global token is, by default, the mean of the unmasked chunks only, so
        it does not reveal what was masked.

        Args:
            audio: output of the backbone.
            masked_chunks: `(batch, chunks)`, bool.
            output_hidden_states, output_attentions: record these from here on.
        """
        features, chunk_mask = audio.last_hidden_state, audio.chunk_mask.bool()
        embeds = None if self.alignment is None else self.alignment.project_audio(audio.pooler_output)
        if self.is_dual_encoder:
            return Stream(features, chunk_mask, embeds)
        visible = chunk_mask
        if masked_chunks is not None and self.config.global_token == "unmasked":
            visible = chunk_mask & ~masked_chunks
        global_feature = masked_mean(features, visible).detach()
        if masked_chunks is not None:
            features = features.masked_fill(masked_chunks.unsqueeze(-1), 0)
        states = self.audio_embeddings(global_feature, features)
        mask = F.pad(chunk_mask, (1, 0), value=True)  # the global token is always real
        start = Stream.start(states, mask, embeds, output_hidden_states, output_attentions)
        return self._run(self.audio_layers[: self.config.connection_audio_layers[0]], start)

    def contrastive_loss(
        self,
        audio_embeds: torch.Tensor,
        text_embeds: torch.Tensor,
        caption_ids: torch.Tensor | None = None,
        matched: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """InfoNCE between the embeddings of clips and of their texts, a mean over the matched pairs.

        In training mode, negatives are taken from all processes, and pairs are weighted if the configuration says so.

        Args:
            audio_embeds, text_embeds: `(batch, projection size)`, of aligned pairs.
            caption_ids: `(batch,)`, equal for equal captions, which are not each other's negatives.
            matched: `(batch,)`, bool, which pairs belong together; the others are left out. Default: all.
        """
        if matched is not None:
            audio_embeds, text_embeds = audio_embeds[matched], text_embeds[matched]
            caption_ids = None if caption_ids is None else caption_ids[matched]
        weights = None
        if self.config.content_aware_weights and self.training:
            weights = content_aware_weights(text_embeds, across_processes=True)
        return info_nce(audio_embeds, text_embeds, self.alignment.scale, weights, caption_ids, self.training)

    def _what_to_record(self, output_hidden_states: bool | None, output_attentions: bool | None) -> tuple[bool, bool]:
        """Whether to record hidden states and attentions: what the call asks for, or else the configuration."""
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        implementation = self.config._attn_implementation
        if output_attentions and implementation != "eager":
            logger.warning_once(
                f"output_attentions=True: the attention implementation {implementation!r} returns no weights, so "
                'attention is computed eagerly, which is slower; model.set_attn_implementation("eager") avoids this '
                "warning"
            )
        return bool(output_hidden_states), bool(output_attentions)

    def _run(self, layers: nn.ModuleList, stream: Stream) -> Stream:
        mask = self._mask(stream, stream)
        for layer in layers:
            stream = stream.after(*layer(stream.states, mask, stream.attentions is not None))
        return stream

    def _mask(self, queries: Stream, keys: Stream) -> torch.Tensor | None:
        """Which keys the queries may attend to, in the form that the attention implementation takes."""
        if queries.attentions is not None:  # computed eagerly, whatever is configured
            blocked = torch.zeros(keys.mask.shape, dtype=queries.states.dtype, device=keys.mask.device)
            blocked = blocked.masked_fill(~keys.mask, torch.finfo(blocked.dtype).min)
            return blocked[:, None, None, :]
        return create_bidirectional_mask(
            self.config, inputs_embeds=queries.states, attention_mask=keys.mask, encoder_hidden_states=keys.states
        )

    def _fuse(self, text: Stream, audio: Stream) -> MulapStates:
        """Takes both streams from their first connection to their end, as pairs: text i with clip i.

        The streams that are passed stay as they are.
        """
        text_starts, audio_starts = self.config.connection_text_layers, self.config.connection_audio_layers
        text_ends = [*text_starts[1:], len(self.text_layers)]
        audio_ends = [*audio_starts[1:], len(self.audio_layers)]
        recorded = text.attentions is not None
        text_to_audio, audio_to_text = (), ()
        for connection, text_start, text_end, audio_start, audio_end in zip(
            self.connections, text_starts, text_ends, audio_starts, audio_ends, strict=True
        ):
            text_states, audio_states, text_weights, audio_weights = connection(
                text.states, audio.states, self._mask(text, audio), self._mask(audio, text), recorded
            )
            text_to_audio, audio_to_text = (*text_to_audio, text_weights), (*audio_to_text, audio_weights)
            text = self._run(self.text_layers[text_start:text_end], replace(text, states=text_states))
            audio = self._run(self.audio_layers[audio_start:audio_end], replace(audio, states=audio_states))
        text_pooled = torch.tanh(self.text_pooler(text.states[:, 0]))
        audio_pooled = torch.tanh(self.audio_pooler(audio.states[:, 0]))
        fused = text_pooled * audio_pooled if self.config.fusion == "mul" else text_pooled + audio_pooled
        fused = self.fusion_dropout(fused)  # (batch, pooled size)
        return MulapStates(
            matching_logits=self._match(fused, text, audio),
            pooler_output=fused,
            text_last_hidden_state=text.states,
            audio_last_hidden_state=audio.states,
            text_pooler_output=text_pooled,
            audio_pooler_output=audio_pooled,
            text_hidden_states=text.hidden_states,
            audio_hidden_states=audio.hidden_states,
            text_attentions=text.attentions,
            audio_attentions=audio.attentions,
            text_to_audio_attentions=text_to_audio if recorded else None,
            audio_to_text_attentions=audio_to_text if recorded else None,
        )

    def _match(self, fused: torch.Tensor, text: Stream, audio: Stream) -> torch.Tensor:
        """Matching logits `(batch, 2)` of the fused vectors; the similarity of the pair is added if configured."""
        logits = self.matching_head(fused)
        if self.config.matching_similarity:
            similarity = self.alignment.scale * (audio.embeds * text.embeds).sum(dim=-1, keepdim=True)
            logits = logits + torch.cat([similarity, -similarity], dim=1) / 2
        return logits

    def _unfused(self, text: Stream, audio: Stream, backbone: MulapAudioOutput) -> MulapStates:
        """What is known before the streams meet, of any numbers of clips and texts."""
        return MulapStates(
            chunk_mask=backbone.chunk_mask,
            chunk_features=backbone.last_hidden_state,
            audio_embeds=audio.embeds,
            text_embeds=text.embeds,
            logit_scale=None if self.alignment is None else self.alignment.scale,
        )
