"""Recipes of transfer: the published settings, found by the corpus' name."""

import json

import pytest
from helpers import ROOT

from mulap_hf.data.corpora import CORPORA
from mulap_hf.training.arguments import TrainingArguments, parse_arguments
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
    return parse_arguments(kinds, ["--recipe", name], RECIPES / "transfer", "a script", "probe")[1]


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
    assert transfer.default_recipe(["--data", str(tmp_path), "--task", "emotion"]) == "emomusic"
    (tmp_path / "prepare.json").write_text(json.dumps({"settings": {"corpus": "gtzan"}}))
    assert transfer.default_recipe(["--data", str(tmp_path)]) == "probe"
    assert transfer.default_recipe(["--task", "style"]) == "probe"
    assert transfer.wants_fine_tuning(["--fine_tune"]) and transfer.wants_fine_tuning(["--fine_tune", "true"])
    assert not transfer.wants_fine_tuning(["--fine_tune", "false"]) and not transfer.wants_fine_tuning([])


def test_the_others_parse():
    assert probe("linear").head == "linear"
    kinds = (TransferArguments, FineTuneArguments, TrainingArguments)
    training = parse_arguments(kinds, [], RECIPES / "transfer", "a script", "fine_tune")[2]
    assert training.patience and training.output_dir == "outputs/transferred"
    compare = parse_arguments((CompareArguments, ProbeArguments), [], RECIPES / "compare", "a script", "small")[0]
    strategies = json.loads((RECIPES / "compare" / "strategies.json").read_text())
    assert set(compare.strategies) == {*strategies, "handcrafted"}
    assert set(compare.share_strategies) < set(strategies) and set(compare.conditions) <= set(DEGRADATIONS)


def test_each_task_alone_has_the_weights_of_no_other():
    strategies = json.loads((RECIPES / "compare" / "strategies.json").read_text())
    tiny = json.loads((RECIPES / "tiny.json").read_text())["config"]
    for task in ("mlm", "mam", "matching"):
        config = strategies[f"mulap-{task}"]["config"]
        weights = {name: config[f"{name}_loss_weight"] for name in ("mlm", "mam", "matching", "contrastive")}
        assert [name for name, weight in weights.items() if weight] == [task]
        assert {name for name in tiny if config[name] != tiny[name]} <= {f"{name}_loss_weight" for name in weights}
    # The paper's three tasks, without the contrastive loss by which the recipe aligns clips and texts beforehand.
    assert strategies["mulap-unaligned"]["config"] == tiny | {"contrastive_loss_weight": 0.0}
