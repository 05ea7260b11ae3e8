"""The page of all pictures: a table of what is shown, the sections, and what was left out and why."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import markdown_table, write_json
from .material import Illustration

PAGE, NUMBERS = "illustrations.md", "illustrations.json"


def write_page(
    folder: Path, shown: Mapping[str, Illustration], left_out: Mapping[str, str], facts: Mapping[str, Any]
) -> Path:
    """Writes `illustrations.md` and `illustrations.json` beside the pictures.

    Args:
        folder: of the pictures.
        shown: parts of the page, by name.
        left_out: why the others are not there, by name.
        facts: about the run, by what they are called.

    Returns:
        The path of the page.
    """
    numbers = {name: part.numbers for name, part in shown.items()}
    write_json(folder / NUMBERS, {"run": dict(facts), **numbers, "left_out": dict(left_out)})
    rows = [
        (part.title, part.summary, ", ".join(f"[{name}]({name})" for name in part.pictures)) for part in shown.values()
    ]
    rows += [(name, f"left out: {reason}", "") for name, reason in left_out.items()]
    sections = [
        "# What the model has learned, in pictures",
        markdown_table(("what", "which"), facts.items()),
        markdown_table(("part", "what is shown", "pictures"), rows),
        *(f"## {part.title}\n\n{part.text}" for part in shown.values()),
        f"All numbers: [{NUMBERS}]({NUMBERS}).",
    ]
    path = folder / PAGE
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8", errors="backslashreplace")
    return path
