"""training/zero_shot.py as its users run it."""

import json

import pyarrow.parquet as pq
import pytest
from helpers import ROOT, import_script, run
from pictures import assert_shows_data
from tones import SIZES, make_rows, write_split

from mulap_hf.errors import DataError

SCRIPT = ROOT / "training" / "zero_shot.py"


@pytest.fixture(scope="module")
def main():
    return import_script(SCRIPT).main


def arguments(place, model, *more):
    return list(map(str, ("--output_dir", place / "out", "--cache_dir", place / "features", "--model", model, *more)))


def test_tasks_and_retrieval_with_a_broken_clip(tmp_path, dataset, aligned_folder, main):
    rows = make_rows("test", SIZES["test"])
    rows[4]["audio"] = {"bytes": b"<html>404 Not Found</html>", "path": None}
    write_split(dataset, "test", rows)
    options = ("--data", dataset, "--task", "register", "sound", "--retrieval", "--top_k", 4, "--resamples", 50)
    done = run(SCRIPT, *arguments(tmp_path, aligned_folder, *options))
    assert done.returncode == 0, done.stderr
    assert "left out, 1 in all:\n* test-004:" in done.stderr
    report = json.loads((tmp_path / "out" / "zero_shot.json").read_text())
    methods = ["contrastive", "contrastive_calibrated", "matching", "matching_calibrated", "chance"]
    assert {name: list(splits["test"]) for name, splits in report["tasks"].items()} == {
        "register": methods,
        "sound": methods,
    }
    found = report["retrieval"]["test"]
    assert list(found["text_to_audio"]) == ["contrastive", "matching", "reranked", "chance"]
    number = found["audio_to_text"]["reranked"]["r5"]
    assert 0 <= number["low"] <= number["value"] <= number["high"] <= 1
    assert report["sizes"]["tasks"]["sound"]["test"] == {"clips": 17, "labels": 4}
    assert report["sizes"]["retrieval"]["test"]["clips"] == 17
    text = (tmp_path / "out" / "zero_shot.md").read_text()
    value = report["tasks"]["register"]["test"]["contrastive"]["accuracy"]
    assert f"| contrastive | {value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f}) |" in text
    assert text in done.stdout and "test-004" in text
    assert_shows_data(tmp_path / "out" / "zero_shot.png")
    with pytest.raises(DataError, match=r"out has results: .* --overwrite_output"):
        main(arguments(tmp_path, aligned_folder))


def test_without_a_task_all_that_have_classes(tmp_path, dataset, model_folder, main, capsys):
    main(arguments(tmp_path, model_folder, "--data", dataset, "--resamples", 10, "--templates", "{label}"))
    report = json.loads((tmp_path / "out" / "zero_shot.json").read_text())
    assert list(report["tasks"]) == ["register", "sound"] and report["retrieval"] == {}
    assert list(report["tasks"]["sound"]["test"]) == ["matching", "matching_calibrated", "chance"]
    assert "left out" not in capsys.readouterr().err


def test_invalid_options_are_refused(tmp_path, dataset, model_folder, main, capsys):
    def fails(message, *options):
        with pytest.raises(DataError, match=message):
            main(arguments(tmp_path, model_folder, *options))

    fails("task emotion: prompts cannot predict", "--task", "emotion", "--corpus_dir", tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()  # nothing was generated
    fails("it has no task 'genre'", "--data", dataset, "--task", "genre")
    fails("no contrastive scores: no joint embedding space", "--data", dataset, "--scores", "contrastive")
    fails(r"template 'x' has no \{label\}", "--data", dataset, "--templates", "x")
    fails("--top_k 0: at least 1", "--data", dataset, "--top_k", 0)
    fails("--data .*nowhere does not exist", "--data", tmp_path / "nowhere")
    fails(
        "--held_out_soundfont applies to the synthetic corpus only", "--data", dataset, "--held_out_soundfont", "x.sf2"
    )
    (dataset / "tasks.json").write_text("[]")
    fails("no task has classes; if it has descriptions, pass --retrieval", "--data", dataset)
    for shard in dataset.glob("test-*.parquet"):
        pq.write_table(pq.read_table(shard).drop_columns(["caption"]), shard)
    fails("its split test has no descriptions", "--data", dataset, "--retrieval")
    with pytest.raises(SystemExit):
        main(arguments(tmp_path, model_folder, "--scores", "best"))
    assert "invalid choice: 'best'" in capsys.readouterr().err


def test_help_explains_every_option(main, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "--recordings" in shown and "Bootstrap resamples of the test clips or queries" in shown
