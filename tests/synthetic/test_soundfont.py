"""The sampled renderer. Tests with real samples run only if MULAP_SOUNDFONT is the path of an SF2 file."""

import os
import sys
from dataclasses import replace

import numpy as np
import pytest

from mulap_hf.errors import DataError
from mulap_hf.synthetic import CorpusConfig, make_clip, make_note

SOUNDFONT = os.environ.get("MULAP_SOUNDFONT")


def test_a_missing_file_is_named(config):
    with pytest.raises(DataError, match=r"nowhere\.sf2 does not exist"):
        make_clip(replace(config, soundfont="/nowhere.sf2"), "train", 0)


def test_the_error_for_a_missing_library_has_the_install_command(config, tmp_path, monkeypatch):
    font = tmp_path / "font.sf2"
    font.write_bytes(b"RIFF")
    monkeypatch.setitem(sys.modules, "tinysoundfont", None)
    with pytest.raises(ImportError, match="pip install --no-deps tinysoundfont"):
        make_clip(replace(config, soundfont=str(font)), "train", 0)


def test_a_file_in_another_format_is_named(config, tmp_path):
    pytest.importorskip("tinysoundfont")
    (tmp_path / "font.sf2").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match=r"font\.sf2 is not an SF2 or SF3 soundfont"):
        make_clip(replace(config, soundfont=str(tmp_path / "font.sf2")), "train", 0)


@pytest.fixture
def sampled():
    pytest.importorskip("tinysoundfont")
    if SOUNDFONT is None:
        pytest.skip("MULAP_SOUNDFONT is not set")
    return CorpusConfig(clip_seconds=4.0, soundfont=SOUNDFONT)


def test_sampled_clips_do_not_depend_on_other_clips(sampled):
    alone = make_clip(sampled, "train", 2)["audio"]
    make_clip(sampled, "train", 1)
    assert alone.tobytes() == make_clip(sampled, "train", 2)["audio"].tobytes()


def test_renderers_play_the_same_song(sampled):
    sampled_clip = make_clip(sampled, "train", 2)
    synthesized = make_clip(replace(sampled, soundfont=None), "train", 2)
    assert sampled_clip["tempo"] == synthesized["tempo"] and sampled_clip["key"] == synthesized["key"]
    assert sampled_clip["renderer"].startswith("soundfont-") and synthesized["renderer"] == "numpy"
    assert not np.allclose(sampled_clip["audio"], synthesized["audio"], atol=0.05)


def test_the_renderer_of_test_renderer_is_the_other_one(sampled):
    assert make_clip(sampled, "test_renderer", 0)["renderer"] == "numpy"
    swapped = replace(sampled, soundfont=None, held_out_soundfont=SOUNDFONT)
    assert make_clip(swapped, "test_renderer", 0)["renderer"].startswith("soundfont-")
    assert make_clip(swapped, "test_soundfont", 0)["renderer"].startswith("soundfont-")


def test_sampled_notes_are_not_silent(sampled):
    for index in range(11):
        assert np.mean(make_note(sampled, "test", index)["audio"] ** 2) > 1e-5
