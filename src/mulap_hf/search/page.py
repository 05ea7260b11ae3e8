"""What the page of `mulap serve` and that of the published Space share. The Space has no other file of the package."""

import html
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported

import gradio as gr

MAX_MEGABYTES, MAX_CHARACTERS = 50, 300
FORMATS = ("wav", "flac", "ogg", "mp3")
NO_AUDIO = "This file cannot be read as audio. Please use a wav, flac, ogg or mp3 file."
# White text on the default orange is hard to read.
THEME = gr.themes.Default(primary_hue="blue").set(button_primary_background_fill="*primary_700")
# Gradio's own message for other files is a list of MIME types.
PLAIN_WORDS = f"""() => new MutationObserver(() => {{
    for (const toast of document.querySelectorAll("[data-testid=toast-text]"))
        if (toast.textContent.startsWith("Invalid file type")) toast.textContent = "{NO_AUDIO}";
}}).observe(document.body, {{childList: true, subtree: true}})"""
_LIST = "display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 16px"
_TRACK = "border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 12px; overflow-wrap: anywhere"
_DETAILS = "font-size: 0.9em; margin: 4px 0 8px"
_LINK = "display: inline-block; margin: 8px 0 0; padding: 0"

# By default, a search that begins before another one has ended is ignored. The server takes them in order.
on = partial(gr.on, trigger_mode="multiple")
refusal = partial(gr.Error, print_exception=False)  # mistakes of visitors leave no traceback in the log


@dataclass(frozen=True)
class Track:
    """A track in a list.

    title: Its name.
    address: Where its audio is; None if the file is missing.
    details: What else is known about it.
    more: Address and text of a link.
    """

    title: str
    address: str | None
    details: str = ""
    more: tuple[str, str] | None = None


def track_list(tracks: Iterable[Track]) -> str:
    """HTML of tracks with their ranks and players, best first."""
    items = []
    for rank, track in enumerate(tracks, start=1):
        title, details = html.escape(f"{rank}. {track.title}"), html.escape(track.details)
        if track.address is None:
            player = "<p>The audio file is missing.</p>"
        else:
            player = (
                f'<audio controls preload="metadata" aria-label="{html.escape(track.title)}" style="width: 100%" '
                f'src="{html.escape(track.address)}"></audio>'
            )
        more = (
            f'<a style="{_LINK}" href="{html.escape(track.more[0])}">{html.escape(track.more[1])}</a>'
            if track.more
            else ""
        )
        text = f'<b>{title}</b><div style="{_DETAILS}">{details}</div>' if details else f"<b>{title}</b>"
        items.append(f'<article style="{_TRACK}">{text}{player}{more}</article>')
    return f'<div style="{_LIST}">{"".join(items)}</div>'


def read_query(text: str) -> str:
    """A description in words.

    Raises:
        gr.Error: it is empty, or too long.
    """
    if not text.strip():
        raise refusal("Describe the music in a few words first.")
    if len(text) > MAX_CHARACTERS:
        raise refusal(f"This description is too long: the limit is {MAX_CHARACTERS} characters.")
    return text.strip()
