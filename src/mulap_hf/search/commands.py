"""The commands `mulap index` and `mulap search`, once their options are parsed."""

import argparse
import json
import sys

from ..errors import DataError
from ..files import printable
from .index import BACKBONE, JOINT, Hit, SearchIndex, column_name
from .queries import QueryEncoder
from .update import add_tracks, create_index, remove_tracks


def index(args: argparse.Namespace) -> int:
    """Builds or changes an index, and prints what was done.

    Raises:
        DataError: The options do not fit together, or something cannot be used.
    """
    if args.remove is not None:
        others = {"EMBEDDINGS": args.embeddings, "--add": args.add, "--metadata": args.metadata}
        for name, value in (others | {"--whiten": args.whiten, "--overwrite": args.overwrite}).items():
            if value:
                raise DataError(f"--remove goes without {name}: run `mulap index` twice")
        notes = remove_tracks(args.output, args.remove)
    elif args.embeddings is None:
        raise DataError("name what `mulap embed` wrote, or pass --remove with paths of tracks")
    elif args.add:
        if args.whiten or args.overwrite:
            raise DataError("--add goes without --whiten and --overwrite: the index keeps what it was built with")
        notes = add_tracks(args.embeddings, args.output, args.metadata, args.model)
    else:
        notes = create_index(args.embeddings, args.output, args.metadata, args.whiten, args.model, args.overwrite)
    print("\n".join(notes))
    return 0


def search(args: argparse.Namespace) -> int:
    """Searches an index and prints the tracks.

    Returns:
        1 if files could not be read for re-ranking, else 0.

    Raises:
        DataError: The query, an option or the index cannot be used.
        AudioError: The audio file of the query cannot be read.
    """
    if args.rerank and args.text is None:
        raise DataError("--rerank compares tracks with words: pass --text")
    found = SearchIndex(args.index)
    weights = {column_name(name): weight for name, weight in (args.by or {}).items()}
    columns = list(weights) or [BACKBONE if BACKBONE in found.columns else found.columns[0]]
    exclude, encoder, number = [], None, max(args.k, args.rerank or 0)
    if args.like is not None:
        exclude = [found.row(args.like)]
        query = found.query_like(exclude[0], columns)
    else:
        encoder = QueryEncoder(found, args.model, args.device)
        if args.text is not None and weights.keys() - {JOINT}:
            raise DataError("--by: words are compared in the joint space only: leave --by out")
        query = encoder.audio(args.audio, columns) if args.text is None else encoder.text(args.text)
    hits, errors = found.search(query, number, args.where, weights, exclude), []
    if args.rerank:
        again, errors = encoder.rerank(args.text, hits[: args.rerank])
        hits = again + hits[args.rerank :]
    hits = hits[: args.k]
    print(as_json(found, hits) if args.json else as_playlist(found, hits) if args.m3u else as_text(hits))
    for error in errors:
        print(f"not re-ranked: {printable(str(error))}", file=sys.stderr)
    return 1 if errors else 0


def as_text(hits: list[Hit]) -> str:
    """A line per track: rank, score, path and metadata."""
    lines = []
    for rank, hit in enumerate(hits, start=1):
        match = "" if hit.match is None else f"  match {hit.match:.3f}"
        known = {name: value for name, value in hit.metadata.items() if value is not None and name != "seconds"}
        details = "".join(f"  {name}={value}" for name, value in known.items())
        lines.append(printable(f"{rank:>3}  {hit.score:.3f}{match}  {hit.path}{details}"))
    return "\n".join(lines)


def as_json(index: SearchIndex, hits: list[Hit]) -> str:
    """A list of `{"path", "file", "score"}`, with `match` and the metadata where there are such."""
    rows = []
    for hit in hits:
        match = {} if hit.match is None else {"match": hit.match}
        rows.append({"path": hit.path, "file": str(index.file(hit.row)), "score": hit.score} | match | hit.metadata)
    return json.dumps(rows, indent=2, ensure_ascii=False, default=str)


def as_playlist(index: SearchIndex, hits: list[Hit]) -> str:
    """An M3U playlist of absolute paths.

    Raises:
        DataError: A path has a line break, which a playlist cannot have.
    """
    lines = ["#EXTM3U"]
    for hit in hits:
        file = index.file(hit.row)
        if not str(file).isprintable():
            raise DataError(f"{printable(hit.path)!r} cannot be in a playlist, because of its name: use --json")
        lines += [f"#EXTINF:{round(hit.metadata.get('seconds') or -1)},{file.stem}", str(file)]
    return "\n".join(lines)
