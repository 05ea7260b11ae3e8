"""Flags over recipes over defaults, and what is said of mistakes in them."""

import json

import pytest
from helpers import ROOT

from mulap_hf import MulapConfig
from mulap_hf.arguments import Recipes, parse_arguments, read_recipe
from mulap_hf.configuration_mulap import PRESETS
from mulap_hf.errors import DataError
from mulap_hf.pretraining import arguments
from mulap_hf.pretraining.arguments import PRETRAINING

RECIPES = ROOT / "training" / "recipes"


def parse(*words, recipes=RECIPES):
    return parse_arguments(PRETRAINING, [str(word) for word in words], "a script", Recipes(recipes, "tiny"))


def write(folder, **options):
    path = folder / "mine.json"
    path.write_text(json.dumps(options))
    return path


def test_flags_win_over_the_recipe_and_the_recipe_over_the_defaults(tmp_path):
    recipe = write(
        tmp_path, max_steps=7, learning_rate=1e-5, whole_words=True, config={"fusion": "sum"}, text_model=None
    )
    model, data, training = parse("--recipe", recipe, "--max_steps", "9")
    assert (training.max_steps, training.learning_rate, data.whole_words) == (9, 1e-5, True)
    assert model.config_fields() == {"fusion": "sum"}
    assert (training.batch_size, model.text_model) == (24, None)  # the dataclass'
    assert not parse("--recipe", recipe, "--whole_words", "false")[1].whole_words


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.json")), ids=lambda path: path.stem)
def test_recipes_make_a_model_configuration(path):
    model, _, training = parse("--recipe", path.stem)
    assert training.num_epochs is None or path.stem.startswith("published")
    MulapConfig.from_preset(model.preset, **model.config_fields())


def test_the_published_recipe_is_the_paper():
    model, data, training = parse("--recipe", "published")
    config = MulapConfig.from_preset(model.preset, **model.config_fields())
    assert (config.mlm_loss_weight, config.mam_loss_weight, config.matching_loss_weight) == (0.1, 4.0, 2.0)
    assert (config.projection_size, config.matching_negatives, config.fusion, config.mam_loss) == (
        0,
        "given",
        "mul",
        "mse",
    )
    assert (model.text_model, model.num_text_layers) == ("bert-base-uncased", 6)
    assert (data.clip_seconds, data.crop, data.max_text_length) == (20.0, "first", 64)
    assert (data.mlm_probability, data.mam_probability, data.mismatch_probability) == (0.15, 0.15, 0.5)
    assert (training.num_epochs, training.batch_size, training.learning_rate) == (100, 64, 1e-4)
    assert (training.warmup_share, training.schedule, training.weight_decay) == (0.1, "linear", 0.01)
    released = {**read_recipe(RECIPES / "published-as-released.json", PRETRAINING)}
    assert released.pop("config") == {"mam_target": "zeros", "global_token": "all"}
    assert released == read_recipe(RECIPES / "published.json", PRETRAINING)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_step": 7}, r"mine\.json: 'max_step' does not exist; did you mean 'max_steps'\?"),
        ([1], r"mine\.json: a recipe is a JSON object of options, not list"),
    ],
)
def test_mistakes_in_a_recipe(tmp_path, options, message):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(options))
    with pytest.raises(DataError, match=message):
        parse("--recipe", path)


def test_a_wrong_value_names_the_recipe(tmp_path, capsys):
    with pytest.raises(SystemExit):
        parse("--recipe", write(tmp_path, schedule="square"))
    error = capsys.readouterr().err
    assert "mine.json: error: argument --schedule: invalid choice: 'square'" in error


def test_an_unknown_recipe_lists_those_there_are():
    with pytest.raises(DataError, match=r"--recipe huge: no such file; there are .*published.*tiny"):
        parse("--recipe", "huge")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"fusoin": "sum"}', "--config: 'fusoin' does not exist; did you mean 'fusion'"),
        ("{", "not JSON"),
        ("[]", "not a JSON object of fields"),
        ('{"audio_config": {"num_mel_bands": 64}}', "--config: audio_config: 'num_mel_bands' does not exist; did you"),
        ('{"text_config": null}', "--config: text_config is None, not a JSON object of fields"),
    ],
)
def test_mistakes_in_config(config, message):
    with pytest.raises(DataError, match=message):
        parse("--config", config)[0].config_fields()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--log_steps", "0"], "--log_steps 0: at least 1"),
        (["--clip_seconds", "-1"], r"--clip_seconds -1\.0: more than 0"),
        (["--num_workers", "-1"], "--num_workers -1: not negative"),
        (["--warmup_share", "2"], r"--warmup_share 2\.0: between 0 and 1"),
    ],
)
def test_numbers_out_of_range(words, message):
    with pytest.raises(DataError, match=message):
        parse(*words)


@pytest.mark.parametrize("words", [["--recip", "published"], ["--lerning_rate", "1"], ["--train_data", "a", "b"]])
def test_words_that_are_no_options_are_named(words, capsys):
    with pytest.raises(SystemExit):
        parse(*words)
    assert f"unrecognized arguments: {words[-1] if len(words) > 2 else ' '.join(words)}" in capsys.readouterr().err


def test_steps_count_instead_of_the_epochs_of_a_recipe():
    assert parse("--recipe", "published", "--max_steps", "10")[2].num_epochs is None


def test_presets_are_those_of_the_configuration():
    assert sorted(PRESETS) == arguments.PRESETS
