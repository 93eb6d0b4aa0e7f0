"""How a bench is run: `python -m bench.NAME`, with the parameters of its `main` as words that may be left out."""

import argparse
import inspect
import sys
from collections.abc import Callable


def run(main: Callable[..., None]) -> None:
    """Call a bench's `main` with what the command line says; `--help` shows the bench's own text.

    Args:
        main: Takes whole numbers, numbers and texts, each with a default.
    """
    module = sys.modules[main.__module__]
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=module.__doc__, formatter_class=form)
    for name, parameter in inspect.signature(main).parameters.items():
        default: str | int | float = parameter.default
        parser.add_argument(name, nargs="?", type=type(default), default=default, help=f"default: {default!r}")
    main(**vars(parser.parse_args()))
