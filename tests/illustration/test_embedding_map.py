"""The map: neighbors and their agreement counted by hand."""

import numpy as np
import pytest
from pictures import colors
from tones import SIZES, make_rows, write_split

from mulap_hf.embedding import Embedder
from mulap_hf.errors import DataError
from mulap_hf.illustration.embedding_map import agree, illustrate_map, nearest_neighbors, place_on_plane
from mulap_hf.illustration.material import Material
from mulap_hf.transfer.tasks import open_described

LINE = np.array([[0.0], [1.0], [3.0], [10.0], [11.0]])
NEAREST = [[1, 2], [0, 2], [1, 0], [4, 2], [3, 2]]


def test_neighbors_on_a_line():
    assert nearest_neighbors(LINE, 2).tolist() == NEAREST


def test_agreement_is_that_counted_by_hand():
    near = np.array(NEAREST)
    classes = agree("class", np.array(["a", "a", "b", "b", "b"]), near)
    # 1/2, 1/2, 0, 1, 1 of two neighbors; by lot 1/4 for an a, 2/4 for a b.
    assert classes["value"] == pytest.approx(3 / 5)
    assert classes["chance"] == pytest.approx((2 * 1 / 4 + 3 * 2 / 4) / 5)
    assert classes["low"] <= classes["value"] <= classes["high"]
    tag = agree("tag", np.array([True, True, False, False, True]), near)  # 1/2, 1/2, 0 of those that have it
    assert (tag["value"], tag["chance"]) == (pytest.approx(1 / 3), pytest.approx(2 / 4))
    values = np.array([1.0, 2.0, 3.0, 7.0, 8.0])
    number = agree("value", values, near)
    assert number["value"] == pytest.approx(np.corrcoef(values, [2.5, 2, 1.5, 5.5, 5])[0, 1])
    assert number["chance"] == 0
    assert agree("value", np.ones(5), near)["value"] is None  # no number, and no warning


def clouds() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(center, 1, (30, 8)) for center in (0, 4, 8)])


def test_the_plane_tears_no_cloud_and_is_the_same_every_time():
    points = clouds()
    places = place_on_plane(points)
    assert places.shape == (90, 2)
    own = nearest_neighbors(places, 5) // 30 == np.arange(90)[:, None] // 30
    assert own.all()
    np.testing.assert_array_equal(places, place_on_plane(points))


def test_two_models_side_by_side(tmp_path, folders, material, cache):
    models = {name: Embedder(folders[name], "cpu") for name in ("aligned", "dual")}
    shown = illustrate_map(models, material, cache, tmp_path, recordings=500, neighbors=3, seed=0)
    numbers = shown.numbers
    assert list(numbers["agreement"]) == ["register", "octave", "level", "loud", "noisy", "quiet"]  # never: too few
    assert numbers["clips"] == material.data.ids("test")
    features = cache.features(models["dual"], material.data, "test").means().values.astype(float)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0).clip(1e-9)
    distances = np.linalg.norm(scaled[:, None] - scaled, axis=2) + 1e9 * np.eye(len(scaled))
    register = np.arange(SIZES["test"]) % 3  # as tones.make_rows has them
    alike = register[np.argsort(distances, axis=1)[:, :3]] == register[:, None]
    assert numbers["agreement"]["register"]["dual"]["value"] == pytest.approx(alike.mean())
    assert numbers["agreement"]["register"]["dual"]["chance"] == pytest.approx(5 / 17)
    assert np.shape(numbers["places"]["aligned"]) == (18, 2)
    assert shown.pictures == ["map.png", "map_tags.png"]
    assert all(colors(tmp_path / name) > 10 for name in shown.pictures)
    assert "| label | kind | aligned | dual | chance |" in shown.text


def test_a_recording_that_is_stored_twice_is_no_neighbor_of_itself(tmp_path, dataset, folders, cache):
    folder = tmp_path / "twice"
    folder.mkdir()
    (folder / "tasks.json").write_text((dataset / "tasks.json").read_text())
    rows = make_rows("test", 9)
    write_split(folder, "test", rows + [{**row, "id": f"{row['id']}-again"} for row in rows])
    material = Material(open_described(folder), "test")
    models = {"dual": Embedder(folders["dual"], "cpu")}
    shown = illustrate_map(models, material, cache, tmp_path, recordings=500, neighbors=2, seed=0)
    assert shown.numbers["clips"] == [row["id"] for row in rows]
    assert len(illustrate_map(models, material, cache, tmp_path, 6, 2, 0).numbers["clips"]) == 6
    with pytest.raises(DataError, match=r"9 clips of test .* too few for a map with 8 neighbors"):
        illustrate_map(models, material, cache, tmp_path, recordings=500, neighbors=8, seed=0)
