"""`controlnet-mcp sheet`, `--like` and `--sidecar`."""

from pathlib import Path

import pytest
from PIL import Image

from controlnet_mcp.jobs.results import Provenance
from controlnet_mcp.server.cli.jobs import SavedSheet
from controlnet_mcp.tools.list_jobs import JobList
from controlnet_mcp.tools.views import Job
from tests.server.test_cli import Terminal
from tests.support.sheet_reader import read_page

SMALL = ("--width", "64", "--height", "64")


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Terminal(tmp_path / "data")


def made(terminal: Terminal, *words: str | Path) -> Job:
    """Generate something; only the job is wanted."""
    ended = terminal.run("generate", *words, *SMALL, "--json")
    assert ended.exit_code == 0, ended.stderr
    return Job.model_validate_json(ended.stdout)


def test_a_sheet_is_saved_under_a_readable_name(terminal: Terminal, pictures: Path) -> None:
    """Its full path is all there is on stdout; a second one does not replace it."""
    job = made(terminal, "A Cosy Cottage", pictures / "photo.png", "--num-images", "2")
    paths = [Path(terminal.run("sheet", job.job_id).stdout.strip()) for _ in range(2)]
    assert [path.name for path in paths] == [f"controlnet-a-cosy-cottage-sheet{end}.png" for end in ("", "-2")]
    assert all(path.parent == Path.cwd() for path in paths)
    with Image.open(paths[0]) as page:
        assert (page.format, page.width) == ("PNG", 1280)
        assert len(read_page(page).panels) == 4


def test_a_sheet_has_the_form_and_width_that_are_asked_for(terminal: Terminal, pictures: Path) -> None:
    """With `--json` it is told in full."""
    job = made(terminal, "a house", pictures / "photo.png")
    shown = terminal.run("sheet", job.job_id, "--output", "house.jpg", "--width", "700", "--json").stdout
    saved = SavedSheet.model_validate_json(shown)
    assert saved.uri == job.sheet_uri
    with Image.open(saved.path) as page:
        assert (saved.path.name, page.format, page.size) == ("house.jpg", "JPEG", (saved.width, saved.height))
        assert page.width == 700


def test_a_sheet_that_cannot_be_made_is_told(terminal: Terminal, pictures: Path) -> None:
    """No such job, or one without results."""
    unknown = terminal.run("sheet", f"job_{'0' * 32}")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    failing = ("--provider-option", "simulate=failed", "--provider-option", "seconds=0")
    terminal.run("generate", "a house", pictures / "photo.png", *SMALL, *failing)
    (job,) = JobList.model_validate_json(terminal.run("jobs", "--json").stdout).jobs
    failed = terminal.run("sheet", job.job_id)
    assert failed.exit_code == 1
    assert "it is failed" in failed.stderr
    assert list(Path.cwd().iterdir()) == []


def test_a_job_is_repeated_by_its_id(terminal: Terminal, pictures: Path) -> None:
    """With a new prompt, or with nothing but options; the picture is not named again."""
    first = made(terminal, "a house", pictures / "photo.png", "--modality", "canny:0.7", "--seed", "5")
    second = made(terminal, "--like", first.job_id, "in winter")
    third = made(terminal, "--like-job", first.job_id, "--seed", "6")
    other = made(terminal, "--like", first.job_id, "", pictures / "sketch.png")
    assert [(job.prompt, job.seed) for job in (second, third)] == [("in winter", 5), ("a house", 6)]
    assert [job.controls for job in (second, third, other)] == [first.controls] * 3
    assert first.images is not None
    assert other.images is not None
    assert (other.prompt, other.seed) == ("a house", 5)
    assert other.images[0].sha256 != first.images[0].sha256


def test_without_an_earlier_job_prompt_and_picture_are_needed(terminal: Terminal) -> None:
    """A wrong call, told before anything is done."""
    ended = terminal.run("generate", "a house")
    assert ended.exit_code == 2
    assert "Missing IMAGE, or --like" in ended.stderr


def test_a_sidecar_is_saved_where_it_is_asked_for(terminal: Terminal, pictures: Path) -> None:
    """Beside every picture, under its name; not otherwise, and for an earlier job too."""
    photo = pictures / "photo.png"
    terminal.run("generate", "a house", photo, *SMALL)
    assert [path.suffix for path in Path.cwd().iterdir()] == [".png"]
    ended = terminal.run("generate", "a tree", photo, *SMALL, "--num-images", "2", "--sidecar")
    paths = [Path(line) for line in ended.stdout.splitlines()]
    notes = [Provenance.model_validate_json(path.with_name(f"{path.name}.json").read_bytes()) for path in paths]
    assert [note.index for note in notes] == [0, 1]
    assert {note.request.prompt for note in notes} == {"a tree"}
    again = terminal.run("status", notes[0].job_id, "--output", "again.png", "--sidecar")
    assert Path("again.png.json").read_bytes() == paths[0].with_name(f"{paths[0].name}.json").read_bytes()
    assert len(again.stdout.splitlines()) == 2
