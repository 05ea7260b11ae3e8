"""Texts with columns in braces: captions of which empty parts are left out, and names of files."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import DataError
from .tables import clean_text

_FIELD = re.compile(r"\{([^{}]+)\}")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_PHRASE_END = re.compile(r"([,;:]\s+)")


@dataclass(frozen=True)
class Template:
    """A text with names of columns in braces.

    Attributes:
        text: for example "{title}. {genre}, {bpm} bpm. {description}".
        option: that it was given by, for messages.
    """

    text: str
    option: str

    def __post_init__(self):
        if not self.fields or re.search(r"[{}]", _FIELD.sub("", self.text)):
            raise DataError(f"{self.option} {self.text!r}: expected names of columns in braces, such as '{{title}}'")

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The names in braces, each once."""
        return tuple(dict.fromkeys(_FIELD.findall(self.text)))

    def rename(self, find: Callable[[str], str]) -> "Template":
        """The same text with other names in its braces."""
        return Template(_FIELD.sub(lambda match: f"{{{find(match[1])}}}", self.text), self.option)

    def fill(self, row: Mapping[str, Any]) -> str | None:
        """The text with the cells of a row; None if one of them is missing."""
        cells = {name: clean_text(row.get(name)) for name in self.fields}
        return _FIELD.sub(lambda match: cells[match[1]], self.text) if all(cells.values()) else None

    def compose(self, row: Mapping[str, Any]) -> str:
        """The text with the cells of a row, without the phrases of which a cell is missing.

        A phrase ends at a comma, semicolon or colon, or with its sentence. What is left keeps its punctuation:
        "{title}. {genre}, {bpm} bpm." without bpm is "{title}. {genre}."
        """
        cells = {name: _flatten(row.get(name)) for name in self.fields}
        sentences = [(part, _sentence(part, cells)) for part in _SENTENCE_END.split(self.text)]
        if not any(filled for part, filled in sentences if _FIELD.search(part)):
            return ""
        return " ".join(filled for _, filled in sentences if filled)


def _flatten(cell: Any) -> str:
    """A list of words is an enumeration in a text."""
    if isinstance(cell, list | tuple):
        return ", ".join(filter(None, map(clean_text, cell)))
    return clean_text(cell)


def _sentence(text: str, cells: Mapping[str, str]) -> str:
    body = text.rstrip(".!?")
    end = text[len(body) :]
    first, *others = _PHRASE_END.split(body)
    phrases = [("", first), *zip(others[::2], others[1::2], strict=True)]  # each with what is between it and the last
    filled = ""
    for separator, phrase in phrases:
        names = _FIELD.findall(phrase)
        if all(cells[name] for name in names) and phrase.strip():
            filled += (separator if filled else "") + _FIELD.sub(lambda match: cells[match[1]], phrase).strip()
    if not filled or (_FIELD.search(body) and not any(cells[name] for name in _FIELD.findall(body))):
        return ""
    return filled if filled.endswith((".", "!", "?")) else filled + end
