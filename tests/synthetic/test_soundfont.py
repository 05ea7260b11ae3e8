"""The sampled renderer; the tests that need a soundfont run where MULAP_SOUNDFONT names one."""

import os
import sys
from dataclasses import replace

import numpy as np
import pytest

from mulap_hf.synthetic import CorpusConfig, make_clip, make_note

SOUNDFONT = os.environ.get("MULAP_SOUNDFONT")


def test_a_missing_file_is_named(config):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.sf2"):
        make_clip(replace(config, soundfont="/nowhere.sf2"), "train", 0)


def test_a_missing_library_comes_with_the_mend(config, tmp_path, monkeypatch):
    font = tmp_path / "font.sf2"
    font.write_bytes(b"RIFF")
    monkeypatch.setitem(sys.modules, "tinysoundfont", None)
    with pytest.raises(ImportError, match="pip install --no-deps tinysoundfont"):
        make_clip(replace(config, soundfont=str(font)), "train", 0)


def test_what_is_no_soundfont_is_named(config, tmp_path):
    pytest.importorskip("tinysoundfont")
    (tmp_path / "font.sf2").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match=r"font\.sf2 is no soundfont in the SF2 format"):
        make_clip(replace(config, soundfont=str(tmp_path / "font.sf2")), "train", 0)


@pytest.fixture
def sampled():
    pytest.importorskip("tinysoundfont")
    if SOUNDFONT is None:
        pytest.skip("MULAP_SOUNDFONT is not set")
    return CorpusConfig(clip_seconds=4.0, soundfont=SOUNDFONT)


def test_sampled_clips_do_not_depend_on_what_was_played_before(sampled):
    alone = make_clip(sampled, "train", 2)["audio"]
    make_clip(sampled, "train", 1)
    assert alone.tobytes() == make_clip(sampled, "train", 2)["audio"].tobytes()


def test_the_same_song_with_other_sounds(sampled):
    sampled_clip = make_clip(sampled, "train", 2)
    synthesized = make_clip(replace(sampled, soundfont=None), "train", 2)
    assert sampled_clip["tempo"] == synthesized["tempo"] and sampled_clip["key"] == synthesized["key"]
    assert sampled_clip["renderer"].startswith("soundfont-") and synthesized["renderer"] == "numpy"
    assert not np.allclose(sampled_clip["audio"], synthesized["audio"], atol=0.05)


def test_the_held_out_renderer_is_the_other_one(sampled):
    assert make_clip(sampled, "test_renderer", 0)["renderer"] == "numpy"
    swapped = replace(sampled, soundfont=None, held_out_soundfont=SOUNDFONT)
    assert make_clip(swapped, "test_renderer", 0)["renderer"].startswith("soundfont-")
    assert make_clip(swapped, "test_soundfont", 0)["renderer"].startswith("soundfont-")


def test_sampled_notes_sound(sampled):
    for index in range(11):
        assert np.mean(make_note(sampled, "test", index)["audio"] ** 2) > 1e-5
