"""The options of `mulap index`, `mulap search` and `mulap serve`."""

import argparse

from ..arguments import at_least

WHITENED = 32
HOST, PORT = "127.0.0.1", 7860


def weights(text: str) -> dict[str, float]:
    """A type of arguments: "melody=1,rhythm=.5" as a dictionary; a name alone has weight 1."""
    found = {}
    for part in text.split(","):
        name, equals, number = part.partition("=")
        try:
            found[name.strip()] = float(number) if equals else 1.0
        except ValueError:
            raise argparse.ArgumentTypeError(f"{part!r} is not NAME=NUMBER, such as melody=1,rhythm=.5") from None
    return found


def add_search_commands(commands):
    """Adds `index`, `search` and `serve` to the commands of a parser."""
    add_index_command(commands)
    add_search_command(commands)
    add_serve_command(commands)


def add_index_command(commands):
    index = commands.add_parser(
        "index",
        help="an index of embeddings, for searching",
        description="Builds an index of what `mulap embed` wrote, or changes one. Up to 100,000 tracks it is exact; "
        "above, it has inverted lists, whose recall is measured and shown.",
    )
    index.add_argument("embeddings", nargs="?", help="parquet file of `mulap embed`, or a folder of them")
    index.add_argument("--output", required=True, metavar="INDEX", help="folder of the index")
    index.add_argument(
        "--metadata",
        metavar="TABLE",
        help="parquet, csv, tsv or jsonl with a column `path` and others, which are shown and filtered by (--where)",
    )
    index.add_argument(
        "--whiten",
        nargs="?",
        type=at_least(1),
        const=WHITENED,
        metavar="COMPONENTS",
        help="whiten to so many principal components of the catalog, by default %(const)s, before audio is compared "
        "with audio; needs thousands of tracks; default: only subtract the mean",
    )
    index.add_argument("--add", action="store_true", help="add to an existing index; tracks that it has are replaced")
    index.add_argument(
        "--remove", nargs="+", metavar="PATH", help="remove tracks by their paths, or folders of them, from the index"
    )
    index.add_argument("--model", help="the model of the embeddings, if the table does not name it")
    index.add_argument("--overwrite", action="store_true", help="replace an existing index")
    index.set_defaults(run=run_index)


def add_search_command(commands):
    search = commands.add_parser(
        "search",
        help="search an index by words, by a file, or by one of its tracks",
        description="Searches an index by words, by an audio file, or by one of its tracks.",
    )
    search.add_argument("index", metavar="INDEX", help="folder of the index")
    query = search.add_mutually_exclusive_group(required=True)
    query.add_argument("--text", help='words: "calm piano with strings"; the index needs joint embeddings')
    query.add_argument("--audio", metavar="FILE", help="audio file")
    query.add_argument("--like", metavar="PATH", help="path of a track in the index")
    search.add_argument("-k", type=at_least(1), default=10, help="number of tracks; default: %(default)s")
    search.add_argument(
        "--where", metavar="CONDITION", help="condition on the metadata in SQL: \"genre = 'jazz' and year >= 1990\""
    )
    search.add_argument(
        "--by",
        type=weights,
        metavar="SPACE=WEIGHT,...",
        help="the embeddings to compare by, mixed with weights: backbone, joint, or any other *_embedding of the "
        "index, such as melody=1,rhythm=.5. Default: joint for words, else backbone",
    )
    search.add_argument(
        "--rerank",
        type=at_least(1),
        metavar="TRACKS",
        help="sort the best so many tracks again by the fused streams of the model, which decodes them; for --text",
    )
    how = search.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print a JSON list")
    how.add_argument("--m3u", action="store_true", help="print a playlist")
    add_model_options(search)
    search.set_defaults(run=run_search)


def add_model_options(parser: argparse.ArgumentParser):
    parser.add_argument("--model", help="the model of the index, if it has moved")
    parser.add_argument("--device", help="cpu, cuda, ...; by default the GPU if there is one")


def run_index(args: argparse.Namespace) -> int:
    from .commands import index  # imports torch and faiss

    return index(args)


def run_search(args: argparse.Namespace) -> int:
    from .commands import search

    return search(args)


def add_serve_command(commands):
    serve = commands.add_parser(
        "serve",
        help="a page in the browser to search and play an index",
        description="Serves a page to search an index by words or by a file, and to play its tracks. Only this "
        "machine can open it, unless --host says otherwise; then all who reach that address can play the tracks.",
    )
    serve.add_argument("index", metavar="INDEX", help="folder of the index")
    serve.add_argument("--host", default=HOST, help="address to serve on; default: %(default)s, this machine only")
    serve.add_argument("--port", type=at_least(0), default=PORT, help="default: %(default)s; 0 takes a free one")
    serve.add_argument("-k", type=at_least(1), default=10, help="number of tracks per search; default: %(default)s")
    serve.add_argument(
        "--root", help="folder that relative paths of the index start from; default: where the index was built"
    )
    add_model_options(serve)
    serve.set_defaults(run=run_serve)


def run_serve(args: argparse.Namespace) -> int:
    from .serve import serve  # imports torch, faiss and gradio

    return serve(args)
