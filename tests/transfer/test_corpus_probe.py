import json

import pytest
from pictures import assert_shows_data

from mulap_hf.transfer.corpus_probe import main


def test_the_report(tmp_path):
    arguments = ["--output", str(tmp_path), "--num_train", "132", "--num_test", "48", "--clip_seconds", "4"]
    main([*arguments, "--num_workers", "1"])
    scores = {
        (score["task"], score["split"]): score["value"] for score in json.loads((tmp_path / "probe.json").read_text())
    }
    assert scores["style, 10 labels per class", "test"] > 2 / 12
    assert scores["style from length", "test"] == pytest.approx(1 / 12, abs=0.001)
    assert scores["key", "test"] > 2 / 24
    report = (tmp_path / "probe.md").read_text()
    assert "| style from level and peak | accuracy | 0.083 |" in report
    assert_shows_data(tmp_path / "probe.png", 0.05)
