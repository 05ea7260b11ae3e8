"""Audio, embeddings and training data on S3: a real server on this machine."""

import io
import json
import tarfile
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3_server
from accelerate import Accelerator, DataLoaderConfiguration
from helpers import ROOT, import_script, write_tone

from mulap_hf import load_audio
from mulap_hf.cli import main
from mulap_hf.data.collator import PreTrainingCollator
from mulap_hf.data.loading import BatchStream, training_loader
from mulap_hf.data.streams import has_split, open_pairs
from mulap_hf.embedding import Embedder
from mulap_hf.embedding_files import write_embeddings
from mulap_hf.errors import DataError

bucket = s3_server.bucket
CLIPS = 14
TINY = {
    "audio_config": {"chunk_length": 4800, "pitch_channels": 0, "n_fft": 256, "num_mel_bins": 24,
                     "timbral_channels": 4, "temporal_channels": 3, "temporal_lengths": [9, 5], "midend_channels": 6},
}  # fmt: skip


@pytest.fixture(scope="module")
def music(tmp_path_factory, bucket) -> Path:
    """Six songs, and a broken one, here and in the bucket."""
    folder = tmp_path_factory.mktemp("here") / "songs"
    for index in range(6):
        write_tone(folder / f"{'ab'[index % 2]}/{index}.{'mp3' if index % 3 == 1 else 'wav'}", seconds=1, seed=index)
    (folder / "broken.wav").write_bytes(b"noise")
    (folder / "notes.txt").write_text("no audio")
    s3_server.upload(folder, f"{bucket}/songs")
    return folder


@pytest.fixture
def embed(model_folder, capsys):
    def run_command(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["embed", "--model", str(model_folder), *map(str, arguments)])
        return end.value.code, *capsys.readouterr()

    return run_command


def rows_at(address: str) -> dict[str, np.ndarray]:
    """The embedding of each path in a folder of the bucket; no path twice."""
    import s3fs

    files = s3fs.S3FileSystem()
    tables = [pq.read_table(io.BytesIO(files.cat(name))) for name in files.glob(f"{address}/embeddings-*.parquet")]
    rows = [row for table in tables for row in table.to_pylist()]
    assert len({row["path"] for row in rows}) == len(rows)
    return {row["path"]: np.array(row["embedding"]) for row in rows}


@pytest.mark.parametrize("workers", [0, 2])
def test_embed_from_and_to_a_bucket(embed, bucket, music, model_folder, tmp_path, workers):
    output = f"{bucket}/embeddings{workers}"
    status, printed, errors = embed(f"{bucket}/songs", "--output", output, "--workers", workers)
    assert status == 1 and printed == f"6 of 7 files embedded in {output}\n"
    assert f"{bucket}/songs/broken.wav: broken, or not in a format" in errors
    assert f".txt files: 1, first {bucket}/songs/notes.txt" in errors
    status, _, _ = embed(music, "--output", f"{tmp_path}/here/")
    expected = {f"{bucket}/songs{path[len(str(music)) :]}": values for path, values in rows_at_here(tmp_path).items()}
    found = rows_at(output)
    assert set(found) == set(expected)
    for path, values in expected.items():
        np.testing.assert_allclose(found[path], values, rtol=0, atol=1e-6 * values.max())


def rows_at_here(folder: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(folder / "here" / "embeddings-000000.parquet").to_pylist()
    return {row["path"]: np.array(row["embedding"]) for row in table}


def test_interrupted_run_resumes(bucket, music, model_folder, monkeypatch):
    paths, asked = [f"{bucket}/songs/{name}" for name in ("a/0.wav", "a/2.wav", "b/1.mp3", "b/3.wav")], []
    original = Embedder.embed_all

    def stop_after_two(self, paths, workers=0):
        asked.extend(paths)
        for index, result in enumerate(original(self, paths, workers)):
            if index == 2:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(Embedder, "embed_all", stop_after_two)
    embedder, output = Embedder(model_folder), f"{bucket}/interrupted"
    with pytest.raises(KeyboardInterrupt):
        write_embeddings(embedder, paths, output, progress=False)
    assert set(rows_at(output)) == set(paths[:2])
    asked.clear()
    write_embeddings(embedder, paths, output, progress=False)
    assert asked == paths[2:] and set(rows_at(output)) == set(paths)
    asked.clear()
    write_embeddings(embedder, paths, output, progress=False, modified={paths[1]: 1e12})
    assert asked == paths[1:2] and set(rows_at(output)) == set(paths)


def test_a_table_of_addresses(embed, bucket, music, tmp_path):
    (tmp_path / "songs.csv").write_text(f"path\nsongs/a/0.wav\n{bucket}/songs/a/2.wav\nsongs/gone.wav\n")
    s3_server.upload(tmp_path, bucket)
    status, _, errors = embed("--paths", f"{bucket}/songs.csv", "--output", f"{tmp_path}/out/")
    assert status == 1 and f"{bucket}/songs/gone.wav: it cannot be read: it does not exist" in errors
    paths = pq.read_table(tmp_path / "out" / "embeddings-000000.parquet")["path"].to_pylist()
    assert sorted(paths) == [f"{bucket}/songs/a/0.wav", f"{bucket}/songs/a/2.wav"]
    assert len(load_audio(paths[0])) == 16000


def test_buckets_that_cannot_be_read(embed, bucket, music):
    for arguments in (
        ["s3://nobody/songs", "--output", f"{bucket}/out"],
        [f"{bucket}/nothing", "--output", f"{bucket}/out"],
        [music / "a", "--output", "s3://nobody/out"],
        ["--paths", "s3://nobody/songs.parquet", "--output", f"{bucket}/out"],
    ):
        status, _, errors = embed(*arguments)
        assert status == 2 and "Traceback" not in errors
        message = errors.splitlines()[-1]
        assert message.startswith("error: s3://") and "does not exist" in message and "check the address" in message


@pytest.fixture(scope="module")
def described(tmp_path_factory, bucket) -> Path:
    """Described clips as parquet files and as tars, here and in the bucket."""
    folder = tmp_path_factory.mktemp("described")
    clips = []
    for index in range(CLIPS):
        write_tone(folder / "clip.wav", seconds=1, seed=index)
        clips.append(((folder / "clip.wav").read_bytes(), f"clip number {index} of the piano"))
    (folder / "clip.wav").unlink()
    audio = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema({"id": pa.string(), "audio": audio, "caption": pa.string(), "recording": pa.string()})
    for name in ("shards", "tars"):
        (folder / name).mkdir()
    for number, split in enumerate(("train", "train", "validation")):
        part = [(index, *clip) for index, clip in enumerate(clips) if index % 3 == number]
        rows = [
            {"id": str(index), "audio": {"bytes": sound, "path": f"{index}.wav"}, "caption": text, "recording": text}
            for index, sound, text in part
        ]
        shard = folder / "shards" / f"{split}-0000{number}-of-00003.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema), shard)
        with tarfile.open(folder / "tars" / f"{split}-{number}.tar", "w") as tar:
            for index, sound, text in part:
                for member, content in ((f"{index}.wav", sound), (f"{index}.txt", text.encode())):
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    s3_server.upload(folder, f"{bucket}/described")
    return folder


@pytest.mark.parametrize("kind", ["shards", "tars"])
def test_pairs_in_a_bucket_are_those_here(described, bucket, kind):
    address = f"{bucket}/described/{kind}"
    assert has_split(address, "validation") and not has_split(address, "test")
    for split in ("train", "validation"):
        here, there = open_pairs(described / kind, split), open_pairs(address, split)
        assert list(there.dataset) == list(here.dataset)
        assert there.ids == here.ids and there.fingerprint is not None
    with pytest.raises(DataError, match="no split 'test'; there are train, validation"):
        open_pairs(address, "test")
    with pytest.raises(DataError, match="no parquet or tar files there"):
        open_pairs(f"{bucket}/songs")
    with pytest.raises(DataError, match="s3://nobody/x: it cannot be listed: it does not exist"):
        open_pairs("s3://nobody/x")


@pytest.mark.parametrize(("kind", "workers"), [("shards", 2), ("tars", 0)])
def test_a_stream_from_a_bucket_resumes_exactly(described, bucket, processor, kind, workers):
    def stream() -> BatchStream:
        collator = PreTrainingCollator(processor=processor, chunk_length=4800, clip_seconds=0.6)
        loader = training_loader(open_pairs(f"{bucket}/described/{kind}"), collator, 2, workers, shuffle_buffer=4)
        accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(dispatch_batches=False))
        return BatchStream(accelerator.prepare(loader), collator)

    whole, first, second = stream(), stream(), stream()
    expected = list(islice(iter(whole), 8))
    batches = iter(first)
    begun = list(islice(batches, 3))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    resumed = [*begun, *islice(iter(second), 5)]
    assert [batch["ids"] for batch in resumed] == [batch["ids"] for batch in expected]
    for one, other in zip(resumed, expected, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in ("input_values", "input_ids"))


def test_pretraining_from_a_bucket(described, bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    options = {
        "train_data": f"{bucket}/described/tars", "output_dir": tmp_path / "model", "config": json.dumps(TINY),
        "clip_seconds": 0.6, "batch_size": 2, "max_steps": 2, "num_workers": 0, "cpu_threads": 1, "trackers": "none",
        "checkpoint_steps": 1, "vocab_size": 60,
    }  # fmt: skip
    flags = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    import_script(ROOT / "training" / "pretrain.py").main(flags)
    settings = json.loads((tmp_path / "model" / "training_settings.json").read_text())
    assert settings["run"]["data"] == {"folder": f"{bucket}/described/tars"}
    assert settings["run"]["steps"] == 2
