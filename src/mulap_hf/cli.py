"""The `mulap` command."""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from .arguments import at_least
from .audio_search import find_audio_files
from .errors import MulapError
from .files import printable
from .scripts import run_script

FEW_FILES, MOST_WORKERS = 20, 8
NOTHING_DONE = 2


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs a command, and ends the process: 0 = all done, 1 = some files failed, 2 = nothing could be done."""
    run_script(lambda: run_command(arguments), failed=NOTHING_DONE)


def run_command(arguments: list[str] | None) -> int:
    """Runs a command.

    Returns:
        Its exit status: 0 = all done, 1 = some files failed.

    Raises:
        MulapError: nothing could be done.
    """
    parser = argparse.ArgumentParser(prog="mulap", description="MuLaP: music audio representations.")
    commands = parser.add_subparsers(dest="command", required=True)
    embed = commands.add_parser(
        "embed",
        help="embeddings of audio files as a parquet file",
        description="Embeds audio files, whole tracks, into a parquet file. Formats: wav, flac, ogg, opus, mp3, aiff, "
        'caf and others; m4a, aac, wma, webm, wavpack and others with pip install "mulap-hf[formats]". An interrupted '
        "run resumes where it stopped. Exit status: 0 = all files embedded, 1 = some failed, 2 = nothing was done. "
        "What else is in the folders, and incomplete files, are listed and do not change it.",
    )
    embed.add_argument("paths", nargs="+", metavar="PATH", help="audio files, or folders to search for them")
    embed.add_argument("--model", required=True, help="folder or Hub name of a MuLaP model")
    embed.add_argument("--output", required=True, type=Path, help="parquet file to write")
    embed.add_argument("--per_chunk", action="store_true", help="one row per chunk, with times, instead of per track")
    embed.add_argument(
        "--space",
        choices=("backbone", "joint"),
        default="backbone",
        help="joint: also write joint_embedding, the track in the joint embedding space of audio and text, which "
        "search by words needs",
    )
    embed.add_argument("--device", help="cpu, cuda, ...; by default the GPU if there is one")
    embed.add_argument("--overwrite", action="store_true", help="replace an existing output file")
    embed.add_argument(
        "--workers",
        type=at_least(0),
        help=f"processes that decode; by default one per core, at most {MOST_WORKERS}, and for less than {FEW_FILES} "
        "files one, or none where starting it takes long (on Windows and macOS). 0 decodes in a thread, and a file "
        "that crashes the decoder then ends the run",
    )
    embed.add_argument(
        "--batch_size",
        type=at_least(1),
        help="chunks that go through the model at once; by default as it is configured",
    )
    embed.set_defaults(run=run_embed)
    args = parser.parse_args(arguments)
    return args.run(args)


def run_embed(args: argparse.Namespace) -> int:
    if os.path.isdir(args.output):
        raise MulapError(f"{args.output} is a folder: name a file, for example {args.output / 'embeddings.parquet'}")
    if os.path.exists(args.output) and not args.overwrite:
        raise MulapError(f"{args.output} exists: pass --overwrite to replace it")
    if args.space == "joint" and args.per_chunk:
        raise MulapError("--space joint has one embedding per track: leave out --per_chunk")
    found = find_audio_files(args.paths)
    if not found.files:
        others = "".join(f"\n  {printable(line)}" for line in found.summary())
        raise MulapError(f"no audio files in {', '.join(args.paths)}{', but:' if others else ''}{others}")
    from .embedding import Embedder  # imports torch and transformers
    from .embedding_files import write_embeddings

    embedder = Embedder(args.model, args.device, args.batch_size, joint=args.space == "joint")
    workers = default_workers(len(found.files)) if args.workers is None else args.workers
    report = write_embeddings(embedder, found.files, args.output, args.per_chunk, workers)
    embedded = len(found.files) - len(report.failed)
    print(f"{embedded} of {len(found.files)} files embedded in {args.output}")
    print_list("not embedded, because they are not audio", found.summary())
    print_list(f"incomplete, embedded as far as they can be read: {len(report.partial)}", report.partial)
    print_list(f"failed: {len(report.failed)}", map(str, report.failed))
    return 1 if report.failed else 0


def print_list(title: str, lines: Iterable[str]):
    """Prints lines with a title on stderr, if there are any."""
    for index, line in enumerate(lines):
        if index == 0:
            print(f"{title}:", file=sys.stderr)
        print(f"  {printable(line)}", file=sys.stderr)


def default_workers(files: int) -> int:
    is_linux = sys.platform == "linux"  # where processes start at once, see `decoding`
    if files < FEW_FILES:
        return int(is_linux)
    cores = len(os.sched_getaffinity(0)) if is_linux else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


if __name__ == "__main__":
    main()
