"""Scores of MTEB in model cards: `training/mteb_eval.py` stores them, and every card of the model shows them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard

from ..files import write_json

SCORES_NAME = "scores.json"
MTEB_FILE = f"mteb/{SCORES_NAME}"
MTEB_URL = "https://github.com/embeddings-benchmark/mteb"


def read_scores(file: Path) -> list[EvalResult]:
    """Return the stored scores; [] if the file does not exist."""
    content = json.loads(file.read_text("utf-8")) if file.is_file() else {"scores": []}
    return [EvalResult(**fields) for fields in content["scores"]]


def store_scores(file: Path, scores: Sequence[EvalResult]) -> list[EvalResult]:
    """Add scores to the stored ones, replace those of the same task, split and metric, and return all."""
    merged = {_key(score): score for score in (*read_scores(file), *scores)}
    filled = ({name: value for name, value in asdict(score).items() if value is not None} for score in merged.values())
    write_json(file, {"scores": list(filled)})
    return list(merged.values())


def update_card(file: Path, scores: Sequence[EvalResult]):
    """Put scores into the `model-index` of a model card, in place of its former scores of MTEB."""
    card = ModelCard.load(file)
    others = [result for result in card.data.eval_results or () if result.source_url != MTEB_URL]
    card.data.eval_results = [*others, *scores]
    card.data.model_name = card.data.model_name or file.resolve().parent.name
    card.data.tags = [*dict.fromkeys([*(card.data.tags or ()), "mteb"])]
    card.save(file)


def _key(score: EvalResult) -> tuple:
    return (score.dataset_name, score.dataset_config, score.dataset_split, score.metric_type)
