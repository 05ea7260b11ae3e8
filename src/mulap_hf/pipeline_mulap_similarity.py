"""The pipeline of music similarity: two pieces -> a score per factor; one piece and candidates -> a ranking."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

from .audio_inputs_mulap import is_audio
from .modeling_mulap_similarity import FACTORS
from .pipeline_mulap_audio import MulapRankingPipeline, checksum_of, given


@dataclass(repr=False)
class MulapSimilarityIndex:
    """The encoded candidates of a ranking, on the CPU.

    weights: checksum of the weights that encoded them.
    paths: path of each candidate; None if it was not a file.
    embeds: by factor `(candidates, embedding size)`, of length 1.
    """

    weights: int
    paths: list[str | None]
    embeds: dict[str, torch.Tensor]

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return f"MulapSimilarityIndex({len(self)} candidates, {', '.join(self.embeds)})"


class MulapMusicSimilarityPipeline(MulapRankingPipeline):
    """Similarity of music by melody, rhythm and timbre, each in [-1, 1].

    `compare("a.mp3", "b.mp3")` returns `{"melody", "rhythm", "timbre"}`. `compare("a.mp3", files, weights={"rhythm":
    1})` returns a list of `{"index", "score", "melody", "rhythm", "timbre", "path"}`, the best first; `path` is given
    if the candidate is a file or URL. `index = compare.index(files)` encodes the candidates once, for many queries.

    Raises:
        ValueError: the model is not a MulapForMusicSimilarity.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if not hasattr(self.model, "similarity"):
            raise ValueError(
                f"the model is a {type(self.model).__name__}, and this pipeline needs a MulapForMusicSimilarity: "
                "train one with training/similarity.py"
            )

    @torch.no_grad()
    def __call__(
        self,
        query,
        candidates,
        weights: Mapping[str, float] | None = None,
        top_k: int | None = 5,
        sampling_rate: float | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
    ):
        """Compares one recording with others.

        Args:
            query: one input as `MulapAudioPipeline` takes it.
            candidates: another one; a list of them; or an index of them.
            weights: by factor, what the score of a ranking is the weighted mean of; a factor that is not named counts
                nothing. Default: all count the same.
            top_k: number of candidates to return; None: all.
            sampling_rate, batch_size, num_workers: as in `index`.

        Returns:
            For one candidate, the similarity by factor; for several, a list of candidates.

        Raises:
            ValueError: there are no candidates, the weights are not as above, or the index is from another model.
        """
        mix = _check_weights(weights)
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k={top_k} must be at least 1, or None for all candidates")
        options = given(sampling_rate=sampling_rate, batch_size=batch_size, num_workers=num_workers)
        anchor = self.index([query], **options)
        is_index = isinstance(candidates, MulapSimilarityIndex)
        index = candidates if is_index else self.index(candidates, **options)
        if index.weights != anchor.weights:
            raise ValueError(f"{index} was made by another model: make it again with this pipeline's index(...)")
        scores = {factor: (index.embeds[factor] @ anchor.embeds[factor][0]).clamp(-1, 1) for factor in FACTORS}
        if not is_index and is_audio(candidates):
            return {factor: values[0].item() for factor, values in scores.items()}
        total = sum(mix[factor] * values for factor, values in scores.items()) / sum(map(abs, mix.values()))
        return [
            {"index": row, "score": total[row].item(), **{factor: scores[factor][row].item() for factor in FACTORS}}
            | given(path=index.paths[row])
            for row in total.argsort(descending=True, stable=True)[:top_k].tolist()
        ]

    def index(self, candidates, **kwargs) -> MulapSimilarityIndex:
        """Encodes candidates once, for many queries.

        Args:
            candidates: inputs as `MulapAudioPipeline` takes them.
            kwargs: `sampling_rate` of plain waveforms, in Hz; `batch_size`, `num_workers`.

        Raises:
            ValueError: there are no candidates.
        """
        found = list(super().__call__([candidates] if is_audio(candidates) else candidates, **kwargs))
        if not found:
            raise ValueError("candidates are empty: pass at least one recording to compare with")
        embeds = {factor: torch.cat([item[factor] for item in found]) for factor in FACTORS}
        return MulapSimilarityIndex(self._weights, [item["path"] for item in found], embeds)

    @cached_property
    def _weights(self) -> int:
        return checksum_of(self.model.state_dict())

    def _forward(self, model_inputs):
        paths = model_inputs.pop("path")
        output = self.model(**model_inputs)
        return {factor: output[f"{factor}_embeds"].float() for factor in FACTORS} | {"path": paths}

    def postprocess(self, model_outputs):
        return model_outputs


def _check_weights(weights: Mapping[str, float] | None) -> dict[str, float]:
    if weights is None:
        return dict.fromkeys(FACTORS, 1.0)
    if not isinstance(weights, Mapping) or not weights or set(weights) - set(FACTORS) or not any(weights.values()):
        raise ValueError(f"weights={weights!r} must be a dict with some of {', '.join(FACTORS)}, not all zero")
    return {factor: float(weights.get(factor, 0.0)) for factor in FACTORS}


__all__ = ["MulapMusicSimilarityPipeline", "MulapSimilarityIndex"]
