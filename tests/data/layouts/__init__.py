"""Tiny corpora in exactly the layouts in which the real ones are published, with what has to come out of them."""

from . import described, labeled
from .files import BROKEN, EMPTY, MISSING, Layout, write_audio, write_broken, write_empty, write_lines, write_table

__all__ = [
    "BROKEN",
    "EMPTY",
    "LAYOUTS",
    "MISSING",
    "Layout",
    "write_audio",
    "write_broken",
    "write_empty",
    "write_lines",
    "write_table",
]

LAYOUTS = {
    name.removeprefix("make_"): make
    for module in (described, labeled)
    for name, make in vars(module).items()
    if name.startswith("make_")
}
