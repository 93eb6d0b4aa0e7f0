"""Ctrl-C as people mean it: stop here, without a traceback."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

import click

EXIT_CODE = 130
"""What shells expect of a command that was interrupted: 128 and the number of the signal."""


@contextmanager
def interruptible(farewell: Callable[[], str] | None = None) -> Generator[None]:
    """End the program when the block is interrupted, after a last word on stderr."""
    try:
        yield
    except KeyboardInterrupt:
        if farewell is not None:
            click.echo(farewell(), err=True)
        sys.exit(EXIT_CODE)
