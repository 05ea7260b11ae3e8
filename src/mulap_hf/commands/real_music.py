"""The benchmark on real recordings from start to end: recordings, features, scores, and the report."""

import sys
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from ..data.schema import Skipped
from ..embedding import Embedder
from ..errors import DataError
from ..files import make_folder
from ..illustration.tag_curves import Tagger
from ..real_music.arguments import RealMusicArguments
from ..real_music.excerpts import Excerpts, PartFeatures
from ..real_music.layout import FOLDS, SOUNDTRACKS, find_parts
from ..real_music.measures import Measured, measure
from ..real_music.models import name_models, open_model
from ..real_music.reliability import measure_reliability
from ..real_music.report import write_report
from ..real_music.results import collect_results
from ..real_music.tags import tag_tracks
from ..real_music.training import training_options
from ..transfer.features import Extractor, FeatureCache
from ..transfer.tasks import open_synthetic_task

_CLIP_SECONDS = 9.0  # of the synthetic corpus, as in transfer.py


def real_music(args: RealMusicArguments) -> int:
    """Evaluate models on real recordings; the main function of `training/real_music.py`.

    Returns:
        The exit status: 1 if a recording could not be decoded, else 0.

    Raises:
        DataError: There are no recordings, or an option cannot be used.
        ModelError: A model cannot be loaded.
    """
    models = name_models(args.models)
    references = args.reference or [list(models)[-1]]
    for name in references:
        if name not in models:
            raise DataError(f"--reference {name}: not one of the models; choose from {', '.join(models)}")
    parts, missing = find_parts(args.data, args.half, args.notes_per_class)
    folder = make_folder(args.output, "--output")
    for reason in missing.values():
        print(f"note: {reason}", file=sys.stderr)
    excerpts = {name: Excerpts(part, Path(args.data)) for name, part in parts.items()}
    cache = FeatureCache(args.cache_dir)
    facts: dict[str, dict[str, Any]] = {}
    runs: dict[str, dict[str, list[Measured]]] = {name: {pooling: [] for pooling in args.poolings} for name in models}
    data: dict[str, PartFeatures] = {}
    for name, seeds in models.items():
        for number, model in enumerate(seeds):
            title = f"{name}, seed {number + 1} of {len(seeds)}" if len(seeds) > 1 else name
            print(f"{title}: features", flush=True)
            extractor = open_model(model, args.device, args.seed + number)
            facts.setdefault(name, _facts(model, extractor))
            data = {part: one.features(extractor, cache) for part, one in excerpts.items()}
            print(f"{title}: probes and neighbors", flush=True)
            for pooling, measured in _measure(args, data, extractor.fingerprint, cache).items():
                runs[name][pooling].append(measured)
    results = collect_results(args, parts, data, facts, runs, references)
    if args.tagger is not None:
        results |= _tags(args, excerpts, cache)
    undecoded = [item for one in data.values() for item in one.skipped]
    skipped: list[Skipped] = [item for part in parts.values() for item in part.skipped] + undecoded
    reports = [folder / "real_music.md", *([Path(args.page)] if args.page else [])]
    for path in reports:
        make_folder(path.parent, "--page")
        write_report(path, results, skipped, missing, FOLDS)
    for item in undecoded:
        print(f"left out: {item}", file=sys.stderr)
    print(f"Read {reports[-1]}")
    return 1 if undecoded else 0


def _measure(
    args: RealMusicArguments, data: dict[str, PartFeatures], fingerprint: str, cache: FeatureCache
) -> dict[str, Measured]:
    """Return the scores of a model by pooling."""
    sizes = (args.labels_per_class, args.draws, args.seed, cache.directory / "real_music")
    with threadpool_limits(1):  # the matrices are small, and threads that wait for each other slow them down
        return {pooling: measure(data, fingerprint, pooling, *sizes) for pooling in args.poolings}


def _tags(args: RealMusicArguments, excerpts: dict[str, Excerpts], cache: FeatureCache) -> dict[str, Any]:
    """Return the results `reliability` and `tags` of --tagger."""
    print(f"{args.tagger}: calibration and tags", flush=True)
    tagger = Tagger(args.tagger, args.device)
    data = open_synthetic_task(args.tagger_task, args.corpus_dir, args.corpus_clips, _CLIP_SECONDS, True)
    found: dict[str, Any] = {"reliability": measure_reliability(tagger, data, cache, args.resamples, args.seed)}
    if SOUNDTRACKS in excerpts:
        found["tags"] = tag_tracks(tagger, excerpts[SOUNDTRACKS], cache, found["reliability"]["temperature"])
    return found


def _facts(model: str, extractor: Extractor) -> dict[str, Any]:
    parameters = None
    if isinstance(extractor, Embedder):
        parameters = sum(weight.numel() for weight in extractor.model.parameters())
    return {
        "model": model,
        "fingerprint": extractor.fingerprint,
        "features": extractor.feature_size,
        "parameters": parameters,
        "training": training_options(model),
    }
