"""Measure speed and memory on this machine, and write tables, numbers and plots.

python training/benchmark.py embedding     # embedding speed: fast path, reference, and peak rate of the machine
python training/benchmark.py training      # pre-training steps: forward, backward, optimizer
python training/benchmark.py processes     # pre-training steps in two processes, compared with one
python training/benchmark.py others        # embedding speed of MuLaP, CLAP, AST, Wav2Vec2, MERT and Whisper
python training/benchmark.py folder        # `mulap embed` on WAV, FLAC, Ogg and MP3 files, and its parts alone
python training/benchmark.py cluster       # `mulap embed --ray` on one machine, compared with the same without Ray
python training/benchmark.py precision     # bfloat16, ONNX Runtime and int8: speed and accuracy
python training/benchmark.py growth        # growth of time and memory with the amount of work
python training/benchmark.py data          # input pipeline of training, compared with the speed of the models
python training/benchmark.py startup       # processor time of imports and of --help of every command
python training/benchmark.py search        # a million vectors: recall, time per query, time to build, memory
python training/benchmark.py gpu --device cuda --compile   # a GPU: precisions, and how near it comes to its limits
python training/benchmark.py embedding training others --device cuda --dtype bfloat16 --compile
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mulap_hf.scripts import free_waiting_threads, run_script

if TYPE_CHECKING:
    import torch

TRAINING_BATCHES = {"tiny": 8, "published": 2}
PROCESS_BATCHES = {"tiny": 96, "published": 32}


def main(arguments: list[str] | None = None):
    parts = {
        "embedding": run_embedding,
        "training": run_training,
        "processes": run_processes,
        "others": run_others,
        "folder": run_folder,
        "cluster": run_cluster,
        "precision": run_precision,
        "growth": run_growth,
        "data": run_data,
        "startup": run_startup,
        "search": run_search,
    }
    on_demand = {"gpu": run_gpu}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", nargs="+", choices=[*parts, *on_demand, "all"], help="parts to measure; all: without gpu"
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmark"), help="folder of the reports")
    parser.add_argument("--rounds", type=int, default=7, help="number of interleaved rounds; default: 7")
    parser.add_argument(
        "--presets", nargs="+", default=list(TRAINING_BATCHES), help="presets of the model; default: tiny published"
    )
    parser.add_argument("--threads", type=int, help="number of torch threads; default: one per core")
    parser.add_argument(
        "--device", default="cpu", help="cpu or cuda, for embedding, training, others, folder and gpu; default: cpu"
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        default="float32",
        help="data type, for embedding, training and others; default: float32",
    )
    parser.add_argument(
        "--compile", action="store_true", help="also measure torch.compile, for embedding, training and gpu"
    )
    parser.add_argument("--batches", type=int, default=8, help="batches per measurement, for data; default: 8")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[0, 1, 2], help="processes, for data and folder; default: 0 1 2"
    )
    parser.add_argument("--tracks", type=int, default=1_000_000, help="tracks of a catalog, for search")
    parser.add_argument("--tagger", help="folder or Hub name of a tagger of the synthetic corpus, for precision")
    args = parser.parse_args(arguments)
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    for what in parts if "all" in args.what else args.what:
        print((parts | on_demand)[what](args))
    print(f"wrote the reports to {args.output}")


def run_embedding(args: argparse.Namespace) -> str:
    from mulap_hf.benchmark import embedding

    return embedding.run(
        args.output,
        args.rounds,
        args.presets,
        device=args.device,
        dtype=_dtype(args),
        compiled=args.compile,
    )


def run_training(args: argparse.Namespace) -> str:
    from mulap_hf.benchmark import training

    return training.run(
        args.output,
        args.rounds,
        _batches(args),
        device=args.device,
        precision=_dtype(args),
        compiled=args.compile,
    )


def run_processes(args: argparse.Namespace) -> str:
    from mulap_hf.benchmark import training_processes

    return training_processes.run(args.output, args.rounds, {name: PROCESS_BATCHES[name] for name in args.presets})


def run_others(args: argparse.Namespace) -> str:
    from mulap_hf.benchmark import others

    return others.run(args.output, args.rounds, args.presets, device=args.device, dtype=_dtype(args))


def run_folder(args: argparse.Namespace) -> str:
    free_waiting_threads()  # as `mulap embed` does
    from mulap_hf.benchmark import folder

    return folder.run(args.output, args.rounds, args.presets, workers=args.workers, device=args.device)


def run_cluster(args: argparse.Namespace) -> str:
    free_waiting_threads()  # as `mulap embed` does
    from mulap_hf.benchmark import cluster  # only this part requires the extra "ray"

    return cluster.run(args.output, args.rounds, args.presets)


def run_precision(args: argparse.Namespace) -> str:
    from mulap_hf.benchmark import precision  # only this part requires the extra "onnx"

    return precision.run(args.output, args.rounds, args.presets, tagger=args.tagger)


def run_growth(args: argparse.Namespace) -> str:
    from mulap_hf.benchmark import growth

    return "\n".join(growth.run(args.output, args.rounds, preset) for preset in args.presets)


def run_data(args: argparse.Namespace) -> str:
    from mulap_hf.benchmark import data

    return data.run(args.output, args.rounds, _batches(args), args.batches, args.workers)


def run_gpu(args: argparse.Namespace) -> str:
    from mulap_hf.benchmark import gpu

    return gpu.run(args.output, args.rounds, args.presets, args.device, args.compile)


def run_startup(args: argparse.Namespace) -> str:
    from mulap_hf.benchmark import startup

    return startup.run(args.output, args.rounds, sorted(Path(__file__).parent.glob("*.py")))


def run_search(args: argparse.Namespace) -> str:
    from mulap_hf.benchmark import search  # only this part requires the extra "search"

    return search.run(args.output, args.rounds, args.tracks)


def _dtype(args: argparse.Namespace) -> "torch.dtype":
    import torch

    return getattr(torch, args.dtype)


def _batches(args: argparse.Namespace) -> dict[str, int]:
    return {preset: TRAINING_BATCHES.get(preset, 8) for preset in args.presets}


if __name__ == "__main__":
    run_script(main)
