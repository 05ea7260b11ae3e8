"""Clips of the corpus by number: configuration, splits, seeds, and the way from a seed to a clip with its truth.

A clip depends on the configuration, its split and its number, and on nothing else: not on the clips before it, nor on
the process that makes it. Three independent random streams make the song, its sound and its caption, so that other
captions leave the audio as it is.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import soxr

from .captions import CaptionRates, Facts, write_caption
from .compose import compose
from .effects import draw_effects, master
from .render import SAMPLING_RATE, Renderer, Rendering, render, silent_fraction
from .song import Song
from .soundfont import load_soundfont, sha256_of_file
from .styles import STYLE_NAMES
from .synth import NumpySynth
from .tags import true_tags

__all__ = ["CORPUS_VERSION", "SPLITS", "CorpusConfig", "fingerprint", "make_clip"]

CORPUS_VERSION = 1
"""Part of every seed: to be raised whenever the same seed would give another corpus."""

SPLITS = {"train": 1, "validation": 2, "test": 3, "test_presets": 4, "test_soundfont": 5, "test_renderer": 6}
"""Name and number of the splits. No two share a song; the last three sound like nothing heard in training: presets and
drum kits held out (`test_presets`), another soundfont (`test_soundfont`), another renderer (`test_renderer`)."""

_ORDER_STREAM = 1_000  # added to a stream: seeds the order of its styles (or families)
_MAX_ATTEMPTS = 30


@dataclass(frozen=True)
class CorpusConfig:
    """Settings of a corpus.

    Attributes:
        seed: Another seed gives another corpus.
        clip_seconds: Length of a clip.
        sampling_rate: Rate of the audio in Hz. Clips are made at 16 kHz, and resampled for any other rate.
        soundfont: Path of an SF2 file with sampled instruments (needs tinysoundfont); None for the numpy synthesizer.
        held_out_soundfont: Path of another SF2 file, for the split `test_soundfont` (and for `test_renderer` where
            the numpy synthesizer makes the other splits).
        effect_strength: How much the mastering chain changes the sound; 0 turns it off.
        borrowing: Probability that a part of a song comes from another style.
        max_silence: A clip with a larger share of silence is composed anew.
        captions: How weak captions are.
    """

    seed: int = 0
    clip_seconds: float = 20.0
    sampling_rate: int = SAMPLING_RATE
    soundfont: str | None = None
    held_out_soundfont: str | None = None
    effect_strength: float = 1.0
    borrowing: float = 0.15
    max_silence: float = 0.2
    captions: CaptionRates = field(default_factory=CaptionRates)

    def __post_init__(self):
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if not self.clip_seconds >= 1:  # nor NaN
            raise ValueError(f"clip_seconds must be at least 1, got {self.clip_seconds}")


def fingerprint(config: CorpusConfig) -> dict[str, Any]:
    """What a corpus depends on, as JSON: version and settings, soundfonts by their content rather than their path."""
    settings = asdict(config)
    for name in ("soundfont", "held_out_soundfont"):
        if settings[name] is not None:
            settings[name] = sha256_of_file(settings[name])
    return {"version": CORPUS_VERSION, **settings}


def seed_sequence(config: CorpusConfig, stream: int, index: int) -> np.random.SeedSequence:
    """The root of all randomness of one item of one stream (a split, or what is derived from one)."""
    return np.random.SeedSequence([CORPUS_VERSION, config.seed, stream, index])


def split_number(split: str) -> int:
    """The number of a split.

    Raises:
        ValueError: There is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    return SPLITS[split]


def is_held_out(config: CorpusConfig, split: str) -> bool:
    """Whether the held-out soundfont plays a split."""
    return split == "test_soundfont" or (split == "test_renderer" and config.soundfont is None)


def renderer_for(config: CorpusConfig, split: str) -> Renderer:
    """The renderer of a split.

    Raises:
        ValueError: The split needs a soundfont that the configuration does not name; or see `load_soundfont`, also for
            other errors.
    """
    if is_held_out(config, split):
        if config.held_out_soundfont is None:
            raise ValueError(
                f"the split {split!r} needs a soundfont: set held_out_soundfont to the path of an SF2 file"
            )
        return load_soundfont(config.held_out_soundfont)
    if config.soundfont is None or split == "test_renderer":
        return NumpySynth()
    return load_soundfont(config.soundfont)


def balanced_choice(config: CorpusConfig, stream: int, index: int, options: Sequence[str]) -> str:
    """One of the options for each number: every `len(options)` items in a row have all, in an order of their own."""
    block, position = divmod(index, len(options))
    rng = np.random.default_rng(seed_sequence(config, _ORDER_STREAM + stream, block))
    return options[rng.permutation(len(options))[position]]


def _song_and_sound(
    config: CorpusConfig,
    split: str,
    index: int,
    song_seeds: np.random.SeedSequence,
    sound_seeds: np.random.SeedSequence,
) -> tuple[Song, Rendering]:
    """Composes and renders until the clip is not mostly silent (nearly always the first time)."""
    style = balanced_choice(config, split_number(split), index, STYLE_NAMES)
    renderer = renderer_for(config, split)
    for _ in range(_MAX_ATTEMPTS):
        song_rng, sound_rng = (np.random.default_rng(seeds.spawn(1)[0]) for seeds in (song_seeds, sound_seeds))
        song = compose(
            song_rng,
            style,
            config.clip_seconds,
            held_out_presets=split == "test_presets",
            borrowing=config.borrowing,
        )
        if not song.tracks:
            continue
        rendering = render(renderer, song, sound_rng)
        if rendering.audible and silent_fraction(rendering.audio) <= config.max_silence:
            return song, rendering
    raise RuntimeError(f"{split} clip {index} stays silent; is max_silence={config.max_silence} too strict?")


def rounded(value: Any) -> Any:
    """Numbers in nested lists and dictionaries, short enough to be read."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def to_sampling_rate(audio: np.ndarray, config: CorpusConfig) -> np.ndarray:
    """Brings finished audio to the sampling rate of the configuration."""
    if config.sampling_rate == SAMPLING_RATE:
        return audio
    return soxr.resample(audio, SAMPLING_RATE, config.sampling_rate)


def make_clip(config: CorpusConfig, split: str, index: int) -> dict[str, Any]:
    """Makes one clip.

    Args:
        config: Settings of the corpus.
        split: Name of a split in `SPLITS`.
        index: Number of the clip in its split, from 0; there is no last one.

    Returns:
        A dictionary with `audio` (float32 array) and, all of them plain JSON types: `clip_id`, `sampling_rate`,
        `duration` (seconds), `caption`, `caption_right` and `caption_wrong` (attributes it tells), `style`,
        `instruments` (those that can be heard), `tags`, `tempo` (beats per minute), `key` (such as "C minor"), `mode`,
        `arousal` and `valence` in [-1, 1], `groove`, `progression`, `beats_per_bar`, `renderer`, `tracks`, `effects`.
    """
    stream = split_number(split)
    song_seeds, sound_seeds, caption_seeds = seed_sequence(config, stream, index).spawn(3)
    effects_rng = np.random.default_rng(sound_seeds.spawn(1)[0])
    song, rendering = _song_and_sound(config, split, index, song_seeds, sound_seeds)
    effects = draw_effects(effects_rng, config.effect_strength)
    audio = master(rendering.audio, effects, song.brightness, effects_rng)

    instruments = sorted({track.label for track in rendering.audible})
    facts = Facts(song.style, instruments, song.tempo, song.key, song.arousal, song.valence)
    caption = write_caption(facts, np.random.default_rng(caption_seeds), config.captions)
    truth = {
        "clip_id": f"{split}-{index:06d}",
        "sampling_rate": config.sampling_rate,
        "duration": config.clip_seconds,
        "caption": caption.text,
        "style": song.style,
        "instruments": instruments,
        "tags": true_tags(song.style, instruments, song.tempo, song.arousal, song.valence),
        "tempo": song.tempo,
        "key": song.key,
        "mode": song.mode,
        "arousal": song.arousal,
        "valence": song.valence,
        "caption_right": caption.right,
        "caption_wrong": caption.wrong,
        "beats_per_bar": song.beats_per_bar,
        "groove": song.groove,
        "progression": song.progression,
        "renderer": renderer_for(config, split).name,
        "tracks": [
            {
                "role": track.role,
                "instrument": track.instrument,
                "program": track.program,
                "notes": len(track.notes),
                "audible": any(track is heard for heard in rendering.audible),
            }
            for track in song.tracks
        ],
        "effects": asdict(effects),
    }
    return {**rounded(truth), "audio": to_sampling_rate(audio, config)}
