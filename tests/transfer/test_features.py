"""Frozen features on disk: right, complete, resumable, and made once."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers import RATE
from tones import SIZES, make_rows, write_dataset, write_split

from mulap_hf.embedding import Embedder
from mulap_hf.errors import DataError
from mulap_hf.transfer.features import FeatureCache, open_extractor
from mulap_hf.transfer.tasks import open_task


@pytest.fixture
def data(dataset):
    return open_task(dataset, "register")


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "features", progress=False)


def test_they_are_what_the_backbone_hears(data, cache, model_folder, tmp_path):
    embedder = Embedder(model_folder)
    features = cache.features(embedder, data, "test")
    assert features.ids == data.ids("test")
    assert set(features.counts) == {1, 2, 3}
    for index, row in enumerate(make_rows("test", SIZES["test"])):
        path = tmp_path / "one.flac"
        path.write_bytes(row["audio"]["bytes"])
        chunks = embedder.embed(path).chunks
        stored = features.values[features.starts[index] :][: features.counts[index]]
        np.testing.assert_allclose(stored, chunks, atol=1e-5 * np.abs(chunks).max())


def test_batches_and_means(data, cache, model_folder):
    features = cache.features(open_extractor(model_folder), data, "test")
    chunks, owners = features.batch(np.array([5, 2]))
    assert owners.tolist() == [0] * features.counts[5] + [1] * features.counts[2]
    start = features.starts[2]
    np.testing.assert_array_equal(chunks[owners == 1], features.values[start : start + features.counts[2]])
    means = features.means()
    np.testing.assert_allclose(means.values[5], chunks[owners == 0].mean(0), rtol=1e-5)
    chosen = features.select(["test-007", "test-001"])
    assert torch.equal(chosen.batch(np.array([1]))[0], features.batch(np.array([1]))[0])


def test_made_once_and_interrupted_runs_go_on(data, cache, model_folder, monkeypatch):
    embedder = Embedder(model_folder)
    whole = cache.features(embedder, data, "train")
    expected = {name: whole.select([name]).batch(np.array([0]))[0] for name in whole.ids}
    folder = next(cache.directory.iterdir())
    original = Embedder.chunk_features
    calls = []

    def counted(self, waveforms):
        calls.append(len(waveforms))
        return original(self, waveforms)

    monkeypatch.setattr(Embedder, "chunk_features", counted)
    cache.features(embedder, data, "train")
    assert calls == []
    # A run that was killed: ten lines are there, the eleventh is cut off, and there are bytes beyond.
    lines = (folder / "index.jsonl").read_text().splitlines(keepends=True)
    (folder / "index.jsonl").write_text("".join(lines[:10]) + lines[10][:9])
    resumed = cache.features(embedder, data, "train")
    assert sum(calls) == SIZES["train"] - 10
    assert resumed.ids == whole.ids
    for name, chunks in expected.items():
        np.testing.assert_allclose(resumed.select([name]).batch(np.array([0]))[0], chunks, rtol=1e-5)


def test_broken_tracks_are_skipped_with_their_reasons(dataset, cache, model_folder):
    rows = make_rows("test", 6)
    rows[1]["audio"]["bytes"] = b"no audio at all"
    buffer = io.BytesIO()
    sf.write(buffer, np.full(RATE, np.nan, dtype=np.float32), RATE, format="WAV", subtype="FLOAT")
    rows[4]["audio"]["bytes"] = buffer.getvalue()
    write_split(dataset, "test", rows)
    features = cache.features(open_extractor(model_folder), open_task(dataset, "register"), "test")
    assert features.ids == ["test-000", "test-002", "test-003", "test-005"]
    assert [item.id for item in features.skipped] == ["test-001", "test-004"]
    assert "NaN" in features.skipped[1].reason
    for row in rows:
        row["audio"]["bytes"] = b""
    write_split(dataset, "test", rows)
    with pytest.raises(DataError, match="none of 6 tracks can be decoded: audio of 0 bytes"):
        cache.features(open_extractor(model_folder), open_task(dataset, "register"), "test")


def test_other_models_splits_and_conditions_have_their_own(data, cache, model_folder):
    embedder = Embedder(model_folder)
    clean = cache.features(embedder, data, "test")
    noisy = cache.features(embedder, data, "test", "noise_0db")
    handcrafted = cache.features(open_extractor("handcrafted"), data, "test")
    with torch.no_grad():
        embedder.model.musicnn.midend[0].conv.bias += 1
    other = cache.features(Embedder(embedder.model), data, "test")
    assert len(list(cache.directory.iterdir())) == 4
    assert not np.allclose(clean.values, noisy.values) and not np.allclose(clean.values, other.values)
    assert handcrafted.counts.tolist() == [1] * SIZES["test"]
    about = [json.loads((folder / "about.json").read_text()) for folder in cache.directory.iterdir()]
    assert sorted(str(one["condition"]) for one in about) == ["None", "None", "None", "noise_0db"]


def test_only_as_much_as_the_task_says(dataset, cache, model_folder):
    tasks = json.loads((dataset / "tasks.json").read_text())
    tasks[0]["seconds"] = 0.3  # one chunk of the micro model
    (dataset / "tasks.json").write_text(json.dumps(tasks))
    features = cache.features(open_extractor(model_folder), open_task(dataset, "register"), "test")
    assert set(features.counts) == {1}


def test_files_that_could_not_be_heard_are_tried_again(tmp_path, cache, model_folder):
    """Their disk may not have been there."""
    rows = make_rows("test", 4)
    for row in rows:
        path = tmp_path / "music" / row["audio"]["path"]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(row["audio"]["bytes"])
        row["audio"] = {"bytes": None, "path": str(path)}
    write_dataset(tmp_path / "data", {"train": 2})
    write_split(tmp_path / "data", "test", rows)
    data, extractor = open_task(tmp_path / "data", "register"), open_extractor(model_folder)
    away = Path(rows[1]["audio"]["path"])
    content = away.read_bytes()
    away.unlink()
    features = cache.features(extractor, data, "test")
    assert [item.id for item in features.skipped] == [rows[1]["id"]]
    away.write_bytes(content)
    again = cache.features(extractor, data, "test")
    assert again.skipped == [] and again.ids == [row["id"] for row in rows]
    first = again.select(features.ids).batch(np.arange(3))[0]
    assert torch.equal(first, features.batch(np.arange(3))[0])
