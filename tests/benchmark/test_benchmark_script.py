"""The benchmarks run and write complete reports. No test depends on a measured time."""

import json
from statistics import median

import pytest
from helpers import ROOT, run
from pictures import assert_shows_data

from mulap_hf import MulapConfig, MulapForPreTraining
from mulap_hf.benchmark import data, embedding, training, training_processes
from mulap_hf.benchmark.measure import Measurement, Variant, measure
from mulap_hf.benchmark.report import make_report, write_report


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The embedding report of the script, and the reports of two parts on little data."""
    folder = tmp_path_factory.mktemp("benchmark")
    result = run(
        ROOT / "training" / "benchmark.py", "embedding", "--output", folder, "--rounds", "2", "--presets", "tiny"
    )
    assert result.returncode == 0, result.stderr
    training.run(folder, 2, {"tiny": 2}, clip_seconds=4)
    data.run(folder, 2, {"tiny": 1}, batches=1, workers=[0], file_seconds=4)
    assert (folder / "embedding-tiny.md").read_text() in result.stdout
    return folder


@pytest.mark.parametrize(
    ("name", "variants"),
    [
        (
            "embedding-tiny",
            ["chunk by chunk, reference", "one batch, reference", "one batch, fast path", "matrix product, float32"],
        ),
        ("training-tiny", ["reference", "fast path"]),
        ("data", ["mp3 44.1 kHz stereo, workers=0", "training of the tiny model"]),
    ],
)
def test_reports_have_every_variant(reports, name, variants):
    measured = json.loads((reports / f"{name}.json").read_text())["variants"]
    assert set(variants) <= {variant["name"] for variant in measured}
    assert all(len(variant["seconds"]) == 2 and min(variant["seconds"]) > 0 for variant in measured)
    table = (reports / f"{name}.md").read_text()
    assert all(f"| {variant} |" in table for variant in variants if not variant.startswith("matrix product"))
    assert_shows_data(reports / f"{name}.png", 0.1)


def test_the_fast_path_equals_the_reference():
    assert embedding.largest_difference("tiny") < 1e-5
    config = MulapConfig.from_preset("tiny")
    inputs = training.make_batch(config, batch=4, clip_seconds=6)
    assert training.gradient_difference(MulapForPreTraining(config), inputs) < 1e-4


def test_operations_are_those_of_the_reference(reports):
    """Most of them are the convolutions over all frequency positions."""
    audio = MulapConfig.from_preset("tiny").audio_config
    frames, chunks = audio.chunk_length // audio.hop_length + 1, 10
    convolutions = 0
    for height in (int(fraction * audio.num_mel_bins) for fraction in audio.timbral_heights):
        heights = audio.num_mel_bins - height + 1
        convolutions += 2 * height * audio.timbral_width * heights * audio.timbral_channels * frames * chunks
    *variants, _ = json.loads((reports / "embedding-tiny.json").read_text())["variants"]
    assert len({variant["gflop"] for variant in variants}) == 1
    assert 1 < variants[0]["gflop"] / (convolutions / 1e9) < 1.5


def test_rounds_are_interleaved_and_rotated():
    order = []
    variants = [Variant(name, lambda name=name: order.append(name), units=2, gflop=3) for name in "abc"]
    measured = measure(variants, rounds=2, progress=False)
    assert order == list("abcbcacab")  # the first round is the warm-up
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
    report = make_report("Known numbers", [slow, fast, peak], "clips", ["slow"], "peak", ["A note."])
    text = write_report(tmp_path / "known", report, more="\nMore.\n")
    assert text.startswith("# Known numbers\n\nA note.\n\n") and text.endswith("\nMore.\n")
    assert "Peak rate: 10 GFLOP/s" in text and "medians over 3 interleaved rounds" in text
    # 10 clips in 2 s; the ratios of the rounds are 4, 8 and 2.
    assert "| slow | 5 (2.5 to 10) | 1.00 (1.00 to 1.00) | 2 | 20% | 7 MiB |" in text
    assert "| fast | 20 (20 to 20) | 4.00 (2.00 to 8.00) | 8 | 80% | 8 MiB |" in text
    assert (tmp_path / "known.md").read_text() == text
    raw = json.loads((tmp_path / "known.json").read_text())
    assert raw == report and median(raw["variants"][0]["seconds"]) == 2.0


def test_steps_in_two_processes():
    with training_processes.started("tiny", 1, 3.0, fast=True) as step:
        step()
        step()  # fails if one of the processes has failed
