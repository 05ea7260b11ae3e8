"""MuLaP: the two streams and their co-attention, the pre-training heads and the classifier on the backbone."""

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F
from transformers.masking_utils import create_bidirectional_mask
from transformers.utils import ModelOutput, logging
from transformers.utils.generic import can_return_tuple

from .configuration_mulap import MulapConfig
from .modeling_mulap_audio import (
    HEADS,
    JOINT_PARTS,
    MulapAudioModel,
    MulapAudioOutput,
    MulapPreTrainedModel,
    keeps_padding,
    masked_mean,
    unpack,
)
from .modeling_mulap_layers import (
    MulapAudioEmbeddings,
    MulapConnection,
    MulapLayer,
    MulapPredictionHead,
    MulapTextEmbeddings,
)

logger = logging.get_logger(__name__)

MATCHED, MISMATCHED = 0, 1
IGNORED_LABEL = -100

_AUTO_MAP = {
    "AutoConfig": "configuration_mulap.MulapConfig",
    "AutoModel": "modeling_mulap.MulapModel",
    "AutoModelForPreTraining": "modeling_mulap.MulapForPreTraining",
    "AutoModelForAudioClassification": "modeling_mulap.MulapForAudioClassification",
    "AutoFeatureExtractor": "feature_extraction_mulap.MulapFeatureExtractor",
    "AutoProcessor": "processing_mulap.MulapProcessor",
}


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


@dataclass
class MulapOutput(MulapStates):
    """Every clip against every text and, where there are as many clips as texts, the states of the aligned pairs.

    logits_per_audio: `(clips, texts)`, log-odds that the text describes the clip.
    logits_per_text: its transpose.
    """

    logits_per_audio: torch.FloatTensor | None = None
    logits_per_text: torch.FloatTensor | None = None


@dataclass
class MulapForPreTrainingOutput(MulapStates):
    """The losses, and what they are computed from.

    loss: weighted sum of the losses whose labels were given.
    mlm_loss, mam_loss, matching_loss: masked language modelling, masked audio modelling, audio-text matching.
    mlm_logits: `(labelled tokens, vocabulary)` with `mlm_labels`, else `(batch, tokens, vocabulary)`.
    mam_predictions, chunk_features: `(batch, chunks, features)`, predicted and, unmasked, heard by the backbone.
    """

    loss: torch.FloatTensor | None = None
    mlm_loss: torch.FloatTensor | None = None
    mam_loss: torch.FloatTensor | None = None
    matching_loss: torch.FloatTensor | None = None
    mlm_logits: torch.FloatTensor | None = None
    mam_predictions: torch.FloatTensor | None = None
    chunk_features: torch.FloatTensor | None = None


@dataclass
class MulapClassifierOutput(ModelOutput):
    """What the classifier says of each track and, over time, of each of its chunks.

    logits: `(batch, labels)`, mean of the real chunks' logits.
    chunk_logits: `(batch, chunks, labels)`, zero where a chunk is padding.
    chunk_mask: `(batch, chunks)`, 1 = real, 0 = padding.
    hidden_states: on request, as `MulapAudioOutput.hidden_states`.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    chunk_logits: torch.FloatTensor | None = None
    chunk_mask: torch.LongTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class _Stream:
    """One stream on its way through the layers, with what is recorded of it."""

    states: torch.Tensor  # (batch, tokens, size)
    mask: torch.Tensor  # (batch, tokens), bool
    hidden_states: list[torch.Tensor] = field(default_factory=list)
    attentions: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self):
        self.hidden_states.append(self.states)

    def select(self, rows: torch.Tensor) -> "_Stream":
        return _Stream(self.states[rows], self.mask[rows])


class MulapJointModel(MulapPreTrainedModel):
    """Both streams, their co-attention and the matching head (Manco et al., ICASSP 2022, section 2), without a forward
    pass: what `MulapModel` and `MulapForPreTraining` have in common."""

    _auto_map = _AUTO_MAP
    _keys_to_ignore_on_load_unexpected = [HEADS]

    def __init__(self, config: MulapConfig):
        super().__init__(config)
        text, audio = config.text_config, config.audio_config
        self.audio_model = MulapAudioModel(audio)
        self.audio_embeddings = MulapAudioEmbeddings(audio)
        self.audio_layers = nn.ModuleList(MulapLayer(config, audio) for _ in range(audio.num_hidden_layers))
        self.text_embeddings = MulapTextEmbeddings(text)
        self.text_layers = nn.ModuleList(MulapLayer(config, text) for _ in range(text.num_hidden_layers))
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

    def get_input_embeddings(self) -> nn.Embedding:
        return self.text_embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding):
        self.text_embeddings.word_embeddings = value

    def _start_text(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> _Stream:
        """The text stream up to where it meets the audio."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        stream = _Stream(self.text_embeddings(input_ids), attention_mask.bool())
        return self._run(self.text_layers[: self.config.connection_text_layers[0]], stream)

    def _start_audio(
        self, features: torch.Tensor, chunk_mask: torch.Tensor, masked_chunks: torch.Tensor | None = None
    ) -> _Stream:
        """The audio stream up to where it meets the text.

        The global token is the mean of the chunks left unmasked, so that it does not tell what was masked.
        """
        heard = chunk_mask
        if masked_chunks is not None:
            heard = chunk_mask & ~masked_chunks
            features = features.masked_fill(masked_chunks.unsqueeze(-1), 0)
        states = self.audio_embeddings(masked_mean(features, heard).detach(), features)
        mask = F.pad(chunk_mask, (1, 0), value=True)  # the global token is always real
        return self._run(self.audio_layers[: self.config.connection_audio_layers[0]], _Stream(states, mask))

    def _run(self, layers: nn.ModuleList, stream: _Stream) -> _Stream:
        mask = self._mask(stream, stream)
        for layer in layers:
            stream.states, weights = layer(stream.states, mask)
            stream.hidden_states.append(stream.states)
            stream.attentions.append(weights)
        return stream

    def _mask(self, queries: _Stream, keys: _Stream) -> torch.Tensor | None:
        """Which keys the queries may see, in the form that the attention implementation wants."""
        return create_bidirectional_mask(
            self.config, inputs_embeds=queries.states, attention_mask=keys.mask, encoder_hidden_states=keys.states
        )

    def _fuse(
        self,
        text: _Stream,
        audio: _Stream,
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
        return MulapStates(
            matching_logits=self.matching_head(fused),
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
        )


class MulapModel(MulapJointModel):
    """Audio-text matching scores, the states behind them, and track embeddings."""

    def __init__(self, config: MulapConfig):
        super().__init__(config)
        self.post_init()

    @can_return_tuple
    def get_audio_features(
        self, input_values: torch.Tensor, audio_attention_mask: torch.Tensor | None = None, **kwargs
    ) -> MulapAudioOutput:
        """The backbone alone: see `MulapAudioModel.forward`; the embedding of each track is `pooler_output`."""
        return self.audio_model(input_values, audio_attention_mask, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor,
        input_ids: torch.Tensor,
        audio_attention_mask: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        return_logits: bool = True,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **kwargs,
    ) -> MulapOutput:
        """Matching scores of every clip with every text and, for as many clips as texts, the states of pair i, i.

        Args:
            input_values: `(clips, samples)`, mono waveforms at `config.audio_config.sampling_rate`, in [-1, 1].
            input_ids: `(texts, tokens)`.
            audio_attention_mask: `(clips, samples)`, 1 = real.
            attention_mask: `(texts, tokens)`, 1 = real.
            return_logits: score all pairs, `config.pair_batch_size` at a time; switch it off where only the aligned
                pairs are wanted: scoring fuses clips x texts pairs.
            output_hidden_states, output_attentions: also return these of the aligned pairs; attentions need
                `attn_implementation="eager"`.

        Raises:
            ValueError: a shape does not fit.
        """
        audio = self.audio_model(input_values, audio_attention_mask)
        text_stream = self._start_text(input_ids, attention_mask)
        audio_stream = self._start_audio(audio.last_hidden_state, audio.chunk_mask.bool())
        scores = self._score_pairs(text_stream, audio_stream) if return_logits else None
        states = {"chunk_mask": audio.chunk_mask}
        if len(input_ids) == len(input_values):
            states = self._fuse(text_stream, audio_stream, output_hidden_states, output_attentions)
        return MulapOutput(logits_per_audio=scores, logits_per_text=None if scores is None else scores.T, **states)

    def _score_pairs(self, text: _Stream, audio: _Stream) -> torch.Tensor:
        """Log-odds of a match, `(clips, texts)`. Only the fused layers run once per pair."""
        num_clips, num_texts = len(audio.states), len(text.states)
        pairs = torch.arange(num_clips * num_texts, device=text.states.device)
        logits = torch.cat(
            [
                self._fuse(text.select(rows % num_texts), audio.select(rows // num_texts)).matching_logits
                for rows in pairs.split(self.config.pair_batch_size)
            ]
        )  # (clips * texts, 2)
        return (logits[:, MATCHED] - logits[:, MISMATCHED]).view(num_clips, num_texts)


class MulapForPreTraining(MulapJointModel):
    """MuLaP with its three proxy tasks: the matching head of `MulapModel`, and heads for MLM and MAM."""

    _tied_weights_keys = {"mlm_head.decoder.weight": "text_embeddings.word_embeddings.weight"}

    def __init__(self, config: MulapConfig):
        super().__init__(config)
        self.mlm_head = MulapPredictionHead(config.text_config, config.text_config.vocab_size)
        self.mam_head = MulapPredictionHead(config.audio_config, config.audio_config.feature_size)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.mlm_head.decoder

    def set_output_embeddings(self, value: nn.Linear):
        self.mlm_head.decoder = value

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor,
        input_ids: torch.Tensor,
        audio_attention_mask: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        masked_chunks: torch.Tensor | None = None,
        mlm_labels: torch.Tensor | None = None,
        matching_labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **kwargs,
    ) -> MulapForPreTrainingOutput:
        """Losses of the proxy tasks on aligned pairs; a task without labels has none.

        Args:
            input_values, input_ids, audio_attention_mask, attention_mask: as `MulapModel.forward`, equally many.
            masked_chunks: `(batch, chunks)`, 1 = the chunk's feature is replaced by zeros and to be predicted.
            mlm_labels: `(batch, tokens)`, the token to predict, -100 elsewhere.
            matching_labels: `(batch,)`, 0 = matched, 1 = mismatched, -100 = ignored.

        Raises:
            ValueError: a shape does not fit.
        """
        if len(input_ids) != len(input_values):
            raise ValueError(f"{len(input_values)} clips with {len(input_ids)} texts: pre-training takes pairs")
        audio = self.audio_model(input_values, audio_attention_mask)
        features, chunk_mask = audio.last_hidden_state, audio.chunk_mask.bool()
        if masked_chunks is not None:
            if masked_chunks.shape != chunk_mask.shape:
                raise ValueError(
                    f"masked_chunks has shape {tuple(masked_chunks.shape)}, the clips have (batch, chunks) "
                    f"{tuple(chunk_mask.shape)}"
                )
            masked_chunks = masked_chunks.bool() & chunk_mask
        states = self._fuse(
            self._start_text(input_ids, attention_mask),
            self._start_audio(features, chunk_mask, masked_chunks),
            output_hidden_states,
            output_attentions,
        )
        output = MulapForPreTrainingOutput(**states, chunk_features=features)
        output.mam_predictions = self.mam_head(states.audio_last_hidden_state[:, 1:])  # (batch, chunks, features)
        weighted_losses = []
        if mlm_labels is None:
            output.mlm_logits = self.mlm_head(states.text_last_hidden_state)  # (batch, tokens, vocabulary)
        else:
            labelled = mlm_labels != IGNORED_LABEL
            output.mlm_logits = self.mlm_head(states.text_last_hidden_state[labelled])  # (labelled, vocabulary)
            output.mlm_loss = _cross_entropy(output.mlm_logits, mlm_labels[labelled])
            weighted_losses.append(self.config.mlm_loss_weight * output.mlm_loss)
        if masked_chunks is not None:
            output.mam_loss = self.mam_loss(output.mam_predictions, features, masked_chunks)
            weighted_losses.append(self.config.mam_loss_weight * output.mam_loss)
        if matching_labels is not None:
            output.matching_loss = _cross_entropy(states.matching_logits, matching_labels)
            weighted_losses.append(self.config.matching_loss_weight * output.matching_loss)
        output.loss = sum(weighted_losses) if weighted_losses else None
        return output

    def mam_loss(self, predictions: torch.Tensor, features: torch.Tensor, masked_chunks: torch.Tensor) -> torch.Tensor:
        """Distance of the predictions to the unmasked features at the masked chunks; no gradient to the features.

        Args:
            predictions, features: `(batch, chunks, features)`.
            masked_chunks: `(batch, chunks)`, bool. Where none is masked the loss is 0.
        """
        predicted = predictions[masked_chunks].float()  # (masked, features)
        target = features[masked_chunks].detach().float()
        if self.config.mam_loss == "kl":
            divergence = F.kl_div(
                predicted.log_softmax(dim=-1), target.log_softmax(dim=-1), reduction="none", log_target=True
            )
            per_chunk = divergence.sum(dim=-1)
        else:
            distance = F.mse_loss if self.config.mam_loss == "mse" else F.huber_loss
            per_chunk = distance(predicted, target, reduction="none").mean(dim=-1)
        return per_chunk.sum() / max(1, len(per_chunk))


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over the labels that are not ignored; 0, with a gradient path, where all are."""
    total = F.cross_entropy(logits.float(), labels, ignore_index=IGNORED_LABEL, reduction="sum")
    return total / (labels != IGNORED_LABEL).sum().clamp(min=1)


class MulapForAudioClassification(MulapPreTrainedModel):
    """A classifier or regressor on the backbone's chunk features, averaged over the track.

    `config.problem_type` selects the loss: "single_label_classification", "multi_label_classification" or
    "regression"; without it the labels' dtype decides, as in transformers. `config.freeze_audio` leaves the backbone
    as it is, BatchNorm statistics included.
    """

    input_modalities = ("audio",)
    supports_gradient_checkpointing = False
    _auto_map = _AUTO_MAP
    _keys_to_ignore_on_load_unexpected = [JOINT_PARTS, HEADS]

    def __init__(self, config: MulapConfig):
        super().__init__(config)
        self.audio_model = MulapAudioModel(config.audio_config)
        self.classifier = _classifier(config)
        self.post_init()
        if config.freeze_audio:
            self._freeze("audio_model")

    def get_input_embeddings(self) -> nn.Module:
        return self.audio_model.get_input_embeddings()

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor,
        audio_attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs,
    ) -> MulapClassifierOutput:
        """Logits of each track and of each of its chunks.

        Args:
            input_values, audio_attention_mask: as `MulapAudioModel.forward`.
            labels: `(batch,)` class indices, `(batch, labels)` 0/1, or `(batch, labels)` values to regress.
            output_hidden_states: also return the backbone's stages.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        audio = self.audio_model(input_values, audio_attention_mask, output_hidden_states=output_hidden_states)
        features, mask = audio.last_hidden_state, audio.chunk_mask.bool()
        if keeps_padding(self):
            chunk_logits = self.classifier(features.flatten(0, 1)).unflatten(0, mask.shape) * mask.unsqueeze(-1)
        else:
            chunk_logits = unpack(self.classifier(features[mask]), mask)  # (batch, chunks, labels)
        logits = masked_mean(chunk_logits, mask)
        return MulapClassifierOutput(
            loss=None if labels is None else self._loss(logits, labels),
            logits=logits,
            chunk_logits=chunk_logits,
            chunk_mask=audio.chunk_mask,
            hidden_states=audio.hidden_states,
        )

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        problem = self.config.problem_type
        if problem is None:
            if self.config.num_labels == 1:
                problem = "regression"
            elif labels.dtype in (torch.long, torch.int):
                problem = "single_label_classification"
            else:
                problem = "multi_label_classification"
        if problem == "single_label_classification":
            return F.cross_entropy(logits.float(), labels.view(-1))
        loss = F.mse_loss if problem == "regression" else F.binary_cross_entropy_with_logits
        return loss(logits.float(), labels.view(logits.shape).float())


def _classifier(config: MulapConfig) -> nn.Module:
    """`(chunks, features)` -> `(chunks, labels)`."""
    features, hidden = config.audio_config.feature_size, config.classifier_hidden_size
    if config.classifier_head == "linear":
        return nn.Linear(features, config.num_labels)
    norm = [nn.BatchNorm1d(hidden)] if config.classifier_head == "musicnn" else []
    return nn.Sequential(
        nn.Linear(features, hidden),
        *norm,
        nn.ReLU(),
        nn.Dropout(config.classifier_dropout),
        nn.Linear(hidden, config.num_labels),
    )


__all__ = [
    "MulapClassifierOutput",
    "MulapForAudioClassification",
    "MulapForPreTraining",
    "MulapForPreTrainingOutput",
    "MulapModel",
    "MulapOutput",
    "MulapStates",
]
