"""The models in model_cards: small, whole, of today's code, and what they gave for their samples they give here."""

import json

import numpy as np
import pytest
import torch
from helpers import ROOT
from transformers import AutoModel, AutoModelForAudioClassification, AutoProcessor

import mulap_hf
from mulap_hf.code_export import add_code

MODELS = ROOT / "model_cards"
NAMES = ("mulap-tiny", "mulap-tiny-tagger")
MOST_BYTES = 10e6  # of the weights


def outputs_of(name: str) -> dict:
    return json.loads((MODELS / name / "sample_outputs.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_folder_is_what_goes_to_the_hub(name, tmp_path):
    folder = MODELS / name
    assert (folder / "model.safetensors").stat().st_size < MOST_BYTES
    for file in ("README.md", "config.json", "preprocessor_config.json", "handler.py", "training_settings.json"):
        assert (folder / file).is_file(), file
    assert {str(path.relative_to(folder)) for path in folder.glob("samples/*")} == set(outputs_of(name))
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    add_code(tmp_path)
    for code in tmp_path.glob("*.py"):
        assert (folder / code.name).read_text() == code.read_text(), (
            f"{folder / code.name} is not today's: publish again"
        )


def test_embeddings_and_scores_of_the_samples():
    folder = MODELS / "mulap-tiny"
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    assert type(model) is mulap_hf.MulapModel
    for path, expected in outputs_of("mulap-tiny").items():
        texts = [score["label"] for score in expected["scores"]]
        inputs = processor(audio=mulap_hf.load_audio(folder / path), text=texts, sampling_rate=16000)
        with torch.no_grad():
            embedding = model.audio_model(inputs["input_values"]).pooler_output[0].numpy()
            scores = model(**inputs).logits_per_audio[0].softmax(dim=0)
        np.testing.assert_allclose(embedding, expected["embedding"], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(scores, [score["score"] for score in expected["scores"]], atol=1e-3)


def test_tags_of_the_samples():
    folder = MODELS / "mulap-tiny-tagger"
    model = AutoModelForAudioClassification.from_pretrained(folder).eval()
    for path, expected in outputs_of("mulap-tiny-tagger").items():
        waveform = torch.from_numpy(mulap_hf.load_audio(folder / path))[None]
        with torch.no_grad():
            scores = model(waveform).logits[0].sigmoid()
        best = scores.argsort(descending=True)[: len(expected["labels"])]
        assert [model.config.id2label[index.item()] for index in best] == [one["label"] for one in expected["labels"]]
        np.testing.assert_allclose(scores[best], [one["score"] for one in expected["labels"]], atol=1e-3)
