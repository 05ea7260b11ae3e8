"""A two-dimensional map of the embeddings of a split, and the agreement of labels between nearest neighbors."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..embedding import Embedder
from ..errors import DataError
from ..files import format_interval, markdown_table
from ..metrics.scores import COVERAGE, without_nan
from ..synthetic import INSTRUMENT_LABELS
from ..transfer.features import FeatureCache, Features
from ..transfer.zero_shot import clean_label, spread
from .data_split import DataSplit
from .drawing import save_picture, short
from .page import Illustration

_COMPONENTS = 50  # principal components as input of t-SNE
_PERPLEXITY = 30.0
_MAX_CLASSES = 15  # that colors and markers can distinguish
_MAX_TAGS = 12
_MIN_CLIPS = 5  # with a tag
_RESAMPLES = 1000
_CLASS, _TAG, _VALUE = "class", "tag", "value"
_COLORS = 10  # in matplotlib's color cycle; the marker changes after each cycle
_MARKERS = "os"
_BACKGROUND = "0.85"


def illustrate_map(
    models: Mapping[str, Embedder],
    split: DataSplit,
    cache: FeatureCache,
    folder: Path,
    recordings: int,
    neighbors: int,
    seed: int,
) -> Illustration:
    """Draw a map of the clips per model to `map.png` (classes and values) and `map_tags.png` (tags).

    Args:
        models: Backbones by name.
        split: A split with labels.
        cache: Cache of the backbone features.
        folder: Folder of the pictures.
        recordings: Largest number of recordings, evenly spaced in the split; duplicates count once.
        neighbors: Number of nearest neighbors.
        seed: Seed of the bootstrap.

    Raises:
        DataError: The dataset has no labels, or too few clips have labels and can be decoded.
    """
    features = {name: cache.features(model, split.data, split.split) for name, model in models.items()}
    clips = _labeled_clips(split, features, recordings)
    if len(clips) < neighbors + 2:
        raise DataError(
            f"{split.data.folder}: only {len(clips)} clips of {split.split} have labels and can be decoded, which is "
            f"too few for a map with {neighbors} neighbors; pass a smaller --neighbors"
        )
    embeddings = {name: _standardized(one.select(clips).means().values) for name, one in features.items()}
    columns = _columns(split, clips)
    nearest = {name: nearest_neighbors(values, neighbors) for name, values in embeddings.items()}
    agreement = {
        title: {name: neighbor_agreement(kind, values, near, seed) for name, near in nearest.items()}
        for title, (kind, values) in columns.items()
    }
    positions = {name: project(values) for name, values in embeddings.items()}
    pictures = _draw(positions, columns, agreement, folder)
    title, number = next((title, by_model[next(iter(models))]) for title, by_model in agreement.items())
    return Illustration(
        "A map of the clips",
        "\n\n".join(_sections(columns, agreement, pictures, len(clips), neighbors)),
        f"{len(clips)} clips of {split.split}; agreement of nearest neighbors in {title}: {format_interval(number)}, "
        f"chance {number['chance']:.3f}",
        pictures,
        {
            "clips": clips,
            "positions": {name: values.round(3).tolist() for name, values in positions.items()},
            "neighbors": neighbors,
            "agreement": agreement,
        },
    )


def _labeled_clips(split: DataSplit, features: Mapping[str, Features], recordings: int) -> list[str]:
    """Return the ids of at most `recordings` distinct recordings that have features of all models and all labels."""
    labeled = [split.truth(task) for task in split.tasks]
    if not labeled:
        raise DataError(
            f"{split.data.folder} has no labels for the colors of a map: its tasks.json is empty; pass --data with a "
            "labeled dataset"
        )
    usable = set.intersection(*(set(one.ids) for one in features.values()), *map(set, labeled))
    ids, recording_of = split.data.ids(split.split), split.data.recordings(split.split)
    first_clips = {recording_of[clip]: clip for clip in reversed(ids) if clip in usable}
    clips = sorted(first_clips.values(), key=ids.index)
    return [clips[row] for row in spread(len(clips), recordings)]


def _standardized(embeddings: np.ndarray) -> np.ndarray:
    """Return the embeddings with mean 0 and standard deviation 1 in each dimension, as the input of a probe."""
    embeddings = embeddings.astype(np.float64)
    return (embeddings - embeddings.mean(axis=0)) / np.maximum(embeddings.std(axis=0), 1e-9)


def _columns(split: DataSplit, clips: list[str]) -> dict[str, tuple[str, np.ndarray]]:
    """Return the kind and the labels `(clips,)` of everything to color by: classes, then values, then tags."""
    columns: dict[str, dict[str, tuple[str, np.ndarray]]] = {_CLASS: {}, _VALUE: {}, _TAG: {}}
    for task in split.tasks:
        truth = np.stack([split.truth(task)[clip] for clip in clips])  # (clips, ...)
        if task.kind == "single_label":
            columns[_CLASS][task.name] = (_CLASS, np.array([clean_label(name) for name in task.classes])[truth])
        elif task.kind == "regression":
            columns[_VALUE] |= {name: (_VALUE, truth[:, index]) for index, name in enumerate(task.columns)}
        else:
            has = truth.astype(bool)
            names = [clean_label(name) for name in task.classes]
            frequent = [
                index for index in np.argsort(-has.sum(axis=0), kind="stable") if has[:, index].sum() >= _MIN_CLIPS
            ]
            instruments = [index for index in frequent if names[index] in INSTRUMENT_LABELS]
            for index in (instruments or frequent)[:_MAX_TAGS]:
                columns[_TAG][names[index]] = (_TAG, has[:, index])
    return columns[_CLASS] | columns[_VALUE] | columns[_TAG]


def nearest_neighbors(points: np.ndarray, number: int) -> np.ndarray:
    """Return the indices of the nearest other points by Euclidean distance, the nearest first.

    Args:
        points: `(points, dimensions)`.
        number: Number of neighbors.

    Returns:
        `(points, number)`.
    """
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=number, algorithm="brute").fit(points).kneighbors(return_distance=False)


def project(points: np.ndarray) -> np.ndarray:
    """Project points to two dimensions: `(points, dimensions)` -> `(points, 2)`, deterministically.

    PCA to 50 components is followed by t-SNE (van der Maaten & Hinton, JMLR 2008).
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    components = PCA(min(_COMPONENTS, *points.shape), random_state=0).fit_transform(points)
    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=0, n_jobs=1).fit_transform(components)


def neighbor_agreement(kind: str, values: np.ndarray, nearest: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Return how well the labels of clips agree with those of their nearest neighbors.

    Args:
        kind: "class", the fraction of neighbors of the same class; "tag", the fraction of neighbors with the tag, over
            the clips that have it; "value", the correlation of the value of a clip with the mean of its neighbors.
        values: Classes, bools or values, `(clips,)`.
        nearest: Indices of the neighbors, `(clips, neighbors)`.
        seed: Seed of the bootstrap.

    Returns:
        `value`; `low` and `high`, its 95 % bootstrap interval over the clips; `chance`, the expected value for random
        neighbors. A correlation of constant values is None.
    """
    near, rows, chance = values[nearest], np.arange(len(values)), 0.0  # near: (clips, neighbors)
    if kind == _VALUE:
        neighbor_means = near.mean(axis=1)

        def summarize(rows: np.ndarray) -> float:
            with np.errstate(invalid="ignore"):  # NaN for constant values
                return float(np.corrcoef(values[rows], neighbor_means[rows])[0, 1])

    else:
        equal, other_clips = (near == values[:, None]).mean(axis=1), len(values) - 1  # equal: (clips,)
        rows = np.flatnonzero(values) if kind == _TAG else rows
        chance = float(np.mean([((values == values[row]).sum() - 1) / other_clips for row in rows]))

        def summarize(rows: np.ndarray) -> float:
            return float(equal[rows].mean())

    rng = np.random.default_rng(seed)
    low, high = np.percentile([summarize(rng.choice(rows, len(rows))) for _ in range(_RESAMPLES)], COVERAGE)
    return without_nan({"value": summarize(rows), "low": float(low), "high": float(high), "chance": chance})


def _sections(
    columns: Mapping[str, tuple[str, np.ndarray]],
    agreement: Mapping[str, Mapping[str, Mapping[str, float]]],
    pictures: list[str],
    clips: int,
    neighbors: int,
) -> Iterator[str]:
    """Yield the Markdown paragraphs of the section."""
    models = list(next(iter(agreement.values())))
    yield (
        f"Agreement of each clip with its {neighbors} nearest neighbors in the full embedding space (each dimension "
        "standardized), with 95 % bootstrap intervals over the clips:"
    )
    yield markdown_table(
        ("label", "kind", *models, "chance"),
        (
            (
                title,
                columns[title][0],
                *(format_interval(by_model[name]) for name in models),
                f"{by_model[models[0]]['chance']:.3f}",
            )
            for title, by_model in agreement.items()
        ),
    )
    yield (
        "* class: the fraction of neighbors of the same class.\n"
        "* value: the correlation of the value of a clip with the mean of its neighbors.\n"
        "* tag: the fraction of neighbors with the tag, over the clips that have it."
    )
    for picture in pictures:
        yield f"![map of the clips, colored by their labels]({picture})"
    yield (
        f"The maps show the embeddings of {clips} clips in two dimensions, by t-SNE from {_COMPONENTS} principal "
        "components. Labels set only the colors, not the positions. Distances between groups have little meaning; the "
        "axes have none."
    )


def _draw(
    positions: Mapping[str, np.ndarray],
    columns: Mapping[str, tuple[str, np.ndarray]],
    agreement: Mapping[str, Mapping[str, Mapping[str, float]]],
    folder: Path,
) -> list[str]:
    """Draw `map.png` for classes and values and `map_tags.png` for tags; return the names of the drawn files."""
    tags = {title: values for title, (kind, values) in columns.items() if kind == _TAG}
    others = {
        title: (kind, values)
        for title, (kind, values) in columns.items()
        if kind == _VALUE or (kind == _CLASS and len(np.unique(values)) <= _MAX_CLASSES)
    }
    if others:
        _draw_columns(positions, others, agreement, folder / "map.png")
    if tags:
        _draw_tags(positions, tags, agreement, folder / "map_tags.png")
    return ["map.png"] * bool(others) + ["map_tags.png"] * bool(tags)


def _format_panel(axes, title: str, number: Mapping[str, float | None], kind: str):
    """Make a square panel without ticks, with the agreement of neighbors in its title."""
    if kind == _VALUE:
        value = "unknown" if number["value"] is None else f"{number['value']:.2f}"
        agreement = f"correlation with neighbors {value}, chance 0"
    else:
        agreement = f"neighbors agree {number['value']:.0%}, chance {number['chance']:.0%}"
    axes.set_title(f"{short(title, 40)}\n{agreement}", fontsize="medium", parse_math=False)
    axes.set(xticks=[], yticks=[], box_aspect=1)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.03)


def _draw_columns(
    positions: Mapping[str, np.ndarray],
    columns: Mapping[str, tuple[str, np.ndarray]],
    agreement: Mapping[str, Mapping[str, Mapping[str, float]]],
    path: Path,
):
    """Draw a row of panels per model and a column of panels per label."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.9 * len(columns), 4.3 * len(positions)), layout="constrained")
    panels = figure.subplots(len(positions), len(columns), squeeze=False)
    for row, (model, points) in zip(panels, positions.items(), strict=True):
        for axes, (title, (kind, values)) in zip(row, columns.items(), strict=True):
            _format_panel(axes, title if len(positions) == 1 else f"{title}, {model}", agreement[title][model], kind)
            if kind == _VALUE:
                spots = axes.scatter(*points.T, c=values, cmap="viridis", s=14)
                figure.colorbar(spots, ax=axes, shrink=0.8)
                continue
            for index, name in enumerate(np.unique(values)):
                style = {"color": f"C{index % _COLORS}", "marker": _MARKERS[index // _COLORS]}
                axes.scatter(*points[values == name].T, s=20, linewidths=0, label=short(name), **style)
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small", frameon=False)
    save_picture(figure, path)


def _draw_tags(
    positions: Mapping[str, np.ndarray],
    tags: Mapping[str, np.ndarray],
    agreement: Mapping[str, Mapping[str, Mapping[str, float]]],
    path: Path,
):
    """Draw a panel per tag and model, with the clips that have the tag in color."""
    from matplotlib.figure import Figure

    columns = min(4, len(tags))
    lines = -(-len(tags) // columns)
    figure = Figure(figsize=(2.8 * columns, 3.3 * lines * len(positions)), layout="constrained")
    for part, (model, points) in zip(
        figure.subfigures(len(positions), 1, squeeze=False)[:, 0], positions.items(), strict=True
    ):
        if len(positions) > 1:
            part.suptitle(model, parse_math=False)
        panels = part.subplots(lines, columns, squeeze=False).flatten()
        for axes, (title, has) in zip(panels, tags.items(), strict=False):
            _format_panel(axes, title, agreement[title][model], _TAG)
            axes.scatter(*points[~has].T, s=5, color=_BACKGROUND)
            axes.scatter(*points[has].T, s=9, color="C0")
        for axes in panels[len(tags) :]:
            axes.remove()
    save_picture(figure, path)
