"""Working through a picture in strips of rows: they fit the cache, and a large picture takes little memory."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

STRIP_ROWS = 64

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
    for top in range(0, len(source), STRIP_ROWS):
        above = min(top, margin_rows)
        made = work(source[top - above : top + STRIP_ROWS + margin_rows])
        result[top : top + STRIP_ROWS] = made[above : above + STRIP_ROWS]
    return result
