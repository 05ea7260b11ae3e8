"""handler.py of a published folder: what an Inference Endpoint answers, and what it refuses."""

import base64
import importlib.util
import inspect
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers import CHUNK, RATE, ROOT, micro_config, save_both, settle, write_tone

from mulap_hf import (
    MulapAudioClassificationPipeline,
    MulapAudioModel,
    MulapFeatureExtractionPipeline,
    MulapForAudioClassification,
    MulapModel,
    MulapZeroShotAudioClassificationPipeline,
    configuration_mulap,
    load_audio,
)

ENDPOINT = ROOT / "src" / "mulap_hf" / "publishing" / "endpoint"
LABELS = ["piano", "guitar", "techno"]
FORMATS = {"wav": "WAV", "flac": "FLAC", "ogg": "OGG", "mp3": "MP3"}


def publish(model, processor, folder: Path) -> Path:
    save_both(model, processor, folder)
    for file in ENDPOINT.iterdir():
        shutil.copy(file, folder)
    return folder


def load_handler(folder: Path):
    """The module, and the handler that it makes of the folder."""
    spec = importlib.util.spec_from_file_location("endpoint_handler", folder / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, module.EndpointHandler(str(folder))


@pytest.fixture(scope="module")
def base_model() -> MulapModel:
    return settle(MulapModel(micro_config(projection_size=16)))


@pytest.fixture(scope="module")
def classifier() -> MulapForAudioClassification:
    labels = {"id2label": dict(enumerate(LABELS)), "problem_type": "multi_label_classification"}
    return settle(MulapForAudioClassification(micro_config(**labels)))


@pytest.fixture(scope="module")
def base(base_model, processor, tmp_path_factory):
    return load_handler(publish(base_model, processor, tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def tagger_folder(classifier, processor, tmp_path_factory) -> Path:
    return publish(classifier, processor, tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module")
def tagger(tagger_folder):
    return load_handler(tagger_folder)[1]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """The same second of mono audio at the model's rate, as a file of each kind."""
    folder = tmp_path_factory.mktemp("files")
    for kind in FORMATS:
        write_tone(folder / f"tone.{kind}")
    return {kind: (folder / f"tone.{kind}").read_bytes() for kind in FORMATS}


@pytest.fixture(scope="module")
def waveform(files) -> torch.Tensor:
    return torch.from_numpy(load_audio(files["wav"]))


def encode(samples: np.ndarray, rate: int = RATE, kind: str = "WAV", **options) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, format=kind, **options)
    return buffer.getvalue()


def silence(kind: str, seconds: int, rate: int = 8000) -> bytes:
    buffer = io.BytesIO()
    with sf.SoundFile(buffer, "w", rate, 1, format=kind) as file:
        for _ in range(seconds):
            file.write(np.zeros(rate, dtype=np.float32))
    return buffer.getvalue()


def wav(rate: int = RATE, channels: int = 1, announced: int | None = None, samples: int = RATE) -> bytes:
    """A wav whose header says what it is told to."""
    content = np.arange(samples * channels, dtype="<i2").tobytes()
    announced = len(content) if announced is None else announced
    header = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * channels * 2 % 2**32, channels * 2, 16)
    size = struct.pack("<I", (36 + announced) % 2**32)
    return b"RIFF" + size + b"WAVEfmt " + header + b"data" + struct.pack("<I", announced) + content


def with_flac_length(flac: bytes, samples: int) -> bytes:
    """The same stream under a header that announces so many samples; 0 = unknown, as after writing to a pipe."""
    field = int.from_bytes(flac[18:26], "big")  # of STREAMINFO, rate to length; the length is its last 36 bits
    return flac[:18] + (field >> 36 << 36 | samples).to_bytes(8, "big") + flac[26:]


def with_mp3_frames(mp3: bytes, frames: int) -> bytes:
    """The same stream under a header that announces so many frames of 576 samples."""
    at = mp3.index(b"Xing") + 8
    return mp3[:at] + frames.to_bytes(4, "big") + mp3[at + 4 :]


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_a_base_model_gives_the_track_embedding(base, base_model, files, waveform):
    answer = base[1]({"inputs": files["wav"]})
    with torch.no_grad():
        expected = base_model.audio_model(waveform[None]).pooler_output[0]
    assert answer == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-5)


def test_per_chunk_and_the_shared_space_reach_the_pipeline(base, base_model, files, waveform):
    chunks = base[1]({"inputs": files["wav"], "parameters": {"per_chunk": True}})
    shared = base[1]({"inputs": files["wav"], "parameters": {"space": "shared", "per_chunk": None}})
    with torch.no_grad():
        expected = base_model.get_audio_features(waveform[None])
    assert np.shape(chunks) == (RATE // CHUNK, base_model.config.audio_config.feature_size)
    assert np.array(chunks) == pytest.approx(expected.last_hidden_state[0].numpy(), rel=1e-4, abs=1e-5)
    assert shared == pytest.approx(expected.pooler_output[0].tolist(), abs=1e-5)


def test_a_base_model_scores_labels_of_the_request(base, base_model, processor, files, waveform):
    parameters = {"candidate_labels": LABELS, "hypothesis_template": "a {} piece"}
    answer = base[1]({"inputs": files["wav"], "parameters": parameters})
    tokens = processor(text=[f"a {label} piece" for label in LABELS])
    with torch.no_grad():
        logits = base_model(waveform[None], **tokens).logits_per_audio[0]
    expected = dict(zip(LABELS, logits.softmax(dim=0).tolist(), strict=True))
    assert {row["label"]: row["score"] for row in answer} == pytest.approx(expected, abs=1e-4)
    each = base[1]({"inputs": files["wav"], "parameters": {**parameters, "multi_label": True}})
    expected = dict(zip(LABELS, logits.sigmoid().tolist(), strict=True))
    assert {row["label"]: row["score"] for row in each} == pytest.approx(expected, abs=1e-4)


def test_a_classifier_gives_labels_and_scores_best_first(tagger, classifier, files, waveform):
    with torch.no_grad():
        output = classifier(waveform[None])
    scores = dict(zip(LABELS, output.logits[0].sigmoid().tolist(), strict=True))
    best = sorted(LABELS, key=scores.get, reverse=True)
    answer = tagger({"inputs": files["wav"], "parameters": {"top_k": 2}})
    assert [row["label"] for row in answer] == best[:2]
    assert [row["score"] for row in answer] == pytest.approx([scores[label] for label in best[:2]], abs=1e-4)
    chunks = tagger({"inputs": files["wav"], "parameters": {"per_chunk": True}})
    assert [chunk["end"] for chunk in chunks] == pytest.approx([0.3, 0.6, 0.9])
    first = dict(zip(LABELS, output.chunk_logits[0, 0].sigmoid().tolist(), strict=True))
    assert chunks[0]["scores"] == pytest.approx(first, abs=1e-4)


def test_every_form_of_the_same_audio_is_answered_alike(tagger, files, waveform):
    expected = tagger({"inputs": files["wav"]})
    stereo = waveform.numpy().repeat(2).reshape(-1, 2)
    clip = {"array": waveform.tolist(), "sampling_rate": RATE}
    same = [
        files["flac"],
        text(files["wav"]),
        base64.encodebytes(files["wav"]).decode(),  # in lines
        encode(stereo),
        wav_to_a_pipe(files["wav"]),
        with_flac_length(files["flac"], 0),
        clip,
        {"array": stereo.tolist(), "sampling_rate": RATE},
        {"array": stereo.T.tolist(), "sampling_rate": RATE},
    ]
    assert [scores(tagger({"inputs": item})) for item in same] == [pytest.approx(scores(expected), abs=1e-4)] * 9
    assert [scores(answer) for answer in tagger({"inputs": same})] == [pytest.approx(scores(expected), abs=1e-4)] * 9
    assert tagger({"inputs": [clip]}) == [tagger({"inputs": clip})]


def wav_to_a_pipe(content: bytes) -> bytes:
    """What ffmpeg writes where it cannot go back to fill in the length."""
    at = content.index(b"data") + 4
    return content[:at] + b"\xff\xff\xff\xff" + content[at + 4 :]


def scores(answer: list[dict]) -> dict[str, float]:
    return {row["label"]: row["score"] for row in answer}


def test_other_rates_are_resampled(tagger):
    def tone(rate: int) -> np.ndarray:
        return 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)

    expected = pytest.approx(scores(tagger({"inputs": encode(tone(RATE))})), abs=0.01)
    assert scores(tagger({"inputs": encode(tone(44100), 44100)})) == expected
    assert scores(tagger({"inputs": {"array": tone(44100).tolist(), "sampling_rate": 44100}})) == expected


def test_an_mp3_without_a_length_is_taken_whole(tagger):
    """Of such files libsndfile guesses the length from the first frame: here 28 s, after a start in silence."""
    noise = np.random.default_rng(0).normal(0, 0.2, 8 * RATE)
    samples = np.concatenate([np.zeros(2 * RATE), noise])
    content = encode(samples, kind="MP3", bitrate_mode="VARIABLE", compression_level=0.5)
    content = content[content.index(content[:2], 2) :]  # without the frame that tells it
    for inputs in (content, id3(b"More Info at") + content):
        chunks = tagger({"inputs": inputs, "parameters": {"per_chunk": True}})
        assert chunks[-1]["end"] == pytest.approx(10, abs=0.3)


def test_an_mp3_with_tags_tells_its_length(tagger, files):
    content = id3(b"a") + id3(b"b") + files["mp3"]
    assert len(tagger({"inputs": content})) == 3
    with pytest.raises(ValueError, match="the input ends after"):
        tagger({"inputs": content[: -len(files["mp3"]) // 2]})


def id3(comment: bytes) -> bytes:
    """An ID3v2 tag with a text, padded to a size that takes two of its seven-bit bytes."""
    frame = b"TXXX" + (len(comment) + 2).to_bytes(4, "big") + b"\0\0" + b"\0\0" + comment
    return b"ID3\x03\0\0" + bytes([0, 0, 300 >> 7, 300 & 127]) + frame.ljust(300, b"\0")


def random_bytes(count: int) -> bytes:
    return np.random.default_rng(0).bytes(count)


def nan_wav() -> bytes:
    samples = np.zeros(RATE, dtype=np.float32)
    samples[5] = np.nan
    return encode(samples, subtype="FLOAT")


NOT_AUDIO = {
    "empty": (b"", "is empty"),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", r"begin with b'<!DOCTYP'.*ffmpeg"),
    "zip": (b"PK\x03\x04" + bytes(500), r"begin with b'PK\\x03\\x04"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(500), "not wav, flac, ogg, mp3"),
    "zeros": (bytes(5000), "not wav, flac, ogg, mp3"),
    "random": (random_bytes(5000), "not wav, flac, ogg, mp3"),
    "au": (encode(np.zeros(RATE), kind="AU"), "is AU, not wav"),
    "rate 1": (wav(rate=1), "sampling_rate 1: .* 4000 to 192000"),
    "rate 2**31-1": (wav(rate=2**31 - 1), "sampling_rate 2147483647"),
    "rate 2**31": (wav(rate=2**31), "is broken"),
    "rate 0": (wav(rate=0), "is broken"),
    "no channels": (wav(channels=0), "is broken"),
    "100 channels": (wav(channels=100, samples=100), "100 channels, more than 2: mix"),
    "no samples": (wav(samples=0), "there are no samples"),
    "NaN": (nan_wav(), "1 sample that is NaN"),
    "unscaled": (encode(np.full(RATE, 1e30, dtype=np.float32), subtype="FLOAT"), r"peaks at 1e\+30"),
}


@pytest.mark.parametrize("case", NOT_AUDIO)
def test_files_that_are_not_audio_are_refused(tagger, case):
    content, message = NOT_AUDIO[case]
    for inputs in (content, text(content)):
        with pytest.raises(ValueError, match=f"the input .*{message}"):
            tagger({"inputs": inputs})


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_files_that_end_early_are_refused(tagger, files, kind, fraction):
    content = files[kind][: int(fraction * len(files[kind]))]
    with pytest.raises(
        ValueError, match=r"the input (is shorter|ends after|cannot be decoded to its end).* complete file"
    ):
        tagger({"inputs": content})
    with pytest.raises(ValueError, match="the input "):
        tagger({"inputs": files[kind][:100]})


def test_a_flac_that_announces_more_than_it_has_is_refused(tagger, files):
    with pytest.raises(ValueError, match="cannot be decoded to its end"):
        tagger({"inputs": with_flac_length(files["flac"], 100 * RATE)})


@pytest.mark.parametrize("kind", ["flac", "ogg", "mp3"])
def test_tiny_files_of_hours_are_refused_by_their_header(tagger, files, monkeypatch, kind):
    bomb = with_mp3_frames(files["mp3"], 1860 * RATE // 576) if kind == "mp3" else silence(kind, seconds=1860)
    assert len(bomb) < 300_000
    monkeypatch.setattr(tagger, "load_audio", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match=r"has at least 18(60|59) s of audio, and 1800 s are left"):
        tagger({"inputs": bomb})


def test_decoding_stops_at_the_limit_where_the_header_says_nothing(tagger, monkeypatch):
    decoded = []

    def spy(*arguments, **options):
        decoded.append(load_audio(*arguments, **options))
        return decoded[-1]

    monkeypatch.setattr(tagger, "load_audio", spy)
    bomb = with_flac_length(silence("FLAC", seconds=2000), 0)
    assert len(bomb) < 100_000
    with pytest.raises(ValueError, match="has at least 1801 s of audio, and 1800 s are left"):
        tagger({"inputs": bomb})
    assert len(decoded[0]) == 1801 * RATE


def test_limits_hold_for_all_of_a_batch(base, files, monkeypatch):
    module, handler = base
    clip = {"array": [0.1] * RATE, "sampling_rate": RATE}
    monkeypatch.setattr(module, "MAX_SECONDS", 2.5)
    assert len(handler({"inputs": [files["wav"], clip]})) == 2
    with pytest.raises(ValueError, match="input 2 has at least 1 s of audio, and 0 s are left"):
        handler({"inputs": [files["wav"], clip, text(files["flac"])]})
    with pytest.raises(ValueError, match="input 2 has at least 1 s of audio, and 0 s are left"):
        handler({"inputs": [files["wav"], files["mp3"], clip]})
    monkeypatch.setattr(module, "MAX_ITEMS", 2)
    for inputs in ([], [clip] * 3):
        with pytest.raises(ValueError, match=f"a list of {len(inputs)}: send 1 to 2"):
            handler({"inputs": inputs})
    for inputs in ([files["wav"]] * 2, [text(files["wav"])] * 2):
        monkeypatch.setattr(module, "MAX_BYTES", 2 * len(files["wav"]) + 4)  # base64 is filled up to whole threes
        assert len(handler({"inputs": inputs})) == 2
        monkeypatch.setattr(module, "MAX_BYTES", 2 * len(files["wav"]) - 1)
        with pytest.raises(ValueError, match="a request may have 64,087"):
            handler({"inputs": inputs})


@pytest.fixture
def visits():
    """A server on loopback, and what it was asked for."""
    asked = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/song.wav", asked
    server.shutdown()
    server.server_close()


def test_paths_and_urls_are_not_opened(tagger, files, visits, tmp_path):
    url, asked = visits
    path = tmp_path / "song.wav"
    path.write_bytes(files["wav"])
    for inputs, message in (
        (str(path), "not base64.*paths, URLs and data: URIs are not opened"),
        (url, "not base64.*not opened"),
        (path.as_uri(), "not base64.*not opened"),
        ("data:audio/wav;base64," + text(files["wav"]), "not base64.*not opened"),
        (text(files["wav"]) + "!", "not base64"),
        ("/var/lib/songs/1", "never opened as a path or URL"),  # which is valid base64
        ({"path": str(path)}, "the keys path"),
        ({"url": url}, "the keys url"),
        ({"array": str(path), "sampling_rate": RATE}, "must be a list of numbers"),
        ({"array": [0.1], "sampling_rate": RATE, "path": str(path)}, "the keys array, path, sampling_rate"),
    ):
        for request in (inputs, [inputs]):
            with pytest.raises(ValueError, match=message):
                tagger({"inputs": request})
    assert asked == []


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([], "not empty"),
        ([[]], "not empty"),
        ([None, 0.1], "list of numbers"),
        (["0.1", "0.2"], "list of numbers"),
        ([True, False], "list of numbers"),
        ([[[0.1]]], "list of numbers"),
        ([0.1, [0.1]], "list of numbers"),
        ([[0.1], 0.1], "list of numbers"),
        ([{}], "list of numbers"),
        ({"a": 1}, "list of numbers"),
        (5, "list of numbers"),
        ([[0.1, 0.2], [0.1]], "different lengths"),
        ([10**400], "beyond float64"),
        ([[0.1] * 3] * 3, r"shape \(3, 3\)"),
        ([float("nan")] * 9, "NaN"),
        ([float("inf")] * 9, "peaks at inf"),
        ([1e30], r"peaks at 1e\+30"),
        ([32000, -32000], "peaks at 32000.*32768"),
    ],
)
def test_arrays_that_are_not_a_waveform_are_refused(tagger, array, message):
    with pytest.raises(ValueError, match=f"the input.*{message}"):
        tagger({"inputs": {"array": array, "sampling_rate": RATE}})


@pytest.mark.parametrize("rate", ["16000", 16000.0, True, None, -1, 0, 1, 2**31, "9" * 10000])
def test_arrays_need_a_sampling_rate(tagger, rate):
    with pytest.raises(ValueError, match=r"the input has sampling_rate .{1,42}: it must be an integer, 4000"):
        tagger({"inputs": {"array": [0.1] * 100, "sampling_rate": rate}})


@pytest.mark.parametrize("inputs", [None, 3, 0.5, [[0.1]], [0.1, 0.2], [None]])
def test_other_inputs_are_refused(tagger, inputs):
    with pytest.raises(ValueError, match="send the bytes of an audio file"):
        tagger({"inputs": inputs})


@pytest.mark.parametrize("data", [{}, [1], b"RIFF", {"input": 1}])
def test_a_request_needs_inputs(tagger, data):
    with pytest.raises(ValueError, match="send the bytes of an audio file, or JSON"):
        tagger(data)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([1], "parameters is list"),
        ("top_k", "parameters is str"),
        ({"top_n": 1, "k": 2}, "k, top_n is not a parameter of audio-classification, which takes .*per_chunk, top_k"),
        ({"top_k": "2"}, "top_k is str: it must be int"),
        ({"top_k": True}, "top_k is bool: it must be int"),
        ({"top_k": 0}, "top_k=0 must be at least 1"),
        ({"per_chunk": 1}, "per_chunk is int: it must be bool"),
        ({"candidate_labels": ["a"]}, "candidate_labels is not a parameter of audio-classification"),
    ],
)
def test_parameters_of_a_classifier_are_checked(tagger, files, parameters, message):
    with pytest.raises(ValueError, match=message):
        tagger({"inputs": files["wav"], "parameters": parameters})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"top_k": 1}, "top_k is not a parameter of feature-extraction, which takes per_chunk, space"),
        ({"space": "other"}, 'must be "backbone" or "shared"'),
        ({"candidate_labels": {"a": 1}}, "candidate_labels is dict: it must be list or str"),
        ({"candidate_labels": []}, "has 0 labels: send 1 to 100"),
        ({"candidate_labels": ["a"] * 101}, "has 101 labels: send 1 to 100"),
        ({"candidate_labels": ",".join("a" * 101)}, "has 101 labels: send 1 to 100"),
        ({"candidate_labels": ["a", 1]}, "not 1$"),
        ({"candidate_labels": ["a", " "]}, "not ' '$"),
        ({"candidate_labels": ["a" * 501]}, "1 to 500 characters"),
        ({"candidate_labels": ["a"], "hypothesis_template": "{}" + "a" * 500}, "1 to 500 characters"),
        ({"candidate_labels": ["a"], "hypothesis_template": "{:>9999999999}"}, "hypothesis_template"),
    ],
)
def test_parameters_of_a_base_model_are_checked(base, files, parameters, message):
    with pytest.raises(ValueError, match=message):
        base[1]({"inputs": files["wav"], "parameters": parameters})


def test_parameters_beside_the_inputs_are_not_overlooked(tagger, files):
    with pytest.raises(ValueError, match='top_k is not "inputs" or "parameters"'):
        tagger({"inputs": files["wav"], "top_k": 1})
    options = {"wait_for_model": True}  # clients of HuggingFace's Inference API
    assert len(tagger({"inputs": files["wav"], "options": options})) == 3


def test_a_backbone_has_no_labels_to_choose_from(processor, files, waveform, tmp_path):
    backbone = settle(MulapAudioModel(micro_config().audio_config))
    _, handler = load_handler(publish(backbone, processor, tmp_path))
    with torch.no_grad():
        expected = backbone(waveform[None]).pooler_output[0].tolist()
    assert handler({"inputs": files["wav"]}) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    with pytest.raises(ValueError, match="no text side: leave candidate_labels out"):
        handler({"inputs": files["wav"], "parameters": {"candidate_labels": ["a"]}})


@pytest.fixture(scope="module")
def endpoint(tagger_folder):
    """A server in a process without the package; gives status and answer of a request."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, Path(__file__).with_name("endpoint_server.py"), tagger_folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            port = process.stdout.readline().removeprefix("PORT ").strip()

            def post(body: bytes, content_type: str, query: str = ""):
                request = Request(f"http://127.0.0.1:{port}/{query}", body, {"Content-Type": content_type})
                try:
                    with urlopen(request, timeout=60) as response:
                        return response.status, json.load(response)
                except HTTPError as error:
                    return error.code, json.load(error)

            yield post
        finally:
            process.terminate()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_server_without_the_package_answers_files(endpoint, tagger, files, kind):
    status, answer = endpoint(files[kind], f"audio/{kind}", "?top_k=2")
    assert status == 200
    assert answer == tagger({"inputs": files[kind], "parameters": {"top_k": 2}})


def test_a_server_without_the_package_answers_json(endpoint, tagger, files):
    request = {"inputs": [text(files["ogg"]), {"array": [0.1] * RATE, "sampling_rate": RATE}]}
    request["parameters"] = {"per_chunk": True}
    assert endpoint(json.dumps(request).encode(), "application/json") == (200, tagger(request))


def test_a_server_tells_what_was_wrong(endpoint):
    status, answer = endpoint(b"\x89PNG\r\n\x1a\n", "audio/wav")
    assert status == 400
    assert "not wav, flac, ogg, mp3 or aiff: its 8 bytes begin with" in answer["error"]
    status, answer = endpoint(b'{"inputs": "http://169.254.169.254/latest/meta-data"}', "application/json")
    assert status == 400
    assert "paths, URLs and data: URIs are not opened" in answer["error"]


def test_parameters_are_those_of_the_pipelines(base):
    """Except `sampling_rate`, which each waveform in a request has, and `return_tensors`, which JSON cannot hold."""
    module, _ = base
    classes = {
        "feature-extraction": MulapFeatureExtractionPipeline,
        "audio-classification": MulapAudioClassificationPipeline,
        "zero-shot-audio-classification": MulapZeroShotAudioClassificationPipeline,
    }
    assert module._PARAMETERS.keys() == classes.keys()
    for task, cls in classes.items():
        options = set(inspect.signature(cls._sanitize_parameters).parameters)
        assert set(module._PARAMETERS[task]) == options - {"self", "sampling_rate", "return_tensors"}


def test_requirements_are_floors_of_the_code():
    lines = (ENDPOINT / "requirements.txt").read_text().splitlines()
    transformers, *floors = [line.partition("#")[0].strip() for line in lines if not line.startswith("#")]
    assert f'"{transformers}"' in Path(configuration_mulap.__file__).read_text()
    setup = (ROOT / "setup.py").read_text()
    assert [floor for floor in floors if f'"{floor}"' in setup] == floors
    assert {floor.partition(">=")[0] for floor in floors} == {"soundfile", "soxr"}
