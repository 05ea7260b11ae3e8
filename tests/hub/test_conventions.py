"""Cards of published models and of prepared corpora, as huggingface_hub's own classes read and check them."""

import json
import re

import pytest
from endpoint_helpers import load_handler
from helpers import ROOT, run, write_tone
from huggingface_hub import DatasetCard, DatasetCardData, EvalResult, ModelCard, ModelCardData

from mulap_hf.data.automatic import prepare_labeled
from mulap_hf.publishing.assemble import assemble
from mulap_hf.publishing.mteb_scores import MTEB_FILE

# The Hub's own check, at the loopback Hub, and what a stranger gets of a corpus.
CHECK = """
import sys
from datasets import load_dataset
from huggingface_hub import DatasetCard, HfApi, ModelCard
model, corpus = sys.argv[1:]
for kind, card, folder in (("model", ModelCard, model), ("dataset", DatasetCard, corpus)):
    card.load(f"{folder}/README.md").validate(repo_type=kind)
    HfApi().create_repo(f"org/{kind}", repo_type=kind)
    HfApi().upload_folder(repo_id=f"org/{kind}", repo_type=kind, folder_path=folder)
splits = load_dataset("org/dataset")
print("FOUND", {name: len(rows) for name, rows in sorted(splits.items())}, splits["train"][0]["audio"]["path"][-4:])
print("CARD", ModelCard.load("org/model").data.base_model, len(ModelCard.load("org/model").data.eval_results))
"""


@pytest.fixture(scope="module")
def published(tagger_folder, tmp_path_factory):
    """A tagger with the facts of a run, scores and a base model on the Hub."""
    source = tmp_path_factory.mktemp("source") / "model"
    source.mkdir()
    for file in tagger_folder.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    run = {
        "status": "finished",
        "method": "A head.",
        "chosen": "epoch 3",
        "model": {"name": "org/mulap-tiny", "on_hub": True},
        "task": {"name": "tagging"},
        "data": {"title": "tones", "hub": "org/tones-mulap"},
    }
    number = {"value": 0.75, "low": 0.5, "high": 0.9}
    metrics = {"test": {"tracks": 18, "metrics": {"roc_auc": number, "loss": number}}}
    score = EvalResult("audio-classification", "mteb/gtzan-genre", "GTZANGenre", "accuracy", 0.5)
    (source / "training_settings.json").write_text(json.dumps({"run": run}))
    (source / "metrics.json").write_text(json.dumps(metrics))
    (source / MTEB_FILE).parent.mkdir()
    fields = {name: value for name, value in vars(score).items() if value is not None}
    (source / MTEB_FILE).write_text(json.dumps({"scores": [fields | {"metric_name": "accuracy"}]}))
    target = tmp_path_factory.mktemp("published") / "mulap-tiny-tagger"
    assemble(source, target, "org/mulap-tiny-tagger", "apache-2.0")
    return target


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    place = tmp_path_factory.mktemp("corpus")
    for index in range(20):
        write_tone(place / "notes" / ("high", "low")[index % 2] / f"{index}.wav", seconds=0.4, seed=index)
    return prepare_labeled(place / "notes", place / "prepared")


def test_model_card(published):
    data = ModelCard.load(published / "README.md").data
    assert isinstance(data, ModelCardData)
    assert (data.library_name, data.pipeline_tag, data.license) == (
        "transformers",
        "audio-classification",
        "apache-2.0",
    )
    assert {"mulap", "music", "audio", "custom_code", "sentence-transformers", "mteb"} <= set(data.tags)
    assert (data.base_model, data.get("base_model_relation")) == ("org/mulap-tiny", "finetune")
    assert data.datasets == ["org/tones-mulap"]
    auc, accuracy = data.eval_results
    assert (auc.dataset_type, auc.metric_type, auc.metric_value) == ("org/tones-mulap", "roc_auc", 0.75)
    assert auc.metric_args == {"interval_95": [0.5, 0.9]}
    assert (accuracy.dataset_name, accuracy.metric_value) == ("GTZANGenre", 0.5)
    assert data.model_name == "mulap-tiny-tagger"


def test_dataset_card(corpus):
    data = DatasetCard.load(corpus / "README.md").data
    assert isinstance(data, DatasetCardData)
    assert data.task_categories == ["audio-classification"] and data.size_categories == ["n<1K"]
    assert {"music", "audio", "mulap"} <= set(data.tags)
    assert [entry["split"] for entry in data.configs[0]["data_files"]] == ["train", "validation", "test"]


def test_the_hub_takes_both(hub, published, corpus, tmp_path):
    done = run("-c", CHECK, published, corpus, env=hub.environment(tmp_path / "home"), imported="transformers")
    assert done.returncode == 0, done.stderr
    assert re.search(r"FOUND {'test': \d+, 'train': \d+, 'validation': \d+} .wav", done.stdout), done.stdout
    assert "CARD org/mulap-tiny 2" in done.stdout


def test_names_of_our_models():
    for folder in (ROOT / "model_cards").glob("*/config.json"):
        assert re.fullmatch(r"mulap-[a-z0-9]+(-[a-z0-9]+)*", folder.parent.name)


def test_handler_of_the_published_folder(published, files):
    _, handler = load_handler(published)
    assert len(handler({"inputs": files["wav"], "parameters": {"top_k": 2}})) == 2
