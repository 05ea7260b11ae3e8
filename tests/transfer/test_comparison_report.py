"""Results and report of a comparison from table entries with known numbers."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tones import PITCHES, make_rows, write_dataset, write_split

from mulap_hf.files import write_json
from mulap_hf.transfer.arguments import CompareArguments, ProbeArguments
from mulap_hf.transfer.comparison.entries import data_settings, entry_settings, zero_shot_settings
from mulap_hf.transfer.comparison.plan import Plan, Run
from mulap_hf.transfer.comparison.report import write_comparison_report
from mulap_hf.transfer.comparison.results import collect_results
from mulap_hf.transfer.protocol import Predictions

TESTS = {"test": 18, "test_presets": 18, "test_soundfont": 18}


@pytest.fixture
def plan(tmp_path) -> Plan:
    write_dataset(tmp_path / "tones")
    for split, number in TESTS.items():
        write_split(tmp_path / "tones", split, make_rows(split, number))
    args = CompareArguments(
        output_dir=str(tmp_path / "out"),
        strategies=["a", "b", "c"],
        reference=["b", "a"],
        seeds=[0, 1, 2],
        tasks=[f"{tmp_path / 'tones'}:register"],
        labels_per_class=[3],
        shares=[1.0],
        share_strategies=["a"],
        conditions=["noise_0db"],
        resamples=50,
    )
    return Plan(args, ProbeArguments(), {}, Path())


def write_entry(plan: Plan, strategy: str, seed: int, right: int, split: str = "test", labels: int | None = None):
    """An entry whose predictions are right for the first `right` tracks."""
    name = split.partition("-")[0]
    truth = np.arange(TESTS[name]) % len(PITCHES)
    predicted = np.where(np.arange(len(truth)) < right, truth, (truth + 1) % len(PITCHES))
    run, ((task, data),) = Run(strategy, 1.0, seed), plan.tasks()
    path = plan.entry(run, task, labels)
    ids = [f"{name}-{index:03d}" for index in range(len(truth))]
    Predictions(ids, np.eye(len(PITCHES))[predicted], []).save(path.with_suffix("") / f"{split}.npz")
    write_json(path, {"settings": entry_settings(plan, run, data_settings(data), labels)})


@pytest.fixture
def results(plan) -> dict:
    for seed, right in enumerate((18, 15, 12)):
        write_entry(plan, "a", seed, right)
    write_entry(plan, "b", 0, 9)
    write_entry(plan, "b", 2, 3)
    write_entry(plan, "c", 1, 15)
    write_entry(plan, "a", 0, 12, "test-noise_0db")
    write_entry(plan, "a", 1, 0, "test-noise_0db")  # left by an earlier run
    write_entry(plan, "a", 0, 9, labels=3)
    for strategy, right in (("a", 18), ("b", 0)):
        for split in ("test_presets", "test_soundfont"):
            write_entry(plan, strategy, 0, right, split)
    number = {"value": 0.25, "low": 0.2, "high": 0.3}
    zero_shot = {
        "tasks": {"tones-register": {split: {"matching": {"accuracy": number}} for split in TESTS}},
        "retrieval": {split: {"text_to_audio": {"matching": {"r10": number}}} for split in TESTS},
        "sizes": {"retrieval": {split: {"clips": 17} for split in TESTS}},
    }
    run, tasks = Run("a", 1.0, 0), {name: data_settings(data) for name, data in plan.tasks()}
    entry = {"zero_shot": zero_shot, "settings": zero_shot_settings(plan, run, tasks)}
    write_json(plan.entry(run, "zero_shot"), entry)
    found = collect_results(plan, plan.tasks())
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def test_seeds_belong_together(results):
    rows = results["scores"]["tones-register"]["test"]
    assert {name: row["by_seed"] for name, row in rows.items()} == {
        "a": {"0": 1, "1": pytest.approx(15 / 18), "2": pytest.approx(12 / 18)},
        "b": {"0": 0.5, "2": pytest.approx(3 / 18)},
        "c": {"1": pytest.approx(15 / 18)},
    }
    assert rows["a"]["accuracy"]["value"] == pytest.approx(15 / 18) and rows["a"]["accuracy"]["seeds"] == 3
    assert list(rows["a"]["differences"]) == ["b"] and list(rows["b"]["differences"]) == ["a"]
    difference = rows["a"]["differences"]["b"]  # of the seeds 0 and 2
    assert difference["value"] == pytest.approx(0.5) and difference["seeds"] == 2
    assert 0 < difference["low"] < 0.5 < difference["high"]
    assert rows["c"]["differences"] == {"a": {"value": 0, "low": 0, "high": 0, "seeds": 1}}
    assert len(results["missing"]) == 3


def test_robustness_is_of_the_first_seed(results):
    drop = results["drops"]["tones-register"]["a"]["noise_0db"]
    assert drop["value"] == pytest.approx(6 / 18) and drop["seeds"] == 1
    assert results["drops"]["tones-register"]["b"] == {}


def test_the_report(results, tmp_path):
    report = write_comparison_report(tmp_path, results).read_text()
    overview, _, rest = report.partition("## Tasks")
    columns = [f"tones-register, {split}" for split in TESTS]
    assert f"| strategy | {' | '.join(columns)} |" in overview
    one = "[1 of 3 seeds]"
    assert f"| a | **0.833** | **1.000** {one} | **1.000** {one} |" in overview
    assert f"| b | 0.333 [2 of 3 seeds] | 0.000 {one} | 0.000 {one} |" in overview
    assert f"| c | 0.833 {one} |  |  |" in overview
    assert "Compared with b" in overview and "tones-register: accuracy" in overview
    assert "### tones-register, test_soundfont (18 tracks, 3 outputs)" in rest
    header = "| strategy | accuracy | macro F1 | accuracy by seed | difference to b | difference to a |"
    assert header in rest
    rows = [line.split(" | ") for line in rest.partition(header)[2].splitlines()[2:5]]
    assert [row[3] for row in rows] == [
        "0.667 to 1.000 (3 of 3)",
        "0.167 to 0.500 (2 of 3)",
        "0.833 to 0.833 (1 of 3)",
    ]
    assert rows[0][4].startswith("**+0.500 (") and rows[0][4].endswith("** [2 of 3 seeds]")
    assert [row[4] for row in rows[1:]] == ["", ""]  # none to itself, and none without a seed of both
    assert "All numbers are from the first seed (0)." in rest
    assert re.search(r"\| a \| 0\.500 \(0.* to 0.*\) \[1 of 3 seeds\] \| 0\.833 \(", rest)  # of 3 labels, of all
    assert "## Data efficiency" not in rest  # a curve has two points
    for split in TESTS:
        assert f"### By prompts, {split}\n\n| strategy | method | tones-register, accuracy |" in rest
        table = "| a | matching | 17 | 0.250 (0.200 to 0.300) |"
        assert table in rest.partition(f"### Retrieval, text to audio, {split}")[2]


def test_one_seed_needs_no_column(plan, results, tmp_path):
    plan.args.seeds = [0]
    report = write_comparison_report(tmp_path, collect_results(plan, plan.tasks())).read_text()
    assert "seeds]" not in report and "by seed" not in report
    assert "| strategy | accuracy | macro F1 | difference to b | difference to a |" in report
