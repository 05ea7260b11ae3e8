"""The `mulap` command."""

import argparse
import sys
from pathlib import Path

from .audio import find_audio_files
from .embedding import Embedder, write_embeddings


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns its exit status: 0 = all done, 1 = some files failed, 2 = nothing could be done."""
    parser = argparse.ArgumentParser(prog="mulap", description="MuLaP: music audio representations.")
    commands = parser.add_subparsers(dest="command", required=True)
    embed = commands.add_parser(
        "embed",
        help="embeddings of audio files as a parquet file",
        description="Embeds audio files (wav, flac, ogg, mp3), whole tracks, into a parquet file. An interrupted run "
        "goes on where it stopped. Exit status: 0 = all files embedded, 1 = some failed, 2 = nothing was done.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    embed.add_argument("paths", nargs="+", metavar="PATH", help="audio files, or folders to search for them")
    embed.add_argument("--model", required=True, help="folder or Hub name of a MuLaP model")
    embed.add_argument("--output", required=True, type=Path, help="parquet file to write")
    embed.add_argument("--per_chunk", action="store_true", help="one row per chunk, with times, instead of per track")
    embed.add_argument("--device", help="cpu, cuda, ...; by default the GPU if there is one")
    embed.add_argument("--overwrite", action="store_true", help="replace an existing output file")
    embed.set_defaults(run=run_embed)
    args = parser.parse_args(arguments)
    return args.run(args)


def run_embed(args: argparse.Namespace) -> int:
    if args.output.exists() and not args.overwrite:
        return _fail(f"{args.output} exists: pass --overwrite to replace it")
    try:
        files = find_audio_files(args.paths)
    except FileNotFoundError as error:
        return _fail(str(error))
    if not files:
        return _fail(f"no audio files in {', '.join(args.paths)}")
    try:
        failed = write_embeddings(Embedder(args.model, args.device), files, args.output, args.per_chunk)
    except (OSError, ValueError) as error:
        return _fail(str(error))
    print(f"{len(files) - len(failed)} of {len(files)} files embedded in {args.output}")
    if failed:
        print(f"{len(failed)} files failed:", file=sys.stderr)
        for error in failed:
            print(f"  {error}", file=sys.stderr)
    return 1 if failed else 0


def _fail(message: str) -> int:
    print(f"mulap: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
