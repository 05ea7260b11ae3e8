"""Measures this machine, variants side by side in one run, and writes tables, the raw numbers and plots.

python training/benchmark.py embedding     # the backbone beside its plain computation and the machine's roof
python training/benchmark.py training      # a step of pre-training: forward, backward, optimizer
python training/benchmark.py others        # CLAP, AST, Wav2Vec2, MERT and Whisper beside MuLaP's backbone
python training/benchmark.py folder        # `mulap embed` on wav, flac and mp3 files
python training/benchmark.py precision     # bfloat16, ONNX Runtime and int8: speed, and what it costs in accuracy
python training/benchmark.py growth        # time and memory with the length, the number and the size of everything
python training/benchmark.py data          # does the input pipeline feed clips faster than the models consume them?
python training/benchmark.py embedding training others --device cuda --dtype bfloat16 --compile
"""

import argparse
from pathlib import Path

import torch

from mulap_hf.benchmark import data, embedding, folder, growth, others, training
from mulap_hf.scripts import run_script

TRAINING_BATCHES = {"tiny": 8, "published": 2}


def main(arguments: list[str] | None = None):
    parts = {
        "embedding": run_embedding,
        "training": run_training,
        "others": run_others,
        "folder": run_folder,
        "precision": run_precision,
        "growth": run_growth,
        "data": run_data,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=[*parts, "all"], help="what to measure")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmark"), help="folder of the reports")
    parser.add_argument("--rounds", type=int, default=7, help="measurements per variant, interleaved; default: 7")
    parser.add_argument("--presets", nargs="+", default=list(TRAINING_BATCHES), help="models; default: tiny published")
    parser.add_argument("--threads", type=int, help="of torch; default: one per core")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda: embedding, training, others, folder")
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16"], default="float32", help="of the same parts; default: float32"
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile as a variant: embedding, training")
    parser.add_argument("--batches", type=int, default=8, help="data: batches per measurement; default: 8")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[0, 1, 2], help="data, folder: processes; default: 0 1 2"
    )
    parser.add_argument("--tagger", help="precision: a tagger of the synthetic corpus, to measure its scores")
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    for what in parts if "all" in args.what else args.what:
        print(parts[what](args))
    print(f"Reports with their raw numbers and plots: {args.output}")


def run_embedding(args: argparse.Namespace) -> str:
    return embedding.run(
        args.output,
        args.rounds,
        args.presets,
        device=args.device,
        dtype=getattr(torch, args.dtype),
        compiled=args.compile,
    )


def run_training(args: argparse.Namespace) -> str:
    return training.run(
        args.output,
        args.rounds,
        _batches(args),
        device=args.device,
        precision=getattr(torch, args.dtype),
        compiled=args.compile,
    )


def run_others(args: argparse.Namespace) -> str:
    return others.run(args.output, args.rounds, args.presets, device=args.device, dtype=getattr(torch, args.dtype))


def run_folder(args: argparse.Namespace) -> str:
    return folder.run(args.output, args.rounds, args.presets, workers=args.workers, device=args.device)


def run_precision(args: argparse.Namespace) -> str:
    from mulap_hf.benchmark import precision  # here, because the other parts do not need the extra "onnx"

    return precision.run(args.output, args.rounds, args.presets, tagger=args.tagger)


def run_growth(args: argparse.Namespace) -> str:
    return "\n".join(growth.run(args.output, args.rounds, preset) for preset in args.presets)


def run_data(args: argparse.Namespace) -> str:
    return data.run(args.output, args.rounds, _batches(args), args.batches, args.workers)


def _batches(args: argparse.Namespace) -> dict[str, int]:
    return {preset: TRAINING_BATCHES.get(preset, 8) for preset in args.presets}


if __name__ == "__main__":
    run_script(main)
