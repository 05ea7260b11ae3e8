"""Features that the heads of a similarity model take, for the cache of features."""

import numpy as np
import torch

from ..feature_extraction_mulap import MulapFeatureExtractor
from ..loading import backbone_fingerprint
from ..modeling_mulap_similarity import MulapForMusicSimilarity


class SimilarityExtractor:
    """The part of a similarity model before its heads, as an `Extractor` of `transfer.features`."""

    def __init__(self, model: MulapForMusicSimilarity):
        self.model = model
        self.feature_size = model.config.feature_size
        self.sampling_rate = model.config.audio_config.sampling_rate
        onsets = f"onsets {model.config.onset_bands} {model.config.onset_seconds}"
        self.fingerprint = f"{backbone_fingerprint(model.audio_model)} {onsets}"
        self._extract = MulapFeatureExtractor(sampling_rate=self.sampling_rate)

    @torch.inference_mode()
    def chunk_features(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        """Mono waveforms `(samples,)` at the model's rate -> float32 `(chunks, features)` of each."""
        inputs = self._extract(
            waveforms, sampling_rate=self.sampling_rate, return_attention_mask=True, return_tensors="pt"
        )
        values, mask = (inputs[name].to(self.model.device) for name in ("input_values", "audio_attention_mask"))
        audio = self.model.audio_model(values, mask)
        features = self.model.chunk_features(values, mask, audio).cpu().numpy()
        return [track[:count] for track, count in zip(features, audio.chunk_mask.sum(dim=1).tolist(), strict=True)]
