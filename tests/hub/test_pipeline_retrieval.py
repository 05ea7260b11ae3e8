"""The text-music-retrieval pipeline: the model's own scores, and an index that is computed once for many queries."""

import numpy as np
import pytest
import torch
from helpers import CAPTIONS, micro_config, settle, write_tone
from pipeline_helpers import ALIGNED, DUAL, clips, make, retrieval, zero_shot

from mulap_hf import MulapModel, MulapTextMusicRetrievalPipeline, load_audio


@pytest.mark.parametrize("overrides", [{}, ALIGNED, DUAL, {**ALIGNED, "contrastive_loss_weight": 0}])
def test_retrieval_is_the_models_own(overrides, processor, tmp_path):
    retrieve = retrieval(processor, **overrides)
    write_tone(tmp_path / "song.ogg", seconds=2, rate=32000)
    write_tone(tmp_path / "other.wav", seconds=0.2, seed=1)
    candidates = [*clips(), str(tmp_path / "song.ogg"), {"audio": {"path": str(tmp_path / "other.wav")}}]
    sounds = [*clips(), load_audio(tmp_path / "song.ogg"), load_audio(tmp_path / "other.wav")]
    text = processor(text=CAPTIONS)
    with torch.no_grad():
        outputs = [retrieve.model(torch.from_numpy(sound)[None], **text) for sound in sounds]
    if retrieve.kind == "contrastive":
        scores = torch.cat([output.audio_embeds @ output.text_embeds.T for output in outputs])
    else:
        scores = torch.cat([output.logits_per_audio for output in outputs])  # (clips, texts)
    paths = [None] * 3 + [str(tmp_path / "song.ogg"), str(tmp_path / "other.wav")]
    index = retrieve.index(candidates, batch_size=2)
    assert len(index) == 5
    assert index.paths == paths
    for found in (retrieve(CAPTIONS, candidates, top_k=None), retrieve(CAPTIONS, index, top_k=None)):
        for ranked, expected in zip(found, scores.T, strict=True):
            order = expected.argsort(descending=True).tolist()
            assert [entry["index"] for entry in ranked] == order
            assert [entry["score"] for entry in ranked] == pytest.approx(expected[order].tolist(), rel=1e-5, abs=1e-5)
            assert [entry.get("path") for entry in ranked] == [paths[clip] for clip in order]
    assert [entry["index"] for entry in retrieve(CAPTIONS[0], index, top_k=2)] == [e["index"] for e in found[0][:2]]
    assert retrieve(CAPTIONS[0], iter(candidates), top_k=1)[0]["index"] == found[0][0]["index"]
    assert retrieve([], index) == []
    assert len(retrieve(CAPTIONS[0], tmp_path / "song.ogg")) == 1


def test_retrieval_of_many_clips_is_done_in_blocks(processor):
    retrieve = retrieval(processor)
    index = retrieve.index([*clips()] * 30, batch_size=8)
    found = retrieve(CAPTIONS[0], index, top_k=None)
    scores = {entry["index"]: entry["score"] for entry in found}
    assert sorted(scores) == list(range(90))
    for number, clip in enumerate(clips()):
        alone = retrieve(CAPTIONS[0], clip)[0]["score"]
        assert [scores[index] for index in range(number, 90, 3)] == pytest.approx([alone] * 30, rel=1e-5, abs=1e-5)
    assert str(index) == f"MulapMusicIndex(90 clips, matching, {sum(s.nbytes for s in index.states) / 1e6:.1f} MB)"


@torch.no_grad()
def test_rounded_weights_do_not_round_the_similarities(processor):
    """Products in bfloat16 are multiples of 1/256 and more: clips that differ would be equally similar."""
    retrieve, label = retrieval(processor, **DUAL), zero_shot(processor, **DUAL)
    for pipe in (retrieve, label):
        pipe.model.to(torch.bfloat16)
    index = retrieve.index(clips())
    text = retrieve.model.get_text_features(**processor(text=CAPTIONS)).pooler_output.float()
    similarity = index.embeds.float() @ text.T  # (clips, texts)
    for ranked, expected in zip(retrieve(CAPTIONS, index), similarity.T, strict=True):
        assert {entry["index"]: entry["score"] for entry in ranked} == pytest.approx(
            dict(enumerate(expected.tolist()))
        )
    expected = (similarity * label.model.alignment.scale).softmax(dim=1).tolist()
    for entries, scores in zip(label(clips(), candidate_labels=CAPTIONS), expected, strict=True):
        found = {entry["label"]: entry["score"] for entry in entries}
        assert [found[caption] for caption in CAPTIONS] == pytest.approx(scores)


def test_retrieval_errors(processor, tmp_path):
    retrieve = retrieval(processor)
    clip = clips()[0]
    with pytest.raises(ValueError, match="candidates are empty: pass"):
        retrieve("calm", [])
    with pytest.raises(ValueError, match="top_k=0"):
        retrieve("calm", [clip], top_k=0)
    with pytest.raises(TypeError, match="topk"):
        retrieve("calm", retrieve.index([clip]), topk=1)
    for queries in (3, ["calm", None]):
        with pytest.raises(TypeError, match="queries must be a text or a list of texts"):
            retrieve(queries, [clip])
    with pytest.raises(ValueError, match="input 1 has 1 sample that is NaN"):
        retrieve("calm", [clip, np.array([0, np.inf])])
    for other in (ALIGNED, {"audio_config": {"hidden_size": 40}}):
        with pytest.raises(ValueError, match=r"1 clips, .* was made by another model"):
            retrieve("calm", retrieval(processor, **other).index([clip]))


@pytest.mark.parametrize("overrides", [{}, DUAL])
def test_indices_of_the_same_weights_only(overrides, processor):
    config = micro_config(**overrides)
    one, same, other = (
        make(MulapTextMusicRetrievalPipeline, settle(MulapModel(config), seed), processor) for seed in (0, 0, 1)
    )
    index = one.index(clips())
    assert same("calm", index) == one("calm", clips())
    with pytest.raises(ValueError, match=r"3 clips, .* was made by another model"):
        other("calm", index)
