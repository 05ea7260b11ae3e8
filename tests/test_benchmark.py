"""The benchmark runs and reports what it measured; no test times anything."""

import json

from helpers import ROOT, run


def test_data_pipeline(tmp_path):
    result = run(
        ROOT / "training" / "benchmark.py", "data", "--output", tmp_path, "--rounds", "2", "--batches", "1",
        "--workers", "0", "--presets", "tiny",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rates = json.loads((tmp_path / "data.json").read_text())["clips_per_second"]
    assert "mp3 44.1 kHz stereo, 0 workers" in rates
    assert "tiny model, training" in rates
    assert all(len(values) == 2 and min(values) > 0 for values in rates.values())
    table = (tmp_path / "data.md").read_text()
    assert all(f"| {name} |" in table for name in rates)
    assert (tmp_path / "data.png").stat().st_size > 10_000
