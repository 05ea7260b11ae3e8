"""MuLaP for its users: scores and embeddings, the pre-training heads, and the classifier on the backbone."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_mulap import MulapConfig
from .modeling_mulap_audio import (
    HEADS,
    JOINT_PARTS,
    MulapAudioModel,
    MulapAudioOutput,
    MulapPreTrainedModel,
    check_shape,
    keeps_padding,
    masked_mean,
    unpack,
)
from .modeling_mulap_joint import MulapJointModel, MulapStates, Stream
from .modeling_mulap_layers import MulapPredictionHead, MulapViewHead, MulapWordsHead

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
class MulapOutput(MulapStates):
    """Every clip against every text and, where there are as many clips as texts, the states of the aligned pairs.

    logits_per_audio: `(clips, texts)`, log-odds that the text describes the clip; of a dual encoder, their scaled
        cosine similarity.
    logits_per_text: its transpose.
    """

    logits_per_audio: torch.FloatTensor | None = None
    logits_per_text: torch.FloatTensor | None = None


@dataclass
class MulapForPreTrainingOutput(MulapStates):
    """The losses, and what they are computed from.

    loss: weighted sum of the losses whose labels were given.
    mlm_loss, mam_loss, matching_loss: masked language modeling, masked audio modeling, audio-text matching.
    words_loss: of the captions' words, from the track embeddings alone.
    mlm_logits: `(labeled tokens, vocabulary)` with `mlm_labels`, else `(batch, tokens, vocabulary)`.
    mam_predictions, mam_targets: `(batch, chunks, features)`, what is predicted of each chunk, and the truth.
    words_logits: `(batch, vocabulary)`, of a model with `config.words_loss_weight`.
    chunk_features: `(batch, chunks, features)`, what the backbone hears, unmasked.
    chunk_views: `(clips, 2, 128)`, of a model with `config.chunks_loss_weight`: two chunks of every clip that has two,
        in the space where a contrastive loss compares them; which two is drawn at random in training, the first two
        otherwise.
    """

    loss: torch.FloatTensor | None = None
    mlm_loss: torch.FloatTensor | None = None
    mam_loss: torch.FloatTensor | None = None
    matching_loss: torch.FloatTensor | None = None
    words_loss: torch.FloatTensor | None = None
    mlm_logits: torch.FloatTensor | None = None
    mam_predictions: torch.FloatTensor | None = None
    mam_targets: torch.FloatTensor | None = None
    words_logits: torch.FloatTensor | None = None
    chunk_features: torch.FloatTensor | None = None
    chunk_views: torch.FloatTensor | None = None


@dataclass
class MulapClassifierOutput(ModelOutput):
    """What the classifier says of each track and, over time, of each of its chunks.

    logits: `(batch, labels)`, mean of the real chunks' logits.
    chunk_logits: `(batch, chunks, labels)`, zero where a chunk is padding.
    chunk_mask: `(batch, chunks)`, 1 = real, 0 = padding.
    hidden_states: on request, as `MulapAudioOutput.hidden_states`.
    pooler_output: `(batch, features)`, the backbone's embedding of the track.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    chunk_logits: torch.FloatTensor | None = None
    chunk_mask: torch.LongTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    pooler_output: torch.FloatTensor | None = None


class MulapModel(MulapJointModel):
    """Audio-text matching scores, the states behind them, and embeddings of tracks and of texts."""

    _auto_map = _AUTO_MAP

    def __init__(self, config: MulapConfig):
        super().__init__(config)
        self.post_init()

    @can_return_tuple
    def get_audio_features(
        self, input_values: torch.Tensor, audio_attention_mask: torch.Tensor | None = None, **kwargs
    ) -> MulapAudioOutput:
        """The backbone alone, as `MulapAudioModel.forward`; the embedding of each track is `pooler_output`.

        With `config.projection_size` that is `(clips, projection size)`, of length 1, in the space of
        `get_text_features`; what the backbone itself makes of a track is `audio_model(...).pooler_output`.
        """
        audio = self.audio_model(input_values, audio_attention_mask, **kwargs)
        if self.alignment is not None:
            audio.pooler_output = self.alignment.project_audio(audio.pooler_output)
        return audio

    @can_return_tuple
    def get_text_features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> BaseModelOutputWithPooling:
        """The text stream before it meets the audio.

        `last_hidden_state` is `(texts, tokens, text size)`; `pooler_output`, in the space of `get_audio_features`, is
        `(texts, projection size)`, of length 1.

        Raises:
            ValueError: the model was made without a shared space.
        """
        if self.alignment is None:
            raise ValueError(
                "this model has no space shared by texts and clips (config.projection_size is 0): score pairs with "
                "model(input_values, input_ids), or train with an aligning recipe"
            )
        text = self.start_text(input_ids, attention_mask)
        return BaseModelOutputWithPooling(last_hidden_state=text.states, pooler_output=text.embeds)

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
        text_stream = self.start_text(input_ids, attention_mask)
        audio_stream = self.start_audio(audio)
        states = {
            "chunk_mask": audio.chunk_mask,
            "audio_embeds": audio_stream.embeds,
            "text_embeds": text_stream.embeds,
            "logit_scale": None if self.alignment is None else self.alignment.scale,
        }
        scores = None
        if return_logits and self.is_dual_encoder:
            scores = self.alignment.scale * audio_stream.embeds @ text_stream.embeds.T
        elif return_logits:
            pairs = torch.arange(len(input_values) * len(input_ids), device=input_ids.device)
            scores = self.score_pairs(text_stream, audio_stream, pairs % len(input_ids), pairs // len(input_ids))
            scores = scores.view(len(input_values), len(input_ids))
        if len(input_ids) == len(input_values) and not self.is_dual_encoder:
            states = self._fuse(text_stream, audio_stream, output_hidden_states, output_attentions)
        return MulapOutput(logits_per_audio=scores, logits_per_text=None if scores is None else scores.T, **states)

    def score_pairs(self, text: Stream, audio: Stream, texts: torch.Tensor, clips: torch.Tensor) -> torch.Tensor:
        """Log-odds that a text describes a clip, of any pairs. Only the fused layers run once per pair.

        Args:
            text, audio: as `start_text` and `start_audio` give them; they stay as they are.
            texts, clips: `(pairs,)`, which rows of the two make a pair.

        Returns:
            `(pairs,)`, `config.pair_batch_size` of them computed at a time.
        """
        logits = torch.cat(
            [
                self._fuse(text.select(rows), audio.select(columns)).matching_logits
                for rows, columns in zip(
                    texts.split(self.config.pair_batch_size), clips.split(self.config.pair_batch_size), strict=True
                )
            ]
        )  # (pairs, 2)
        return logits[:, MATCHED] - logits[:, MISMATCHED]


class MulapForPreTraining(MulapJointModel):
    """MuLaP with its proxy tasks: the matching head of `MulapModel`, heads for MLM and MAM and, if they have a weight,
    heads on the backbone alone for the captions' words and for the likeness of a clip's chunks."""

    _auto_map = _AUTO_MAP
    _tied_weights_keys = {"mlm_head.decoder.weight": "text_embeddings.word_embeddings.weight"}

    def __init__(self, config: MulapConfig):
        super().__init__(config)
        if self.is_dual_encoder:
            raise ValueError(
                "connection_text_layers is empty: the proxy tasks need co-attention; a dual encoder is a MulapModel"
            )
        self.mlm_head = MulapPredictionHead(config.text_config, config.text_config.vocab_size)
        self.mam_head = MulapPredictionHead(config.audio_config, config.audio_config.feature_size)
        self.words_head = MulapWordsHead(config) if config.words_loss_weight else None
        self.chunks_head = MulapViewHead(config.audio_config.feature_size) if config.chunks_loss_weight else None
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.mlm_head.decoder

    def set_output_embeddings(self, value: nn.Linear):
        self.mlm_head.decoder = value

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Embedding:
        """As transformers', and the words of `words_head` are as many."""
        embeddings = super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        if self.words_head is not None:
            self.words_head.decoder = self._get_resized_lm_head(
                self.words_head.decoder, embeddings.num_embeddings, mean_resizing=mean_resizing
            )
        return embeddings

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
        caption_ids: torch.Tensor | None = None,
        word_ids: torch.Tensor | None = None,
        word_weights: torch.Tensor | None = None,
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
            caption_ids: `(batch,)`, instead of `matching_labels` where all pairs are matched: the mismatched ones are
                drawn from the batch as `config.matching_negatives` says, never of two equal captions' clips.
            word_ids, word_weights: `(batch, words)`, the tokens of each clip's own caption, and what each counts: they
                sum to 1 for a caption, or to 0 if it has none that count.

        Raises:
            ValueError: a shape does not fit.
        """
        if len(input_ids) != len(input_values):
            raise ValueError(f"{len(input_values)} clips with {len(input_ids)} texts: pre-training takes pairs")
        check_shape("mlm_labels", mlm_labels, "(batch, tokens)", input_ids.shape)
        check_shape("matching_labels", matching_labels, "(batch,)", input_ids.shape[:1])
        check_shape("caption_ids", caption_ids, "(batch,)", input_ids.shape[:1])
        if word_ids is not None:
            check_shape("word_ids", word_ids, "(batch, words)", (len(input_ids), word_ids.shape[-1]))
            check_shape("word_weights", word_weights, "(batch, words)", word_ids.shape)
        audio = self.audio_model(input_values, audio_attention_mask)
        features, chunk_mask = audio.last_hidden_state, audio.chunk_mask.bool()
        check_shape("masked_chunks", masked_chunks, "(batch, chunks)", chunk_mask.shape)
        if masked_chunks is not None:
            masked_chunks = masked_chunks.bool() & chunk_mask
        text_stream = self.start_text(input_ids, attention_mask)
        audio_stream = self.start_audio(audio, masked_chunks)
        negatives = None
        if matching_labels is None and caption_ids is not None and self.config.matching_negatives != "given":
            negatives = self._fuse_negatives(text_stream, audio_stream, caption_ids)
        states = self._fuse(text_stream, audio_stream, output_hidden_states, output_attentions)
        output = MulapForPreTrainingOutput(**states, chunk_features=features)
        if self.words_head is not None:
            output.words_logits = self.words_head(audio.pooler_output)  # (batch, vocabulary)
        if self.chunks_head is not None:
            output.chunk_views = self.chunks_head(self._two_chunks(features, chunk_mask))  # (clips, 2, 128)
        output.mam_predictions = self.mam_head(states.audio_last_hidden_state[:, 1:])  # (batch, chunks, features)
        weighted_losses = []
        if mlm_labels is None:
            output.mlm_logits = self.mlm_head(states.text_last_hidden_state)  # (batch, tokens, vocabulary)
        else:
            labeled = mlm_labels != IGNORED_LABEL
            output.mlm_logits = self.mlm_head(states.text_last_hidden_state[labeled])  # (labeled, vocabulary)
            output.mlm_loss = _cross_entropy(output.mlm_logits, mlm_labels[labeled])
            weighted_losses.append(self.config.mlm_loss_weight * output.mlm_loss)
        if masked_chunks is not None:
            output.mam_targets = self.mam_targets(features, chunk_mask)
            output.mam_loss = self.mam_loss(output.mam_predictions, output.mam_targets, masked_chunks)
            weighted_losses.append(self.config.mam_loss_weight * output.mam_loss)
        if matching_labels is not None:
            output.matching_loss = _cross_entropy(states.matching_logits, matching_labels)
        elif negatives is not None:
            output.matching_loss = _balanced_matching_loss(states.matching_logits, negatives)
        if output.matching_loss is not None:
            weighted_losses.append(self.config.matching_loss_weight * output.matching_loss)
        if output.words_logits is not None and word_ids is not None:
            chances = output.words_logits.float().log_softmax(dim=-1).gather(1, word_ids)  # (batch, words)
            output.words_loss = -(word_weights * chances).sum() / len(word_ids)
            weighted_losses.append(self.config.words_loss_weight * output.words_loss)
        output.loss = sum(weighted_losses) if weighted_losses else None
        return output

    def _two_chunks(self, features: torch.Tensor, chunk_mask: torch.Tensor) -> torch.Tensor:
        """`(clips, 2, features)`, of the clips that have two real chunks."""
        if chunk_mask.shape[1] < 2:
            return features.new_zeros(0, 2, features.shape[-1])
        features, chunk_mask = (part[chunk_mask.sum(dim=1) > 1] for part in (features, chunk_mask))
        order = chunk_mask.float()
        if self.training:
            order = order * (1 + torch.rand_like(order))
        chosen = order.argsort(dim=1, descending=True, stable=True)[:, :2]  # (clips, 2)
        return features.gather(1, chosen.unsqueeze(-1).expand(-1, -1, features.shape[-1]))

    def _fuse_negatives(self, text: Stream, audio: Stream, caption_ids: torch.Tensor) -> torch.Tensor:
        """Matching logits `(negatives, 2)` of every clip with others' texts and of every text with others' clips.

        Drawn as in ALBEF (Li et al., 2021, section 3.2).
        """
        allowed = caption_ids[:, None] != caption_ids  # (clips, texts)
        similarity = torch.zeros_like(allowed, dtype=torch.float32)
        if self.config.matching_negatives == "hard":
            similarity = (self.alignment.scale * audio.embeds @ text.embeds.T).detach().float()
        clips, texts = [], []
        for scores, askers, answers in ((similarity, clips, texts), (similarity.T, texts, clips)):
            rows = allowed.any(dim=1).nonzero().squeeze(1)  # those with anything to draw
            chances = scores[rows].masked_fill(~allowed[rows], -torch.inf).softmax(dim=1)
            drawn = torch.multinomial(chances, self.config.num_matching_negatives, replacement=True)
            askers.append(rows.repeat_interleave(self.config.num_matching_negatives))
            answers.append(drawn.flatten())
        clips, texts = torch.cat(clips), torch.cat(texts)
        if not len(clips):
            return audio.states.new_zeros(0, 2)
        return self._fuse(text.select(texts), audio.select(clips)).matching_logits

    def mam_targets(self, features: torch.Tensor, chunk_mask: torch.Tensor) -> torch.Tensor:
        """What masked audio modeling predicts, `(batch, chunks, features)`, as `config.mam_target` says; no gradient.

        Args:
            features: `(batch, chunks, features)`, unmasked.
            chunk_mask: `(batch, chunks)`, bool, which chunks are real.
        """
        features = features.detach().float()
        if self.config.mam_target == "zeros":
            return torch.zeros_like(features)
        if self.config.mam_target == "normalized":
            real = features[chunk_mask]  # (real chunks, features)
            deviation = real.var(dim=0, unbiased=False).sqrt().clamp(min=1e-5)
            return (features - real.mean(dim=0)) / deviation
        return features

    def mam_loss(self, predictions: torch.Tensor, targets: torch.Tensor, masked_chunks: torch.Tensor) -> torch.Tensor:
        """Distance of the predictions to the targets at the masked chunks.

        Args:
            predictions, targets: `(batch, chunks, features)`.
            masked_chunks: `(batch, chunks)`, bool. Where none is masked the loss is 0.
        """
        predicted = predictions[masked_chunks].float()  # (masked, features)
        target = targets[masked_chunks].float()
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


def _balanced_matching_loss(matched: torch.Tensor, mismatched: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the logits of matched and of mismatched pairs, each kind counting one half."""
    kinds = [(matched, MATCHED), (mismatched, MISMATCHED)]
    return sum(
        _cross_entropy(logits, torch.full((len(logits),), label, device=logits.device)) for logits, label in kinds
    ) / len(kinds)


class MulapForAudioClassification(MulapPreTrainedModel):
    """A classifier or regressor on the backbone's chunk features, averaged over the track.

    `config.problem_type` selects the loss: "single_label_classification", "multi_label_classification" or
    "regression"; without it the first labels' dtype decides and sets it, as in transformers. `config.freeze_audio`
    leaves the backbone as it is, BatchNorm statistics included.
    """

    input_modalities = ("audio",)
    supports_gradient_checkpointing = False
    _auto_map = _AUTO_MAP
    _keys_to_ignore_on_load_unexpected = [JOINT_PARTS, HEADS]

    def __init__(self, config: MulapConfig):
        super().__init__(config)
        self.audio_model = MulapAudioModel(config.audio_config)
        self.classifier = classifier_head(
            config.classifier_head,
            config.audio_config.feature_size,
            config.num_labels,
            config.classifier_hidden_size,
            config.classifier_dropout,
        )
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
            pooler_output=audio.pooler_output,
        )

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        config = self.config
        if config.problem_type is None:  # kept, because pipelines and exports read it
            if config.num_labels == 1:
                config.problem_type = "regression"
            elif labels.dtype in (torch.long, torch.int):
                config.problem_type = "single_label_classification"
            else:
                config.problem_type = "multi_label_classification"
        return classification_loss(config.problem_type, logits, labels)


def classification_loss(problem: str, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The loss of a `config.problem_type`: cross entropy, binary cross entropy, or squared error; a mean.

    Args:
        problem: the type.
        logits: `(batch, labels)`.
        labels: `(batch,)` class indices, `(batch, labels)` 0/1, or `(batch, labels)` values to regress.
    """
    if problem == "single_label_classification":
        return F.cross_entropy(logits.float(), labels.view(-1))
    loss = F.mse_loss if problem == "regression" else F.binary_cross_entropy_with_logits
    return loss(logits.float(), labels.view(logits.shape).float())


def classifier_head(head: str, feature_size: int, num_labels: int, hidden_size: int, dropout: float) -> nn.Module:
    """`(chunks, features)` -> `(chunks, labels)`; `head` as `config.classifier_head`."""
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


__all__ = [
    "MulapClassifierOutput",
    "MulapForAudioClassification",
    "MulapForPreTraining",
    "MulapForPreTrainingOutput",
    "MulapModel",
    "MulapOutput",
    "MulapStates",
]
