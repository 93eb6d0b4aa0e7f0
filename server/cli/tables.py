"""Tables for people: as wide as the terminal, and never cut where the output is not one."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 220
"""Columns of a table that goes to a file or a pipe."""


def show_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Print a table; the first column is never broken, the last one wraps.

    Args:
        headings: One for each column.
        rows: Plain text; nothing in it is markup.
        title: A line above.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=title, title_justify="left")
    for index, heading in enumerate(headings):
        table.add_column(heading, no_wrap=index == 0, overflow="fold", header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    console.print(table)
