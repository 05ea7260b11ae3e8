"""The benchmark runs and reports what it measured; no test times anything."""

import json
from statistics import median

import pytest
from helpers import ROOT, run

from mulap_hf.benchmark.measure import Measurement, Variant, measure
from mulap_hf.benchmark.report import write_report


def test_script(tmp_path):
    result = run(
        ROOT / "training" / "benchmark.py", "embedding", "training", "data", "--output", tmp_path, "--rounds", "2",
        "--batches", "1", "--workers", "0", "--presets", "tiny",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    expected = {
        "embedding-tiny": ["chunk by chunk, plain", "all chunks, plain", "all chunks", "matrix product, float32"],
        "training-tiny": ["plain", "default"],
        "data": ["mp3 44.1 kHz stereo, 0 workers", "tiny model, training"],
    }
    for name, variants in expected.items():
        measured = json.loads((tmp_path / f"{name}.json").read_text())["variants"]
        by_name = {variant["name"]: variant for variant in measured}
        assert set(variants) <= set(by_name)
        assert all(len(variant["seconds"]) == 2 and min(variant["seconds"]) > 0 for variant in measured)
        table = (tmp_path / f"{name}.md").read_text()
        assert table in result.stdout
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    # 1,4 GMAC of the two timbral convolutions, ten chunks: the count is of the work, not of what a variant does.
    embedding = json.loads((tmp_path / "embedding-tiny.json").read_text())["variants"]
    assert len({variant["gflop"] for variant in embedding[:-1]}) == 1


def test_measurements_are_of_the_same_rounds():
    order = []
    variants = [Variant(name, lambda name=name: order.append(name), units=2, gflop=3) for name in "abc"]
    measured = measure(variants, rounds=2, progress=False)
    assert order == list("abcbcacab")  # the first round does not count
    assert [(row.name, len(row.seconds)) for row in measured] == [("a", 2), ("b", 2), ("c", 2)]


def test_peak_memory_is_that_of_the_variant():
    variants = [Variant("large", lambda: bytearray(64 * 2**20), 1), Variant("small", lambda: bytearray(2**20), 1)]
    large, small = measure(variants, rounds=2, progress=False)
    assert large.peak_mib == pytest.approx(64, abs=8)
    assert small.peak_mib < 10


def test_report_of_known_numbers(tmp_path):
    slow = Measurement("slow", units=10, gflop=4, seconds=[2.0, 4.0, 1.0], peak_mib=7)
    fast = Measurement("fast", units=20, gflop=8, seconds=[1.0, 1.0, 1.0], peak_mib=8)
    peak = Measurement("peak", units=1, gflop=1, seconds=[0.1, 0.1, 0.1])
    text = write_report(tmp_path / "made", [slow, fast, peak], "clips", ["slow"], roof="peak", notes=["Made up."])
    assert "Made up." in text
    assert "Roof: 10 GFLOP/s" in text
    # 10 clips in 2 s; the ratios of the rounds are 4, 8 and 2.
    assert "| slow | 5 (2.5 to 10) | 1.00 (1.00 to 1.00) | 2 | 20% | 7 MiB |" in text
    assert "| fast | 20 (20 to 20) | 4.00 (2.00 to 8.00) | 8 | 80% | 8 MiB |" in text
    raw = json.loads((tmp_path / "made.json").read_text())
    assert median(raw["variants"][0]["seconds"]) == 2.0
