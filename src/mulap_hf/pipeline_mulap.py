"""Pipelines for audio in any form: embeddings, tags, zero-shot labels, and retrieval by text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from transformers import (
    AudioClassificationPipeline,
    ZeroShotAudioClassificationPipeline,
)

from .audio_inputs_mulap import is_audio
from .pipeline_mulap_audio import MulapAudioPipeline, MulapRankingPipeline, checksum_of, given
from .pipeline_mulap_tasks import CLASSIFIER, CONTRASTIVE, MATCHING, trained_scores

_ACTIVATIONS = {
    "sigmoid": torch.sigmoid,
    "softmax": lambda logits: logits.softmax(dim=-1),
    "none": lambda logits: logits,
}
_CLIPS = 32  # of an index, matched with the texts at once


class MulapFeatureExtractionPipeline(MulapAudioPipeline):
    """Embeddings of music: `pipe(audio)` returns the mean over the track's chunks, `(features,)`, as a list of floats.

    Args of a call:
        per_chunk: return the features of every chunk, `(chunks, features)`; chunk i starts at
            i * `config.audio_config.chunk_seconds`.
        space: "backbone" (default) returns the features to transfer to other tasks; "shared" returns the track in the
            joint embedding space of audio and text, with length 1 (`MulapModel.get_audio_features`).
        return_tensors: return tensors instead of lists.
        sampling_rate: of plain waveforms, in Hz; default: the model's.

    Raises:
        ValueError: space="shared" with a model whose joint embedding space was not trained.
    """

    def _sanitize_parameters(
        self,
        per_chunk: bool | None = None,
        space: str | None = None,
        return_tensors: bool | str | None = None,
        sampling_rate: float | None = None,
    ):
        if space not in (None, "backbone", "shared"):
            raise ValueError(f'space={space!r} must be "backbone" or "shared"')
        if space == "shared":
            if per_chunk:
                raise ValueError('space="shared" has one embedding per track: leave out per_chunk')
            if CONTRASTIVE not in text_scores(self.model):
                raise ValueError(
                    'space="shared" needs a joint embedding space of audio and text, which this model was not trained '
                    'for (config.projection_size, config.contrastive_loss_weight): use space="backbone"'
                )
        return (
            given(sampling_rate=sampling_rate),
            given(space=space),
            given(per_chunk=per_chunk, return_tensors=return_tensors),
        )

    def _forward(self, model_inputs, space: str = "backbone"):
        audio = self.model.base_model(**model_inputs)
        track = audio.pooler_output  # (clips, features)
        if space == "shared":
            track = self.model.alignment.project_audio(track)  # (clips, projection size)
        return {"track": track.float(), "chunks": audio.last_hidden_state.float(), "chunk_mask": audio.chunk_mask}

    def postprocess(self, model_outputs, per_chunk: bool = False, return_tensors: bool | str = False):
        features = model_outputs["track"][0]  # (features,)
        if per_chunk:
            features = model_outputs["chunks"][0][model_outputs["chunk_mask"][0].bool()]  # (chunks, features)
        return features if return_tensors else features.tolist()


class MulapAudioClassificationPipeline(MulapAudioPipeline, AudioClassificationPipeline):
    """Tags, classes or values of music: `pipe(audio)` returns a list of `{"label", "score"}`, the highest score first.

    The score of a tag is its probability (multi-label), the scores of classes sum to 1 (single-label), and the score
    of a regression is the value.

    Args of a call:
        top_k: number of labels to return; default: all.
        function_to_apply: "sigmoid", "softmax" or "none"; default: what `config.problem_type` requires.
        per_chunk: return a list of `{"start", "end", "scores": {label: score}}` with one entry per chunk, times in
            seconds; `top_k` selects the best labels of the whole track.
        sampling_rate: of plain waveforms, in Hz; default: the model's.

    Raises:
        ValueError: the model is not a classifier, or an argument is out of range.
    """

    def __init__(self, *args, top_k: int | None = None, **kwargs):
        super().__init__(*args, top_k=top_k, **kwargs)

    def check_model_type(self, supported_models):
        if not hasattr(self.model, "classifier"):
            raise ValueError(
                f"the model is a {type(self.model).__name__}, and this pipeline needs a MulapForAudioClassification: "
                "load the folder of a classifier"
            )

    def _sanitize_parameters(
        self,
        top_k: int | None = None,
        function_to_apply: str | None = None,
        per_chunk: bool | None = None,
        sampling_rate: float | None = None,
    ):
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k={top_k} must be at least 1, or None for all labels")
        if function_to_apply not in (None, *_ACTIVATIONS):
            raise ValueError(f"function_to_apply={function_to_apply!r} must be one of {sorted(_ACTIVATIONS)}")
        return (
            given(sampling_rate=sampling_rate),
            {},
            given(top_k=top_k, function_to_apply=function_to_apply, per_chunk=per_chunk),
        )

    def _forward(self, model_inputs):
        output = self.model(**model_inputs)
        return {
            "logits": output.logits,
            "chunk_logits": output.chunk_logits,
            "chunk_mask": output.chunk_mask,
            "samples": model_inputs["audio_attention_mask"].sum(dim=1),
        }

    def postprocess(
        self,
        model_outputs,
        top_k: int | None = None,
        function_to_apply: str | None = None,
        per_chunk: bool = False,
    ):
        config = self.model.config
        if function_to_apply is None:
            functions = {"regression": "none", "multi_label_classification": "sigmoid"}
            function_to_apply = functions.get(config.problem_type, "softmax")
        activation = _ACTIVATIONS[function_to_apply]
        scores = activation(model_outputs["logits"][0].float())  # (labels,)
        best = scores.argsort(descending=True, stable=True)[:top_k].tolist()
        if not per_chunk:
            return [{"label": config.id2label[index], "score": scores[index].item()} for index in best]
        mask = model_outputs["chunk_mask"][0].bool()
        chunks = activation(model_outputs["chunk_logits"][0][mask].float()).tolist()  # (chunks, labels)
        seconds = model_outputs["samples"].item() / config.audio_config.sampling_rate
        length = config.audio_config.chunk_seconds
        return [
            {
                "start": number * length,
                "end": min((number + 1) * length, seconds),
                "scores": {config.id2label[index]: chunk[index] for index in best},
            }
            for number, chunk in enumerate(chunks)
        ]


class MulapPairPipeline(MulapAudioPipeline):
    """Base of the pipelines that score audio against texts.

    Raises:
        ValueError: the model has no text side, or was not trained to score texts.
    """

    _load_tokenizer = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if not self.kinds:
            raise ValueError(
                "this model was not trained to score texts, neither by matching (config.matching_loss_weight) nor in "
                "a joint embedding space (config.projection_size, config.contrastive_loss_weight): load one that was"
            )

    @property
    def kinds(self) -> list[str]:
        """The kinds of scores that the model was trained for."""
        return text_scores(self.model)

    def _start_audio(self, model_inputs):
        """The audio stream before the fusion.

        The fusion uses as many chunks as the audio Transformer has positions (10 minutes in the published model); the
        joint embedding uses all of them.
        """
        audio = self.model.audio_model(**model_inputs)
        longest = self.model.config.audio_config.max_position_embeddings - 1  # the global token takes one position
        audio.last_hidden_state = audio.last_hidden_state[:, :longest]
        audio.chunk_mask = audio.chunk_mask[:, :longest]
        return self.model.start_audio(audio)

    def _start_texts(self, texts: list[str]):
        """The text stream before the fusion; texts are cut to the tokenizer's `model_max_length`."""
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, return_token_type_ids=False, return_tensors="pt"
        ).to(self.device)
        return self.model.start_text(tokens["input_ids"], tokens["attention_mask"])

    def _score(self, audio, text, kind: str) -> torch.Tensor:
        """`(clips, texts)`: log-odds of a match, or cosine similarities, which use only the `embeds` of `audio`."""
        if kind == CONTRASTIVE:
            return audio.embeds.to(self.device).float() @ text.embeds.float().T
        clips, texts = len(audio.states), len(text.states)
        pairs = torch.arange(clips * texts, device=self.device)
        return self.model.score_pairs(text, audio, pairs % texts, pairs // texts).view(clips, texts)


class MulapZeroShotAudioClassificationPipeline(MulapPairPipeline, ZeroShotAudioClassificationPipeline):
    """Classification by any labels: `pipe(audio, candidate_labels=["piano", "rock"])` returns a list of
    `{"label", "score"}`, the highest score first.

    The logits are the log-odds that the text of the label describes the audio. If the model was not trained to match
    audio and text, they are scaled cosine similarities in the joint embedding space.

    Args of a call:
        candidate_labels: texts, as a list or separated by commas.
        hypothesis_template: text with "{}" in place of the label; default: the label alone.
        multi_label: score every label independently (sigmoid) instead of relative to the others (softmax). If the
            scores are cosine similarities, the result can rank audio by a label, but it is not a probability.
        sampling_rate: of plain waveforms, in Hz; default: the model's.
    """

    def _sanitize_parameters(
        self,
        candidate_labels: str | Sequence[str] | None = None,
        hypothesis_template: str | None = None,
        multi_label: bool | None = None,
        sampling_rate: float | None = None,
    ):
        if isinstance(candidate_labels, str):
            candidate_labels = [label.strip() for label in candidate_labels.split(",") if label.strip()]
        if candidate_labels is not None:
            candidate_labels = _texts(candidate_labels, "candidate_labels")
        if hypothesis_template is not None and "{}" not in hypothesis_template:
            raise ValueError(
                f'hypothesis_template={hypothesis_template!r} has no "{{}}": write "{{}}" in place of the label'
            )
        labels = given(candidate_labels=candidate_labels)
        return (
            given(sampling_rate=sampling_rate),
            labels | given(hypothesis_template=hypothesis_template),
            labels | given(multi_label=multi_label),
        )

    def _forward(self, model_inputs, candidate_labels: Sequence[str] = (), hypothesis_template: str = "{}"):
        if not candidate_labels:
            raise ValueError('candidate_labels is missing or empty: pass a list of labels, like ["piano", "rock"]')
        text = self._start_texts([hypothesis_template.replace("{}", label) for label in candidate_labels])
        kind = self.kinds[0]
        logits = self._score(self._start_audio(model_inputs), text, kind)  # (clips, labels)
        return {"logits": logits * self.model.alignment.scale if kind == CONTRASTIVE else logits}

    def postprocess(self, model_outputs, candidate_labels: Sequence[str] = (), multi_label: bool = False):
        scores = _ACTIVATIONS["sigmoid" if multi_label else "softmax"](model_outputs["logits"][0].float())
        best = scores.argsort(descending=True, stable=True).tolist()
        return [{"label": candidate_labels[index], "score": scores[index].item()} for index in best]


@dataclass(repr=False)
class MulapMusicIndex:
    """The encoded candidates of a retrieval, on the CPU.

    kind: "contrastive": a query costs one product; "matching": a query runs the fused layers with every clip.
    weights: checksum of the weights that encoded the clips.
    paths: path of each clip; None if it was not a file.
    embeds: `(clips, projection size)`, with length 1, in the joint embedding space; None if the model has none.
    states: `(1 + chunks, audio size)` for each clip, the audio stream before the fusion; empty if contrastive.
    """

    kind: str
    weights: int
    paths: list[str | None]
    embeds: torch.Tensor | None
    states: list[torch.Tensor]

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        tensors = [*self.states, *([] if self.embeds is None else [self.embeds])]
        megabytes = sum(tensor.nbytes for tensor in tensors) / 1e6
        return f"MulapMusicIndex({len(self)} clips, {self.kind}, {megabytes:.1f} MB)"


class MulapTextMusicRetrievalPipeline(MulapRankingPipeline, MulapPairPipeline):
    """Retrieval of music by text: `retrieve("calm piano", candidates=files)` returns a list of
    `{"index", "score", "path"}`, the best first; `path` is given if the candidate is a file or URL.

    Scores are cosine similarities in the joint embedding space. If the model was not trained for one, they are the
    log-odds that the text describes the audio. `index = retrieve.index(files)` encodes the candidates once, for many
    queries.
    """

    @property
    def kind(self) -> str:
        """The kind of the scores: "contrastive" or "matching"."""
        return self.kinds[-1]

    @torch.no_grad()
    def __call__(
        self,
        queries: str | Sequence[str],
        candidates,
        top_k: int | None = 5,
        sampling_rate: float | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
    ):
        """Ranks candidates.

        Args:
            queries: a text, or a list of texts.
            candidates: inputs as `MulapAudioPipeline` takes them, or an index of them.
            top_k: number of candidates to return; None: all.
            sampling_rate, batch_size, num_workers: as in `index`; they have no effect on an index.

        Returns:
            For a text, a list of candidates; for a list of texts, a list of such lists.

        Raises:
            ValueError: there are no candidates, or the index was made by another model.
        """
        texts = _texts([queries] if isinstance(queries, str) else queries, "queries")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k={top_k} must be at least 1, or None for all candidates")
        if not texts:
            return []
        index = candidates
        if not isinstance(index, MulapMusicIndex):
            options = given(sampling_rate=sampling_rate, batch_size=batch_size, num_workers=num_workers)
            index = self.index(candidates, **options)
        self._check_index(index)
        scores = self._score_index(index, self._start_texts(texts)).T.float().cpu()  # (texts, clips)
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :top_k].tolist()
        found = [
            [{"index": clip, "score": row[clip].item()} | given(path=index.paths[clip]) for clip in clips]
            for row, clips in zip(scores, order, strict=True)
        ]
        return found[0] if isinstance(queries, str) else found

    def index(self, candidates, **kwargs) -> MulapMusicIndex:
        """Encodes candidates once, for many queries.

        Args:
            candidates: inputs as `MulapAudioPipeline` takes them.
            kwargs: `sampling_rate` of plain waveforms, in Hz; `batch_size`, `num_workers`.

        Raises:
            ValueError: there are no candidates.
        """
        clips = list(super().__call__([candidates] if is_audio(candidates) else candidates, **kwargs))
        if not clips:
            raise ValueError("candidates are empty: pass at least one recording to rank")
        embeds = [clip["embeds"] for clip in clips]
        return MulapMusicIndex(
            self.kind,
            self._weights,
            [clip["path"] for clip in clips],
            None if embeds[0] is None else torch.cat(embeds),
            [] if self.kind == CONTRASTIVE else [clip["states"] for clip in clips],
        )

    @cached_property
    def _weights(self) -> int:
        """Checksum of the weights that encode audio."""
        audio = ("audio_", "alignment.audio_")
        return checksum_of({name: value for name, value in self.model.state_dict().items() if name.startswith(audio)})

    def _check_index(self, index: MulapMusicIndex):
        if (index.kind, index.weights) != (self.kind, self._weights):
            raise ValueError(f"{index} was made by another model: make it again with this pipeline's index(...)")

    def _forward(self, model_inputs):
        paths = model_inputs.pop("path")
        audio = self._start_audio(model_inputs)
        return {"states": audio.states, "mask": audio.mask, "embeds": audio.embeds, "path": paths}

    def postprocess(self, model_outputs):
        mask = model_outputs.pop("mask")[0]
        states = model_outputs.pop("states")[0]
        return model_outputs | ({} if self.kind == CONTRASTIVE else {"states": states[mask]})

    def _score_index(self, index: MulapMusicIndex, text) -> torch.Tensor:
        """`(clips, texts)`, a few clips at a time."""
        if index.kind == CONTRASTIVE:
            return self._score(index, text, CONTRASTIVE)
        blocks = []
        for start in range(0, len(index), _CLIPS):
            states = index.states[start : start + _CLIPS]
            embeds = None if index.embeds is None else index.embeds[start : start + _CLIPS].to(self.device)
            lengths = torch.tensor([len(clip) for clip in states])
            mask = torch.arange(int(lengths.max())) < lengths[:, None]  # (clips, 1 + chunks)
            padded = torch.nn.utils.rnn.pad_sequence(states, batch_first=True)  # (clips, 1 + chunks, audio size)
            audio = type(text)(padded.to(self.device), mask.to(self.device), embeds)  # a stream, like the text
            blocks.append(self._score(audio, text, MATCHING))
        return torch.cat(blocks)


def text_scores(model) -> list[str]:
    """The scores of audio against text that a model was trained for: "matching", "contrastive", both or none.

    Raises:
        ValueError: the model has no text side.
    """
    config = model.config
    # The folder of a classifier can be opened as a MulapModel, whose text side is then random.
    if not hasattr(model, "score_pairs") or config.architectures == [CLASSIFIER]:
        raise ValueError(
            f"{config.name_or_path or type(model).__name__} is a {_architecture(model)}, which has no text side: load "
            "a model that was pre-trained on audio and texts"
        )
    return trained_scores(config)


def _architecture(model) -> str:
    return (model.config.architectures or [type(model).__name__])[0]


def _texts(texts: Sequence[str], name: str) -> list[str]:
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{name} must be a text or a list of texts, not {type(texts).__name__}")
    return list(texts)


__all__ = [
    "MulapAudioClassificationPipeline",
    "MulapFeatureExtractionPipeline",
    "MulapMusicIndex",
    "MulapTextMusicRetrievalPipeline",
    "MulapZeroShotAudioClassificationPipeline",
]
