"""`mulap index` and `mulap search` as their users run them."""

import json
import shutil
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from catalogs import save_model
from helpers import ROOT, run

from mulap_hf import load_audio
from mulap_hf.cli import main
from mulap_hf.commands.zero_shot import zero_shot
from mulap_hf.metrics.retrieval import score_retrieval
from mulap_hf.search.index import SearchIndex
from mulap_hf.search.queries import QueryEncoder
from mulap_hf.transfer.arguments import ZeroShotArguments

MULAP = Path(sysconfig.get_path("scripts")) / "mulap"


@pytest.fixture
def mulap(capsys):
    """Runs a command in this process: exit status, what it prints and what it complains about."""

    def run_command(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(list(map(str, arguments)))
        return end.value.code, *capsys.readouterr()

    return run_command


def test_real_processes(catalog, tmp_path):
    folder = shutil.copytree(catalog.folder, tmp_path / "catalog")
    done = run(MULAP, "index", folder / "music.parquet", "--output", folder / "whitened", "--whiten", 3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "--whiten 3 is fitted on 6 tracks only: compare with an index without it",
        f"6 tracks indexed in {folder / 'whitened'}",
        "backbone: whitened to 3 principal components, exact",
        "joint: plain, exact",
    ]
    done = run(MULAP, "search", folder / "whitened", "--text", "calm piano", "-k", 2)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["1", "2"]


@torch.no_grad()
def test_words(catalog, mulap, processor):
    text = catalog.model.get_text_features(**processor(text="slow sad violin")).pooler_output[0]
    waveforms = [torch.from_numpy(load_audio(catalog.track(number)))[None] for number in range(6)]
    scores = [(catalog.model.get_audio_features(waveform).pooler_output[0] @ text).item() for waveform in waveforms]
    status, output, _ = mulap("search", catalog.index, "--text", "slow sad violin", "--json")
    found = json.loads(output)
    assert status == 0
    assert [row["path"] for row in found] == [catalog.track(number) for number in np.argsort(scores)[::-1]]
    np.testing.assert_allclose([row["score"] for row in found], np.sort(scores)[::-1], atol=1e-4)
    assert found[0].keys() == {"path", "file", "score", "seconds", "genre", "year"}
    # Sorted again by the fused streams: the first three, and only these.
    logits = [
        catalog.model(waveform, **processor(text=["slow sad violin"])).logits_per_audio.item()
        for waveform in waveforms
    ]
    best = sorted(np.argsort(scores)[::-1][:3], key=lambda number: -logits[number])
    again = json.loads(mulap("search", catalog.index, "--text", "slow sad violin", "--json", "--rerank", 3)[1])
    assert [row["path"] for row in again[:3]] == [catalog.track(number) for number in best]
    assert again[0]["match"] == pytest.approx(1 / (1 + np.exp(-logits[best[0]])), abs=1e-3)
    assert again[3:] == found[3:]


def test_files_and_tracks(catalog, mulap):
    status, output, _ = mulap("search", catalog.index, "--like", catalog.track(0), "-k", 3, "--where", "year < 2000")
    lines = output.splitlines()
    assert status == 0 and len(lines) == 3 and catalog.track(0) not in output
    assert lines[0].startswith("  1  ") and "genre=" in lines[0] and "year=" in lines[0]
    copy = shutil.copy(catalog.track(0), catalog.folder / "copy.flac")
    for options, first in ((["--by", "joint"], 1.0), (["--by", "joint=2,backbone=.5"], 2.5), ([], 1.0)):
        found = json.loads(mulap("search", catalog.index, "--audio", copy, "--json", *options)[1])
        assert found[0]["path"] == catalog.track(0) and found[0]["score"] == pytest.approx(first, abs=1e-3)
    playlist = mulap("search", catalog.index, "--audio", copy, "-k", 2, "--m3u")[1].splitlines()
    assert playlist[:3] == ["#EXTM3U", "#EXTINF:2,0", catalog.track(0)] and len(playlist) == 5


def test_mistakes(catalog, mulap, processor, tmp_path):
    save_model(tmp_path / "other", processor, seed=1)
    (tmp_path / "notes.txt").write_text("words")
    index = catalog.index
    for options, message in (
        ((tmp_path, "--text", "piano"), "is not an index: pass a folder that `mulap index` wrote"),
        ((index, "--text", "  "), "the text to search for is empty"),
        ((index, "--audio", tmp_path / "notes.txt"), "notes.txt: broken, or not in a format"),
        (
            (index, "--like", "nowhere.wav"),
            f"has no track nowhere.wav: pass a path as it was embedded, such as {catalog.track(0)}",
        ),
        ((index, "--text", "piano", "--model", tmp_path / "other"), "the fingerprints of backbone differ"),
        ((index, "--text", "piano", "--model", tmp_path / "no"), "name its new place with --model"),
        ((index, "--text", "piano", "--by", "backbone"), "words are compared in the joint space only"),
        ((index, "--like", catalog.track(0), "--by", "melody=1"), "has no melody embedding: it has backbone, joint"),
        ((index, "--like", catalog.track(0), "--rerank", 3), "--rerank compares tracks with words: pass --text"),
        ((index, "--text", "piano", "--where", "tempo > 3"), '"tempo" not found'),
        ((index, "--text", "piano", "--by", "joint=x"), "'joint=x' is not NAME=NUMBER"),
    ):
        status, _, errors = mulap("search", *options)
        assert status == 2 and message in errors and "Traceback" not in errors
    for options, message in (
        (("--output", tmp_path / "new"), "name what `mulap embed` wrote"),
        ((catalog.folder / "music.parquet", "--output", index, "--remove", "x"), "--remove goes without EMBEDDINGS"),
        ((catalog.folder / "music.parquet", "--output", index, "--add", "--whiten"), "--add goes without --whiten"),
    ):
        status, _, errors = mulap("index", *options)
        assert status == 2 and message in errors


def test_files_that_are_gone_are_not_reranked(catalog, mulap, tmp_path):
    folder = shutil.copytree(catalog.index, tmp_path / "index")
    about = json.loads((folder / "index.json").read_text())
    gone = catalog.track(1)
    Path(gone).rename(tmp_path / "moved.flac")
    try:
        status, output, errors = mulap("search", folder, "--text", "calm piano", "--json", "--rerank", 6)
    finally:
        (tmp_path / "moved.flac").rename(gone)
    found = json.loads(output)
    assert status == 1 and about["model"] and f"not re-ranked: {gone}: the file does not exist" in errors
    assert len(found) == 6 and found[-1]["path"] == gone and "match" not in found[-1]


def test_ranks_are_those_of_the_zero_shot_evaluation(tmp_path, mulap):
    """Of the synthetic corpus, by `training/zero_shot.py --retrieval`."""
    model = ROOT / "model_cards" / "mulap-tiny"
    args = ZeroShotArguments(
        model=str(model),
        retrieval=True,
        output_dir=str(tmp_path / "report"),
        corpus_dir=str(tmp_path / "corpus"),
        cache_dir=str(tmp_path / "features"),
        corpus_clips=16,
        clip_seconds=3.0,
        scores=["contrastive"],
        resamples=1,
    )
    zero_shot(args)
    report = json.loads((tmp_path / "report" / "zero_shot.json").read_text())["retrieval"]["test"]
    data, captions = args.open_described(), {}
    (tmp_path / "music").mkdir()
    for row in data.rows("test"):
        shutil.copy(row["audio"]["path"], tmp_path / "music" / f"{row['id']}{Path(row['audio']['path']).suffix}")
        captions[row["id"]] = data.captions("test")[row["id"]]
    assert (
        mulap("embed", tmp_path / "music", "--model", model, "--space", "joint", "--output", tmp_path / "e.parquet")[0]
        == 0
    )
    assert mulap("index", tmp_path / "e.parquet", "--output", tmp_path / "index")[0] == 0
    index, texts = SearchIndex(tmp_path / "index"), list(dict.fromkeys(captions.values()))
    encoder = QueryEncoder(index)
    scores, relevant = np.zeros((len(texts), len(captions))), np.zeros((len(texts), len(captions)), dtype=bool)
    for text in texts:
        for hit in index.search(encoder.text(text), len(captions)):
            scores[texts.index(text), hit.row] = hit.score
            relevant[texts.index(text), hit.row] = captions[Path(hit.path).stem] == text
    expected = {name: metric["value"] for name, metric in report["text_to_audio"]["contrastive"].items()}
    assert score_retrieval(scores, relevant) == pytest.approx(expected)
    assert expected["r10"] < 1 or expected["median_rank"] > 1
