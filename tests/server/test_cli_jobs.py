"""`status`, `jobs` and `cancel` by hand."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from controlnet_mcp.tools.list_jobs import JobList
from controlnet_mcp.tools.views import Job
from tests.server.test_cli import Terminal

SMALL = ("--width", "64", "--height", "64")
QUEUED = ("--provider-option", "simulate=queued", "--provider-option", "seconds=600", "--wait", "0")


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Terminal(tmp_path / "data")


def generate(terminal: Terminal, pictures: Path, *options: str, prompt: str = "a house") -> Job:
    """Submit a small job."""
    ended = terminal.run("generate", prompt, pictures / "photo.png", *SMALL, *options, "--json")
    return Job.model_validate_json(ended.stdout)


def test_status_prints_where_the_pictures_are(terminal: Terminal, pictures: Path) -> None:
    """In the data folder, or where they are copied to."""
    job = generate(terminal, pictures)
    kept = Path(terminal.run("status", job.job_id).stdout.strip())
    assert kept.is_relative_to(terminal.data_dir)
    copied = Path(terminal.run("status", job.job_id, "--output", "house.png").stdout.strip())
    assert copied == Path.cwd() / "house.png"
    assert copied.read_bytes() == kept.read_bytes()


def test_status_waits_for_a_job_that_another_process_left(terminal: Terminal, pictures: Path) -> None:
    """It adopts the job and drives it to its end."""
    options = ("--provider-option", "simulate=queued", "--provider-option", "seconds=0.5", "--wait", "0")
    job = generate(terminal, pictures, *options)
    assert job.status == "queued"
    ended = terminal.run("status", job.job_id, "--wait", "30")
    assert ended.exit_code == 0
    assert Path(ended.stdout.strip()).is_file()


def test_an_unknown_job_is_refused(terminal: Terminal) -> None:
    """The sentence names the command that lists jobs."""
    for word in ("status", "cancel"):
        ended = terminal.run(word, "job_nobody")
        assert (ended.exit_code, ended.stdout) == (1, "")
        assert "`controlnet-mcp jobs`" in ended.stderr


def test_jobs_are_listed_newest_first(terminal: Terminal, pictures: Path) -> None:
    """With their whole ids, to be copied, and their prompts uncut where the output is no terminal."""
    prompt = "a very long prompt about a house by the sea " * 3
    first, second = generate(terminal, pictures), generate(terminal, pictures, prompt=prompt)
    rows = terminal.run("jobs").stdout.splitlines()[1:]
    assert [row.split()[0] for row in rows] == [second.job_id, first.job_id]
    assert prompt.strip() in rows[0]


def test_jobs_can_be_filtered_and_paged(terminal: Terminal, pictures: Path) -> None:
    """As the tool does it, with the same JSON."""
    done, waiting = generate(terminal, pictures), generate(terminal, pictures, *QUEUED)
    page = JobList.model_validate_json(terminal.run("jobs", "--json", "--status", "succeeded").stdout)
    assert [job.job_id for job in page.jobs] == [done.job_id]
    first = JobList.model_validate_json(terminal.run("jobs", "--json", "--limit", "1").stdout)
    assert [job.job_id for job in first.jobs] == [waiting.job_id]
    assert first.next_cursor is not None
    assert f"--cursor {first.next_cursor}" in terminal.run("jobs", "--limit", "1").stdout
    assert done.job_id in terminal.run("jobs", "--cursor", first.next_cursor).stdout


def test_an_empty_list_says_so(terminal: Terminal) -> None:
    """Instead of a table without rows; JSON stays JSON."""
    assert terminal.run("jobs").stdout == "No jobs.\n"
    assert terminal.run("jobs", "--json").stdout == '{"jobs":[]}\n'


def test_a_job_can_be_cancelled(terminal: Terminal, pictures: Path) -> None:
    """Afterwards its status ends with 1, because there will be no picture."""
    job = generate(terminal, pictures, *QUEUED)
    ended = terminal.run("cancel", job.job_id)
    assert (ended.exit_code, ended.stdout) == (0, f"{job.job_id} canceled\n")
    looked_at = terminal.run("status", job.job_id)
    assert looked_at.exit_code == 1
    assert "was canceled" in looked_at.stderr
    assert Job.model_validate_json(terminal.run("cancel", job.job_id, "--json").stdout).status == "canceled"


def test_what_people_write_is_no_markup(terminal: Terminal, pictures: Path) -> None:
    """A prompt in square brackets is shown as it is."""
    generate(terminal, pictures, prompt="[bold]a house[/bold] [nonsense")
    assert "[bold]a house[/bold] [nonsense" in terminal.run("jobs").stdout


def test_e2_pictures_that_were_given_up_are_fetched_by_hand(terminal: Terminal, pictures: Path) -> None:
    """E2: `jobs fetch` asks the provider again, waits, and prints where the picture is; `status` names it before."""
    job = generate(terminal, pictures)
    with closing(sqlite3.connect(terminal.data_dir / "jobs.sqlite3")) as record, record:
        fault = '{"code": "not_found", "message": "The result is gone.", "hint": "Look there."}'
        document = "json_set(document, '$.state', 'failed', '$.given_up', json('true'), '$.images', json('[]'),"
        record.execute(
            f"UPDATE jobs SET status = 'failed', document = {document} '$.fault', json(?))",  # noqa: S608  # a constant
            (fault,),
        )
    failed = terminal.run("status", job.job_id)
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert f"controlnet-mcp jobs fetch {job.job_id}" in failed.stderr
    fetched = terminal.run("jobs", "fetch", job.job_id)
    assert fetched.exit_code == 0, fetched.stderr
    assert Path(fetched.stdout.strip()).is_file()
    assert terminal.run("status", job.job_id, "--fetch").stdout == fetched.stdout


def test_e2_there_is_nothing_to_fetch_of_a_job_that_was_refused(terminal: Terminal, pictures: Path) -> None:
    """E2: its fault is told, and no command that does not help."""
    terminal.run(
        "generate", "a house", pictures / "photo.png", *SMALL, "--provider-option", "simulate=payment_required"
    )
    (job,) = JobList.model_validate_json(terminal.run("jobs", "--json").stdout).jobs
    ended = terminal.run("jobs", "fetch", job.job_id)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "jobs fetch" not in ended.stderr
    assert terminal.run("jobs", "fetch", "job_nobody").exit_code == 1


def test_only_an_uncertain_job_is_resolved(terminal: Terminal, pictures: Path) -> None:
    """Any other is left as it is, and one finding at a time is told."""
    job = generate(terminal, pictures)
    ended = terminal.run("jobs", "resolve", job.job_id, "--not-accepted")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "not uncertain" in ended.stderr
    assert terminal.run("jobs", "resolve", job.job_id).exit_code == 2
    assert terminal.run("jobs", "resolve", job.job_id, "--not-accepted", "--send-again").exit_code == 2


@pytest.mark.parametrize(
    ("finding", "status"),
    [(("--not-accepted",), "failed"), (("--send-again",), "queued"), (("--accepted", "task-1"), "queued")],
)
def test_an_uncertain_job_is_resolved(
    terminal: Terminal, pictures: Path, finding: tuple[str, ...], status: str
) -> None:
    """What a person found in the provider's history is taken for a fact."""
    job = generate(terminal, pictures, *QUEUED)
    with closing(sqlite3.connect(terminal.data_dir / "jobs.sqlite3")) as record, record:
        document = "json_set(document, '$.state', 'uncertain', '$.task', null)"
        record.execute(f"UPDATE jobs SET status = 'uncertain', ended = 1, document = {document}")  # noqa: S608  # a constant
        record.execute("DELETE FROM attempts WHERE kind = 'answer'")
    ended = terminal.run("jobs", "resolve", job.job_id, *finding)
    assert (ended.exit_code, f"The job is {status}." in ended.stdout) == (0, True)
