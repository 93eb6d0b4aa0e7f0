"""Comparison sheets as pictures: nothing is cut, nothing overlaps, everything can be read, whatever is on them."""

import io
import unicodedata
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from controlnet_mcp.foundation.text import one_line
from controlnet_mcp.images.contact_sheet import NARROWEST, WIDTH, Panel, Sheet
from controlnet_mcp.images.contact_sheet.page import (
    Size,
    Style,
    compose,
    encode,
    grid_for,
    legible,
    lines_of,
    runs_leftwards,
    width_of,
)
from tests.support.sheet_reader import Found, meet, read_page

WIDTHS = (NARROWEST, WIDTH, 2560)
SHAPES: dict[str, Size] = {
    "landscape": (1024, 768),
    "portrait": (768, 1344),
    "square": (512, 512),
    "strip": (2048, 256),
    "tower": (128, 1024),
}
PROMPT = "An oil painting of an astronaut in the manner of the Dutch masters by candle light, "
SCRIPTS = "Кот и λόγος, café Ångström Ếgjpqy, 一只猫 ねこ 고양이, قطة חתול, 🐱 naïve"
STYLE = Style(18, (0, 0, 0), 3)


def panel(size: Size, caption: str, detail: str = "", colour: tuple[int, int, int] = (90, 130, 60)) -> Panel:
    """A panel of one colour."""
    return Panel(*size, lambda: np.full((size[1], size[0], 3), colour, dtype=np.uint8), caption, detail)


def sheet(sizes: Sequence[Size], heading: str = PROMPT * 8) -> Sheet:
    """A sheet with long texts everywhere."""
    score = "structure kept: 0.87 (edge F1), flagged by the provider"
    panels = tuple(panel(size, f"Result {number}", score) for number, size in enumerate(sizes))
    lines = (f"Without: {PROMPT * 3}", "canny:0.6 + depth:0.4 · scenario · flux.1-dev-controlnet-union · seed 1204")
    return Sheet(heading, lines, panels, "job_0123456789abcdef0123456789abcdef · 2026-11-25 12:00 UTC")


def checked(page: Image.Image, count: int) -> Found:
    """Read a page that is laid out as it should be: margins kept, and nothing on top of anything else."""
    found = read_page(page)
    assert len(found.pictures) == count
    margin = round(24 * page.width / WIDTH) - 1
    ground = found.pixels[0, 0]
    edges = found.pixels[:margin], found.pixels[-margin:], found.pixels[:, :margin], found.pixels[:, -margin:]
    assert all(np.all(edge == ground) for edge in edges), "something runs into the margin"
    for index, box in enumerate(found.pictures):
        assert not any(meet(box, other) for other in found.pictures[index + 1 :])
        assert not any(meet(box, mark) for mark in found.marks), "words run into a picture"
    return found


@pytest.mark.parametrize(
    ("shape", "count", "width"),
    [*((shape, 6, width) for shape in SHAPES for width in WIDTHS[:2]), ("landscape", 3, WIDTHS[2])],
)
def test_a_page_keeps_its_margins_and_nothing_overlaps(shape: str, count: int, width: int) -> None:
    """With long texts, in three widths and five shapes; every picture is whole and in its own shape."""
    size = SHAPES[shape]
    page = compose(sheet([size] * count), width)
    assert page.width == width
    for left, top, right, bottom in checked(page, count).pictures:
        assert (right - left) / (bottom - top) == pytest.approx(size[0] / size[1], rel=0.03)


@pytest.mark.parametrize("count", [1, 2, 5, 24])
def test_a_page_holds_any_number_of_pictures(count: int) -> None:
    """Of different shapes, too."""
    sizes = [list(SHAPES.values())[index % 3] for index in range(count)]
    checked(compose(sheet(sizes, "short")), count)


def test_pictures_are_in_reading_order() -> None:
    """As they were given, row by row."""
    colours = ((200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0))
    panels = tuple(panel((400, 300), "caption", colour=colour) for colour in colours)
    found = read_page(compose(Sheet("heading", (), panels, "footer")))
    assert [tuple(part.mean(axis=(0, 1)).round()) for part in found.panels] == list(colours)


def test_a_picture_that_is_gone_leaves_a_place_that_says_so() -> None:
    """The rest of the sheet is there."""
    gone = Panel(512, 512, lambda: None, "Control image")
    found = read_page(compose(Sheet("heading", (), (gone, panel((512, 512), "Result")), "footer")))
    empty, drawn = found.panels
    assert drawn.std(axis=(0, 1)).max() < 1
    assert 0 < np.count_nonzero(empty.min(axis=2) < 110) < empty.shape[0] * empty.shape[1] * 0.1


def test_a_white_picture_ends_somewhere() -> None:
    """A thin edge is round every picture."""
    colours = ((255, 255, 255), (244, 242, 237))
    panels = tuple(panel((512, 512), "", colour=colour) for colour in colours)
    assert len(read_page(compose(Sheet("", (), panels, ""))).pictures) == 2


@pytest.mark.parametrize("width", WIDTHS[:2])
def test_words_stand_out(width: int) -> None:
    """The darkest of every line of text has a contrast of at least 4.5 to 1 with the page (WCAG 2.1, 1.4.3)."""
    found = checked(compose(sheet([(512, 512)] * 3), width), 3)
    tall = [box for box in found.marks if box[3] - box[1] > 6]
    darkest = [int(found.pixels[top:bottom, left:right].max(axis=2).min()) for left, top, right, bottom in tall]
    assert len(tall) > 200
    page = int(found.pixels[0, 0].min())
    assert sorted((luminance(page) + 0.05) / (luminance(dark) + 0.05) for dark in darkest)[len(tall) // 20] > 4.5


def luminance(level: int) -> float:
    """Relative luminance of a grey level, after WCAG 2.1."""
    share = level / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


@pytest.mark.parametrize("heading", [SCRIPTS, SCRIPTS * 20, "一" * 400, "x" * 2000, "قطة " * 200, "", "\u202e\x00\n"])
def test_words_in_any_script_are_set(heading: str) -> None:
    """Drawn, or told in words where this machine has no font; none makes the page another one."""
    checked(compose(sheet([(512, 512)] * 2, heading)), 2)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=120), st.integers(120, 400))
@settings(max_examples=25, deadline=None)
def test_no_line_is_too_wide_and_none_too_many(text: str, width: int) -> None:
    """Any text, in any place."""
    lines = lines_of(text, STYLE, width)
    assert len(lines) <= STYLE.lines
    assert all(width_of(line, STYLE.size) <= width for line in lines)


@given(st.lists(st.text("abcdefg", min_size=1, max_size=9), max_size=12))
def test_lines_are_broken_between_words(words: list[str]) -> None:
    """Nothing is lost, unless an ellipsis says so."""
    lines = lines_of(" ".join(words), STYLE, 160)
    if not lines or not lines[-1].endswith("…"):
        assert " ".join(lines).split() == words
    else:
        assert " ".join(words).startswith(" ".join(lines).removesuffix("…").rstrip())


@given(st.lists(st.tuples(st.integers(1, 8192), st.integers(1, 8192)), min_size=1, max_size=24), st.integers(592, 4000))
def test_a_grid_holds_every_picture(sizes: list[Size], width: int) -> None:
    """Whole, at least a pixel each way, inside of its column."""
    grid = grid_for(sizes, width=width, gap=16)
    assert grid.columns * grid.width + (grid.columns - 1) * 16 <= width
    for size in sizes:
        wide, tall = grid.fitted(size)
        assert 1 <= wide <= grid.width
        assert 1 <= tall <= grid.tallest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("一只猫, snow", "[3 CJK characters], snow"),
        ("고양이", "[3 Hangul characters]"),
        ("a 🐱🐱", "a [cat face][cat face]"),
        ("café \N{EN DASH} naïve", "cafe - naive"),
        ("Кот Ж", "[3 Cyrillic characters] [1 Cyrillic character]"),
        ("plain words", "plain words"),
    ],
)
def test_what_cannot_be_drawn_is_told(text: str, said: str) -> None:
    """By script and number, by name, or in plainer letters."""
    assert legible(text, str.isascii) == said


@pytest.mark.parametrize(
    ("text", "leftwards"), [("قطة in the snow", True), ("a חתול", False), ("12, חתול", True), ("[1]", False)]
)
def test_a_text_runs_as_its_first_letter_does(text: str, *, leftwards: bool) -> None:
    """Also where a line of it begins with a word of the other direction."""
    assert runs_leftwards(text) is leftwards


@given(st.text())
def test_a_plain_text_is_one_line_without_controls(text: str) -> None:
    """No override of direction, no line end, nothing unassigned; joiners stay, which shape letters."""
    left = one_line(text, instead="", kept="\u200c\u200d")
    assert "\n" not in left
    assert all(char in "\u200c\u200d" or unicodedata.category(char)[0] != "C" for char in left)
    assert one_line(left, instead="", kept="\u200c\u200d") == left


@pytest.mark.parametrize(("as_jpeg", "form"), [(False, "PNG"), (True, "JPEG")])
def test_a_page_is_png_or_jpeg(*, as_jpeg: bool, form: str) -> None:
    """As its file name says."""
    with Image.open(io.BytesIO(encode(Image.new("RGB", (8, 8)), as_jpeg=as_jpeg))) as page:
        assert page.format == form
