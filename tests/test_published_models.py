"""The models in model_cards: their stored outputs, here and, published to a folder, where the package is missing."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT
from huggingface_hub import ModelCard
from transformers import AutoModel, AutoModelForAudioClassification, AutoProcessor

import mulap_hf
from mulap_hf.publishing.assemble import assemble
from mulap_hf.publishing.card import Sample, make_card
from mulap_hf.publishing.check import read_snippets, run_as_user
from mulap_hf.synthetic import CorpusConfig
from mulap_hf.synthetic.factors import FACTORS, Factors, make_piece

MODELS = ROOT / "model_cards"
BASE, SMALL, TAGGER, SIMILARITY = (
    MODELS / f"mulap-{name}" for name in ("tiny", "small", "tiny-tagger", "tiny-similarity")
)
ALL = (BASE, SMALL, TAGGER, SIMILARITY)
MOST_BYTES = 10e6  # of the weights


def stored_outputs(folder: Path) -> dict:
    """By path of the sample; numbers are rounded to four digits after the point."""
    return json.loads((folder / "sample_outputs.json").read_text())


def embeddings(model, folder: Path = BASE) -> dict[str, list[float]]:
    """Of the samples, by the backbone."""
    found = {}
    for path in stored_outputs(folder):
        waveform = torch.from_numpy(mulap_hf.load_audio(folder / path))[None]
        with torch.no_grad():
            found[path] = model.audio_model(waveform).pooler_output[0].tolist()
    return found


@pytest.mark.parametrize("folder", ALL, ids=lambda folder: folder.name)
def test_a_folder_holds_nothing_that_publishing_adds(folder):
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"} <= names
    assert {name for name in names if name.startswith("samples/")} == set(stored_outputs(folder))
    assert not [name for name in names if name.endswith((".py", "requirements.txt"))]
    assert (folder / "model.safetensors").stat().st_size < MOST_BYTES


@pytest.mark.parametrize("folder", ALL, ids=lambda folder: folder.name)
def test_the_card_is_what_the_templates_give(folder):
    settings, metrics = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("training_settings", "metrics")
    )
    samples = [
        Sample(path, f"generated {Path(path).stem}", output.get("labels", ()))
        for path, output in stored_outputs(folder).items()
    ]
    card = make_card(folder, settings, metrics, f"mulap-hf/{folder.name}", "apache-2.0", samples)
    if os.environ.get("MULAP_RENDER_CARDS"):
        card.save(folder / "README.md")
    stored = ModelCard.load(folder / "README.md")
    assert stored.content == card.content, "render the card again: MULAP_RENDER_CARDS=1 pytest " + __file__


@pytest.mark.parametrize("folder", [BASE, SMALL], ids=lambda folder: folder.name)
def test_embeddings_and_scores_of_the_samples(folder):
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    assert type(model) is mulap_hf.MulapModel and model.dtype == torch.float32
    found = embeddings(model, folder)
    for path, expected in stored_outputs(folder).items():
        np.testing.assert_allclose(found[path], expected["embedding"], rtol=1e-3, atol=1e-3)
        texts = [score["label"] for score in expected["scores"]]
        inputs = processor(audio=mulap_hf.load_audio(folder / path), text=texts, sampling_rate=16000)
        with torch.no_grad():
            scores = model(**inputs).logits_per_audio[0].softmax(dim=0)
        np.testing.assert_allclose(scores, [score["score"] for score in expected["scores"]], atol=1e-3)


def test_each_head_finds_the_piece_that_shares_its_factor():
    """Three pieces share one factor each with the query: its melody, its rhythm, or its timbre."""
    model = AutoModel.from_pretrained(SIMILARITY).eval()
    config = CorpusConfig(clip_seconds=9.0)
    for song in range(3):
        seeds = [Factors(*(1000 + 10 * song + number for _ in FACTORS)) for number in range(4)]
        query, *others = seeds
        shared = {f: replace(other, **{f: getattr(query, f)}) for f, other in zip(FACTORS, others, strict=True)}
        pieces = [make_piece(config, "test", factors)["audio"] for factors in (query, *shared.values())]
        with torch.no_grad():
            output = model(torch.from_numpy(np.stack(pieces)))
        for row, factor in enumerate(shared):
            embeds = output[f"{factor}_embeds"]
            assert (embeds[1:] @ embeds[0]).argmax().item() == row, (song, factor)


def test_tags_of_the_samples():
    model = AutoModelForAudioClassification.from_pretrained(TAGGER).eval()
    for path, expected in stored_outputs(TAGGER).items():
        waveform = torch.from_numpy(mulap_hf.load_audio(TAGGER / path))[None]
        with torch.no_grad():
            scores = model(waveform).logits[0].sigmoid()
        best = scores.argsort(descending=True)[: len(expected["labels"])]
        assert [model.config.id2label[index.item()] for index in best] == [one["label"] for one in expected["labels"]]
        np.testing.assert_allclose(scores[best], [one["score"] for one in expected["labels"]], atol=1e-3)


# What a user does without the package, in the folder's parent: every line of it works, and gives the same numbers.
USE = """
import importlib.util, json
from pathlib import Path
import torch
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, AutoProcessor, pipeline
torch.set_num_threads(1)
name, trust = {name!r}, {{"trust_remote_code": True}}
samples = sorted(Path(name, "samples").iterdir())
extract = AutoFeatureExtractor.from_pretrained(name, **trust)
assert type(extract).__name__ == "MulapFeatureExtractor"
spec = importlib.util.spec_from_file_location("handler", Path(name, "handler.py"))
handler = importlib.util.module_from_spec(spec)
spec.loader.exec_module(handler)
answer = handler.EndpointHandler(name)
found = {{"handler": {{}}, "pipelines": {{}}}}
for sample in samples:
    found["handler"]["samples/" + sample.name] = answer({{"inputs": sample.read_bytes()}})
tasks = json.loads(Path(name, "config.json").read_text())["custom_pipelines"]
for task in tasks:
    pipe = pipeline(task, model=name, **trust)
    if task == "text-music-retrieval":
        result = pipe("reggae", samples, top_k=1)
    else:
        options = {{"candidate_labels": ["calm piano", "fast techno"]}} if task.startswith("zero") else {{}}
        result = {{"samples/" + sample.name: pipe(str(sample), **options) for sample in samples}}
    found["pipelines"][task] = result
if "text-music-retrieval" in tasks:
    model, processor = AutoModel.from_pretrained(name, **trust).eval(), AutoProcessor.from_pretrained(name, **trust)
    assert (type(model).__name__, type(processor).__name__) == ("MulapModel", "MulapProcessor")
else:
    model = AutoModelForAudioClassification.from_pretrained(name, **trust).eval()
    assert type(model).__name__ == "MulapForAudioClassification"
assert not type(model).__module__.startswith("mulap_hf")
print("FOUND" + json.dumps(found, default=str))
"""


def publish_and_use(folder: Path, target: Path) -> dict:
    """Publishes a model to a folder, and uses it in a fresh process without the package, its card's snippets first."""
    repo_id = f"mulap-hf/{folder.name}"
    samples = sorted((folder / "samples").iterdir())
    assemble(folder, target, repo_id, "apache-2.0", samples)
    snippets = {f"snippet_{number}": code for number, code in enumerate(read_snippets(folder))}
    result = run_as_user(target, repo_id, snippets | {"use": USE.format(name=repo_id)})
    assert snippets
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.split("FOUND")[1])


def test_the_published_model_gives_the_same_embeddings(tmp_path):
    found = publish_and_use(BASE, tmp_path / "model")
    here = embeddings(AutoModel.from_pretrained(BASE).eval())
    assert found["handler"] == here
    assert found["pipelines"]["feature-extraction"] == here
    assert found["pipelines"]["text-music-retrieval"][0]["path"].endswith(".flac")
    zero_shot = found["pipelines"]["zero-shot-audio-classification"]
    published = stored_outputs(tmp_path / "model")
    for path, expected in stored_outputs(BASE).items():
        assert [one["label"] for one in zero_shot[path]] == [one["label"] for one in expected["scores"]]
        np.testing.assert_allclose(published[path]["embedding"], expected["embedding"], rtol=1e-3, atol=1e-3)


def test_the_published_tagger_gives_the_same_tags(tmp_path):
    found = publish_and_use(TAGGER, tmp_path / "tagger")
    for path, expected in stored_outputs(TAGGER).items():
        tags = found["pipelines"]["audio-classification"][path]
        assert tags == found["handler"][path]
        best = tags[: len(expected["labels"])]
        assert [one["label"] for one in best] == [one["label"] for one in expected["labels"]]
        scores = [[one["score"] for one in labels] for labels in (best, expected["labels"])]
        np.testing.assert_allclose(*scores, atol=1e-3)
    here = embeddings(AutoModelForAudioClassification.from_pretrained(TAGGER).eval())
    assert found["pipelines"]["feature-extraction"] == here


def test_the_snippets_of_the_similarity_model(tmp_path):
    repo_id = f"mulap-hf/{SIMILARITY.name}"
    assemble(SIMILARITY, tmp_path / "model", repo_id, "apache-2.0", sorted((SIMILARITY / "samples").iterdir()))
    snippets = {f"snippet_{number}": code for number, code in enumerate(read_snippets(SIMILARITY))}
    result = run_as_user(tmp_path / "model", repo_id, snippets)
    assert snippets and result.returncode == 0, result.stderr
