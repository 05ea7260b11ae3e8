"""`training/similarity.py`: triplets, the whole run on a few synthetic pieces, and refused data."""

import json

import numpy as np
import pytest
from helpers import ROOT, import_script, micro_config, settle
from transformers import pipeline

from mulap_hf import MulapForPreTraining
from mulap_hf.errors import MulapError
from mulap_hf.similarity.evaluation import draw_triplets, triplet_accuracy
from mulap_hf.similarity.pieces import components, open_pieces
from mulap_hf.synthetic import CorpusConfig
from mulap_hf.synthetic.write import write_grids

FACTORS = ["melody", "rhythm", "timbre"]


def grids(number: int) -> dict[str, np.ndarray]:
    pieces = np.arange(8 * number)
    return {factor: 2 * (pieces // 8) + (pieces >> bit & 1) for bit, factor in enumerate(FACTORS)}


def test_triplets_differ_in_what_they_should():
    groups = grids(3)
    assert components(groups).tolist() == np.repeat([0, 1, 2], 8).tolist()
    for factor in FACTORS:
        triplets = draw_triplets(groups, factor)
        assert len(triplets.anchor) == 24
        for name in FACTORS:
            numbers = groups[name]
            anchor = numbers[triplets.anchor]
            assert ((anchor == numbers[triplets.positive]) == (name == factor)).all()
            assert (anchor != numbers[triplets.different]).all()
            assert ((numbers[triplets.positive] == numbers[triplets.different]) == (name != factor)).all()
            assert ((anchor == numbers[triplets.alike]) == (name != factor)).all()


def test_triplets_of_scores_that_everyone_plays():
    scores, players = np.divmod(np.arange(12), 3)
    groups = {"melody": scores, "rhythm": np.full(12, -1), "timbre": players}
    for factor, other in (("melody", "timbre"), ("timbre", "melody")):
        triplets = draw_triplets(groups, factor)
        assert (groups[other][triplets.anchor] == groups[other][triplets.alike]).all()
        assert triplets.clusters.tolist() == groups[factor].tolist()  # all pieces are related
    assert not len(draw_triplets(groups, "rhythm").anchor)


def test_accuracy_of_perfect_and_blind_embeddings():
    groups = grids(20)
    triplets = draw_triplets(groups, "melody")
    perfect, blind = np.eye(40)[groups["melody"]], np.ones((160, 1))
    assert triplet_accuracy(perfect, triplets, "alike") == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert triplet_accuracy(blind, triplets, "different")["value"] == 0.5
    rng = np.random.default_rng(0)
    chance = triplet_accuracy(rng.normal(size=(160, 4)), triplets, "alike")
    assert chance["low"] < 0.5 < chance["high"]


@pytest.fixture(scope="module")
def script():
    return import_script(ROOT / "training" / "similarity.py")


@pytest.fixture(scope="module")
def run_folder(script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    pitch = {"pitch_channels": 3, "pitch_n_fft": 512, "pitch_hop_length": 128, "chunk_length": 24000}
    settle(MulapForPreTraining(micro_config(audio_config=pitch))).save_pretrained(folder / "model")
    scores = write_grids(CorpusConfig(seed=1, clip_seconds=3.0), "test", 3, folder / "scores", progress=False)
    rows = [json.loads(line) | {"rhythm": None} for line in (scores / "metadata.jsonl").read_text().splitlines()]
    (scores / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {
        "test_data": scores,
        "model": folder / "model",
        "output_dir": folder / "out",
        "corpus_dir": folder / "corpus",
        "cache_dir": folder / "cache",
        "num_grids": 4,
        "clip_seconds": 3,
        "steps": 20,
        "eval_steps": 10,
        "hidden_size": 16,
        "embedding_size": 8,
        "resamples": 20,
        "recordings": ROOT / "model_cards" / "mulap-tiny" / "samples",
    }
    script.main([f"--{name}={value}" for name, value in options.items()])
    return folder


def test_a_run_leaves_a_model_a_report_and_a_card(run_folder, capsys):
    out = run_folder / "out"
    report = (out / "similarity_report.md").read_text()
    for text in ("| the head of the factor |", "| handcrafted: chroma, onsets, MFCC |", "## Nearest recordings"):
        assert text in report
    results = json.loads((out / "similarity.json").read_text())
    assert results["tests"]["test"]["pieces"] == 32
    assert [row["step"] for row in results["history"]] == [10, 20]
    further = results["tests"]["grids_test"]["own"]["the head of the factor"]
    assert further["melody"]["value"] is not None and further["rhythm"]["value"] is None
    assert "grids_test: 24 pieces" in report
    assert (out / "similarity_report" / "test.png").stat().st_size > 1000
    card = (out / "README.md").read_text()
    assert "music-similarity" in card and "melody_accuracy" in card
    compare = pipeline("music-similarity", model=str(out), trust_remote_code=True)
    file = next((run_folder / "corpus" / "grids" / "test" / "audio").glob("*.flac"))
    assert compare(str(file), str(file))["rhythm"] == pytest.approx(1, abs=1e-6)
    ranked = compare(str(file), compare.index([str(file)]))
    assert ranked[0]["path"] == str(file)


def test_a_finished_run_is_not_replaced(script, run_folder):
    with pytest.raises(MulapError, match="holds a finished run: pass another --output_dir, or --overwrite_output"):
        script.main(["--model", str(run_folder / "model"), "--output_dir", str(run_folder / "out")])


def test_refused_data(script, run_folder, tmp_path):
    def refused(message: str, data):
        out = tmp_path / "out"
        with pytest.raises(MulapError, match=message):
            script.main(
                [
                    "--model",
                    str(run_folder / "model"),
                    "--output_dir",
                    str(out),
                    "--overwrite_output",
                    "--data",
                    str(data),
                ]
            )

    refused(r"lacks the folders train, validation, test \(found: none\)", tmp_path / "missing")
    for split in ("train", "validation", "test"):
        (tmp_path / "data" / split).mkdir(parents=True)
    refused(r"metadata.jsonl does not exist: pass a folder of audio with a metadata.jsonl", tmp_path / "data")
    metadata = tmp_path / "data" / "train" / "metadata.jsonl"
    rows = [{"file_name": f"{number}.wav", "melody": number, "rhythm": 1, "timbre": 1} for number in range(3)]
    metadata.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(MulapError, match="no two pieces have the same 'melody'"):
        open_pieces(metadata.parent, FACTORS)
    metadata.write_text('{"melody": 3}\n')
    with pytest.raises(MulapError, match=r"metadata.jsonl, line 1: expected a JSON object with file_name"):
        open_pieces(metadata.parent, FACTORS)
