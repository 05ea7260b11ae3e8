"""Training of a similarity model from start to end: pieces, features, heads, triplets, report and card."""

import sys
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState

from ..audio_search import find_audio_files
from ..configuration_mulap_similarity import MulapSimilarityConfig
from ..data.provenance import provenance
from ..embedding import Embedder
from ..errors import DataError
from ..feature_extraction_mulap import MulapFeatureExtractor
from ..files import write_json
from ..modeling_mulap_similarity import FACTORS, MulapForMusicSimilarity
from ..pretraining.report import environment
from ..pretraining.run_folder import RunFolder
from ..publishing.arguments import HubArguments
from ..publishing.assemble import complete_folder
from ..publishing.hub import find_destination, publish_finished
from ..similarity.arguments import SimilarityArguments
from ..similarity.evaluation import draw_triplets, triplet_accuracy
from ..similarity.extractor import SimilarityExtractor
from ..similarity.pieces import Pieces, folder_pieces, open_pieces
from ..similarity.report import REPORT_FILE, write_similarity_report
from ..similarity.training import LabeledTracks, embed, train_heads
from ..synthetic.generate import CorpusConfig
from ..synthetic.write import write_grids
from ..transfer.features import Extractor, FeatureCache, Features, HandcraftedExtractor
from ..transfer.handcrafted import FEATURE_GROUPS

TRAIN, VALIDATION = "train", "validation"
# What of the handcrafted features is compared with the head of a factor.
HANDCRAFTED = {"melody": ("chroma",), "rhythm": ("rhythm", "onsets"), "timbre": ("mfcc",)}
_SYNTHETIC = {"corpus": "synthetic", "title": "synthetic pieces of three factors", "license": "Apache-2.0"}
NEIGHBORS, SHOWN_RECORDINGS = 3, 12


def similarity(args: SimilarityArguments, hub_args: HubArguments):
    """Train a similarity model, and publish it if requested; the main function of `training/similarity.py`.

    Only the main process works: the features are cached, and the heads take minutes.

    Raises:
        DataError: The pieces cannot be used.
        ModelError: The backbone cannot be loaded.
        RunError: The output folder cannot be used.
    """
    if not PartialState().is_main_process:
        return
    destination = find_destination(hub_args)
    start = time.perf_counter()
    embedder = Embedder(args.model, args.device)
    settings = {"similarity": asdict(args) | {"fingerprint": embedder.fingerprint}}
    folder = RunFolder.open(args.output_dir, settings, args.overwrite_output, may_differ=("overwrite_output",))
    data = make_pieces(args) if args.data is None else Path(args.data)
    splits = open_splits(data, args.test_data)
    cache = FeatureCache(args.cache_dir)
    model = make_model(embedder, args)
    extractor = SimilarityExtractor(model)
    found = {split: labeled_tracks(extractor, pieces, split, cache) for split, pieces in splits.items()}
    skipped = [f"{item.id}: {item.reason}" for _, features in found.values() for item in features.skipped]
    random = deepcopy(model)
    history = train_heads(model, found[TRAIN][0], found[VALIDATION][0], args)
    model.save_pretrained(folder.path)
    MulapFeatureExtractor(sampling_rate=embedder.sampling_rate).save_pretrained(folder.path)
    random.similarity.fit_scale(found[TRAIN][0].features)
    tests = {
        split: evaluate(model, random, tracks, handcrafted_embeds(splits[split], features, cache), args)
        for split, (tracks, features) in found.items()
        if split not in (TRAIN, VALIDATION)
    }
    neighbors = nearest_recordings(extractor, args.recordings, cache) if args.recordings else {}
    facts = {
        "method": "Three heads, each a perceptron with two layers and Circle loss, on the frozen backbone.",
        "tracks": {split: len(found[split][0].features) for split in (TRAIN, VALIDATION)},
        "chosen": f"the best step of {args.steps} on the validation pieces",
        "data": provenance(data)
        if args.data
        else {"corpus": "synthetic", "title": "synthetic pieces of three factors"},
        "model": {"name": args.model, "on_hub": not Path(args.model).exists()},
        "seconds": round(time.perf_counter() - start),
        "environment": environment(),
    }
    metrics = {split: {"tracks": result["pieces"], "metrics": _flat(result)} for split, result in tests.items()}
    write_json(folder.path / "metrics.json", metrics)
    write_json(folder.path / "similarity.json", {"tests": tests, "history": history, "neighbors": neighbors})
    described = {
        "backbone": args.model,
        "pieces": str(data),
        "pieces trained on": facts["tracks"][TRAIN],
        "steps": args.steps,
        "seconds": facts["seconds"],
    }
    path = write_similarity_report(folder.path, described, tests, history, neighbors, skipped)
    settings = {**settings, "training": {"seed": args.seed}, "run": facts}
    complete_folder(folder.path, settings, metrics)
    folder.finish(**facts)
    print(path.read_text(encoding="utf-8"))
    if skipped:
        print(f"{len(skipped)} pieces were left out; see {path}", file=sys.stderr)
    print(f"Saved to {folder.path}; read {folder.path / REPORT_FILE}")
    publish_finished(folder.path, destination)


def make_pieces(args: SimilarityArguments) -> Path:
    """Make the synthetic pieces, unless they exist, and return the folder of their splits."""
    config = CorpusConfig(clip_seconds=args.clip_seconds, held_out_soundfont=args.held_out_soundfont)
    held_out = max(4, args.num_grids // 12)
    sizes = {TRAIN: args.num_grids, VALIDATION: held_out, "test": held_out, "test_presets": held_out}
    if args.held_out_soundfont is not None:
        sizes["test_soundfont"] = held_out
    for split, number in sizes.items():
        write_grids(config, split, number, args.corpus_dir)
    return Path(args.corpus_dir) / "grids"


def open_splits(data: Path, test_data: Sequence[str] = ()) -> dict[str, Pieces]:
    """Open the folders train, validation and test (or test_*) in a folder, and further folders of test pieces.

    Raises:
        DataError: One is missing, or cannot be used.
    """
    names = sorted(path.name for path in data.glob("*") if path.is_dir())
    tests = [name for name in names if name.startswith("test")]
    missing = [name for name in (TRAIN, VALIDATION) if name not in names] + ([] if tests else ["test"])
    if missing:
        raise DataError(
            f"--data {data} lacks the folders {', '.join(missing)} (found: {', '.join(names) or 'none'}); see "
            "python -m mulap_hf.synthetic --grids"
        )
    splits = {name: open_pieces(data / name, FACTORS) for name in (TRAIN, VALIDATION, *tests)}
    for folder in test_data:
        name = "_".join(Path(folder).resolve().parts[-2:])  # scores/test and grids/test differ
        if name in splits:
            raise DataError(f"--test_data has two folders that end in {'/'.join(Path(folder).resolve().parts[-2:])}")
        splits[name] = open_pieces(folder, FACTORS, all_known=False)
    return splits


def labeled_tracks(
    extractor: Extractor, pieces: Pieces, split: str, cache: FeatureCache
) -> tuple[LabeledTracks, Features]:
    """Return the mean features of the pieces of a split, with their groups and with their names."""
    features = cache.features(extractor, pieces, split).means()
    return LabeledTracks(torch.from_numpy(features.values), pieces.select(features.ids)), features


def make_model(embedder: Embedder, args: SimilarityArguments) -> MulapForMusicSimilarity:
    """Return a model with the backbone of the embedder, on its device, and untrained heads."""
    config = MulapSimilarityConfig(
        audio_config=deepcopy(embedder.model.config),
        head_hidden_size=args.hidden_size,
        head_dropout=args.dropout,
        embedding_size=args.embedding_size,
        circle_margin=args.margin,
        circle_scale=args.scale,
    )
    torch.manual_seed(args.seed)
    model = MulapForMusicSimilarity(config)
    model.audio_model.load_state_dict(embedder.model.state_dict())
    return model.to(embedder.device).eval()


def handcrafted_embeds(pieces: Pieces, features: Features, cache: FeatureCache) -> dict[str, np.ndarray]:
    """Return handcrafted features of the same pieces, by factor, standardized, of length 1."""
    handcrafted = cache.features(HandcraftedExtractor(), pieces, "").select(features.ids).means().values
    return {
        factor: _unit(np.concatenate([handcrafted[:, FEATURE_GROUPS[name]] for name in names], axis=1))
        for factor, names in HANDCRAFTED.items()
    }


def evaluate(
    model: MulapForMusicSimilarity,
    random: MulapForMusicSimilarity,
    tracks: LabeledTracks,
    handcrafted: Mapping[str, np.ndarray],
    args: SimilarityArguments,
) -> dict[str, Any]:
    """Return the triplet accuracies of the heads and of the baselines on a test split.

    Returns:
        `pieces`; `own`, by similarity and factor, with negatives that share all but the factor with the anchor;
        `matrix`, by head and factor, with negatives that share nothing with it. Each a dictionary of `value`, `low`
        and `high`.
    """
    heads = embed(model, tracks.features)
    plain = _unit(tracks.features[:, : model.config.audio_config.feature_size].numpy())
    systems = {
        "the head of the factor": heads,
        "untrained head": embed(random, tracks.features),
        "embedding of the backbone": dict.fromkeys(FACTORS, plain),
        "handcrafted: chroma, onsets, MFCC": handcrafted,
    }
    triplets = {factor: draw_triplets(tracks.groups, factor, args.seed) for factor in FACTORS}

    def accuracy(embeds: np.ndarray, factor: str, negative: str) -> dict[str, float | None]:
        return triplet_accuracy(embeds, triplets[factor], negative, args.resamples, args.seed)

    return {
        "pieces": len(plain),
        "own": {
            name: {factor: accuracy(embeds[factor], factor, "alike") for factor in FACTORS}
            for name, embeds in systems.items()
        },
        "matrix": {
            head: {factor: accuracy(heads[head], factor, "different") for factor in FACTORS} for head in FACTORS
        },
    }


def nearest_recordings(
    extractor: SimilarityExtractor, folder: str, cache: FeatureCache
) -> dict[str, dict[str, list[str]]]:
    """Return, for some recordings of a folder and each factor, the names of the most similar other recordings."""
    pieces = folder_pieces(folder, find_audio_files([folder]).files)
    features = cache.features(extractor, pieces, "recordings").means()
    embeds = embed(extractor.model, torch.from_numpy(features.values))
    shown = np.linspace(0, len(features.ids) - 1, min(SHOWN_RECORDINGS, len(features.ids))).astype(int)
    found: dict[str, dict[str, list[str]]] = {}
    for row in shown:
        ranked = {factor: np.argsort(-(values @ values[row]), kind="stable") for factor, values in embeds.items()}
        found[features.ids[row]] = {
            factor: [features.ids[other] for other in order if other != row][:NEIGHBORS]
            for factor, order in ranked.items()
        }
    return found


def _unit(features: np.ndarray) -> np.ndarray:
    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-6)
    return scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-12)


def _flat(results: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """The known numbers of the heads by one name each, for the card."""
    own = next(iter(results["own"].values()))
    found = {f"{factor}_accuracy": own[factor] for factor in FACTORS} | {
        f"{head}_head_on_{factor}": number
        for head, numbers in results["matrix"].items()
        for factor, number in numbers.items()
        if head != factor
    }
    return {name: number for name, number in found.items() if number["value"] is not None}
