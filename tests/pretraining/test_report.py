"""The report of a run: what it says is what the run's files say, and every metric has its panel."""

import importlib.metadata
import json
import math
import sys

import numpy as np
import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image

from mulap_hf.data.schema import Skipped
from mulap_hf.pretraining.report import environment, write_report
from mulap_hf.pretraining.tracking import RunLog

SETTINGS = {
    "model": {"preset": "tiny", "text_model": None},
    "data": {"train_data": "Bjørk | Ólafur"},
    "training": {"max_steps": 240, "objective": "masked"},
    "pairs": {"train": 600, "validation": 64},
    "seconds": 3723.4,
}
BLUE, ORANGE, GREEN, GREY = (31, 119, 180), (255, 127, 14), (44, 160, 44), (102, 102, 102)


@pytest.fixture
def accelerator():
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)


def log_run(folder, accelerator, steps: int = 240, every: int = 4, validate_every: int | None = 60):
    """As a run on noisy data logs it; the second half over-fits."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    log = RunLog(folder, accelerator)
    for step in range(every, steps + 1, every):
        done = step / steps
        losses = {"mlm_loss": 5 * math.exp(-3 * done) + rng.normal(0.6, 0.1), "matching_loss": rng.normal(0.69, 0.03)}
        optimizer = {"learning_rate": 1e-3 * (1 - done), "grad_norm": rng.normal(2, 0.2)}
        others = {"clips_per_second": 30 + step % 8, "temperature": 0.07}
        log.add("train", step, step // 25, {"loss": sum(losses.values()), **losses, **optimizer, **others})
        if validate_every and step % validate_every == 0:
            scores = {"matching_accuracy": 0.5 + done / 8, "mam_r2": done - done**2 - 0.1, "matching_auc": math.nan}
            features = {"feature_std": 0.8 - done / 2, "effective_rank": 40 - 10 * done}
            log.add("validation", step, step // 25, {"mlm_loss": 1 + done, **scores, **features})


def tables(path) -> dict[str, list[list[str]]]:
    """Rows of cells by the header's first cell."""
    found, rows = {}, None
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            rows = None
            continue
        cells = [cell.strip() for cell in line.replace("\\|", "\0").strip("|").split("|")]
        if rows is None:
            rows = found[cells[0]] = []
        rows.append([cell.replace("\0", "|") for cell in cells])
    return {name: [rows[0], *rows[2:]] for name, rows in found.items()}


def has_color(path, color) -> bool:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return bool((pixels == color).all(axis=-1).sum() > 20)


def test_report_of_a_whole_run(accelerator, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # cannot be imported: its figures are global
    monkeypatch.setattr(sys, "argv", ["training/pretrain.py", "--train_data", "my music"])
    log_run(tmp_path / "mine", accelerator)
    path = write_report(
        tmp_path / "mine", SETTINGS, environment(accelerator), kept_step=180, warnings=["It collapses."]
    )
    assert path == tmp_path / "mine" / "training_report.md"
    text = path.read_text(encoding="utf-8")
    assert text.startswith(
        "# Training of `mine`\n\n"
        "Objective: masked; steps: 240 of 240; training pairs: 600; validation pairs: 64; duration: 1 h 2 min; "
        "kept step: 180.\n\n"
        "> **Warning:** It collapses.\n"
    )
    found = tables(path)
    assert found["metric"] == [
        ["metric", "kept, step 180", "last, step 240", "baseline"],
        ["mlm_loss", "1.75", "2", ""],
        ["matching_accuracy", "0.5938", "0.625", "0.5"],
        ["mam_r2", "0.0875", "-0.1", "0"],
        ["matching_auc", "nan", "nan", "0.5"],
        ["feature_std", "0.425", "0.3", ""],
        ["effective_rank", "32.5", "30", ""],
    ]
    assert found["measure"][1:3] == [["clips_per_second, median", "32"], ["total time", "1 h 2 min"]]
    assert "```sh\ntraining/pretrain.py --train_data 'my music'\n```" in text
    assert json.loads(text.split("```json\n")[1].split("\n```")[0]) == SETTINGS
    assert "Nothing was skipped." in text
    machine = dict(found["what"])
    assert machine["transformers"] == importlib.metadata.version("transformers")
    assert machine["mulap-hf"] == importlib.metadata.version("mulap-hf")
    assert (machine["device"], machine["processes"], machine["mixed_precision"]) == ("cpu", "1", "no")


def test_pictures_have_a_panel_per_metric(accelerator, tmp_path):
    log_run(tmp_path / "run", accelerator)
    path = write_report(tmp_path / "run", SETTINGS, environment(accelerator), kept_step=180)
    pictures = sorted((tmp_path / "run" / "training_report").iterdir())
    # loss, mlm, matching; rate, norm; accuracy, r2 (auc was never a number); one alone
    columns = {"features": 2, "losses": 3, "optimization": 2, "other": 1, "scores": 2, "throughput": 1}
    assert {picture.stem: round(Image.open(picture).width / 440) for picture in pictures} == columns
    assert all(Image.open(picture).height == 360 for picture in pictures)
    for picture in pictures:
        name = picture.stem
        assert f"![{name}](training_report/{name}.png)" in path.read_text(encoding="utf-8")
        assert has_color(picture, GREEN)  # the kept step
        assert has_color(picture, BLUE) == (name not in ("scores", "features"))  # train
        assert has_color(picture, ORANGE) == (name in ("losses", "scores", "features"))  # validation
        assert has_color(picture, GREY) == (name == "scores")  # the baseline


def test_a_single_point_without_validation(accelerator, tmp_path):
    log_run(tmp_path / "run", accelerator, steps=4, validate_every=None)
    text = write_report(tmp_path / "run", {}, environment()).read_text(encoding="utf-8")
    assert (
        "Objective: unknown; steps: 4 of unknown; training pairs: unknown; validation pairs: unknown; "
        "duration: unknown; kept step: unknown." in text
    )
    assert "Nothing was measured on held-out pairs." in text
    assert "| device | unknown |" in text
    assert has_color(tmp_path / "run" / "training_report" / "losses.png", BLUE)
    assert not has_color(tmp_path / "run" / "training_report" / "losses.png", GREEN)


def test_nothing_logged(accelerator, tmp_path):
    RunLog(tmp_path, accelerator)
    text = write_report(tmp_path, SETTINGS, {}).read_text(encoding="utf-8")
    assert "steps: 0 of 240" in text
    assert "![" not in text
    assert "```sh\nunknown\n```" in text


def test_names_of_skipped_items_do_not_break_the_table(accelerator, tmp_path):
    RunLog(tmp_path, accelerator)
    silent = [Skipped(f"{number}.wav", "silent", "-90 dB") for number in range(7)]
    hostile = Skipped("a|b\n`c`\x1b[31m\u202e\udce9.wav", "no such file", "x\ny")
    path = write_report(tmp_path, SETTINGS, environment(), skipped=[hostile, *silent])
    assert tables(path)["reason"] == [
        ["reason", "items", "which"],
        ["silent", "7", "`0.wav`, `1.wav`, `2.wav`, `3.wav`, `4.wav`, ..."],
        ["no such file", "1", r"`` a|b\n`c`\x1b[31m\u202e\udce9.wav ``"],
    ]
    assert "All 8, with details: `skipped.jsonl`." in path.read_text(encoding="utf-8")
    items = [Skipped(**json.loads(line)) for line in (tmp_path / "skipped.jsonl").open()]
    assert items == [hostile, *silent]
