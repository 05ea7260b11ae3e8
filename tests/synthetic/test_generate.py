import json
from dataclasses import replace

import golden
import numpy as np
import pytest

from mulap_hf.synthetic import SPLITS, STYLE_NAMES, TAGS, CaptionRates, CorpusConfig, make_clip
from mulap_hf.synthetic.instruments import HELD_OUT_DRUM_KITS, INSTRUMENTS
from mulap_hf.synthetic.render import silent_fraction


def test_fields_of_a_clip_are_consistent(config):
    clip = make_clip(config, "train", 12)
    assert clip["clip_id"] == "train-000012"
    assert clip["audio"].dtype == np.float32 and clip["audio"].shape == (4 * 16_000,)
    assert np.abs(clip["audio"]).max() <= 1
    assert clip["key"].endswith(clip["mode"])
    assert set(clip["tags"]) <= set(TAGS) and clip["style"] in clip["tags"]
    assert clip["instruments"] and set(clip["instruments"]) <= set(clip["tags"])
    assert -1 <= clip["arousal"] <= 1 and -1 <= clip["valence"] <= 1
    assert clip["caption"]


def test_stored_clips_and_notes_are_reproduced():
    """Labels and captions are compared exactly; audio by its level per second, because CPUs round differently."""
    expected = json.loads(golden.PATH.read_text(encoding="utf-8"))
    for now, then in zip(golden.describe_all(), expected, strict=True):
        np.testing.assert_allclose(now.pop("levels"), then.pop("levels"), atol=0.1)
        assert json.loads(json.dumps(now)) == then


def test_a_clip_does_not_depend_on_other_clips(config):
    alone = make_clip(config, "test", 7)
    for index in (6, 3, 8):
        make_clip(config, "test", index)
    again = make_clip(config, "test", 7)
    assert alone.pop("audio").tobytes() == again.pop("audio").tobytes()
    assert alone == again


def test_seeds_give_different_songs(config):
    for index in range(3):
        first = make_clip(config, "train", index)
        other = make_clip(replace(config, seed=1), "train", index)
        assert not np.array_equal(first["audio"], other["audio"])
        assert first["tempo"] != other["tempo"]


def test_caption_rates_do_not_change_the_audio(config):
    clips = [make_clip(config, "train", index) for index in range(4)]
    mute = replace(config, captions=CaptionRates(irrelevant=1.0))
    recaptioned = [make_clip(mute, "train", index) for index in range(4)]
    for clip, other in zip(clips, recaptioned, strict=True):
        assert clip["audio"].tobytes() == other["audio"].tobytes()
        assert clip["tags"] == other["tags"]
    assert all(clip["caption"] != other["caption"] for clip, other in zip(clips, recaptioned, strict=True))


def test_splits_share_no_song(config):
    splits = ("train", "validation", "test", "test_presets")
    songs = [
        (clip["tempo"], clip["arousal"], clip["valence"])
        for split in splits
        for clip in (make_clip(config, split, index) for index in range(12))
    ]
    assert len(set(songs)) == 12 * len(splits)


def test_held_out_presets_occur_only_in_test_presets():
    config = CorpusConfig(clip_seconds=1.0, effect_strength=0.0, max_silence=1.0)
    held_out = {program for instrument in INSTRUMENTS.values() for program in instrument.held_out}
    played = {"train": set(), "test_presets": set()}
    for split, presets in played.items():
        for index in range(96):
            for track in make_clip(config, split, index)["tracks"]:
                if track["instrument"] == "drums":
                    assert (track["program"] in HELD_OUT_DRUM_KITS) == (split == "test_presets")
                elif split == "train" or INSTRUMENTS[track["instrument"]].held_out:
                    presets.add(track["program"])
    assert not played["train"] & held_out
    assert played["test_presets"] <= held_out
    assert len(played["test_presets"]) > 10


def test_styles_are_balanced_per_block_in_random_order(config):
    config = replace(config, clip_seconds=1.0, effect_strength=0.0)
    styles = [make_clip(config, "train", index)["style"] for index in range(36)]
    blocks = [styles[:12], styles[12:24], styles[24:]]
    assert all(sorted(block) == sorted(STYLE_NAMES) for block in blocks)
    assert blocks[0] != blocks[1] != blocks[2]


def test_silent_clips_are_composed_again(config):
    """The equalizer runs after the check and may add a little silence, hence the tolerance."""

    def most_silent(max_silence):
        chosen = replace(config, effect_strength=0.0, max_silence=max_silence)
        return max(silent_fraction(make_clip(chosen, "train", index)["audio"]) for index in range(60))

    assert most_silent(0.05) <= 0.075
    assert most_silent(1.0) > 0.075


def test_instrument_labels_are_those_of_the_audible_tracks(config):
    inaudible = 0
    for index in range(48):
        clip = make_clip(config, "train", index)
        audible = {track["instrument"] for track in clip["tracks"] if track["audible"]}
        labels = {name if name == "drums" else INSTRUMENTS[name].label for name in audible}
        assert clip["instruments"] == sorted(labels)
        inaudible += sum(not track["audible"] for track in clip["tracks"])
    assert inaudible > 0


def test_other_sampling_rates(config):
    fast = make_clip(replace(config, sampling_rate=24_000), "train", 0)
    slow = make_clip(config, "train", 0)
    assert fast["sampling_rate"] == 24_000 and len(fast["audio"]) == 4 * 24_000
    np.testing.assert_allclose(np.mean(fast["audio"] ** 2), np.mean(slow["audio"] ** 2), rtol=0.05)
    assert fast["caption"] == slow["caption"]


def test_without_effects_all_clips_have_the_same_level(config):
    config = replace(config, effect_strength=0.0)
    levels = [10 * np.log10(np.mean(make_clip(config, "train", index)["audio"] ** 2)) for index in range(12)]
    np.testing.assert_allclose(levels, -20, atol=1.5)


@pytest.mark.parametrize("split", ["test_soundfont", "test_renderer"])
def test_splits_without_their_soundfont_are_refused(config, split):
    assert split in SPLITS
    with pytest.raises(ValueError, match="held_out_soundfont"):
        make_clip(config, split, 0)


def test_invalid_settings_are_refused(config):
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        make_clip(config, "dev", 0)
    with pytest.raises(ValueError, match="seed"):
        CorpusConfig(seed=-1)
    with pytest.raises(ValueError, match="clip_seconds"):
        CorpusConfig(clip_seconds=0.5)
