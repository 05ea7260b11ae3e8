"""Embeddings of whole audio files: one row per track, or one per chunk."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from .audio import warn
from .decoding import Piece, decode_files, prefetch
from .embedding_threads import ThreadedEncoder
from .errors import AudioError, ModelError
from .feature_extraction_mulap import MulapFeatureExtractor
from .loading import backbone_fingerprint, model_fingerprint, open_backbone, open_joint_model, open_similarity
from .modeling_mulap import MulapModel
from .modeling_mulap_audio import MulapAudioModel, MulapPreTrainedModel
from .modeling_mulap_similarity import FACTORS, MulapForMusicSimilarity
from .pipeline_mulap_tasks import CONTRASTIVE, trained_scores

_PIECES_AHEAD = 8  # of ten seconds, or a chunk


@dataclass(frozen=True)
class TrackEmbedding:
    """The embedding of a file.

    path: Of the file.
    seconds: Length of the file.
    track: `(features,)`, the mean over its chunks.
    chunks: `(chunks, features)`; chunk i starts at i * `MulapAudioConfig.chunk_seconds`.
    problems: What is missing from the file, a sentence each; see `load_audio`.
    more: Further embeddings of the track that were asked for, each with length 1, by name: "joint_embedding",
        `(projection size,)`; "melody_embedding", "rhythm_embedding" and "timbre_embedding", `(embedding size,)`.
    """

    path: str
    seconds: float
    track: np.ndarray
    chunks: np.ndarray
    problems: tuple[str, ...] = ()
    more: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass
class _Track:
    """A file that is being embedded: how many chunks it has so far, and the features of the first ones."""

    count: int = 0
    features: list[np.ndarray] = field(default_factory=list)


class Embedder:
    """A backbone that embeds files.

    Args:
        model: Folder or Hub name of any MuLaP model, or a `MulapAudioModel`.
        device: Where to compute. Default: the GPU if there is one.
        batch_size: Chunks, of several tracks, that go through the model at once. Sets the model's `chunk_batch_size`,
            which is the default.
        joint: Embed tracks in the joint embedding space of audio and text, too.
        factors: Embed them by melody, rhythm and timbre, too; the model is a `MulapForMusicSimilarity`.

    Attributes:
        name: Hub name or absolute path of the model; None if it was passed as a module.
        joint: The whole model of audio and text; None without a trained joint space.

    Raises:
        ModelError: The model cannot be loaded, is not a MuLaP model, has no joint space, or the device cannot be used.
    """

    def __init__(
        self,
        model: str | Path | MulapAudioModel | MulapModel | MulapForMusicSimilarity,
        device: str | None = None,
        batch_size: int | None = None,
        joint: bool = False,
        factors: bool = False,
    ):
        self.name: str | None = None
        if not isinstance(model, MulapPreTrainedModel):
            self.name = os.path.abspath(model) if os.path.isdir(model) else str(model)
            model = (open_joint_model if joint else open_similarity if factors else open_backbone)(model)
        trained = isinstance(model, MulapModel) and CONTRASTIVE in trained_scores(model.config)
        self.joint = model if trained else None
        self.similarity = model if isinstance(model, MulapForMusicSimilarity) else None
        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            model.to(self.device).eval()
        except (RuntimeError, AssertionError) as error:  # an unknown name, or one that torch has no driver for
            raise ModelError(f"device={device!r} cannot be used here: {str(error).splitlines()[0]}") from error
        self.model: MulapAudioModel = getattr(model, "audio_model", model)
        if batch_size is not None:
            self.model.config.chunk_batch_size = batch_size
        self.feature_extractor = MulapFeatureExtractor(sampling_rate=self.model.config.sampling_rate)

    @property
    def sampling_rate(self) -> int:
        return self.feature_extractor.sampling_rate

    @property
    def feature_size(self) -> int:
        return self.model.config.feature_size

    @cached_property
    def fingerprint(self) -> str:
        """Differs for models that give different embeddings."""
        return backbone_fingerprint(self.model)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """A fingerprint for each embedding of a track: "embedding", and those of `TrackEmbedding.more`."""
        whole = self.joint or self.similarity
        more = dict.fromkeys(self.more_sizes, model_fingerprint(whole) if whole else "")
        return {"embedding": self.fingerprint} | more

    @property
    def more_sizes(self) -> dict[str, int]:
        """Sizes of the embeddings in `TrackEmbedding.more`, by name."""
        if self.joint is not None:
            return {"joint_embedding": self.joint.config.projection_size}
        if self.similarity is not None:
            return {f"{factor}_embedding": self.similarity.config.embedding_size for factor in FACTORS}
        return {}

    def embed(self, path: str | os.PathLike) -> TrackEmbedding:
        """Embeds a whole file.

        Args:
            path: An audio file. What is missing from it is reported by `warnings.warn`.

        Raises:
            AudioError: The file cannot be used, see `load_audio`, or its embedding is not finite.
        """
        (result,) = self.embed_all([path])
        if isinstance(result, AudioError):
            raise result
        for problem in result.problems:
            warn(problem)
        return result

    def embed_all(self, paths: Iterable[str | os.PathLike], workers: int = 0) -> Iterator[TrackEmbedding | AudioError]:
        """Embeds files as they are decoded. A file that fails gives its error instead.

        The chunks of different files go through the model together, which changes nothing but the rounding.

        Args:
            paths: Audio files.
            workers: Processes that decode; 0 decodes in a thread, where a file that crashes the decoder ends all.

        Yields:
            The files in the order in which they are done; without workers that is the order of `paths`.
        """
        tracks: dict[int, _Track] = {}  # files that have not ended
        waiting: list[tuple[_Track, np.ndarray]] = []  # chunks for the next batch
        ended: deque[tuple[Piece, _Track]] = deque()
        batch_size = self.model.config.chunk_batch_size
        pieces = decode_files(paths, self.sampling_rate, self.model.config.chunk_length, workers)
        with (
            closing(pieces),
            closing(prefetch(pieces, _PIECES_AHEAD)) as ahead,
            ThreadedEncoder(self.encode, self.device) as encoder,
        ):
            for piece in chain(ahead, [None]):
                if piece is not None:
                    track = tracks.setdefault(piece.number, _Track())
                    track.count += len(piece.chunks)
                    waiting += [(track, chunk) for chunk in piece.chunks]
                    if piece.last:
                        ended.append((piece, tracks.pop(piece.number)))
                while len(waiting) >= (batch_size if piece else 1):
                    batch, waiting = waiting[:batch_size], waiting[batch_size:]
                    encoder.give([chunk for _, chunk in batch], [track for track, _ in batch])
                for owners, features in encoder.take(everything=piece is None):
                    for track, feature in zip(owners, features, strict=True):
                        track.features.append(feature)
                while ended and len(ended[0][1].features) == ended[0][1].count:
                    end, track = ended.popleft()
                    yield self._result(end, track.features)

    def encode_all(self, chunks: np.ndarray) -> np.ndarray:
        """`encode` of any number of chunks, `(chunks, chunk_length)`, in batches."""
        if not len(chunks):
            return np.zeros((0, 1), dtype=np.float32)
        with ThreadedEncoder(self.encode, self.device) as encoder:
            turns = -(-len(chunks) // (encoder.threads * self.model.config.chunk_batch_size))
            for batch in np.array_split(chunks, min(len(chunks), turns * encoder.threads)):
                encoder.give(batch)
            return np.concatenate([features for _, features in encoder.take(everything=True)])

    @torch.inference_mode()
    def encode(self, chunks: Sequence[np.ndarray]) -> np.ndarray:
        """`(chunk_length,)` each -> float32 `(chunks, features)`, with what the heads of the factors need behind."""
        inputs = torch.from_numpy(np.stack(chunks)).to(self.device)
        output = self.model(inputs)
        features = output.pooler_output
        if self.similarity is not None:
            features = self.similarity.chunk_features(inputs, None, output)[:, 0]
        return features.float().cpu().numpy()

    @torch.inference_mode()
    def project(self, track: np.ndarray) -> np.ndarray:
        """The embedding of a track `(features,)` -> float32 `(projection size,)`, in the joint embedding space.

        Raises:
            ModelError: The model was opened without its joint embedding space.
        """
        if self.joint is None:
            raise ModelError("the model was opened without its joint embedding space: pass joint=True")
        features = torch.from_numpy(track).to(self.device, self.joint.dtype)
        return self.joint.alignment.project_audio(features[None])[0].float().cpu().numpy()

    def _result(self, end: Piece, features: list[np.ndarray]) -> TrackEmbedding | AudioError:
        error = end.error
        if error is None and not np.isfinite(chunks := np.stack(features)).all():
            error = AudioError(
                f"{end.path}: the model's embedding of it is not finite (NaN or Inf): check the model's weights"
            )
        if error is not None:
            error.path = str(end.path)
            return error
        mean, size = chunks.mean(axis=0), self.feature_size
        more = {}
        if self.joint is not None:
            more = {"joint_embedding": self.project(mean)}
        elif self.similarity is not None:
            more = self._by_factor(mean)
        return TrackEmbedding(str(end.path), end.seconds, mean[:size], chunks[:, :size], tuple(end.problems), more)

    @torch.inference_mode()
    def _by_factor(self, track: np.ndarray) -> dict[str, np.ndarray]:
        embeds = self.similarity.similarity(torch.from_numpy(track).to(self.device)[None])
        return {f"{factor}_embedding": values[0].float().cpu().numpy() for factor, values in embeds.items()}

    @torch.inference_mode()
    def chunk_features(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        """Mono waveforms `(samples,)` at the model's rate -> float32 `(chunks, features)` of each.

        Raises:
            ValueError: One of them is empty or has samples that are not finite.
        """
        inputs = self.feature_extractor(
            waveforms,
            sampling_rate=self.sampling_rate,
            return_attention_mask=len(waveforms) > 1,  # of one, it is all ones and as large as the track
            return_tensors="pt",
        )
        chunks, mask = self.model.split(inputs["input_values"], inputs.get("audio_attention_mask"))
        features = self.encode_all(chunks[mask].numpy())[:, : self.feature_size]
        return np.split(features, np.cumsum(mask.sum(dim=1).numpy())[:-1])
