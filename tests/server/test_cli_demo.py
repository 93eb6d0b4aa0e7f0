"""The demo, as a newcomer runs it: another process, a real client over stdio, one picture to look at."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from controlnet_mcp.images.contact_sheet import WIDTH
from controlnet_mcp.images.maps.arrays import Plane, Rgb, luminance
from controlnet_mcp.server.cli.demo import PROMPTS, draw_sketch
from tests.server.test_cli import TIMEOUT_SECONDS, Terminal
from tests.support.sheet_reader import read_page


@dataclass(frozen=True, slots=True)
class Show:
    """What a run of the demo left behind, in a folder that already held a `controlnet-demo.png`."""

    folder: Path
    stdout: str

    @property
    def path(self) -> Path:
        """The picture that it says it made."""
        return Path(self.stdout.splitlines()[-1])

    @property
    def panels(self) -> list[Rgb]:
        """The four pictures on the page, in reading order."""
        with Image.open(self.path) as page:
            return read_page(page).panels


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Show:
    """One run; it takes some seconds."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "controlnet-demo.png").write_bytes(b"mine")
    with Terminal(folder / "data").start("demo", "--output", folder) as program:
        try:
            stdout, stderr = program.communicate(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            raise
    assert (program.returncode, stderr) == (0, "")
    return Show(folder, stdout)


def lines_of(picture: Rgb) -> Plane:
    """Where a picture changes sharply: 255 there, else 0."""
    return np.asarray(cv2.dilate(cv2.Canny(luminance(picture), 60, 120), np.ones((3, 3), np.uint8)), dtype=np.uint8)


def test_it_says_what_it_does(show: Show) -> None:
    """Each step with its seconds, what `draft` is not, and where the picture is."""
    for prompt in PROMPTS:
        assert f"controlnet_generate drew “{prompt}”" in show.stdout
    assert "extract_control_map" in show.stdout
    assert "not an AI model" in show.stdout


def test_it_overwrites_nothing_and_leaves_one_picture(show: Show) -> None:
    """Neither a picture of that name nor the user's own data folder is touched."""
    assert show.path == show.folder / "controlnet-demo-2.png"
    assert {path.name for path in show.folder.iterdir()} == {"controlnet-demo.png", "controlnet-demo-2.png"}
    assert (show.folder / "controlnet-demo.png").read_bytes() == b"mine"


def test_the_picture_is_a_png_to_be_looked_at(show: Show) -> None:
    """1280 pixels wide, with room for captions."""
    with Image.open(show.path) as page:
        assert page.format == "PNG"
        assert page.width == WIDTH
        assert page.height > 2 * WIDTH / 3


def test_the_four_pictures_differ(show: Show) -> None:
    """None is blank, none is another one; the map is white on black."""
    panels = show.panels
    assert all(panel.std() > 20 for panel in panels)
    for index, panel in enumerate(panels):
        for other in panels[index + 1 :]:
            assert np.abs(panel.astype(np.int16) - other).mean() > 20
    assert np.median(panels[1]) == 0
    assert panels[1].max() > 240


def test_the_new_pictures_keep_the_lines_of_the_sketch(show: Show) -> None:
    """That is what it is all about: most lines of the map are lines of both results."""
    _, control_map, *results = show.panels
    drawn = luminance(control_map) > 200
    for result in results:
        kept = lines_of(result)[drawn]
        assert np.count_nonzero(kept) / kept.size > 0.7


def test_the_sketch_is_always_the_same_drawing() -> None:
    """Dark lines on light paper, in the size that is promised."""
    sketch = draw_sketch()
    assert sketch.shape == (768, 1024, 3)
    assert np.median(sketch) > 240
    assert 0.01 < (luminance(sketch) < 128).mean() < 0.1
    assert np.array_equal(sketch, draw_sketch())
