"""The zero-shot pipeline: labels of one's own, scored as the model was trained to."""

import pytest
import torch
from helpers import CAPTIONS, CHUNK, micro_config
from pipeline_helpers import ALIGNED, DUAL, UNTRAINED, clips, make, retrieval, zero_shot
from transformers import pipeline

from mulap_hf import (
    MulapAudioModel,
    MulapForAudioClassification,
    MulapModel,
    MulapTextMusicRetrievalPipeline,
    MulapZeroShotAudioClassificationPipeline,
)

TEMPLATE = "this is {}"


@pytest.mark.parametrize("overrides", [{}, ALIGNED, DUAL, {**ALIGNED, "matching_similarity": True}])
def test_zero_shot_equals_the_model_and_the_built_in_pipeline(overrides, processor):
    pipe = zero_shot(processor, **overrides)
    labels = CAPTIONS[:3]
    text = processor(text=[TEMPLATE.format(label) for label in labels])
    options = {"candidate_labels": labels, "hypothesis_template": TEMPLATE}
    built_in = pipeline(
        "zero-shot-audio-classification",
        model=pipe.model,
        feature_extractor=processor.feature_extractor,
        tokenizer=processor.tokenizer,
    )
    singles, batches = pipe(clips(), **options), pipe(clips(), batch_size=3, **options)
    for clip, single, batch, theirs in zip(clips(), singles, batches, built_in(clips(), **options), strict=True):
        with torch.no_grad():
            logits = pipe.model(torch.from_numpy(clip)[None], **text).logits_per_audio[0]
        expected = dict(zip(labels, logits.softmax(dim=0).tolist(), strict=True))
        for result in (single, batch, theirs):
            assert [entry["label"] for entry in result] == sorted(labels, key=expected.get, reverse=True)
            assert {entry["label"]: entry["score"] for entry in result} == pytest.approx(expected, rel=1e-5, abs=1e-5)
        several = {entry["label"]: entry["score"] for entry in pipe(clip, multi_label=True, **options)}
        assert several == pytest.approx(dict(zip(labels, logits.sigmoid().tolist(), strict=True)), rel=1e-5, abs=1e-5)


def test_zero_shot_labels(processor):
    pipe = zero_shot(processor)
    clip = clips()[0]
    assert pipe(clip, candidate_labels=" calm , fast") == pipe(clip, candidate_labels=["calm", "fast"])
    assert make(MulapZeroShotAudioClassificationPipeline, pipe.model, processor, candidate_labels=["calm", "fast"])(
        clip
    ) == pipe(clip, candidate_labels=["calm", "fast"])
    long = pipe(clip, candidate_labels=["calm " * 500, "fast"])  # cut, where the built-in one fails
    assert sum(entry["score"] for entry in long) == pytest.approx(1)
    for options in ({}, {"candidate_labels": []}, {"candidate_labels": " , "}):
        with pytest.raises(ValueError, match="candidate_labels is missing or empty"):
            pipe(clip, **options)
    with pytest.raises(TypeError, match="candidate_labels must be a text or a list of texts"):
        pipe(clip, candidate_labels=[1, 2])
    with pytest.raises(ValueError, match=r"hypothesis_template='music' has no .\{\}"):
        pipe(clip, candidate_labels=["calm"], hypothesis_template="music")


@pytest.mark.parametrize("cls", [MulapZeroShotAudioClassificationPipeline, MulapTextMusicRetrievalPipeline])
def test_models_that_read_no_texts(cls, processor, tmp_path):
    for model in (MulapAudioModel(micro_config().audio_config), MulapForAudioClassification(micro_config())):
        with pytest.raises(ValueError, match=rf"is a {type(model).__name__}, which has no text side"):
            make(cls, model, processor)
    MulapForAudioClassification(micro_config()).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a MulapForAudioClassification, which has no text side"):
        make(cls, MulapModel.from_pretrained(tmp_path), processor)  # its text side is random
    for overrides in (UNTRAINED, {**UNTRAINED, **ALIGNED}, {**DUAL, "contrastive_loss_weight": 0}):
        with pytest.raises(ValueError, match="was not trained to score texts, neither by matching"):
            make(cls, MulapModel(micro_config(**overrides)), processor)


def test_a_head_that_was_not_trained_is_not_asked(processor):
    """Of a model aligned without matching, the shared space; of one that matches without alignment, the log-odds."""
    aligned = {**ALIGNED, "matching_loss_weight": 0}
    pipe = zero_shot(processor, **aligned)
    text, clip = processor(text=CAPTIONS), clips()[0]
    with torch.no_grad():
        output = pipe.model(torch.from_numpy(clip)[None], **text)
        expected = (pipe.model.alignment.scale * output.audio_embeds @ output.text_embeds.T)[0].softmax(dim=0)
    found = {entry["label"]: entry["score"] for entry in pipe(clip, candidate_labels=CAPTIONS)}
    assert [found[label] for label in CAPTIONS] == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-5)
    assert retrieval(processor, **aligned).kind == retrieval(processor, **ALIGNED).kind == "contrastive"
    assert retrieval(processor, **{**ALIGNED, "contrastive_loss_weight": 0}).kind == "matching"


def test_tracks_longer_than_the_audio_transformer(processor):
    """Matching hears the chunks that have positions, everything else the whole track."""
    short = {"audio_config": {"max_position_embeddings": 4}}
    track = torch.cat([torch.from_numpy(clip) for clip in clips()] * 3).numpy()  # 19 chunks
    text = processor(text=CAPTIONS[:2])
    pipe = zero_shot(processor, **short)
    with torch.no_grad():
        first_chunks = torch.from_numpy(track[: 3 * CHUNK])[None]
        expected = pipe.model(first_chunks, **text).logits_per_audio[0].softmax(dim=0)
    found = {entry["label"]: entry["score"] for entry in pipe(track, candidate_labels=CAPTIONS[:2])}
    assert [found[label] for label in CAPTIONS[:2]] == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-5)
    assert retrieval(processor, **short).index([track]).states[0].shape == (4, 32)
    retrieve = retrieval(processor, **short, **ALIGNED)
    with torch.no_grad():
        whole = retrieve.model.get_audio_features(torch.from_numpy(track)[None]).pooler_output
    assert torch.allclose(retrieve.index([track]).embeds, whole, atol=1e-6)
