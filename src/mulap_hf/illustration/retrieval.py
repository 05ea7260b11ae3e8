"""Retrieval examples: descriptions drawn by lot, the first recordings found for each, and the ranks of all."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from ..files import markdown_table, printable
from ..metrics.retrieval import RANKS, score_queries
from ..transfer.features import FeatureCache
from ..transfer.pair_scores import CONTRASTIVE, MATCHING, PairScorer
from ..transfer.zero_shot import MOST_PAIRS, RERANKED, TEXT_TO_AUDIO, Retrieval, retrieve
from .drawing import draw_log_mel, save_picture, short
from .material import Illustration, Material

_SHOWN = 5  # results of a query
_ORDERS = {
    CONTRASTIVE: "by similarity in the shared space",
    MATCHING: "by the log-odds of a match",
    RERANKED: "the first {top_k} of these, re-ranked by the log-odds of a match",
}
_RIGHT, _WRONG = "#1a7f37", "0.55"


def illustrate_retrieval(
    scorer: PairScorer,
    material: Material,
    cache: FeatureCache,
    folder: Path,
    recordings: int,
    queries: int,
    top_k: int,
    seed: int,
) -> Illustration:
    """Draws `retrieval_N.png` of each query, and `retrieval_ranks.png` of all.

    Args:
        scorer: the model.
        material: has descriptions.
        cache: of what the backbone hears.
        folder: of the pictures.
        recordings: most of them to find among.
        queries: how many are shown.
        top_k: see `retrieve`.
        seed: of the draw.

    Raises:
        DataError: there are no descriptions, or the model has no scores of texts.
    """
    kinds = scorer.check_kinds()
    # Without a shared space there is nothing to make a shortlist by: all pairs are matched.
    most_pairs = 0 if CONTRASTIVE in kinds else MOST_PAIRS
    found = retrieve(scorer, material.data, material.split, cache, kinds, top_k, recordings, most_pairs)
    methods = {name: scores for name, scores in found.methods[TEXT_TO_AUDIO].items() if name in _ORDERS}
    measured = {name: score_queries(scores, found.right.T) for name, scores in methods.items()}
    ranks = {name: values["rank"] for name, values in measured.items()}
    number = min(queries, len(found.texts))
    drawn = np.random.default_rng(seed).choice(len(found.texts), number, replace=False)
    shown = [_query(found, methods, ranks, int(query), material) for query in drawn]
    clips = {result["id"] for query in shown for results in query["results"].values() for result in results}
    waveforms = material.waveforms(clips, scorer.extractor.sampling_rate)
    pictures = [f"retrieval_{place}.png" for place in range(1, number + 1)]
    for name, query in zip(pictures, shown, strict=True):
        _draw_query(query, waveforms, scorer, len(found.names), top_k, folder / name)
    chance = chance_recall(found.right.sum(axis=0), len(found.names))
    _draw_ranks(ranks, chance, folder / "retrieval_ranks.png")
    last = list(methods)[-1]
    recall = {name: {f"r{k}": float(values[f"r{k}"].mean()) for k in RANKS} for name, values in measured.items()}
    numbers = {
        "recordings": len(found.names),
        "descriptions": len(found.texts),
        "queries": shown,
        "ranks": {name: values.tolist() for name, values in ranks.items()},
        "recall": recall | {"chance": {f"r{k}": float(chance[min(k, len(chance)) - 1]) for k in RANKS}},
        "median_rank": {name: float(np.median(values)) for name, values in ranks.items()},
    }
    return Illustration(
        "Retrieval: recordings by their description",
        "\n\n".join(_sections(numbers, pictures, material)),
        f"{number} of {len(found.texts)} descriptions, drawn by lot, and the first {_SHOWN} of {len(found.names)} "
        f"recordings found for each; of all, {recall[last]['r10']:.1%} have a right one among the first ten "
        f"(chance {chance[min(10, len(chance)) - 1]:.1%})",
        [*pictures, "retrieval_ranks.png"],
        numbers,
    )


def chance_recall(right: np.ndarray, items: int) -> np.ndarray:
    """Expected share of queries with a right item among the first 1, 2, ... of a random order: `(items,)`.

    Args:
        right: `(queries,)`, how many right items each has.
        items: how many there are.
    """
    places = np.arange(items)
    missed = np.clip((items - right[:, None] - places) / (items - places), 0, 1).cumprod(axis=1)  # (queries, items)
    return 1 - missed.mean(axis=0)


def _query(
    found: Retrieval,
    methods: Mapping[str, np.ndarray],
    ranks: Mapping[str, np.ndarray],
    query: int,
    material: Material,
) -> dict[str, Any]:
    """What was found for a description: the first results, and behind them the first right one if it is not there."""
    right, results = found.right[:, query], {}
    for method, scores in methods.items():
        order = np.argsort(-scores[query], kind="stable")
        places = list(range(min(_SHOWN, len(order))))
        first_right = int(np.flatnonzero(right[order])[0])
        if first_right not in places:
            places.append(first_right)
        results[method] = [
            {
                "place": place + 1,
                "id": found.names[order[place]],
                "right": bool(right[order[place]]),
                **_scores(found, methods, query, int(order[place])),
                "description": material.captions[found.names[order[place]]],
                "labels": material.labels(found.names[order[place]]),
            }
            for place in places
        ]
    return {
        "description": found.texts[query],
        "rank": {method: float(values[query]) for method, values in ranks.items()},
        "results": results,
    }


def _scores(found: Retrieval, methods: Mapping[str, np.ndarray], query: int, clip: int) -> dict[str, float]:
    scores = {}
    if CONTRASTIVE in methods:
        scores["similarity"] = float(methods[CONTRASTIVE][query, clip])
    if found.matching is not None and np.isfinite(found.matching[clip, query]):
        scores["log_odds"] = float(found.matching[clip, query])
    return scores


def _sections(numbers: Mapping[str, Any], pictures: list[str], material: Material):
    yield (
        f"The descriptions are drawn by lot, not chosen by success. Each is looked for among {numbers['recordings']} "
        f"recordings of the split {material.split}; shown are the first {_SHOWN} and, where it is not among them, the "
        "right one. Several recordings may fit a description as well as the right one does, and count as wrong."
    )
    for place, (query, picture) in enumerate(zip(numbers["queries"], pictures, strict=True), start=1):
        ranks = ", ".join(f"{method} {rank:g}" for method, rank in query["rank"].items())
        yield f"### Description {place}"
        yield f"> {printable(query['description'])}"
        yield f"Rank of the right recording: {ranks} of {numbers['recordings']}."
        yield f"![spectrograms of what was found for the description {place}]({picture})"
    yield "### All descriptions"
    rows = [
        (method, *(f"{values[f'r{k}']:.1%}" for k in RANKS), numbers["median_rank"].get(method, ""))
        for method, values in numbers["recall"].items()
    ]
    yield markdown_table(("order", *(f"right one among the first {k}" for k in RANKS), "median rank"), rows)
    yield "![share of descriptions by the rank of the right recording](retrieval_ranks.png)"


def _draw_query(query: dict, waveforms: dict, scorer: PairScorer, items: int, top_k: int, path: Path):
    """A row per order, a column per result."""
    from matplotlib.figure import Figure

    columns = max(len(results) for results in query["results"].values())
    figure = Figure(figsize=(2.7 * columns + 0.3, 3.3 * len(query["results"]) + 0.6), layout="constrained")
    title = "\n".join(wrap(short(f"“{query['description']}”", 300), 26 * columns))
    figure.suptitle(title, fontsize="large", parse_math=False)
    rows = figure.subfigures(len(query["results"]), 1, squeeze=False)[:, 0]
    for row, (method, results) in zip(rows, query["results"].items(), strict=True):
        order = _ORDERS[method].format(top_k=top_k)
        row.suptitle(f"{order}: right one at rank {query['rank'][method]:g} of {items}", fontsize="medium")
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
    draw_log_mel(axes, scorer.extractor.model, waveform)
    color = _RIGHT if result["right"] else _WRONG
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=4 if result["right"] else 1)
    names = {"similarity": "similarity", "log_odds": "log-odds"}
    scores = ", ".join(f"{name} {result[key]:.3f}" for key, name in names.items() if key in result)
    mark = " ✓ the right one" if result["right"] else ""
    weight = "bold" if result["right"] else "normal"
    axes.set_title(f"rank {result['place']}{mark}\n{scores}", fontsize="small", fontweight=weight)
    lines = [f"“{result['description']}”", *result["labels"]]
    text = "\n".join("\n".join(wrap(short(line, 140), 34)) for line in lines)
    axes.set_xlabel(f"seconds\n{text}", fontsize="x-small", parse_math=False)


def _draw_ranks(ranks: Mapping[str, np.ndarray], chance: np.ndarray, path: Path):
    """Share of the queries with a right item among the first so many, for every number."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    places = np.arange(1, len(chance) + 1)
    for method, values in ranks.items():
        share = (values[:, None] <= places).mean(axis=0)
        axes.plot(places, share, label=f"{method} (median rank {np.median(values):g})")
    axes.plot(places, chance, color="0.4", linestyle="--", label="chance")
    axes.set_xscale("log")
    ticks = [place for place in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if place <= len(chance)]
    axes.set_xticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.set(xlabel=f"first so many of {len(chance)} recordings", ylabel="descriptions with a right one among them")
    axes.set(xlim=(1, len(chance)), ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left")
    save_picture(figure, path)
