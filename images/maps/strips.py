"""Working through a picture in strips of rows: they fit the cache, and a large picture takes little memory."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

STRIP_ROWS = 64
STRIP_MARGINS = 16
"""A strip has at least as many rows as this many of its margins, which are worked through twice."""

SourceT = TypeVar("SourceT", bound=np.generic)
ResultT = TypeVar("ResultT", bound=np.generic)


def strip_by_strip(
    source: npt.NDArray[SourceT],
    result: npt.NDArray[ResultT],
    work: Callable[[npt.NDArray[SourceT]], npt.NDArray[ResultT]],
    margin_rows: int,
) -> npt.NDArray[ResultT]:
    """Fill the result with what `work` makes of the source; the same numbers as in one piece.

    Args:
        source: The picture, rows first.
        result: An array with as many rows, which is filled and handed back.
        work: Makes rows of the result out of as many rows of the source.
        margin_rows: How far a row of the result depends on rows of the source above and below it.
    """
    rows = max(STRIP_ROWS, STRIP_MARGINS * margin_rows)
    for top in range(0, len(source), rows):
        above = min(top, margin_rows)
        made = work(source[top - above : top + rows + margin_rows])
        result[top : top + rows] = made[above : above + rows]
    return result
