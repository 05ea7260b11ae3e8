"""Scores of MTEB in model cards: `training/mteb_eval.py` stores them, and every card of the model shows them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard

from ..files import write_json

SCORES_NAME = "scores.json"
MTEB_FILE = f"mteb/{SCORES_NAME}"
MTEB_URL = "https://github.com/embeddings-benchmark/mteb"


def read_scores(file: Path) -> list[EvalResult]:
    """Return the stored scores; [] if the file does not exist."""
    return [EvalResult(**fields) for fields in _read(file)["scores"]]


def store_scores(file: Path, scores: Sequence[EvalResult], weights: str) -> list[EvalResult]:
    """Add scores to the stored ones, and return all.

    Those of the same task, split and metric are replaced, and all of them if they are of other weights.

    Args:
        file: The file.
        scores: What was computed.
        weights: Fingerprint of the model's weights.
    """
    former = read_scores(file) if _read(file).get("weights") == weights else []
    merged = {_key(score): score for score in (*former, *scores)}
    filled = ({name: value for name, value in asdict(score).items() if value is not None} for score in merged.values())
    write_json(file, {"weights": weights, "scores": list(filled)})
    return list(merged.values())


def update_card(file: Path, scores: Sequence[EvalResult]):
    """Put scores into a model card in a folder, see `add_scores`."""
    card = ModelCard.load(file)
    add_scores(card, file.resolve().parent.name, scores)
    card.save(file)


def add_scores(card: ModelCard, name: str, scores: Sequence[EvalResult]):
    """Put scores into the `model-index` of a model card, in place of its former scores of MTEB.

    Args:
        card: The card, which is changed.
        name: Name of the model, if the card has none.
        scores: All scores of MTEB.
    """
    others = [result for result in card.data.eval_results or () if result.source_url != MTEB_URL]
    card.data.eval_results = [*others, *scores]
    card.data.model_name = card.data.model_name or name
    card.data.tags = [*dict.fromkeys([*(card.data.tags or ()), "mteb"])]


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text("utf-8")) if file.is_file() else {"scores": []}


def _key(score: EvalResult) -> tuple:
    return (score.dataset_name, score.dataset_config, score.dataset_split, score.metric_type)
