"""A page in the browser to search and play the tracks of an index."""

import argparse
import mimetypes
import os
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

import fastapi
import uvicorn
from fastapi.responses import FileResponse, PlainTextResponse

from ..errors import AudioError, DataError, MulapError
from . import page
from .index import BACKBONE, JOINT, Hit, SearchIndex
from .page import gr
from .queries import QueryEncoder

_NO_SCRIPT = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}  # of what is served as audio


class Site:
    """The page of an index and the server of its audio files.

    Args:
        index: The index.
        encoder: Its model.
        number: Of tracks per search.
    """

    def __init__(self, index: SearchIndex, encoder: QueryEncoder, number: int = 10):
        self.index, self.encoder, self.number = index, encoder, number
        self.column = BACKBONE if BACKBONE in index.columns else index.columns[0]

    def by_words(self, text: str) -> tuple[str, str]:
        """Heading and list of the tracks that a text describes."""
        text = page.read_query(text)
        return f"### Tracks for “{_plain(text)}”", self._list(self.index.search(self.encoder.text(text), self.number))

    def by_file(self, path: str | None) -> tuple[str, str]:
        """Heading and list of the tracks that are most similar to an uploaded file."""
        if path is None:
            raise page.refusal("There is no audio yet: upload or record some, and wait until the upload is complete.")
        try:
            query = self.encoder.audio(path, [self.column])
        except AudioError as error:
            raise page.refusal(page.NO_AUDIO) from error
        return "### Tracks that sound like your audio", self._list(self.index.search(query, self.number))

    def by_track(self, request: gr.Request) -> tuple[str, str] | dict:
        """Heading and list of the tracks that are most similar to the one that the address names, `?like=ROW`."""
        if "like" not in request.query_params:
            return gr.skip()  # an empty list, if it arrives late, would replace what was found meanwhile
        row = self.row(request.query_params["like"])
        if row is None:
            raise page.refusal("This link is of a track that is not in the index.")
        query = self.index.query_like(row, [self.column])
        hits = self.index.search(query, self.number, exclude=[row])
        name = Path(self.index.hit(row, 1.0).path).stem
        return f"### Tracks that sound like “{_plain(name)}”", self._list(hits)

    def row(self, text: str) -> int | None:
        """The row of a track by its number in an address; None if the index does not have it."""
        if not (text.isascii() and text.isdecimal() and len(text) < 16):
            return None
        row = int(text)
        return row if row < len(self.index.live) and self.index.live[row] else None

    def audio(self, number: str) -> fastapi.Response:
        """The audio file of a track by its number. Nothing but the files of the index can be named."""
        row = self.row(number)
        file = None if row is None else self.index.file(row)
        if file is None or not file.is_file():
            return PlainTextResponse("There is no such track, or its file is missing.", 404)
        kind = mimetypes.guess_type(file.name)[0] or ""
        kind = kind if kind.startswith("audio/") else "application/octet-stream"
        return FileResponse(file, media_type=kind, headers=_NO_SCRIPT)  # serves ranges

    def build(self) -> gr.Blocks:
        """The page."""
        has_words = JOINT in self.index.columns and JOINT in self.encoder.embedder.fingerprints
        with gr.Blocks(title="Find music", analytics_enabled=False) as blocks:
            gr.Markdown(f"# Find music\n{len(self.index):,} tracks of `{self.index.folder.resolve().name}`")
            with gr.Row(equal_height=False):
                with gr.Column(min_width=320, visible=has_words):
                    words = gr.Textbox(
                        label="Description", placeholder="calm piano with strings", max_length=page.MAX_CHARACTERS
                    )
                    find = gr.Button("Find by words", variant="primary")
                with gr.Column(min_width=320):
                    audio = gr.Audio(
                        type="filepath", sources=["upload", "microphone"], buttons=[], label="Or your own audio"
                    )
                    compare = gr.Button("Find similar tracks")
            heading, found = gr.Markdown(), gr.HTML(padding=False)
            blocks.load(js=page.PLAIN_WORDS)
            blocks.load(self.by_track, outputs=[heading, found])
            page.on([find.click, words.submit], self.by_words, words, [heading, found])
            page.on([compare.click], self.by_file, audio, [heading, found])
        return blocks

    def app(self) -> fastapi.FastAPI:
        """The server: `/audio/ROW` and the page."""
        app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.get("/audio/{number}")(self.audio)
        return gr.mount_gradio_app(
            app,
            self.build(),
            "/",
            footer_links=[],
            theme=page.THEME,
            max_file_size=page.MAX_MEGABYTES * 2**20,
            show_error=True,
        )

    def _list(self, hits: list[Hit]) -> str:
        tracks = []
        for hit in hits:
            known = {name: value for name, value in hit.metadata.items() if value is not None and name != "seconds"}
            details = [str(Path(hit.path).parent), *(f"{name}: {value}" for name, value in known.items())]
            details.append(f"similarity {hit.score:.2f}")
            address = f"audio/{hit.row}" if self.index.file(hit.row).is_file() else None
            more = (f"?like={hit.row}", "Similar tracks")
            tracks.append(page.Track(Path(hit.path).stem, address, " · ".join(details), more))
        return page.track_list(tracks)


def serve(args: argparse.Namespace) -> int:
    """Serves the page until it is interrupted.

    Raises:
        MulapError: The index or its model cannot be used, or the address is taken.
    """
    index = SearchIndex(args.index)
    if args.root is not None:
        if not os.path.isdir(args.root):
            raise DataError(f"--root {args.root} is not a folder")
        index.about["root"] = os.path.abspath(args.root)
    site = Site(index, QueryEncoder(index, args.model, args.device), args.k)
    try:
        listener = socket.create_server((args.host, args.port))
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise MulapError(
            f"--host {args.host} --port {args.port} cannot be used: {reason}: choose another --port"
        ) from error
    with listener, tempfile.TemporaryDirectory(prefix="mulap-serve-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads  # nothing that other programs left there is served
        print(f"{len(index)} tracks on http://{args.host}:{listener.getsockname()[1]} (Ctrl-C ends it)", flush=True)
        config = uvicorn.Config(site.app(), log_level="warning", timeout_graceful_shutdown=1)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run([listener])
    return 0


def _plain(text: str) -> str:
    """A text that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>()#+-.!|$~&" else letter for letter in text)
