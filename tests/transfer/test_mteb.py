"""MTEB: its mock audio tasks, the tasks of a prepared folder, the scores in the card, and a model on the Hub."""

import inspect
import io
import json
import re
import runpy

import mteb
import numpy as np
import pytest
import soundfile as sf
from datasets import Audio
from helpers import ROOT, import_script, micro_config, run, run_fresh, save_both, settle
from hub_server import HubServer
from huggingface_hub import ModelCard
from mteb.mocks import mock_tasks

from mulap_hf import MulapAudioModel, MulapForPreTraining
from mulap_hf.errors import DataError
from mulap_hf.mteb_evaluation.model import MulapEncoder
from mulap_hf.mteb_evaluation.tasks import named_tasks
from mulap_hf.publishing.assemble import assemble

CARD = "---\nlicense: cc-by-4.0\n---\n\n# My model\n"
AUDIO_TASKS = [
    task
    for _, task in inspect.getmembers(mock_tasks, inspect.isclass)
    if hasattr(task, "metadata") and "audio" in task.metadata.modalities
]
AUDIO_TASKS = [task for task in AUDIO_TASKS if set(task.metadata.modalities) <= {"audio", "text"}]


@pytest.fixture(scope="module")
def folder(processor, tmp_path_factory):
    model = MulapForPreTraining(micro_config(projection_size=16, contrastive_loss_weight=1.0))
    folder = save_both(settle(model), processor, tmp_path_factory.mktemp("joint") / "model")
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture(scope="module")
def encoder(folder):
    return MulapEncoder(str(folder), "cpu")


@pytest.fixture
def no_torchcodec(monkeypatch):
    """The mock tasks make wav files by torchcodec, which needs FFmpeg."""

    def encode(_feature, value):
        buffer = io.BytesIO()
        samples = np.asarray(value["array"], dtype=np.float32)
        sf.write(buffer, samples, value["sampling_rate"], format="WAV", subtype="FLOAT")
        return {"bytes": buffer.getvalue(), "path": None}

    monkeypatch.setattr(Audio, "encode_example", encode)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", AUDIO_TASKS, ids=lambda task: task.metadata.name)
def test_mock_tasks(task, encoder, no_torchcodec):
    result = mteb.evaluate(encoder, task(), cache=None, show_progress_bar=False)
    assert 0 <= result.task_results[0].get_score() <= 1


def test_kinds_of_mock_tasks():
    kinds = {task.metadata.type for task in AUDIO_TASKS}
    audio = {f"Audio{kind}" for kind in ("Classification", "MultilabelClassification", "PairClassification")}
    assert kinds >= audio | {"AudioReranking", "AudioZeroshotClassification", "Clustering", "Any2AnyRetrieval"}
    assert {task.metadata.category for task in AUDIO_TASKS} >= {"a2a", "a2t", "t2a"}


@pytest.mark.filterwarnings("ignore")
def test_prepared_folder_and_card(folder, dataset, tmp_path, capsys, monkeypatch):
    """The script: scores, MTEB's files, the card of the run, and the published card."""
    main = import_script(ROOT / "training" / "mteb_eval.py").main
    arguments = ["--model", str(folder), "--data", str(dataset), "--batch_size", "4"]
    main([*arguments, "--tasks", "register", "captions"])
    main(arguments)
    names = ["register", "sound", "pitch-octave", "pitch-level", "captions-TextToAudio", "captions-AudioToText"]
    scores = json.loads((folder / "mteb" / "scores.json").read_text())["scores"]
    found = {score["dataset_name"]: score["metric_value"] for score in scores}
    assert {f"tones-{name}" for name in names} == found.keys()
    assert found["tones-register"] > 0.5 and f"| {found['tones-register']:.3f} |" in capsys.readouterr().out
    index = {result.dataset_name: result for result in ModelCard.load(folder / "README.md").data.eval_results}
    assert {name: result.metric_value for name, result in index.items()} == found
    assert index["tones-sound"].metric_type == "lrap" and index["tones-sound"].source_name == "MTEB"

    stored = list((folder / "mteb" / "results").glob("local__model/*/tones-register.json"))
    assert json.loads(stored[0].read_text())["scores"]["test"][0]["main_score"] == pytest.approx(
        found["tones-register"], abs=1e-5
    )
    meta = runpy.run_path(str(folder / "mteb" / "model_meta.py"))["mulap"]
    assert (meta.modalities, meta.embed_dim, meta.license) == (["text", "audio"], 16, "cc-by-4.0")
    monkeypatch.setattr(MulapEncoder, "encode", None)  # nothing is computed again
    main([*arguments, "--tasks", "register"])

    assemble(folder, tmp_path / "published", "org/mulap-micro")
    card = ModelCard.load(tmp_path / "published" / "README.md")
    assert "mteb" in card.data.tags and len(card.data.eval_results) == len(names)
    assert f"| lrap, tones-sound | {found['tones-sound']:.3f} |" in card.text


def test_what_is_refused(folder, dataset, monkeypatch):
    main = import_script(ROOT / "training" / "mteb_eval.py").main
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"GTZANGenres: MTEB .* did you mean GTZANGenre\?"):
        main(["--model", str(folder), "--tasks", "GTZANGenres"])
    with pytest.raises(DataError, match=r"2 of 2 tasks .*GTZANGenre, MusicCapsT2ARetrieval. Repeat the command where"):
        main(["--model", str(folder), "--tasks", "GTZANGenre", "MusicCapsT2ARetrieval"])
    with pytest.raises(DataError, match="--push_to_hub writes to a model on the Hub"):
        main(["--model", str(folder), "--push_to_hub"])
    with pytest.raises(DataError, match=r"it has no task 'registr'"):
        main(["--model", str(folder), "--data", str(dataset), "--tasks", "registr"])


def test_tasks_about_music():
    both, left_out = named_tasks(["music"], ["text", "audio"])
    names = {task.metadata.name for task in both}
    assert {"GTZANGenre", "NSynth", "SongDescriberA2TRetrieval", "MusicCapsT2ARetrieval"} <= names
    assert "XModBenchAT2TReranking" in left_out and len(names) > 15
    audio, left_out = named_tasks(["music"], ["audio"])
    assert {task.metadata.name for task in audio} < names and "MusicCapsT2ARetrieval" in left_out
    with pytest.raises(DataError, match="this model encodes audio: choose"):
        named_tasks(["MusicCapsT2ARetrieval"], ["audio"])


# What a user of MTEB does with a model on the Hub: nothing but its name is known.
EVALUATE = """
import json, sys
import numpy as np, mteb
from datasets import Dataset, DatasetDict
from huggingface_hub import HfApi
from mteb.abstasks import AbsTaskClassification
from mteb.abstasks.task_metadata import TaskMetadata

class Tones(AbsTaskClassification):
    metadata = TaskMetadata(name="Tones", description="", dataset={"path": "local/tones", "revision": "1"},
        type="AudioClassification", category="a2c", modalities=["audio"], eval_langs=["eng-Latn"],
        main_score="accuracy")
    input_column_name = "audio"

    def load_data(self, **options):
        time, rows = np.arange(16000) / 16000, range(20)
        sounds = [np.sin(2 * np.pi * (200, 2000)[row % 2] * (1 + row / 100) * time).tolist() for row in rows]
        sounds = [{"array": sound, "sampling_rate": 16000} for sound in sounds]
        data = Dataset.from_dict({"audio": sounds, "label": [row % 2 for row in rows]})
        self.dataset, self.data_loaded = DatasetDict(train=data, test=data), True

found = {}
for name, folder in zip(sys.argv[1::2], sys.argv[2::2]):
    HfApi().create_repo(name)
    HfApi().upload_folder(repo_id=name, folder_path=folder)
    model = mteb.get_model(name, trust_remote_code=True, device="cpu")
    result = mteb.evaluate(model, Tones(), cache=None, show_progress_bar=False)
    found[name] = [sorted(model.mteb_model_meta.modalities), result.task_results[0].get_score()]
print("FOUND" + json.dumps(found))
"""


def test_model_of_the_hub_where_the_package_is_not_installed(folder, processor, tmp_path):
    backbone = save_both(
        settle(MulapAudioModel(micro_config().audio_config)), processor.feature_extractor, tmp_path / "b"
    )
    (backbone / "README.md").write_text(CARD)
    with HubServer() as hub:
        code = f"import sys; sys.modules['mulap_hf'] = None\n{EVALUATE}"
        models = ("org/mulap", folder, "org/backbone", backbone)
        done = run_fresh("-c", code, *models, env=hub.environment(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.split("FOUND")[1])
    assert found["org/mulap"][0] == ["audio", "text"] and found["org/backbone"][0] == ["audio"]
    assert min(score for _, score in found.values()) > 0.8


# The script, which writes into the card of a model on the Hub; `refused` has the messages of what it does not do.
PUSH = """
import json, os, sys
from pathlib import Path
from huggingface_hub import HfApi, ModelCard
training, folder, data = sys.argv[1:]
sys.path.insert(0, training)
import mteb_eval
from mulap_hf import MulapError

def refusal(*options, token="hf_test"):
    os.environ["HF_TOKEN"] = token
    try:
        mteb_eval.main(["--push_to_hub", *options])
    except MulapError as error:
        return str(error)

refused = {"no model": refusal("--model", "org/nothing", "--data", data)}
HfApi().create_repo("org/mulap")
HfApi().upload_folder(repo_id="org/mulap", folder_path=folder, ignore_patterns=["README.md", "mteb/*"])
mteb_eval.main(["--push_to_hub", "--model", "org/mulap", "--data", data, "--tasks", "register"])
mteb_eval.main(["--push_to_hub", "--model", "org/mulap", "--data", data, "--tasks", "sound"])
card = ModelCard.load("org/mulap")
model = ("--model", "org/mulap")
Path("no_tasks").mkdir()
refused |= {
    "no token": refusal(*model, "--data", data, token=""),
    "no member": refusal("--model", "other/mulap", "--data", data),
    "no right": refusal(*model, "--data", data, token="hf_read"),
    "no task": refusal(*model, "--tasks", "GTZANGenres"),
    "no tasks.json": refusal(*model, "--data", "no_tasks"),
}
results = sorted(str(path) for path in Path("outputs").rglob("tones-*.json"))
commits = [commit.commit_id for commit in HfApi().list_repo_commits("org/mulap")]
assert {Path(path).parent.name for path in results} < set(commits)
index = {score.dataset_name: score.metric_value for score in card.data.eval_results}
print("FOUND" + json.dumps([card.data.tags, index, results, refused]))
"""


def test_scores_pushed_to_the_hub(folder, dataset, tmp_path):
    with HubServer() as hub:
        arguments = (ROOT / "training", folder, dataset)
        done = run("-c", PUSH, *arguments, cwd=tmp_path, env=hub.environment(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    tags, index, results, refused = json.loads(done.stdout.split("FOUND")[1])
    assert tags == ["mteb"] and index.keys() == {"tones-register", "tones-sound"}
    assert index["tones-register"] > 0.5
    assert len(results) == 2 and results[0].startswith("outputs/mteb/org--mulap/results/org__mulap/")
    messages = {
        "no model": "org/nothing: found neither as a folder nor on the Hub",
        "no token": "not logged in to the Hub: log in with `hf auth login`",
        "no member": "other/mulap: org is not a member of other",
        "no right": "has no write permission",
        "no task": "GTZANGenres: MTEB .* has no audio task of this name; did you mean GTZANGenre?",
        "no tasks.json": "no_tasks",
    }
    for name, message in messages.items():
        assert re.search(message, refused[name]), refused
