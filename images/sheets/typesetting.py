"""Lines of text on a sheet: broken where they may be, ended by an ellipsis where there are too many, and drawn.

Imported lazily: it brings Pillow.
"""

from dataclasses import dataclass

from PIL.ImageDraw import ImageDraw

from controlnet_mcp.images.sheets.fonts import drawable, runs_of
from controlnet_mcp.images.sheets.scripts import legible, may_break, plain, runs_leftwards

_MOST_CHARACTERS = 2000
"""What is looked at of a text: more than any page shows of it."""
_LINE_HEIGHT, _BASE_LINE = 1.4, 1.08
"""By the size of the letters: from line to line, and from the top of a line to its base; accents on capitals fit."""
_ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Style:
    """How text looks: the size of its letters in pixels, its colour, and the most lines that it may take."""

    size: int
    colour: tuple[int, int, int]
    lines: int

    @property
    def line_height(self) -> int:
        """From one base line to the next in pixels."""
        return round(self.size * _LINE_HEIGHT)


def lines_of(text: str, style: Style, width: int) -> list[str]:
    """The text in at most `style.lines` lines that are no wider than `width` pixels."""
    rest = legible(plain(text[:_MOST_CHARACTERS]), drawable)
    lines: list[str] = []
    while rest and len(lines) < style.lines:
        count = _fitting(rest, style.size, width)
        lines.append(rest[:count].rstrip())
        rest = rest[count:].lstrip()
    if rest or len(text) > _MOST_CHARACTERS:
        lines[-1] = _ended(lines[-1], style.size, width)
    return lines


def draw_lines(draw: ImageDraw, lines: list[str], style: Style, place: tuple[int, int], *, centred: bool) -> int:
    """Draw lines below each other.

    Args:
        draw: The page.
        lines: From `lines_of`.
        style: Likewise.
        place: The upper end; its left end, or its middle when centred.
        centred: Whether `place` is the middle.

    Returns:
        Where the next line would begin, in pixels from the top.
    """
    left, top = place
    leftwards = runs_leftwards(" ".join(lines))
    for line in lines:
        start = left - width_of(line, style.size) / 2 if centred else float(left)
        for run in runs_of(line, style.size):
            at = (start, top + round(style.size * _BASE_LINE))
            direction = run.direction(leftwards=leftwards)
            draw.text(at, run.text, font=run.font, fill=style.colour, anchor="ls", direction=direction)
            start += run.font.getlength(run.text)
        top += style.line_height
    return top


def width_of(text: str, size: int) -> float:
    """How wide a line is in pixels."""
    return sum(run.font.getlength(run.text) for run in runs_of(text, size))


def _fitting(text: str, size: int, width: int) -> int:
    """How many characters stand on a line: up to the last place where it may break, or all that fit of a long word."""
    count = _most_that_fit(text, size, width)
    if count == len(text):
        return count
    places = (
        place for place in range(count, 0, -1) if may_break(text[place - 1], text[place]) or text[place].isspace()
    )
    return next(places, count)


def _most_that_fit(text: str, size: int, width: int) -> int:
    """How many characters fit, at least one; found by halving, since a longer text is never narrower."""
    low, high = 1, min(len(text), max(1, width // max(1, size // 5)))
    while low < high:
        middle = (low + high + 1) // 2
        if width_of(text[:middle].rstrip(), size) <= width:
            low = middle
        else:
            high = middle - 1
    return low


def _ended(line: str, size: int, width: int) -> str:
    while line and width_of(line + _ELLIPSIS, size) > width:
        line = line[:-1].rstrip()
    return line + _ELLIPSIS
