"""Real scores (MIDI files) played with several timbres: pieces that share the melody, or the timbre."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, MissingPackageError
from .generate import CorpusConfig, players_for, to_sampling_rate
from .instruments import INSTRUMENTS
from .render import Renderer, mix_stems
from .song import Note, Track

__all__ = ["Scores", "find_scores", "make_score_piece", "read_score"]

PLAYED_BY = ("piano", "organ", "strings", "vibraphone")
MIN_NOTES = 8  # in the part of a score that a piece plays
_DRUM_CHANNEL = 9
_TEMPI = (0.8, 1.25)
_PEAK = 0.8


@dataclass(frozen=True)
class Scores:
    """Scores to play.

    Attributes:
        folder: The folder that the files are in.
        files: Paths of the usable MIDI files, relative to the folder.
        skipped: The other MIDI files, each with the reason.
    """

    folder: Path
    files: tuple[str, ...]
    skipped: tuple[str, ...]


def find_scores(folder: str | Path, seconds: float) -> Scores:
    """Find the MIDI files in and below a folder, and read them once to see which are usable.

    Args:
        folder: The folder.
        seconds: Length of a piece.

    Raises:
        DataError: The folder does not exist or has no usable MIDI file.
        MissingPackageError: mido is not installed.
    """
    root, files, skipped = Path(folder), [], []
    for path in sorted(path for path in root.rglob("*") if path.suffix.lower() in (".mid", ".midi")):
        name = path.relative_to(root).as_posix()
        try:
            notes = sum(note.start < seconds * _TEMPI[0] for note in read_score(path))
        except DataError as error:
            skipped.append(str(error))
            continue
        if notes < MIN_NOTES:
            skipped.append(f"{path}: {notes} notes in {seconds:g} s, fewer than {MIN_NOTES}")
        else:
            files.append(name)
    if not files:
        reasons = f": {'; '.join(skipped[:3])}" if skipped else ""
        raise DataError(f"{folder} has no usable MIDI file (.mid or .midi){reasons}; pass a folder of scores")
    return Scores(root, tuple(files), tuple(skipped))


@lru_cache(maxsize=8)  # the pieces of a score follow each other
def read_score(path: Path) -> tuple[Note, ...]:
    """Read the notes of all melodic channels of a MIDI file; the first note starts at 0 s.

    Raises:
        DataError: The file is not a MIDI file, or is broken.
        MissingPackageError: mido is not installed.
    """
    try:
        import mido
    except ImportError as error:
        raise MissingPackageError("reading scores requires mido: pip install mido") from error
    notes: list[Note] = []
    sounding: dict[tuple[int, int], tuple[float, int]] = {}
    now = 0.0
    try:
        for message in mido.MidiFile(path, clip=True):
            now += message.time
            if message.type not in ("note_on", "note_off") or message.channel == _DRUM_CHANNEL:
                continue
            key = (message.channel, message.note)
            if key in sounding:
                start, velocity = sounding.pop(key)
                notes.append(Note(start, now, message.note, velocity))
            if message.type == "note_on" and message.velocity:
                sounding[key] = (now, message.velocity)
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a MIDI file ({error or type(error).__name__})") from error
    first = min((note.start for note in notes), default=0.0)
    return tuple(sorted(note._replace(start=note.start - first, end=note.end - first) for note in notes))


def make_score_piece(scores: Scores, config: CorpusConfig, split: str, index: int) -> dict[str, Any]:
    """Play a score with one of the timbres: a renderer of the split and an instrument for all notes.

    Each piece has another tempo, 0.8 to 1.25 times that of the score, because a melody does not depend on it.

    Args:
        scores: The scores; piece `index` is of score `index // number of timbres`.
        config: Settings of the corpus: length, sampling rate, seed and soundfonts.
        split: Name of a split, which decides on the renderers.
        index: Number of the piece.

    Returns:
        A dictionary with `audio` (float32 array, `(samples,)`), `sampling_rate` (Hz), `duration` (seconds), `melody`
        (path of the score), `rhythm` (None: the tempo differs, the pattern does not), `timbre` and `tempo_factor`.

    Raises:
        DataError: As `players_for` and `read_score`.
    """
    timbres = timbres_of(config, split)
    score, number = divmod(index, len(timbres))
    renderer, instrument = timbres[number]
    rng = np.random.default_rng([config.seed, index])
    tempo = float(rng.uniform(*_TEMPI))
    track = Track("lead", instrument, INSTRUMENTS[instrument].programs[0])
    for note in read_score(scores.folder / scores.files[score]):
        if note.start / tempo < config.clip_seconds:
            end = min(note.end / tempo, config.clip_seconds)
            track.notes.append(note._replace(start=note.start / tempo, end=end))
    audio = mix_stems(renderer.stems([track], config.clip_seconds, rng), renderer)
    audio = to_sampling_rate(audio * (_PEAK / max(float(np.abs(audio).max()), 1e-4)), config)
    return {
        "sampling_rate": config.sampling_rate,
        "duration": config.clip_seconds,
        "melody": scores.files[score],
        "rhythm": None,
        "timbre": f"{instrument}, {renderer.name}",
        "tempo_factor": round(tempo, 4),
        "audio": audio.astype(np.float32),
    }


def timbres_of(config: CorpusConfig, split: str) -> list[tuple[Renderer, str]]:
    """Return the renderer and the instrument of each timbre of a split."""
    return [(renderer, instrument) for renderer in players_for(config, split).renderers for instrument in PLAYED_BY]
