"""Command line: writes a split of the synthetic corpus to a folder."""

import argparse
from collections.abc import Sequence

from .generate import SPLITS, CorpusConfig
from .write import write_corpus, write_notes, write_parquet

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mulap_hf.synthetic",
        description="Writes a split of the synthetic music corpus: clips with known truth and weak captions. An "
        "interrupted run is continued by repeating the command.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the corpus; splits may share it")
    parser.add_argument("--split", choices=list(SPLITS), default="train", help="which split to write")
    parser.add_argument("--num_clips", type=int, default=2000, help="number of clips or notes")
    parser.add_argument("--clip_seconds", type=float, default=20.0, help="length of a clip")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another corpus")
    parser.add_argument(
        "--soundfont", metavar="SF2", help="play the sampled instruments of this file instead of synthesizing (slower)"
    )
    parser.add_argument(
        "--held_out_soundfont",
        metavar="SF2",
        help="another such file, for the splits test_soundfont and test_renderer",
    )
    parser.add_argument(
        "--format",
        choices=("flac", "parquet"),
        default="flac",
        help="FLAC files with metadata.jsonl, or parquet shards that hold everything",
    )
    parser.add_argument("--notes", action="store_true", help="single notes instead of clips, in DIR/notes; flac only")
    parser.add_argument("--num_workers", type=int, help="number of processes; one per CPU core if not given")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line, with the arguments of the process or those given."""
    parsed = _parser().parse_args(arguments)
    if parsed.notes and parsed.format == "parquet":
        raise SystemExit("error: notes are written as flac; make parquet of them with training/prepare_dataset.py")
    write = write_parquet if parsed.format == "parquet" else write_notes if parsed.notes else write_corpus
    try:
        config = CorpusConfig(
            seed=parsed.seed,
            clip_seconds=parsed.clip_seconds,
            soundfont=parsed.soundfont,
            held_out_soundfont=parsed.held_out_soundfont,
        )
        write(config, parsed.split, parsed.num_clips, parsed.output, num_workers=parsed.num_workers)
    except (ValueError, ImportError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
