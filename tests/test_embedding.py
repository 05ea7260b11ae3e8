"""Embeddings of files: what the model gives, whatever is computed together, written so that nothing is lost."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers import micro_config, run_fresh, settle, start, write_tone

from mulap_hf import (
    MulapAudioModel,
    MulapForMusicSimilarity,
    MulapForPreTraining,
    MulapModel,
    MulapSimilarityConfig,
    load_audio,
)
from mulap_hf.cli import run_command
from mulap_hf.embedding import Embedder
from mulap_hf.embedding_files import write_embeddings
from mulap_hf.errors import AudioError, ModelError


@pytest.fixture
def music(tmp_path):
    """11 files of 0.1 s to 4 s."""
    lengths = (0.1, 0.3, 1.0, 4.0, 2.0, 0.7, 1.5, 0.2, 3.0, 0.9, 2.5)
    names = [f"{index:02d}.{'mp3' if index % 3 == 1 else 'wav'}" for index in range(len(lengths))]
    for index, (name, seconds) in enumerate(zip(names, lengths, strict=True)):
        rate, channels = [(16000, 1), (44100, 2)][index % 2]
        write_tone(tmp_path / "music" / name, seconds=seconds, rate=rate, channels=channels, seed=index)
    return [tmp_path / "music" / name for name in names]


@pytest.fixture
def asked(monkeypatch):
    """Names of the files that are embedded from now on."""
    names, original = [], Embedder.embed_all

    def embed_all(self, paths, workers=0):
        paths = list(paths)
        names.extend(Path(path).name for path in paths)
        return original(self, paths, workers)

    monkeypatch.setattr(Embedder, "embed_all", embed_all)
    return names


def names_in(table: Path) -> list[str]:
    return [Path(path).name for path in pq.read_table(table)["path"].to_pylist()]


@pytest.mark.parametrize(("workers", "batch_size"), [(0, 1), (0, 8), (2, 3), (2, 100)])
def test_a_track_is_what_the_model_says_of_it(model_folder, music, workers, batch_size):
    model = MulapAudioModel.from_pretrained(model_folder).eval()
    found = {result.path: result for result in Embedder(model_folder, "cpu", batch_size).embed_all(music, workers)}
    assert set(found) == set(map(str, music))
    for path in music:
        waveform, result = load_audio(path), found[str(path)]
        with torch.no_grad():
            expected = model(torch.from_numpy(waveform)[None])
        # Batches of another size are rounded differently, but nothing else about a track depends on its neighbors.
        for mine, theirs in (
            (result.chunks, expected.last_hidden_state[0]),
            (result.track, expected.pooler_output[0]),
        ):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6 * theirs.abs().max().item())
        assert result.seconds == len(waveform) / 16000


def test_one_file(model_folder, music):
    embedder = Embedder(model_folder)
    shutil.copy(music[3], music[3].with_name("copy.wav"))
    one, other = embedder.embed(music[3]), embedder.embed(music[3].with_name("copy.wav"))
    assert np.array_equal(one.track, other.track)
    assert one.chunks.shape == (13, embedder.feature_size)
    with pytest.raises(AudioError, match="the file does not exist"):
        embedder.embed("nowhere.wav")


def test_joint_embeddings_and_the_fingerprints_of_both(music, processor, tmp_path):
    model = settle(MulapModel(micro_config(projection_size=16)))
    model.save_pretrained(tmp_path / "model")
    embedder = Embedder(tmp_path / "model", joint=True)
    write_embeddings(embedder, music[:2], tmp_path / "out.parquet", progress=False)
    table = pq.read_table(tmp_path / "out.parquet")
    with torch.no_grad():
        expected = model.get_audio_features(torch.from_numpy(load_audio(music[0]))[None]).pooler_output[0]
    np.testing.assert_allclose(table["joint_embedding"][0].as_py(), expected, atol=1e-5)
    about = json.loads(table.schema.metadata[b"mulap"])
    assert about == {"model": str(tmp_path / "model"), "fingerprints": embedder.fingerprints}
    assert set(about["fingerprints"]) == {"embedding", "joint_embedding"}
    assert about["fingerprints"]["embedding"] == Embedder(tmp_path / "model").fingerprint
    model.text_pooler.bias.data += 1  # the text stream belongs to the joint space, too
    model.save_pretrained(tmp_path / "other")
    other = Embedder(tmp_path / "other", joint=True).fingerprints
    assert [other[name] == value for name, value in about["fingerprints"].items()] == [True, False]


def test_embeddings_by_factor(music, tmp_path):
    config = MulapSimilarityConfig(audio_config=micro_config().audio_config, embedding_size=8)
    model = settle(MulapForMusicSimilarity(config))
    model.save_pretrained(tmp_path / "model")
    options = ["embed", *map(str, music[:2]), "--model", str(tmp_path / "model"), "--space", "factors"]
    assert run_command([*options, "--output", str(tmp_path / "out.parquet")]) == 0
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    for file, row in zip(music[:2], rows, strict=True):
        with torch.no_grad():
            expected = model(torch.from_numpy(load_audio(file))[None])
        np.testing.assert_allclose(row["embedding"], expected.pooler_output[0], rtol=1e-5)
        for factor in ("melody", "rhythm", "timbre"):
            np.testing.assert_allclose(row[f"{factor}_embedding"], expected[f"{factor}_embeds"][0], atol=1e-5)
    model.audio_model.save_pretrained(tmp_path / "backbone")
    with pytest.raises(ModelError, match="has no heads for melody, rhythm and timbre: train them with"):
        Embedder(tmp_path / "backbone", factors=True)
    assert Embedder(tmp_path / "model").fingerprint == Embedder(tmp_path / "backbone").fingerprint


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_are_in_the_order_of_the_files(model_folder, music, tmp_path, workers, monkeypatch):
    monkeypatch.setattr("mulap_hf.embedding_shards.SHARD_ROWS", 3)
    output, broken = tmp_path / "out.parquet", tmp_path / "broken.wav"
    broken.write_bytes(b"noise")
    paths = [*music[::-1], broken, str(music[0])]
    failed = write_embeddings(Embedder(model_folder), paths, output, workers=workers, progress=False).failed
    assert [str(error).partition(":")[0] for error in failed] == [str(broken)]
    assert names_in(output) == [path.name for path in music[::-1]]
    assert not output.with_name("out.parquet.parts").exists()


def test_chunks_have_times(model_folder, music, tmp_path):
    output, embedder = tmp_path / "out.parquet", Embedder(model_folder)
    assert write_embeddings(embedder, [music[0], music[2]], output, per_chunk=True, progress=False).failed == []
    rows = pq.read_table(output).to_pylist()
    assert [(row["chunk"], row["start"], row["end"]) for row in rows] == [
        (0, 0, pytest.approx(0.1)),
        *((index, pytest.approx(0.3 * index), pytest.approx(0.3 * index + 0.3)) for index in range(3)),
    ]
    assert np.array_equal([row["embedding"] for row in rows[1:]], embedder.embed(music[2]).chunks)


def stop_after(embedder: Embedder, monkeypatch, tracks: int):
    """Interrupts `write_embeddings` once that many tracks are embedded."""
    original = embedder.embed_all

    def embed_all(paths, workers=0):
        for index, result in enumerate(original(paths, workers)):
            if index == tracks:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(embedder, "embed_all", embed_all)


@pytest.mark.parametrize("part_rows", [1, 1000])
@pytest.mark.parametrize("per_chunk", [False, True])
def test_interrupted_run_goes_on(model_folder, music, tmp_path, monkeypatch, asked, per_chunk, part_rows):
    monkeypatch.setattr("mulap_hf.embedding_shards.SHARD_ROWS", part_rows)
    output, interrupted = tmp_path / "out.parquet", Embedder(model_folder)
    stop_after(interrupted, monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        write_embeddings(interrupted, music, output, per_chunk, progress=False)
    assert not output.exists()
    embedder = Embedder(model_folder)
    with pytest.raises(ValueError, match=r"earlier run with other settings: per_chunk \(.*, now .*\); remove it"):
        write_embeddings(embedder, music, output, not per_chunk, progress=False)
    asked.clear()
    assert write_embeddings(embedder, music, output, per_chunk, progress=False).failed == []
    assert asked == [path.name for path in music[4:]]
    write_embeddings(embedder, music, tmp_path / "whole.parquet", per_chunk, progress=False)
    assert pq.read_table(output)["path"] == pq.read_table(tmp_path / "whole.parquet")["path"]


def test_a_folder_that_changes_between_runs(model_folder, music, tmp_path, monkeypatch, asked):
    output, interrupted = tmp_path / "out.parquet", Embedder(model_folder)
    stop_after(interrupted, monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        write_embeddings(interrupted, music, output, progress=False)
    asked.clear()
    later = time.time() + 10
    write_tone(music[1], seconds=1.2, seed=99)
    os.utime(music[1], (later, later))
    music[2].unlink()
    music[3].write_bytes(b"it was music")
    os.utime(music[3], (later, later))
    new = music[0].with_name("00b.wav")
    write_tone(new, seconds=0.5)
    now = [music[0], new, music[1], *music[3:]]
    failed = write_embeddings(Embedder(model_folder), now, output, progress=False).failed
    assert [str(error).partition(":")[0] for error in failed] == [str(music[3])]
    assert asked == [path.name for path in (new, music[1], *music[3:])]
    assert names_in(output) == [path.name for path in (music[0], new, music[1], *music[4:])]
    assert pq.read_table(output)["seconds"][2].as_py() == pytest.approx(1.2, abs=0.01)


def test_killed_process(model_folder, music, tmp_path, asked):
    paths = [tmp_path / "many" / f"{index:04d}{music[index % 11].suffix}" for index in range(600)]
    paths[0].parent.mkdir()
    for index, path in enumerate(paths):
        path.hardlink_to(music[index % 11])
    output = tmp_path / "out.parquet"
    code = (
        "import sys, mulap_hf.embedding_shards as files\nfrom mulap_hf.cli import main\n"
        "files.SHARD_SECONDS = 0.05\nsys.exit(main(sys.argv[1:]))"
    )
    command = ["embed", tmp_path / "many", "--model", model_folder, "--output", output, "--workers", "2"]
    ours, theirs = os.pipe()
    process = start("-c", code, *command, stderr=theirs, start_new_session=True)
    os.close(theirs)
    parts = output.with_name("out.parquet.parts")
    while len(list(parts.glob("*.parquet"))) < 3 and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    with os.fdopen(ours, "rb") as errors:
        errors.read()  # until the workers are gone, too: they hold its stderr
    assert not output.exists()
    (parts / "embeddings-999999.parquet.tmp").write_bytes(b"PAR1 half a part")
    done = {name for part in parts.glob("*.parquet") for name in names_in(part)}
    assert 0 < len(done) < 600
    embedder = Embedder(model_folder)
    assert write_embeddings(embedder, paths, output, progress=False).failed == []
    assert asked == [path.name for path in paths if path.name not in done]
    table = pq.read_table(output)
    assert names_in(output) == [path.name for path in paths]
    assert not parts.exists()
    embeddings = np.stack(table["embedding"].to_numpy(zero_copy_only=False))
    first = embeddings[:11]
    np.testing.assert_allclose(embeddings, np.resize(first, embeddings.shape), rtol=0, atol=1e-6 * np.abs(first).max())


def test_length_and_number_take_no_memory(model_folder, tmp_path):
    config = micro_config(audio_config={"chunk_length": 48000})
    settle(MulapForPreTraining(config)).save_pretrained(tmp_path / "model")
    for minutes in (1, 30):
        size = minutes * 60 * 44100 * 4
        header = b"RIFF%bWAVEfmt \x10\0\0\0\1\0\2\0\x44\xac\0\0\x10\xb1\2\0\4\0\x10\0data%b"
        with (tmp_path / f"{minutes}.wav").open("wb") as file:  # silence, which takes no disk
            file.write(header % ((size + 36).to_bytes(4, "little"), size.to_bytes(4, "little")))
            file.truncate(44 + size)
    write_tone(tmp_path / "many" / "0.wav", seconds=10, rate=16000)
    for number in range(1, 400):
        (tmp_path / "many" / f"{number}.wav").hardlink_to(tmp_path / "many" / "0.wav")
    code = """
import json, re, resource, sys
from pathlib import Path
from mulap_hf.embedding import Embedder
from mulap_hf.embedding_files import write_embeddings
folder = Path(sys.argv[1])
embedder = Embedder(folder / "model")
for files in ([folder / "1.wav"], [folder / "30.wav"], sorted((folder / "many").iterdir())):
    for workers in (0, 1):
        assert not write_embeddings(embedder, files, folder / "out.parquet", True, workers).failed
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    print(json.dumps([peak / 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))
"""
    result = run_fresh("-c", code, tmp_path)
    assert result.returncode == 0, result.stderr
    (short, short_worker), (long, long_worker), (many, _) = map(json.loads, result.stdout.splitlines())
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 400 * 3
    assert long - short < 60 and long_worker - short_worker < 60  # MiB; the samples alone are 110
    assert many - long < 60  # their samples are 244
