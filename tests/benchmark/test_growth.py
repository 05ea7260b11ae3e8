"""Benchmarks of folders and of growth. No test depends on a measured time."""

import json
import os
from statistics import median

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import micro_config
from pictures import assert_shows_data

from mulap_hf import MulapAudioModel
from mulap_hf.benchmark import folder, growth
from mulap_hf.benchmark.measure import Measurement
from mulap_hf.benchmark.processes import run_embed
from mulap_hf.embedding import Embedder
from mulap_hf.embedding_files import write_embeddings


def test_folder(tmp_path):
    formats = [("wav", 16000, 1), ("mp3", 44100, 2)]
    text = folder.run(tmp_path, 2, ["tiny"], files=12, file_seconds=3.0, workers=[0, 1], formats=formats)
    for suffix, _, _ in formats:
        path = tmp_path / f"folder-tiny-{suffix}"
        raw = json.loads(path.with_suffix(".json").read_text())["variants"]
        pipelines = ["pipeline, workers=0", "pipeline, workers=1"]
        assert [row["name"] for row in raw] == [folder.SEQUENTIAL, *pipelines, folder.DECODING, folder.MODEL]
        for row in raw:
            assert row["units"] == 36 and len(row["seconds"]) == 2
            table = path.with_suffix(".md").read_text().splitlines()
            line = next(line for line in table if line.startswith(f"| {row['name']} |"))
            rate = float(line.split("|")[2].split()[0].replace(",", ""))
            assert rate == pytest.approx(36 / median(row["seconds"]), rel=0.01)
        page = path.with_suffix(".md").read_text()
        assert page in text
        rates = {row["name"]: 36 / median(row["seconds"]) for row in raw}
        allowed = 1 / (1 / rates[folder.DECODING] + 1 / rates[folder.MODEL])
        assert f"they allow {allowed:,.0f} seconds of audio per second" in page
        best = max(rates[name] for name in rates if name not in (folder.DECODING, folder.MODEL))
        assert f"reaches {best / allowed:.0%} of that" in page
        assert_shows_data(path.with_suffix(".png"), 0.1)


def test_all_variants_compute_the_same_embeddings(tmp_path):
    files = folder.make_files(tmp_path / "music", 12, 3.0, "flac", 44100, 2)
    assert files[11].samefile(files[1]) and not files[1].samefile(files[0])
    embedder = Embedder(MulapAudioModel(micro_config().audio_config))
    folder.one_by_one(embedder, files, tmp_path / "sequential.parquet")
    write_embeddings(embedder, files, tmp_path / "pipeline.parquet", workers=1, progress=False)
    sequential, pipeline = (
        pq.read_table(tmp_path / f"{name}.parquet").to_pydict() for name in ("sequential", "pipeline")
    )
    assert sequential["path"] == pipeline["path"] and sequential["seconds"] == pipeline["seconds"]
    np.testing.assert_allclose(sequential["embedding"], pipeline["embedding"], rtol=1e-5, atol=1e-5)


def test_growth(tmp_path):
    sizes = {"track": [1], "folder": [3], "batch": [1, 2], "text": [4, 8, 512], "pairs": [1, 2]}
    text = growth.run(tmp_path, 1, "tiny", sizes, options=["--workers", "1"])
    units = {"track": [1], "folder": [30], "batch": [1, 2], "text": [4, 8], "pairs": [1, 4]}
    for kind, expected in units.items():
        path = tmp_path / f"growth-{kind}-tiny"
        raw = json.loads(path.with_suffix(".json").read_text())
        assert [row["units"] for row in raw["sizes"]] == expected
        assert all(len(row["seconds"]) == 1 and row["seconds"][0] > 0 for row in raw["sizes"])
        assert path.with_suffix(".md").read_text() in text
        assert_shows_data(path.with_suffix(".png"), 0.0005)  # a single point is small
        if kind in ("track", "folder") and os.path.exists("/proc/self/smaps_rollup"):
            assert all(row["peak_mib"] > 100 for row in raw["sizes"])  # torch alone takes more


def test_report_of_known_numbers(tmp_path):
    rows = [Measurement("10", 10, seconds=[2.0, 4.0, 1.0], peak_mib=7), Measurement("40", 40, seconds=[8.0] * 3)]
    text = growth.write_growth(tmp_path / "known", growth.make_growth_report("track", "tiny", rows))
    assert "The model has the preset `tiny`" in text
    assert "to the power of 1.00" in text
    assert "| 10 | 2 (1 to 4) | 5 | 200,000 | 7 MiB |" in text
    assert "| 40 | 8 (8 to 8) | 5 | 200,000 | unknown |" in text


def test_the_error_of_a_failed_command_is_shown(tmp_path):
    with pytest.raises(RuntimeError, match=r"status 2: error: .*nowhere does not exist"):
        run_embed(tmp_path / "nowhere", "--model", tmp_path, "--output", tmp_path / "out.parquet")
