"""Settings of a folder that several runs write to: each run must have those of the first."""

import json
from collections.abc import Mapping
from typing import Any

from .errors import DataError, MulapError

TRAINING_SETTINGS = "training_settings.json"
"""File with every setting of a training run, in its output folder."""

CORPUS_SETTINGS = "corpus.json"
"""File with every setting of what `mulap_hf.synthetic` generates, in its folder."""


def check_settings(
    found: Mapping[str, Any],
    wanted: Mapping[str, Any],
    what: str,
    remedy: str,
    error: type[MulapError] = DataError,
):
    """Refuses to continue what was begun with other settings.

    Args:
        found: Settings of the first run, as read from a JSON file.
        wanted: Settings of this run; values that JSON can store.
        what: What was found and where, such as "corpus/ holds a corpus"; the message begins with it.
        remedy: What the user can do; the message ends with it.
        error: Class of the exception.

    Raises:
        error: Settings differ; the message gives both values of each.
    """
    wanted = json.loads(json.dumps(wanted))  # lists for tuples, as in `found`
    changes = [
        f"{name} ({found.get(name)!r}, now {wanted.get(name)!r})"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    if changes:
        raise error(f"{what} with other settings: {', '.join(changes)}; {remedy}")
