"""The feature-extraction pipeline: the model's own embeddings, of tracks, of chunks, and in the joint space."""

import numpy as np
import pytest
import torch
from helpers import micro_config, settle, write_tone
from pipeline_helpers import ALIGNED, DUAL, clips, embedder, make

from mulap_hf import (
    MulapAudioModel,
    MulapFeatureExtractionPipeline,
    MulapForAudioClassification,
    MulapModel,
    load_audio,
)
from mulap_hf.embedding import Embedder


def test_features_are_the_models_own(processor, tmp_path):
    pipe = embedder(processor, **ALIGNED)
    path = tmp_path / "song.mp3"
    write_tone(path, seconds=20, rate=44100, channels=2)
    expected = Embedder(pipe.model.audio_model, "cpu").embed(path)
    assert pipe(path) == pytest.approx(expected.track.tolist(), rel=1e-5, abs=1e-6)
    assert np.array(pipe(path, per_chunk=True)) == pytest.approx(expected.chunks, rel=1e-5, abs=1e-6)
    many = pipe([*clips(), path], per_chunk=True, batch_size=4)
    assert [len(item) for item in many] == [4, 1, 2, len(expected.chunks)]
    with torch.no_grad():
        shared = pipe.model.get_audio_features(torch.from_numpy(load_audio(path))[None]).pooler_output[0]
    assert pipe(path, space="shared") == pytest.approx(shared.tolist(), rel=1e-5, abs=1e-6)
    assert torch.allclose(pipe(path, space="shared", return_tensors=True), shared, atol=1e-6)


def test_features_of_every_kind_of_model(processor):
    clip = clips()[0]
    models = [MulapAudioModel(micro_config().audio_config), MulapModel(micro_config(**DUAL))]
    for model in (*models, MulapForAudioClassification(micro_config())):
        pipe = make(MulapFeatureExtractionPipeline, settle(model), processor)
        with torch.no_grad():
            expected = model.base_model(torch.from_numpy(clip)[None]).pooler_output[0]
        assert pipe(clip) == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-6)


def test_shared_space_only_where_it_was_trained(processor):
    clip = clips()[0]
    for overrides in ({}, {**ALIGNED, "contrastive_loss_weight": 0}):
        with pytest.raises(ValueError, match="needs a joint embedding space of audio and text"):
            embedder(processor, **overrides)(clip, space="shared")
    backbone = make(MulapFeatureExtractionPipeline, MulapAudioModel(micro_config().audio_config), processor)
    with pytest.raises(ValueError, match="no text side"):
        backbone(clip, space="shared")
    with pytest.raises(ValueError, match="leave out per_chunk"):
        embedder(processor, **ALIGNED)(clip, space="shared", per_chunk=True)
    with pytest.raises(ValueError, match="space='text'"):
        embedder(processor)(clip, space="text")
