"""The Hub's check of a card's metadata (`POST /api/validate-yaml`, and again at every commit).

Which mistakes are errors and which are warnings, and their wording, follow what the Hub answers. The lists are
those of https://huggingface.co/docs/hub/repositories-licenses and of `@huggingface/tasks`, `pipelines.ts`.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

VALUES = json.loads((Path(__file__).parent / "hub_values.json").read_text())
_FRONT_MATTER = re.compile(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\n|$))")


def front_matter(card: str) -> dict[str, Any] | None:
    """Metadata of a card; None if it has none.

    Raises:
        ValueError: with the Hub's message, if it is not a YAML mapping.
    """
    found = _FRONT_MATTER.match(card)
    if not found:
        return None
    try:
        metadata = yaml.safe_load(found[2])
    except yaml.YAMLError as error:
        raise ValueError(f"Invalid YAML in README.md: {error}") from error
    if isinstance(metadata, list):
        raise ValueError('"value" must be of type object')
    if not isinstance(metadata, dict):
        raise ValueError("The YAML metadata of your README.md is invalid.")
    return metadata


def check_card(card: str, kind: str = "model") -> tuple[list[str], list[str]]:
    """Errors, for which the Hub refuses a card, and warnings, with which it takes it."""
    try:
        metadata = front_matter(card)
    except ValueError as error:
        return [str(error)], []
    if metadata is None:
        return [], ["empty or missing yaml metadata in repo card"]
    errors = list(_complaints(metadata, {**CARD, **CARDS[kind]}, ""))
    return errors, [
        f'The {key} "{value}" is not in the official list: {", ".join(VALUES["task"])}'
        for key in ("pipeline_tag", "task_categories")
        for value in _listed(metadata.get(key, []))
        if value not in VALUES["task"]
    ]


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def _complaints(value: Any, schema: Any, path: str):
    """A schema is a mapping of fields ("!" marks the required), `[schema]` for a list, `(schema,)` for one or a list,
    or a function that says what is wrong with a value, if anything."""
    if isinstance(schema, tuple):
        schema = [schema[0]] if isinstance(value, list) else schema[0]
    if isinstance(schema, list) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _complaints(item, schema[0], f"{path}[{index}]")
    elif isinstance(schema, list):
        yield f'"{path}" must be an array'
    elif isinstance(schema, dict) and isinstance(value, dict):
        for field, inner in schema.items():
            name = field.rstrip("!")
            inner_path = f"{path}.{name}" if path else name
            if name in value:
                yield from _complaints(value[name], inner, inner_path)
            elif field != name:
                yield f'"{inner_path}" is required'
    elif isinstance(schema, dict):
        yield f'"{path}" must be of type object'
    elif wrong := schema(value):
        yield f'"{path}" {wrong}'


def anything(_value: Any) -> None:
    """No complaint."""


def text(value: Any) -> str | None:
    if not isinstance(value, str):
        return "must be a string"
    return None if value else "is not allowed to be empty"


def one_of(choices: list[str]) -> Callable[[Any], str | None]:
    return lambda value: None if value in choices else f"must be one of [{', '.join(choices)}]"


def matching(pattern: str) -> Callable[[Any], str | None]:
    def complaint(value: Any) -> str | None:
        if isinstance(value, str) and not re.fullmatch(pattern, value):
            return f'with value "{value}" fails to match the required pattern: /^{pattern}$/'
        return text(value)

    return complaint


def at_most(length: int) -> Callable[[Any], str | None]:
    def complaint(value: Any) -> str | None:
        if isinstance(value, str) and len(value) > length:
            return f"length must be less than or equal to {length} characters long"
        return text(value)

    return complaint


REPOSITORY = matching(r"(?:[\w-]+\/)?[\w\-.]+")
CARD = {
    "license": (one_of(VALUES["license"]),),
    "language": (matching(r"[a-z]{2,3}(-[A-Za-z0-9]+)*|code|multilingual"),),
    "tags": [text],
    "datasets": (REPOSITORY,),
    "base_model": (REPOSITORY,),
    "metrics": (text,),
    "pipeline_tag": text,
    "library_name": text,
    "model-index": [
        {
            "name!": text,
            "results!": [
                {
                    "task!": {"type!": text, "name": text},
                    "dataset": {"type!": REPOSITORY, "name!": text, "config": text, "split": text, "revision": text},
                    "metrics!": [{"type!": text, "value!": anything, "name": text, "config": text}],
                }
            ],
        }
    ],
}
CARDS = {
    "model": {},
    "dataset": {"task_categories": [text]},
    "space": {
        "sdk!": one_of(["gradio", "docker", "static", "streamlit"]),
        "sdk_version": text,
        "title": text,
        "short_description": at_most(60),
        "colorFrom": one_of(VALUES["color"]),
        "colorTo": one_of(VALUES["color"]),
    },
}
