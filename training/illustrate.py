"""Pictures of what a model has learned, on held-out clips, and a page that explains them.

python training/illustrate.py --model outputs/pretrained --tagger outputs/transferred       # the synthetic corpus
python training/illustrate.py --model DIR --data prepared/song_describer --parts retrieval attention
python training/illustrate.py --model DIR --tagger DIR --parts tags --track song.mp3

Retrieval examples, tags over a track, a map of the clips, and the co-attention of one of them. What the model or the
data cannot give is left out, and the page says why.
"""

import os

# Threads that wait must not keep the cores from decoding; it is read when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from transformers import HfArgumentParser

from mulap_hf.audio import audio_seconds, load_audio
from mulap_hf.embedding import Embedder
from mulap_hf.errors import AudioError, DataError, ModelError
from mulap_hf.illustration.arguments import PARTS, IllustrationArguments
from mulap_hf.illustration.co_attention import illustrate_attention
from mulap_hf.illustration.embedding_map import illustrate_map
from mulap_hf.illustration.material import Illustration, Material
from mulap_hf.illustration.page import NUMBERS, PAGE, write_page
from mulap_hf.illustration.retrieval import illustrate_retrieval
from mulap_hf.illustration.tag_curves import Tagger, Track, illustrate_tags, join_clips
from mulap_hf.loading import saved_kind
from mulap_hf.transfer.features import FeatureCache
from mulap_hf.transfer.pair_scores import PairScorer, has_text_side

USER_ERRORS = (AudioError, ModelError, DataError, OSError)


def main(arguments: list[str] | None = None):
    parser = HfArgumentParser(IllustrationArguments, description=__doc__)
    (args,) = parser.parse_args_into_dataclasses(sys.argv[1:] if arguments is None else arguments)
    folder = Path(args.output_dir)
    check(args, folder)
    start = time.perf_counter()
    material = None if args.track is not None and args.parts == ["tags"] else open_material(args)
    folder.mkdir(parents=True, exist_ok=True)
    shown, left_out = {}, {}
    for name, draw in parts(args, material, folder).items():
        try:
            shown[name] = draw()
        except (ModelError, DataError) as error:
            left_out[name] = str(error)
            print(f"{name} is left out: {error}", file=sys.stderr)
    if not shown:
        raise DataError("nothing can be drawn: all parts were left out")
    facts = {
        "model": args.model,
        "tagger": args.tagger,
        "compared with": args.compare,
        "data": None if material is None else args.data or "the synthetic corpus",
        "split": None if material is None else material.split,
        "track": args.track,
        "seed": args.seed,
        "seconds": round(time.perf_counter() - start),
    }
    write_page(folder, shown, left_out, {name: fact for name, fact in facts.items() if fact is not None})
    for part in shown.values():
        print(f"{part.title}: {part.summary}")
    print(f"Written to {folder}: {PAGE}, {NUMBERS} and {sum(len(part.pictures) for part in shown.values())} pictures")


def check(args: IllustrationArguments, folder: Path):
    """What would otherwise fail after minutes.

    Raises:
        AudioError: the track cannot be read.
        ModelError: a model cannot be found.
        DataError: there are results already.
    """
    if (folder / NUMBERS).exists() and not args.overwrite_output:
        raise DataError(f"{folder} has pictures: choose another --output_dir, or pass --overwrite_output")
    for model in filter(None, (args.model, args.tagger, args.compare)):
        saved_kind(model)
    if args.track is not None:
        audio_seconds(args.track)


def open_material(args: IllustrationArguments) -> Material:
    """The clips that pictures are made of.

    Raises:
        DataError: there is no such data or split.
    """
    data = args.open_described()
    material = Material(data, args.split or data.test_splits[0])
    data.ids(material.split)  # fails where there is no such split
    return material


def parts(
    args: IllustrationArguments, material: Material | None, folder: Path
) -> dict[str, Callable[[], Illustration]]:
    """What draws each part asked for; models are opened when they are due, and once."""
    features = FeatureCache(args.cache_dir)
    scorer = cache(lambda: PairScorer(args.model, args.device))

    def map_of_models() -> Illustration:
        model = scorer().extractor if has_text_side(args.model) else Embedder(args.model, args.device)
        models = {Path(args.model).name: model}
        if args.compare is not None:
            name = Path(args.compare).name
            models[args.compare if name in models else name] = Embedder(args.compare, args.device)
        return illustrate_map(models, material, features, folder, args.recordings, args.neighbors, args.seed)

    def tags() -> Illustration:
        tagger = Tagger(args.tagger or args.model, args.device)
        if args.track is not None:
            track = Track(args.track, load_audio(args.track, tagger.sampling_rate))
        else:
            track = join_clips(
                material, tagger.labels, tagger.sampling_rate, args.track_seconds, args.section_seconds, args.seed
            )
        return illustrate_tags(tagger, track, folder, args.hop_seconds, args.num_tags)

    drawers = {
        "retrieval": lambda: illustrate_retrieval(
            scorer(), material, features, folder, args.recordings, args.queries, args.top_k, args.seed
        ),
        "tags": tags,
        "map": map_of_models,
        "attention": lambda: illustrate_attention(scorer(), material, folder, args.example, args.seed),
    }
    return {name: drawers[name] for name in PARTS if name in args.parts}


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted; repeat the command: what the backbone has heard is kept")
        raise SystemExit(130) from None
    except USER_ERRORS as error:
        raise SystemExit(f"error: {error}") from None
