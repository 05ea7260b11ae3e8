"""A map of a split's clips by their embeddings, and how good the neighborhoods are that it is drawn from."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..embedding import Embedder
from ..errors import DataError
from ..files import format_interval, markdown_table
from ..metrics.scores import COVERAGE, without_nan
from ..synthetic import INSTRUMENT_LABELS
from ..transfer.features import FeatureCache
from ..transfer.zero_shot import clean_label, spread
from .drawing import save_picture, short
from .material import Illustration, Material

_COMPONENTS = 50  # that t-SNE starts from
_PERPLEXITY = 30.0
_MOST_CLASSES = 15  # that colors and markers tell apart
_MOST_TAGS = 12
_FEWEST = 5  # clips that have a tag
_RESAMPLES = 1000
_CLASS, _TAG, _VALUE = "class", "tag", "value"
_COLORS = 10  # of matplotlib's cycle; then the marker changes
_MARKERS = "os"
_OTHERS = "0.85"


def illustrate_map(
    models: Mapping[str, Embedder],
    material: Material,
    cache: FeatureCache,
    folder: Path,
    recordings: int,
    neighbors: int,
    seed: int,
) -> Illustration:
    """Draws `map.png` and, of data with tags, `map_tags.png`: a map per model.

    Args:
        models: by the name that they go by.
        material: the clips.
        cache: of what the backbones hear.
        folder: of the pictures.
        recordings: most of them, evenly spaced in the split; each counts once, however often it is stored.
        neighbors: how many nearest clips are asked.
        seed: of the bootstrap.

    Raises:
        DataError: there are no labels, or too few clips that have them.
    """
    features = {name: cache.features(model, material.data, material.split) for name, model in models.items()}
    labeled = [material.truth(task) for task in material.tasks]
    if not labeled:
        raise DataError(f"{material.data.folder} has no labels to color a map by (its tasks.json is empty)")
    usable = set.intersection(*(set(one.ids) for one in features.values()), *map(set, labeled))
    sounds = material.data.recordings(material.split)
    unique = {sounds[clip]: clip for clip in reversed(material.data.ids(material.split)) if clip in usable}
    clips = sorted(unique.values(), key=material.data.ids(material.split).index)
    clips = [clips[row] for row in spread(len(clips), recordings)]
    if len(clips) < neighbors + 2:
        raise DataError(
            f"{material.data.folder}: {len(clips)} clips of {material.split} that have labels and can be heard are "
            f"too few for a map with {neighbors} neighbors each; pass a smaller --neighbors"
        )
    points = {name: _standardized(one.select(clips).means().values) for name, one in features.items()}
    columns = _columns(material, clips)
    nearest = {name: nearest_neighbors(values, neighbors) for name, values in points.items()}
    agreement = {
        title: {name: agree(kind, values, near, seed) for name, near in nearest.items()}
        for title, (kind, values) in columns.items()
    }
    places = {name: place_on_plane(values) for name, values in points.items()}
    tags = {title: values for title, (kind, values) in columns.items() if kind == _TAG}
    rest = {title: column for title, column in columns.items() if title not in tags and _can_be_colored(*column)}
    pictures = []
    if rest:
        _draw_columns(places, rest, agreement, folder / "map.png")
        pictures.append("map.png")
    if tags:
        _draw_tags(places, tags, agreement, folder / "map_tags.png")
        pictures.append("map_tags.png")
    title, number = next((title, by_model[next(iter(models))]) for title, by_model in agreement.items())
    return Illustration(
        "A map of the clips",
        "\n\n".join(_sections(columns, agreement, pictures, len(clips), neighbors)),
        f"{len(clips)} clips of {material.split}; {title}: neighbors agree {format_interval(number)}, chance "
        f"{number['chance']:.3f}",
        pictures,
        {
            "clips": clips,
            "places": {name: values.round(3).tolist() for name, values in places.items()},
            "neighbors": neighbors,
            "agreement": agreement,
        },
    )


def _standardized(points: np.ndarray) -> np.ndarray:
    """Every feature with mean 0 and deviation 1 over the clips, as a probe sees them."""
    points = points.astype(np.float64)
    return (points - points.mean(axis=0)) / np.maximum(points.std(axis=0), 1e-9)


def _columns(material: Material, clips: list[str]) -> dict[str, tuple[str, np.ndarray]]:
    """Kind and truth of everything that clips can be compared by, `(clips,)` each: classes, then values, then tags."""
    columns: dict[str, dict[str, tuple[str, np.ndarray]]] = {_CLASS: {}, _VALUE: {}, _TAG: {}}
    for task in material.tasks:
        truth = np.stack([material.truth(task)[clip] for clip in clips])  # (clips, ...)
        if task.kind == "single_label":
            columns[_CLASS][task.name] = (_CLASS, np.array([clean_label(name) for name in task.classes])[truth])
        elif task.kind == "regression":
            columns[_VALUE] |= {name: (_VALUE, truth[:, index]) for index, name in enumerate(task.columns)}
        else:
            has = truth.astype(bool)
            names = [clean_label(name) for name in task.classes]
            frequent = [
                index for index in np.argsort(-has.sum(axis=0), kind="stable") if has[:, index].sum() >= _FEWEST
            ]
            instruments = [index for index in frequent if names[index] in INSTRUMENT_LABELS]
            for index in (instruments or frequent)[:_MOST_TAGS]:
                columns[_TAG][names[index]] = (_TAG, has[:, index])
    return columns[_CLASS] | columns[_VALUE] | columns[_TAG]


def _can_be_colored(kind: str, values: np.ndarray) -> bool:
    return kind == _VALUE or len(np.unique(values)) <= _MOST_CLASSES


def nearest_neighbors(points: np.ndarray, number: int) -> np.ndarray:
    """`(points, dimensions)` -> `(points, number)`, indices of the others that are nearest, the nearest first."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=number, algorithm="brute").fit(points).kneighbors(return_distance=False)


def place_on_plane(points: np.ndarray) -> np.ndarray:
    """`(points, dimensions)` -> `(points, 2)`: principal components and, from them, t-SNE (van der Maaten & Hinton,
    JMLR 2008); the same every time."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    components = PCA(min(_COMPONENTS, *points.shape), random_state=0).fit_transform(points)
    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=0, n_jobs=1).fit_transform(components)


def agree(kind: str, values: np.ndarray, nearest: np.ndarray, seed: int = 0) -> dict[str, float]:
    """How much clips are like their nearest ones.

    Args:
        kind: "class": share of the nearest that are of the clip's class; "tag": share of the nearest that have the
            tag, over the clips that have it; "value": correlation of a clip's value with the mean of the nearest
            ones'.
        values: `(clips,)`, classes, bools or numbers.
        nearest: `(clips, neighbors)`, indices.
        seed: of the bootstrap.

    Returns:
        `value`, its 95 % bootstrap interval over the clips `low` to `high`, and `chance`: of neighbors drawn by lot.
    """
    near, rows, chance = values[nearest], np.arange(len(values)), 0.0  # near: (clips, neighbors)
    if kind == _VALUE:
        theirs = near.mean(axis=1)

        def summarize(rows: np.ndarray) -> float:
            with np.errstate(invalid="ignore"):  # no number where all values are equal
                return float(np.corrcoef(values[rows], theirs[rows])[0, 1])

    else:
        alike, other_clips = (near == values[:, None]).mean(axis=1), len(values) - 1  # (clips,)
        rows = np.flatnonzero(values) if kind == _TAG else rows
        chance = float(np.mean([((values == values[row]).sum() - 1) / other_clips for row in rows]))

        def summarize(rows: np.ndarray) -> float:
            return float(alike[rows].mean())

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
    yield (
        f"Embeddings of {clips} clips, by t-SNE from {_COMPONENTS} principal components; no label is used to place "
        "them. Distances between groups mean little, the axes nothing."
    )
    for picture in pictures:
        yield f"![clips on a plane, colored by what they are]({picture})"
    yield (
        "A plane tears neighborhoods apart; the table measures them in the full space, every feature scaled by its "
        f"deviation. Of a clip's {neighbors} nearest: class, the share that is of its class; tag, the share that has "
        "the tag, over the clips that have it; value, the correlation of their mean with its own. In brackets: 95 % "
        "bootstrap intervals over the clips."
    )
    models = list(next(iter(agreement.values())))
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


def _panel(axes, title: str, number: Mapping[str, float | None], kind: str):
    """A square without ticks, and how well neighbors agree in its title."""
    if kind == _VALUE:
        value = "unknown" if number["value"] is None else f"{number['value']:.2f}"
        said = f"correlation with neighbors {value}, chance 0"
    else:
        said = f"neighbors alike {number['value']:.0%}, chance {number['chance']:.0%}"
    axes.set_title(f"{short(title, 40)}\n{said}", fontsize="medium", parse_math=False)
    axes.set(xticks=[], yticks=[], box_aspect=1)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.03)


def _draw_columns(
    places: Mapping[str, np.ndarray],
    columns: Mapping[str, tuple[str, np.ndarray]],
    agreement: Mapping[str, Mapping[str, Mapping[str, float]]],
    path: Path,
):
    """A row per model, a column per label."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.9 * len(columns), 4.3 * len(places)), layout="constrained")
    panels = figure.subplots(len(places), len(columns), squeeze=False)
    for row, (model, points) in zip(panels, places.items(), strict=True):
        for axes, (title, (kind, values)) in zip(row, columns.items(), strict=True):
            _panel(axes, title if len(places) == 1 else f"{title}, {model}", agreement[title][model], kind)
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
    places: Mapping[str, np.ndarray],
    tags: Mapping[str, np.ndarray],
    agreement: Mapping[str, Mapping[str, Mapping[str, float]]],
    path: Path,
):
    """A panel per tag, the models' panels one below the other; clips that have it stand out."""
    from matplotlib.figure import Figure

    columns = min(4, len(tags))
    lines = -(-len(tags) // columns)
    figure = Figure(figsize=(2.8 * columns, 3.3 * lines * len(places)), layout="constrained")
    for part, (model, points) in zip(
        figure.subfigures(len(places), 1, squeeze=False)[:, 0], places.items(), strict=True
    ):
        if len(places) > 1:
            part.suptitle(model, parse_math=False)
        panels = part.subplots(lines, columns, squeeze=False).flatten()
        for axes, (title, has) in zip(panels, tags.items(), strict=False):
            _panel(axes, title, agreement[title][model], _TAG)
            axes.scatter(*points[~has].T, s=5, color=_OTHERS)
            axes.scatter(*points[has].T, s=9, color="C0")
        for axes in panels[len(tags) :]:
            axes.remove()
    save_picture(figure, path)
