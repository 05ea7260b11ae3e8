"""The part for the start-up of commands. No test depends on a measured time."""

import json

import pytest
from helpers import ROOT
from pictures import assert_shows_data

from mulap_hf.benchmark import startup


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(startup, "_IMPORTS", ("pass", "import mulap_hf"))
    monkeypatch.setattr(startup, "_MULAP", ("", "embed"))


def test_report(tmp_path):
    text = startup.run(tmp_path, 1, [ROOT / "training" / "transfer.py"])
    seconds = json.loads((tmp_path / "startup.json").read_text())["seconds"]
    assert {"mulap --help", "mulap embed --help", "training/transfer.py --help", "python -c 'pass'"} <= seconds.keys()
    assert all(len(values) == 1 and values[0] > 0 for values in seconds.values())
    for name, (value,) in seconds.items():
        assert f"| `{name}` | {value:.2f} ({value:.2f} to {value:.2f}) |" in text
    assert (tmp_path / "startup.md").read_text() == text
    assert_shows_data(tmp_path / "startup.png")


def test_a_command_that_fails(tmp_path):
    (tmp_path / "broken.py").write_text("raise SystemExit('no such thing')")
    with pytest.raises(RuntimeError, match=r"broken.py.* failed with exit status 1: no such thing"):
        startup.run(tmp_path, 1, [tmp_path / "broken.py"])
