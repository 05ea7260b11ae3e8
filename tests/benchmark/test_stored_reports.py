"""The reports in model_cards/benchmark are what the package renders from their stored numbers."""

import json

import pytest
from helpers import ROOT

from mulap_hf.benchmark.folder import render_profile
from mulap_hf.benchmark.gpu import render_limits
from mulap_hf.benchmark.growth import render_growth
from mulap_hf.benchmark.precision import render_accuracy
from mulap_hf.benchmark.report import render
from mulap_hf.benchmark.search import render_search
from mulap_hf.benchmark.startup import render_startup

REPORTS = sorted((ROOT / "model_cards" / "benchmark").glob("*.json"))


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_stored_pages_are_up_to_date(path):
    report = json.loads(path.read_text(encoding="utf-8"))
    pages = {"sizes": render_growth, "seconds": render_startup}
    text = next((page for key, page in pages.items() if key in report), render)(report)
    text += render_accuracy(report) if "accuracy" in report else ""
    text += render_search(report) if "catalogs" in report else ""
    text += render_profile(report) if "profile" in report else ""
    text += render_limits(report) if "limits" in report else ""
    assert path.with_suffix(".md").read_text(encoding="utf-8") == text
