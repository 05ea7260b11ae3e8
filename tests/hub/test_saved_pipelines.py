"""Saved folders have exactly the pipelines that their model can serve, and the code, with or without the package."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import micro_config, run_without_package, save_both, settle, write_tone
from pipeline_helpers import ALIGNED, DUAL, LABELS, UNTRAINED, clips, embedder, retrieval, tagger, zero_shot
from transformers import AutoModelForAudioClassification, Trainer, TrainingArguments, pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from mulap_hf import (
    MulapAudioModel,
    MulapFeatureExtractionPipeline,
    MulapForAudioClassification,
    MulapForPreTraining,
    MulapModel,
)

FEATURES = ["feature-extraction"]
CLASSIFIER = ["audio-classification", *FEATURES]
TEXTS = [*FEATURES, "text-music-retrieval", "zero-shot-audio-classification"]
FOLDERS = {
    "fused": (lambda: MulapModel(micro_config()), TEXTS),
    "dual": (lambda: MulapModel(micro_config(**DUAL)), TEXTS),
    "pretraining": (lambda: MulapForPreTraining(micro_config(**ALIGNED)), TEXTS),
    "untrained": (lambda: MulapModel(micro_config(**UNTRAINED)), FEATURES),
    "classifier": (
        lambda: MulapForAudioClassification(
            micro_config(id2label=LABELS, label2id={name: index for index, name in LABELS.items()})
        ),
        CLASSIFIER,
    ),
    "backbone": (lambda: MulapAudioModel(micro_config().audio_config), FEATURES),
}


def tasks_of(folder: Path) -> list[str]:
    """The pipelines that config.json names, each of which has its class beside it."""
    entries = json.loads((folder / "config.json").read_text())["custom_pipelines"]
    for entry in entries.values():
        module, _, name = entry["impl"].partition(".")
        assert f"class {name}(" in (folder / f"{module}.py").read_text()
    return sorted(entries)


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_saved_model_names_its_own_pipelines(kind, tmp_path):
    make_model, tasks = FOLDERS[kind]
    make_model().save_pretrained(tmp_path)
    assert tasks_of(tmp_path) == tasks


def test_a_model_made_from_a_saved_one_names_its_own_pipelines(processor, tmp_path):
    """And not those of the folder that it was made from."""
    save_both(settle(MulapForPreTraining(micro_config())), processor, tmp_path / "base")
    classifier = AutoModelForAudioClassification.from_pretrained(tmp_path / "base", num_labels=2)
    arguments = TrainingArguments(str(tmp_path / "run"), report_to=[], use_cpu=True)
    Trainer(classifier, arguments, processing_class=processor.feature_extractor).save_model(tmp_path / "tuned")
    assert tasks_of(tmp_path / "tuned") == CLASSIFIER
    MulapAudioModel.from_pretrained(tmp_path / "base").save_pretrained(tmp_path / "backbone")
    assert tasks_of(tmp_path / "backbone") == FEATURES
    MulapForPreTraining.from_pretrained(tmp_path / "base").audio_model.save_pretrained(tmp_path / "part")
    assert tasks_of(tmp_path / "part") == FEATURES


# Where neither the package nor torchaudio nor ffmpeg is there.
ELSEWHERE = """
import json, os, sys
sys.modules["torchaudio"] = None
os.environ["PATH"] = ""
from transformers import AutoModelForAudioClassification, AutoProcessor, logging, pipeline
logging.disable_progress_bar()
songs, found = sys.argv[2:], {}
for folder in json.loads(sys.argv[1]):
    with open(folder + "/config.json") as file:
        tasks = json.load(file)["custom_pipelines"]
    for task in tasks:
        pipe = pipeline(task, model=folder, trust_remote_code=True)
        assert not any(cls.__module__.startswith("mulap_hf") for cls in type(pipe).__mro__)
        if task == "text-music-retrieval":
            result = pipe("calm piano", pipe.index(songs, batch_size=2))
        elif task == "zero-shot-audio-classification":
            result = pipe(songs, candidate_labels=["calm", "fast"], batch_size=2)
        else:
            result = pipe(songs, batch_size=2)
        found[os.path.basename(folder) + " " + task] = result
if os.path.basename(folder) == "backbone":  # the last of the first process: makes folders for the second
    fused = os.path.dirname(folder) + "/fused"
    for name, options in (("classifier", {"num_labels": 2}),):
        made = AutoModelForAudioClassification.from_pretrained(fused, trust_remote_code=True, **options)
        made.save_pretrained("made/" + name)
        AutoProcessor.from_pretrained(fused, trust_remote_code=True).save_pretrained("made/" + name)
    pipe.save_pretrained("made/backbone-again")
print("FOUND" + json.dumps(found))
"""


def test_folders_where_the_package_is_not_installed(processor, tmp_path):
    songs = [str(tmp_path / name) for name in ("a.wav", "b.mp3", "c.ogg", "d.flac")]
    for seed, song in enumerate(songs):
        write_tone(Path(song), seconds=0.4 + seed, rate=44100, channels=2, seed=seed)
    for kind, (make_model, _) in FOLDERS.items():
        save_both(settle(make_model()), processor, tmp_path / kind)

    def use(folders: list[Path]) -> dict:
        result = run_without_package(ELSEWHERE, json.dumps([str(folder) for folder in folders]), *songs, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout.split("FOUND")[1])

    found = use([tmp_path / kind for kind in FOLDERS])
    here = {
        "fused feature-extraction": embedder(processor)(songs),
        "fused zero-shot-audio-classification": zero_shot(processor)(songs, candidate_labels=["calm", "fast"]),
        "fused text-music-retrieval": retrieval(processor)("calm piano", songs),
        "dual text-music-retrieval": retrieval(processor, **DUAL)("calm piano", songs),
        "classifier audio-classification": tagger(processor, "single_label_classification")(songs),
    }
    for name, expected in here.items():
        assert leaves(found[name], (int, float)) == pytest.approx(leaves(expected, (int, float)), rel=1e-5, abs=1e-5)
        assert leaves(found[name], str) == leaves(expected, str)
    size = micro_config().audio_config.feature_size
    for kind in ("dual", "classifier", "backbone"):
        assert np.array(found[f"{kind} feature-extraction"]).shape == (4, size)

    again = use([tmp_path / "made" / "classifier", tmp_path / "made" / "backbone-again"])
    assert {task for task in again if task.startswith("classifier")} == {f"classifier {task}" for task in CLASSIFIER}
    assert again["backbone-again feature-extraction"] == found["backbone feature-extraction"]
    assert again["classifier feature-extraction"] == found["fused feature-extraction"]


def leaves(result, kind: type | tuple[type, ...]) -> list:
    """All numbers, or all texts, of nested lists and dicts, in order."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list):
        return [leaf for item in result for leaf in leaves(item, kind)]
    return [result] if isinstance(result, kind) else []


def test_folders_where_the_package_is_imported(processor, tmp_path):
    """The folder's own pipelines with trust, the package's by class without; its own task by name."""
    folder = save_both(settle(MulapModel(micro_config())), processor, tmp_path / "saved")
    clip, expected = clips()[0], embedder(processor)(clips()[0])
    trusting = pipeline("feature-extraction", model=str(folder), trust_remote_code=True)
    by_class = pipeline("feature-extraction", model=str(folder), pipeline_class=MulapFeatureExtractionPipeline)
    assert trusting(clip) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert by_class(clip) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        pipeline("feature-extraction", model=str(folder))
    model = MulapModel.from_pretrained(folder)
    model.config.custom_pipelines = {}  # as where the model was made in this process
    options = {"tokenizer": processor.tokenizer, "feature_extractor": processor.feature_extractor}
    retrieve = pipeline("text-music-retrieval", model=model, **options)
    assert retrieve("calm", [clip])[0]["index"] == 0
    retrieve.save_pretrained(tmp_path / "again")  # saves every pipeline, not only this one
    assert tasks_of(tmp_path / "again") == TEXTS
    again = pipeline("feature-extraction", model=str(tmp_path / "again"), trust_remote_code=True)
    assert again(clip) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_other_models_keep_their_pipelines():
    for task in ("feature-extraction", "audio-classification", "zero-shot-audio-classification"):
        assert "Mulap" not in str(PIPELINE_REGISTRY.check_task(task)[1]["impl"])
