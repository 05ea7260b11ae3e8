"""training/publish.py as its users run it, and what strangers then load from the Hub."""

import importlib
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers import ROOT, assert_near, errors_of, inputs, micro_config, run, run_without_package, settle, write_tone
from hub_card import check_card
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from mulap_hf import (
    MulapAudioModel,
    MulapFeatureExtractor,
    MulapForAudioClassification,
    MulapForPreTraining,
    MulapModel,
)
from mulap_hf.errors import PublishError
from mulap_hf.publishing import check
from mulap_hf.publishing.arguments import Destination, HubArguments
from mulap_hf.publishing.card import make_card
from mulap_hf.publishing.hub import find_destination, publish_finished

SCRIPT = ROOT / "training" / "publish.py"
DUAL = {"connection_text_layers": [], "connection_audio_layers": []}
LABELS = {0: "calm", 1: "loud", 2: "sad"}


@pytest.fixture(scope="module")
def base(tmp_path_factory, processor) -> Path:
    """A finished run, with files in it that must not be published."""
    folder = tmp_path_factory.mktemp("runs") / "base"
    settle(MulapForPreTraining(micro_config(projection_size=16))).save_pretrained(folder)
    processor.save_pretrained(folder)
    settings = {
        "model": {"objective": "mulap"},
        "data": {"clip_seconds": 9.0},
        "training": {"batch_size": 8, "gradient_accumulation_steps": 1, "seed": 0},
        "run": {
            "status": "finished",
            "pairs": {"train": 1234, "validation": 56},
            "max_steps": 100,
            "seconds": 77,
            "data": {"title": "MusicCaps", "url": "https://example.org", "license": "cc-by-sa-4.0"},
            "environment": {"cpu": "a CPU", "cores": 2, "gpu": "none", "processes": 1, "threads": 2},
        },
    }
    (folder / "training_settings.json").write_text(json.dumps(settings))
    (folder / "metrics.json").write_text(json.dumps({"loss": 2.5, "matching_auc": 0.71}))
    (folder / "skipped.jsonl").write_text('{"id": "my secret file.wav"}\n')
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "state.pt").write_bytes(b"x")
    return folder


@pytest.fixture(scope="module")
def tagger(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tagger"
    problem = {"problem_type": "multi_label_classification", "id2label": LABELS}
    config = micro_config(**problem, label2id={name: index for index, name in LABELS.items()})
    settle(MulapForAudioClassification(config)).save_pretrained(folder)
    MulapFeatureExtractor().save_pretrained(folder)
    judged = {"roc_auc": {"value": 0.8, "low": 0.75, "high": 0.84}}
    metrics = {"validation": {"roc_auc": 0.9}, "test": {"metrics": judged, "outputs": {}, "tracks": 40}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """The cache of whoever publishes."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """The cache of others, who have none of the published files."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture
def script(monkeypatch):
    """The script's module, where no Hub is needed: its URL is read when huggingface_hub is imported."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return importlib.import_module("publish")


def publish(hub, home, *options, token="hf_test", **variables):
    return run(SCRIPT, *options, env={**hub.environment(home, token), **variables})


@pytest.fixture(scope="module")
def published(hub, home, base):
    result = publish(hub, home, base, "--repo_id", "org/mulap-tiny", "--license", "cc-by-4.0")
    assert result.returncode == 0, result.stderr
    assert re.search(rf"Published: {hub.url}/org/mulap-tiny/commit/\w{{40}}", result.stdout)
    return hub


@pytest.fixture(scope="module")
def published_tagger(hub, home, tagger, tmp_path_factory) -> Path:
    """The folder that was published as org/mulap-tags."""
    kept = tmp_path_factory.mktemp("published") / "kept"
    result = publish(hub, home, tagger, "--repo_id", "org/mulap-tags", "--keep", kept)
    assert result.returncode == 0, result.stderr
    return kept


STRANGER = """
import json, sys
from pathlib import Path
import torch
from huggingface_hub import HfApi, snapshot_download
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForPreTraining, AutoProcessor, pipeline
name, place, trust, found = sys.argv[1], Path(sys.argv[2]), {"trust_remote_code": True}, {}
"""


def stranger(hub, elsewhere, tmp_path, code, name, token=None):
    """Runs code in a process without the package, with the cache of others."""
    environment = hub.environment(elsewhere, token)
    return run_without_package(
        f"{STRANGER}{code}\nprint('FOUND' + json.dumps(found))", name, tmp_path, env=environment, cwd=tmp_path
    )


def test_strangers_load_and_use_what_was_published(published, elsewhere, tmp_path, base):
    batch = inputs()
    torch.save(batch, tmp_path / "batch.pt")
    write_tone(tmp_path / "song.mp3", seconds=1.5, rate=44100, channels=2)
    write_tone(tmp_path / "other.mp3", seconds=1.0, seed=1)
    result = stranger(
        published,
        elsewhere,
        tmp_path,
        """
model = AutoModel.from_pretrained(name, **trust).eval()
assert type(model).__module__.startswith("transformers_modules")
processor = AutoProcessor.from_pretrained(name, **trust)
found["classes"] = [type(processor).__name__, type(AutoFeatureExtractor.from_pretrained(name, **trust)).__name__]
with torch.no_grad():
    torch.save(model(**torch.load(place / "batch.pt")).logits_per_audio, place / "scores.pt")
found["heads"] = type(AutoModelForPreTraining.from_pretrained(name, **trust)).__name__
found["labels"] = pipeline("zero-shot-audio-classification", model=name, **trust)(
    "song.mp3", candidate_labels=["calm piano", "fast techno"]
)
from sentence_transformers import SentenceTransformer
with torch.no_grad():
    own = model.get_audio_features(**processor(audio="song.mp3")).pooler_output, model.get_text_features(
        **processor(text="calm piano")
    ).pooler_output
found["embeddings"] = [value[0].tolist() for value in own]
found["sentences"] = SentenceTransformer(name, device="cpu", **trust).encode(["song.mp3", "calm piano"]).tolist()
found["files"] = sorted(entry.path for entry in HfApi().list_repo_tree(name, recursive=True) if hasattr(entry, "size"))
sha = HfApi().model_info(name).sha
found["pinned"] = sha in type(AutoModel.from_pretrained(name, revision=sha, **trust)).__module__
for number, code in enumerate(Path(snapshot_download(name), "README.md").read_text().split("```python")[1:]):
    exec(compile(code.split("```")[0], f"snippet {number}", "exec"), {})  # word for word
""",
        "org/mulap-tiny",
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.split("FOUND")[1])
    assert found["classes"] == ["MulapProcessor", "MulapFeatureExtractor"]
    assert found["heads"] == "MulapForPreTraining"
    with torch.no_grad():
        expected = MulapModel.from_pretrained(base).eval()(**batch).logits_per_audio
    assert_near(torch.load(tmp_path / "scores.pt"), expected)
    assert {one["label"] for one in found["labels"]} == {"calm piano", "fast techno"}
    np.testing.assert_allclose(found["sentences"], found["embeddings"], atol=1e-5)
    assert found["pinned"]
    for name in ("handler.py", "requirements.txt", "preprocessor_config.json", "processor_config.json", "README.md"):
        assert name in found["files"]
    assert not [name for name in found["files"] if "checkpoint" in name or "skipped" in name]


def test_the_card_says_what_the_run_says(published, home):
    code = "from huggingface_hub import ModelCard; print(ModelCard.load('org/mulap-tiny'))"
    result = run("-c", code, env=published.environment(home))
    assert result.returncode == 0, result.stderr
    card = ModelCard(result.stdout)
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "feature-extraction")
    assert card.data.license == "cc-by-4.0"
    (auc,) = card.data.eval_results  # a loss is not a result
    assert (auc.metric_type, auc.metric_value, auc.dataset_name) == ("matching_auc", 0.71, "MusicCaps")
    for fact in (
        "1234 items",
        "MusicCaps (https://example.org)",
        "Training took 77 s for 2.0 hours",
        "a CPU",
        "0.710",
    ):
        assert fact in card.text
    assert "Energy and emissions were not measured" in card.text and "secret" not in str(card)


def test_the_card_says_which_steps_were_done_and_which_was_kept(base, tagger):
    settings = json.loads((base / "training_settings.json").read_text())
    stopped = {
        **settings,
        "training": {**settings["training"], "keep_last": True},
        "run": {**settings["run"], "steps": 50},  # of 100: patience was at its end
    }
    said = [
        (settings, "100 steps with 8 items", "2.0 hours", "step with the lowest validation loss"),
        (stopped, "50 steps with 8 items", "1.0 hours", "last step"),
    ]
    for folder in (base, tagger):
        for told, steps, hours, kept in said:
            card = make_card(folder, told, {"matching_auc": 0.71}, "org/x")
            text = " ".join(card.text.split())
            facts = (f"for {hours} of audio", f"The model of the {kept} was kept.", f"evaluated at the {kept}:")
            for fact in (steps, *facts):
                assert fact in text


def test_the_card_of_a_tagger_shows_its_outputs(published_tagger):
    card = ModelCard.load(published_tagger / "README.md")
    assert card.data.pipeline_tag == "audio-classification" and card.data.license == "unknown"
    result = next(one for one in card.data.eval_results if one.dataset_split == "test")
    assert (result.metric_value, result.metric_args["interval_95"]) == (0.8, [0.75, 0.84])
    assert len(card.data.widget) == 3
    script = "import json, sys; from transformers import pipeline; classify = pipeline('audio-classification', "
    script += "model=sys.argv[1], trust_remote_code=True); print(json.dumps(classify(sys.argv[2:], top_k=5)))"
    samples = [published_tagger / example["src"] for example in card.data.widget]
    tagged = run_without_package(script, published_tagger, *samples)
    assert tagged.returncode == 0, tagged.stderr
    for example, output in zip(card.data.widget, json.loads(tagged.stdout), strict=True):
        assert [one["label"] for one in example["output"]] == [one["label"] for one in output]
        assert [one["score"] for one in example["output"]] == pytest.approx([one["score"] for one in output], abs=1e-4)
    assert "Name, source and license of the corpus are unknown." in card.text


def test_private_repositories(hub, home, elsewhere, tagger, tmp_path):
    result = publish(hub, home, tagger, "--repo_id", "org/secret", "--private")
    assert result.returncode == 0, result.stderr
    refused = stranger(hub, elsewhere, tmp_path, "AutoConfig.from_pretrained(name, **trust)", "org/secret")
    assert refused.returncode == 1 and "401" in refused.stderr
    write_tone(tmp_path / "song.ogg", rate=44100, channels=2)
    tag = "found['tags'] = pipeline('audio-classification', model=name, **trust)('song.ogg')"
    let_in = stranger(hub, elsewhere, tmp_path, tag, "org/secret", token="hf_test")
    assert let_in.returncode == 0, let_in.stderr
    assert {one["label"] for one in json.loads(let_in.stdout.split("FOUND")[1])["tags"]} == set(LABELS.values())


def test_a_space_of_two_published_models(published, published_tagger, home, tmp_path):
    script = SCRIPT.with_name("publish_space.py")
    environment = published.environment(home)

    def publish_space(*options):
        return run(script, "--repo_id", "org/demo", "--model", "org/mulap-tiny", *options, env=environment)

    missing = publish_space("--tagger", "org/none")
    assert missing.returncode == 1 and "--tagger org/none: the Hub has no such model" in missing.stderr
    wrong = publish_space("--tagger", "org/mulap-tiny")
    assert wrong.returncode == 1 and "org/mulap-tiny lacks the pipeline audio-classification" in wrong.stderr
    assert ("space", "org/demo") not in published.repositories
    write_tone(tmp_path / "my clip.flac")
    done = publish_space("--tagger", "org/mulap-tags", "--library", tmp_path / "my clip.flac")
    assert done.returncode == 0, done.stderr
    space = published.repositories["space", "org/demo"]
    assert space.variables == {"MULAP_MODEL": "org/mulap-tiny", "MULAP_TAGGER": "org/mulap-tags"}
    files = space.find("main").files
    assert {"app.py", "page.py", "requirements.txt", "library/my clip.flac"} <= set(files)
    card = files["README.md"].data.decode()
    assert "models:\n- org/mulap-tiny\n- org/mulap-tags" in card
    assert check_card(card, "space") == ([], [])


@pytest.mark.parametrize("kind", ["dual", "backbone", "regression"])
def test_every_kind_passes_its_check(script, tmp_path, processor, kind, capsys):
    """Which runs its card's snippets."""
    values = {"problem_type": "regression", "id2label": {0: "arousal", 1: "valence"}}
    model = {
        "dual": lambda: MulapModel(micro_config(projection_size=8, **DUAL)),
        "backbone": lambda: MulapAudioModel(micro_config().audio_config),
        "regression": lambda: MulapForAudioClassification(
            micro_config(**values, label2id={"arousal": 0, "valence": 1})
        ),
    }[kind]()
    settle(model).save_pretrained(tmp_path / kind)
    (processor if kind == "dual" else processor.feature_extractor).save_pretrained(tmp_path / kind)
    write_tone(tmp_path / "my tone.wav", seconds=2, rate=96000, channels=6)  # which no mp3 can be
    where = ("--dry_run", "--keep", str(tmp_path / "kept"), "--samples", str(tmp_path / "my tone.wav"))
    script.main([str(tmp_path / kind), "--repo_id", f"org/{kind}", *where])
    assert "Nothing was uploaded." in capsys.readouterr().out
    card = (tmp_path / "kept" / "README.md").read_text()
    assert check_card(card, "model") == ([], [])
    assert "Nothing was measured." in card and "Time and machine are unknown." in card
    assert "was kept" not in card  # nothing is known of how it was trained
    assert "[my tone](samples/my%20tone.wav)" in card


def test_publishing_again_replaces_what_was_published(published, home, elsewhere, base, tmp_path):
    code = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.upload_file(repo_id="org/mulap-tiny", path_or_fileobj=b"x = 1", path_in_repo="old_code.py")
api.upload_file(repo_id="org/mulap-tiny", path_or_fileobj=b"theirs", path_in_repo="notes.txt")
"""
    assert run("-c", code, env=published.environment(home)).returncode == 0
    again = publish(published, home, base, "--repo_id", "org/mulap-tiny")
    assert again.returncode == 0, again.stderr
    list_files = "found['files'] = [entry.path for entry in HfApi().list_repo_tree(name)]"
    files = json.loads(
        stranger(published, elsewhere, tmp_path, list_files, "org/mulap-tiny").stdout.split("FOUND")[1]
    )["files"]
    assert "old_code.py" not in files and "notes.txt" in files and "modeling_mulap.py" in files


def test_what_the_hub_would_refuse_is_said_before_the_work(published, home, base):
    published.requests.clear()
    result = publish(published, home, base, "--repo_id", "org/x", token=None)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "not logged in to the Hub: log in with `hf auth login`, or set HF_TOKEN" in result.stderr
    unreachable = publish(published, home, base, "--repo_id", "org/x", HF_ENDPOINT="http://127.0.0.1:9")
    assert unreachable.returncode == 1 and "error: the Hub cannot be reached: " in unreachable.stderr
    refused = {
        "--repo_id others/x": "others/x: org is not a member of others; choose one of org",
        "--repo_id org/mulap-tiny --private": "--private: org/mulap-tiny exists and is public",
        "--repo_id org/x --license mine": '--license mine: the Hub refuses: - Error: "license" must be one of',
    }
    said = errors_of(SCRIPT, *([base, *options.split()] for options in refused), env=published.environment(home))
    for message, expected in zip(said, refused.values(), strict=True):
        assert message.startswith(f"error: {expected}")
    assert not any(request.writes for request in published.requests)


def test_training_scripts_learn_what_the_hub_would_refuse_before_the_training(hub, home):
    code = """
import os
from mulap_hf.errors import PublishError
from mulap_hf.publishing.arguments import HubArguments
from mulap_hf.publishing.hub import find_destination
for token, license in (("hf_read", "mit"), ("hf_test", "mine"), ("hf_test", "mit"), ("hf_fine", "mit")):
    os.environ["HF_TOKEN"] = token
    try:
        print(find_destination(HubArguments("org/x", license=license)))
    except PublishError as error:
        print(error)
"""
    result = run("-c", code, env=hub.environment(home))
    assert result.returncode == 0, result.stderr
    read_only, own_license, *taken = result.stdout.splitlines()
    assert (
        "the token of org has no write permission: log in with `hf auth login`, or set HF_TOKEN to a token that"
        in read_only
    )
    assert '--license mine: the Hub refuses: - Error: "license" must be one of' in own_license
    assert taken == ["Destination(repo_id='org/x', private=False, license='mit')"] * 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my model!", "'my model!' is not a valid name on the Hub, org/name: Repo id must use alphanumeric chars"),
        ("../outside", "'../outside' is not a valid name on the Hub"),
        ("org/a/b", "'org/a/b' is not a valid name on the Hub, org/name: Repo id must be in the form"),
        ("mulap", "'mulap' lacks the owner: write it as org/mulap"),
    ],
)
def test_names_that_no_repository_can_have(script, tmp_path, name, message):
    """Are refused before anything is read or asked, whichever script is told them."""
    space = importlib.import_module("publish_space")
    for tell in (
        lambda: script.main([str(tmp_path), "--repo_id", name, "--dry_run"]),
        lambda: space.main(["--repo_id", name, "--model", "org/a", "--tagger", "org/b"]),
        lambda: find_destination(HubArguments(name)),
    ):
        with pytest.raises(PublishError, match=f"^{re.escape(message)}"):
            tell()


def test_folders_that_cannot_be_published(tmp_path, base, tagger, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import publish as script

    def refused(folder, *more):
        with pytest.raises(PublishError) as caught:
            script.main([str(folder), "--repo_id", "org/x", "--dry_run", *more])
        return str(caught.value)

    assert f"{tmp_path / 'none'} is not a folder" in refused(tmp_path / "none")
    assert "lacks config.json or model.safetensors" in refused(tmp_path)
    config = AutoConfig.from_pretrained(tagger)
    model = settle(MulapForAudioClassification(config))
    model.save_pretrained(tmp_path / "alone")
    assert "has no processor: save it there" in refused(tmp_path / "alone")
    settle(MulapModel(micro_config())).save_pretrained(tmp_path / "wordless")
    MulapFeatureExtractor().save_pretrained(tmp_path / "wordless")
    assert "has a text side but no tokenizer" in refused(tmp_path / "wordless")
    (tmp_path / "alone" / "training_settings.json").write_text('{"run": {"status": "unfinished"}}')
    assert "contains an unfinished run: repeat its command" in refused(tmp_path / "alone")


def broken_at_the_end(path: Path):
    write_tone(path, seconds=30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("text.wav", lambda path: path.write_text("no audio"), "text.wav: broken"),
        ("cut.flac", broken_at_the_end, "cut.flac: it ends early"),
        (
            "nan.wav",
            lambda path: sf.write(path, [0.0, math.nan], 16000, "FLOAT"),
            "nan.wav: the sample at",
        ),
        ("caf\udce9.wav", write_tone, r"caf\udce9.wav has characters that cannot be printed: rename it"),
    ],
)
def test_samples_that_cannot_be_published(script, tmp_path, tagger, name, write, message):
    sound = tmp_path / f"sound{Path(name).suffix}"
    write(sound)
    sound.rename(tmp_path / name)  # soundfile cannot write to names that are not UTF-8
    with pytest.raises(PublishError) as caught:
        script.main([str(tagger), "--repo_id", "org/x", "--dry_run", "--samples", str(tmp_path / name)])
    assert str(caught.value).startswith("--samples: ") and message in str(caught.value)


def test_how_to_repeat_what_was_not_published(tmp_path):
    run_folder = tmp_path / "my run"
    with pytest.raises(PublishError) as caught:
        publish_finished(run_folder, Destination("org/x", private=True, license="mit"))
    repeat = f"Repeat with: python training/publish.py '{run_folder}' --repo_id org/x --license mit --private"
    assert str(caught.value).endswith(repeat)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", {"model_type": None}, "has model_type unknown: only MuLaP models"),
        ("config.json", {"model_type": "frob"}, "has model_type frob: only MuLaP models"),
        ("config.json", {"projection_size": "wide"}, "expected int, got str"),
        ("config.json", "[]", "contains a list, not a JSON object: save it again"),
        ("training_settings.json", "{", "is not valid JSON (Expecting"),
        ("preprocessor_config.json", "", "is not valid JSON (Expecting"),
        ("metrics.json", "{", "is not valid JSON (Expecting"),
        ("model.safetensors", "", "is broken (Error while deserializing header"),
    ],
)
def test_broken_files_are_named(script, tmp_path, tagger, file, content, message):
    broken = shutil.copytree(tagger, tmp_path / "broken")
    if isinstance(content, dict):
        content = json.dumps(json.loads((broken / file).read_text()) | content)
    (broken / file).write_text(content)
    with pytest.raises(PublishError, match=f"^{re.escape(str(broken / file))}") as caught:
        script.main([str(broken), "--repo_id", "org/x", "--dry_run"])
    assert message in str(caught.value)


def test_weights_that_do_not_fit_are_not_published(script, tmp_path, tagger):
    config = AutoConfig.from_pretrained(tagger)
    config.audio_config.midend_channels += 1
    wrong = shutil.copytree(tagger, tmp_path / "wrong")
    config.save_pretrained(wrong)
    with pytest.raises(PublishError, match=f"^the model in {re.escape(str(wrong))} fails on the samples: ValueError"):
        script.main([str(wrong), "--repo_id", "org/x", "--dry_run"])


def test_a_model_that_takes_too_long_is_not_published(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "_SECONDS", 0.5)
    write_tone(tmp_path / "samples" / "tone.wav")
    with pytest.raises(
        PublishError, match=f"^{tmp_path}: loading the model .* took more than 0.5 s: publish it while"
    ):
        check.run_as_user(tmp_path, "org/x", {"snippet_1": "import time; time.sleep(60)"})


def test_weights_that_do_not_load_are_not_published(script, tmp_path, tagger):
    broken = tmp_path / "broken"
    model = MulapForAudioClassification.from_pretrained(tagger)
    model.save_pretrained(broken)
    MulapFeatureExtractor().save_pretrained(broken)
    weights = load_file(broken / "model.safetensors")
    weights["classifier.0.weight"][0, 0] = torch.nan
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(PublishError, match=r"fails in a fresh process without the package:(.|\n)*AssertionError"):
        script.main([str(broken), "--repo_id", "org/x", "--dry_run"])


def test_snippets_are_found(tmp_path):
    (tmp_path / "README.md").write_text(
        "---\nlicense: mit\n---\n```python\na = 1\n```\n\n```sh\nno\n```\n```python\nb\n```"
    )
    assert check.read_snippets(tmp_path) == ["a = 1\n", "b\n"]
