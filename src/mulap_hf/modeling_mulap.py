"""The models that users load: scores and embeddings, pre-training, and a classifier on the backbone."""

from dataclasses import replace

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import logging
from transformers.utils.generic import can_return_tuple

from .configuration_mulap import MulapConfig
from .modeling_mulap_arguments import check_shape, check_token_types, only_known_arguments
from .modeling_mulap_audio import (
    HEADS,
    JOINT_PARTS,
    MulapAudioModel,
    MulapPreTrainedModel,
    keeps_padding,
    masked_mean,
    unpack,
)
from .modeling_mulap_joint import MulapJointModel, Stream
from .modeling_mulap_layers import MulapPredictionHead, MulapViewHead, MulapWordsHead, classifier_head
from .modeling_mulap_losses import (
    IGNORED_LABEL,
    INPUTS_OF_TERMS,
    MATCHED,
    MISMATCHED,
    PreTrainingLabels,
    balanced_matching_loss,
    classification_loss,
    cross_entropy,
    infer_problem_type,
    mam_loss,
    mam_targets,
    nt_xent,
    words_loss,
)
from .modeling_mulap_outputs import (
    MulapAudioOutput,
    MulapClassifierOutput,
    MulapForPreTrainingOutput,
    MulapOutput,
    MulapStates,
)

logger = logging.get_logger(__name__)

_AUTO_MAP = {
    "AutoConfig": "configuration_mulap.MulapConfig",
    "AutoModel": "modeling_mulap.MulapModel",
    "AutoModelForPreTraining": "modeling_mulap.MulapForPreTraining",
    "AutoModelForAudioClassification": "modeling_mulap.MulapForAudioClassification",
    "AutoFeatureExtractor": "feature_extraction_mulap.MulapFeatureExtractor",
    "AutoProcessor": "processing_mulap.MulapProcessor",
}


class MulapModel(MulapJointModel):
    """Audio-text matching scores, the states behind them, and embeddings of tracks and of texts."""

    _auto_map = _AUTO_MAP

    def __init__(self, config: MulapConfig):
        super().__init__(config)
        self.post_init()

    @can_return_tuple
    @only_known_arguments
    def get_audio_features(
        self,
        input_values: torch.Tensor,
        audio_attention_mask: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> MulapAudioOutput:
        """Output of the backbone alone, as `MulapAudioModel.forward`; `pooler_output` is the embedding of each track.

        With `config.projection_size`, `pooler_output` is `(clips, projection size)`, of length 1, in the joint
        embedding space of `get_text_features`. The embedding of the backbone is `audio_model(...).pooler_output`.
        """
        audio = self.audio_model(input_values, audio_attention_mask, output_hidden_states, attention_mask)
        if self.alignment is None:
            return audio
        return replace(audio, pooler_output=self.alignment.project_audio(audio.pooler_output))

    @can_return_tuple
    @only_known_arguments
    def get_text_features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> BaseModelOutputWithPooling:
        """The text stream before it meets the audio.

        `last_hidden_state` is `(texts, tokens, text size)`. `pooler_output` is `(texts, projection size)`, of length
        1, in the joint embedding space of `get_audio_features`.

        Raises:
            ValueError: the model has no joint embedding space.
        """
        if self.alignment is None:
            raise ValueError(
                "this model has no joint embedding space (config.projection_size is 0): score pairs with "
                "model(input_values, input_ids), or train with a recipe that sets projection_size"
            )
        check_token_types(token_type_ids)
        text = self.start_text(input_ids, attention_mask)
        return BaseModelOutputWithPooling(last_hidden_state=text.states, pooler_output=text.embeds)

    @can_return_tuple
    @only_known_arguments
    def forward(
        self,
        input_values: torch.Tensor,
        input_ids: torch.Tensor,
        audio_attention_mask: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        return_logits: bool = True,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_loss: bool | None = None,
        caption_ids: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> MulapOutput:
        """Matching scores of every clip with every text and, for as many clips as texts, the states of pair i, i.

        Args:
            input_values: `(clips, samples)`, mono waveforms at `config.audio_config.sampling_rate`, in [-1, 1].
            input_ids: `(texts, tokens)`.
            audio_attention_mask: `(clips, samples)`, 1 = real.
            attention_mask: `(texts, tokens)`, 1 = real.
            return_logits: score all pairs, `config.pair_batch_size` at a time. Scoring fuses clips x texts pairs:
                switch it off if only the aligned pairs are wanted.
            output_hidden_states, output_attentions: also return these of the aligned pairs. Attentions are computed
                eagerly, with a warning if the model has another attention implementation.
            return_loss: also return the contrastive loss of the aligned pairs, as CLIP does: it trains the joint
                embedding space alone. `MulapForPreTraining` has the whole objective.
            caption_ids: `(clips,)`, for the loss: equal for equal captions, which are not each other's negatives.
            token_type_ids: all 0, as BERT's tokenizers return them.

        Raises:
            ValueError: a shape does not fit, or a loss is asked for that the model cannot compute.
            TypeError: an argument is unknown.
        """
        check_token_types(token_type_ids)
        check_shape("caption_ids", caption_ids, "(clips,)", input_values.shape[:1])
        recorded = self._what_to_record(output_hidden_states, output_attentions)
        backbone = self.audio_model(input_values, audio_attention_mask)
        text = self.start_text(input_ids, attention_mask, *recorded)
        audio = self.start_audio(backbone, None, *recorded)
        scores = self._score_all(text, audio) if return_logits else None
        is_aligned = len(input_ids) == len(input_values)
        loss = None
        if return_loss:
            if self.alignment is None or not is_aligned:
                raise ValueError(
                    f"return_loss=True needs as many texts as clips, here {len(input_ids)} and {len(input_values)}, "
                    f"and a joint embedding space, here config.projection_size={self.config.projection_size}"
                )
            loss = self.contrastive_loss(audio.embeds, text.embeds, caption_ids)
        fused = self._fuse(text, audio) if is_aligned and not self.is_dual_encoder else MulapStates()
        return MulapOutput(
            **self._unfused(text, audio, backbone),
            **fused,
            loss=loss,
            logits_per_audio=scores,
            logits_per_text=None if scores is None else scores.T,
        )

    def _score_all(self, text: Stream, audio: Stream) -> torch.Tensor:
        """Scores of every clip with every text, `(clips, texts)`."""
        if self.is_dual_encoder:
            return self.alignment.scale * audio.embeds @ text.embeds.T
        clips, texts = len(audio.states), len(text.states)
        pairs = torch.arange(clips * texts, device=text.states.device)
        return self.score_pairs(text, audio, pairs % texts, pairs // texts).view(clips, texts)

    def score_pairs(self, text: Stream, audio: Stream, texts: torch.Tensor, clips: torch.Tensor) -> torch.Tensor:
        """Log-odds that a text describes a clip, for any pairs. Only the fused layers run once per pair.

        Args:
            text, audio: as `start_text` and `start_audio` return them.
            texts, clips: `(pairs,)`, which rows of the two make a pair.

        Returns:
            `(pairs,)`; `config.pair_batch_size` pairs are computed at a time.
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
    """MuLaP with its training objective: the matching head of `MulapModel`, heads for masked language and masked audio
    modeling and, if their losses have a weight, heads on the backbone for the words of the caption and for comparing
    chunks of a clip.

    `loss` is the sum of all terms whose inputs are given, each multiplied by its weight in the configuration; without
    any of these inputs it is None. Each term is a mean over its items in the batch.

    | term | weight in the configuration | inputs that give it |
    |---|---|---|
    | `mlm_loss` | `mlm_loss_weight` | `mlm_labels` |
    | `mam_loss` | `mam_loss_weight` | `masked_chunks` |
    | `matching_loss` | `matching_loss_weight` | `matching_labels`; instead of these `caption_ids`, if `matching_negatives` is "random" or "hard" |
    | `contrastive_loss` | `contrastive_loss_weight`, if `projection_size` | `caption_ids`; of the pairs whose `matching_labels`, if given, are 0 |
    | `words_loss` | `words_loss_weight` | `word_ids` and `word_weights` |
    | `chunks_loss` | `chunks_loss_weight` | any of the inputs above |

    In training mode the contrastive terms (`contrastive_loss`, `chunks_loss`) take their negatives from all processes,
    so all processes must call the model. In training mode, too, a term is warned about that has a weight but lacks its
    inputs. `data.collator.PreTrainingCollator` makes all inputs. `transformers.Trainer` evaluates the loss if
    `TrainingArguments(label_names=["mlm_labels"])` tells it that these batches have labels.
    """  # noqa: E501, a table

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
        """As in transformers; `words_head` is resized, too."""
        embeddings = super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        if self.words_head is not None:
            self.words_head.decoder = self._get_resized_lm_head(
                self.words_head.decoder, embeddings.num_embeddings, mean_resizing=mean_resizing
            )
        return embeddings

    @can_return_tuple
    @only_known_arguments
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
        token_type_ids: torch.Tensor | None = None,
    ) -> MulapForPreTrainingOutput:
        """The loss and its terms on aligned pairs; the table in the docstring of the class says what gives which term.

        Args:
            input_values, input_ids, audio_attention_mask, attention_mask: as `MulapModel.forward`, equally many.
            masked_chunks: `(batch, chunks)`, 1 = the feature of the chunk is replaced by zeros and predicted.
            mlm_labels: `(batch, tokens)`, the token to predict, -100 elsewhere.
            matching_labels: `(batch,)`, 0 = matched, 1 = mismatched, -100 = ignored.
            caption_ids: `(batch,)`, equal for equal captions. If the pairs are all matched (no `matching_labels`) and
                `config.matching_negatives` is "random" or "hard", mismatched pairs are drawn from the batch, never a
                clip with a caption that equals its own.
            word_ids, word_weights: `(batch, words)`, the tokens of the caption of each clip and their weights, which
                sum to 1 for each caption, or to 0 if none of its tokens counts.
            output_hidden_states, output_attentions, token_type_ids: as `MulapModel.forward`.

        Raises:
            ValueError: a shape does not fit.
            TypeError: an argument is unknown.
        """
        if len(input_ids) != len(input_values):
            raise ValueError(f"{len(input_values)} clips with {len(input_ids)} texts: pre-training takes pairs")
        check_token_types(token_type_ids)
        recorded = self._what_to_record(output_hidden_states, output_attentions)
        backbone = self.audio_model(input_values, audio_attention_mask)
        chunk_mask = backbone.chunk_mask.bool()
        labels = PreTrainingLabels(masked_chunks, mlm_labels, matching_labels, caption_ids, word_ids, word_weights)
        labels = labels.checked(input_ids, chunk_mask)
        text = self.start_text(input_ids, attention_mask, *recorded)
        audio = self.start_audio(backbone, labels.masked_chunks, *recorded)
        negatives = None
        if matching_labels is None and caption_ids is not None and self.config.matching_negatives != "given":
            negatives = self._fuse_negatives(text, audio, caption_ids)
        fused = self._fuse(text, audio)
        output = MulapForPreTrainingOutput(
            **self._unfused(text, audio, backbone),
            **fused,
            **self._predictions(fused, backbone, chunk_mask, labels),
        )
        terms = self._terms(output, labels, negatives)
        return replace(output, **terms, loss=self._weighted_sum(terms))

    def _predictions(
        self, fused: MulapStates, backbone: MulapAudioOutput, chunk_mask: torch.Tensor, labels: PreTrainingLabels
    ) -> dict[str, torch.Tensor | None]:
        """Outputs of the heads, and the targets of masked audio modeling, as fields of the output."""
        features, tokens = backbone.last_hidden_state, fused.text_last_hidden_state
        is_masked, is_labeled = labels.masked_chunks is not None, labels.mlm_labels is not None
        return {
            "words_logits": None if self.words_head is None else self.words_head(backbone.pooler_output),
            "chunk_views": None
            if self.chunks_head is None
            else self.chunks_head(self._two_chunks(features, chunk_mask)),
            "mam_predictions": self.mam_head(fused.audio_last_hidden_state[:, 1:]),
            "mam_targets": mam_targets(self.config.mam_target, features, chunk_mask) if is_masked else None,
            "mlm_logits": self.mlm_head(tokens[labels.mlm_labels != IGNORED_LABEL] if is_labeled else tokens),
        }

    def _terms(
        self, output: MulapForPreTrainingOutput, labels: PreTrainingLabels, negatives: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """The terms of the loss whose inputs are given, by name.

        Args:
            output: without the loss.
            labels: what is given.
            negatives: matching logits `(negatives, 2)` of the mismatched pairs that were drawn, if any were.
        """
        terms = {}
        if labels.mlm_labels is not None:
            targets = labels.mlm_labels[labels.mlm_labels != IGNORED_LABEL]
            terms["mlm_loss"] = cross_entropy(output.mlm_logits, targets)
        if labels.masked_chunks is not None:
            terms["mam_loss"] = mam_loss(
                self.config.mam_loss, output.mam_predictions, output.mam_targets, labels.masked_chunks
            )
        if labels.matching_labels is not None:
            terms["matching_loss"] = cross_entropy(output.matching_logits, labels.matching_labels)
        elif negatives is not None:
            terms["matching_loss"] = balanced_matching_loss(output.matching_logits, negatives)
        if labels.caption_ids is not None and self.alignment is not None:
            terms["contrastive_loss"] = self.contrastive_loss(
                output.audio_embeds, output.text_embeds, labels.caption_ids, labels.matched
            )
        if labels.word_ids is not None and self.words_head is not None:
            terms["words_loss"] = words_loss(output.words_logits, labels.word_ids, labels.word_weights)
        if labels.are_given and self.chunks_head is not None:
            first, second = output.chunk_views.unbind(dim=1)
            terms["chunks_loss"] = nt_xent(first, second, self.config.chunks_temperature, self.training)
        return terms

    def _weighted_sum(self, terms: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """The loss, from its terms by name."""
        if not terms:
            return None
        weights = self.config.loss_weights()
        missing = [name for name, weight in weights.items() if weight and name not in terms]
        if missing and self.training and not torch.compiler.is_compiling():
            needs = ", ".join(f"{name} needs {INPUTS_OF_TERMS[name]}" for name in missing)
            logger.warning_once(
                f"The loss lacks terms that have a weight in the configuration: {needs}. Pass these inputs, or set "
                "the weights to 0."
            )
        return sum(weights[name] * term for name, term in terms.items())

    def _two_chunks(self, features: torch.Tensor, chunk_mask: torch.Tensor) -> torch.Tensor:
        """Features `(clips, 2, features)` of two chunks of each clip that has two: random ones in training."""
        if chunk_mask.shape[1] < 2:
            return features.new_zeros(0, 2, features.shape[-1])
        features, chunk_mask = (part[chunk_mask.sum(dim=1) > 1] for part in (features, chunk_mask))
        order = chunk_mask.float()
        if self.training:
            order = order * (1 + torch.rand_like(order))
        chosen = order.argsort(dim=1, descending=True, stable=True)[:, :2]  # (clips, 2)
        return features.gather(1, chosen.unsqueeze(-1).expand(-1, -1, features.shape[-1]))

    def _fuse_negatives(self, text: Stream, audio: Stream, caption_ids: torch.Tensor) -> torch.Tensor:
        """Matching logits `(negatives, 2)` of each clip with texts of others and of each text with clips of others.

        They are drawn as in ALBEF (Li et al., 2021, section 3.2).
        """
        allowed = caption_ids[:, None] != caption_ids  # (clips, texts)
        similarity = torch.zeros_like(allowed, dtype=torch.float32)
        if self.config.matching_negatives == "hard":
            similarity = (self.alignment.scale * audio.embeds @ text.embeds.T).detach().float()
        clips, texts = [], []
        for scores, queries, answers in ((similarity, clips, texts), (similarity.T, texts, clips)):
            rows = allowed.any(dim=1).nonzero().squeeze(1)  # those that have a negative
            probabilities = scores[rows].masked_fill(~allowed[rows], -torch.inf).softmax(dim=1)
            drawn = torch.multinomial(probabilities, self.config.num_matching_negatives, replacement=True)
            queries.append(rows.repeat_interleave(self.config.num_matching_negatives))
            answers.append(drawn.flatten())
        clips, texts = torch.cat(clips), torch.cat(texts)
        if not len(clips):
            return audio.states.new_zeros(0, 2)
        return self._fuse(text.select(texts), audio.select(clips)).matching_logits


class MulapForAudioClassification(MulapPreTrainedModel):
    """A classifier or regressor on the backbone's chunk features, averaged over the track.

    `config.problem_type` selects the loss: "single_label_classification", "multi_label_classification" or
    "regression". Without it the first labels decide and set it: integers `(batch,)` are class indices, other labels
    are 0/1 for each class, and a single output is regressed. `config.freeze_audio` leaves the backbone as it is,
    BatchNorm statistics included.
    """

    input_modalities = ("audio",)
    supports_gradient_checkpointing = False
    _auto_map = _AUTO_MAP
    _keys_to_ignore_on_load_unexpected = [JOINT_PARTS, HEADS]

    def __init__(self, config: MulapConfig):
        super().__init__(config)
        config.validate_problem_type()  # `from_pretrained` sets it without validation
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
    @only_known_arguments
    def forward(
        self,
        input_values: torch.Tensor,
        audio_attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> MulapClassifierOutput:
        """Logits of each track and of each of its chunks.

        Args:
            input_values, audio_attention_mask, attention_mask: as `MulapAudioModel.forward`.
            labels: `(batch,)` class indices, -100 = ignored; `(batch, labels)` 0/1; or `(batch, labels)` values to
                regress.
            output_hidden_states: also return the stages of the backbone.

        Raises:
            ValueError: a shape does not fit, or the labels do not fit `config.problem_type`.
            TypeError: an argument is unknown.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        audio = self.audio_model(input_values, audio_attention_mask, output_hidden_states, attention_mask)
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
        if self.config.problem_type is None:  # stored, because pipelines and exports read it
            self.config.problem_type = infer_problem_type(self.config.num_labels, labels)
        return classification_loss(self.config.problem_type, logits, labels)


__all__ = [
    "MulapClassifierOutput",
    "MulapForAudioClassification",
    "MulapForPreTraining",
    "MulapForPreTrainingOutput",
    "MulapModel",
    "MulapOutput",
    "MulapStates",
]
