"""Saved folders in other people's processes: with the package imported, and where it is not installed."""

import json
import sys

import pytest
import torch
from helpers import CAPTIONS, ROOT, inputs, micro_config, run, run_without_package, settle
from transformers.dynamic_module_utils import get_imports, get_relative_imports

from mulap_hf import MulapAudioModel, MulapForAudioClassification, MulapForPreTraining, MulapModel

USE = """
import json, sys, torch
from transformers import (
    AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, AutoModelForPreTraining,
    AutoProcessor,
)
folder, batch = sys.argv[1], torch.load(sys.argv[2])
audio = {name: batch[name] for name in ("input_values", "audio_attention_mask")}
found = {}
with torch.no_grad():
    for auto in (AutoModel, AutoModelForPreTraining, AutoModelForAudioClassification):
        model = auto.from_pretrained(folder, **TRUST).eval()
        output = model(**audio) if auto is AutoModelForAudioClassification else model(**batch)
        found[auto.__name__] = [type(model).__name__, model.audio_model(**audio).pooler_output.sum().item()]
        model.save_pretrained(sys.argv[3])  # and once more from there
        auto.from_pretrained(sys.argv[3], **TRUST)
found["AutoConfig"] = type(AutoConfig.from_pretrained(folder, **TRUST)).__name__
found["AutoFeatureExtractor"] = type(AutoFeatureExtractor.from_pretrained(folder, **TRUST)).__name__
processor = AutoProcessor.from_pretrained(folder, **TRUST)
found["AutoProcessor"] = type(processor).__name__
found["ids"] = processor(text=["a calm piano piece"])["input_ids"].tolist()
print("FOUND" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def batch_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("batch") / "batch.pt"
    torch.save(inputs(batch=2), path)
    return path


def saved(cls, processor, folder):
    model = settle(cls(micro_config()))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model


@pytest.mark.parametrize("cls", [MulapForPreTraining, MulapForAudioClassification])
@pytest.mark.parametrize("trust", [False, True], ids=["imported", "not installed"])
def test_every_auto_class_from_every_folder(cls, trust, processor, batch_file, tmp_path):
    model = saved(cls, processor, tmp_path / "model")
    arguments = (tmp_path / "model", batch_file, tmp_path / "again")
    if trust:
        result = run_without_package("TRUST = {'trust_remote_code': True}\n" + USE, *arguments, cwd=tmp_path)
    else:
        result = run("-c", "import mulap_hf\nTRUST = {}\n" + USE, *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.split("FOUND")[1])
    batch = inputs(batch=2)
    with torch.no_grad():
        expected = model.audio_model(batch["input_values"], batch["audio_attention_mask"]).pooler_output.sum().item()
    names = {
        "AutoModel": "MulapModel",
        "AutoModelForPreTraining": "MulapForPreTraining",
        "AutoModelForAudioClassification": "MulapForAudioClassification",
    }
    for auto, name in names.items():
        assert found[auto] == [name, pytest.approx(expected, rel=1e-5)]
    assert found["AutoConfig"] == "MulapConfig"
    assert found["AutoFeatureExtractor"] == "MulapFeatureExtractor"
    assert found["AutoProcessor"] == "MulapProcessor"
    assert found["ids"] == processor(text=["a calm piano piece"])["input_ids"].tolist()


def test_backbone_folder_where_the_package_is_not_installed(tmp_path):
    model = settle(MulapAudioModel(micro_config().audio_config))
    model.save_pretrained(tmp_path / "model")
    code = (
        "import sys\nfrom transformers import AutoModel\n"
        "model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)\n"
        "print(type(model).__name__, model.log_mel.window.sum().item())"
    )
    result = run_without_package(code, tmp_path / "model", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["MulapAudioModel", str(model.log_mel.window.sum().item())]


def test_remote_code_needs_torch_and_transformers_only():
    allowed = {
        "torch",
        "transformers",
        "huggingface_hub",
        "numpy",
        *sys.stdlib_module_names,
    }
    for path in sorted((ROOT / "src" / "mulap_hf").glob("*_mulap*.py")):
        needed = set(get_imports(path))  # all but those in `try`
        assert needed <= allowed, (path.name, needed - allowed)
        for name in get_relative_imports(path):
            assert (path.parent / f"{name}.py").is_file(), "remote files have to lie flat in one folder"


def test_classification_pipeline(processor):
    from transformers import pipeline

    labels = {0: "piano", 1: "rock", 2: "techno"}
    config = micro_config(
        id2label=labels, label2id={v: k for k, v in labels.items()}, problem_type="multi_label_classification"
    )
    model = settle(MulapForAudioClassification(config))
    pipe = pipeline("audio-classification", model=model, feature_extractor=processor.feature_extractor)
    clips = list(inputs(batch=3)["input_values"].numpy())
    clips[1] = clips[1][:6000]  # another length in the same batch
    with torch.no_grad():
        expected = [model(torch.from_numpy(clip)[None]).logits[0].sigmoid() for clip in clips]
    for results in (pipe(clips, top_k=3), pipe(clips, top_k=3, batch_size=3)):
        for result, scores in zip(results, expected, strict=True):
            assert {entry["label"]: pytest.approx(entry["score"], abs=1e-5) for entry in result} == dict(
                zip(labels.values(), scores.tolist(), strict=True)
            )
    assert pipe(clips[0], top_k=1)[0]["label"] == labels[expected[0].argmax().item()]


def test_zero_shot_pipeline(processor):
    from transformers import pipeline

    model = settle(MulapModel(micro_config()))
    pipe = pipeline(
        "zero-shot-audio-classification",
        model=model, feature_extractor=processor.feature_extractor, tokenizer=processor.tokenizer,
    )  # fmt: skip
    clip = inputs()["input_values"][0]
    result = pipe(clip.numpy(), candidate_labels=CAPTIONS[:3], hypothesis_template="{}")
    text = processor(text=CAPTIONS[:3])
    with torch.no_grad():
        scores = model(clip[None], **text).logits_per_audio[0].softmax(dim=-1)
    found = {entry["label"]: entry["score"] for entry in result}
    assert [found[label] for label in CAPTIONS[:3]] == pytest.approx(scores.tolist(), abs=1e-5)
