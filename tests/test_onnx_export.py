"""ONNX files: ONNX Runtime, without this package, computes what torch computes."""

import json
import sys

import numpy as np
import onnx
import pytest
import torch
from helpers import (
    CHUNK,
    RATE,
    ROOT,
    WITHOUT_PACKAGE,
    assert_near,
    import_script,
    micro_config,
    run_fresh,
    settle,
    write_tone,
)

from mulap_hf import MulapAudioModel, MulapFeatureExtractor, MulapForAudioClassification, onnx_export
from mulap_hf.errors import MissingPackageError, ModelError, MulapError
from mulap_hf.onnx_export import export_onnx, open_session

SCRIPT = ROOT / "training" / "export_onnx.py"
INT8 = onnx.TensorProto.INT8
EIGHT_BITS = (INT8, onnx.TensorProto.UINT8)
LABELS = ["calm", "piano", "techno"]
# Every .npz of a folder through a model, by name of its arrays.
RUN = """
import sys, numpy, onnxruntime, pathlib
options = onnxruntime.SessionOptions()
options.log_severity_level = 3
session = onnxruntime.InferenceSession(sys.argv[1], options)
for path in pathlib.Path(sys.argv[2]).glob("*.in.npz"):
    outputs = session.run(None, dict(numpy.load(path)))
    numpy.savez(str(path).replace(".in.", ".out."), **dict(zip([o.name for o in session.get_outputs()], outputs)))
assert not {"torch", "transformers"} & set(sys.modules) and sys.modules["mulap_hf"] is None
"""


def make_waveform(samples: int, seed: int = 0) -> np.ndarray:
    """A chord in noise that swells: no chunk like another."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / RATE
    chord = sum(np.sin(2 * np.pi * frequency * time) for frequency in rng.uniform(100, 4000, 4)) / 8
    return (chord * np.linspace(0.1, 1, samples) + rng.normal(0, 0.01, samples)).astype(np.float32)


def make_inputs() -> dict[str, dict[str, np.ndarray]]:
    """Tracks shorter than a chunk, of one, of some and a rest; batches; batches with padding."""
    lengths = {"one sample": [1], "short": [CHUNK // 3], "chunk": [CHUNK], "rest": [5 * CHUNK // 2]}
    lengths |= {"batch": [3 * CHUNK] * 3, "padded": [CHUNK // 2, 2 * CHUNK + 7, 4 * CHUNK], "short batch": [7, 900]}
    extract = MulapFeatureExtractor()
    inputs = {
        name: extract([make_waveform(size) for size in sizes], sampling_rate=RATE, return_tensors="np")
        for name, sizes in lengths.items()
    }
    return {name: dict(each) for name, each in inputs.items()} | {
        # Left out, all of it is real.
        "no mask": {"input_values": np.stack([make_waveform(2 * CHUNK, seed) for seed in range(2)])},
        # Holes in a track, and sound in its padding.
        "holes": {
            "input_values": np.stack([make_waveform(4 * CHUNK, seed) for seed in range(2)]),
            "audio_attention_mask": np.repeat([[1, 0, 1, 1], [0, 1, 1, 0]], CHUNK, axis=1).astype(np.int32),
        },
    }


def run_file(path, folder) -> dict[str, dict[str, np.ndarray]]:
    """What a process with ONNX Runtime and numpy alone makes of `make_inputs`."""
    for name, arrays in make_inputs().items():
        np.savez(folder / f"{name}.in.npz", **arrays)
    result = run_fresh("-c", RUN, path, folder, env=WITHOUT_PACKAGE)
    assert result.returncode == 0, result.stderr
    return {name: dict(np.load(folder / f"{name}.out.npz")) for name in make_inputs()}


@torch.no_grad()
def run_torch(model, arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return model(**{name: torch.from_numpy(array) for name, array in arrays.items()})


def make_tagger(**overrides) -> MulapForAudioClassification:
    overrides = {"problem_type": "multi_label_classification", **overrides}
    return settle(MulapForAudioClassification(micro_config(id2label=dict(enumerate(LABELS)), **overrides)))


@pytest.fixture(scope="module")
def backbone() -> MulapAudioModel:
    return settle(MulapAudioModel(micro_config().audio_config))


@pytest.fixture(scope="module")
def check() -> list[np.ndarray]:
    return [make_waveform(3 * CHUNK, seed) for seed in range(3)]


def test_backbone(backbone, check, tmp_path, monkeypatch):
    """With products of spectra, which larger models take."""
    monkeypatch.setattr(onnx_export, "_FEW", 0)
    difference = export_onnx(backbone, tmp_path / "model.onnx", check, name="org/model")
    assert difference < 1e-5
    for name, outputs in run_file(tmp_path / "model.onnx", tmp_path).items():
        expected = run_torch(backbone, make_inputs()[name])
        assert list(outputs) == ["last_hidden_state", "pooler_output", "chunk_mask"]
        assert np.array_equal(outputs["chunk_mask"], expected.chunk_mask)
        assert_near(torch.from_numpy(outputs["last_hidden_state"]), expected.last_hidden_state)
        assert_near(torch.from_numpy(outputs["pooler_output"]), expected.pooler_output)
    model = onnx.load(tmp_path / "model.onnx")
    assert b"timbral" not in (tmp_path / "model.onnx").read_bytes()  # their filters are stored as spectra
    assert (model.ir_version, model.opset_import[0].version) == (8, 18)  # which ONNX Runtime 1.15 reads
    about = open_session(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    assert "mono float32 waveforms at 16000 Hz" in about.pop("preprocessing")
    assert about == {
        "source_model": "org/model",
        "sampling_rate": "16000",
        "chunk_length": "4800",
        "feature_size": str(backbone.config.feature_size),
        "quantization": "none",
    }


def test_tagger(check, tmp_path):
    model = make_tagger(classifier_head="musicnn")
    export_onnx(model, tmp_path / "tagger.onnx", check, opset=20)
    for name, outputs in run_file(tmp_path / "tagger.onnx", tmp_path).items():
        expected = run_torch(model, make_inputs()[name])
        for output in ("logits", "chunk_logits", "last_hidden_state", "pooler_output"):
            wanted = expected[output] if output in expected else model.audio_model(**_tensors(name))[output]
            assert_near(torch.from_numpy(outputs[output]), wanted.detach())
        assert np.allclose(outputs["probabilities"], expected.logits.sigmoid(), atol=1e-5)
        chunks = expected.chunk_logits.sigmoid() * expected.chunk_mask[:, :, None]
        assert np.allclose(outputs["chunk_probabilities"], chunks, atol=1e-5)
    about = open_session(tmp_path / "tagger.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(about["labels"]) == LABELS
    assert about["problem_type"] == "multi_label_classification"
    assert {entry.domain: entry.version for entry in onnx.load(tmp_path / "tagger.onnx").opset_import}[""] == 20


def _tensors(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(array) for key, array in make_inputs()[name].items()}


def test_kinds_of_outputs(check, tmp_path):
    classes, values = (make_tagger(problem_type=kind) for kind in ("single_label_classification", "regression"))
    export_onnx(classes, tmp_path / "classes.onnx", check)
    inputs = {"input_values": make_waveform(2 * CHUNK)[None]}
    (probabilities,) = open_session(tmp_path / "classes.onnx").run(["probabilities"], inputs)
    assert np.allclose(probabilities, run_torch(classes, inputs).logits.softmax(dim=-1), atol=1e-5)
    export_onnx(values, tmp_path / "values.onnx", check)
    names = [output.name for output in open_session(tmp_path / "values.onnx").get_outputs()]
    assert names == ["logits", "chunk_logits", "last_hidden_state", "pooler_output", "chunk_mask"]


def test_a_tone_in_silence(backbone, check, tmp_path):
    """80 dB between the loudest band and the others: where a Fourier transform shows how exact it is."""
    export_onnx(backbone, tmp_path / "model.onnx", check)
    tone = np.sin(2 * np.pi * 1000 * np.arange(2 * CHUNK) / RATE).astype(np.float32)
    session = open_session(tmp_path / "model.onnx")
    for waveform in (tone, np.zeros_like(tone)):
        (features,) = session.run(["pooler_output"], {"input_values": waveform[None]})
        assert_near(
            torch.from_numpy(features), run_torch(backbone, {"input_values": waveform[None]}).pooler_output, 1e-4
        )


@pytest.mark.parametrize("how", ["static", "dynamic"])
def test_quantized(how, backbone, check, tmp_path):
    path = tmp_path / "model.onnx"
    music = [make_waveform(5 * CHUNK, seed) for seed in range(8)]
    difference = export_onnx(backbone, path, check, quantize=how, calibration=music)
    assert 1e-4 < difference < 0.03
    (scan,) = (node for node in onnx.load(path).graph.node if node.op_type == "Scan")
    body = scan.attribute[0].g if scan.attribute[0].name == "body" else scan.attribute[1].g
    weights = {each.name.removeprefix("chunk/audio_model.musicnn."): each for each in body.initializer}
    quantized = sorted(name for name, each in weights.items() if each.data_type in EIGHT_BITS)
    shapes = [list(weights[name].dims) for name in quantized if "weight" in name and weights[name].dims]
    assert [shape for shape in shapes if len(shape) > 1] == [[4, 1, 16, 7], [4, 1, 9, 7]]  # the tall ones, no other
    assert open_session(path).get_modelmeta().custom_metadata_map["quantization"] == how
    if how == "static":  # two products of bytes fit in 16 bits, where processors without VNNI add them
        signed = [onnx.numpy_helper.to_array(weights[name]) for name in quantized if weights[name].data_type == INT8]
        largest = max(int(np.abs(array.astype(int)).max()) for array in signed if array.ndim > 1)
        assert 2 * 255 * largest <= 2**15 - 1


def test_above_the_tolerance_no_file_is_left(backbone, check, tmp_path):
    with pytest.raises(
        ModelError, match=r"differ from those of torch by .* exceeds the tolerance 0.0e\+00; no file was written"
    ):
        export_onnx(backbone, tmp_path / "model.onnx", check, tolerance=0)
    assert not list(tmp_path.iterdir())


def test_calibrated_on_quieter_music(backbone, check, tmp_path):
    """Input that is louder than the calibration audio is clipped; the check detects it."""
    with pytest.raises(ModelError, match="calibrate with more"):
        export_onnx(
            backbone, tmp_path / "model.onnx", check, quantize="static", calibration=[1e-4 * check[0]], tolerance=0.03
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quantize": "static"}, r"no calibration audio has the length of a chunk \(4800 samples\)"),
        ({"quantize": "static", "calibration": [np.zeros(100, np.float32)]}, "no calibration audio"),
        ({"opset": 17}, "opset 17 is not supported; choose one from 18 to"),
        ({"check": []}, "no audio to compare"),
        ({"output": "missing/model.onnx"}, "missing does not exist; make the folder first"),
    ],
)
def test_refused(arguments, message, backbone, check, tmp_path):
    output = tmp_path / arguments.pop("output", "model.onnx")
    with pytest.raises(ModelError, match=message):
        export_onnx(backbone, output, **{"check": check, **arguments})
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def script():
    return import_script(SCRIPT)


def test_script(script, tmp_path, capsys):
    make_tagger().save_pretrained(tmp_path / "my tagger")
    for index in range(3):
        write_tone(tmp_path / "music" / f"{index}.wav", seconds=2.0, rate=44100, channels=2, seed=index)
    output = tmp_path / "tagger.onnx"
    arguments = ["--model", tmp_path / "my tagger", "--output", output, "--check", tmp_path / "music"]
    arguments += ["--quantize", "static", "--calibration", tmp_path / "music", "--tolerance", "0.2"]
    script.main([str(argument) for argument in arguments])
    assert f"wrote {output} (" in (printed := capsys.readouterr().out)
    assert "its outputs differ from torch by at most" in printed
    about = open_session(output).get_modelmeta().custom_metadata_map
    assert (about["source_model"], about["quantization"]) == ("my tagger", "static")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "{}/nothing", "--output", "{}/model.onnx"], "found neither as a folder nor on the Hub"),
        (["--model", "{}/bert", "--output", "{}/model.onnx"], "bert: cannot be loaded: Error no file named"),
        (["--model", "{}/bert", "--output", "{}/there.onnx"], "there.onnx exists; pass --overwrite"),
        (["--model", "{}/bert", "--output", "{}/model.onnx", "--quantize", "static"], "require each other"),
        (["--model", "{}/bert", "--output", "{}/model.onnx", "--calibration", "{}"], "require each other"),
    ],
)
def test_script_refuses(arguments, message, script, tmp_path):
    (tmp_path / "there.onnx").touch()
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(MulapError, match=message):
        script.main([argument.format(tmp_path) for argument in arguments])


def test_missing_extra(script, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "mulap_hf.onnx_export")
    with pytest.raises(MissingPackageError, match=r'not installed .*onnxruntime.*: pip install "mulap-hf\[onnx\]"'):
        script.main(["--model", "any", "--output", str(tmp_path / "model.onnx")])
