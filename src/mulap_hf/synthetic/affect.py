"""Arousal and valence of a song, computed from its notes, tempo, mode and timbre."""

import numpy as np

from .song import Track
from .theory import MODES

__all__ = ["perceived_affect"]

# Cue -> (mean, standard deviation) over the corpus. Standardized cues make the weights below comparable.
_SCALES = {
    "log_tempo": (np.log(104.0), 0.30),
    "velocity": (63.0, 12.0),
    "log_density": (np.log(11.5), 0.85),
    "register": (61.0, 5.7),
    "brightness": (0.0, 3.2),
}

# Weight of each standardized cue. The mode counts +1 for major and -1 for minor; drums count +1, no drums -1.
_AROUSAL_WEIGHTS = {"log_tempo": 0.22, "velocity": 0.28, "log_density": 0.28, "brightness": 0.18, "drums": 0.10}
_VALENCE_WEIGHTS = {"mode": 0.30, "register": 0.26, "brightness": 0.26, "log_tempo": 0.14}


def _cues(tracks: list[Track], duration: float, tempo: float, mode: str, brightness: float) -> dict[str, float]:
    notes = [note for track in tracks for note in track.notes]
    high_notes = [note.pitch for track in tracks if track.role in ("comping", "lead") for note in track.notes]
    values = {
        "log_tempo": np.log(tempo),
        "velocity": np.mean([note.velocity for note in notes]),
        "log_density": np.log(len(notes) / duration),
        "register": np.mean(high_notes) if high_notes else _SCALES["register"][0],
        "brightness": brightness,
    }
    cues = {cue: float((values[cue] - mean) / deviation) for cue, (mean, deviation) in _SCALES.items()}
    cues["mode"] = 1.0 if mode == MODES[0] else -1.0
    cues["drums"] = 1.0 if any(track.is_drums for track in tracks) else -1.0
    return cues


def perceived_affect(
    tracks: list[Track],
    duration: float,
    tempo: float,
    mode: str,
    brightness: float,
    rng: np.random.Generator,
    rater_noise: float = 0.18,
) -> tuple[float, float]:
    """Return the arousal and valence that human raters would assign, with rater noise.

    Args:
        tracks: The tracks of the song, with at least one note in total.
        duration: Length in seconds.
        tempo: Beats per minute.
        mode: "major" or "minor".
        brightness: Spectral tilt of the song in dB.
        rng: Random generator of the rater noise.
        rater_noise: Standard deviation of the rater noise.

    Returns:
        Arousal and valence in [-1, 1].
    """
    cues = _cues(tracks, duration, tempo, mode, brightness)
    ratings = []
    for weights in (_AROUSAL_WEIGHTS, _VALENCE_WEIGHTS):
        score = sum(weight * cues[cue] for cue, weight in weights.items())
        rating = np.tanh(score) + rng.normal(0, rater_noise)
        ratings.append(float(np.clip(rating, -1, 1)))
    return ratings[0], ratings[1]
