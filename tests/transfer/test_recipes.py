"""Recipes of transfer: the published settings, found by the corpus' name."""

import json

import pytest
from helpers import ROOT

from mulap_hf import MulapConfig
from mulap_hf.arguments import Recipes, parse_arguments
from mulap_hf.data.corpora import CORPORA
from mulap_hf.pretraining.arguments import TrainingArguments
from mulap_hf.transfer.arguments import (
    CompareArguments,
    FineTuneArguments,
    ProbeArguments,
    RunArguments,
    TransferArguments,
)
from mulap_hf.transfer.degradations import DEGRADATIONS

RECIPES = ROOT / "training" / "recipes"
# Manco et al., 2022, section 3.3: hidden units, weight decay, batch size, most epochs.
PUBLISHED = {
    "magnatagatune": (512, 1e-3, 64, 300),
    "jamendo": (512, 0.0, 32, 200),
    "fma": (512, 1e-3, 64, 200),
    "nsynth": (512, 1e-3, 64, 200),
    "emomusic": (1024, 1e-2, 64, 200),
}


def probe(name: str) -> ProbeArguments:
    kinds = (TransferArguments, ProbeArguments, RunArguments)
    return parse_arguments(kinds, ["--recipe", name], "a script", Recipes(RECIPES / "transfer", "probe"))[1]


@pytest.mark.parametrize("corpus", PUBLISHED)
def test_published_settings(corpus):
    args = probe(corpus)
    assert (args.hidden_size, args.weight_decay, args.batch_size, args.max_epochs) == PUBLISHED[corpus]
    assert (args.head, args.learning_rate, args.patience, args.standardize) == ("mlp", 1e-3, 50, False)
    assert corpus in CORPORA  # transfer.py takes the recipe with the name that prepare.json has


def test_the_recipe_of_the_corpus_is_the_default(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "training"))
    import transfer

    (tmp_path / "prepare.json").write_text(json.dumps({"settings": {"corpus": "emomusic"}}))
    assert transfer.default_recipe(str(tmp_path)) == "emomusic"
    (tmp_path / "prepare.json").write_text(json.dumps({"settings": {"corpus": "gtzan"}}))
    assert transfer.default_recipe(str(tmp_path)) == transfer.default_recipe(None) == "probe"


@pytest.mark.parametrize(
    ("words", "fine_tune"),
    [([], False), (["--fine_tune"], True), (["--fine-tune=true"], True), (["--fine_tune", "no"], False)],
)
def test_fine_tuning_has_other_options(words, fine_tune, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "training"))
    import transfer

    with pytest.raises(SystemExit):
        transfer.main([*words, "--help"])
    text = capsys.readouterr().out
    assert ("--train_seconds" in text, "--plateau_patience" in text) == (fine_tune, not fine_tune)


def test_the_others_parse():
    assert probe("linear").head == "linear"
    kinds = (TransferArguments, FineTuneArguments, TrainingArguments)
    training = parse_arguments(kinds, [], "a script", Recipes(RECIPES / "transfer", "fine_tune"))[2]
    assert training.patience and training.output_dir == "outputs/transferred"
    strategies = json.loads((RECIPES / "compare" / "strategies.json").read_text())
    for recipe in ("small", "full"):
        compare = parse_arguments(
            (CompareArguments, ProbeArguments), [], "a script", Recipes(RECIPES / "compare", recipe)
        )[0]
        assert set(compare.strategies) < {*strategies, "handcrafted"}
        assert set(compare.share_strategies) < set(strategies) and set(compare.conditions) <= set(DEGRADATIONS)


def test_ablations_differ_from_the_recipe_in_loss_weights_alone():
    strategies = json.loads((RECIPES / "compare" / "strategies.json").read_text())
    tiny = json.loads((RECIPES / "tiny.json").read_text())["config"]
    parts = {"words": ["words"], "chunks": ["chunks"], "contrastive": ["contrastive"]}
    parts["fusion"] = ["mlm", "mam", "matching"]
    for name, losses in parts.items():
        off = {f"{loss}_loss_weight": 0.0 for loss in losses}
        assert strategies[f"mulap-without-{name}"] == {"recipe": "tiny", "config": tiny | off}
    off = dict.fromkeys(f"{loss}_loss_weight" for part in ("fusion", "words", "contrastive") for loss in parts[part])
    assert strategies["mulap-chunks"] == {"recipe": "tiny", "config": tiny | dict.fromkeys(off, 0.0)}  # audio alone
    for task in ("mlm", "mam", "matching"):  # of the paper, each alone
        config = MulapConfig.from_preset("tiny", **strategies[f"mulap-{task}"]["config"])
        losses = ("mlm", "mam", "matching", "contrastive", "words", "chunks")
        assert [loss for loss in losses if getattr(config, f"{loss}_loss_weight")] == [task]


def test_the_published_method_stays_selectable():
    """The paper's tasks and weights, without anything that was added."""
    strategies = json.loads((RECIPES / "compare" / "strategies.json").read_text())
    assert strategies["mulap-published"]["config"] == {} and not strategies["mulap-published"]["augment"]
    config = MulapConfig()
    assert (config.mlm_loss_weight, config.mam_loss_weight, config.matching_loss_weight) == (0.1, 4.0, 2.0)
    assert (config.projection_size, config.words_loss_weight, config.chunks_loss_weight) == (0, 0, 0)
    assert (config.mam_target, config.matching_negatives) == ("features", "given")
