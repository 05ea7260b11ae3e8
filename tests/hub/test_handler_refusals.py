"""handler.py of a published folder: what an Inference Endpoint refuses, and the messages."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from endpoint_helpers import FORMATS, encode, silence, text, wav, with_flac_length, with_mp3_frames
from helpers import RATE

from mulap_hf import (
    load_audio,
)


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
    "NaN": (nan_wav(), "the sample at 0.000 s is NaN"),
    "unscaled": (encode(np.full(RATE, 1e30, dtype=np.float32), subtype="FLOAT"), r"samples reach 1e\+30"),
}


@pytest.mark.parametrize("case", NOT_AUDIO)
def test_files_that_are_not_audio_are_refused(tagger, case):
    content, message = NOT_AUDIO[case]
    for inputs in (content, text(content)):
        with pytest.raises(ValueError, match=f"the input.*{message}"):
            tagger({"inputs": inputs})


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_files_that_end_early_are_refused(tagger, files, kind, fraction):
    content = files[kind][: int(fraction * len(files[kind]))]
    with pytest.raises(ValueError, match=r"the input.* (ends early|breaks off).*: send the complete file"):
        tagger({"inputs": content})
    with pytest.raises(ValueError, match=r"the input[: ]"):
        tagger({"inputs": files[kind][:100]})


def test_a_flac_that_announces_more_than_it_has_is_refused(tagger, files):
    with pytest.raises(ValueError, match=r"the input.* ends early, after 1.00 s of the 100.00 s"):
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
