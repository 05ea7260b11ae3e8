"""What is true of a finished song: the traits that a varied caption may mention."""

from collections.abc import Collection

import numpy as np

from .effects import Effects
from .instruments import VOICES
from .production import Production
from .song import Song, Track
from .vocabulary import tempo_class_of

__all__ = ["melody_words", "register_word", "traits_of"]

_SYNCOPATED = {"funk", "breakbeat", "bossa nova", "salsa", "samba", "reggaeton", "one drop"}
_REPETITIVE = {"techno", "four on the floor", "trap", "train beat", "steppers"}
_DRUM_FILL = {45, 47, 50}


def traits_of(song: Song, audible: Collection[Track], effects: Effects | Production) -> set[str]:
    """Return the traits of a song, keys of `description_words.SENTENCES`."""
    traits = {"always"} | recording_traits(effects) | _players(audible)
    lead = next((track for track in audible if track.role == "lead"), None)
    drums = next((track for track in audible if track.is_drums), None)
    if lead:
        traits |= {"lead"} | _direction(lead)
    if drums and _DRUM_FILL & {note.pitch for note in drums.notes}:
        traits.add("fills")
    grooves = {"syncopated": _SYNCOPATED, "repetitive": _REPETITIVE, "swing": {"swing", "shuffle"}}
    traits |= {name for name, members in grooves.items() if drums and song.groove in members}
    traits.add(tempo_class_of(song.tempo))
    if song.beats_per_bar == 3:
        traits.add("triple")
    if lead and song.arousal > 0 and song.valence > 0.15:
        traits.add("catchy")
    if drums and (song.style == "funk" or (song.arousal > 0 and "syncopated" in traits)):
        traits.add("groovy")
    traits |= {track.instrument for track in audible if track.role == "noise"}
    if song.sections:
        traits.add("sections" if len({section.kind for section in song.sections}) > 1 else "one section")
    if len({start_of(track) > song.duration / 3 for track in audible}) == 2:
        traits.add("entering")
    return traits


def start_of(track: Track) -> float:
    """Return the time of the first note in seconds."""
    return min(note.start for note in track.notes)


def _players(audible: Collection[Track]) -> set[str]:
    roles = {track.role for track in audible}
    instruments = {track.instrument for track in audible}
    musicians = [track for track in audible if track.role != "noise"]
    traits = roles & {"drums", "bass"}
    traits.add("voice" if VOICES.keys() & instruments else "no voice")
    if any(track.role == "comping" and track.pattern for track in audible):
        traits.add("comping")
    if "drums" not in roles:
        traits.add("no drums")
    if {"choir", "choir pad"} & instruments:
        traits = traits - {"no voice"} | {"choir"}
    traits.add({1: "solo", 2: "duet"}.get(len(musicians), "band"))
    return traits


def _direction(lead: Track) -> set[str]:
    """Return whether the pitches of the lead rise or fall over the clip."""
    if len(lead.notes) < 5:
        return set()
    starts, pitches = np.array([(note.start, note.pitch) for note in lead.notes], dtype=float).T
    if np.ptp(starts) == 0 or np.ptp(pitches) == 0:
        return set()
    correlation = np.corrcoef(starts, pitches)[0, 1]
    return {"ascending"} if correlation > 0.5 else {"descending"} if correlation < -0.5 else set()


def register_word(track: Track) -> str:
    """Return "high", "low" or "medium" for the mean pitch of a track."""
    pitch = np.mean([note.pitch for note in track.notes])
    return "high" if pitch >= 74 else "low" if pitch < 55 else "medium"


def melody_words(track: Track) -> tuple[str, tuple[str, ...]]:
    """Return the lengths of the notes of a track, "short" or "long", and adjectives that are true of its melody."""
    starts = np.sort([note.start for note in track.notes])
    length = np.mean([note.end - note.start for note in track.notes])
    rate = len(starts) / max(1.0, float(starts[-1] - starts[0]))
    words = ("fast", "rapid", "complex", "intricate") if rate > 4 else ("simple", "melodic", "sustained")
    return ("short" if length < 0.3 else "long"), words if rate > 4 or rate < 1.5 else ("melodic", "rhythmic")


def recording_traits(effects: Effects | Production) -> set[str]:
    """Return the audible traits of a production chain."""
    noise, room, drive = _common(effects)
    conditions = {
        "noisy": noise is not None and noise < 28,
        "reverberant": room,
        "distorted": drive,
        "muffled": (effects.low_pass or 8000) < 4200,
        "thin": (effects.high_pass or 0) > 160,
        "boomy": (effects.low_shelf or (0, 0))[1] > 4,
        "bright": (effects.high_shelf or (0, 0))[1] > 4,
        "crackles": bool(effects.crackles),
        "loud": effects.level > -13,
        "quiet": effects.level < -25,
    }
    if isinstance(effects, Production):
        conditions |= {
            effects.recording: True,
            "dry": effects.room is None,
            "hum": effects.hum is not None and effects.hum < 28,
            "compressed": (effects.ratio or 1) > 3,
            "compressed file": effects.codec is not None and effects.quality < 0.2,
        }
    else:
        conditions["dry"] = effects.reverb_time is None
    return {name for name, holds in conditions.items() if holds}


def _common(effects: Effects | Production) -> tuple[float | None, bool, bool]:
    """Return the signal-to-noise ratio, whether the room is audible, and whether the distortion is."""
    if isinstance(effects, Effects):
        room = (effects.reverb_level or 0) > 0.2 and effects.reverb_time > 0.7
        return effects.snr, room, (effects.drive or 0) > 2.5
    room = effects.room is not None and effects.room_level > -14 and effects.room_time > 0.6
    distorted = effects.saturation is not None and (effects.saturation == "bits" or effects.drive > 5)
    return effects.hiss, room, distorted
