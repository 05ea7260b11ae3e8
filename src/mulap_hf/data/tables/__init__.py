"""Tables as people have them: how they are read, which columns they have, and what their cells say."""

from .cells import caption_problem, clean_labels, clean_text, is_missing
from .delimited import read_cells
from .reading import TABLE_SUFFIXES, read_rows, read_table
from .table import Table
from .text import parse_json, read_text

__all__ = [
    "TABLE_SUFFIXES",
    "Table",
    "caption_problem",
    "clean_labels",
    "clean_text",
    "is_missing",
    "parse_json",
    "read_cells",
    "read_rows",
    "read_table",
    "read_text",
]
