"""Bytes of a file as text: the encoding is detected, and said where it is not UTF-8."""

import codecs
import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from ...errors import DataError

_MARKS = (  # the longer ones first: that of UTF-16 begins that of UTF-32
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN = "cp1252"
_ACCENTS = re.compile("[^\x00-\x7f\xa0\u2018\u2019\u201c\u201d«»\u2013\u2014…¡¿]+")
_OTHER_ALPHABET = 0.2  # of the accents, if more are beside each other than Western languages have
_UTF8_SEQUENCE = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without a byte order mark.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error


def decode(content: bytes, path: Path, encoding: str | None = None) -> tuple[str, str | None]:
    """The text of a file, and a note where its encoding is neither given nor certain.

    Args:
        content: of the file.
        path: of the file, for messages.
        encoding: name of the encoding; None: that of a byte order mark, UTF-8, UTF-16, or else Windows-1252.

    Raises:
        DataError: the encoding is unknown, or the content is not in it.
    """
    known = encoding or next((name for mark, name in _MARKS if content.startswith(mark)), None) or _wide(content)
    try:
        return content.decode(known or "utf-8"), None
    except LookupError as error:
        raise DataError(f"--encoding {encoding}: {error}; for example utf-8, utf-16, cp1252 or shift_jis") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        if known or _UTF8_SEQUENCE.search(content):
            raise DataError(
                f"{path}, line {line}: not {known or 'UTF-8'} ({error.reason}); save it as UTF-8, or pass --encoding"
            ) from error
    return _decode_western(content, path, line)


def _wide(content: bytes) -> str | None:
    """UTF-16 without a byte order mark: every other byte of ASCII letters is zero."""
    start = content[:1000]
    if start.count(0) < 0.3 * len(start):
        return None
    return "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"


def _decode_western(content: bytes, path: Path, line: int) -> tuple[str, str]:
    try:
        text = content.decode(_WESTERN)
    except UnicodeDecodeError:
        text = ""
    accents = _ACCENTS.findall(text)
    if not text or sum(len(run) > 1 for run in accents) > _OTHER_ALPHABET * len(accents):
        raise DataError(
            f"{path}, line {line}: neither UTF-8 nor Windows-1252; save it as UTF-8, or pass --encoding, for example "
            "cp1251, shift_jis or gb18030"
        )
    sample = text.split("\n")[line - 1].strip()[:60]
    return text, f"{path.name} is read as Windows-1252 (line {line}: {sample!r}); pass --encoding if that is wrong"


def parse_json(text: str, path: Path, line: int | None = None) -> Any:
    """A JSON text that comes from a file.

    Raises:
        DataError: it is not valid, or an object has a key twice; the message names the file and the line.
    """

    def unique(pairs: list[tuple[Hashable, Any]]) -> dict:
        content = dict(pairs)
        if len(content) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            place = f", line {line}" if line else ""
            raise DataError(f"{path}{place}: an object has the key {twice!r} twice; remove or rename one")
        return content

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {line or error.lineno}: not valid JSON: {error.msg}") from error
