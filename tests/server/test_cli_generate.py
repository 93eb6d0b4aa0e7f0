"""`controlnet-mcp generate`: pictures as files, jobs as JSON, refusals as sentences."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image

from controlnet_mcp.providers.types import Fault
from controlnet_mcp.tools.controlnet_generate import DryRun
from controlnet_mcp.tools.list_jobs import JobList
from controlnet_mcp.tools.views import Job
from tests.server.test_cli import TIMEOUT_SECONDS, Terminal

SMALL = ("--width", "64", "--height", "64")
QUEUED = ("--provider-option", "simulate=queued", "--provider-option", "seconds=600")


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Terminal(tmp_path / "data")


@pytest.fixture
def photo(pictures: Path) -> Path:
    """A photo outside of the working directory."""
    return pictures / "photo.png"


def jobs_of(terminal: Terminal) -> tuple[Job, ...]:
    """All jobs in a terminal's data folder."""
    return JobList.model_validate_json(terminal.run("jobs", "--json").stdout).jobs


def test_the_picture_is_saved_under_a_readable_name(terminal: Terminal, photo: Path) -> None:
    """Its full path is all there is on stdout; stderr tells of the job, and that `draft` is not AI."""
    ended = terminal.run("generate", "A Cosy Cottage, watercolour!", photo, *SMALL)
    path = Path.cwd() / "controlnet-a-cosy-cottage-watercolour.png"
    assert ended.exit_code == 0
    assert ended.stdout == f"{path}\n"
    assert "not an AI model" in ended.stderr
    with Image.open(path) as picture:
        assert (picture.format, picture.size) == ("PNG", (64, 64))


def test_a3_a_file_in_another_unicode_form_is_found_from_the_command_line(terminal: Terminal, photo: Path) -> None:
    """A3: as over MCP, and the notice says which it was."""
    shutil.copy(photo, "Screenshot at 4.42\u202fPM.png")
    ended = terminal.run("control-map", "screenshot at 4.42 PM.png")
    assert ended.exit_code == 0
    assert "4.42\\u202fPM.png" in ended.stderr


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("[Image #1]", "Pictures of the chat do not reach this server"),
        ("C:\\pictures\\cat.png", "is a path of Windows"),
        ("house.png", "There is no 'house.png' in"),
        ('{"a": 1}', "there is no picture"),
    ],
)
def test_a4_a6_a8_the_command_line_says_what_is_wrong_with_a_name(terminal: Terminal, image: str, says: str) -> None:
    """A4, A6, A8: in one sentence, and one on what to do."""
    ended = terminal.run("control-map", image)
    assert ended.exit_code == 1
    assert says in ended.stderr


def test_a_prompt_of_any_language_is_kept_and_names_the_picture(terminal: Terminal, photo: Path) -> None:
    """A slash in it leads nowhere, and the control picture may have such a name, too."""
    Path("наброски").mkdir()
    picture = shutil.copy(photo, Path("наброски", "чёрный кот.png"))
    prompts = ("black/white cat", "чёрный/белый кот", "黒い猫")
    paths = [Path(terminal.run("generate", prompt, str(picture), *SMALL).stdout.strip()) for prompt in prompts]
    names = ("black-white-cat", "чёрный-белый-кот", "黒い猫")
    assert paths == [Path.cwd() / f"controlnet-{name}.png" for name in names]
    assert all(path.is_file() for path in paths)
    assert {job.prompt for job in jobs_of(terminal)} == set(prompts)


def test_a_second_picture_does_not_replace_the_first(terminal: Terminal, photo: Path) -> None:
    """It gets a name of its own, and the same command means a new job each time."""
    paths = [Path(terminal.run("generate", "a house", photo, *SMALL).stdout.strip()) for _ in range(3)]
    assert [path.name for path in paths] == [f"controlnet-a-house{end}.png" for end in ("", "-2", "-3")]
    assert len({path.read_bytes() for path in paths}) == 3
    assert len(jobs_of(terminal)) == 3


def test_several_pictures_get_several_names(terminal: Terminal, photo: Path) -> None:
    """One path a line."""
    ended = terminal.run("generate", "a house", photo, *SMALL, "--num-images", "2", "--output", "house.png")
    assert [Path(line).name for line in ended.stdout.splitlines()] == ["house.png", "house-2.png"]


@pytest.mark.parametrize(
    ("output", "name"),
    [
        ("new/house.png", "new/house.png"),
        ("house.jpg", "house.png"),
        ("house", "house.png"),
        (".", "controlnet-a.png"),
        ("new/", "new/controlnet-a.png"),
    ],
)
def test_the_output_may_be_a_file_or_a_folder(terminal: Terminal, photo: Path, output: str, name: str) -> None:
    """An extension that would lie about the picture is replaced."""
    ended = terminal.run("generate", "a", photo, *SMALL, "--output", output)
    assert Path(ended.stdout.strip()) == Path.cwd() / name


def test_json_is_the_job_as_the_tool_gives_it(terminal: Terminal, photo: Path) -> None:
    """Compact, without nulls, nothing else on stdout, and no copy of the picture unless one is asked for."""
    ended = terminal.run("generate", "a house", photo, *SMALL, "--json")
    job = Job.model_validate_json(ended.stdout)
    assert ended.stdout == f"{job.model_dump_json(exclude_none=True, by_alias=True)}\n"
    assert job.status == "succeeded"
    assert list(Path.cwd().iterdir()) == []
    assert terminal.run("status", job.job_id, "--json").stdout == ended.stdout


def test_a_named_picture_is_read_wherever_it_is(terminal: Terminal, photo: Path, tmp_path: Path) -> None:
    """A path on the command line is the user's own word, also outside of the allowed folders and through a link."""
    strict = Terminal(terminal.data_dir, {"CONTROLNET_MCP_ALLOWED_DIRS": str(tmp_path / "nowhere")})
    Path("link.png").symlink_to(photo)
    for path in (photo, Path("link.png")):
        assert strict.run("generate", "a house", path, *SMALL).exit_code == 0


def test_f9_a_file_uri_is_read_wherever_it_leads(terminal: Terminal, photo: Path, tmp_path: Path) -> None:
    """F9: as the path that it stands for."""
    strict = Terminal(terminal.data_dir, {"CONTROLNET_MCP_ALLOWED_DIRS": str(tmp_path / "nowhere")})
    assert strict.run("generate", "a house", photo.as_uri(), *SMALL).exit_code == 0


@pytest.mark.parametrize("place", ["a cottage / " + "very " * 80 + "cosy", "x" * 300, "x" * 5000, "a/" * 2500])
def test_f9_a_long_text_in_the_place_of_the_picture_is_a_refusal(terminal: Terminal, place: str) -> None:
    """F9: one sentence or two, and no traceback."""
    ended = terminal.run("generate", "house.png", place)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert len(ended.stderr) < 600


def test_every_picture_may_be_named_by_its_path(terminal: Terminal, photo: Path, pictures: Path) -> None:
    """Start image, mask and further controls too."""
    ended = terminal.run(
        *("generate", "a house", photo, *SMALL, "--json"),
        *("--init-image", photo, "--mask-image", pictures / "sketch.png", "--strength", "0.5"),
        *("--modality", "canny:0.6", "--extra-control", f"sketch:0.4={pictures / 'sketch.png'}"),
    )
    controls = [(row.modality, row.weight) for row in Job.model_validate_json(ended.stdout).controls]
    assert controls == [("canny", 0.6), ("sketch", 0.4)]


def test_zero_is_a_value(terminal: Terminal, photo: Path) -> None:
    """It is not taken for an option that was left out."""
    ended = terminal.run("generate", "a house", photo, *SMALL, "--seed", "0", "--json")
    assert Job.model_validate_json(ended.stdout).seed == 0


@pytest.mark.parametrize("seed", ["-1", "random"])
def test_a_random_seed_may_be_asked_for_by_hand(terminal: Terminal, photo: Path, seed: str) -> None:
    """C1: -1 and the word mean a random seed here, too; another number below 0 is refused."""
    ended = terminal.run("generate", "a house", photo, *SMALL, "--seed", seed, "--modality", "CannyDetector", "--json")
    job = Job.model_validate_json(ended.stdout)
    assert (job.seed or -1) >= 0
    assert [row.modality for row in job.controls] == ["canny"]
    refused = terminal.run("generate", "a house", photo, *SMALL, "--seed", "-7")
    assert refused.exit_code != 0
    assert "-7" in refused.stderr


@pytest.mark.parametrize("word", ["SUCCEEDED", "Succeeded"])
def test_a_status_needs_no_exact_case_by_hand(terminal: Terminal, photo: Path, word: str) -> None:
    """C1: as for the tool."""
    terminal.run("generate", "a house", photo, *SMALL)
    assert "succeeded" in terminal.run("jobs", "--status", word).stdout


def test_a_failed_job_ends_with_1_and_a_sentence(terminal: Terminal, photo: Path) -> None:
    """Also with JSON, which still tells the job."""
    moderated = ("--provider-option", "simulate=moderated", "--provider-option", "seconds=0")
    ended = terminal.run("generate", "a house", photo, *SMALL, *moderated, "--json")
    assert ended.exit_code == 1
    assert "safety filter" in ended.stderr
    assert Job.model_validate_json(ended.stdout).status == "failed"


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--modality", "cany"), "Did you mean canny"), (("--init-image", "away.png"), "There is no 'away.png'")],
)
def test_a_refusal_ends_with_1_and_a_sentence(
    terminal: Terminal, photo: Path, options: tuple[str, ...], said: str
) -> None:
    """Nothing is submitted."""
    ended = terminal.run("generate", "a house", photo, *options)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert said in ended.stderr
    assert jobs_of(terminal) == ()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("generate", "a house", "{photo}", "--modality", "cany"), "invalid_request", "cany"),
        (("generate", "a house", "away.png"), "image_unreadable", "away.png"),
        (("generate", "a house", "a cottage / " + "very " * 80), "image_unreadable", "a cottage"),
        (("control-map", "away/away.png"), "image_unreadable", "away"),
        (("status", "job_0"), "not_found", "job_0"),
        (("cancel", "job_0"), "not_found", "job_0"),
        (("sheet", "job_0"), "not_found", "job_0"),
        (("models", "nobody"), "invalid_request", "nobody"),
        (("jobs", "--cursor", "garbage"), "invalid_request", "cursor"),
        (("generate", "a house"), "invalid_request", "IMAGE"),
        (("generate", "a house", "{photo}", "--strength", "3"), "invalid_request", "--strength"),
        (("modalities", "--nonsense"), "invalid_request", "--nonsense"),
    ],
)
def test_g19_a_refusal_is_json_too(
    terminal: Terminal, photo: Path, words: tuple[str, ...], code: str, said: str
) -> None:
    """G19: with `--json` the error object is on stdout, once, as tools give it; the line for people on stderr stays."""
    ended = terminal.run(*(word.format(photo=photo) for word in words), "--json")
    assert ended.exit_code in {1, 2}
    error = Fault.model_validate(json.loads(ended.stdout)["error"])
    assert (error.code, said in error.message) == (code, True)
    assert "Error: " in ended.stderr


def test_g19_a_wrong_environment_is_json_too(terminal: Terminal) -> None:
    """G19: settings are refused in the same form."""
    ended = Terminal(terminal.data_dir, {"CONTROLNET_MCP_LOG_LEVEL": "loud"}).run("jobs", "--json")
    assert "CONTROLNET_MCP_LOG_LEVEL" in json.loads(ended.stdout)["error"]["message"]
    assert ended.exit_code == 1


@pytest.mark.parametrize(
    "options",
    [("--strength", "3"), ("--num-images", "many"), ("--provider-option", "mark"), ("--extra-control", "pose"), ()],
)
def test_a_wrong_call_ends_with_2(terminal: Terminal, photo: Path, options: tuple[str, ...]) -> None:
    """Values out of range and missing arguments are told before the program does anything."""
    picture = [photo] if options else []
    assert terminal.run("generate", "a house", *picture, *options).exit_code == 2


def test_an_unfinished_job_can_be_left(terminal: Terminal, photo: Path) -> None:
    """With `--wait` the command ends in time and says how to look again."""
    ended = terminal.run("generate", "a house", photo, *SMALL, *QUEUED, "--wait", "0")
    (job,) = jobs_of(terminal)
    assert (ended.exit_code, ended.stdout) == (0, "")
    assert f"controlnet-mcp status {job.job_id}" in ended.stderr


def test_a_request_key_gives_the_same_job(terminal: Terminal, photo: Path) -> None:
    """Repeating a script does not pay twice."""
    for _ in range(2):
        terminal.run("generate", "a house", photo, *SMALL, "--request-key", "tuesday")
    assert len(jobs_of(terminal)) == 1


def test_a_dry_run_shows_the_request_and_submits_nothing(terminal: Terminal, photo: Path) -> None:
    """For people indented, for programs compact."""
    shown = terminal.run("generate", "a house", photo, *SMALL, "--dry-run").stdout
    compact = terminal.run("generate", "a house", photo, *SMALL, "--dry-run", "--json").stdout
    assert json.loads(shown).keys() == json.loads(compact).keys() == DryRun.model_fields.keys()
    assert len(compact.splitlines()) == 1
    assert jobs_of(terminal) == ()


def test_a_picture_that_cannot_be_saved_is_not_lost(terminal: Terminal, photo: Path) -> None:
    """The sentence says where it is kept."""
    Path("taken").write_text("a file", encoding="utf-8")
    ended = terminal.run("generate", "a house", photo, *SMALL, "--output", "taken/house.png")
    assert ended.exit_code == 1
    kept = Path(ended.stderr.rpartition("It is kept as ")[2].strip().removesuffix("."))
    assert kept.is_relative_to(terminal.data_dir)
    assert kept.is_file()


def test_ctrl_c_leaves_the_job_and_says_how_to_look_at_it(terminal: Terminal, photo: Path) -> None:
    """Another process finds the job and can go on with it."""
    with terminal.start("generate", "a house", photo, *SMALL, *QUEUED) as program:
        assert program.stderr is not None
        job_id = program.stderr.readline().split()[0]
        program.send_signal(signal.SIGINT)
        stdout, stderr = program.communicate(timeout=TIMEOUT_SECONDS)
    assert (program.returncode, stdout) == (130, "")
    assert f"controlnet-mcp status {job_id}" in stderr
    assert "Traceback" not in stderr
    assert terminal.run("status", job_id).exit_code == 0
