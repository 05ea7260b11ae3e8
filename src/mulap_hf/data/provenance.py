"""Which corpus some data are, as far as they say."""

import json
from pathlib import Path
from typing import Any

from ..remote import is_address
from ..settings import CORPUS_SETTINGS
from .corpora import CORPORA
from .schema import SETTINGS_FILE


def provenance(data: str | Path) -> dict[str, Any]:
    """What is known of a folder, file or Hub dataset.

    Returns:
        JSON values: `folder`, or of a dataset on the Hub `hub`; of what `prepare_dataset.py` made also `corpus`,
        `options`, `title`, `url` and `license`. What `mulap_hf.synthetic` generated has these, but not `options`.
    """
    if is_address(data):
        return {"folder": data}
    folder = Path(data)
    if not folder.exists():
        return {"hub": str(data)}
    try:
        settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError):
        is_generated = any(Path(place, CORPUS_SETTINGS).is_file() for place in (folder, folder.parent))  # or a split
        return {"folder": str(data)} | (describe_corpus("synthetic") if is_generated else {})
    known = {"corpus": settings["corpus"], "options": settings["options"], "folder": str(data)}
    return known | (describe_corpus(settings["corpus"]) if settings["corpus"] in CORPORA else {})


def describe_corpus(name: str) -> dict[str, Any]:
    """`corpus`, `title`, `url` and `license` of one in `CORPORA`."""
    corpus = CORPORA[name]
    return {"corpus": name, "title": corpus.title, "url": corpus.url, "license": corpus.license}
