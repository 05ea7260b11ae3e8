"""training/transfer.py as its users run it."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers import ROOT, run
from hub_server import HubServer
from huggingface_hub import ModelCard
from pictures import assert_shows_data
from safetensors.torch import load_file
from tones import PITCHES, TASKS, tone, write_dataset
from transformers import pipeline

from mulap_hf import MulapForAudioClassification, load_audio
from mulap_hf.metrics.scores import score
from mulap_hf.transfer.tasks import open_task

SCRIPT = ROOT / "training" / "transfer.py"


def transfer(tmp_path, *options, output="out", env=None):
    places = ("--output_dir", tmp_path / output, "--cache_dir", tmp_path / "features", "--max_epochs", 30)
    return run(SCRIPT, *places, *options, env=env)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("transfer")


@pytest.fixture(scope="module")
def dataset(place):
    return write_dataset(place / "tones")


@pytest.fixture(scope="module")
def done(place, dataset, model_folder):
    result = transfer(place, "--model", model_folder, "--data", dataset, "--task", "register")
    assert result.returncode == 0, result.stderr
    return place / "out"


def test_the_folder_is_a_classifier_for_the_pipeline(done, dataset, model_folder):
    classify = pipeline("audio-classification", model=str(done), trust_remote_code=True)
    rng = np.random.default_rng(7)
    clips = [tone(rng, register) for register in list(PITCHES) * 20]
    right = [classify(samples)[0]["label"] == truth["register"] for samples, truth in clips]
    assert np.mean(right) > 0.55  # a random backbone, thirty tracks; chance is 0.33, the error of this mean 0.06
    # The frozen backbone is the one that was given, to the bit.
    before = load_file(model_folder / "model.safetensors")
    after = load_file(done / "model.safetensors")
    names = [name for name in before if name.startswith("audio_model.")]
    assert names and all(torch.equal(before[name], after[name]) for name in names)

    metrics = json.loads((done / "metrics.json").read_text())
    data = open_task(dataset, "register")
    with np.load(done / "predictions" / "test.npz") as predicted:
        assert predicted["ids"].tolist() == data.ids("test")
        expected = score("single_label", data.targets("test").of(data.ids("test")), predicted["scores"])
    assert {name: number["value"] for name, number in metrics["test"]["metrics"].items()} == pytest.approx(expected)
    assert set(metrics["test"]["outputs"]) == set(PITCHES)
    # What is saved says what was predicted.
    model = MulapForAudioClassification.from_pretrained(done).eval()
    row = next(data.rows("test"))
    with torch.no_grad():
        logits = model(torch.from_numpy(load_audio(row["audio"]["bytes"]))[None]).logits[0]
    with np.load(done / "predictions" / "test.npz") as predicted:
        np.testing.assert_allclose(logits, predicted["scores"][0], rtol=1e-3, atol=1e-3)


def test_what_is_written_beside_it(done, place, dataset, model_folder):
    run_facts = json.loads((done / "training_settings.json").read_text())["run"]
    assert run_facts["status"] == "finished"
    assert run_facts["tracks"] == {"train": 30, "validation": 12}
    assert run_facts["task"]["chosen_by"] == "accuracy"
    report = (done / "transfer_report.md").read_text()
    for picture in ("outputs.png", "history.png"):
        assert f"(transfer_report/{picture})" in report
        assert_shows_data(done / "transfer_report" / picture)
    card = ModelCard.load(done / "README.md")
    assert card.data.library_name == "transformers" and card.data.pipeline_tag == "audio-classification"
    assert "low, middle, high" in card.text
    again = transfer(place, "--model", model_folder, "--data", dataset, "--task", "register")
    assert again.returncode == 1 and "holds a finished run" in again.stderr


def test_test_labels_are_read_after_everything_else(done, place, dataset, model_folder):
    """Without the labels of the test split, all is done but the last step, and comes out the same."""
    blind_dataset = place / "blind_tones"
    shutil.copytree(dataset, blind_dataset)
    for shard in blind_dataset.glob("test-*.parquet"):
        table = pq.read_table(shard)
        pq.write_table(table.drop_columns([column for task in TASKS for column in task.columns]), shard)
    result = transfer(place, "--model", model_folder, "--data", blind_dataset, "--task", "register", output="blind")
    assert result.returncode == 1
    assert "test-00000-of-00002.parquet: the column 'register' cannot be read" in result.stderr
    blind = place / "blind"
    expected, found = (load_file(folder / "model.safetensors") for folder in (done, blind))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    with np.load(done / "predictions" / "test.npz") as one, np.load(blind / "predictions" / "test.npz") as other:
        assert np.array_equal(one["scores"], other["scores"])
    assert not (blind / "metrics.json").exists()


def test_values_come_back_in_their_own_units(tmp_path, dataset, model_folder):
    result = transfer(tmp_path, "--model", model_folder, "--data", dataset, "--task", "pitch", "--max_epochs", 200)
    assert result.returncode == 0, result.stderr
    data = open_task(dataset, "pitch")
    with np.load(tmp_path / "out" / "predictions" / "test.npz") as predicted:
        octave, level = predicted["scores"].mean(0)
    expected = data.targets("test").of(data.ids("test")).mean(0)  # near 46 and 225
    assert octave == pytest.approx(expected[0], abs=2) and level == pytest.approx(expected[1], abs=100)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["test"]["metrics"]["r2"]["value"] > 0.3
    assert "in the units of the training data" in (tmp_path / "out" / "README.md").read_text()


def test_pushed_to_the_hub_when_it_is_done(tmp_path, dataset, model_folder):
    what = ("--model", model_folder, "--data", dataset, "--task", "register")
    with HubServer() as hub:
        refused = transfer(tmp_path, *what, "--push_to_hub", "others/x", env=hub.environment(tmp_path))
        assert refused.returncode == 1 and "org is not a member of others" in refused.stderr
        assert not (tmp_path / "out").exists()  # said before the work
        done = transfer(tmp_path, *what, "--push_to_hub", "org/tones", "--private", env=hub.environment(tmp_path))
        assert done.returncode == 0, done.stderr
        repository = hub.repositories["model", "org/tones"]
        assert repository.private
        card = ModelCard(repository.find("main").files["README.md"].data.decode())
    judged = json.loads((tmp_path / "out" / "metrics.json").read_text())["test"]["metrics"]
    assert {result.metric_name: result.metric_value for result in card.data.eval_results} == {
        name: number["value"] for name, number in judged.items()
    }


def test_mistakes_are_named(tmp_path, dataset, model_folder):
    result = transfer(tmp_path, "--model", tmp_path / "none", "--data", dataset, "--task", "register")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert f"error: {tmp_path / 'none'}: found neither as a folder nor" in result.stderr
    assert not (tmp_path / "out").exists()


def test_handcrafted_runs_may_be_replaced(tmp_path, dataset):
    for options in ((), ("--overwrite_output",)):
        what = ("--model", "handcrafted", "--data", dataset, "--task", "register", "--max_epochs", 2)
        result = transfer(tmp_path, *what, *options)
        assert result.returncode == 0, result.stderr
