"""Single notes for instrument family classification, in the manner of NSynth (Engel et al., ICML 2017)."""

from dataclasses import asdict
from typing import Any

import numpy as np

from .generate import (
    PRODUCTIONS,
    CorpusConfig,
    balanced_choice,
    finish,
    players_for,
    rounded,
    seed_sequence,
    split_number,
    to_sampling_rate,
)
from .instruments import INSTRUMENTS, NOTE_FAMILIES
from .song import Note, Track

__all__ = ["make_note"]

NOTE_SECONDS = 4.0
_HELD_SECONDS = 3.0
_PITCHES = (36, 84)  # the same range for all families, so that the pitch carries no information about the family
_VELOCITIES = (25, 50, 75, 100, 127)
_NOTE_STREAM = 100  # offset of the random streams of notes, so that notes and songs have no seed in common
_EFFECT_FACTOR = 0.5  # effect strength of notes relative to songs


def make_note(config: CorpusConfig, split: str, index: int) -> dict[str, Any]:
    """Make one note: 4 s of audio, released after 3 s.

    Args:
        config: Settings of the corpus; `clip_seconds` and `captions` are not used.
        split: Name of a split in `SPLITS`; `test_presets` has only held-out presets.
        index: Index of the note in its split, from 0.

    Returns:
        A dictionary with `note_id`, `audio` (float32 array, `(samples,)`), `sampling_rate` (Hz), `duration`
        (seconds), `family` (one of `NOTE_FAMILIES`), `instrument`, `program`, `pitch`, `velocity`, `renderer`,
        `effects`.
    """
    stream = _NOTE_STREAM + split_number(split)
    family = balanced_choice(config, stream, index, NOTE_FAMILIES)
    note_seeds, sound_seeds, effect_seeds = seed_sequence(config, stream, index).spawn(3)
    rng = np.random.default_rng(note_seeds)
    presets = {
        name: instrument.held_out if split == "test_presets" else instrument.programs
        for name, instrument in INSTRUMENTS.items()
        if instrument.family == family
    }
    instrument = str(rng.choice([name for name, programs in presets.items() if programs]))
    program = int(rng.choice(presets[instrument]))
    pitch, velocity = int(rng.integers(_PITCHES[0], _PITCHES[1] + 1)), int(rng.choice(_VELOCITIES))

    track = Track("note", instrument, program, notes=[Note(0.0, _HELD_SECONDS, pitch, velocity)])
    sound_rng, effects_rng = np.random.default_rng(sound_seeds), np.random.default_rng(effect_seeds)
    renderer = players_for(config, split).for_tracks([track], sound_rng)
    stems = renderer.stems([track], NOTE_SECONDS, sound_rng)
    effects = PRODUCTIONS[config.production](effects_rng, _EFFECT_FACTOR * config.effect_strength)
    audio = finish(stems, [track], renderer, effects, 0.0, effects_rng)
    labels = {
        "note_id": f"{split}-note-{index:06d}",
        "sampling_rate": config.sampling_rate,
        "duration": NOTE_SECONDS,
        "family": family,
        "instrument": instrument,
        "program": program,
        "pitch": pitch,
        "velocity": velocity,
        "renderer": renderer.name,
        "effects": asdict(effects),
    }
    return {**rounded(labels), "audio": to_sampling_rate(audio, config)}
