"""Zero-shot and retrieval: scores of pairs against the model's own, known answers, and what is never read."""

import json
from itertools import combinations

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers import CAPTIONS, assert_near, micro_config, settle
from tones import PITCHES, SIZES, TASKS, make_rows, write_split

from mulap_hf import MulapForAudioClassification, MulapForPreTraining, MulapModel, load_audio
from mulap_hf.data.schema import Task
from mulap_hf.errors import DataError, ModelError
from mulap_hf.transfer.features import FeatureCache
from mulap_hf.transfer.pair_scores import CONTRASTIVE, MATCHING, PairScorer, has_text_side, rerank, shortlist
from mulap_hf.transfer.tasks import TaskData, open_described, open_task
from mulap_hf.transfer.zero_shot import prompts, retrieve, unique_pairs, zero_shot_report, zero_shot_scores

TEXTS = ["piano", "a calm piano piece with a slow sad violin", "loud rock guitars", "x", "happy folk"]


@pytest.fixture(scope="module")
def dual_folder(tmp_path_factory, processor):
    folder = tmp_path_factory.mktemp("dual")
    config = micro_config(projection_size=16, connection_text_layers=[], connection_audio_layers=[])
    settle(MulapModel(config)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def cache(tmp_path) -> FeatureCache:
    return FeatureCache(tmp_path / "features", progress=False)


@pytest.fixture
def scorer(aligned_folder) -> PairScorer:
    return PairScorer(aligned_folder, "cpu", progress=False)


def encoded(scorer, cache, dataset):
    """The test split as streams, and as what the model itself takes."""
    data = open_task(dataset, "register")
    features = cache.features(scorer.extractor, data, "test")
    waveforms = [load_audio(row["audio"]["bytes"]) for row in data.rows("test")]
    return scorer.encode_audio(features), scorer.processor(text=TEXTS, audio=waveforms, sampling_rate=16000)


@torch.no_grad()
def test_pairs_score_as_in_the_model(scorer, cache, dataset, monkeypatch):
    monkeypatch.setattr("mulap_hf.transfer.pair_scores._CLIPS", 4)  # blocks of several lengths
    monkeypatch.setattr("mulap_hf.transfer.pair_scores._TEXTS", 2)
    clips, inputs = encoded(scorer, cache, dataset)
    texts = scorer.encode_texts(TEXTS)
    matching = scorer.matching(clips, texts)
    assert_near(torch.from_numpy(matching), scorer.model(**inputs).logits_per_audio)
    assert np.ptp(matching, axis=0).min() > 0.01  # not all the same
    audio = scorer.model.get_audio_features(inputs["input_values"], inputs["audio_attention_mask"]).pooler_output
    text = scorer.model.get_text_features(inputs["input_ids"], inputs["attention_mask"]).pooler_output
    assert_near(torch.from_numpy(scorer.contrastive(clips, texts)), audio @ text.T)
    wanted = np.random.default_rng(0).random(matching.shape) < 0.3
    some = scorer.matching(clips, texts, wanted)
    assert np.isnan(some[~wanted]).all()
    np.testing.assert_allclose(some[wanted], matching[wanted], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_dual_encoder_scores_as_itself(dual_folder, cache, dataset):
    scorer = PairScorer(dual_folder, "cpu", progress=False)
    clips, inputs = encoded(scorer, cache, dataset)
    scores = torch.from_numpy(scorer.contrastive(clips, scorer.encode_texts(TEXTS))) * scorer.model.alignment.scale
    assert_near(scores, scorer.model(**inputs).logits_per_audio)
    assert scorer.kinds == [CONTRASTIVE]
    with pytest.raises(DataError, match="has no matching scores: no co-attention"):
        scorer.check_kinds([MATCHING])


def test_a_clip_longer_than_the_positions_is_scored(tmp_path, processor, cache, dataset):
    model = settle(MulapForPreTraining(micro_config(projection_size=8, audio_config={"max_position_embeddings": 2})))
    model.save_pretrained(tmp_path / "short")
    processor.save_pretrained(tmp_path / "short")
    scorer = PairScorer(tmp_path / "short", "cpu", progress=False)
    features = cache.features(scorer.extractor, open_task(dataset, "register"), "test")
    assert features.counts.max() > 1
    clips, texts = scorer.encode_audio(features), scorer.encode_texts(TEXTS)
    assert np.isfinite(scorer.matching(clips, texts)).all()


def test_reranking_orders_the_first_by_matching():
    similarity = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]])
    matching = np.array([[-5.0, 3.0, 1.0, np.nan, 100.0]])
    order = np.argsort(-rerank(similarity, matching, 3)[0])
    assert order.tolist() == [1, 2, 0, 3, 4]  # the last matches best, but is on no shortlist
    assert np.argsort(-rerank(similarity, np.nan_to_num(matching), 99)[0]).tolist() == [4, 1, 2, 3, 0]
    tied = np.array([[0.9, 0.5, 0.5, 0.1]])
    assert shortlist(tied, 2).tolist() == [[True, True, True, False]]  # whatever the order of the items


def test_recordings_and_descriptions_count_once():
    rows = {"a": ("song 1", "calm"), "b": ("song 1", "slow"), "c": ("song 2", "calm"), "d": ("song 3", "loud")}
    names, texts, relevant = unique_pairs(rows)
    assert (names, texts) == (["a", "c", "d"], ["calm", "slow", "loud"])
    assert relevant.tolist() == [[True, True, False], [True, False, False], [False, False, True]]


def test_prompts():
    task = Task("t", "multi_label", ("tags",), ("genre---hip_hop", "mood/theme---sad"))
    assert prompts(task, ["{label}", "a {label} {song}"]) == ["hip hop", "a hip hop {song}", "sad", "a sad {song}"]
    assert len(prompts(task)) == 8 and prompts(task)[0] == "hip hop"
    with pytest.raises(DataError, match=r"template 'music' has no \{label\}"):
        prompts(task, ["{label}", "music"])
    with pytest.raises(DataError, match="task pitch: prompts cannot predict the values of a regression"):
        prompts(TASKS[2])


def knowing(dataset, task, monkeypatch, offset=0.0):
    """Makes a model's matching scores the truth, the same for both templates, on top of an offset per prompt."""
    classes = {task.name: task for task in TASKS}[task].classes
    rows = {split: make_rows(split, SIZES[split]) for split in ("validation", "test")}
    column = {"register": lambda row: [row["register"]], "sound": lambda row: row["sound"]}[task]
    by_size = {len(of_split): of_split for of_split in rows.values()}

    def matching(self, clips, texts, wanted=None, label=""):
        truth = np.array([[name in column(row) for name in classes] for row in by_size[len(clips)]], dtype=float)
        return np.repeat(truth + offset * np.arange(len(classes)), 2, axis=1)  # a prompt per template

    monkeypatch.setattr(PairScorer, "matching", matching)


def values(methods):
    return {method: {name: number["value"] for name, number in of.items()} for method, of in methods.items()}


def test_known_scores_of_classes_and_offsets_between_prompts(scorer, cache, dataset, monkeypatch):
    """An offset that drowns the truth makes plain scores say one class; calibration takes it out, without labels."""
    knowing(dataset, "register", monkeypatch, offset=10.0)
    tasks = {"register": open_task(dataset, "register")}
    report = zero_shot_report(scorer, tasks, cache, kinds=[MATCHING], templates=["{label}", "{label} music"])
    methods = values(report["tasks"]["register"]["test"])
    assert methods["matching"] == pytest.approx({"accuracy": 1 / 3, "macro_f1": 1 / 6})
    assert methods["matching_calibrated"] == {"accuracy": 1, "macro_f1": 1}
    assert methods["chance"]["accuracy"] == pytest.approx(1 / 3, abs=0.05)
    assert report["sizes"]["tasks"]["register"]["test"] == {"clips": SIZES["test"], "labels": len(PITCHES)}
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_known_scores_of_tags(scorer, cache, dataset, monkeypatch):
    knowing(dataset, "sound", monkeypatch, offset=10.0)
    tasks = {"a name": open_task(dataset, "sound"), "pitch": open_task(dataset, "pitch")}
    report = zero_shot_report(scorer, tasks, cache, kinds=[MATCHING], templates=["{label}", "{label} music"])
    assert list(report["tasks"]) == ["a name"]  # of regressions prompts say nothing
    methods = values(report["tasks"]["a name"]["test"])
    for method in ("matching", "matching_calibrated"):
        assert (methods[method]["roc_auc"], methods[method]["pr_auc"]) == (1, 1)
    assert methods["matching"]["roc_auc_micro"] < 1
    assert methods["chance"]["roc_auc"] == pytest.approx(0.5, abs=0.05)


def test_calibration_subtracts_the_mean_over_validation_clips(scorer, cache, dataset):
    data = open_task(dataset, "register")
    found = zero_shot_scores(scorer, data, ["validation"], cache, scorer.kinds)["validation"]
    for kind in (CONTRASTIVE, MATCHING):
        plain, calibrated = found[kind].scores, found[f"{kind}_calibrated"].scores
        np.testing.assert_allclose(calibrated, plain - plain.mean(axis=0), atol=1e-5)
    prompt = scorer.encode_texts(["high", "high music"])
    features = cache.features(scorer.extractor, data, "validation")
    few = zero_shot_scores(scorer, data, ["validation"], cache, scorer.kinds, ["{label}", "{label} music"])
    expected = scorer.matching(scorer.encode_audio(features), prompt).mean(axis=1)
    column = data.task.classes.index("high")
    np.testing.assert_allclose(few["validation"][MATCHING].scores[:, column], expected, rtol=1e-4, atol=1e-5)


def test_labels_are_read_when_all_scores_are_there(scorer, cache, dataset, monkeypatch):
    events = []

    def record(owner, name):
        original = getattr(owner, name)

        def spy(*args, **kwargs):
            events.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, spy)

    record(TaskData, "targets")
    record(PairScorer, "matching")
    record(PairScorer, "contrastive")
    tasks = {name: open_task(dataset, name) for name in ("register", "sound")}
    report = zero_shot_report(scorer, tasks, cache, open_described(dataset), resamples=10)
    first = events.index("targets")
    assert "contrastive" in events[:first] and set(events[first:]) == {"targets"}
    assert set(report["tasks"]) == set(tasks) and set(report["retrieval"]) == {"test"}


def test_scores_do_not_know_the_labels(scorer, cache, dataset):
    data = open_task(dataset, "register")
    before = zero_shot_scores(scorer, data, ["test"], cache, scorer.kinds)["test"]
    for shard in [*dataset.glob("test-*.parquet"), *dataset.glob("validation-*.parquet")]:
        pq.write_table(pq.read_table(shard, columns=["id", "audio"]), shard)
    after = zero_shot_scores(scorer, open_task(dataset, "register"), ["test"], cache, scorer.kinds)["test"]
    for method, predictions in before.items():
        np.testing.assert_allclose(after[method].scores, predictions.scores, rtol=1e-5, atol=1e-6)


def described(dataset):
    """Every second test clip is stored twice, with a description of its own each time; no tasks are needed."""
    rows = make_rows("test", SIZES["test"])
    rows += [row | {"id": f"{row['id']}-again"} for row in rows[::2]]
    words = combinations(sorted(set(" ".join(CAPTIONS).split())), 2)  # known to the tokenizer: no two read the same
    rows = [row | {"caption": " ".join(next(words))} for row in rows]
    write_split(dataset, "test", rows)
    (dataset / "tasks.json").write_text("[]")
    for shard in [*dataset.glob("train-*"), *dataset.glob("validation-*")]:
        shard.unlink()
    return open_described(dataset)


def test_retrieval_of_what_is_known(scorer, cache, dataset, monkeypatch):
    data = described(dataset)
    truth = {}

    def contrastive(self, clips, texts):
        return truth["relevant"].astype(np.float32) - 0.5

    found = retrieve(scorer, data, "test", cache, scorer.kinds, top_k=4)
    assert found.relevant.shape == (18, 27)
    assert found.relevant.sum(axis=1).tolist() == [2, 1] * 9 and (found.relevant.sum(axis=0) == 1).all()
    assert {name: list(of) for name, of in found.methods.items()} == {
        direction: ["contrastive", "matching", "reranked"] for direction in ("text_to_audio", "audio_to_text")
    }
    truth["relevant"] = found.relevant
    monkeypatch.setattr(PairScorer, "contrastive", contrastive)
    report = zero_shot_report(scorer, {}, cache, data, kinds=[CONTRASTIVE], resamples=20)["retrieval"]["test"]
    for direction in ("text_to_audio", "audio_to_text"):
        assert report[direction]["contrastive"]["r1"] == {"value": 1, "low": 1, "high": 1}
        assert report[direction]["contrastive"]["map10"]["value"] == 1
    assert report["text_to_audio"]["chance"]["r1"] == {"value": pytest.approx(1 / 18), "low": None, "high": None}
    assert report["audio_to_text"]["chance"]["r1"]["value"] == pytest.approx((2 / 27 + 1 / 27) / 2)


def test_retrieval_among_fewer_recordings_and_of_shortlists_alone(scorer, cache, dataset):
    data = described(dataset)
    full = retrieve(scorer, data, "test", cache, scorer.kinds, top_k=3)
    few = retrieve(scorer, data, "test", cache, scorer.kinds, top_k=3, recordings=5)
    assert few.relevant.shape[0] == 5 and few.relevant.any(axis=0).all() and few.relevant.any(axis=1).all()
    short = retrieve(scorer, data, "test", cache, scorer.kinds, top_k=3, most_pairs=100)
    for direction, methods in short.methods.items():
        assert list(methods) == ["contrastive", "reranked"]
        np.testing.assert_allclose(methods["reranked"], full.methods[direction]["reranked"], atol=1e-4)
    with pytest.raises(DataError, match="18 clips x 27 descriptions are more than 100 pairs"):
        retrieve(scorer, data, "test", cache, [MATCHING], top_k=3, most_pairs=100)


def test_data_without_descriptions(scorer, cache, dataset):
    for shard in dataset.glob("test-*.parquet"):
        pq.write_table(pq.read_table(shard).drop_columns(["caption"]), shard)
    with pytest.raises(DataError, match=r"its split test has no descriptions \(column caption\)"):
        retrieve(scorer, open_described(dataset), "test", cache, scorer.kinds)


def test_models_that_read_no_prompts(tmp_path, model_folder, aligned_folder):
    classifier = save_classifier(tmp_path / "classifier")
    model = MulapModel.from_pretrained(model_folder)
    model.audio_model.save_pretrained(tmp_path / "backbone")
    for folder in (classifier, tmp_path / "backbone"):
        assert not has_text_side(folder)
        with pytest.raises(ModelError, match="has no text side"):
            PairScorer(folder)
    assert has_text_side(model_folder) and has_text_side(aligned_folder)
    with pytest.raises(ModelError, match="nowhere: found neither as a folder nor on the Hub"):
        has_text_side(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no contrastive scores: no joint embedding space .*; it has matching"):
        PairScorer(model_folder, "cpu").check_kinds([CONTRASTIVE])


def test_scores_that_nothing_was_trained_for(tmp_path, processor, cache):
    for name, matching in (("without_contrastive", 1.0), ("with_neither", 0.0)):
        weights = {"contrastive_loss_weight": 0.0, "matching_loss_weight": matching}
        MulapModel(micro_config(projection_size=8, **weights)).save_pretrained(tmp_path / name)
        processor.save_pretrained(tmp_path / name)
    scorer = PairScorer(tmp_path / "without_contrastive", "cpu")
    assert scorer.kinds == [MATCHING]
    with pytest.raises(DataError, match=r"no contrastive scores: pre-trained without .* is 0\); it has matching"):
        scorer.check_kinds([CONTRASTIVE])
    with pytest.raises(DataError, match="with_neither has no scores: pre-trained without"):
        zero_shot_report(PairScorer(tmp_path / "with_neither", "cpu"), {}, cache)


def save_classifier(folder):
    settle(MulapForAudioClassification(micro_config())).save_pretrained(folder)
    return folder
