"""What the tests of the pipelines share: clips, and pipelines of small models in memory."""

import numpy as np
import torch
from helpers import CHUNK, micro_config, settle, waveforms

from mulap_hf import (
    MulapAudioClassificationPipeline,
    MulapFeatureExtractionPipeline,
    MulapForAudioClassification,
    MulapModel,
    MulapTextMusicRetrievalPipeline,
    MulapZeroShotAudioClassificationPipeline,
)

LABELS = {0: "piano", 1: "rock", 2: "techno"}
DUAL = {"connection_text_layers": [], "connection_audio_layers": [], "projection_size": 16}
ALIGNED = {"projection_size": 16}
UNTRAINED = {"matching_loss_weight": 0, "contrastive_loss_weight": 0}


def clips(batch: int = 3) -> list[np.ndarray]:
    """Of different lengths, one shorter than a chunk."""
    lengths = [4 * CHUNK + 11, CHUNK // 2, 2 * CHUNK][:batch]
    return [wave[:length].numpy() for wave, length in zip(waveforms(batch, 4 * CHUNK + 11), lengths, strict=True)]


def make(cls, model, processor, **options):
    """A pipeline of a model in memory."""
    text = {"tokenizer": processor.tokenizer} if cls._load_tokenizer else {}
    return cls(model=model, feature_extractor=processor.feature_extractor, device=-1, **text, **options)


def embedder(processor, **overrides):
    return make(MulapFeatureExtractionPipeline, settle(MulapModel(micro_config(**overrides))), processor)


def tagger(processor, problem: str = "multi_label_classification"):
    config = micro_config(id2label=LABELS, label2id={v: k for k, v in LABELS.items()}, problem_type=problem)
    return make(MulapAudioClassificationPipeline, settle(MulapForAudioClassification(config)), processor)


def zero_shot(processor, **overrides):
    return make(MulapZeroShotAudioClassificationPipeline, settle(MulapModel(micro_config(**overrides))), processor)


def retrieval(processor, **overrides):
    return make(MulapTextMusicRetrievalPipeline, settle(MulapModel(micro_config(**overrides))), processor)


@torch.no_grad()
def features(pipe, waveform) -> list[float]:
    """By the model itself, of a mono waveform at its rate."""
    return pipe.model.audio_model(torch.as_tensor(waveform)[None]).pooler_output[0].tolist()
