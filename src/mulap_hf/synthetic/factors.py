"""Pieces made of three independent factors: melody (with harmony), rhythm and timbre.

Each factor has its own seed, and what it decides depends on that seed alone. So two pieces may share any subset of
their factors. The triplets of `make_triplet` and the grids of `make_grid_piece` train and evaluate models of music
similarity (Roy, Liang, Herremans 2026, arXiv 2605.27346).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .compose import (
    BARS_PER_SECTION,
    FORMS,
    STRUMMED,
    Plan,
    choose,
    comping_center,
    cut_window,
    draw_motif,
    power_chord,
)
from .effects import Effects
from .ensemble import Ensemble
from .generate import (
    CORPUS_VERSION,
    PRODUCTIONS,
    CorpusConfig,
    finish,
    players_for,
    rounded,
    split_number,
    to_sampling_rate,
)
from .grooves import GROOVES, QUIET_GROOVES, TRIPLE_GROOVES
from .instruments import HELD_OUT_DRUM_KITS, INSTRUMENTS
from .patterns import BASS_PATTERNS, COMPING_PATTERNS, Hit, drum_fill, drum_hits, plays_fill
from .production import Production
from .song import Song, Track
from .styles import STYLE_NAMES, STYLES
from .theory import parse_progression, scale_pitch_classes, voice_chord

__all__ = [
    "FACTORS",
    "GRID_SIZE",
    "TRIPLET_PARTS",
    "Factors",
    "make_grid_piece",
    "make_piece",
    "make_triplet",
    "make_triplet_piece",
]

FACTORS = ("melody", "rhythm", "timbre")
TRIPLET_PARTS = ("anchor", "positive", "negative")
GRID_SIZE = 2 ** len(FACTORS)  # pieces of a grid
_TRIPLET_STREAM, _GRID_STREAM = 2_000, 3_000  # added to the number of a split: seed the factors of its pieces
_MELODY_STEPS = 48  # melodic steps per motif; a motif with more notes starts over
_VELOCITY = 84.0


@dataclass(frozen=True)
class Factors:
    """The seeds of a piece; equal seeds give equal factors.

    Attributes:
        melody: Key, scale, chords, and the steps of the melody.
        rhythm: Tempo, meter, swing, timing, drum grid, and when the bass, the chords and the melody sound.
        timbre: Instruments with their presets, mixing gains, the variations of their sound, and effects.
    """

    melody: int
    rhythm: int
    timbre: int


@dataclass(frozen=True)
class _Melody:
    tonic: int
    mode: str
    progression: str
    scale: list[int]
    form: str
    steps: Mapping[str, np.ndarray]  # motif -> melodic steps in scale degrees


@dataclass(frozen=True)
class _Rhythm:
    tempo: float
    beats: int
    swing: float
    timing: float
    groove: str
    bass: str
    comping: str
    motifs: Mapping[str, list[tuple[int, int, int]]]
    form: str
    start: float  # of the window, in bars
    seeds: np.random.SeedSequence


@dataclass(frozen=True)
class _Timbre:
    tracks: Mapping[str, Track]  # role -> an empty track
    brightness: float
    articulation: float
    effects: Effects | Production
    seeds: np.random.SeedSequence


def _rng(factor: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([CORPUS_VERSION, FACTORS.index(factor), seed])


def _draw_style(rng: np.random.Generator):
    return STYLES[STYLE_NAMES[rng.integers(len(STYLE_NAMES))]]


def _draw_melody(seed: int) -> _Melody:
    rng = _rng("melody", seed)
    style = _draw_style(rng)
    mode = "minor" if rng.random() < style.minor else "major"
    progressions = style.minor_progressions if mode == "minor" else style.major_progressions
    tonic = int(rng.integers(12))
    movements, weights = range(-4, 5), (0.06, 0.08, 0.14, 0.20, 0.04, 0.20, 0.14, 0.08, 0.06)
    return _Melody(
        tonic=tonic,
        mode=mode,
        progression=str(rng.choice(progressions)),
        scale=scale_pitch_classes(tonic, choose(rng, style.scales[mode])),
        form=str(rng.choice(FORMS)),
        steps={name: rng.choice(movements, _MELODY_STEPS, p=weights) for name in "AB"},
    )


def _draw_rhythm(seed: int) -> _Rhythm:
    rng = _rng("rhythm", seed)
    style = _draw_style(rng)
    slowest, fastest = style.tempo
    beats = 3 if rng.random() < style.triple else 4
    density = float(np.clip(style.lead.density * rng.uniform(0.7, 1.4), 0.15, 0.95))
    return _Rhythm(
        tempo=float(slowest * (fastest / slowest) ** rng.random()),
        beats=beats,
        swing=style.swing,
        timing=float(rng.uniform(0.001, 0.010)),
        groove=choose(rng, style.grooves),
        bass=choose(rng, style.bass.patterns),
        comping=choose(rng, style.comping[0].patterns),
        motifs={name: draw_motif(rng, 4 * beats, density) for name in "AB"},
        form=str(rng.choice(FORMS)),
        start=float(2 * rng.random()),
        seeds=np.random.SeedSequence([CORPUS_VERSION, seed]),
    )


def _draw_timbre(seed: int, held_out_presets: bool, config: CorpusConfig) -> _Timbre:
    rng = _rng("timbre", seed)
    style = _draw_style(rng)

    def track(role: str, instruments: Mapping[str, float], gain: float) -> Track:
        name = choose(rng, instruments)
        choice = INSTRUMENTS[name]
        programs = choice.held_out if held_out_presets and choice.held_out else choice.programs
        return Track(role, name, int(rng.choice(programs)), gain * 10 ** (rng.normal(0, 2) / 20))

    kits = HELD_OUT_DRUM_KITS if held_out_presets else style.kits
    tracks = {
        "drums": Track("drums", "drums", int(rng.choice(kits)), 10 ** (rng.normal(0, 2) / 20)),
        "bass": track("bass", style.bass.instruments, 1.0),
        "comping": track("comping", style.comping[0].instruments, 0.75),
        "lead": track("lead", style.lead.instruments, 0.95),
    }
    return _Timbre(
        tracks=tracks,
        brightness=float(np.clip(rng.normal(0, 4), -9, 9)),
        articulation=float(rng.uniform(0.55, 1.0)),
        effects=PRODUCTIONS[config.production](rng, config.effect_strength),
        seeds=np.random.SeedSequence([CORPUS_VERSION, FACTORS.index("timbre"), seed]),
    )


def _compose(melody: _Melody, rhythm: _Rhythm, timbre: _Timbre, duration: float) -> Song:
    num_bars = int(np.ceil(duration * rhythm.tempo / 60 / rhythm.beats)) + 4
    plan = Plan(
        style="",
        sources={},
        energy=0.5,
        tempo=rhythm.tempo,
        beats=rhythm.beats,
        swing=rhythm.swing,
        mode=melody.mode,
        tonic=melody.tonic,
        progression=melody.progression,
        chords=parse_progression(melody.progression),
        velocity=_VELOCITY,
        register=0.0,
        brightness=timbre.brightness,
        articulation=timbre.articulation,
        timing=rhythm.timing,
        num_bars=num_bars,
        section_intensity=np.ones(num_bars // BARS_PER_SECTION + 1),
        rng=np.random.default_rng(),  # replaced by that of a role and a bar
    )
    tracks = {role: replace(track, notes=[]) for role, track in timbre.tracks.items()}
    for role, play in (("drums", _play_drums), ("bass", _play_bass), ("comping", _play_comping), ("lead", _play_lead)):
        play(plan, melody, rhythm, tracks[role])
    start = rhythm.start * plan.bar_seconds
    return Song(
        tracks=cut_window(list(tracks.values()), start, duration),
        duration=duration,
        style="",
        tempo=rhythm.tempo,
        tonic=melody.tonic,
        mode=melody.mode,
        beats_per_bar=rhythm.beats,
        groove=rhythm.groove,
        progression=melody.progression,
        arousal=0.0,
        valence=0.0,
        brightness=timbre.brightness,
    )


def _for_bar(plan: Plan, rhythm: _Rhythm, role: int, bar: int) -> Plan:
    """The plan with the random generator of one bar of one role: the number of draws of other bars cannot matter."""
    return replace(plan, rng=np.random.default_rng([*rhythm.seeds.entropy, role, bar]))


def _play_drums(plan: Plan, melody: _Melody, rhythm: _Rhythm, track: Track) -> None:
    grid = (GROOVES if plan.beats == 4 else TRIPLE_GROOVES)[rhythm.groove]
    for index in range(plan.num_bars):
        now = _for_bar(plan, rhythm, 0, index)
        bar = now.bar(index)
        fill = plays_fill(bar, rhythm.groove) and rhythm.groove not in QUIET_GROOVES
        for strength, hit in drum_hits(bar, grid, fill):
            now.play(track, index, hit, strength * (plan.velocity + 24))
        for hit in drum_fill(bar) if fill else ():
            now.play(track, index, hit, plan.velocity)


def _play_bass(plan: Plan, melody: _Melody, rhythm: _Rhythm, track: Track) -> None:
    for index in range(plan.num_bars):
        now = _for_bar(plan, rhythm, 1, index)
        for hit in BASS_PATTERNS[rhythm.bass](now.bar(index)):
            now.play(track, index, hit, 0.9 * plan.velocity + 12)


def _play_comping(plan: Plan, melody: _Melody, rhythm: _Rhythm, track: Track) -> None:
    center = comping_center(track.instrument, rhythm.comping, 0.0)
    spread = 0.1 if track.instrument in STRUMMED else 0.0
    voicing: list[int] | None = None
    for index in range(plan.num_bars):
        now = _for_bar(plan, rhythm, 2, index)
        bar = now.bar(index)
        voicing = voice_chord(bar.chord, plan.tonic, center, voicing)
        pitches = power_chord(bar) if track.instrument == "distorted guitar" else voicing
        for hit in COMPING_PATTERNS[rhythm.comping](bar, pitches, spread):
            now.play(track, index, hit, 0.8 * plan.velocity)


def _play_lead(plan: Plan, melody: _Melody, rhythm: _Rhythm, track: Track) -> None:
    """The notes of the rhythm's motifs take the melody's steps in order; the first of a bar is a tone of its chord."""
    low, high = INSTRUMENTS[track.instrument].lead_range
    ladder = [pitch for pitch in range(low, high + 1) if pitch % 12 in melody.scale]
    middle = len(ladder) // 2
    for first_bar in range(0, plan.num_bars, 2):
        part = first_bar // 2 % 4
        steps = melody.steps[melody.form[part]]
        degree, last_bar = middle, -1
        for number, (start, length, _) in enumerate(rhythm.motifs[rhythm.form[part]]):
            degree = int(np.clip(degree + steps[number % len(steps)], 0, len(ladder) - 1))
            index = first_bar + start // plan.steps
            now = _for_bar(plan, rhythm, 3 + number, index)
            pitch = ladder[degree]
            if index != last_bar:
                tones = now.bar(index).chord.pitch_classes(plan.tonic)
                pitch = next((pitch + d for d in (0, 1, -1, 2, -2) if (pitch + d) % 12 in tones), pitch)
            last_bar = index
            now.play(track, index, Hit(start % plan.steps, 0.95 * length, pitch), 0.85 * plan.velocity + 16)


def make_piece(config: CorpusConfig, split: str, factors: Factors) -> dict[str, Any]:
    """Make the piece of three factors.

    Args:
        config: Settings of the corpus; `borrowing`, `max_silence` and `captions` are not used.
        split: Name of a split in `SPLITS`, which decides on presets and renderer. The factors decide on all else.
        factors: The seeds.

    Returns:
        A dictionary with `audio` (float32 array, `(samples,)`), `sampling_rate` (Hz), `duration` (seconds), `melody`,
        `rhythm` and `timbre` (the seeds), `key`, `progression`, `tempo` (beats per minute), `beats_per_bar`, `groove`
        and `instruments`.

    Raises:
        DataError: As `players_for`.
    """
    melody, rhythm = _draw_melody(factors.melody), _draw_rhythm(factors.rhythm)
    timbre = _draw_timbre(factors.timbre, split == "test_presets", config)
    song = _compose(melody, rhythm, timbre, config.clip_seconds)
    sound_seeds, effect_seeds, player_seeds = timbre.seeds.spawn(3)
    renderer = players_for(config, split).for_tracks(list(timbre.tracks.values()), np.random.default_rng(player_seeds))
    if isinstance(renderer, Ensemble):  # a window of the piece may lack some of the tracks
        players = dict(zip(timbre.tracks, renderer.players, strict=True))
        renderer = Ensemble([players[track.role] for track in song.tracks])
    stems = renderer.stems(song.tracks, song.duration, np.random.default_rng(sound_seeds))
    effects_rng = np.random.default_rng(effect_seeds)
    audio = finish(stems, song.tracks, renderer, timbre.effects, timbre.brightness, effects_rng)
    labels = {
        "sampling_rate": config.sampling_rate,
        "duration": config.clip_seconds,
        "melody": factors.melody,
        "rhythm": factors.rhythm,
        "timbre": factors.timbre,
        "key": song.key,
        "progression": song.progression,
        "tempo": song.tempo,
        "beats_per_bar": song.beats_per_bar,
        "groove": song.groove,
        "instruments": sorted({track.label for track in song.tracks}),
    }
    return {**rounded(labels), "audio": to_sampling_rate(audio, config)}


def _two_pieces(config: CorpusConfig, stream: int, index: int) -> tuple[Factors, Factors]:
    """Return two sets of factors that share nothing."""
    seeds = np.random.SeedSequence([CORPUS_VERSION, config.seed, stream, index]).generate_state(6, np.uint64)
    first, second = (Factors(*(int(seed) >> 11 for seed in part)) for part in (seeds[:3], seeds[3:]))
    return first, second


def triplet_factors(config: CorpusConfig, split: str, factor: str, index: int) -> dict[str, Factors]:
    """Return the factors of the pieces of `make_triplet`, by the names of the parts.

    Raises:
        ValueError: The factor or the split does not exist.
    """
    if factor not in FACTORS:
        raise ValueError(f"factor {factor!r} does not exist; choose one of {', '.join(FACTORS)}")
    anchor, other = _two_pieces(config, _TRIPLET_STREAM + 10 * split_number(split) + FACTORS.index(factor), index)
    return {
        "anchor": anchor,
        "positive": replace(other, **{factor: getattr(anchor, factor)}),
        "negative": replace(anchor, **{factor: getattr(other, factor)}),
    }


def make_triplet(config: CorpusConfig, split: str, factor: str, index: int) -> dict[str, dict[str, Any]]:
    """Make three pieces: the second shares one factor with the first, the third shares the two others.

    Args:
        config: Settings of the corpus.
        split: Name of a split in `SPLITS`. No two splits share the seed of a factor.
        factor: "melody", "rhythm" or "timbre".
        index: Index of the triplet in its split, from 0. A split has no end.

    Returns:
        `anchor`, `positive` and `negative`, each as `make_piece` returns them.

    Raises:
        ValueError: The factor or the split does not exist.
        DataError: As `players_for`.
    """
    pieces = triplet_factors(config, split, factor, index)
    return {part: make_piece(config, split, factors) for part, factors in pieces.items()}


def make_triplet_piece(factor: str, config: CorpusConfig, split: str, index: int) -> dict[str, Any]:
    """Make one piece of a triplet: piece `index` is part `index % 3` of triplet `index // 3`.

    Returns:
        As `make_piece`, with `clip_id`, `triplet` (the index of the triplet) and `part` before.
    """
    triplet, number = divmod(index, len(TRIPLET_PARTS))
    part = TRIPLET_PARTS[number]
    identity = {"clip_id": f"{split}-{triplet:06d}-{part}", "triplet": triplet, "part": part}
    return identity | make_piece(config, split, triplet_factors(config, split, factor, triplet)[part])


def make_grid_piece(config: CorpusConfig, split: str, index: int) -> dict[str, Any]:
    """Make one piece of a grid: all eight combinations of two melodies, two rhythms and two timbres.

    A grid holds, for each factor, pairs that share only this factor, and pairs that share all but this factor.

    Args:
        config: Settings of the corpus.
        split: Name of a split in `SPLITS`. No two splits share the seed of a factor.
        index: Piece `index % 8` of grid `index // 8`.

    Returns:
        As `make_piece`, with `clip_id` and `grid` (the index of the grid) before.

    Raises:
        ValueError: The split does not exist.
        DataError: As `players_for`.
    """
    grid, number = divmod(index, GRID_SIZE)
    pieces = _two_pieces(config, _GRID_STREAM + split_number(split), grid)
    chosen = {factor: getattr(pieces[number >> bit & 1], factor) for bit, factor in enumerate(FACTORS)}
    identity = {"clip_id": f"{split}-{grid:06d}-{number}", "grid": grid}
    return identity | make_piece(config, split, Factors(**chosen))
