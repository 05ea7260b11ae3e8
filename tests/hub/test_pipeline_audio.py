"""The audio that every pipeline takes: its forms, its addresses, and the messages where something is wrong."""

import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
import torch
from helpers import RATE, write_tone
from pipeline_helpers import clips, embedder, features
from transformers.pipelines.pt_utils import KeyDataset

from mulap_hf import audio_inputs_mulap, load_audio


class Decoder:
    """As torchcodec's, of which only this is used."""

    def __init__(self, samples: np.ndarray, rate: int):
        self.data, self.sample_rate = torch.from_numpy(samples.T.copy()), rate

    def get_all_samples(self):
        return self


# ---- what goes in


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_files_paths_bytes_and_rows(suffix, processor, tmp_path):
    path = tmp_path / f"song.{suffix}"
    write_tone(path, rate=44100, channels=2)
    pipe = embedder(processor)
    expected = features(pipe, load_audio(path))
    content = path.read_bytes()
    with path.open("rb") as file:
        forms = [
            str(path),
            path,
            content,
            bytearray(content),
            file,
            io.BytesIO(content),
            {"path": str(path)},
            {"bytes": content, "path": "song"},
            {"bytes": None, "path": str(path)},
            {"id": 7, "audio": {"bytes": content, "path": None}},
        ]
        for form in forms:
            assert pipe(form) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_waveforms_of_any_rate_and_number_of_channels(processor):
    pipe = embedder(processor)
    rng = np.random.default_rng(0)
    stereo = rng.normal(0, 0.1, (44100, 2)).astype(np.float32)
    expected = features(pipe, soxr.resample(stereo.mean(axis=1), 44100, RATE))
    forms = [
        {"array": stereo, "sampling_rate": 44100},
        {"raw": torch.from_numpy(stereo), "sampling_rate": 44100, "path": None},
        {"array": stereo.T.astype(np.float64), "sampling_rate": np.int64(44100)},
        {"audio": {"array": stereo, "sampling_rate": 44100, "path": "song.wav"}, "caption": "calm"},
        {"array": stereo.T.tolist(), "sampling_rate": 44100.0},
        {"audio": Decoder(stereo, 44100)},
        Decoder(stereo, 44100),
    ]
    for form in forms:
        assert pipe(form) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert pipe(stereo, sampling_rate=44100) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    mono = clips()[0]
    for form in (mono, torch.from_numpy(mono), mono.astype(np.float64)):
        assert pipe(form) == pytest.approx(features(pipe, mono), rel=1e-5, abs=1e-5)
    integers = np.round(mono * 32767).astype(np.int16)
    assert pipe(integers) == pytest.approx(features(pipe, integers.astype(np.float32) / 32768), rel=1e-5, abs=1e-5)


def test_many_inputs(processor, tmp_path):
    pipe = embedder(processor)
    path = tmp_path / "song.wav"
    write_tone(path)
    inputs = [*clips(), str(path)]
    expected = [pipe(item) for item in inputs]
    rows = [{"sound": item} for item in inputs]
    several = [inputs, tuple(inputs), iter(inputs), (item for item in inputs), KeyDataset(rows, "sound")]
    for many in several:
        assert list(pipe(many)) == expected
    for batched in (pipe(inputs, batch_size=3), list(pipe(KeyDataset(rows, "sound"), batch_size=4))):
        assert np.array(batched) == pytest.approx(np.array(expected), rel=1e-5, abs=1e-5)
    assert pipe([]) == pipe(()) == []


def test_rows_of_datasets(processor, tmp_path):
    datasets = pytest.importorskip("datasets")
    write_tone(tmp_path / "a.flac", seconds=0.5)
    write_tone(tmp_path / "b.mp3", seconds=0.9, rate=22050)
    rows = [{"bytes": (tmp_path / name).read_bytes(), "path": name} for name in ("a.flac", "b.mp3")]
    dataset = datasets.Dataset.from_dict({"audio": rows}).cast_column("audio", datasets.Audio(decode=False))
    pipe = embedder(processor)
    expected = [features(pipe, load_audio(tmp_path / name)) for name in ("a.flac", "b.mp3")]
    for many in (dataset, dataset["audio"], dataset.to_iterable_dataset(), KeyDataset(dataset, "audio")):
        assert np.array(list(pipe(many, batch_size=2))) == pytest.approx(np.array(expected), rel=1e-5, abs=1e-5)


def test_rounded_weights_do_not_round_the_waveform(processor):
    """transformers' audio pipelines cast it to the model's dtype; eight bits of bfloat16 are audible."""
    pipe = embedder(processor)
    pipe.model.to(torch.bfloat16)
    clip = clips()[0]
    with torch.no_grad():
        expected = pipe.model.audio_model(torch.from_numpy(clip)[None]).pooler_output[0].float()
        rounded = pipe.model.audio_model(torch.from_numpy(clip)[None].to(torch.bfloat16)).pooler_output[0].float()
    assert pipe(clip) == expected.tolist() != rounded.tolist()
    assert pipe(clip, return_tensors=True).dtype == torch.float32


# ---- what is wrong with it


def bad_files(folder: Path) -> dict:
    (folder / "text.wav").write_text("no music")
    (folder / "empty.mp3").write_bytes(b"")
    (folder / "song.m4a").write_bytes(b"\0\0\0\x1cftypM4A ")
    sf.write(folder / "silent.wav", np.zeros(0), RATE)
    sf.write(folder / "nan.wav", np.array([0, np.nan, 0.1]), RATE, subtype="FLOAT")
    return {
        "text.wav": r"text\.wav: broken, or not in a format that is known here",
        "empty.mp3": r"empty\.mp3: the file is empty",
        "song.m4a": r"song\.m4a: its MP4 data cannot be decoded",
        "silent.wav": r"silent\.wav: there are no samples",
        "nan.wav": r"nan\.wav: the sample at 0\.000 s is NaN: export it again",
        "missing.wav": r"missing\.wav: the file does not exist",
        ".": r"this is a folder",
    }


def test_files_that_cannot_be_used_are_named(processor, tmp_path):
    pipe = embedder(processor)
    for name, message in bad_files(tmp_path).items():
        with pytest.raises(ValueError, match=message):
            pipe(str(tmp_path / name))
    with pytest.raises(ValueError, match=r"song\.wav: broken"):
        pipe([{"bytes": b"no music", "path": "song.wav"}])


@pytest.mark.parametrize(
    ("audio", "error", "message"),
    [
        (np.array([0, np.nan]), ValueError, "has 1 sample that is NaN or infinite"),
        (np.zeros(0), ValueError, "is empty"),
        (np.zeros((4, 100)), ValueError, r"has shape \(4, 100\).*mix more than two channels down"),
        (b"", ValueError, "the file is empty"),
        (b"no music", ValueError, "broken, or not in a format"),
        (0.5, TypeError, r"is 0.5 \(float\), not audio: pass a path"),
        (None, TypeError, "is None: it has no audio"),
        ({"array": np.zeros(9)}, ValueError, "sampling_rate=None: it must be a number of Hz from 1,000"),
        ({"array": np.zeros(9), "sampling_rate": 0}, ValueError, "sampling_rate=0: it must be a number"),
        ({"array": np.zeros(9), "sampling_rate": 1e12}, ValueError, "must be a number of Hz .* to 1,000,000"),
        ({"array": np.zeros(9), "sampling_rate": "fast"}, ValueError, "sampling_rate='fast': it must be a number"),
        ({"wave": np.zeros(9)}, ValueError, r"is a dict with \['wave'\]: it needs \"array\""),
        ({"bytes": None, "path": None}, ValueError, r"is a dict with \['bytes', 'path'\]"),
    ],
)
def test_inputs_that_are_no_audio_are_named(audio, error, message, processor):
    pipe = embedder(processor)
    with pytest.raises(error, match=f"the input.*{message}"):
        pipe(audio)
    good = clips()[0]
    with pytest.raises(error, match=f"input 1.*{message}"):
        pipe([good, audio], batch_size=2)
    with pytest.raises(error, match=f"input 1.*{message}"):
        list(pipe(iter([good, audio])))


def test_a_list_of_samples_is_no_list_of_clips(processor):
    with pytest.raises(TypeError, match=r"input 0 is 0.0 \(float\), not audio"):
        embedder(processor)([0.0] * 1_000_000)


def test_unknown_arguments(processor):
    with pytest.raises(TypeError, match="chunk"):
        embedder(processor)(clips()[0], by_chunk=True)


# ---- addresses


class Handler(BaseHTTPRequestHandler):
    content = b""

    def do_GET(self):
        if self.path == "/moved":
            return self.answer(302, headers={"Location": "/my%20song.flac"})
        if self.path == "/page":
            return self.answer(200, b"<html>no music</html>")
        if self.path == "/slow":
            threading.Event().wait(1)
        if self.path in ("/my%20song.flac", "/slow"):
            return self.answer(200, self.content)
        if self.path == "/endless":  # says nothing of its length
            self.send_response(200)
            self.end_headers()
            return self.wfile.write(self.content)
        if self.path == "/cut":
            return self.answer(200, self.content[:100], {"Content-Length": str(len(self.content))})
        return self.answer(404)

    def answer(self, status: int, content: bytes = b"", headers: dict | None = None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """An address, and the path of the song that is there."""
    monkeypatch.setenv("no_proxy", "*")
    write_tone(tmp_path / "song.flac")
    Handler.content = (tmp_path / "song.flac").read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", tmp_path / "song.flac"
        server.shutdown()


def test_addresses(server, processor):
    address, path = server
    pipe = embedder(processor)
    for name in ("my song.flac", "my%20song.flac", "moved", "endless"):
        for form in (f"{address}/{name}", {"path": f"{address}/{name}", "bytes": None}):
            assert pipe(form) == pytest.approx(features(pipe, load_audio(path)), rel=1e-5, abs=1e-5)


def test_addresses_that_fail_are_named(server, processor, monkeypatch):
    address, path = server
    pipe = embedder(processor)

    def fails(name: str, message: str):
        with pytest.raises(ValueError, match=message) as caught:
            pipe(f"{address}/{name}")
        assert f"{address}/{name}" in str(caught.value)

    fails("missing.mp3", "cannot be downloaded: HTTP Error 404: Not Found")
    fails("page", "it is a web page")
    fails("cut", f"broke off after 100 of {path.stat().st_size:,} bytes: try again")
    monkeypatch.setattr(audio_inputs_mulap, "DOWNLOAD_TIMEOUT", 0.1)
    fails("slow", "timed out")
    monkeypatch.setattr(audio_inputs_mulap, "LARGEST_DOWNLOAD", 1000)
    fails("my song.flac", "larger than 1,000 bytes: download it, and pass the file")
    fails("endless", "larger than 1,000 bytes")
    for url in ("http://127.0.0.1:1/song.mp3", "http://[song.mp3", "http:///song.mp3"):
        with pytest.raises(ValueError, match="cannot be downloaded"):
            pipe(url)
