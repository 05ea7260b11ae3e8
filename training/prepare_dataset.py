"""Prepares a corpus as it is published on disk: parquet shards, official splits, tasks, and a dataset card.

python training/prepare_dataset.py fma --root DIR --output prepared/fma
python training/prepare_dataset.py jamendo --root DIR --output prepared/genre --subset genre --no_embed
python training/prepare_dataset.py NAME --help                                   # the options of a corpus
"""

import argparse
import sys
from pathlib import Path

from mulap_hf.data.corpora import CORPORA, Corpus, Option
from mulap_hf.data.prepare import prepare
from mulap_hf.scripts import run_script

ALL_FINE, SOMETHING_AMISS, NOTHING_DONE = 0, 1, 2
_STATUS = "exit status: 0 all fine; 1 prepared, but items were left out or counts differ; 2 nothing done"


def main(arguments: list[str] | None = None) -> int:
    args = make_parser().parse_args(arguments)
    corpus = CORPORA[args.name]
    report = prepare(
        corpus,
        args.root,
        args.output,
        splits=args.split,
        embed=not args.no_embed,
        full_check=args.full_check,
        shard_megabytes=args.shard_megabytes,
        progress=sys.stderr.isatty(),
        **{option.name: getattr(args, option.name) for option in corpus.options},
    )
    print(*report.sizes(), sep="\n")
    print(f"Prepared {corpus.title} in {args.output}; see {Path(args.output) / 'README.md'}")
    for line in report.warnings():
        print(line, file=sys.stderr)
    return ALL_FINE if report.is_complete else SOMETHING_AMISS


def make_parser() -> argparse.ArgumentParser:
    """One subcommand per corpus, with the options of its reader."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=_STATUS, formatter_class=_formatter)
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True, title="corpora")
    for corpus in CORPORA.values():
        add_corpus(names, corpus)
    return parser


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=32, width=110)


def add_corpus(names, corpus: Corpus):
    license = f"license: {corpus.license} {corpus.license_note}\n" if corpus.license else ""
    subparser = names.add_parser(
        corpus.name,
        help=corpus.title,
        description=f"{corpus.title}\n\n--root has {corpus.layout}\n{corpus.url or ''}\n{license}",
        epilog=_STATUS,
        formatter_class=_formatter,
    )
    subparser.add_argument("--root", required=True, help="where the corpus is")
    subparser.add_argument("--output", required=True, help="folder to write; new, empty, or of an interrupted run")
    subparser.add_argument("--split", nargs="+", help="only these splits")
    subparser.add_argument("--no_embed", action="store_true", help="store paths of the audio instead of the audio")
    subparser.add_argument("--full_check", action="store_true", help="decode every file to its end, not its start")
    subparser.add_argument("--shard_megabytes", type=float, default=500, help="audio per shard (default: 500)")
    for option in corpus.options:
        add_option(subparser, option)


def add_option(subparser: argparse.ArgumentParser, option: Option):
    default = f" (default: {option.default})" if option.default not in (None, ()) else ""
    subparser.add_argument(
        f"--{option.name}",
        help=option.help + default,
        default=option.default,
        choices=option.choices or None,
        type=type(option.choices[0]) if option.choices else option.type,
        nargs="+" if option.many else None,
    )


if __name__ == "__main__":
    run_script(main, failed=NOTHING_DONE)
