"""Published checkpoints: the golden forward pass, the real MusiCNN, and what does not fit."""

import shutil

import pytest
import torch
import yaml
from helpers import GOLDEN, ROOT, assert_near, errors_of, run
from safetensors.torch import load_file
from torch.nn import functional as F

from mulap_hf import MulapForAudioClassification, MulapForPreTraining, load_audio
from mulap_hf.conversion import convert_mulap, convert_musicnn, read_checkpoint
from mulap_hf.errors import ModelError
from mulap_hf.modeling_mulap_losses import mam_loss

SCRIPT = ROOT / "training" / "convert_checkpoint.py"
CHECKPOINT, CONFIG = GOLDEN / "best_model.pth.tar", GOLDEN / "config.yaml"


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "outputs.safetensors")


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> MulapForPreTraining:
    """By the command line, then loaded as a user would."""
    output = tmp_path_factory.mktemp("converted") / "mulap"
    result = run(SCRIPT, "mulap", "--checkpoint", CHECKPOINT, "--config", CONFIG, "--output", output)
    assert result.returncode == 0, result.stderr
    assert "9 weights of the checkpoint have no place in the model" in result.stdout
    assert "bert.encoder.c_layer.0.bioutput.q_dense1.weight" in result.stdout
    return MulapForPreTraining.from_pretrained(output)


@torch.no_grad()
def test_golden_forward_pass(converted, golden):
    text = {"input_ids": golden["text_input_ids"], "attention_mask": golden["text_attention_mask"]}
    mlm_labels = golden["mlm_labels"].masked_fill(golden["mlm_labels"] == -1, -100)
    output = converted(golden["input_audio"], **text, matching_labels=golden["atm_label"])
    audio = converted.audio_model(golden["input_audio"])
    real = golden["text_attention_mask"].bool()
    pairs = {
        "chunk_features": audio.last_hidden_state,
        "global_feature": audio.pooler_output[:, None],
        "audio_last_hidden_state": output.audio_last_hidden_state,
        "audio_pooled": output.audio_pooler_output,
        "text_pooled": output.text_pooler_output,
        "atm_logits": output.matching_logits,
        "atm_loss": output.matching_loss[None],
        "mlm_loss": converted(golden["input_audio"], **text, mlm_labels=mlm_labels).mlm_loss[None],
    }
    for name, value in pairs.items():
        assert_near(value, golden[name], 1e-4)
    for name, value in {
        "text_last_hidden_state": output.text_last_hidden_state,
        "mlm_logits": output.mlm_logits,
    }.items():
        assert_near(value[real], golden[name][real], 1e-4)
    assert_near(output.mam_predictions, golden["audio_predictions"][:, 1:], 1e-4)
    masked = golden["audio_mask_labels"][:, 1:] == 1
    loss = mam_loss("mse", output.mam_predictions, audio.last_hidden_state, masked)
    assert_near(loss[None], golden["mam_loss_unmasked_inputs"], 1e-4)


@torch.no_grad()
def test_real_musicnn(reference, tmp_path):
    folder = reference / "musicnn"
    result = run(
        SCRIPT, "musicnn", "--checkpoint", folder / "musicnn_mtat.pth", "--labels", folder / "tags.txt",
        "--output", tmp_path / "tagger",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    model = MulapForAudioClassification.from_pretrained(tmp_path / "tagger")
    expected = load_file(folder / "expected.safetensors")
    output = model(expected["chunks"])
    assert_near(model.audio_model(expected["chunks"]).last_hidden_state[:, 0], expected["chunk_features"], 1e-4)
    assert_near(output.logits.sigmoid(), expected["tag_probabilities"], 1e-4)
    waveform = torch.from_numpy(load_audio(folder / "example.mp3"))
    top = model(waveform[None]).logits[0].topk(5).indices
    assert [model.config.id2label[index.item()] for index in top] == ["techno", "electronic", "synth", "fast", "beat"]


def musicnn_checkpoint(path, labels=7, hidden=20):
    """A tagger in Won et al.'s own names, from the published MuLaP's backbone."""
    prefix = "audio_backbone.feature_extractor."
    weights = {k.removeprefix(prefix): v for k, v in read_checkpoint(CHECKPOINT).items() if k.startswith(prefix)}
    generator = torch.Generator().manual_seed(0)
    head = {
        "dense1.weight": (hidden, 1506),
        "dense1.bias": (hidden,),
        "dense2.weight": (labels, hidden),
        "dense2.bias": (labels,),
    }
    weights |= {name: torch.randn(shape, generator=generator) for name, shape in head.items()}
    weights |= {
        f"bn.{name}": torch.rand(hidden, generator=generator)
        for name in ("weight", "bias", "running_mean", "running_var")
    }
    weights["bn.num_batches_tracked"] = torch.tensor(3)
    torch.save(weights, path)
    return weights


@torch.no_grad()
def test_musicnn_head_by_hand(tmp_path):
    weights = musicnn_checkpoint(tmp_path / "tagger.pth")
    (tmp_path / "tags.txt").write_text("a\nb\nc\nd\ne\nf\ng\n\n")
    converted = convert_musicnn(tmp_path / "tagger.pth", tmp_path / "tags.txt")
    assert converted.unused == []
    assert list(converted.model.config.id2label.values()) == list("abcdefg")
    features = torch.randn(3, 1506, generator=torch.Generator().manual_seed(1))
    hidden = F.linear(features, weights["dense1.weight"], weights["dense1.bias"])
    norm = [weights[f"bn.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    hidden = F.relu(F.batch_norm(hidden, *norm))
    expected = F.linear(hidden, weights["dense2.weight"], weights["dense2.bias"])
    torch.testing.assert_close(converted.model.classifier(features), expected)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("bert.text.hidden_size", 32, r"text_layers.0.*is \(48, 48\) in the file, \(32, 32\) by the configuration"),
        ("bert.audio.num_hidden_layers", 4, "missing: the checkpoint is of another model"),
        ("audio.feature_extractor_type", "openl3", "feature_extractor_type is 'openl3'"),
        ("bert.text.vocab_size", None, "vocab_size is missing"),
        ("audio_objective", "nce", "audio_objective is 'nce'"),
        ("bert.text.num_attention_heads", 7, r"config.yaml: text_config.hidden_size=48 must be a multiple"),
        ("bert.text.hidden_act", "nope", r"config.yaml: hidden_act 'nope' is not an activation"),
    ],
)
def test_settings_that_do_not_fit(setting, value, message, tmp_path):
    content = yaml.safe_load(CONFIG.read_text())
    *sections, name = setting.split(".")
    target = content["model_config"]
    for section in sections:
        target = target[section]
    target[name] = value
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ModelError, match=message):
        convert_mulap(CHECKPOINT, tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "not a readable YAML"),
        (b"caf\xe9: 1", r"bad.yaml: cannot be read as text in UTF-8"),
        (None, r"bad.yaml: .* No such file"),
    ],
)
def test_config_files_that_cannot_be_read(content, message, tmp_path):
    if content is not None:
        (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        convert_mulap(CHECKPOINT, tmp_path / "bad.yaml")


def test_checkpoints_that_cannot_be_read(tmp_path):
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "pickled.pth")  # would run code on loading
    (tmp_path / "noise.pth").write_bytes(b"noise")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    messages = {
        "none": "the file does not exist",
        "pickled": "weights_only=True",
        "noise": "not a PyTorch checkpoint",
        "empty": "holds no state dict",
    }
    for name, message in messages.items():
        with pytest.raises(ModelError, match=f"{name}.pth: .*{message}"):
            read_checkpoint(tmp_path / f"{name}.pth")


def test_taggers_that_do_not_fit(tmp_path):
    weights = musicnn_checkpoint(tmp_path / "tagger.pth", labels=7)
    tags = tmp_path / "tags.txt"

    def refused(message: str, checkpoint=tmp_path / "tagger.pth"):
        with pytest.raises(ModelError, match=message):
            convert_musicnn(checkpoint, tags)

    refused("tags.txt: .* No such file")
    tags.write_bytes(b"caf\xe9\n")
    refused("tags.txt: cannot be read as text in UTF-8")
    tags.write_text("a\nb\n")
    refused("2 labels for a tagger with 7 outputs")
    refused("no 'dense1.weight'", CHECKPOINT)
    weights["spec.mel_scale.fb"] *= 2
    torch.save(weights, tmp_path / "tagger.pth")
    tags.write_text("\n".join("abcdefg"))
    refused("another log-mel")


def test_interpolations(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG.read_text() + "data_root: ${env.base_dir}/data\n")
    assert convert_mulap(CHECKPOINT, tmp_path / "config.yaml").recomputed == []


def saved(weights: dict[str, torch.Tensor], path, key: str | None = "state_dict", **others):
    torch.save(weights if key is None else {key: weights, **others}, path)
    return path


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    return torch.load(CHECKPOINT, weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def plain() -> dict[str, torch.Tensor]:
    return convert_mulap(CHECKPOINT, CONFIG).model.state_dict()


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("module.", "state_dict"),  # DataParallel
        ("_orig_mod.", None),  # torch.compile
        ("model.", "state_dict"),  # Lightning, by the attribute that holds the network
        ("net.", "state_dict"),
        ("tagger.network._orig_mod.", "state_dict"),
        ("module.model._orig_mod.", "model_state_dict"),
        ("", "model"),
    ],
)
def test_prefixes_that_training_leaves(prefix, key, published, plain, tmp_path):
    weights = {f"{prefix}{name}": value for name, value in published.items()} | {"loss.weight": torch.ones(2)}
    converted = convert_mulap(saved(weights, tmp_path / "wrapped.ckpt", key), CONFIG)
    state = converted.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in plain.items())
    assert "loss.weight" in converted.unused


def test_a_compiled_part(published, plain, tmp_path):
    inside = {
        name.replace("feature_extractor.", "feature_extractor._orig_mod."): published[name] for name in published
    }
    state = convert_mulap(saved(inside, tmp_path / "inside.ckpt"), CONFIG).model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in plain.items())


def test_two_networks_in_one_checkpoint(published, tmp_path):
    both = {f"{prefix}{name}": value for prefix in ("model.", "ema.") for name, value in published.items()}
    with pytest.raises(ModelError, match=r"holds 2 networks, named 'model.', 'ema.': save one of them alone"):
        convert_mulap(saved(both, tmp_path / "both.ckpt"), CONFIG)
    twice = published | {f"module.{name}": value for name, value in published.items()}
    with pytest.raises(ModelError, match="holds a network twice"):
        convert_mulap(saved(twice, tmp_path / "twice.ckpt"), CONFIG)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype, published, plain, tmp_path):
    """Weights are those of the file; the log-mel is computed anew, because rounded filters change every embedding."""
    half = {name: value.to(dtype) if value.is_floating_point() else value for name, value in published.items()}
    converted = convert_mulap(saved(half, tmp_path / "half.pth"), CONFIG)
    assert converted.recomputed == ["audio_model.log_mel.window", "audio_model.log_mel.mel_filters"]
    for name, value in converted.model.state_dict().items():
        expected = plain[name] if "log_mel" in name or not value.is_floating_point() else plain[name].to(dtype).float()
        torch.testing.assert_close(value, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_buffers_that_can_be_computed(how, published, plain, tmp_path):
    rest = {name: value for name, value in published.items() if "num_batches_tracked" not in name}
    for name in ("spec.spectrogram.window", "spec.mel_scale.fb"):
        del rest[f"audio_backbone.feature_extractor.{name}"]
        if how == "empty":  # as older torchaudio saves filters that it has not used yet
            rest[f"audio_backbone.feature_extractor.{name}"] = torch.empty(0)
    converted = convert_mulap(saved(rest, tmp_path / "rest.pth"), CONFIG)
    state = converted.model.state_dict()
    assert {name for name in plain if "log_mel" in name or "num_batches_tracked" in name} == set(converted.recomputed)
    for name, value in plain.items():
        if "num_batches_tracked" in name:
            assert state[name] == 0
        else:
            torch.testing.assert_close(state[name], value, rtol=0, atol=2e-5)
    del rest["audio_backbone.feature_extractor.spec_bn.running_var"]  # which nothing can compute
    with pytest.raises(ModelError, match=r"audio_model.musicnn.input_norm.running_var missing"):
        convert_mulap(saved(rest, tmp_path / "less.pth"), CONFIG)


def test_weights_that_are_not_finite(published, tmp_path):
    name = "audio_backbone.feature_extractor.spec_bn.bias"
    with pytest.raises(ModelError, match=r"audio_model.musicnn.input_norm.bias NaN or infinite"):
        convert_mulap(saved(published | {name: torch.tensor([torch.inf])}, tmp_path / "inf.pth"), CONFIG)


def test_a_tagger_from_lightning(tmp_path):
    weights = musicnn_checkpoint(tmp_path / "plain.pth")
    (tmp_path / "tags.txt").write_text("\n".join("abcdefg"))
    expected = convert_musicnn(tmp_path / "plain.pth", tmp_path / "tags.txt").model.state_dict()
    lightning = {f"net.{name}": value for name, value in weights.items() if "num_batches" not in name}
    path = saved(lightning, tmp_path / "lightning.ckpt", epoch=3, hyper_parameters={"lr": 1e-3})
    state = convert_musicnn(path, tmp_path / "tags.txt").model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in expected.items() if "num_batches" not in name)


def test_command_line_refuses(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    shutil.copy(CONFIG, tmp_path / "config.pth")
    (tmp_path / "empty").mkdir()
    options = ["--checkpoint", CHECKPOINT, "--config", CONFIG, "--output", tmp_path / "new"]
    full, no_checkpoint, no_tokenizer = errors_of(
        SCRIPT,
        ["mulap", *options, "--output", tmp_path / "full"],
        ["mulap", *options, "--checkpoint", tmp_path / "config.pth"],
        ["mulap", *options, "--tokenizer", tmp_path / "empty"],
    )
    assert "is not an empty folder" in full
    assert no_checkpoint.startswith(f"error: {tmp_path}/config.pth: not a PyTorch checkpoint")
    assert no_tokenizer.startswith(f"error: --tokenizer {tmp_path}/empty cannot be loaded: ")
    assert not (tmp_path / "new").exists()
