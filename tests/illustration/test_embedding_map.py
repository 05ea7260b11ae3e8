"""The map of the clips, with neighbors and agreement computed by hand."""

import numpy as np
import pytest
from pictures import assert_shows_data
from tones import SIZES, make_rows, write_split

from mulap_hf.embedding import Embedder
from mulap_hf.errors import DataError
from mulap_hf.illustration.data_split import DataSplit
from mulap_hf.illustration.embedding_map import illustrate_map, nearest_neighbors, neighbor_agreement, project
from mulap_hf.transfer.tasks import open_described

LINE = np.array([[0.0], [1.0], [3.0], [10.0], [11.0]])
NEAREST = [[1, 2], [0, 2], [1, 0], [4, 2], [3, 2]]


def test_neighbors_on_a_line():
    assert nearest_neighbors(LINE, 2).tolist() == NEAREST


def test_agreement_of_neighbors():
    near = np.array(NEAREST)
    classes = neighbor_agreement("class", np.array(["a", "a", "b", "b", "b"]), near)
    # 1/2, 1/2, 0, 1, 1 of two neighbors; by chance 1/4 for an "a", 2/4 for a "b".
    assert classes["value"] == pytest.approx(3 / 5)
    assert classes["chance"] == pytest.approx((2 * 1 / 4 + 3 * 2 / 4) / 5)
    assert classes["low"] <= classes["value"] <= classes["high"]
    tag = neighbor_agreement("tag", np.array([True, True, False, False, True]), near)  # 1/2, 1/2, 0
    assert (tag["value"], tag["chance"]) == (pytest.approx(1 / 3), pytest.approx(2 / 4))
    values = np.array([1.0, 2.0, 3.0, 7.0, 8.0])
    number = neighbor_agreement("value", values, near)
    assert number["value"] == pytest.approx(np.corrcoef(values, [2.5, 2, 1.5, 5.5, 5])[0, 1])
    assert number["chance"] == 0
    assert neighbor_agreement("value", np.ones(5), near)["value"] is None  # without a warning


def clouds() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(center, 1, (30, 8)) for center in (0, 4, 8)])


def test_the_projection_keeps_clusters_and_is_deterministic():
    points = clouds()
    positions = project(points)
    assert positions.shape == (90, 2)
    same_cloud = nearest_neighbors(positions, 5) // 30 == np.arange(90)[:, None] // 30
    assert same_cloud.all()
    np.testing.assert_array_equal(positions, project(points))


def test_two_models_side_by_side(tmp_path, folders, split, cache):
    models = {name: Embedder(folders[name], "cpu") for name in ("aligned", "dual")}
    part = illustrate_map(models, split, cache, tmp_path, recordings=500, neighbors=3, seed=0)
    numbers = part.numbers
    assert list(numbers["agreement"]) == ["register", "octave", "level", "loud", "noisy", "quiet"]  # "never" is rare
    assert numbers["clips"] == split.data.ids("test")
    features = cache.features(models["dual"], split.data, "test").means().values.astype(float)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0).clip(1e-9)
    distances = np.linalg.norm(scaled[:, None] - scaled, axis=2) + 1e9 * np.eye(len(scaled))
    register = np.arange(SIZES["test"]) % 3  # the labels of tones.make_rows
    equal = register[np.argsort(distances, axis=1)[:, :3]] == register[:, None]
    assert numbers["agreement"]["register"]["dual"]["value"] == pytest.approx(equal.mean())
    assert numbers["agreement"]["register"]["dual"]["chance"] == pytest.approx(5 / 17)
    assert np.shape(numbers["positions"]["aligned"]) == (18, 2)
    assert part.pictures == ["map.png", "map_tags.png"]
    for name in part.pictures:
        assert_shows_data(tmp_path / name)
    assert "| label | kind | aligned | dual | chance |" in part.text


def test_duplicates_of_a_recording_count_once(tmp_path, dataset, folders, cache):
    folder = tmp_path / "twice"
    folder.mkdir()
    (folder / "tasks.json").write_text((dataset / "tasks.json").read_text())
    rows = make_rows("test", 9)
    write_split(folder, "test", rows + [{**row, "id": f"{row['id']}-again"} for row in rows])
    split = DataSplit(open_described(folder), "test")
    models = {"dual": Embedder(folders["dual"], "cpu")}
    part = illustrate_map(models, split, cache, tmp_path, recordings=500, neighbors=2, seed=0)
    assert part.numbers["clips"] == [row["id"] for row in rows]
    assert len(illustrate_map(models, split, cache, tmp_path, 6, 2, 0).numbers["clips"]) == 6
    with pytest.raises(DataError, match=r"only 9 clips of test .* too few for a map with 8 neighbors"):
        illustrate_map(models, split, cache, tmp_path, recordings=500, neighbors=8, seed=0)
