"""`modalities`, `models` and `control-map` by hand."""

from pathlib import Path

import pytest
from PIL import Image

from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.tools.extract_control_map import MapView
from controlnet_mcp.tools.list_modalities import ModalityList
from controlnet_mcp.tools.list_models import ModelList
from tests.server.test_cli import Terminal


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Terminal(tmp_path / "data")


def test_every_modality_is_listed(terminal: Terminal) -> None:
    """As a table for people, with who is ready."""
    shown = terminal.run("modalities").stdout
    first_words = {line.split()[0] for line in shown.splitlines() if line.strip()}
    assert first_words >= {*MODALITIES, "draft"}
    assert "not AI" in shown


def test_modalities_can_be_narrowed(terminal: Terminal) -> None:
    """As the tool does it."""
    found = ModalityList.model_validate_json(
        terminal.run("modalities", "--json", "--provider", "draft", "--modality", "openpose").stdout
    )
    assert [row.name for row in found.modalities] == ["pose"]
    assert [row.name for row in found.providers] == ["draft"]
    assert terminal.run("modalities", "--modality", "poze").exit_code == 1


def test_the_models_of_a_provider_are_listed(terminal: Terminal) -> None:
    """With its own options, as a table and as JSON."""
    found = ModelList.model_validate_json(terminal.run("models", "draft", "--json").stdout)
    shown = terminal.run("models", "draft").stdout
    assert all(row.name in shown for row in found.models)
    assert all(name in shown for name in found.options)
    ended = terminal.run("models", "dratf")
    assert ended.exit_code == 1
    assert "Did you mean draft" in ended.stderr


def test_a_control_map_is_saved_beside_nothing_else(terminal: Terminal, pictures: Path) -> None:
    """Its name says of what and which; a second one does not replace it."""
    paths = [Path(terminal.run("control-map", pictures / "photo.png").stdout.strip()) for _ in range(2)]
    assert [path.name for path in paths] == ["photo-canny.png", "photo-canny-2.png"]
    with Image.open(paths[0]) as made:
        assert made.size == (256, 256)
    assert len(list(Path.cwd().iterdir())) == 2


def test_a_control_map_has_its_knobs(terminal: Terminal, pictures: Path) -> None:
    """Numbers need no quotes, and the JSON is the tool's."""
    options = ("--modality", "blur", "--parameter", "sigma_pixels=3", "--resolution", "128", "--json")
    ended = terminal.run("control-map", pictures / "photo.png", *options, "--output", "map.png")
    made = MapView.model_validate_json(ended.stdout)
    assert ended.stdout == f"{made.model_dump_json(exclude_none=True)}\n"
    assert (made.modality, made.parameters, made.width) == ("blur", {"sigma_pixels": 3}, 128)
    assert made.path is not None
    assert Path("map.png").read_bytes() == made.path.read_bytes()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--modality", "depth"), 1),
        (("--parameter", "sharpness=3"), 1),
        (("--parameter", "sigma_pixels"), 2),
        (("--resolution", "3"), 2),
    ],
)
def test_a_map_that_cannot_be_made_is_refused(
    terminal: Terminal, pictures: Path, options: tuple[str, ...], code: int
) -> None:
    """In a sentence; nothing is written."""
    ended = terminal.run("control-map", pictures / "photo.png", *options)
    assert (ended.exit_code, ended.stdout) == (code, "")
    assert "Error: " in ended.stderr
    assert list(Path.cwd().iterdir()) == []
