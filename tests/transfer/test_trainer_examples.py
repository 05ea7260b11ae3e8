"""training/examples: the scripts for transformers.Trainer, from their options to a published model."""

import json
import math
import re

import pytest
from helpers import ROOT, import_script, micro_config, run, run_without_package, save_both, settle, write_tone
from hub_server import HubServer
from huggingface_hub import ModelCard
from tones import make_rows
from transformers import AutoProcessor

from mulap_hf import MulapForPreTraining
from mulap_hf.configuration_mulap import PRESETS

EXAMPLES = ROOT / "training" / "examples"
USE = """
import sys
from huggingface_hub import hf_hub_download
from transformers import pipeline
tag = pipeline("audio-classification", model=sys.argv[1], trust_remote_code=True)
print("FOUND", [tag(file)[0]["label"] for file in sys.argv[2:]])
exec(open("snippet.py").read())
"""


def test_scripts_are_short():
    for script in EXAMPLES.glob("*.py"):
        assert script.read_text().count("\n") < 60, script.name


@pytest.fixture
def classes(tmp_path):
    """A folder of class folders: low and high tones."""
    for row in make_rows("train", 36):
        if row["register"] != "middle":
            path = tmp_path / "my_notes" / row["register"] / row["audio"]["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(row["audio"]["bytes"])
    return tmp_path / "my_notes"


def test_fine_tuned_published_and_evaluated(classes, processor, tmp_path, monkeypatch, capsys):
    model = settle(MulapForPreTraining(micro_config()))
    base = save_both(model, processor, tmp_path / "base")
    options = ["--model", base, "--data", classes, "--output_dir", "tuned"]
    options += ["--epochs", 20, "--push_to_hub", "org/tagger"]
    with HubServer() as hub:
        done = run(EXAMPLES / "fine_tune.py", *options, cwd=tmp_path, env=hub.environment(tmp_path / "home"))
        assert done.returncode == 0, done.stderr
        files = {name: file.data for name, file in hub.repositories["model", "org/tagger"].find("main").files.items()}
        card = ModelCard(files["README.md"].decode())
        assert card.data.pipeline_tag == "audio-classification" and card.data.library_name == "transformers"
        assert "Fine-tuned by `transformers.Trainer`" in card.text
        (tmp_path / "snippet.py").write_text(re.search(r"```python\n(.*?)```", card.text, re.DOTALL)[1])
        write_tone(tmp_path / "song.mp3", seconds=1)
        songs = [next((classes / name).iterdir()) for name in ("high", "low")]
        used = run_without_package(USE, "org/tagger", *songs, cwd=tmp_path, env=hub.environment(tmp_path / "user"))
    assert used.returncode == 0, used.stderr
    assert "FOUND ['high', 'low']" in used.stdout
    assert "'scores'" in used.stdout  # of the card's snippet

    monkeypatch.chdir(tmp_path)
    found = import_script(EXAMPLES / "evaluate.py").main(["--model", "tuned", "--data", str(classes)])
    assert found["eval_accuracy"] >= 0.5
    assert f"accuracy: {found['eval_accuracy']:.4g}\n" in capsys.readouterr().out


def test_pre_trained_with_all_terms(tmp_path, monkeypatch, capsys):
    micro = micro_config()
    small = {
        name: config.to_diff_dict()
        for name, config in (("text_config", micro.text_config), ("audio_config", micro.audio_config))
    }
    monkeypatch.setitem(PRESETS, "tiny", {**micro.to_diff_dict(), **small})
    rows = make_rows("train", 24)
    lines = ["path,caption"]
    for row in rows:
        (tmp_path / row["audio"]["path"]).write_bytes(row["audio"]["bytes"])
        lines.append(f'{row["audio"]["path"]},"{row["caption"]}"')
    (tmp_path / "catalog.csv").write_text("\n".join(lines) + "\n")
    options = ["--data", tmp_path / "catalog.csv", "--output_dir", tmp_path / "out"]
    options += ["--max_steps", 10, "--batch_size", 6]
    import_script(EXAMPLES / "pretrain.py").main(list(map(str, options)))
    history = json.loads((tmp_path / "out" / "checkpoint-10" / "trainer_state.json").read_text())["log_history"]
    scores = [entry for entry in history if "eval_matching_accuracy" in entry]
    assert len(scores) == 10 and all(math.isfinite(entry["eval_loss"]) for entry in scores)
    model = MulapForPreTraining.from_pretrained(tmp_path / "out")
    assert {"contrastive_loss", "words_loss", "chunks_loss", "mlm_loss", "mam_loss", "matching_loss"} == set(
        model.config.loss_weights()
    )
    assert AutoProcessor.from_pretrained(tmp_path / "out").tokenizer.mask_token_id is not None
