"""The tag vocabulary, and the rules that assign tags to a song."""

from collections.abc import Collection

from .instruments import INSTRUMENT_LABELS
from .styles import STYLE_NAMES

__all__ = ["TAGS", "true_tags"]

_MOOD_TAGS = ("aggressive", "calm", "dark", "energetic", "happy", "sad")
_TEMPO_TAGS = ("fast", "slow")
_GROUPS = {
    "guitar": {"acoustic guitar", "electric guitar", "distorted guitar"},
    "brass": {"trumpet", "trombone", "brass section", "french horn"},
    "bowed strings": {"violin", "cello", "strings"},
    "synth": {"synth lead", "synth pad"},
}
_TEXTURE_TAGS = ("no drums", "solo")

TAGS: tuple[str, ...] = tuple(
    sorted({*STYLE_NAMES, *INSTRUMENT_LABELS, *_MOOD_TAGS, *_TEMPO_TAGS, *_GROUPS, *_TEXTURE_TAGS})
)


def _mood_tags(arousal: float, valence: float) -> set[str]:
    conditions = {
        "happy": arousal > 0.2 and valence > 0.3,
        "energetic": arousal > 0.5,
        "aggressive": arousal > 0.4 and valence < -0.1,
        "calm": arousal < -0.3 and valence > 0.0,
        "sad": arousal < -0.2 and valence < -0.25,
        "dark": valence < -0.5,
    }
    return {tag for tag, holds in conditions.items() if holds}


def true_tags(style: str, instruments: Collection[str], tempo: float, arousal: float, valence: float) -> list[str]:
    """Return the sorted tags of a song, a subset of `TAGS`.

    Args:
        style: Name of the style.
        instruments: Labels of the audible instruments; "" stands for instruments without a label.
        tempo: Beats per minute; "slow" below 85, "fast" from 120, no tempo tag in between.
        arousal: Arousal in [-1, 1].
        valence: Valence in [-1, 1].
    """
    tags = {style, *instruments} | _mood_tags(arousal, valence)
    if tempo < 85:
        tags.add("slow")
    elif tempo >= 120:
        tags.add("fast")
    if "drums" not in instruments:
        tags.add("no drums")
    if len(instruments) == 1:
        tags.add("solo")
    tags.update(group for group, members in _GROUPS.items() if members.intersection(instruments))
    return sorted(tags - {""})
