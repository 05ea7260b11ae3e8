"""Zero-shot evaluation: tags and classes from prompts, and retrieval between recordings and descriptions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.schema import Skipped, Task
from ..errors import DataError
from ..metrics.retrieval import report_retrieval
from ..metrics.scores import COVERAGE, score, without_nan
from .features import FeatureCache, Features
from .pair_scores import CONTRASTIVE, MATCHING, PairScorer, rerank, shortlist
from .protocol import Predictions, align, evaluate
from .tasks import VALIDATION, PreparedData, TaskData

TEMPLATES = {
    "multi_label": ("{label}", "{label} music", "{label} track", "music with {label}"),
    "single_label": ("{label}", "{label} music", "{label} track", "this is {label}"),
}
TEXT_TO_AUDIO, AUDIO_TO_TEXT = "text_to_audio", "audio_to_text"
CHANCE, RERANKED = "chance", "reranked"
CALIBRATION_CLIPS = 300
MOST_PAIRS = 1_000_000  # largest number of pairs that are all scored by matching
_CHANCE_DRAWS = 100


def clean_label(label: str) -> str:
    """Return a label as words, for example "hip hop" for "genre---hip_hop"."""
    return label.rpartition("---")[2].replace("_", " ").strip()


def prompts(task: Task, templates: Sequence[str] | None = None) -> list[str]:
    """Return the prompts of all labels, ordered by label and then by template.

    Args:
        task: A task with classes or tags.
        templates: Texts with `{label}`; None for the `TEMPLATES` of the kind of task.

    Raises:
        DataError: The task is a regression, or a template has no `{label}`.
    """
    if task.kind not in TEMPLATES:
        raise DataError(
            f"task {task.name}: prompts cannot predict the values of a {task.kind}; choose a task with classes or "
            "tags, or train a head with training/transfer.py"
        )
    templates = templates or TEMPLATES[task.kind]
    for template in templates:
        if "{label}" not in template:
            raise DataError(f'template {template!r} has no {{label}}; write for example "{{label}} music"')
    return [template.replace("{label}", clean_label(label)) for label in task.classes for template in templates]


def zero_shot_scores(
    scorer: PairScorer,
    data: TaskData,
    splits: Sequence[str],
    cache: FeatureCache,
    kinds: Sequence[str],
    templates: Sequence[str] | None = None,
) -> dict[str, dict[str, Predictions]]:
    """Return the scores of all labels by prompts, without reading the labels of the clips.

    The score of a label is the mean over its templates. Scores of different prompts are not comparable: prompts with
    common words score higher for every clip. The methods `KIND_calibrated` correct this: they subtract the mean score
    of each label over validation clips. (This does not change the areas under the curve of single tags.)

    Args:
        scorer: The model.
        data: A task with classes or tags.
        splits: Names of the splits.
        cache: Cache of the backbone features.
        kinds: Kinds of scores that the model has.
        templates: See `prompts`.

    Returns:
        Scores `(clips, labels)` by split and method.

    Raises:
        DataError: See `prompts`; or no clip can be decoded.
    """
    task = data.task
    texts = scorer.encode_texts(prompts(task, templates))

    def score_all(features: Features, split: str) -> dict[str, np.ndarray]:
        clips, label = scorer.encode_audio(features), f"{task.name}, {split}"
        found = {}
        if CONTRASTIVE in kinds:
            found[CONTRASTIVE] = scorer.contrastive(clips, texts)
        if MATCHING in kinds:
            found[MATCHING] = scorer.matching(clips, texts, label=label)
        shape = (len(clips), task.num_outputs, -1)
        return {kind: scores.reshape(shape).mean(axis=2) for kind, scores in found.items()}  # (clips, labels)

    validation = cache.features(scorer.extractor, data, VALIDATION)
    calibration = [validation.ids[row] for row in spread(len(validation.ids), CALIBRATION_CLIPS)]
    offsets = score_all(validation.select(calibration), VALIDATION)
    predictions: dict[str, dict[str, Predictions]] = {}
    for split in splits:
        features = cache.features(scorer.extractor, data, split)
        methods = {}
        for kind, scores in score_all(features, split).items():
            methods |= {kind: scores, f"{kind}_calibrated": scores - offsets[kind].mean(axis=0)}
        predictions[split] = {
            method: Predictions(features.ids, scores, validation.skipped + features.skipped)
            for method, scores in methods.items()
        }
    return predictions


def spread(number: int, most: int | None) -> np.ndarray:
    """Return the indices of at most `most` of `number` items, evenly spaced; all of them if `most` is None."""
    return np.linspace(0, number - 1, min(most or number, number)).astype(int)


@dataclass(frozen=True)
class Retrieval:
    """The scores of all pairs of recordings and descriptions.

    Attributes:
        names: Id of the first row of each recording.
        texts: The descriptions.
        relevant: Whether a description belongs to a recording, bool `(clips, texts)`.
        matching: Log-odds of a match `(clips, texts)`, NaN for pairs that were not scored; None if the model has no
            matching scores.
        methods: Scores `(queries, items)` by direction ("text_to_audio", "audio_to_text") and method.
        skipped: Clips that could not be decoded.
    """

    names: list[str]
    texts: list[str]
    relevant: np.ndarray
    matching: np.ndarray | None
    methods: dict[str, dict[str, np.ndarray]]
    skipped: list[Skipped]

    def report(self, resamples: int, seed: int) -> dict[str, dict[str, Any]]:
        """Return the metrics of `report_retrieval` by direction and method; the method "chance" is random ranking."""
        found = {}
        for direction, methods in self.methods.items():
            relevant = self.relevant.T if direction == TEXT_TO_AUDIO else self.relevant
            found[direction] = {
                method: report_retrieval(scores, relevant, resamples, seed) for method, scores in methods.items()
            }
            found[direction][CHANCE] = report_retrieval(np.zeros(relevant.shape), relevant, 0)
        return found


def unique_pairs(pairs: Mapping[str, tuple[str, str]]) -> tuple[list[str], list[str], np.ndarray]:
    """Return the distinct recordings and descriptions of rows that may repeat both.

    Args:
        pairs: Recording and description by id of the row.

    Returns:
        The id of the first row of each recording, the descriptions, and whether they belong together, bool
        `(recordings, descriptions)`.
    """
    names: dict[str, str] = {}  # by recording
    texts: dict[str, int] = {}
    for name, (recording, text) in pairs.items():
        names.setdefault(recording, name)
        texts.setdefault(text, len(texts))
    rows = {recording: row for row, recording in enumerate(names)}
    relevant = np.zeros((len(rows), len(texts)), dtype=bool)
    for recording, text in pairs.values():
        relevant[rows[recording], texts[text]] = True
    return list(names.values()), list(texts), relevant


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
    """Score all pairs of recordings and descriptions of a split; duplicates of both count once.

    Args:
        scorer: The model.
        data: A dataset with descriptions.
        split: Name of the split.
        cache: Cache of the backbone features.
        kinds: Kinds of scores that the model has. With both kinds, contrastive scores are also re-ranked by matching.
        top_k: Number of items per query to re-rank.
        recordings: Largest number of recordings, evenly spaced in the split; None for all. Ranks are comparable only
            for the same number of recordings.
        most_pairs: If there are more pairs, only those to re-rank are scored by matching.

    Raises:
        DataError: The split has no descriptions, no clip can be decoded, or a model with only matching scores has more
            than `most_pairs` pairs.
    """
    features = cache.features(scorer.extractor, data, split)
    names, descriptions, relevant = _some_pairs(data, split, features, recordings)
    clips, texts = scorer.encode_audio(features.select(names)), scorer.encode_texts(descriptions)
    methods: dict[str, dict[str, np.ndarray]] = {TEXT_TO_AUDIO: {}, AUDIO_TO_TEXT: {}}

    def add(method: str, by_text: np.ndarray, by_audio: np.ndarray):
        methods[TEXT_TO_AUDIO][method], methods[AUDIO_TO_TEXT][method] = by_text, by_audio

    similarity, matching, wanted = None, None, None
    if CONTRASTIVE in kinds:
        similarity = scorer.contrastive(clips, texts)
        add(CONTRASTIVE, similarity.T, similarity)
    if MATCHING in kinds:
        if relevant.size > most_pairs:
            if similarity is None:
                raise DataError(
                    f"{data.folder}: {len(names)} clips x {len(descriptions)} descriptions are more than "
                    f"{most_pairs:,} pairs, which a model without contrastive scores has to match all; pass a smaller "
                    "--recordings"
                )
            wanted = shortlist(similarity, top_k) | shortlist(similarity.T, top_k).T
        matching = scorer.matching(clips, texts, wanted, f"retrieval, {split}")
        if wanted is None:
            add(MATCHING, matching.T, matching)
        if similarity is not None:
            add(RERANKED, rerank(similarity.T, matching.T, top_k), rerank(similarity, matching, top_k))
    return Retrieval(names, descriptions, relevant, matching, methods, features.skipped)


def _some_pairs(
    data: PreparedData, split: str, features: Features, most: int | None
) -> tuple[list[str], list[str], np.ndarray]:
    """Return `unique_pairs` of at most so many recordings, evenly spaced in the split."""
    captions, audio = data.captions(split), data.recordings(split)
    usable = [name for name in features.ids if name in captions]
    if not usable:
        raise DataError(
            f"{data.folder}: no clip of {split} has a description and audio that can be decoded; check captions and "
            "audio of the split"
        )
    names, descriptions, relevant = unique_pairs({name: (audio[name], captions[name]) for name in usable})
    rows = spread(len(names), most)
    columns = np.flatnonzero(relevant[rows].any(axis=0))
    names, descriptions = [names[row] for row in rows], [descriptions[column] for column in columns]
    return names, descriptions, relevant[np.ix_(rows, columns)]


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
    """Evaluate a model zero-shot on all test splits; return the results as JSON values.

    Labels are read only after all scores have been computed.

    Args:
        scorer: The model.
        tasks: Tasks by name; regressions are skipped.
        cache: Cache of the backbone features.
        retrieval: Dataset with descriptions for retrieval; None for no retrieval.
        kinds: "contrastive" and "matching"; None for all that the model was trained for.
        templates: See `prompts`.
        top_k, recordings, most_pairs: See `retrieve`.
        resamples, seed: Number and seed of the bootstrap resamples of clips or queries.

    Returns:
        A dictionary:

        * `tasks`: by task, split, method and metric, the `value` and its 95 % interval from `low` to `high`.
        * `retrieval`: the same by split, direction, method and metric of `report_retrieval`.
        * `sizes`: numbers of clips, labels and texts.
        * `skipped`: clips that could not be decoded, with the reasons.

        The method "chance" has random scores: their mean and the interval of 95 % of draws; for retrieval, the
        expectation.

    Raises:
        DataError: The model has no scores of a requested kind, a template has no `{label}`, or see `retrieve`.
    """
    kinds = scorer.check_kinds(kinds)
    tasks = {name: data for name, data in tasks.items() if data.task.kind in TEMPLATES}
    scored = {
        name: zero_shot_scores(scorer, data, data.test_splits, cache, kinds, templates) for name, data in tasks.items()
    }
    found = {
        split: retrieve(scorer, retrieval, split, cache, kinds, top_k, recordings, most_pairs)
        for split in (retrieval.test_splits if retrieval is not None else ())
    }
    report: dict[str, Any] = {"tasks": {}, "retrieval": {}, "sizes": {"tasks": {}, "retrieval": {}}}
    skipped = [item for one in found.values() for item in one.skipped]
    for name, data in tasks.items():
        skipped += [item for methods in scored[name].values() for item in next(iter(methods.values())).skipped]
        by_split = {split: _evaluate(data, split, methods, resamples, seed) for split, methods in scored[name].items()}
        report["tasks"][name] = {split: metrics for split, (metrics, _) in by_split.items()}
        report["sizes"]["tasks"][name] = {split: size for split, (_, size) in by_split.items()}
    for split, one in found.items():
        report["retrieval"][split] = one.report(resamples, seed)
        report["sizes"]["retrieval"][split] = dict(zip(("clips", "texts"), one.relevant.shape, strict=True))
    report["skipped"] = sorted({str(item) for item in skipped})
    return report


def _evaluate(
    data: TaskData, split: str, methods: Mapping[str, Predictions], resamples: int, seed: int
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the metrics by method, with those of random scores, and the numbers of evaluated clips and labels."""
    results = {method: evaluate(data, split, scores, resamples, seed) for method, scores in methods.items()}
    metrics = {method: result["metrics"] for method, result in results.items()}
    metrics[CHANCE] = _chance(data, split, next(iter(methods.values())), seed)
    return metrics, {"clips": next(iter(results.values()))["tracks"], "labels": data.task.num_outputs}


def _chance(data: TaskData, split: str, scores: Predictions, seed: int) -> dict[str, dict[str, float | None]]:
    """Return the metrics of random scores: mean and 95 % interval over draws."""
    truth, scored = align(data.targets(split), scores)
    rng = np.random.default_rng(seed)
    draws = [score(data.task.kind, truth, rng.random(scored.shape)) for _ in range(_CHANCE_DRAWS)]
    chance = {}
    for name in draws[0]:
        values = [draw[name] for draw in draws]
        low, high = np.percentile(values, COVERAGE)
        chance[name] = {"value": float(np.mean(values)), "low": float(low), "high": float(high)}
    return without_nan(chance)
