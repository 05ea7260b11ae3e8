"""The audio-classification pipeline: the model's own tags, classes or values, of tracks and over time."""

import numpy as np
import pytest
import torch
from helpers import RATE, micro_config, settle
from pipeline_helpers import LABELS, clips, make, tagger
from transformers import pipeline

from mulap_hf import MulapAudioClassificationPipeline, MulapForAudioClassification, MulapModel


@pytest.mark.parametrize(
    ("problem", "function"),
    [
        ("multi_label_classification", torch.sigmoid),
        ("single_label_classification", lambda logits: logits.softmax(dim=-1)),
        ("regression", lambda logits: logits),
    ],
)
def test_classification_is_the_models_own(problem, function, processor):
    pipe = tagger(processor, problem)
    for clip, single, batched in zip(clips(), pipe(clips()), pipe(clips(), batch_size=3), strict=True):
        with torch.no_grad():
            output = pipe.model(torch.from_numpy(clip)[None])
        scores = dict(zip(LABELS.values(), function(output.logits[0]).tolist(), strict=True))
        best = sorted(scores, key=scores.get, reverse=True)
        for result in (single, batched):
            assert [entry["label"] for entry in result] == best
            assert [entry["score"] for entry in result] == pytest.approx(
                [scores[label] for label in best], rel=1e-5, abs=1e-5
            )
        assert pipe(clip, top_k=2) == single[:2]
        assert pipe(clip, top_k=99) == single
        chunks = pipe(clip, per_chunk=True)
        expected = function(output.chunk_logits[0])  # (chunks, labels)
        assert [chunk["start"] for chunk in chunks] == pytest.approx([0.3 * index for index in range(len(expected))])
        assert [chunk["end"] for chunk in chunks] == pytest.approx(
            [min(0.3 * (index + 1), len(clip) / RATE) for index in range(len(expected))]
        )
        found = [[chunk["scores"][label] for label in LABELS.values()] for chunk in chunks]
        assert np.array(found) == pytest.approx(expected.numpy(), rel=1e-5, abs=1e-5)
        assert [list(chunk["scores"]) for chunk in pipe(clip, per_chunk=True, top_k=1)] == [best[:1]] * len(chunks)


def test_a_deduced_problem_type_is_saved(processor, tmp_path):
    model = settle(MulapForAudioClassification(micro_config(num_labels=3)))
    clip = clips()[0]
    logits = model(torch.from_numpy(clip)[None], labels=torch.ones(1, 3)).logits[0]
    model.save_pretrained(tmp_path)
    loaded = MulapForAudioClassification.from_pretrained(tmp_path)
    pipe = make(MulapAudioClassificationPipeline, loaded, processor)
    found = {entry["label"]: entry["score"] for entry in pipe(clip)}
    assert [found[label] for label in model.config.id2label.values()] == pytest.approx(
        logits.sigmoid().tolist(), rel=1e-5, abs=1e-5
    )


def test_classification_equals_the_built_in_pipeline(processor):
    pipe = tagger(processor)
    built_in = pipeline("audio-classification", model=pipe.model, feature_extractor=processor.feature_extractor)
    for top_k in (None, 2):
        ours, theirs = pipe(clips(), top_k=top_k), built_in(clips(), top_k=top_k)
        for one, other in zip(ours, theirs, strict=True):
            assert [entry["label"] for entry in one] == [entry["label"] for entry in other]
            assert [entry["score"] for entry in one] == pytest.approx(
                [entry["score"] for entry in other], rel=1e-5, abs=1e-6
            )
    assert pipe(clips()[0], function_to_apply="none") == built_in(clips()[0], function_to_apply="none")


def test_classification_errors(processor):
    pipe = tagger(processor)
    for options, message in (({"top_k": 0}, "top_k=0"), ({"function_to_apply": "relu"}, "'relu' must be one of")):
        with pytest.raises(ValueError, match=message):
            pipe(clips()[0], **options)
    with pytest.raises(ValueError, match="the model is a MulapModel"):
        make(MulapAudioClassificationPipeline, MulapModel(micro_config()), processor)
