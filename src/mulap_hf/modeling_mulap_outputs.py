"""What the models return. A field that was not asked for, or that a model cannot give, is None."""

from dataclasses import dataclass

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput


@dataclass
class MulapAudioOutput(BaseModelOutputWithPooling):
    """Output of the audio backbone.

    last_hidden_state: `(batch, chunks, features)`, zero where a chunk is padding.
    pooler_output: `(batch, features)`, mean of the real chunks' features: the embedding of the track.
    chunk_mask: `(batch, chunks)`, 1 = real, 0 = padding.
    hidden_states: on request, `(batch, chunks, frames, channels)` after the front end and after each mid-end layer.
    """

    chunk_mask: torch.LongTensor | None = None


@dataclass
class MulapStates(ModelOutput):
    """Output of the two streams for aligned pairs (clip i with text i).

    loss: see the class of the model.
    matching_logits: `(batch, 2)`; class 0 = the text describes the clip, 1 = it does not.
    pooler_output: `(batch, pooled size)`, the fused vector of the pair.
    text_last_hidden_state, audio_last_hidden_state: `(batch, tokens, text size)`, `(batch, 1 + chunks, audio size)`;
        the first token of the audio is the global one.
    text_pooler_output, audio_pooler_output: `(batch, pooled size)`.
    chunk_mask: `(clips, chunks)`, 1 = real, 0 = padding.
    chunk_features: `(clips, chunks, features)`, the backbone's features of the unmasked audio.
    text_hidden_states, audio_hidden_states: on request, the embeddings and the output of every layer.
    text_attentions, audio_attentions: on request, `(batch, heads, tokens, tokens)` per layer.
    text_to_audio_attentions: on request, `(batch, heads, tokens, 1 + chunks)` per connection.
    audio_to_text_attentions: on request, `(batch, heads, 1 + chunks, tokens)` per connection.
    audio_embeds, text_embeds: `(clips, projection size)`, `(texts, projection size)`, of length 1, in the joint
        embedding space of a model with `config.projection_size`.
    logit_scale: the factor of their dot products.
    """

    loss: torch.FloatTensor | None = None
    matching_logits: torch.FloatTensor | None = None
    pooler_output: torch.FloatTensor | None = None
    text_last_hidden_state: torch.FloatTensor | None = None
    audio_last_hidden_state: torch.FloatTensor | None = None
    text_pooler_output: torch.FloatTensor | None = None
    audio_pooler_output: torch.FloatTensor | None = None
    chunk_mask: torch.LongTensor | None = None
    chunk_features: torch.FloatTensor | None = None
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
class MulapOutput(MulapStates):
    """Scores of every clip against every text and, where there are as many clips as texts, the states of the pairs.

    loss: with `return_loss=True`, the contrastive loss of the pairs.
    logits_per_audio: `(clips, texts)`, log-odds that the text describes the clip; of a dual encoder, their scaled
        cosine similarity.
    logits_per_text: its transpose.
    """

    logits_per_audio: torch.FloatTensor | None = None
    logits_per_text: torch.FloatTensor | None = None


@dataclass
class MulapForPreTrainingOutput(MulapStates):
    """The loss, its terms, and what they are computed from.

    loss: sum of the terms, each multiplied by its weight in the configuration; None without labels.
    mlm_loss, mam_loss, matching_loss, contrastive_loss, words_loss, chunks_loss: the terms, without the weights. The
        table in `MulapForPreTraining` says which inputs give which term.
    mlm_logits: `(labeled tokens, vocabulary)` with `mlm_labels`, else `(batch, tokens, vocabulary)`.
    mam_predictions, mam_targets: `(batch, chunks, features)`, the predicted and the true features of each chunk.
    words_logits: `(batch, vocabulary)`, of a model with `config.words_loss_weight`.
    chunk_views: `(clips, 2, 128)`, of a model with `config.chunks_loss_weight`: projections of two chunks of every
        clip that has two, which the contrastive loss compares. They are drawn at random in training, and the first two
        otherwise.
    """

    mlm_loss: torch.FloatTensor | None = None
    mam_loss: torch.FloatTensor | None = None
    matching_loss: torch.FloatTensor | None = None
    contrastive_loss: torch.FloatTensor | None = None
    words_loss: torch.FloatTensor | None = None
    chunks_loss: torch.FloatTensor | None = None
    mlm_logits: torch.FloatTensor | None = None
    mam_predictions: torch.FloatTensor | None = None
    mam_targets: torch.FloatTensor | None = None
    words_logits: torch.FloatTensor | None = None
    chunk_views: torch.FloatTensor | None = None


@dataclass
class MulapClassifierOutput(ModelOutput):
    """Logits of each track and, over time, of each of its chunks.

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


__all__ = ["MulapAudioOutput", "MulapClassifierOutput", "MulapForPreTrainingOutput", "MulapOutput", "MulapStates"]
