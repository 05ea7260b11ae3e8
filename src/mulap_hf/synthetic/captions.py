"""Weak captions: texts as uploaders write them, with missing, wrong and irrelevant parts."""

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

__all__ = ["Caption", "CaptionRates", "Facts", "Writer", "capitalize", "write_caption"]


@dataclass(frozen=True)
class CaptionRates:
    """Probabilities of the defects of a caption.

    Attributes:
        drop: Probability that the caption omits an attribute.
        wrong: Probability that a mentioned attribute is replaced by a false one.
        irrelevant: Probability that the caption does not describe the music at all.
        extra_sentence: Probability of one additional, irrelevant sentence.
        typo: Probability that two adjacent letters of a long word are swapped.
        lower_case: Probability that the whole caption is in lower case.
    """

    drop: float = 0.45
    wrong: float = 0.08
    irrelevant: float = 0.05
    extra_sentence: float = 0.35
    typo: float = 0.02
    lower_case: float = 0.25


@dataclass(frozen=True)
class Facts:
    """The true attributes of a song that a caption may mention.

    Attributes:
        style: Name of the style.
        instruments: Labels of the audible instruments.
        tempo: Beats per minute.
        key: Key such as "C minor".
        arousal: Arousal in [-1, 1].
        valence: Valence in [-1, 1].
    """

    style: str
    instruments: Sequence[str]
    tempo: float
    key: str
    arousal: float
    valence: float


@dataclass(frozen=True)
class Caption:
    """A caption, with the attributes that were drawn for it.

    Attributes:
        text: The caption.
        right: Names of the attributes drawn with their true value. The sentence pattern may still omit some of them.
        wrong: Names of the attributes drawn with a false value.
    """

    text: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class _Words:
    """The words of a caption; None or empty for omitted attributes."""

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
        """The instruments as an enumeration such as "bass, drums and organ"; None without instruments."""
        if len(self.instruments) > 1:
            return f"{', '.join(self.instruments[:-1])} and {self.instruments[-1]}"
        return self.instruments[0] if self.instruments else None

    @property
    def phrase(self) -> str:
        """A noun phrase such as "sad slow blues tune"."""
        return _join(" ", self.mood, self.tempo, self.style, self.noun)


class Writer:
    """Draws for each attribute whether the caption mentions it, and whether truly or falsely."""

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
        """Return a word for `truth`, a word for another key of `words` (a wrong attribute), or None (omitted)."""
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


def capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def _article(phrase: str) -> str:
    return "An" if phrase[0] in "aeiou" else "A"


# The sentence patterns: each turns words into a caption.


def _plain(words: _Words) -> str:
    players = f"with {words.players}" if words.players else None
    return _join(" ", _article(words.phrase), words.phrase, players, words.key) + "."


def _catalog(words: _Words) -> str:
    players = f"featuring {words.players}" if words.players else None
    feel = f"{capitalize(words.second_mood)} feel." if words.second_mood else None
    return _join(" ", capitalize(_join(" ", words.phrase, players)) + ".", feel)


def _about_the_players(words: _Words) -> str:
    subject = capitalize(words.players or "instruments")
    return _join(" ", subject, words.verb, "this", words.phrase, words.key) + "."


def _keywords(words: _Words) -> str:
    parts = (words.style, words.mood, words.second_mood, words.tempo, *words.instruments, words.key)
    return _join(", ", *parts) or words.noun


def _advertisement(words: _Words) -> str:
    claim = _join(", ", capitalize(f"{words.praise} {words.phrase}"), words.second_mood, f"perfect for {words.use}")
    instruments = f"Instruments: {', '.join(words.instruments)}." if words.instruments else None
    return _join(" ", claim + ".", instruments)


def _conversation(words: _Words) -> str:
    moods = [words.mood or words.praise]
    if words.second_mood not in (None, words.mood):
        moods.append(words.second_mood)
    opening = _join(", ", f"This {words.noun} is {' and '.join(moods)}", words.tempo) + "."
    style = f"{capitalize(words.style)}." if words.style else None
    players = f"You can hear {words.players}." if words.players else None
    return _join(" ", opening, style, players)


_PATTERNS: tuple[Callable[[_Words], str], ...] = (
    _plain,
    _catalog,
    _about_the_players,
    _keywords,
    _advertisement,
    _conversation,
)


def write_caption(facts: Facts, rng: np.random.Generator, rates: CaptionRates) -> Caption:
    """Write a weak caption of a song.

    Args:
        facts: The true attributes of the song.
        rng: Random generator of all draws.
        rates: Probabilities of omissions, errors, irrelevant sentences and typos.
    """
    writer = Writer(rng, rates)
    if writer.chance(rates.irrelevant):
        text = " ".join(writer.irrelevant_sentence() for _ in range(rng.integers(1, 3)))
    else:
        words = writer.words(facts)
        text = _PATTERNS[rng.integers(len(_PATTERNS))](words)
        if writer.chance(rates.extra_sentence):
            extra = writer.irrelevant_sentence()
            text = f"{extra} {text}" if writer.chance(0.3) else f"{text} {extra}"
    if writer.chance(rates.lower_case):
        text = text.lower()
    return Caption(writer.misspell(text), tuple(writer.right), tuple(writer.wrong))
