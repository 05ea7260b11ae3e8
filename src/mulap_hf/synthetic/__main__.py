"""Command line of the synthetic corpus: write one split to a folder."""

import argparse
import sys
from collections.abc import Sequence

from ..errors import MulapError
from ..scripts import run_script
from .factors import FACTORS
from .generate import CAPTION_STYLES, COMPOSITIONS, PRODUCTIONS, SPLITS, CorpusConfig
from .word_comparison import compare_words, read_captions
from .write import write_corpus, write_grids, write_notes, write_scores, write_triplets
from .write_shards import write_parquet

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mulap_hf.synthetic",
        description="Write a split of the synthetic corpus: clips of generated music with exact labels and weak "
        "captions. To resume an interrupted run, repeat the command.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    tasks = parser.add_mutually_exclusive_group(required=True)
    tasks.add_argument("--output", metavar="DIR", help="folder of the corpus; all splits may share it")
    tasks.add_argument(
        "--compare_words",
        metavar="FILE",
        help="write no corpus, but print which frequent words of these captions the generated ones use; a .csv, .tsv "
        "or .jsonl file with a column caption, or a .txt file with one caption per line",
    )
    parser.add_argument("--split", choices=list(SPLITS), default="train", help="which split to write")
    parser.add_argument("--num_clips", type=int, default=2000, help="number of clips or notes")
    parser.add_argument("--clip_seconds", type=float, default=20.0, help="length of a clip in seconds")
    parser.add_argument("--seed", type=int, default=0, help="seed of the corpus; each seed gives other songs")
    _add_sound_options(parser)
    parser.add_argument(
        "--format",
        choices=("flac", "parquet"),
        default="flac",
        help="flac: audio files with metadata.jsonl; parquet: shards with audio and labels",
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--notes", action="store_true", help="write single notes, to DIR/notes; flac only")
    kinds.add_argument(
        "--triplets",
        choices=FACTORS,
        help="write triplets to DIR/triplets: an anchor, a positive that shares only this factor with it, and a "
        "negative that shares all but this factor; --num_clips is the number of triplets; flac only",
    )
    kinds.add_argument(
        "--grids",
        action="store_true",
        help="write grids to DIR/grids: all eight combinations of two melodies, two rhythms and two timbres; "
        "--num_clips is the number of grids; flac only",
    )
    kinds.add_argument(
        "--scores",
        metavar="FOLDER",
        help="write every score (MIDI file) in FOLDER to DIR/scores, played by four instruments of each "
        "soundfont, or of the synthesizer; needs mido; flac only",
    )
    parser.add_argument("--num_workers", type=int, help="number of processes; by default one per CPU core")
    return parser


def _add_sound_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--soundfont",
        action="append",
        metavar="FILE",
        help="soundfont (sf2 or sf3) whose sampled instruments replace the synthesizer; repeat the option to mix "
        "several soundfonts per song and per track",
    )
    parser.add_argument(
        "--synthesizer_fraction",
        type=float,
        default=0.0,
        help="fraction of the tracks that the synthesizer plays beside the soundfonts",
    )
    parser.add_argument(
        "--held_out_soundfont",
        metavar="FILE",
        help="another soundfont, for the splits test_soundfont and test_renderer",
    )
    parser.add_argument(
        "--production",
        choices=list(PRODUCTIONS),
        default="plain",
        help="production chain. plain: reverb, equalizers, drive, noise, level. varied: also stereo positions, kinds "
        "of rooms, saturation and noise, compression, and lossy codecs",
    )
    parser.add_argument(
        "--composition",
        choices=list(COMPOSITIONS),
        default="plain",
        help="varied: songs with additional instruments, other octaves, sections, voices and noises",
    )
    parser.add_argument(
        "--solo_fraction",
        type=float,
        default=0.0,
        help="fraction of the clips in which a single melodic instrument plays, a melody or separate notes",
    )
    parser.add_argument(
        "--captions",
        choices=list(CAPTION_STYLES),
        default="plain",
        help="varied: several sentences about instruments, rhythm, form and recording",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: Command-line arguments; None takes those of the process.
    """
    parsed = _parser().parse_args(arguments)
    if parsed.notes and parsed.format == "parquet":
        raise MulapError(
            "--notes writes flac only; drop --format parquet, and convert the folder with "
            "training/prepare_dataset.py synthetic_notes"
        )
    for kind in ("triplets", "grids", "scores"):
        if getattr(parsed, kind) and parsed.format == "parquet":
            raise MulapError(f"--{kind} writes flac only; drop --format parquet")
    config = CorpusConfig(
        seed=parsed.seed,
        clip_seconds=parsed.clip_seconds,
        soundfont=parsed.soundfont and tuple(parsed.soundfont),
        held_out_soundfont=parsed.held_out_soundfont,
        synthesizer_fraction=parsed.synthesizer_fraction,
        production=parsed.production,
        composition=parsed.composition,
        caption_style=parsed.captions,
        solo_fraction=parsed.solo_fraction,
    )
    if parsed.compare_words:
        print(compare_words(read_captions(parsed.compare_words), config))
        return
    if parsed.scores:
        folder, scores = write_scores(
            config, parsed.split, parsed.scores, parsed.output, num_workers=parsed.num_workers
        )
        for reason in scores.skipped:
            print(f"Left out: {reason}", file=sys.stderr)
        print(f"{len(scores.files)} scores in {folder}, {len(scores.skipped)} files left out")
        return
    if parsed.triplets:
        write_triplets(
            config, parsed.split, parsed.triplets, parsed.num_clips, parsed.output, num_workers=parsed.num_workers
        )
        return
    if parsed.format == "parquet":
        write_parquet(config, parsed.split, parsed.num_clips, parsed.output, num_workers=parsed.num_workers)
        return
    write = write_grids if parsed.grids else write_notes if parsed.notes else write_corpus
    write(config, parsed.split, parsed.num_clips, parsed.output, num_workers=parsed.num_workers)


if __name__ == "__main__":
    run_script(main)
