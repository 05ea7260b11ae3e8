"""Retrieval examples: the results of random descriptions, and the ranks of all descriptions."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from ..files import markdown_table, printable
from ..metrics.retrieval import RANKS, score_queries
from ..transfer.features import FeatureCache
from ..transfer.pair_scores import CONTRASTIVE, MATCHING, PairScorer
from ..transfer.zero_shot import MOST_PAIRS, RERANKED, TEXT_TO_AUDIO, Retrieval, retrieve
from .data_split import DataSplit
from .drawing import draw_log_mel, save_picture, short
from .page import Illustration

_NUM_RESULTS = 5  # per query
_ORDERS = {
    CONTRASTIVE: "by cosine similarity",
    MATCHING: "by the log-odds of a match",
    RERANKED: "by cosine similarity, with the first {top_k} re-ranked by the log-odds of a match",
}
_TARGET_COLOR, _OTHER_COLOR = "#1a7f37", "0.55"
_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def illustrate_retrieval(
    scorer: PairScorer,
    split: DataSplit,
    cache: FeatureCache,
    folder: Path,
    recordings: int,
    queries: int,
    top_k: int,
    seed: int,
) -> Illustration:
    """Draw the results of random descriptions (`retrieval_N.png`) and the ranks of all (`retrieval_ranks.png`).

    The targets of a description are the recordings that it belongs to.

    Args:
        scorer: The model.
        split: A split with descriptions.
        cache: Cache of the backbone features.
        folder: Folder of the pictures.
        recordings: Largest number of recordings to search.
        queries: Number of descriptions whose results are drawn.
        top_k: Number of results that the matching scores re-rank.
        seed: Random seed of the choice of descriptions.

    Raises:
        DataError: The split has no descriptions, or the model has no scores of pairs of clips and texts.
    """
    kinds = scorer.check_kinds()
    # A model without contrastive scores has no shortlist to re-rank: it scores all pairs.
    most_pairs = 0 if CONTRASTIVE in kinds else MOST_PAIRS
    found = retrieve(scorer, split.data, split.split, cache, kinds, top_k, recordings, most_pairs)
    methods = {name: scores for name, scores in found.methods[TEXT_TO_AUDIO].items() if name in _ORDERS}
    metrics = {name: score_queries(scores, found.relevant.T) for name, scores in methods.items()}
    ranks = {name: values["rank"] for name, values in metrics.items()}
    number = min(queries, len(found.texts))
    chosen = np.random.default_rng(seed).choice(len(found.texts), number, replace=False)
    examples = [_example(found, methods, ranks, int(query), split) for query in chosen]
    pictures = _draw_examples(examples, split, scorer, len(found.names), top_k, folder)
    chance = chance_recall(found.relevant.sum(axis=0), len(found.names))
    _draw_ranks(ranks, chance, folder / "retrieval_ranks.png")
    recall = {name: {f"r{k}": float(values[f"r{k}"].mean()) for k in RANKS} for name, values in metrics.items()}
    recall["chance"] = {f"r{k}": float(chance[min(k, len(chance)) - 1]) for k in RANKS}
    numbers = {
        "recordings": len(found.names),
        "descriptions": len(found.texts),
        "queries": examples,
        "ranks": {name: values.tolist() for name, values in ranks.items()},
        "recall": recall,
        "median_rank": {name: float(np.median(values)) for name, values in ranks.items()},
    }
    return Illustration(
        "Retrieval of recordings by their description",
        "\n\n".join(_sections(numbers, pictures, split)),
        f"{len(found.texts)} descriptions, {len(found.names)} recordings: the target is among the first 10 results "
        f"for {recall[list(methods)[-1]]['r10']:.1%} of the descriptions (chance {recall['chance']['r10']:.1%})",
        [*pictures, "retrieval_ranks.png"],
        numbers,
    )


def chance_recall(num_targets: np.ndarray, items: int) -> np.ndarray:
    """Return the expected fraction of queries with a target among the first 1, 2, ... items of a random order.

    Args:
        num_targets: Number of targets of each query, `(queries,)`.
        items: Number of items.

    Returns:
        `(items,)`.
    """
    places = np.arange(items)
    missed = np.clip((items - num_targets[:, None] - places) / (items - places), 0, 1).cumprod(axis=1)
    return 1 - missed.mean(axis=0)  # missed: (queries, items)


def _example(
    found: Retrieval,
    methods: Mapping[str, np.ndarray],
    ranks: Mapping[str, np.ndarray],
    query: int,
    split: DataSplit,
) -> dict[str, Any]:
    """Return the first results of a query by method, and the first target if it is not among them."""
    targets, results = found.relevant[:, query], {}
    for method, scores in methods.items():
        order = np.argsort(-scores[query], kind="stable")
        places = list(range(min(_NUM_RESULTS, len(order))))
        first_target = int(np.flatnonzero(targets[order])[0])
        if first_target not in places:
            places.append(first_target)
        results[method] = [
            {
                "rank": place + 1,
                "id": found.names[order[place]],
                "target": bool(targets[order[place]]),
                **_scores(found, methods, query, int(order[place])),
                "description": split.captions[found.names[order[place]]],
                "labels": split.labels(found.names[order[place]]),
            }
            for place in places
        ]
    return {
        "description": found.texts[query],
        "target_rank": {method: float(values[query]) for method, values in ranks.items()},
        "results": results,
    }


def _scores(found: Retrieval, methods: Mapping[str, np.ndarray], query: int, clip: int) -> dict[str, float]:
    """Return the available scores of a pair: "similarity" and "log_odds"."""
    scores = {}
    if CONTRASTIVE in methods:
        scores["similarity"] = float(methods[CONTRASTIVE][query, clip])
    if found.matching is not None and np.isfinite(found.matching[clip, query]):
        scores["log_odds"] = float(found.matching[clip, query])
    return scores


def _sections(numbers: Mapping[str, Any], pictures: list[str], split: DataSplit) -> Iterator[str]:
    """Yield the Markdown paragraphs of the section."""
    yield (
        f"Each description of the split `{split.split}` is a query for {numbers['recordings']} recordings. Its target "
        "is the recording that it describes. Other recordings may fit the description as well, but count as wrong."
    )
    rows = [
        (method, *(f"{values[f'r{k}']:.1%}" for k in RANKS), numbers["median_rank"].get(method, ""))
        for method, values in numbers["recall"].items()
    ]
    yield markdown_table(
        ("method", *(f"target among the first {k}" for k in RANKS), "median rank of the target"), rows
    )
    yield "![fraction of descriptions whose target is among the first results](retrieval_ranks.png)"
    yield (
        f"The following {len(pictures)} descriptions were chosen at random. Each picture shows the first "
        f"{_NUM_RESULTS} results, and the target if it has a lower rank."
    )
    for number, (query, picture) in enumerate(zip(numbers["queries"], pictures, strict=True), start=1):
        ranks = ", ".join(f"{rank:g} ({method})" for method, rank in query["target_rank"].items())
        yield f"### Description {number}"
        yield f"> {printable(query['description'])}"
        yield f"Rank of the target among {numbers['recordings']} recordings: {ranks}."
        yield f"![spectrograms of the results for description {number}]({picture})"


def _draw_examples(
    examples: list[dict[str, Any]], split: DataSplit, scorer: PairScorer, items: int, top_k: int, folder: Path
) -> list[str]:
    """Draw one picture per query; return the names of the files."""
    clips = {result["id"] for query in examples for results in query["results"].values() for result in results}
    waveforms = split.waveforms(clips, scorer.extractor.sampling_rate)
    pictures = [f"retrieval_{number}.png" for number in range(1, len(examples) + 1)]
    for name, query in zip(pictures, examples, strict=True):
        _draw_query(query, waveforms, scorer, items, top_k, folder / name)
    return pictures


def _draw_query(query: dict, waveforms: dict, scorer: PairScorer, items: int, top_k: int, path: Path):
    """Draw a row of panels per method, with one panel per result."""
    from matplotlib.figure import Figure

    columns = max(len(results) for results in query["results"].values())
    figure = Figure(figsize=(2.7 * columns + 0.3, 3.3 * len(query["results"]) + 0.6), layout="constrained")
    title = "\n".join(wrap(short(f"“{query['description']}”", 300), 26 * columns))
    figure.suptitle(title, fontsize="large", parse_math=False)
    rows = figure.subfigures(len(query["results"]), 1, squeeze=False)[:, 0]
    for row, (method, results) in zip(rows, query["results"].items(), strict=True):
        order = _ORDERS[method].format(top_k=top_k)
        row.suptitle(f"{order}: target at rank {query['target_rank'][method]:g} of {items}", fontsize="medium")
        panels = row.subplots(1, columns, squeeze=False)[0]
        for axes, result in zip(panels, results, strict=False):
            _draw_result(axes, result, waveforms[result["id"]], scorer)
        for axes in panels[1 : len(results)]:
            axes.tick_params(labelleft=False)
        panels[0].set_ylabel("kHz")
        for axes in panels[len(results) :]:
            axes.set_axis_off()
    save_picture(figure, path, palette=True)


def _draw_result(axes, result: dict, waveform: np.ndarray, scorer: PairScorer):
    """Draw the spectrogram of a result with its rank, scores, description and labels; the target has a green frame."""
    draw_log_mel(axes, scorer.extractor.model, waveform)
    color = _TARGET_COLOR if result["target"] else _OTHER_COLOR
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=4 if result["target"] else 1)
    names = {"similarity": "similarity", "log_odds": "log-odds"}
    scores = ", ".join(f"{name} {result[key]:.3f}" for key, name in names.items() if key in result)
    mark = " ✓ target" if result["target"] else ""
    weight = "bold" if result["target"] else "normal"
    axes.set_title(f"rank {result['rank']}{mark}\n{scores}", fontsize="small", fontweight=weight)
    lines = [f"“{result['description']}”", *result["labels"]]
    text = "\n".join("\n".join(wrap(short(line, 140), 34)) for line in lines)
    axes.set_xlabel(f"time (s)\n{text}", fontsize="x-small", parse_math=False)


def _draw_ranks(ranks: Mapping[str, np.ndarray], chance: np.ndarray, path: Path):
    """Draw the fraction of queries with a target among the first k items, for every k."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    places = np.arange(1, len(chance) + 1)
    for method, values in ranks.items():
        recall = (values[:, None] <= places).mean(axis=0)
        axes.plot(places, recall, label=f"{method} (median rank {np.median(values):g})")
    axes.plot(places, chance, color="0.4", linestyle="--", label="chance")
    axes.set_xscale("log")
    ticks = [place for place in _TICKS if place <= len(chance)]
    axes.set_xticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.set(xlabel=f"k, of {len(chance)} recordings", ylabel="descriptions with the target among the first k")
    axes.set(xlim=(1, len(chance)), ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(lambda fraction, _: f"{fraction:.0%}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left")
    save_picture(figure, path)
