"""Varied captions: several sentences about style, mood, instruments, rhythm, form and recording of a song.

Apart from the false attributes that `CaptionRates.wrong` asks for, every sentence is true of the song. Moods and
places follow from arousal, valence and style.
"""

from collections.abc import Collection

import numpy as np

from .captions import Caption, CaptionRates, Writer, capitalize
from .description_words import (
    BASS_WORDS,
    COMPING_WORDS,
    DRUM_WORDS,
    EXTRA_WORDS,
    GROOVE_WORDS,
    MOODS,
    PLACES,
    QUALITIES,
    SENTENCES,
    STYLES,
)
from .effects import Effects
from .production import Production
from .song import Song, Track
from .traits import melody_words, register_word, start_of, traits_of
from .vocabulary import INSTRUMENT_WORDS, mood_of, tempo_class_of

__all__ = ["write_description"]

_NOUNS = (
    *("track", "song", "piece", "tune", "instrumental", "recording", "excerpt", "clip", "sample", "composition"),
    *("instrumental track", "musical piece", "loop", "performance"),
)
_TEMPO_WORDS = {
    "slow": ("slow", "very slow", "rather slow"),
    "medium": ("medium", "moderate", "mid", "steady"),
    "fast": ("fast", "rapid", "quick", "very fast"),
}
_SECTIONS = {
    "intro": ("intro", "introduction", "opening"),
    "verse": ("verse", "verse part"),
    "chorus": ("chorus", "refrain"),
    "break": ("break", "breakdown", "bridge", "quiet part"),
    "outro": ("outro", "ending", "end section"),
}
_OPENINGS = (
    "The {quality} recording features a {mood} {style} {noun} with {players}.",
    "This is a {mood} {style} {noun} featuring {players}.",
    "A {quality} recording of {players} playing {style} music.",
    "This {style} {noun} contains {players}.",
    "This {noun} consists of {players}.",
    "In this {noun} {players} are being played together.",
    "You can hear {players} in this {mood} {noun}.",
    "{players} are playing a {tempo} {style} {noun}.",
    "The {noun} is a {tempo} {style} {noun2} with {players}.",
    "A {tempo}, {mood} {style} {noun} is accompanied by {players}.",
    "Someone is playing {players} in this {quality} {noun}.",
    "The main elements are {players}.",
    "This is a {quality} recording of a {style} {noun}.",
    "A {tempo} and {mood} {style} {noun}.",
    "The {quality} {noun} is {mood} and {mood2}.",
    "The {noun} has a {mood} mood, a {tempo} tempo and {players} alongside.",
    "{style}, {mood}, {mood2}, {tempo}, {players}",
)


class _Description:
    """One caption: the values that its sentences are filled with, drawn once."""

    def __init__(self, song: Song, audible: list[Track], traits: set[str], writer: Writer):
        self.song, self.audible, self.traits, self.writer = song, audible, traits, writer
        style = writer.mention("style", song.style, STYLES)
        mood = mood_of(song.arousal, song.valence)
        false_mood = writer.mention("mood", mood, MOODS)
        tempo_class = tempo_class_of(song.tempo)
        tempo = writer.mention("tempo", tempo_class, _TEMPO_WORDS)
        quality = [trait for trait in QUALITIES if trait in traits]
        nouns = [noun for noun in _NOUNS if "no voice" in traits or "instrumental" not in noun]
        choose = writer.choose
        self.values = {
            "style": style or "",
            "mood": false_mood or choose(MOODS[mood]),
            "mood2": choose(MOODS[mood]),
            "tempo": tempo or choose(_TEMPO_WORDS[tempo_class]),
            "quality": choose(QUALITIES[choose(quality)]) if quality and writer.chance(0.7) else "",
            "noun": choose(nouns),
            "noun2": choose(nouns),
            "place": choose(PLACES[mood] + PLACES.get(song.style, ()) * 2),
            "key": song.key,
            "mode": song.mode,
            "bpm": str(round(song.tempo)),
            "bars": str(len(song.progression.split())),
            "meter": "3/4" if song.beats_per_bar == 3 else choose(("4/4", "common time")),
            "players": self._players(),
            **self._parts(),
        }

    def _word(self, track: Track) -> str:
        """Return a word for the instrument of a track."""
        if track.instrument in EXTRA_WORDS:
            return self.writer.choose(EXTRA_WORDS[track.instrument])
        return self.writer.choose(INSTRUMENT_WORDS[track.label])

    def _players(self) -> str:
        names = []
        for track in self.audible:
            if track.instrument in EXTRA_WORDS:
                word = None if self.writer.chance(self.writer.rates.drop) else self._word(track)
                if word:
                    self.writer.right.append(track.instrument)
            else:
                word = self.writer.mention(track.label, track.label, INSTRUMENT_WORDS)
            if word and word not in names:
                names.append(word)
        self.writer.rng.shuffle(names)
        return _enumerate(names[:5])

    def _parts(self) -> dict[str, str]:
        """Return the values that concern single tracks and sections."""
        choose, values = self.writer.choose, {}
        for track in self.audible:
            if track.is_drums:
                pieces = list(dict.fromkeys(note.pitch for note in track.notes if note.pitch in DRUM_WORDS))
                self.writer.rng.shuffle(pieces)
                values["drums"] = _enumerate([choose(DRUM_WORDS[piece]) for piece in pieces[:3]])
                values["groove"] = choose(GROOVE_WORDS[self.song.groove])
            elif track.role == "bass":
                values["bassline"] = choose(BASS_WORDS[track.pattern])
            elif track.role == "comping":
                values |= {"comper": self._word(track), "comping": choose(COMPING_WORDS[track.pattern])}
            elif track.role == "lead":
                length, words = melody_words(track)
                values |= {"lead": self._word(track), "register": register_word(track), "length": length}
                values["melody"] = choose(words)
        if "entering" in self.traits:
            late = [start_of(track) > self.song.duration / 3 for track in self.audible]
            values["early"] = self._word(self.audible[late.index(False)])
            values["late"] = self._word(self.audible[late.index(True)])
        kinds = list(dict.fromkeys(section.kind for section in self.song.sections))
        for name, kind in zip(("first_section", "second_section"), kinds, strict=False):
            values[name] = choose(_SECTIONS[kind])
        return values

    def sentences(self, number: int) -> list[str]:
        """Return an opening, and `number` sentences about traits of the song; each trait has the same chance."""
        openings = [opening for opening in _OPENINGS if self.values["players"] or "{players}" not in opening]
        chosen = [self.writer.choose(openings)] if self.writer.chance(0.85) or not number else []
        traits = [trait for trait in SENTENCES if trait in self.traits] + ["always"] * 3
        while len(chosen) < number + 1:
            template = self.writer.choose(SENTENCES[self.writer.choose(traits)])
            if template not in chosen and (self.values["style"] or "{style}" not in template):
                chosen.append(template)
        return [_tidy(template.format_map(self.values)) for template in chosen]


def _enumerate(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def _tidy(sentence: str) -> str:
    """Remove the spaces and commas around omitted words, correct the articles, and capitalize the first letter."""
    words = sentence.replace(" ,", ",").replace(",,", ",").lstrip(", ").split()
    for i, following in enumerate(words[1:]):
        if words[i].lower() in ("a", "an"):
            vowel = following[0].lower() in "aeiou"
            words[i] = words[i][0] + ("n" if vowel else "")
    return capitalize(" ".join(words))


def write_description(
    song: Song,
    audible: Collection[Track],
    effects: Effects | Production,
    rng: np.random.Generator,
    rates: CaptionRates,
) -> Caption:
    """Write a varied caption of a song: one to five sentences.

    Args:
        song: The song.
        audible: Its audible tracks.
        effects: Settings of its production chain.
        rng: Random generator of all draws.
        rates: Probabilities of omissions, errors, irrelevant sentences and typos.
    """
    writer = Writer(rng, rates)
    if writer.chance(rates.irrelevant):
        text = writer.irrelevant_sentence()
    else:
        description = _Description(song, list(audible), traits_of(song, audible, effects), writer)
        sentences = description.sentences(int(rng.integers(0, 5)))
        if writer.chance(rates.extra_sentence / 3):
            sentences.insert(int(rng.integers(len(sentences) + 1)), writer.irrelevant_sentence())
        text = " ".join(sentences)
    if writer.chance(rates.lower_case):
        text = text.lower()
    return Caption(writer.misspell(text), tuple(writer.right), tuple(writer.wrong))
