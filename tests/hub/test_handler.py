"""handler.py of a published folder: what an Inference Endpoint answers, in the process and as a server."""

import base64
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch
from endpoint_helpers import (
    ENDPOINT,
    FORMATS,
    LABELS,
    encode,
    load_handler,
    publish,
    text,
    with_flac_length,
)
from helpers import CHUNK, RATE, ROOT, micro_config, settle

from mulap_hf import (
    MulapAudioClassificationPipeline,
    MulapAudioModel,
    MulapFeatureExtractionPipeline,
    MulapZeroShotAudioClassificationPipeline,
    configuration_mulap,
)


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
    with pytest.raises(ValueError, match=r"the input.* ends early"):
        tagger({"inputs": content[: -len(files["mp3"]) // 2]})


def id3(comment: bytes) -> bytes:
    """An ID3v2 tag with a text, padded to a size that takes two of its seven-bit bytes."""
    frame = b"TXXX" + (len(comment) + 2).to_bytes(4, "big") + b"\0\0" + b"\0\0" + comment
    return b"ID3\x03\0\0" + bytes([0, 0, 300 >> 7, 300 & 127]) + frame.ljust(300, b"\0")


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
