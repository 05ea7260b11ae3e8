"""The main job as a real process: on the synthetic corpus, and on a folder of the user's."""

import json

import pytest
import torch
from helpers import CAPTIONS, ROOT, errors_of, run, run_without_package, write_tone
from huggingface_hub import ModelCard

from mulap_hf import MulapForAudioClassification, MulapForPreTraining, MulapProcessor
from mulap_hf.publishing.check import read_snippets

SCRIPT = ROOT / "training" / "pretrain.py"
LAUNCH = ["-m", "accelerate.commands.launch", "--cpu", SCRIPT]  # starts a new interpreter
QUICK = ["--batch_size", "4", "--log_steps", "1", "--num_workers", "0", "--cpu_threads", "1"]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """A described catalog with a broken file in it."""
    folder = tmp_path_factory.mktemp("catalog")
    rows = []
    for index in range(12):
        name = f"{index}.{('wav', 'flac', 'mp3')[index % 3]}"
        write_tone(folder / name, seconds=4, seed=index)
        mood = ("calm", "fast")[index % 2]
        rows.append({"file_name": name, "caption": f"{CAPTIONS[index % 5]} number {index}", "mood": mood})
    (folder / "broken.wav").write_bytes(b"RIFF")
    rows.append({"file_name": "broken.wav", "caption": "a broken file", "mood": "calm"})
    rows.append({"file_name": "missing.wav", "caption": "a missing file", "mood": "calm"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def printed_by_the_card(folder, tmp_path) -> list[str]:
    """What its snippets print of a song of 6 s, in a process that knows nothing of the package."""
    assert ModelCard.load(folder / "README.md").data.library_name == "transformers"
    for seed, name in enumerate(("song.mp3", "other.mp3")):
        write_tone(tmp_path / name, seconds=6, rate=44100, channels=2, seed=seed)
    result = run_without_package("\n".join(read_snippets(folder)), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_synthetic_corpus(tmp_path):
    output = tmp_path / "model"
    result = run(
        *LAUNCH, *QUICK, "--max_steps", "2", "--clip_seconds", "6", "--corpus_clips", "8", "--mam_probability", "0.5",
        "--corpus_dir", tmp_path / "corpus", "--output_dir", output,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [(row["split"], row["step"]) for row in rows] == [("train", 1), ("train", 2), ("validation", 2)]
    losses = ("loss", "mlm_loss", "mam_loss", "matching_loss", "contrastive_loss")
    assert all(row[name] > 0 for row in rows for name in losses)
    assert "mlm=" in result.stderr  # the bar shows the losses
    model = MulapForPreTraining.from_pretrained(output)
    processor = MulapProcessor.from_pretrained(output)
    assert model.config.text_config.vocab_size == len(processor.tokenizer)
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics == pytest.approx({name: rows[-1][name] for name in metrics}, rel=1e-4)
    assert set(metrics) >= {
        "mlm_accuracy",
        "mlm_perplexity",
        "mam_r2",
        "matching_auc",
        "effective_rank",
        "feature_std",
    }
    assert f"{metrics['mam_r2']:.3f}" in (output / "README.md").read_text()
    printed = printed_by_the_card(output, tmp_path)
    assert printed[0] == "742 2" and printed[3] == "torch.Size([1, 2, 742])"
    assert "'label': 'calm piano'" in printed[1] and "'path': 'other.mp3'" in printed[2]
    assert "![losses](training_report/losses.png)" in (output / "training_report.md").read_text()
    assert list(output.glob("trackers/**/events.out.tfevents.*"))
    settings = json.loads((output / "training_settings.json").read_text())
    assert settings["run"]["status"] == "finished"
    assert settings["run"]["pairs"] == {"train": 8, "validation": 64}
    assert not (output / ".lock").exists()


@pytest.mark.parametrize(
    ("recipe", "first", "later"),
    [
        ("muscall", "742 2", "torch.Size([1, 2, 742])"),
        ("simclr", "742 2", "torch.Size([1, 742])"),
        ("supervised", "'label': 'calm'", "{'start': 0.0, 'end': 3.0, 'scores': {"),
    ],
)
def test_other_objectives(catalog, tmp_path, recipe, first, later):
    output = tmp_path / "model"
    result = run(
        SCRIPT, *QUICK, "--recipe", recipe, "--train_data", catalog, "--validation_share", "0.3", "--max_steps",
        "2", "--clip_seconds", "3", "--label_column", "mood", "--output_dir", output,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    printed = printed_by_the_card(output, tmp_path)
    assert first in printed[0] and any(later in line for line in printed[1:])


def test_own_catalog_from_a_backbone(catalog, tmp_path):
    torch.manual_seed(3)
    from mulap_hf import MulapConfig

    tagger = MulapForAudioClassification(MulapConfig.from_preset("tiny"))
    tagger.save_pretrained(tmp_path / "tagger")
    result = run(
        SCRIPT, *QUICK, "--train_data", catalog, "--max_steps", "4", "--clip_seconds", "3",
        "--validation_share", "0.2", "--backbone", tmp_path / "tagger", "--learning_rate", "0",
        "--output_dir", tmp_path / "model",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert f"2 items were skipped; why: {tmp_path / 'model' / 'skipped.jsonl'}" in result.stdout
    skipped = [json.loads(line) for line in (tmp_path / "model" / "skipped.jsonl").read_text().splitlines()]
    reasons = {item["id"]: (item["reason"], item["detail"]) for item in skipped}
    assert reasons["broken.wav"][0] == "broken audio"
    assert "broken.wav: " in reasons["broken.wav"][1]
    assert reasons["missing.wav"][0] == "no such file"
    model = MulapForPreTraining.from_pretrained(tmp_path / "model")
    weights = tagger.audio_model.musicnn.timbral[0].conv.weight
    assert torch.equal(model.audio_model.musicnn.timbral[0].conv.weight, weights)

    again = run(SCRIPT, "--train_data", catalog, "--output_dir", tmp_path / "model")
    assert again.returncode != 0
    assert "holds a finished run: pass another --output_dir, or --overwrite_output" in again.stderr


def test_bad_arguments_say_what_to_fix(catalog, tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "corpus.json").write_text('{"version": 0}')
    (tmp_path / "empty").mkdir()
    usable = ["--train_data", catalog, "--validation_share", "0.2"]
    cases = [
        (["--train_data", tmp_path / "nowhere"], "does not exist"),
        (["--train_data", tmp_path / "empty"], "no table (metadata.csv with the columns file_name and caption"),
        ([*usable, "--backbone", tmp_path / "none"], "found neither as a folder nor on the Hub"),
        ([*usable, "--max_text_length", "99"], "--max_text_length 99 is longer than the 64 tokens"),
        (["--corpus_dir", tmp_path / "corpus"], "holds a corpus with other settings"),
    ]
    runs = ([*options, "--output_dir", f"out{number}"] for number, (options, _) in enumerate(cases))
    lines = errors_of(SCRIPT, *runs, cwd=tmp_path)
    for line, (_, message) in zip(lines, cases, strict=True):
        assert line.startswith("error: ") and message in line
    assert lines[-1].startswith("error: --corpus_dir: ")


def test_help_explains_every_option_with_its_default():
    result = run(SCRIPT, "--help")
    assert result.returncode == 0
    text = " ".join(result.stdout.split())
    tiny = json.loads((ROOT / "training" / "recipes" / "tiny.json").read_text())
    assert "--max_steps INT" in text
    assert f"Optimizer steps. Default: {tiny['max_steps']}." in text  # the recipe's
