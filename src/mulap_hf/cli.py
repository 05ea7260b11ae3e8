"""The `mulap` command."""

import argparse
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from .arguments import at_least
from .audio_search import AudioFiles, find_audio_files, read_paths
from .errors import MulapError
from .files import printable
from .remote import is_address
from .scripts import free_waiting_threads, run_script
from .search.arguments import add_search_commands

FEW_FILES, MOST_WORKERS = 20, 8
PCM_EXTENSIONS = (".wav", ".wave", ".aif", ".aiff")
NOTHING_DONE = 2


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs a command, and ends the process: 0 = all done, 1 = some files failed, 2 = nothing could be done."""
    free_waiting_threads()
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
    add_embed_command(commands)
    add_search_commands(commands)
    args = parser.parse_args(arguments)
    return args.run(args)


def add_embed_command(commands: Any):
    """Adds `mulap embed` to the commands of a parser."""
    embed = commands.add_parser(
        "embed",
        help="embeddings of audio files as a parquet file, or a folder of them",
        description="Embeds audio files, whole tracks, into a parquet file, or a folder of them. Formats: wav, flac, "
        "ogg, opus, mp3, aiff, caf and others; m4a, aac, wma, webm, wavpack and others with pip install "
        '"mulap-hf[formats]". An interrupted run resumes where it stopped. Exit status: 0 = all files embedded, '
        "1 = some failed, 2 = nothing was done. What else is in the folders, and incomplete files, are listed and do "
        "not change it.",
    )
    add_file_options(embed)
    add_model_options(embed)
    embed.set_defaults(run=run_embed)


def add_file_options(embed: argparse.ArgumentParser):
    embed.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="audio files, or folders to search for them, here or by address: s3://bucket/music, gs://, hf://",
    )
    embed.add_argument(
        "--paths", dest="table", metavar="TABLE", help="parquet or CSV file with a column of paths or addresses"
    )
    embed.add_argument("--path_column", help="that column; by default the first that has a usual name, such as path")
    embed.add_argument(
        "--output",
        required=True,
        help="file to write, or, with / at its end or as an address (s3://bucket/embeddings), a folder of parquet "
        "files, to which later runs add",
    )
    embed.add_argument(
        "--format", choices=("parquet", "npy", "jsonl"), help="of the file; by default that of its name, or parquet"
    )


def add_model_options(embed: argparse.ArgumentParser):
    embed.add_argument("--model", required=True, help="folder or Hub name of a MuLaP model")
    embed.add_argument("--per_chunk", action="store_true", help="one row per chunk, with times, instead of per track")
    embed.add_argument(
        "--space",
        choices=("backbone", "joint", "factors"),
        default="backbone",
        help="joint: also write joint_embedding, the track in the joint embedding space of audio and text, which "
        "search by words needs. factors: also write melody_embedding, rhythm_embedding and timbre_embedding, by a "
        "model of training/similarity.py",
    )
    embed.add_argument("--device", help="cpu, cuda, ...; by default the GPU if there is one")
    embed.add_argument("--overwrite", action="store_true", help="replace an existing output")
    embed.add_argument(
        "--workers",
        type=at_least(0),
        help=f"processes that decode; by default one per core, at most {MOST_WORKERS}; none for WAV and AIFF alone, "
        f"and none for less than {FEW_FILES} files where starting it takes long (on Windows and macOS). 0 decodes in "
        "a thread, and a file that crashes the decoder then ends the run",
    )
    embed.add_argument(
        "--batch_size",
        type=at_least(1),
        help="chunks that go through the model at once; by default as it is configured",
    )
    embed.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="embed with all machines of the Ray cluster at this address (host:port, or auto), or of this machine if "
        "the address is left out; the output is a folder",
    )


def run_embed(args: argparse.Namespace) -> int:
    is_folder = args.output.endswith(("/", os.sep)) or is_address(args.output)
    if not is_folder and os.path.isdir(args.output):
        raise MulapError(
            f"{args.output} is a folder: name a file, for example {Path(args.output) / 'embeddings.parquet'}, or end "
            "it with / to write a folder of parquet files"
        )
    if not is_folder and os.path.exists(args.output) and not args.overwrite:
        raise MulapError(f"{args.output} exists: pass --overwrite to replace it")
    if args.ray and not is_folder:
        raise MulapError(f"{args.output}: --ray writes a folder of parquet files: end it with /, as in embeddings/")
    if args.ray and args.workers is not None:
        raise MulapError("--workers is for runs without --ray: each core of a cluster decodes")
    if args.space != "backbone" and args.per_chunk:
        raise MulapError(f"--space {args.space} has one embedding per track: leave out --per_chunk")
    found = find_inputs(args)
    address = None if args.ray == "local" else args.ray
    if args.ray:
        from .cluster import check_address, connect

        if address:
            check_address(address)
        # Starting a cluster and importing torch take seconds each. The exit waits for the thread, after an error, too.
        threading.Thread(target=import_module, args=("mulap_hf.embedding",)).start()
        ray = connect(address)
    from .embedding import Embedder  # imports torch and transformers
    from .embedding_files import output_format, write_embeddings
    from .embedding_shards import clear_shards

    output_format(args.output, args.format)  # before the model is loaded
    spaces = {"joint": args.space == "joint", "factors": args.space == "factors"}
    embedder: Embedder
    if args.ray:
        from .embedding_ray import RayEmbedder

        embedder = RayEmbedder(args.model, address, args.device, args.batch_size, **spaces)
    else:
        embedder = Embedder(args.model, args.device, args.batch_size, **spaces)
    if is_folder and args.overwrite:
        clear_shards(args.output)
    workers = default_workers(found.files) if args.workers is None else args.workers
    report = write_embeddings(
        embedder, found.files, args.output, args.per_chunk, workers, format=args.format, modified=found.modified
    )
    if args.ray:
        ray.shutdown()  # at the exit, Ray takes two seconds longer
    embedded = len(found.files) - len(report.failed)
    print(f"{embedded} of {len(found.files)} files embedded in {args.output}")
    print_list("not embedded, because they are not audio", found.summary())
    print_list(f"incomplete, embedded as far as they can be read: {len(report.partial)}", report.partial)
    print_list(f"failed: {len(report.failed)}", map(str, report.failed))
    return 1 if report.failed else 0


def find_inputs(args: argparse.Namespace) -> AudioFiles:
    """The files that the options name.

    Raises:
        MulapError: A path does not exist or cannot be read, or there are no audio files.
    """
    found = find_audio_files(args.paths)
    if args.table:
        found.files = list(dict.fromkeys([*found.files, *read_paths(args.table, args.path_column)]))
    if found.files:
        return found
    if not args.paths and not args.table:
        raise MulapError("nothing to embed: name audio files or folders, or a table of them with --paths")
    others = "".join(f"\n  {printable(line)}" for line in found.summary())
    where = ", ".join([*args.paths, *([args.table] if args.table else [])])
    raise MulapError(f"no audio files in {where}{', but:' if others else ''}{others}")


def print_list(title: str, lines: Iterable[str]):
    """Prints lines with a title on stderr, if there are any."""
    for index, line in enumerate(lines):
        if index == 0:
            print(f"{title}:", file=sys.stderr)
        print(f"  {printable(line)}", file=sys.stderr)


def default_workers(files: Sequence[str | os.PathLike]) -> int:
    """Processes that decode these files: none for PCM alone, which takes longer to be sent than to be decoded."""
    if all(os.path.splitext(file)[1].lower() in PCM_EXTENSIONS for file in files):
        return 0
    if sys.platform != "linux":  # where processes start at once, see `decoding`
        return 0 if len(files) < FEW_FILES else min(os.cpu_count() or 1, MOST_WORKERS)
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS, len(files))


if __name__ == "__main__":
    main()
