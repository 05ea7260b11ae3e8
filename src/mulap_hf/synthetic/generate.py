"""Generation of single clips: configuration, splits, seeds, and `make_clip`.

A clip depends only on the configuration, its split and its index. It does not depend on other clips or on the process
that makes it. Song, sound and caption use three independent random streams, so changing `CorpusConfig.captions` does
not change the audio.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
import soxr

from ..errors import DataError
from .captions import Caption, CaptionRates, Facts, write_caption
from .compose import compose
from .descriptions import write_description
from .effects import Effects, draw_effects, master
from .ensemble import Players
from .production import Production, draw_production, produce
from .render import SAMPLING_RATE, Renderer, Rendering, mix_stems, render, silent_fraction, to_corpus_rate
from .song import Song, Track
from .soundfont import load_soundfont, sha256_of_file
from .styles import STYLE_NAMES
from .synth import NumpySynth
from .tags import true_tags

__all__ = [
    "CAPTION_STYLES",
    "COMPOSITIONS",
    "CORPUS_VERSION",
    "PRODUCTIONS",
    "SPLITS",
    "CorpusConfig",
    "fingerprint",
    "make_clip",
]

CORPUS_VERSION = 1
"""Version of the generator, part of every seed. Increase it with every change that alters the generated corpus."""

SPLITS = {"train": 1, "validation": 2, "test": 3, "test_presets": 4, "test_soundfont": 5, "test_renderer": 6}
"""Number of each split, part of its seeds. Splits have no song in common.

The last three splits sound different from all others: `test_presets` plays held-out presets and drum kits,
`test_soundfont` the held-out soundfont, `test_renderer` the other renderer.
"""

PRODUCTIONS: dict[str, Callable[[np.random.Generator, float], Effects | Production]] = {
    "plain": draw_effects,
    "varied": draw_production,
}
"""Production chains: "plain" masters the mono mix; "varied" also has stereo, rooms, compression and lossy codecs."""

COMPOSITIONS = ("plain", "varied")
CAPTION_STYLES = ("plain", "varied")

_ORDER_STREAM = 1_000  # offset of the random streams that order the styles (or instrument families) of a split
_MAX_ATTEMPTS = 30
_SOLO_DROP = 0.3  # factor on the omissions in the captions of solos: who plays alone is named
_ADDED_SETTINGS = ("synthesizer_fraction", "production", "composition", "caption_style", "solo_fraction")


@dataclass(frozen=True)
class CorpusConfig:
    """Settings of a synthetic corpus.

    Attributes:
        seed: Seed of the corpus; each seed gives other songs.
        clip_seconds: Length of a clip in seconds, at least 1.
        sampling_rate: Sampling rate of the returned audio in Hz. Rates other than 16 kHz are resampled from 16 kHz.
        soundfont: Path of an SF2 or SF3 file with sampled instruments (requires tinysoundfont), or a sequence of
            paths, which are mixed per song and per track; None uses the numpy synthesizer.
        synthesizer_fraction: Fraction of the tracks that the synthesizer plays if soundfonts are given.
        held_out_soundfont: Path of another SF2 or SF3 file. It plays the split `test_soundfont`, and `test_renderer`
            if `soundfont` is None.
        production: Production chain, a key of `PRODUCTIONS`.
        effect_strength: Strength of the effects of the production chain; 0 turns them off.
        borrowing: Probability that a part of a song is borrowed from another style.
        max_silence: Largest accepted fraction of silent frames; clips above it are composed again.
        captions: Probabilities of omissions, errors and typos in the captions.
        composition: "plain", or "varied" for songs with additional instruments, other octaves, sections of different
            density, voices and noises.
        caption_style: "plain", or "varied" for several sentences about instruments, rhythm, form and recording.
        solo_fraction: Fraction of the clips in which a single melodic instrument plays, a melody or separate notes.
    """

    seed: int = 0
    clip_seconds: float = 20.0
    sampling_rate: int = SAMPLING_RATE
    soundfont: str | Sequence[str] | None = None
    held_out_soundfont: str | None = None
    effect_strength: float = 1.0
    borrowing: float = 0.15
    max_silence: float = 0.2
    captions: CaptionRates = field(default_factory=CaptionRates)
    synthesizer_fraction: float = 0.0
    production: str = "plain"
    composition: str = "plain"
    caption_style: str = "plain"
    solo_fraction: float = 0.0

    def __post_init__(self):
        if self.seed < 0:
            raise DataError(f"seed must not be negative, got {self.seed}")
        if not self.clip_seconds >= 1:  # also refuses NaN
            raise DataError(f"clip_seconds must be at least 1, got {self.clip_seconds}")
        if not 0 <= self.synthesizer_fraction < 1:
            raise DataError(f"synthesizer_fraction must be at least 0 and below 1, got {self.synthesizer_fraction}")
        if not 0 <= self.solo_fraction <= 1:
            raise DataError(f"solo_fraction must be from 0 to 1, got {self.solo_fraction}")
        if self.synthesizer_fraction and not self.soundfonts:
            raise DataError(
                f"synthesizer_fraction is {self.synthesizer_fraction}, but there is no soundfont to mix with: "
                "the synthesizer plays everything; give a soundfont or drop synthesizer_fraction"
            )
        for name, choices in (
            ("production", PRODUCTIONS),
            ("composition", COMPOSITIONS),
            ("caption_style", CAPTION_STYLES),
        ):
            if (value := getattr(self, name)) not in choices:
                raise DataError(f"unknown {name} {value!r}; choose one of {', '.join(choices)}")

    @property
    def soundfonts(self) -> tuple[str, ...]:
        """Paths of the soundfonts; empty if only the synthesizer plays."""
        if self.soundfont is None:
            return ()
        return (self.soundfont,) if isinstance(self.soundfont, str) else tuple(self.soundfont)


def fingerprint(config: CorpusConfig) -> dict[str, Any]:
    """Return everything that determines a corpus, as JSON values: version, settings and SHA-256 of the soundfonts.

    Settings that were added after the first release are left out at their default: existing folders stay valid.
    """
    settings = asdict(config)
    digests = [sha256_of_file(path) for path in config.soundfonts]
    settings["soundfont"] = digests if len(digests) > 1 else digests[0] if digests else None
    if config.held_out_soundfont is not None:
        settings["held_out_soundfont"] = sha256_of_file(config.held_out_soundfont)
    for added in fields(config):
        if added.name in _ADDED_SETTINGS and settings[added.name] == added.default:
            del settings[added.name]
    return {"version": CORPUS_VERSION, **settings}


def seed_sequence(config: CorpusConfig, stream: int, index: int) -> np.random.SeedSequence:
    """Return the seed of one item of a random stream; a stream is the number of a split, possibly with an offset."""
    return np.random.SeedSequence([CORPUS_VERSION, config.seed, stream, index])


def split_number(split: str) -> int:
    """Return the number of a split.

    Raises:
        DataError: The split does not exist.
    """
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    return SPLITS[split]


def is_held_out(config: CorpusConfig, split: str) -> bool:
    """Return whether the held-out soundfont plays the split."""
    return split == "test_soundfont" or (split == "test_renderer" and not config.soundfonts)


def players_for(config: CorpusConfig, split: str) -> Players:
    """Return the renderers of a split.

    Raises:
        DataError: The split requires a held-out soundfont, but `config.held_out_soundfont` is None or is one of the
            other soundfonts; or no renderer is left for the split; or a file does not exist or is not a soundfont.
        MissingPackageError: A soundfont is given, but tinysoundfont is not installed.
    """
    if is_held_out(config, split):
        return Players((load_soundfont(_held_out_soundfont(config, split)),), (1.0,))
    if not config.soundfonts:
        return Players((NumpySynth(),), (1.0,))
    if split == "test_renderer":
        if config.synthesizer_fraction:
            raise DataError(
                f"the split 'test_renderer' is played by a renderer that plays no other split, but with "
                f"synthesizer_fraction={config.synthesizer_fraction} both the synthesizer and soundfonts do; "
                "use the split 'test_soundfont'"
            )
        return Players((NumpySynth(),), (1.0,))
    fonts = [load_soundfont(path) for path in config.soundfonts]
    fraction = config.synthesizer_fraction
    if not fraction:
        return Players(tuple(fonts), (1 / len(fonts),) * len(fonts))
    return Players((NumpySynth(), *fonts), (fraction, *[(1 - fraction) / len(fonts)] * len(fonts)))


def _held_out_soundfont(config: CorpusConfig, split: str) -> str:
    """Return the path of the held-out soundfont; raises as `players_for` does."""
    path = config.held_out_soundfont
    if path is None:
        raise DataError(
            f"the split {split!r} needs a soundfont, but held_out_soundfont is not set; set it to the path of an "
            "SF2 or SF3 file"
        )
    load_soundfont(path)  # raises if the file does not exist
    for other in config.soundfonts:
        if sha256_of_file(other) == sha256_of_file(path):
            raise DataError(
                f"held_out_soundfont {path} is the same file as the soundfont {other}; hold out a soundfont that "
                "plays no other split"
            )
    return path


def balanced_choice(config: CorpusConfig, stream: int, index: int, options: Sequence[str]) -> str:
    """Return the option of an item: each block of `len(options)` items has every option once, in random order."""
    block, position = divmod(index, len(options))
    rng = np.random.default_rng(seed_sequence(config, _ORDER_STREAM + stream, block))
    return options[rng.permutation(len(options))[position]]


def _song_and_sound(
    config: CorpusConfig,
    split: str,
    index: int,
    song_seeds: np.random.SeedSequence,
    sound_seeds: np.random.SeedSequence,
) -> tuple[Song, Rendering, Renderer]:
    """Compose and render a song; repeat with other seeds while it is too silent (rarely more than once).

    Raises:
        RuntimeError: The clip is still too silent after `_MAX_ATTEMPTS` attempts.
    """
    style = balanced_choice(config, split_number(split), index, STYLE_NAMES)
    players = players_for(config, split)
    for _ in range(_MAX_ATTEMPTS):
        song_rng, sound_rng = (np.random.default_rng(seeds.spawn(1)[0]) for seeds in (song_seeds, sound_seeds))
        song = compose(
            song_rng,
            style,
            config.clip_seconds,
            held_out_presets=split == "test_presets",
            borrowing=config.borrowing,
            varied=config.composition == "varied",
            solos=config.solo_fraction,
        )
        if not song.tracks:
            continue
        renderer = players.for_tracks(song.tracks, sound_rng)
        rendering = render(renderer, song, sound_rng)
        if rendering.audible and silent_fraction(rendering.audio) <= config.max_silence:
            return song, rendering, renderer
    raise RuntimeError(
        f"clip {index} of {split}: all {_MAX_ATTEMPTS} attempts have more than max_silence={config.max_silence} of "
        "silence; increase max_silence"
    )


def rounded(value: Any) -> Any:
    """Return nested lists and dictionaries with all floats rounded to 4 decimals."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def to_sampling_rate(audio: np.ndarray, config: CorpusConfig) -> np.ndarray:
    """Resample finished audio from 16 kHz to the sampling rate of the configuration."""
    if config.sampling_rate == SAMPLING_RATE:
        return audio
    return soxr.resample(audio, SAMPLING_RATE, config.sampling_rate)


def finish(
    stems: np.ndarray,
    tracks: list[Track],
    renderer: Renderer,
    effects: Effects | Production,
    brightness: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the finished audio of stems, by the chain that the type of `effects` belongs to.

    Args:
        stems: Stems of the renderer, `(tracks, samples)`.
        tracks: The tracks of the stems.
        renderer: Renderer of the stems.
        effects: Settings of the chain.
        brightness: Spectral tilt of the song in dB.
        rng: Random generator of noise and reverberation.

    Returns:
        Mono float32 audio at 16 kHz.
    """
    if isinstance(effects, Effects):
        return master(mix_stems(stems, renderer), effects, brightness, rng)
    stems = np.stack([to_corpus_rate(stem, renderer.sampling_rate) for stem in stems])
    return produce(stems, tracks, effects, brightness, rng)


def caption_of(
    config: CorpusConfig, song: Song, audible: list[Track], effects: Effects | Production, rng: np.random.Generator
) -> Caption:
    """Return a caption of a song in the style of the configuration."""
    rates = config.captions
    if config.solo_fraction and len(song.tracks) == 1:
        rates = replace(rates, drop=_SOLO_DROP * rates.drop)
    if config.caption_style == "varied":
        return write_description(song, audible, effects, rng, rates)
    instruments = sorted({track.label for track in audible} - {""})
    facts = Facts(song.style, instruments, song.tempo, song.key, song.arousal, song.valence)
    return write_caption(facts, rng, rates)


def make_clip(config: CorpusConfig, split: str, index: int) -> dict[str, Any]:
    """Make one clip.

    Args:
        config: Settings of the corpus.
        split: Name of a split in `SPLITS`.
        index: Index of the clip in its split, from 0. A split has no end.

    Returns:
        A dictionary with `audio` (float32 array, `(samples,)`) and the labels as JSON types: `clip_id`,
        `sampling_rate` (Hz), `duration` (seconds), `caption`, `caption_right` and `caption_wrong` (attributes drawn
        for the caption with their true or a false value), `style`, `instruments` (audible ones), `tags`, `tempo`
        (beats per minute), `key` (such as "C minor"), `mode`, `arousal` and `valence` in [-1, 1], `groove`,
        `progression`, `beats_per_bar`, `renderer`, `tracks`, `effects`.
    """
    stream = split_number(split)
    song_seeds, sound_seeds, caption_seeds = seed_sequence(config, stream, index).spawn(3)
    effects_rng = np.random.default_rng(sound_seeds.spawn(1)[0])
    song, rendering, renderer = _song_and_sound(config, split, index, song_seeds, sound_seeds)
    effects = PRODUCTIONS[config.production](effects_rng, config.effect_strength)
    audio = finish(rendering.stems, song.tracks, renderer, effects, song.brightness, effects_rng)

    labels_of_tracks = {track.label for track in rendering.audible}
    instruments = sorted(labels_of_tracks - {""})
    caption = caption_of(config, song, rendering.audible, effects, np.random.default_rng(caption_seeds))
    labels = {
        "clip_id": f"{split}-{index:06d}",
        "sampling_rate": config.sampling_rate,
        "duration": config.clip_seconds,
        "caption": caption.text,
        "style": song.style,
        "instruments": instruments,
        "tags": true_tags(song.style, labels_of_tracks, song.tempo, song.arousal, song.valence),
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
        "renderer": renderer.name,
        "tracks": [
            {
                "role": track.role,
                "instrument": track.instrument,
                "program": track.program,
                "notes": len(track.notes),
                "audible": any(track is audible for audible in rendering.audible),
            }
            for track in song.tracks
        ],
        "effects": asdict(effects),
    }
    if config.composition == "varied":
        labels["sections"] = [section._asdict() for section in song.sections]
    return {**rounded(labels), "audio": to_sampling_rate(audio, config)}
