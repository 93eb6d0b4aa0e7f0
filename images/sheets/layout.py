"""Where the panels of a sheet go: how many stand in a row, and how large each one is. Pure arithmetic."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

WIDTH = 1280
"""Of a sheet in pixels, where nothing else is wanted: a common screen."""
NARROWEST, WIDEST = 640, 4096
"""Smallest and largest width of a sheet in pixels."""

_GOOD_SHAPE = 0.75
"""Height of the best page by its width."""
_EMPTY_PLACE = 0.45
"""How bad an empty place at the end is, on the scale of the logarithm of a page's shape."""
_TALLEST = 0.8
"""Most height of a picture, by the width of the page: so that each can be seen at one glance."""
_WIDTH_OF_WORDS = 185
"""Narrowest place in which captions can be read, in pixels of a page that is `WIDTH` wide."""
_SMALLEST_SIDE = 64
"""What a picture needs on its shorter side to be seen, in pixels."""
_SIZE_OF_WORDS = 90
"""About the height that heading and captions take of a row, in the same pixels."""

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Equal columns.

    Attributes:
        columns: How many.
        width: Of one column in pixels.
        tallest: Most height of a picture in pixels.
    """

    columns: int
    width: int
    tallest: int

    def fitted(self, size: Size) -> Size:
        """The size of a picture in its place, whole and in its own shape; a smaller one is enlarged."""
        scale = min(self.width / size[0], self.tallest / size[1])
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def grid_for(sizes: Sequence[Size], *, width: int, gap: int) -> Grid:
    """Choose the columns that make the page neither a strip nor a tower and leave few places empty.

    Args:
        sizes: Of the pictures, at least one.
        width: For all columns with the gaps between them, in pixels.
        gap: Between two columns.
    """
    scale = width / WIDTH
    most = max(1, min(len(sizes), int((width + gap) // (max(_WIDTH_OF_WORDS * scale, 170) + gap))))
    grids = [Grid(count, (width - gap * (count - 1)) // count, round(width * _TALLEST)) for count in range(1, most + 1)]
    return min(grids, key=lambda grid: _badness(grid, sizes, width, scale))


def _badness(grid: Grid, sizes: Sequence[Size], width: int, scale: float) -> float:
    rows = [sizes[start : start + grid.columns] for start in range(0, len(sizes), grid.columns)]
    heights = [max(grid.fitted(size)[1] for size in row) + _SIZE_OF_WORDS * scale for row in rows]
    empty = grid.columns * len(rows) - len(sizes)
    smallest = min(min(grid.fitted(size)) for size in sizes)
    shape = abs(math.log((sum(heights) + _SIZE_OF_WORDS * scale) / width / _GOOD_SHAPE))
    return shape + _EMPTY_PLACE * empty + max(0.0, math.log(_SMALLEST_SIDE / smallest))
