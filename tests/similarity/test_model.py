"""The similarity model and its pipeline: what it computes, how it is saved, and what odd input gives."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import CHUNK, RATE, assert_near, micro_config, run_without_package, settle
from torch.nn import functional as F
from transformers import AutoModel, pipeline

from mulap_hf import (
    MulapAudioModel,
    MulapFeatureExtractor,
    MulapForMusicSimilarity,
    MulapForPreTraining,
    MulapSimilarityConfig,
)
from mulap_hf.modeling_mulap_similarity import FACTORS, MulapOnsets, circle_loss

# The pitch branch in a chunk of 0.3 s.
PITCH = {"pitch_channels": 3, "pitch_n_fft": 512, "pitch_hop_length": 128}


@pytest.fixture(scope="module")
def config() -> MulapSimilarityConfig:
    audio = micro_config(audio_config=PITCH).audio_config
    return MulapSimilarityConfig(audio_config=audio, onset_bands=2, head_hidden_size=16, embedding_size=8)


@pytest.fixture(scope="module")
def similarity(config) -> MulapForMusicSimilarity:
    return settle(MulapForMusicSimilarity(config))


@pytest.fixture(scope="module")
def folder(similarity, tmp_path_factory):
    folder = tmp_path_factory.mktemp("similarity")
    similarity.save_pretrained(folder)
    MulapFeatureExtractor().save_pretrained(folder)
    return folder


def noise(seed: int, chunks: float = 3) -> torch.Tensor:
    return 0.1 * torch.randn(int(chunks * CHUNK), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_an_item_does_not_depend_on_its_batch(similarity):
    tracks = [noise(0, 3), noise(1, 1), noise(2, 0.5)]
    padded = torch.nn.utils.rnn.pad_sequence(tracks, batch_first=True)
    mask = torch.arange(padded.shape[1]) < torch.tensor([[len(track)] for track in tracks])
    together = similarity(padded, mask)
    for index, track in enumerate(tracks):
        alone = similarity(track[None])
        for factor in FACTORS:
            embeds = together[f"{factor}_embeds"][index]
            assert_near(embeds, alone[f"{factor}_embeds"][0])
            assert embeds.norm().item() == pytest.approx(1, abs=1e-6)


@torch.no_grad()
def test_loads_exactly_with_and_without_the_package(similarity, folder, tmp_path):
    waveform = noise(0)[None]
    again = AutoModel.from_pretrained(folder)
    assert type(again) is MulapForMusicSimilarity
    expected = similarity(waveform)
    assert_near(again(waveform).melody_embeds, expected.melody_embeds)
    np.save(tmp_path / "waveform.npy", waveform[0].numpy())
    code = """
import json, sys, numpy as np
from transformers import AutoModel, pipeline
compare = pipeline("music-similarity", model=sys.argv[1], trust_remote_code=True)
waveform = np.load(sys.argv[2])
same, ranked = compare(waveform, waveform), compare(waveform, [-waveform])
print("FOUND" + json.dumps([type(compare.model).__name__, same, ranked]))
"""
    result = run_without_package(code, folder, tmp_path / "waveform.npy", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    name, same, ranked = json.loads(result.stdout.split("FOUND")[1])
    assert name == "MulapForMusicSimilarity"
    assert same == pytest.approx(dict.fromkeys(FACTORS, 1.0), abs=1e-6)
    assert ranked[0]["index"] == 0 and set(ranked[0]) == {"index", "score", *FACTORS}


@pytest.mark.parametrize("kind", ["backbone", "pretrained"])
def test_takes_the_backbone_of_any_folder(kind, tmp_path):
    whole = micro_config(audio_config=PITCH)
    model = settle(MulapAudioModel(whole.audio_config) if kind == "backbone" else MulapForPreTraining(whole))
    model.save_pretrained(tmp_path)
    loaded = MulapForMusicSimilarity.from_pretrained(tmp_path)
    waveform = noise(0)[None]
    with torch.no_grad():
        expected = (model if kind == "backbone" else model.audio_model)(waveform).pooler_output
        assert torch.equal(loaded(waveform).pooler_output, expected)


@torch.no_grad()
def test_odd_audio_has_a_result(similarity):
    silence = similarity(torch.zeros(2, CHUNK))
    clicks = similarity(F.one_hot(torch.tensor([50]), CHUNK).float())
    for factor in FACTORS:
        assert silence[f"{factor}_embeds"].isfinite().all() and clicks[f"{factor}_embeds"].isfinite().all()
        assert (silence[f"{factor}_embeds"] @ silence[f"{factor}_embeds"].T).min().item() == pytest.approx(1, abs=1e-6)


def test_onsets_repeat_at_the_beat():
    config = MulapSimilarityConfig(audio_config={"hop_length": 256})
    model = MulapAudioModel(config.audio_config)
    clicks = torch.zeros(3 * RATE)
    clicks[:: RATE // 2] = 1.0  # 120 beats per minute
    repeats = MulapOnsets(config)(model.log_mel(clicks[None]))[0, : config.onset_lags]
    strongest = (repeats[10:].argmax().item() + 11) * 256 / RATE  # seconds
    assert strongest == pytest.approx(0.5, abs=0.02)


def test_circle_loss_is_the_published_formula():
    embeds = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    similarity = embeds @ embeds.T
    groups = [0, 0, 0, 1, 1, 2]
    margin, scale = 0.25, 16.0
    losses = []
    for anchor in range(6):
        alike = [similarity[anchor, i].item() for i in range(6) if i != anchor and groups[i] == groups[anchor]]
        different = [similarity[anchor, i].item() for i in range(6) if groups[i] != groups[anchor]]
        if alike:
            negative = sum(np.exp(scale * max(s + margin, 0) * (s - margin)) for s in different)
            positive = sum(np.exp(-scale * max(1 + margin - s, 0) * (s - 1 + margin)) for s in alike)
            losses.append(np.log(1 + negative * positive))
    same = torch.tensor(groups)[:, None] == torch.tensor(groups)
    found = circle_loss(similarity, same & ~torch.eye(6, dtype=torch.bool), ~same, margin, scale)
    assert found.item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_negatives_are_those_that_share_another_factor(similarity):
    embeds = dict.fromkeys(FACTORS, F.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=1))
    melody, rhythm = torch.tensor([0, 0, 1, 2]), torch.tensor([5, 6, 5, 7])
    both = similarity.loss(embeds, {"melody": melody, "rhythm": rhythm})
    cosines = embeds["melody"] @ embeds["melody"].T
    positives = torch.zeros(4, 4, dtype=torch.bool)
    positives[0, 1] = positives[1, 0] = True
    negatives = torch.tensor([[0, 0, 1, 0], [0, 0, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0]]).bool()
    alone = similarity.loss(embeds, {"rhythm": rhythm})
    assert both.item() != pytest.approx(2 * alone.item())
    expected = circle_loss(cosines, positives, negatives, 0.25, 32.0)
    rhythm_positives = torch.zeros(4, 4, dtype=torch.bool)
    rhythm_positives[0, 2] = rhythm_positives[2, 0] = True
    rhythm_negatives = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 1], [1, 1, 1, 0]]).bool()
    expected = expected + circle_loss(cosines, rhythm_positives, rhythm_negatives, 0.25, 32.0)
    assert both.item() == pytest.approx(expected.item(), rel=1e-6)


def test_only_the_heads_train(similarity, config):
    model = MulapForMusicSimilarity(config).train()
    labels = torch.tensor([0, 0, 1, 1])
    loss = model(torch.stack([noise(seed) for seed in range(4)]), timbre_labels=labels).loss
    loss.backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, _ in model.named_parameters() if name.startswith("similarity.heads.timbre")}
    with pytest.raises(ValueError, match=r"timbre_labels has shape \(3,\), expected \(batch,\) = 4"):
        model(torch.stack([noise(seed) for seed in range(4)]), timbre_labels=labels[:3])


def test_pipeline_ranks_by_the_weights(similarity, folder, tmp_path):
    compare = pipeline("music-similarity", model=str(folder), trust_remote_code=True)
    query, *others = (noise(seed).numpy() for seed in range(5))
    index = compare.index(others)
    scores = [compare(query, other) for other in others]
    for weights in ({"rhythm": 1.0}, {"melody": 1.0, "timbre": 3.0}, None):
        mix = weights or dict.fromkeys(FACTORS, 1.0)
        expected = [sum(mix.get(f, 0) * one[f] for f in FACTORS) / sum(mix.values()) for one in scores]
        ranked = compare(query, index, weights=weights, top_k=3)
        assert [one["index"] for one in ranked] == np.argsort(-np.array(expected))[:3].tolist()
        assert ranked[0]["score"] == pytest.approx(max(expected), abs=1e-5)
    with pytest.raises(ValueError, match=r"weights=\{'groove': 1\} must be a dict with some of melody"):
        compare(query, index, weights={"groove": 1})
    with pytest.raises(ValueError, match="candidates are empty"):
        compare(query, [])
    with pytest.raises(ValueError, match="was made by another model"):
        compare(query, replace(index, weights=0))


def test_pipeline_needs_the_heads(model_folder, processor, tmp_path):
    model = settle(MulapForPreTraining(micro_config()))
    with pytest.raises(ValueError, match="needs a MulapForMusicSimilarity: train one with"):
        pipeline("music-similarity", model=model, feature_extractor=processor.feature_extractor)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("head_dropout", 1.0, "head_dropout=1.0 at least 0 and below 1"),
        ("circle_margin", 0.0, "circle_margin=0.0 must be between 0 and 1"),
        ("onset_bands", 0, "onset_bands=0 must be at least 1"),
        ("onset_seconds", 3, "onset_seconds=3 must be at least a frame, and below the 3 s of a chunk"),
    ],
)
def test_impossible_settings_are_refused(field, value, message):
    with pytest.raises(Exception, match=message):
        MulapSimilarityConfig(**{field: value})
