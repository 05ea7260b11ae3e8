"""The comparison reports in model_cards/results are what the package renders from their stored numbers."""

import json

import pytest
from helpers import ROOT
from pictures import assert_shows_data

from mulap_hf.transfer.comparison.report import write_comparison_report

RESULTS = ROOT / "model_cards" / "results"


@pytest.mark.parametrize(
    "stored", [RESULTS, RESULTS / "ablation", RESULTS / "small"], ids=["comparison", "ablation", "small"]
)
def test_stored_reports_are_up_to_date(stored, tmp_path):
    numbers = (stored / "comparison.json").read_text(encoding="utf-8")
    write_comparison_report(tmp_path, json.loads(numbers))
    for name in ("comparison.json", "comparison.md"):
        assert (tmp_path / name).read_text(encoding="utf-8") == (stored / name).read_text(encoding="utf-8")
    pictures = sorted(path.name for path in (stored / "comparison").iterdir())
    assert pictures == sorted(path.name for path in (tmp_path / "comparison").iterdir())
    for name in pictures:
        assert_shows_data(stored / "comparison" / name, 0.005)
