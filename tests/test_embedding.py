"""The `mulap embed` command as a user runs it: a real process on real files."""

import shutil
import sysconfig
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import torch
from helpers import micro_config, run, settle, write_tone
from transformers import BertConfig, BertModel

from mulap_hf import MulapAudioModel, MulapForPreTraining, load_audio
from mulap_hf.cli import main
from mulap_hf.embedding import Embedder, write_embeddings

MULAP = Path(sysconfig.get_path("scripts")) / "mulap"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    settle(MulapForPreTraining(micro_config())).save_pretrained(folder)
    return folder


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    for index, name in enumerate(("a.wav", "b.mp3", "deep/c.flac", "deep/d.ogg")):
        write_tone(folder / name, seconds=1.0 + index, rate=44100 if index % 2 else 16000, channels=1 + index % 2)
    return folder


def test_tracks(model_folder, music, tmp_path):
    (music / "broken.mp3").write_bytes(b"noise")
    (music / "notes.txt").write_text("no audio")
    output = tmp_path / "out" / "embeddings.parquet"
    result = run(MULAP, "embed", music, "--model", model_folder, "--output", output)
    assert result.returncode == 1, result.stderr
    assert "4 of 5 files embedded" in result.stdout
    assert "broken.mp3: broken, or not in a format" in result.stderr
    rows = pq.read_table(output).to_pylist()
    assert [Path(row["path"]).name for row in rows] == ["a.wav", "b.mp3", "c.flac", "d.ogg"]
    model = MulapAudioModel.from_pretrained(model_folder).eval()
    for row in rows:
        waveform = load_audio(row["path"])
        assert row["seconds"] == len(waveform) / 16000
        with torch.no_grad():
            expected = model(torch.from_numpy(waveform)[None]).pooler_output[0].numpy()
        np.testing.assert_allclose(row["embedding"], expected, rtol=1e-5, atol=1e-4)
    assert list(output.parent.iterdir()) == [output]

    again = run(MULAP, "embed", music, "--model", model_folder, "--output", output)
    assert again.returncode == 2
    assert "pass --overwrite" in again.stderr


def test_chunks_with_times(model_folder, music, tmp_path):
    output = tmp_path / "chunks.parquet"
    result = run(MULAP, "embed", music / "a.wav", "--model", model_folder, "--output", output, "--per_chunk")
    assert result.returncode == 0, result.stderr
    rows = pq.read_table(output).to_pylist()
    assert [(row["chunk"], row["start"], row["end"]) for row in rows] == [
        (index, pytest.approx(0.3 * index), pytest.approx(0.3 * index + 0.3)) for index in range(3)
    ]
    assert len(rows[0]["embedding"]) == micro_config().audio_config.feature_size


def test_bad_arguments(model_folder, music, tmp_path, capsys):
    bert = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    BertModel(bert).save_pretrained(tmp_path / "bert")
    (tmp_path / "empty").mkdir()
    for path, model, message in (
        (tmp_path / "nowhere", model_folder, "nowhere does not exist"),
        (tmp_path / "empty", model_folder, "no audio files in"),
        (music, tmp_path / "no_model", "found neither as a folder nor on the Hub"),
        (music, tmp_path / "bert", "is no MuLaP"),
    ):
        status = main(["embed", str(path), "--model", str(model), "--output", str(tmp_path / "out.parquet")])
        assert status == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out.parquet").exists()


def test_interrupted_run_goes_on(model_folder, music, tmp_path, monkeypatch):
    files = sorted(music.rglob("*.*"))
    output = tmp_path / "out.parquet"
    embedder = Embedder(model_folder)
    monkeypatch.setattr("mulap_hf.embedding._ROWS_PER_PART", 1)

    original, lengths = Embedder.chunk_features, []

    def interrupted(self, waveforms):
        lengths.append(len(waveforms[0]))
        if len(lengths) == 3:
            raise KeyboardInterrupt
        return original(self, waveforms)

    monkeypatch.setattr(Embedder, "chunk_features", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_embeddings(embedder, files, output, progress=False)
    assert not output.exists()
    with pytest.raises(ValueError, match="another model or other settings"):
        write_embeddings(embedder, files, output, per_chunk=True, progress=False)
    assert write_embeddings(embedder, files, output, progress=False) == []
    assert len(lengths) == 5 and lengths[2] == lengths[3]  # only the one that was interrupted is embedded again
    assert [Path(path).name for path in pq.read_table(output)["path"].to_pylist()] == [
        "a.wav",
        "b.mp3",
        "c.flac",
        "d.ogg",
    ]


def test_an_hour_takes_less_than_two_gigabytes(model_folder, tmp_path):
    minute = (np.sin(np.arange(60 * 16000) * 0.05) * 10000).astype(np.int16)
    with sf.SoundFile(tmp_path / "hour.wav", "w", 16000, 1) as file:
        for _ in range(60):
            file.write(minute)
    code = (
        "import resource, sys\nfrom mulap_hf.cli import main\n"
        "status = main(sys.argv[1:])\nprint(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    output = tmp_path / "out.parquet"
    result = run("-c", code, "embed", tmp_path / "hour.wav", "--model", model_folder, "--output", output)
    status, kilobytes = result.stdout.split()[-2:]
    assert status == "0", result.stderr
    assert pq.read_table(output)["seconds"][0].as_py() == 3600
    assert int(kilobytes) < 2_000_000


def test_same_file_same_bits(model_folder, music):
    embedder = Embedder(model_folder)
    shutil.copy(music / "b.mp3", music / "copy.mp3")
    assert np.array_equal(embedder.embed(music / "b.mp3").track, embedder.embed(music / "copy.mp3").track)
