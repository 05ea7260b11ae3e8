"""The check that a picture shows data fails for an empty picture."""

import pytest
from matplotlib.figure import Figure
from pictures import assert_shows_data

from mulap_hf.illustration.drawing import save_picture


def test_pictures_without_data_are_recognized(tmp_path):
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    axes.set(title="title", xlabel="time (s)", ylabel="kHz")
    axes.grid()
    save_picture(figure, tmp_path / "empty.png")
    with pytest.raises(AssertionError, match=r"empty\.png is empty"):
        assert_shows_data(tmp_path / "empty.png")
    axes.plot([0, 1], [0, 1])
    save_picture(figure, tmp_path / "full.png")
    assert_shows_data(tmp_path / "full.png")
