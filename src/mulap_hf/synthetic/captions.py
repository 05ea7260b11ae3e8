"""Weak captions: what an uploader might have written about a song, some of it missing, wrong or beside the point."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .theory import KEY_NAMES, MODES
from .vocabulary import (
    INSTRUMENT_WORDS,
    IRRELEVANT_SENTENCES,
    MOOD_WORDS,
    NOUNS,
    PRAISE,
    STYLE_WORDS,
    TEMPO_WORDS,
    USES,
    VERBS,
    mood_of,
    tempo_class_of,
)

__all__ = ["Caption", "CaptionRates", "Facts", "write_caption"]


@dataclass(frozen=True)
class CaptionRates:
    """How weak captions are.

    Attributes:
        drop: Probability that an attribute is left out.
        wrong: Probability that an attribute that is mentioned is another one than the true one.
        irrelevant: Probability that a caption says nothing about the music.
        extra_sentence: Probability of an additional sentence about something else.
        typo: Probability that two letters of a long word change places.
        lower_case: Probability that a caption is in lower case.
    """

    drop: float = 0.45
    wrong: float = 0.08
    irrelevant: float = 0.05
    extra_sentence: float = 0.35
    typo: float = 0.02
    lower_case: float = 0.25


@dataclass(frozen=True)
class Facts:
    """What a caption may tell."""

    style: str
    instruments: Sequence[str]
    tempo: float
    key: str
    arousal: float
    valence: float


@dataclass(frozen=True)
class Caption:
    """A caption and what it tells.

    Attributes:
        text: The caption.
        right: Attributes offered to the caption as they are (a register may still leave some out).
        wrong: Attributes told wrongly.
    """

    text: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class _Words:
    """The words a caption is made of; None or empty where the writer leaves something out."""

    style: str | None
    mood: str | None
    second_mood: str | None
    tempo: str | None
    key: str | None
    instruments: list[str]
    noun: str
    verb: str
    praise: str
    use: str

    @property
    def players(self) -> str | None:
        """The instruments as a list in running text."""
        if len(self.instruments) > 1:
            return f"{', '.join(self.instruments[:-1])} and {self.instruments[-1]}"
        return self.instruments[0] if self.instruments else None

    @property
    def phrase(self) -> str:
        """For example "slow sad blues tune"."""
        return _join(" ", self.mood, self.tempo, self.style, self.noun)


class _Writer:
    """Decides attribute by attribute whether to mention it, and whether to get it right."""

    def __init__(self, rng: np.random.Generator, rates: CaptionRates):
        self.rng = rng
        self.rates = rates
        self.right: list[str] = []
        self.wrong: list[str] = []

    def choose(self, options: Sequence[str]) -> str:
        return options[self.rng.integers(len(options))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def mention(self, attribute: str, truth: str, words: Mapping[str, Sequence[str]]) -> str | None:
        """A word for `truth`, or for another key of `words` if the writer is wrong, or None."""
        if self.chance(self.rates.drop):
            return None
        if self.chance(self.rates.wrong):
            self.wrong.append(attribute)
            truth = self.choose([key for key in words if key != truth])
        else:
            self.right.append(attribute)
        return self.choose(words[truth])

    def words(self, facts: Facts) -> _Words:
        mood = mood_of(facts.arousal, facts.valence)
        instruments = []
        for instrument in facts.instruments:
            word = self.mention(instrument, instrument, INSTRUMENT_WORDS)
            if word and word not in instruments:
                instruments.append(word)
        self.rng.shuffle(instruments)
        return _Words(
            style=self.mention("style", facts.style, STYLE_WORDS),
            mood=self.mention("mood", mood, MOOD_WORDS),
            second_mood=self.mention("second mood", mood, MOOD_WORDS) if self.chance(0.4) else None,
            tempo=self.mention("tempo", tempo_class_of(facts.tempo), TEMPO_WORDS) if self.chance(0.7) else None,
            key=self.mention("key", facts.key, _KEY_WORDS) if self.chance(0.3) else None,
            instruments=instruments[:4],
            noun=self.choose(NOUNS),
            verb=self.choose(VERBS),
            praise=self.choose(PRAISE),
            use=self.choose(USES),
        )

    def irrelevant_sentence(self) -> str:
        sentence = self.choose(IRRELEVANT_SENTENCES)
        return sentence.format(number=self.rng.integers(2, 15), year=self.rng.integers(1994, 2021))

    def misspell(self, text: str) -> str:
        words = text.split(" ")
        for i, word in enumerate(words):
            if len(word) > 4 and self.chance(self.rates.typo):
                at = int(self.rng.integers(1, len(word) - 2))
                words[i] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return " ".join(words)


_KEY_WORDS = {f"{name} {mode}": (f"in {name} {mode}", f"in a {mode} key") for name in KEY_NAMES for mode in MODES}


def _join(separator: str, *parts: str | None) -> str:
    return separator.join(part for part in parts if part)


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def _article(phrase: str) -> str:
    return "An" if phrase[0] in "aeiou" else "A"


# The registers: each turns words into a caption.


def _plain(words: _Words) -> str:
    players = f"with {words.players}" if words.players else None
    return _join(" ", _article(words.phrase), words.phrase, players, words.key) + "."


def _catalog(words: _Words) -> str:
    players = f"featuring {words.players}" if words.players else None
    feel = f"{_capitalize(words.second_mood)} feel." if words.second_mood else None
    return _join(" ", _capitalize(_join(" ", words.phrase, players)) + ".", feel)


def _about_the_players(words: _Words) -> str:
    subject = _capitalize(words.players or "instruments")
    return _join(" ", subject, words.verb, "this", words.phrase, words.key) + "."


def _keywords(words: _Words) -> str:
    parts = (words.style, words.mood, words.second_mood, words.tempo, *words.instruments, words.key)
    return _join(", ", *parts) or words.noun


def _advertisement(words: _Words) -> str:
    claim = _join(", ", _capitalize(f"{words.praise} {words.phrase}"), words.second_mood, f"perfect for {words.use}")
    instruments = f"Instruments: {', '.join(words.instruments)}." if words.instruments else None
    return _join(" ", claim + ".", instruments)


def _conversation(words: _Words) -> str:
    moods = [words.mood or words.praise]
    if words.second_mood not in (None, words.mood):
        moods.append(words.second_mood)
    opening = _join(", ", f"This {words.noun} is {' and '.join(moods)}", words.tempo) + "."
    style = f"{_capitalize(words.style)}." if words.style else None
    players = f"You can hear {words.players}." if words.players else None
    return _join(" ", opening, style, players)


_REGISTERS: tuple[Callable[[_Words], str], ...] = (
    _plain,
    _catalog,
    _about_the_players,
    _keywords,
    _advertisement,
    _conversation,
)


def write_caption(facts: Facts, rng: np.random.Generator, rates: CaptionRates) -> Caption:
    """Writes a weak caption.

    Args:
        facts: The truth about the song.
        rng: Source of all decisions.
        rates: How weak the caption is.
    """
    writer = _Writer(rng, rates)
    if writer.chance(rates.irrelevant):
        text = " ".join(writer.irrelevant_sentence() for _ in range(rng.integers(1, 3)))
    else:
        words = writer.words(facts)
        text = _REGISTERS[rng.integers(len(_REGISTERS))](words)
        if writer.chance(rates.extra_sentence):
            extra = writer.irrelevant_sentence()
            text = f"{extra} {text}" if writer.chance(0.3) else f"{text} {extra}"
    if writer.chance(rates.lower_case):
        text = text.lower()
    return Caption(writer.misspell(text), tuple(writer.right), tuple(writer.wrong))
