"""Zero-shot: tags and classes by prompts, and retrieval between clips and descriptions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.schema import Task
from ..data.tables import Skipped
from ..errors import DataError
from ..metrics.retrieval import report_retrieval
from ..metrics.scores import COVERAGE, score, without_nan
from .features import FeatureCache, Features
from .pair_scores import CONTRASTIVE, MATCHING, PairScorer, rerank, shortlist
from .protocol import Predictions, align, judge
from .tasks import VALIDATION, PreparedData, TaskData

TEMPLATES = {
    "multi_label": ("{label}", "{label} music", "{label} track", "music with {label}"),
    "single_label": ("{label}", "{label} music", "{label} track", "this is {label}"),
}
TEXT_TO_AUDIO, AUDIO_TO_TEXT = "text_to_audio", "audio_to_text"
CHANCE, RERANKED = "chance", "reranked"
CALIBRATION_CLIPS = 300
MOST_PAIRS = 1_000_000  # of clips and descriptions that are all matched
_CHANCE_DRAWS = 100


def clean_label(label: str) -> str:
    """A label as words: "genre---hip_hop" -> "hip hop"."""
    return label.rpartition("---")[2].replace("_", " ").strip()


def prompts(task: Task, templates: Sequence[str] | None = None) -> list[str]:
    """Every label of a task in every template, label by label.

    Args:
        task: has classes.
        templates: texts with `{label}` in them; None: `TEMPLATES` of its kind.

    Raises:
        DataError: the task is a regression, or a template has no `{label}`.
    """
    if task.kind not in TEMPLATES:
        raise DataError(
            f"task {task.name}: prompts tell tags and classes, not the values of a {task.kind}; choose another task, "
            "or learn it with training/transfer.py"
        )
    templates = templates or TEMPLATES[task.kind]
    for template in templates:
        if "{label}" not in template:
            raise DataError(f"template {template!r} has no {{label}} in it")
    return [template.replace("{label}", clean_label(label)) for label in task.classes for template in templates]


def zero_shot_scores(
    scorer: PairScorer,
    data: TaskData,
    splits: Sequence[str],
    cache: FeatureCache,
    kinds: Sequence[str],
    templates: Sequence[str] | None = None,
) -> dict[str, dict[str, Predictions]]:
    """What prompts say of the clips of some splits; no labels are read.

    A label's score is the mean over its templates. Matching scores of one prompt are on a scale of their own: a common
    word is likelier to match anything. `KIND_calibrated` takes that out: from each label's scores their mean over
    validation clips is subtracted. (Areas under the curve of single tags do not change by it.)

    Args:
        scorer: the model.
        data: a task with classes.
        splits: of the data.
        cache: of what the backbone hears.
        kinds: of scores, of those that the model has.
        templates: see `prompts`.

    Returns:
        By split and method, scores `(clips, labels)`.

    Raises:
        DataError: see `prompts`, or no clip can be heard.
    """
    task = data.task
    wording = prompts(task, templates)
    texts = scorer.read(wording)

    def score_all(features: Features, split: str) -> dict[str, np.ndarray]:
        clips, label = scorer.hear(features), f"{task.name}, {split}"
        found = {}
        if CONTRASTIVE in kinds:
            found[CONTRASTIVE] = scorer.contrastive(clips, texts)
        if MATCHING in kinds:
            found[MATCHING] = scorer.matching(clips, texts, label=label)
        shape = (len(clips), task.num_outputs, -1)
        return {kind: scores.reshape(shape).mean(axis=2) for kind, scores in found.items()}  # (clips, labels)

    validation = cache.features(scorer.extractor, data, VALIDATION)
    few = spread(len(validation.ids), CALIBRATION_CLIPS)
    usual = score_all(validation.select([validation.ids[row] for row in few]), VALIDATION)
    predictions: dict[str, dict[str, Predictions]] = {}
    for split in splits:
        features = cache.features(scorer.extractor, data, split)
        methods = {}
        for kind, scores in score_all(features, split).items():
            methods |= {kind: scores, f"{kind}_calibrated": scores - usual[kind].mean(axis=0)}
        predictions[split] = {
            method: Predictions(features.ids, scores, validation.skipped + features.skipped)
            for method, scores in methods.items()
        }
    return predictions


def spread(number: int, most: int | None) -> np.ndarray:
    """Indices of at most so many of a number of items, evenly spaced."""
    return np.linspace(0, number - 1, min(most or number, number)).astype(int)


@dataclass(frozen=True)
class Retrieval:
    """Every description against every recording.

    names: the id of the first row of each recording.
    texts: the descriptions.
    right: `(clips, texts)`, bool, which belong together.
    matching: `(clips, texts)`, log-odds of a match, NaN where they were not needed; None of a model without.
    methods: by direction ("text_to_audio", "audio_to_text") and method, scores `(queries, items)`.
    skipped: clips that could not be heard.
    """

    names: list[str]
    texts: list[str]
    right: np.ndarray
    matching: np.ndarray | None
    methods: dict[str, dict[str, np.ndarray]]
    skipped: list[Skipped]

    def report(self, resamples: int, seed: int) -> dict[str, dict[str, Any]]:
        """By direction, method ("chance" is one) and metric: `value`, `low`, `high`; see `report_retrieval`."""
        found = {}
        for direction, methods in self.methods.items():
            right = self.right.T if direction == TEXT_TO_AUDIO else self.right
            found[direction] = {
                method: report_retrieval(scores, right, resamples, seed) for method, scores in methods.items()
            }
            found[direction][CHANCE] = report_retrieval(np.zeros(right.shape), right, 0)
        return found


def unique_pairs(pairs: Mapping[str, tuple[str, str]]) -> tuple[list[str], list[str], np.ndarray]:
    """Recordings and descriptions, each once, from rows that may repeat both.

    Args:
        pairs: recording and description, by id of the row.

    Returns:
        The id of the first row of each recording, the descriptions, and `(recordings, descriptions)`, bool: which
        belong together.
    """
    names: dict[str, str] = {}  # by recording
    texts: dict[str, int] = {}
    for name, (recording, text) in pairs.items():
        names.setdefault(recording, name)
        texts.setdefault(text, len(texts))
    rows = {recording: row for row, recording in enumerate(names)}
    right = np.zeros((len(rows), len(texts)), dtype=bool)
    for recording, text in pairs.values():
        right[rows[recording], texts[text]] = True
    return list(names.values()), list(texts), right


def retrieve(
    scorer: PairScorer,
    data: PreparedData,
    split: str,
    cache: FeatureCache,
    kinds: Sequence[str],
    top_k: int = 32,
    recordings: int | None = None,
    most_pairs: int = MOST_PAIRS,
) -> Retrieval:
    """Scores of all pairs of a split's recordings and descriptions, each taken once however often it is stored.

    Args:
        scorer: the model.
        data: has descriptions.
        split: of the data.
        cache: of what the backbone hears.
        kinds: of scores, of those that the model has. Of both, matching scores also re-rank the contrastive ones.
        top_k: items per query that are re-ranked.
        recordings: most of them, with their descriptions; evenly spaced in the split. None: all. Ranks among another
            number of items are not to be compared.
        most_pairs: of more, only those are matched that are re-ranked.

    Raises:
        DataError: there are no descriptions, no clip can be heard, or there are more than `most_pairs` for a model
            that has only matching scores.
    """
    captions, audio = data.captions(split), data.recordings(split)
    features = cache.features(scorer.extractor, data, split)
    heard = [name for name in features.ids if name in captions]
    if not heard:
        raise DataError(f"{data.folder}: no clip of {split} has a description and can be heard")
    names, wording, right = unique_pairs({name: (audio[name], captions[name]) for name in heard})
    rows = spread(len(names), recordings)
    columns = np.flatnonzero(right[rows].any(axis=0))
    names, wording = [names[row] for row in rows], [wording[column] for column in columns]
    right = right[np.ix_(rows, columns)]
    clips, texts = scorer.hear(features.select(names)), scorer.read(wording)
    methods: dict[str, dict[str, np.ndarray]] = {TEXT_TO_AUDIO: {}, AUDIO_TO_TEXT: {}}

    def add(method: str, by_text: np.ndarray, by_audio: np.ndarray):
        methods[TEXT_TO_AUDIO][method], methods[AUDIO_TO_TEXT][method] = by_text, by_audio

    similarity, matching, wanted = None, None, None
    if CONTRASTIVE in kinds:
        similarity = scorer.contrastive(clips, texts)
        add(CONTRASTIVE, similarity.T, similarity)
    if MATCHING in kinds:
        if right.size > most_pairs:
            if similarity is None:
                raise DataError(
                    f"{data.folder}: {len(names)} clips x {len(wording)} descriptions are more than {most_pairs:,} "
                    "pairs; a model without contrastive scores has to match them all: pass --recordings with fewer"
                )
            wanted = shortlist(similarity, top_k) | shortlist(similarity.T, top_k).T
        matching = scorer.matching(clips, texts, wanted, f"retrieval, {split}")
        if wanted is None:
            add(MATCHING, matching.T, matching)
        if similarity is not None:
            add(RERANKED, rerank(similarity.T, matching.T, top_k), rerank(similarity, matching, top_k))
    return Retrieval(names, wording, right, matching, methods, features.skipped)


def zero_shot_report(
    scorer: PairScorer,
    tasks: Mapping[str, TaskData],
    cache: FeatureCache,
    retrieval: PreparedData | None = None,
    kinds: Sequence[str] | None = None,
    templates: Sequence[str] | None = None,
    top_k: int = 32,
    recordings: int | None = None,
    most_pairs: int = MOST_PAIRS,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Zero-shot scores of a model on all test splits, as JSON values; labels are read when all scores are there.

    Args:
        scorer: the model.
        tasks: by the names that they go by; regressions are left out.
        cache: of what the backbone hears.
        retrieval: data whose descriptions are to be found, and to find.
        kinds: "contrastive", "matching"; None: all that the model has been trained for.
        templates: see `prompts`.
        top_k, recordings, most_pairs: see `retrieve`.
        resamples, seed: of the bootstrap over clips or queries.

    Returns:
        `tasks`: by task, split and method, each metric of `metrics.scores.score` as `value` and its 95 % interval
        `low` to `high`; `retrieval`: by split, direction, method and metric of `report_retrieval`. The method "chance"
        is what random scores reach: on average and in 95 % of draws, or, in retrieval, the expectation. `sizes`:
        clips, labels and texts; `skipped`: clips that could not be heard, and why.

    Raises:
        DataError: the model does not have scores of these kinds, a template has no `{label}`, or see `retrieve`.
    """
    kinds = scorer.check_kinds(kinds)
    tasks = {name: data for name, data in tasks.items() if data.task.kind in TEMPLATES}
    scored = {
        name: zero_shot_scores(scorer, data, data.test_splits, cache, kinds, templates) for name, data in tasks.items()
    }
    found = {}
    if retrieval is not None:
        found = {
            split: retrieve(scorer, retrieval, split, cache, kinds, top_k, recordings, most_pairs)
            for split in retrieval.test_splits
        }
    report: dict[str, Any] = {"tasks": {}, "retrieval": {}, "sizes": {"tasks": {}, "retrieval": {}}}
    skipped = [item for one in found.values() for item in one.skipped]
    for name, data in tasks.items():
        report["tasks"][name], report["sizes"]["tasks"][name] = {}, {}
        for split, methods in scored[name].items():
            judged = {method: judge(data, split, scores, resamples, seed) for method, scores in methods.items()}
            any_scores = next(iter(methods.values()))
            skipped += any_scores.skipped
            report["tasks"][name][split] = {method: result["metrics"] for method, result in judged.items()}
            report["tasks"][name][split][CHANCE] = _chance(data, split, any_scores, seed)
            clips = next(iter(judged.values()))["tracks"]
            report["sizes"]["tasks"][name][split] = {"clips": clips, "labels": data.task.num_outputs}
    for split, one in found.items():
        report["retrieval"][split] = one.report(resamples, seed)
        report["sizes"]["retrieval"][split] = dict(zip(("clips", "texts"), one.right.shape, strict=True))
    report["skipped"] = sorted({str(item) for item in skipped})
    return report


def _chance(data: TaskData, split: str, scores: Predictions, seed: int) -> dict[str, dict[str, float | None]]:
    """What random scores reach."""
    truth, scored = align(data.targets(split), scores)
    rng = np.random.default_rng(seed)
    draws = [score(data.task.kind, truth, rng.random(scored.shape)) for _ in range(_CHANCE_DRAWS)]
    chance = {}
    for name in draws[0]:
        values = [draw[name] for draw in draws]
        low, high = np.percentile(values, COVERAGE)
        chance[name] = {"value": float(np.mean(values)), "low": float(low), "high": float(high)}
    return without_nan(chance)
