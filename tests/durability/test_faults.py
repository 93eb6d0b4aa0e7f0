"""One fault in one call of a job's life, every fault in every call: nothing is paid twice, and no job is lost."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
from pydantic import JsonValue

from controlnet_mcp.server.settings import Settings
from controlnet_mcp.tools.views import Job
from tests.support.fault_server import CALLS, FAULTS, LASTING, SIDE, Call, Faulty, faulty, give_up_soon, hurry
from tests.support.mcp_session import WAIT_SECONDS, Session, open_session, settings_for
from tests.support.simulators.wavespeed import KEY

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]


class Case(NamedTuple):
    """What goes wrong, and where."""

    call: Call
    fault: str


class Outcome(NamedTuple):
    """What a caller reads in the end, and what it cost."""

    status: str
    code: str | None
    charges: int


SURVIVED = Outcome("succeeded", None, 1)
NOT_BOUGHT = Outcome("failed", "provider_failed", 0)
PERHAPS_BOUGHT = Outcome("uncertain", "provider_failed", 1)
UNAMBIGUOUS = frozenset({"429, come back", "503, come back", "compressed"})
"""What may go wrong with a submission without any doubt about its outcome."""

EXPECTED: Mapping[Case, Outcome] = {
    **{Case(call, fault): SURVIVED for call in CALLS for fault in FAULTS},
    **{Case(call, fault): NOT_BOUGHT for call in CALLS[:2] for fault in ("endless", "bomb")},
    **{Case("submission", fault): PERHAPS_BOUGHT for fault in FAULTS if fault not in UNAMBIGUOUS},
    Case("submission", "silent"): PERHAPS_BOUGHT._replace(code="timed_out"),
    **{Case("submission", f"{fault}, not heard"): PERHAPS_BOUGHT._replace(charges=0) for fault in ("500", "reset")},
    **{Case(call, "402"): NOT_BOUGHT._replace(code="payment_required") for call in CALLS[:3]},
}
"""What happens before the submission is free, so it is tried again, and after it the job is followed until its result
is there, whatever is said meanwhile. Only the answer of the submission can leave it open whether something was bought,
and then nothing is sent again."""


def settings_of(vendor: Faulty, folder: Path, pictures: Path) -> Settings:
    """A server that has room for all cases at once."""
    keys = {"WAVESPEED_API_KEY": KEY, "WAVESPEED_BASE_URL": vendor.studio.origin}
    room = {"submissions_in_flight": 64, "max_jobs_in_flight": 1000}
    return settings_for(folder, pictures, keys=keys, structure_scores=False, previews=False, **room)


def arguments_of(vendor: Faulty, prompt: str, picture: Path) -> dict[str, JsonValue]:
    """The arguments of a job, with a control picture of its own."""
    picture.write_bytes(vendor.picture(prompt))
    return {
        "prompt": prompt,
        "control_image": str(picture),
        "control_is_map": True,
        "provider": "wavespeed",
        "width": SIDE,
        "height": SIDE,
    }


async def end_of(session: Session, arguments: dict[str, JsonValue], tool: str = "controlnet_generate") -> Job:
    """Ask for a job, and for how it stands until it ends; every answer names it."""
    answers = [(await session.call(tool, wait_seconds=0.5, **arguments)).job]
    job_id = answers[0].job_id
    while answers[-1].status in {"queued", "running"}:
        assert job_id in answers[-1].next
        answers.append((await session.call("job_status", job_id=job_id, wait_seconds=WAIT_SECONDS)).job)
    assert {answer.job_id for answer in answers} == {job_id}
    return answers[-1]


async def test_every_fault_in_every_call_ends_as_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once: the job survives, fails with the right code, or says that it may have been bought."""
    outcomes: dict[Case, Outcome] = {}
    with faulty() as vendor:
        hurry(vendor, monkeypatch)

        async def live_through(number: int, case: Case) -> None:
            prompt = f"{case.fault} in {case.call}"
            arguments = arguments_of(vendor, prompt, tmp_path / f"{number}.png")
            vendor.due[prompt, case.call] = FAULTS[case.fault]
            job = await end_of(session, arguments)
            assert (prompt, case.call) not in vendor.due, "it never happened"
            assert "accepted" in job.next if job.status == "uncertain" else "accepted" not in job.next
            outcomes[case] = Outcome(job.status, job.error.code if job.error else None, vendor.charges(prompt))

        async with open_session(settings_of(vendor, tmp_path / "data", tmp_path)) as session:
            with anyio.fail_after(120):
                async with anyio.create_task_group() as tasks:
                    for number, case in enumerate(EXPECTED):
                        tasks.start_soon(live_through, number, case)
    assert outcomes == EXPECTED


class Ending(NamedTuple):
    """How a job ends that meets the same fault each time: its code, and a word of the reason."""

    code: str
    reason: str


FOR_EVER: Mapping[Case, Ending] = {
    **{Case("poll", fault): Ending("not_found", "know") for fault in ("404", "404 page", "410")},
    Case("poll", "404 inside 200"): Ending("not_found", "not found"),
    Case("poll", "no picture"): Ending("provider_failed", "no picture"),
    Case("poll", "inside"): Ending("image_blocked", "10.0.0.1"),
    **{Case("download", fault): Ending("not_found", fault[:3]) for fault in ("404", "404 page", "410")},
    Case("download", "page"): Ending("provider_failed", "web page"),
    Case("download", "SVG"): Ending("provider_failed", "SVG"),
    Case("download", "half"): Ending("provider_failed", "truncated"),
    Case("download", "broken off"): Ending("provider_failed", "broke"),
    Case("download", "huge"): Ending("provider_failed", "60000x60000"),
    Case("download", "empty"): Ending("provider_failed", "could not be downloaded"),
}
"""E1 and E2: it has failed with the true reason, was charged once, and is fetched when the fault is gone."""
MAY_PASS = tuple(Case(call, fault) for call in ("poll", "download") for fault in ("500", "503", "reset"))
"""What may pass is waited for."""


async def test_e1_e2_a_fault_that_lasts_ends_the_job_and_what_was_paid_for_can_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E1, E2: a job that the provider forgot, or whose result can never be had, fails soon; `fetch=true` gets it."""
    endings: dict[Case, Ending] = {}
    fetched: dict[Case, Outcome] = {}
    with faulty() as vendor:
        hurry(vendor, monkeypatch)
        give_up_soon(monkeypatch)

        async def live_through(number: int, case: Case) -> None:
            prompt = f"{case.fault} in every {case.call}"
            arguments = arguments_of(vendor, prompt, tmp_path / f"{number}.png")
            vendor.due[prompt, case.call] = LASTING[case.fault]
            job = await end_of(session, arguments)
            assert job.error is not None, job
            reason = FOR_EVER[case].reason
            told = reason if reason in job.error.message else job.error.message
            endings[case] = Ending(job.error.code, told)
            assert f"job_id={job.job_id} and fetch=true" in job.next
            assert ("/outputs/" in job.next) == (case.call == "download" or case.fault == "inside")
            del vendor.due[prompt, case.call]
            await session.call("job_status", job_id=job.job_id, fetch=True)
            job = await end_of(session, {"job_id": job.job_id}, tool="job_status")
            fetched[case] = Outcome(job.status, job.error.code if job.error else None, vendor.charges(prompt))

        async with open_session(settings_of(vendor, tmp_path / "data", tmp_path)) as session:
            with anyio.fail_after(60):
                async with anyio.create_task_group() as tasks:
                    for number, case in enumerate(FOR_EVER):
                        tasks.start_soon(live_through, number, case)
    assert endings == FOR_EVER
    assert fetched == dict.fromkeys(FOR_EVER, SURVIVED)


async def test_e2_what_may_pass_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """E2: errors of a server and broken connections are met far longer than a fault that lasts, and the job lives."""
    outcomes: dict[Case, Outcome] = {}
    with faulty() as vendor:
        hurry(vendor, monkeypatch)
        give_up_soon(monkeypatch)

        async def live_through(number: int, case: Case) -> None:
            prompt = f"{case.fault} in every {case.call}"
            arguments = arguments_of(vendor, prompt, tmp_path / f"{number}.png")
            vendor.due[prompt, case.call] = LASTING[case.fault]
            job = (await session.call("controlnet_generate", wait_seconds=0, **arguments)).job
            while vendor.given[prompt] < 20:  # a quarter of a second apart
                job = (await session.call("job_status", job_id=job.job_id, wait_seconds=0.2)).job
                assert job.status in {"queued", "running"}
            del vendor.due[prompt, case.call]
            job = await end_of(session, {"job_id": job.job_id}, tool="job_status")
            outcomes[case] = Outcome(job.status, job.error.code if job.error else None, vendor.charges(prompt))

        async with open_session(settings_of(vendor, tmp_path / "data", tmp_path)) as session:
            with anyio.fail_after(60):
                async with anyio.create_task_group() as tasks:
                    for number, case in enumerate(MAY_PASS):
                        tasks.start_soon(live_through, number, case)
    assert outcomes == dict.fromkeys(MAY_PASS, SURVIVED)


async def test_a_prompt_is_kept_and_sent_as_it_was_written(tmp_path: Path) -> None:
    """In whatever language; the picture beside it has a name of that language, and so has its folder."""
    prompts = ("black/white cat", "Чёрный кот, акварель", "黒い猫、水彩", "قطة سوداء", "un été 🐈‍⬛")
    folder, jobs = tmp_path / "наброски 水彩", dict[str, Job]()
    folder.mkdir()
    with faulty() as vendor:

        async def draw(prompt: str) -> None:
            jobs[prompt] = await end_of(session, arguments_of(vendor, prompt, folder / f"{prompt[:3]}, кот 🐈‍⬛.png"))

        async with (
            open_session(settings_of(vendor, tmp_path / "data", folder)) as session,
            anyio.create_task_group() as tasks,
        ):
            for prompt in prompts:
                tasks.start_soon(draw, prompt)
        sent = {task.form.prompt for task in vendor.studio.tasks.values()}
    assert {job.status for job in jobs.values()} == {"succeeded"}
    assert {job.prompt for job in jobs.values()} == sent == set(prompts)
