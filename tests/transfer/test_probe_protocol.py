"""The probe on known features gives the known answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from mulap_hf.data.schema import Task
from mulap_hf.errors import DataError
from mulap_hf.metrics.calibration import fit_temperature
from mulap_hf.metrics.scores import score
from mulap_hf.transfer.arguments import ProbeArguments
from mulap_hf.transfer.features import FeatureCache, Features, HandcraftedExtractor
from mulap_hf.transfer.probe import LabeledFeatures, train_probe
from mulap_hf.transfer.protocol import choose_few, learn, predict
from mulap_hf.transfer.tasks import open_task

CLASSES = Task("classes", "single_label", ("label",), ("a", "b", "c"))
TAGS = Task("tags", "multi_label", ("tags",), ("a", "b", "c"))
VALUES = Task("values", "regression", ("bpm", "level"))
LINEAR = ProbeArguments(head="linear", weight_decay=0.0, learning_rate=0.02, batch_size=400, max_epochs=600)


def features_of(chunks: list[np.ndarray]) -> Features:
    counts = np.array([len(track) for track in chunks])
    values = np.concatenate(chunks).astype(np.float32)
    return Features([f"t{i}" for i in range(len(chunks))], np.cumsum(counts) - counts, counts, values, [])


def tracks(rng, number: int, most_chunks: int = 4) -> list[np.ndarray]:
    return [rng.normal(3, 1, (rng.integers(1, most_chunks + 1), 6)) for _ in range(number)]


def split(targets_of, number: int = 300, seed: int = 0, **options):
    rng = np.random.default_rng(seed)
    parts = []
    for count in (number, 100):
        chunks = tracks(rng, count, **options)
        parts.append(LabeledFeatures(features_of(chunks), targets_of(np.stack([t.mean(0) for t in chunks]), rng)))
    return parts


def test_linear_regression_is_least_squares():
    weights = np.random.default_rng(1).normal(0, 1, (6, 2)) * [40, 0.5]

    def targets(means, rng):
        return (means @ weights + [120, -2] + rng.normal(0, [4, 0.05], (len(means), 2))).astype(np.float32)

    train, validation = split(targets)
    probe = train_probe(replace(LINEAR, patience=600), VALUES, train, validation, progress=False)
    design, tests = (
        np.column_stack([part.features.means().values, np.ones(len(part.targets))]) for part in (train, validation)
    )
    expected = tests @ np.linalg.lstsq(design, train.targets, rcond=None)[0]
    # The epoch is chosen on the validation tracks: near the least squares, not on it.
    error = probe.predict(validation.features) - expected
    assert (error.std(0) < 0.02 * expected.std(0)).all() and (abs(error.mean(0)) < 0.02 * expected.std(0)).all()


@pytest.mark.parametrize("distance", [0.5, 2.0])
def test_two_gaussians_are_told_apart_as_well_as_can_be(distance):
    """The best possible accuracy of N(-d/2, 1) against N(d/2, 1) is the normal distribution's value at d/2."""
    task = Task("side", "single_label", ("side",), ("left", "right"))

    def sides(number, seed):
        rng = np.random.default_rng(seed)
        side = rng.integers(0, 2, number)
        chunks = rng.normal(0, 1, (number, 1, 4))
        chunks[:, 0, 2] += distance * (side - 0.5)
        return LabeledFeatures(features_of(list(chunks)), side)

    probe = train_probe(replace(LINEAR, max_epochs=40), task, sides(3000, 0), sides(1000, 1), progress=False)
    test = sides(20_000, 2)
    accuracy = score("single_label", test.targets, probe.predict(test.features))["accuracy"]
    assert accuracy == pytest.approx(norm.cdf(distance / 2), abs=0.012)


def test_an_mlp_learns_what_a_line_cannot():
    def targets(means, rng):
        far = np.abs(means[:, :3] - 3)
        return (far > 0.7).astype(np.float32)

    train, validation = split(targets, number=1000, most_chunks=1)
    args = ProbeArguments(hidden_size=64, learning_rate=3e-3, weight_decay=0.0, max_epochs=120)
    mlp = train_probe(args, TAGS, train, validation, progress=False)
    linear = train_probe(replace(LINEAR, max_epochs=60), TAGS, train, validation, progress=False)
    value = {
        name: score("multi_label", validation.targets, p.predict(validation.features))["roc_auc"]
        for name, p in (("mlp", mlp), ("linear", linear))
    }
    assert value["mlp"] > 0.95
    assert value["linear"] < 0.7


def test_outputs_are_averaged_over_the_chunks_of_each_track():
    train, validation = split(lambda means, rng: (means[:, 0] > 3).astype(np.int64))
    probe = train_probe(ProbeArguments(hidden_size=8, max_epochs=3), CLASSES, train, validation, progress=False)
    features = validation.features
    start, count = features.starts[7], features.counts[7]
    with torch.no_grad():
        chunks = probe.head(torch.from_numpy(features.values[start : start + count]))
    np.testing.assert_allclose(probe.predict(features)[7], chunks.mean(0), rtol=1e-5)


def test_standardization_is_part_of_the_head():
    """Features of odd scales, one of them constant: the saved head takes them as they are."""
    rng = np.random.default_rng(0)
    scales, shift = np.array([1e-3, 1, 1e4, 0, 5, 1]), np.array([0, 1e3, -1e5, 7, 0, 0])

    def odd(number):
        chunks = [track * scales + shift for track in tracks(rng, number)]
        means = np.stack([track.mean(0) for track in chunks])
        return LabeledFeatures(features_of(chunks), (means[:, 2] > np.median(means[:, 2])).astype(np.int64))

    train, validation = odd(300), odd(100)
    probe = train_probe(ProbeArguments(max_epochs=30), CLASSES, train, validation, progress=False)
    assert score("single_label", validation.targets, probe.predict(validation.features))["accuracy"] > 0.9
    assert all(torch.isfinite(value).all() for value in probe.head.state_dict().values())


def test_the_best_epoch_is_kept_and_the_rate_halved():
    train, validation = split(lambda means, rng: rng.integers(0, 3, len(means)), number=60)  # nothing to learn
    args = ProbeArguments(max_epochs=100, patience=12, plateau_patience=3)
    probe = train_probe(args, CLASSES, train, validation, progress=False)
    values = [row["accuracy"] for row in probe.history]
    assert probe.best_epoch == 1 + int(np.argmax(values))
    assert len(values) == probe.best_epoch + 12
    rates = [row["learning_rate"] for row in probe.history]
    assert rates[0] == 1e-3 and rates[-1] == 1e-3 / 2 ** round(np.log2(1e-3 / rates[-1])) < 1e-3
    accuracy = score("single_label", validation.targets, probe.predict(validation.features))["accuracy"]
    assert accuracy == max(values)


def test_the_same_seed_gives_the_same_bits_and_leaves_the_generator_alone():
    train, validation = split(lambda means, rng: (means[:, 0] > 3).astype(np.int64), number=60)
    args = ProbeArguments(max_epochs=4, dropout=0.3)
    state = torch.get_rng_state()
    first, again, other = (
        train_probe(args, CLASSES, train, validation, seed, progress=False).predict(train.features)
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_interrupted_training_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    train, validation = split(lambda means, rng: (means[:, 0] > 3).astype(np.int64), number=90)
    args = ProbeArguments(max_epochs=9, dropout=0.3, hidden_size=16)
    whole = train_probe(args, CLASSES, train, validation, progress=False)
    checkpoint = tmp_path / "probe.pt"
    calls = []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return score(*arguments)

    monkeypatch.setattr("mulap_hf.transfer.probe.score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_probe(args, CLASSES, train, validation, checkpoint=checkpoint, progress=False)
    resumed = train_probe(args, CLASSES, train, validation, checkpoint=checkpoint, progress=False)
    assert len(calls) == 5 + 5  # epochs 1 to 4 are not repeated
    assert resumed.history == whole.history
    assert np.array_equal(resumed.predict(train.features), whole.predict(train.features))
    assert not checkpoint.exists()


def test_what_cannot_be_measured_is_said():
    train, validation = split(lambda means, rng: np.zeros((len(means), 3), dtype=np.float32), number=30)
    with pytest.raises(DataError, match=r"task tags, epoch 1: .* roc_auc nan on 100 validation tracks"):
        train_probe(ProbeArguments(max_epochs=3), TAGS, train, validation, progress=False)


def test_few_labels_are_few_of_each_and_nested():
    rng = np.random.default_rng(0)
    classes = rng.choice(3, 200, p=[0.7, 0.25, 0.05])
    few, more = (choose_few(CLASSES, classes, number, seed=3) for number in (5, 20))
    assert np.bincount(classes[few]).tolist() == [5, 5, 5]
    assert np.bincount(classes[more]).tolist() == [20, 20, (classes == 2).sum()]
    assert set(few) < set(more) and not np.array_equal(few, choose_few(CLASSES, classes, 5, seed=4))
    tags = (rng.random((300, 3)) < [0.5, 0.2, 0.02]).astype(np.float32)
    few, more = (choose_few(TAGS, tags, number, seed=3) for number in (10, 30))
    assert set(few) < set(more)
    assert (tags[few].sum(0) >= np.minimum(10, tags.sum(0))).all() and len(few) < 40
    assert len(choose_few(VALUES, np.zeros((300, 2)), 10, seed=0)) == 100


def test_calibrated_probabilities(dataset, tmp_path):
    """The order of the scores stays; the temperature is the best one for the validation tracks."""
    data, cache = open_task(dataset, "register"), FeatureCache(tmp_path / "features", progress=False)
    how = ProbeArguments(max_epochs=10)
    plain, calibrated = (
        predict(
            learn(HandcraftedExtractor(), data, replace(how, calibrate=on), cache).probe,
            HandcraftedExtractor(),
            data,
            cache,
            "validation",
        ).scores
        for on in (False, True)
    )
    truth = data.targets("validation").of(data.ids("validation"))
    temperature = fit_temperature("single_label", truth, plain)
    np.testing.assert_allclose(calibrated, plain / temperature, rtol=1e-4, atol=1e-5)
