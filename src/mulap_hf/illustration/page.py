"""The page of all pictures: an overview, one section per part, and the reasons for skipped parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import markdown_table, write_json

PAGE, NUMBERS = "illustrations.md", "illustrations.json"


@dataclass(frozen=True)
class Illustration:
    """One part of the page.

    Attributes:
        title: Title of the section.
        text: Markdown text of the section, with tables and pictures.
        summary: The main result in one sentence, for the overview.
        pictures: File names of the pictures in the folder of the page.
        numbers: The drawn numbers as JSON values.
    """

    title: str
    text: str
    summary: str
    pictures: list[str]
    numbers: dict[str, Any]


def write_page(
    folder: Path, parts: Mapping[str, Illustration], skipped: Mapping[str, str], facts: Mapping[str, Any]
) -> Path:
    """Write `illustrations.md` and `illustrations.json` to the folder of the pictures.

    Args:
        folder: Folder of the pictures.
        parts: The drawn parts by name.
        skipped: The reasons for the skipped parts by name.
        facts: Settings of the run by name.

    Returns:
        The path of the page.
    """
    numbers = {name: part.numbers for name, part in parts.items()}
    write_json(folder / NUMBERS, {"run": dict(facts), **numbers, "skipped": dict(skipped)})
    rows = [
        (part.title, part.summary, ", ".join(f"[{name}]({name})" for name in part.pictures)) for part in parts.values()
    ]
    rows += [(name, f"skipped: {reason}", "") for name, reason in skipped.items()]
    sections = [
        "# What the model has learned, in pictures",
        markdown_table(("part", "result", "pictures"), rows),
        *(f"## {part.title}\n\n{part.text}" for part in parts.values()),
        f"## How the pictures were made\n\n{markdown_table(('setting', 'value'), facts.items())}",
        f"All numbers: [{NUMBERS}]({NUMBERS}).",
    ]
    path = folder / PAGE
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8", errors="backslashreplace")
    return path
