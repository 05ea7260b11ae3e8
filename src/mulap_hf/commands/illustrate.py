"""Illustrations from start to end: the data, the parts, and the page."""

import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ..audio import audio_seconds, load_audio
from ..embedding import Embedder
from ..errors import DataError, ModelError
from ..files import make_folder
from ..illustration.arguments import PARTS, IllustrationArguments
from ..illustration.co_attention import illustrate_attention
from ..illustration.data_split import DataSplit
from ..illustration.embedding_map import illustrate_map
from ..illustration.page import NUMBERS, PAGE, Illustration, write_page
from ..illustration.retrieval import illustrate_retrieval
from ..illustration.tag_curves import Tagger, Track, illustrate_tags, join_clips
from ..loading import saved_kind
from ..transfer.features import FeatureCache
from ..transfer.pair_scores import PairScorer, has_text_side


def illustrate(args: IllustrationArguments):
    """Draws what `training/illustrate.py` is told to.

    Raises:
        DataError: there are pictures already, or no part can be drawn.
        ModelError: a model cannot be found.
    """
    folder = Path(args.output_dir)
    check(args, folder)
    start = time.perf_counter()
    split = None if args.track is not None and args.parts == ["tags"] else open_split(args)
    make_folder(folder, "--output_dir")
    drawn, skipped = {}, {}
    for name, draw in part_drawers(args, split, folder).items():
        try:
            drawn[name] = draw()
        except (ModelError, DataError) as error:
            skipped[name] = str(error)
            print(f"skipped part {name}: {error}", file=sys.stderr)
    if not drawn:
        raise DataError("no part of --parts can be drawn; the reasons are printed above")
    facts = {
        "model": args.model,
        "tagger": args.tagger,
        "compared with": args.compare,
        "data": None if split is None else args.data or "the synthetic corpus",
        "split": None if split is None else split.split,
        "track": args.track,
        "seed": args.seed,
        "run time in seconds": round(time.perf_counter() - start),
    }
    write_page(folder, drawn, skipped, {name: fact for name, fact in facts.items() if fact is not None})
    for part in drawn.values():
        print(f"{part.title}: {part.summary}")
    print(f"wrote {PAGE}, {NUMBERS} and {sum(len(part.pictures) for part in drawn.values())} pictures to {folder}")


def check(args: IllustrationArguments, folder: Path):
    """Check the options before any computation.

    Raises:
        AudioError: The track cannot be read.
        ModelError: A model cannot be found.
        DataError: The output folder has pictures, and --overwrite_output is not given.
    """
    if (folder / NUMBERS).exists() and not args.overwrite_output:
        raise DataError(f"{folder} already has pictures; pass another --output_dir or --overwrite_output")
    for model in filter(None, (args.model, args.tagger, args.compare)):
        saved_kind(model)
    if args.track is not None:
        audio_seconds(args.track)


def open_split(args: IllustrationArguments) -> DataSplit:
    """Return the split to draw.

    Raises:
        DataError: The dataset or the split does not exist.
    """
    data = args.open_described()
    split = DataSplit(data, args.split or data.test_splits[0])
    data.ids(split.split)  # raises if the split does not exist
    return split


def part_drawers(
    args: IllustrationArguments, split: DataSplit | None, folder: Path
) -> dict[str, Callable[[], Illustration]]:
    """Return a function per requested part that draws it. Each model is loaded once, when it is first needed."""
    features = FeatureCache(args.cache_dir)
    scorer = cache(lambda: PairScorer(args.model, args.device))

    def map_of_models() -> Illustration:
        model = scorer().extractor if has_text_side(args.model) else Embedder(args.model, args.device)
        models = {Path(args.model).name: model}
        if args.compare is not None:
            name = Path(args.compare).name
            models[args.compare if name in models else name] = Embedder(args.compare, args.device)
        return illustrate_map(models, split, features, folder, args.recordings, args.neighbors, args.seed)

    def tags() -> Illustration:
        tagger = Tagger(args.tagger or args.model, args.device)
        if args.track is not None:
            track = Track(args.track, load_audio(args.track, tagger.sampling_rate))
        else:
            track = join_clips(
                split, tagger.labels, tagger.sampling_rate, args.track_seconds, args.section_seconds, args.seed
            )
        return illustrate_tags(tagger, track, folder, args.hop_seconds, args.num_tags)

    drawers = {
        "retrieval": lambda: illustrate_retrieval(
            scorer(), split, features, folder, args.recordings, args.queries, args.top_k, args.seed
        ),
        "tags": tags,
        "map": map_of_models,
        "attention": lambda: illustrate_attention(scorer(), split, folder, args.example, args.seed),
    }
    return {name: drawers[name] for name in PARTS if name in args.parts}
