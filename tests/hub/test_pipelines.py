"""The pipelines: every form of audio, the model's own numbers, and the messages where something is wrong."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
import torch
from helpers import CAPTIONS, CHUNK, RATE, micro_config, run, save_published, settle, waveforms, write_tone
from transformers import pipeline
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.pt_utils import KeyDataset

from mulap_hf import (
    MulapAudioClassificationPipeline,
    MulapAudioModel,
    MulapFeatureExtractionPipeline,
    MulapForAudioClassification,
    MulapModel,
    MulapTextMusicRetrievalPipeline,
    MulapZeroShotAudioClassificationPipeline,
    load_audio,
    pipeline_mulap_audio,
)
from mulap_hf.code_export import custom_pipelines
from mulap_hf.embedding import Embedder

LABELS = {0: "piano", 1: "rock", 2: "techno"}
DUAL = {"connection_text_layers": [], "connection_audio_layers": [], "projection_size": 16}
ALIGNED = {"projection_size": 16}
UNTRAINED = {"matching_loss_weight": 0, "contrastive_loss_weight": 0}
TEMPLATE = "this is {}"


def clips(batch: int = 3) -> list[np.ndarray]:
    """Of different lengths, one shorter than a chunk."""
    lengths = [4 * CHUNK + 11, CHUNK // 2, 2 * CHUNK][:batch]
    return [wave[:length].numpy() for wave, length in zip(waveforms(batch, 4 * CHUNK + 11), lengths, strict=True)]


def make(cls, model, processor, **options):
    """A pipeline of a model in memory."""
    text = {"tokenizer": processor.tokenizer} if cls._load_tokenizer else {}
    return cls(model=model, feature_extractor=processor.feature_extractor, device=-1, **text, **options)


def embedder(processor, **overrides):
    return make(MulapFeatureExtractionPipeline, settle(MulapModel(micro_config(**overrides))), processor)


def tagger(processor, problem: str = "multi_label_classification"):
    config = micro_config(id2label=LABELS, label2id={v: k for k, v in LABELS.items()}, problem_type=problem)
    return make(MulapAudioClassificationPipeline, settle(MulapForAudioClassification(config)), processor)


def zero_shot(processor, **overrides):
    return make(MulapZeroShotAudioClassificationPipeline, settle(MulapModel(micro_config(**overrides))), processor)


def retrieval(processor, **overrides):
    return make(MulapTextMusicRetrievalPipeline, settle(MulapModel(micro_config(**overrides))), processor)


@torch.no_grad()
def features(pipe, waveform) -> list[float]:
    """By the model itself, of a mono waveform at its rate."""
    return pipe.model.audio_model(torch.as_tensor(waveform)[None]).pooler_output[0].tolist()


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
    (folder / "song.m4a").write_bytes(b"ftyp")
    sf.write(folder / "silent.wav", np.zeros(0), RATE)
    sf.write(folder / "nan.wav", np.array([0, np.nan, 0.1]), RATE, subtype="FLOAT")
    return {
        "text.wav": r"text\.wav: broken, or not in a format that libsndfile reads",
        "empty.mp3": r"empty\.mp3: the file is empty",
        "song.m4a": r"song\.m4a: \.m4a is not supported; convert it",
        "silent.wav": r"silent\.wav: there are no samples",
        "nan.wav": r"nan\.wav has 1 samples that are NaN or infinite: mend or drop it",
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
        (np.array([0, np.nan]), ValueError, "has 1 samples that are NaN or infinite"),
        (np.zeros(0), ValueError, "is empty"),
        (torch.zeros(9, dtype=torch.bfloat16), ValueError, "unsupported ScalarType BFloat16"),
        (np.zeros((4, 100)), ValueError, r"has shape \(4, 100\).*mix more than two channels down"),
        (b"", ValueError, "broken, or not in a format"),
        (b"no music", ValueError, "broken, or not in a format"),
        (0.5, TypeError, "is float, not audio: pass a path"),
        (None, TypeError, "is NoneType, not audio"),
        ({"array": np.zeros(9)}, ValueError, "sampling_rate=None: it must be a number of Hz from 1,000"),
        ({"array": np.zeros(9), "sampling_rate": 0}, ValueError, "sampling_rate=0: it must be a number"),
        ({"array": np.zeros(9), "sampling_rate": 1e12}, ValueError, "must be a number of Hz .* to 1,000,000"),
        ({"array": np.zeros(9), "sampling_rate": "44100"}, ValueError, "sampling_rate='44100': it must be a number"),
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
    with pytest.raises(TypeError, match="input 0 is float, not audio"):
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
    fails("page", "broken, or not in a format")
    fails("cut", f"broke off after 100 of {path.stat().st_size:,} bytes: try again")
    monkeypatch.setattr(pipeline_mulap_audio, "DOWNLOAD_TIMEOUT", 0.1)
    fails("slow", "timed out")
    monkeypatch.setattr(pipeline_mulap_audio, "LARGEST_DOWNLOAD", 1000)
    fails("my song.flac", "larger than 1,000 bytes: download it, and pass the file")
    fails("endless", "larger than 1,000 bytes")
    for url in ("http://127.0.0.1:1/song.mp3", "http://[song.mp3", "http:///song.mp3"):
        with pytest.raises(ValueError, match="cannot be downloaded"):
            pipe(url)


# ---- features


def test_features_are_the_models_own(processor, tmp_path):
    pipe = embedder(processor, **ALIGNED)
    path = tmp_path / "song.mp3"
    write_tone(path, seconds=20, rate=44100, channels=2)
    expected = Embedder(pipe.model.audio_model, "cpu").embed(path)
    assert pipe(path) == pytest.approx(expected.track.tolist(), rel=1e-5, abs=1e-6)
    assert np.array(pipe(path, per_chunk=True)) == pytest.approx(expected.chunks, rel=1e-5, abs=1e-6)
    many = pipe([*clips(), path], per_chunk=True, batch_size=4)
    assert [len(item) for item in many] == [4, 1, 2, len(expected.chunks)]
    with torch.no_grad():
        shared = pipe.model.get_audio_features(torch.from_numpy(load_audio(path))[None]).pooler_output[0]
    assert pipe(path, space="shared") == pytest.approx(shared.tolist(), rel=1e-5, abs=1e-6)
    assert torch.allclose(pipe(path, space="shared", return_tensors=True), shared, atol=1e-6)


def test_features_of_every_kind_of_model(processor):
    clip = clips()[0]
    models = [MulapAudioModel(micro_config().audio_config), MulapModel(micro_config(**DUAL))]
    for model in (*models, MulapForAudioClassification(micro_config())):
        pipe = make(MulapFeatureExtractionPipeline, settle(model), processor)
        with torch.no_grad():
            expected = model.base_model(torch.from_numpy(clip)[None]).pooler_output[0]
        assert pipe(clip) == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-6)


def test_shared_space_only_where_it_was_trained(processor):
    clip = clips()[0]
    for overrides in ({}, {**ALIGNED, "contrastive_loss_weight": 0}):
        with pytest.raises(ValueError, match="no trained space shared by clips and texts"):
            embedder(processor, **overrides)(clip, space="shared")
    backbone = make(MulapFeatureExtractionPipeline, MulapAudioModel(micro_config().audio_config), processor)
    with pytest.raises(ValueError, match="no text side"):
        backbone(clip, space="shared")
    with pytest.raises(ValueError, match="leave per_chunk out"):
        embedder(processor, **ALIGNED)(clip, space="shared", per_chunk=True)
    with pytest.raises(ValueError, match="space='text'"):
        embedder(processor)(clip, space="text")


# ---- tags


@pytest.mark.parametrize(
    ("problem", "function"),
    [
        ("multi_label_classification", torch.sigmoid),
        ("single_label_classification", lambda logits: logits.softmax(dim=-1)),
        ("regression", lambda logits: logits),
    ],
)
def test_classification_is_the_models_own(problem, function, processor):
    pipe = tagger(processor, problem)
    for clip, single, batched in zip(clips(), pipe(clips()), pipe(clips(), batch_size=3), strict=True):
        with torch.no_grad():
            output = pipe.model(torch.from_numpy(clip)[None])
        scores = dict(zip(LABELS.values(), function(output.logits[0]).tolist(), strict=True))
        best = sorted(scores, key=scores.get, reverse=True)
        for result in (single, batched):
            assert [entry["label"] for entry in result] == best
            assert [entry["score"] for entry in result] == pytest.approx(
                [scores[label] for label in best], rel=1e-5, abs=1e-5
            )
        assert pipe(clip, top_k=2) == single[:2]
        assert pipe(clip, top_k=99) == single
        chunks = pipe(clip, per_chunk=True)
        expected = function(output.chunk_logits[0])  # (chunks, labels)
        assert [chunk["start"] for chunk in chunks] == pytest.approx([0.3 * index for index in range(len(expected))])
        assert [chunk["end"] for chunk in chunks] == pytest.approx(
            [min(0.3 * (index + 1), len(clip) / RATE) for index in range(len(expected))]
        )
        found = [[chunk["scores"][label] for label in LABELS.values()] for chunk in chunks]
        assert np.array(found) == pytest.approx(expected.numpy(), rel=1e-5, abs=1e-5)
        assert [list(chunk["scores"]) for chunk in pipe(clip, per_chunk=True, top_k=1)] == [best[:1]] * len(chunks)


def test_a_deduced_problem_type_is_saved(processor, tmp_path):
    model = settle(MulapForAudioClassification(micro_config(num_labels=3)))
    clip = clips()[0]
    logits = model(torch.from_numpy(clip)[None], labels=torch.ones(1, 3)).logits[0]
    model.save_pretrained(tmp_path)
    loaded = MulapForAudioClassification.from_pretrained(tmp_path)
    pipe = make(MulapAudioClassificationPipeline, loaded, processor)
    found = {entry["label"]: entry["score"] for entry in pipe(clip)}
    assert [found[label] for label in model.config.id2label.values()] == pytest.approx(
        logits.sigmoid().tolist(), rel=1e-5, abs=1e-5
    )


def test_classification_equals_the_built_in_pipeline(processor):
    pipe = tagger(processor)
    built_in = pipeline("audio-classification", model=pipe.model, feature_extractor=processor.feature_extractor)
    for top_k in (None, 2):
        ours, theirs = pipe(clips(), top_k=top_k), built_in(clips(), top_k=top_k)
        for one, other in zip(ours, theirs, strict=True):
            assert [entry["label"] for entry in one] == [entry["label"] for entry in other]
            assert [entry["score"] for entry in one] == pytest.approx(
                [entry["score"] for entry in other], rel=1e-5, abs=1e-6
            )
    assert pipe(clips()[0], function_to_apply="none") == built_in(clips()[0], function_to_apply="none")


def test_classification_errors(processor):
    pipe = tagger(processor)
    for options, message in (({"top_k": 0}, "top_k=0"), ({"function_to_apply": "relu"}, "'relu' is none of")):
        with pytest.raises(ValueError, match=message):
            pipe(clips()[0], **options)
    with pytest.raises(ValueError, match="MulapModel is no classifier"):
        make(MulapAudioClassificationPipeline, MulapModel(micro_config()), processor)


# ---- labels of one's own


@pytest.mark.parametrize("overrides", [{}, ALIGNED, DUAL, {**ALIGNED, "matching_similarity": True}])
def test_zero_shot_equals_the_model_and_the_built_in_pipeline(overrides, processor):
    pipe = zero_shot(processor, **overrides)
    labels = CAPTIONS[:3]
    text = processor(text=[TEMPLATE.format(label) for label in labels])
    options = {"candidate_labels": labels, "hypothesis_template": TEMPLATE}
    built_in = pipeline(
        "zero-shot-audio-classification",
        model=pipe.model,
        feature_extractor=processor.feature_extractor,
        tokenizer=processor.tokenizer,
    )
    singles, batches = pipe(clips(), **options), pipe(clips(), batch_size=3, **options)
    for clip, single, batch, theirs in zip(clips(), singles, batches, built_in(clips(), **options), strict=True):
        with torch.no_grad():
            logits = pipe.model(torch.from_numpy(clip)[None], **text).logits_per_audio[0]
        expected = dict(zip(labels, logits.softmax(dim=0).tolist(), strict=True))
        for result in (single, batch, theirs):
            assert [entry["label"] for entry in result] == sorted(labels, key=expected.get, reverse=True)
            assert {entry["label"]: entry["score"] for entry in result} == pytest.approx(expected, rel=1e-5, abs=1e-5)
        several = {entry["label"]: entry["score"] for entry in pipe(clip, multi_label=True, **options)}
        assert several == pytest.approx(dict(zip(labels, logits.sigmoid().tolist(), strict=True)), rel=1e-5, abs=1e-5)


def test_zero_shot_labels(processor):
    pipe = zero_shot(processor)
    clip = clips()[0]
    assert pipe(clip, candidate_labels=" calm , fast") == pipe(clip, candidate_labels=["calm", "fast"])
    assert make(MulapZeroShotAudioClassificationPipeline, pipe.model, processor, candidate_labels=["calm", "fast"])(
        clip
    ) == pipe(clip, candidate_labels=["calm", "fast"])
    long = pipe(clip, candidate_labels=["calm " * 500, "fast"])  # cut, where the built-in one fails
    assert sum(entry["score"] for entry in long) == pytest.approx(1)
    for options in ({}, {"candidate_labels": []}, {"candidate_labels": " , "}):
        with pytest.raises(ValueError, match="pass candidate_labels="):
            pipe(clip, **options)
    with pytest.raises(TypeError, match="candidate_labels must be a text or a list of texts"):
        pipe(clip, candidate_labels=[1, 2])
    with pytest.raises(ValueError, match=r"hypothesis_template='music' has no .\{\}"):
        pipe(clip, candidate_labels=["calm"], hypothesis_template="music")


@pytest.mark.parametrize("cls", [MulapZeroShotAudioClassificationPipeline, MulapTextMusicRetrievalPipeline])
def test_models_that_read_no_texts(cls, processor, tmp_path):
    for model in (MulapAudioModel(micro_config().audio_config), MulapForAudioClassification(micro_config())):
        with pytest.raises(ValueError, match=rf"has no text side \(it is a {type(model).__name__}\)"):
            make(cls, model, processor)
    MulapForAudioClassification(micro_config()).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has no text side \(it is a MulapForAudioClassification"):
        make(cls, MulapModel.from_pretrained(tmp_path), processor)  # its text side is random
    for overrides in (UNTRAINED, {**UNTRAINED, **ALIGNED}, {**DUAL, "contrastive_loss_weight": 0}):
        with pytest.raises(ValueError, match="scores no texts: it was trained neither to match"):
            make(cls, MulapModel(micro_config(**overrides)), processor)


def test_a_head_that_was_not_trained_is_not_asked(processor):
    """Of a model aligned without matching, the shared space; of one that matches without alignment, the log-odds."""
    aligned = {**ALIGNED, "matching_loss_weight": 0}
    pipe = zero_shot(processor, **aligned)
    text, clip = processor(text=CAPTIONS), clips()[0]
    with torch.no_grad():
        output = pipe.model(torch.from_numpy(clip)[None], **text)
        expected = (pipe.model.alignment.scale * output.audio_embeds @ output.text_embeds.T)[0].softmax(dim=0)
    found = {entry["label"]: entry["score"] for entry in pipe(clip, candidate_labels=CAPTIONS)}
    assert [found[label] for label in CAPTIONS] == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-5)
    assert retrieval(processor, **aligned).kind == retrieval(processor, **ALIGNED).kind == "contrastive"
    assert retrieval(processor, **{**ALIGNED, "contrastive_loss_weight": 0}).kind == "matching"


# ---- retrieval


@pytest.mark.parametrize("overrides", [{}, ALIGNED, DUAL, {**ALIGNED, "contrastive_loss_weight": 0}])
def test_retrieval_is_the_models_own(overrides, processor, tmp_path):
    retrieve = retrieval(processor, **overrides)
    write_tone(tmp_path / "song.ogg", seconds=2, rate=32000)
    write_tone(tmp_path / "other.wav", seconds=0.2, seed=1)
    candidates = [*clips(), str(tmp_path / "song.ogg"), {"audio": {"path": str(tmp_path / "other.wav")}}]
    sounds = [*clips(), load_audio(tmp_path / "song.ogg"), load_audio(tmp_path / "other.wav")]
    text = processor(text=CAPTIONS)
    with torch.no_grad():
        outputs = [retrieve.model(torch.from_numpy(sound)[None], **text) for sound in sounds]
    if retrieve.kind == "contrastive":
        scores = torch.cat([output.audio_embeds @ output.text_embeds.T for output in outputs])
    else:
        scores = torch.cat([output.logits_per_audio for output in outputs])  # (clips, texts)
    paths = [None] * 3 + [str(tmp_path / "song.ogg"), str(tmp_path / "other.wav")]
    index = retrieve.index(candidates, batch_size=2)
    assert len(index) == 5
    assert index.paths == paths
    for found in (retrieve(CAPTIONS, candidates, top_k=None), retrieve(CAPTIONS, index, top_k=None)):
        for ranked, expected in zip(found, scores.T, strict=True):
            order = expected.argsort(descending=True).tolist()
            assert [entry["index"] for entry in ranked] == order
            assert [entry["score"] for entry in ranked] == pytest.approx(expected[order].tolist(), rel=1e-5, abs=1e-5)
            assert [entry.get("path") for entry in ranked] == [paths[clip] for clip in order]
    assert [entry["index"] for entry in retrieve(CAPTIONS[0], index, top_k=2)] == [e["index"] for e in found[0][:2]]
    assert retrieve(CAPTIONS[0], iter(candidates), top_k=1)[0]["index"] == found[0][0]["index"]
    assert retrieve([], index) == []
    assert len(retrieve(CAPTIONS[0], tmp_path / "song.ogg")) == 1


def test_retrieval_of_many_clips_is_done_in_blocks(processor):
    retrieve = retrieval(processor)
    index = retrieve.index([*clips()] * 30, batch_size=8)
    found = retrieve(CAPTIONS[0], index, top_k=None)
    scores = {entry["index"]: entry["score"] for entry in found}
    assert sorted(scores) == list(range(90))
    for number, clip in enumerate(clips()):
        alone = retrieve(CAPTIONS[0], clip)[0]["score"]
        assert [scores[index] for index in range(number, 90, 3)] == pytest.approx([alone] * 30, rel=1e-5, abs=1e-5)
    assert str(index) == f"MulapMusicIndex(90 clips, matching, {sum(s.nbytes for s in index.states) / 1e6:.1f} MB)"


@torch.no_grad()
def test_rounded_weights_do_not_round_the_similarities(processor):
    """Products in bfloat16 are multiples of 1/256 and more: clips that differ would be equally similar."""
    retrieve, label = retrieval(processor, **DUAL), zero_shot(processor, **DUAL)
    for pipe in (retrieve, label):
        pipe.model.to(torch.bfloat16)
    index = retrieve.index(clips())
    text = retrieve.model.get_text_features(**processor(text=CAPTIONS)).pooler_output.float()
    similarity = index.embeds.float() @ text.T  # (clips, texts)
    for ranked, expected in zip(retrieve(CAPTIONS, index), similarity.T, strict=True):
        assert {entry["index"]: entry["score"] for entry in ranked} == pytest.approx(
            dict(enumerate(expected.tolist()))
        )
    expected = (similarity * label.model.alignment.scale).softmax(dim=1).tolist()
    for entries, scores in zip(label(clips(), candidate_labels=CAPTIONS), expected, strict=True):
        found = {entry["label"]: entry["score"] for entry in entries}
        assert [found[caption] for caption in CAPTIONS] == pytest.approx(scores)


def test_retrieval_errors(processor, tmp_path):
    retrieve = retrieval(processor)
    clip = clips()[0]
    with pytest.raises(ValueError, match="candidates are empty"):
        retrieve("calm", [])
    with pytest.raises(ValueError, match="top_k=0"):
        retrieve("calm", [clip], top_k=0)
    with pytest.raises(TypeError, match="topk"):
        retrieve("calm", retrieve.index([clip]), topk=1)
    for queries in (3, ["calm", None]):
        with pytest.raises(TypeError, match="queries must be a text or a list of texts"):
            retrieve(queries, [clip])
    with pytest.raises(ValueError, match="input 1 has 1 samples that are NaN"):
        retrieve("calm", [clip, np.array([0, np.inf])])
    for other in (ALIGNED, {"audio_config": {"hidden_size": 40}}):
        with pytest.raises(ValueError, match=r"1 clips, .* is of another model"):
            retrieve("calm", retrieval(processor, **other).index([clip]))


@pytest.mark.parametrize("overrides", [{}, DUAL])
def test_indices_of_the_same_weights_only(overrides, processor):
    config = micro_config(**overrides)
    one, same, other = (
        make(MulapTextMusicRetrievalPipeline, settle(MulapModel(config), seed), processor) for seed in (0, 0, 1)
    )
    index = one.index(clips())
    assert same("calm", index) == one("calm", clips())
    with pytest.raises(ValueError, match=r"3 clips, .* is of another model"):
        other("calm", index)


def test_tracks_longer_than_the_audio_transformer(processor):
    """Matching hears the chunks that have positions, everything else the whole track."""
    short = {"audio_config": {"max_position_embeddings": 4}}
    track = torch.cat([torch.from_numpy(clip) for clip in clips()] * 3).numpy()  # 19 chunks
    text = processor(text=CAPTIONS[:2])
    pipe = zero_shot(processor, **short)
    with torch.no_grad():
        heard = torch.from_numpy(track[: 3 * CHUNK])[None]
        expected = pipe.model(heard, **text).logits_per_audio[0].softmax(dim=0)
    found = {entry["label"]: entry["score"] for entry in pipe(track, candidate_labels=CAPTIONS[:2])}
    assert [found[label] for label in CAPTIONS[:2]] == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-5)
    assert retrieval(processor, **short).index([track]).states[0].shape == (4, 32)
    retrieve = retrieval(processor, **short, **ALIGNED)
    with torch.no_grad():
        whole = retrieve.model.get_audio_features(torch.from_numpy(track)[None]).pooler_output
    assert torch.allclose(retrieve.index([track]).embeds, whole, atol=1e-6)


# ---- folders


FOLDERS = {
    "fused": lambda: MulapModel(micro_config()),
    "dual": lambda: MulapModel(micro_config(**DUAL)),
    "classifier": lambda: MulapForAudioClassification(
        micro_config(id2label=LABELS, label2id={v: k for k, v in LABELS.items()})
    ),
    "backbone": lambda: MulapAudioModel(micro_config().audio_config),
}
TASKS = {
    "fused": ["feature-extraction", "zero-shot-audio-classification", "text-music-retrieval"],
    "dual": ["feature-extraction", "zero-shot-audio-classification", "text-music-retrieval"],
    "classifier": ["feature-extraction", "audio-classification"],
    "backbone": ["feature-extraction"],
}
# Where neither the package nor torchaudio nor ffmpeg is there.
ELSEWHERE = """
import os, sys
for name in ("mulap_hf", "torchaudio"):
    sys.modules[name] = None
os.environ["PATH"] = ""
import json
from transformers import logging, pipeline
logging.disable_progress_bar()
tasks, songs = json.loads(sys.argv[1]), sys.argv[2:]
found = {}
for folder, names in tasks.items():
    for task in names:
        pipe = pipeline(task, model=folder, trust_remote_code=True)
        assert not any(name.startswith("mulap_hf") for cls in type(pipe).__mro__ for name in [cls.__module__])
        if task == "text-music-retrieval":
            result = pipe("calm piano", pipe.index(songs, batch_size=2))
        elif task == "zero-shot-audio-classification":
            result = pipe(songs, candidate_labels=["calm", "fast"], batch_size=2)
        else:
            result = pipe(songs, batch_size=2)
        found[folder + " " + task] = result
print("FOUND" + json.dumps(found))
"""


def test_folders_where_the_package_is_not_installed(processor, tmp_path):
    songs = [str(tmp_path / name) for name in ("a.wav", "b.mp3", "c.ogg", "d.flac")]
    for seed, song in enumerate(songs):
        write_tone(Path(song), seconds=0.4 + seed, rate=44100, channels=2, seed=seed)
    folders = {
        kind: save_published(settle(make_model()), processor, tmp_path / kind) for kind, make_model in FOLDERS.items()
    }
    tasks = {str(folders[kind]): names for kind, names in TASKS.items()}
    result = run("-c", ELSEWHERE, json.dumps(tasks), *songs, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.split("FOUND")[1])
    fused = zero_shot(processor)
    here = {
        "fused feature-extraction": embedder(processor)(songs),
        "fused zero-shot-audio-classification": fused(songs, candidate_labels=["calm", "fast"]),
        "fused text-music-retrieval": retrieval(processor)("calm piano", songs),
        "dual text-music-retrieval": retrieval(processor, **DUAL)("calm piano", songs),
        "classifier audio-classification": tagger(processor, "single_label_classification")(songs),
    }
    for name, expected in here.items():
        kind, _, task = name.partition(" ")
        actual = found[f"{folders[kind]} {task}"]
        number = (int, float)
        assert leaves(actual, number) == pytest.approx(leaves(expected, number), rel=1e-5, abs=1e-5)
        assert leaves(actual, str) == leaves(expected, str)
    size = micro_config().audio_config.feature_size
    for kind in ("dual", "classifier", "backbone"):
        assert np.array(found[f"{folders[kind]} feature-extraction"]).shape == (4, size)


def leaves(result, kind: type | tuple[type, ...]) -> list:
    """All numbers, or all texts, of nested lists and dicts, in order."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list):
        return [leaf for item in result for leaf in leaves(item, kind)]
    return [result] if isinstance(result, kind) else []


def test_folders_where_the_package_is_imported(processor, tmp_path):
    """The folder's own pipelines with trust, the package's by class without; its own task by name."""
    folder = save_published(settle(MulapModel(micro_config())), processor, tmp_path / "published")
    clip, expected = clips()[0], embedder(processor)(clips()[0])
    trusting = pipeline("feature-extraction", model=str(folder), trust_remote_code=True)
    by_class = pipeline("feature-extraction", model=str(folder), pipeline_class=MulapFeatureExtractionPipeline)
    assert trusting(clip) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert by_class(clip) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        pipeline("feature-extraction", model=str(folder))
    retrieve = pipeline("text-music-retrieval", model=str(folder), trust_remote_code=True)
    retrieve.save_pretrained(tmp_path / "saved")
    again = pipeline("feature-extraction", model=str(tmp_path / "saved"), trust_remote_code=True)
    assert again(clip) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    plain = settle(MulapModel(micro_config()))
    plain.save_pretrained(tmp_path / "plain")
    processor.save_pretrained(tmp_path / "plain")
    retrieve = pipeline("text-music-retrieval", model=str(tmp_path / "plain"))
    assert retrieve("calm", [clip])[0]["index"] == 0
    retrieve.model.config.custom_pipelines = custom_pipelines(retrieve.model.config)
    retrieve.save_pretrained(tmp_path / "registered")
    again = pipeline("feature-extraction", model=str(tmp_path / "registered"), trust_remote_code=True)
    assert again(clip) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_other_models_keep_their_pipelines():
    for task in ("feature-extraction", "audio-classification", "zero-shot-audio-classification"):
        assert "Mulap" not in str(PIPELINE_REGISTRY.check_task(task)[1]["impl"])
