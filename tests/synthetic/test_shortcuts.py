"""Labels cannot be predicted from levels, lengths or effects."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mulap_hf.synthetic import STYLE_NAMES, CorpusConfig, make_clip


@pytest.fixture(scope="module")
def clips():
    config = CorpusConfig(clip_seconds=4.0)
    return [make_clip(config, "train", index) for index in range(240)]


def accuracy(cue, styles):
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return cross_val_score(model, cue, styles, cv=5).mean()


# Four standard deviations above chance.
BOUND = 1 / 12 + 4 * np.sqrt(1 / 12 * 11 / 12 / 240)


def test_level_does_not_predict_the_style(clips):
    levels = np.array(
        [[np.log(np.sqrt(np.mean(clip["audio"] ** 2))), np.log(np.abs(clip["audio"]).max())] for clip in clips]
    )
    assert accuracy(levels, [clip["style"] for clip in clips]) < BOUND


def test_all_clips_have_the_same_length(clips):
    assert {len(clip["audio"]) for clip in clips} == {64_000}


def test_effects_do_not_predict_the_style(clips):
    cue = np.array([[clip["effects"]["high_shelf"][1], clip["effects"]["snr"] or 60.0] for clip in clips])
    assert accuracy(cue, [clip["style"] for clip in clips]) < BOUND


def test_instruments_predict_the_style(clips):
    """Control: the same classifier beats the bound with an informative cue."""
    instruments = sorted({name for clip in clips for name in clip["instruments"]})
    cue = np.array([[name in clip["instruments"] for name in instruments] for clip in clips])
    assert accuracy(cue, [clip["style"] for clip in clips]) > BOUND


def test_affect_varies_within_styles(clips):
    for name in ("arousal", "valence"):
        values = np.array([clip[name] for clip in clips])
        styles = np.array([clip["style"] for clip in clips])
        within = np.mean([values[styles == style].var() for style in STYLE_NAMES])
        assert values.std() > 0.35
        assert within / values.var() > 0.45
