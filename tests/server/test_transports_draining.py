"""How a serving process ends: submissions on their way are finished and written down, quietly, and nobody hangs."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from anyio.abc import Process
from pydantic import JsonValue

from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.store import JobStore
from tests.support.disconnecting_clients import calling, compact, request
from tests.support.server_process import STDIO, Pipe, Place, piped, serving_http
from tests.support.stalled_provider import StalledProvider

if sys.platform != "win32":
    import fcntl

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")]
SECONDS = 120


@pytest.fixture
def place(tmp_path: Path, pictures: Path) -> Place:
    """An empty data folder."""
    return Place(tmp_path / "data", pictures)


@asynccontextmanager
async def record(place: Place) -> AsyncGenerator[tuple[Sequence[JobRecord], Database]]:
    """What is written down: the jobs, and where the facts of their submissions are."""
    database = Database(place.data_dir / "jobs.sqlite3")
    page = await JobStore(database).page("local", status=None, provider=None, limit=100, cursor=None)
    yield page.jobs, database
    await to_thread.run_sync(database.close)


async def is_on_record(place: Place) -> None:
    """One job, with the vendor's answer to its submission, that has ended or that the next process may take at once."""
    async with record(place) as (jobs, database):
        (job,) = jobs
        assert len((await JobStore(database).events(job.job_id)).answers) == 1
        assert job.ended or await JobStore(database).claim(job.job_id, "the next process") is not None


async def send_call(pipe: Pipe, vendor: StalledProvider, prompt: str) -> None:
    """Call `controlnet_generate` and do not wait for the answer."""
    params: dict[str, JsonValue] = {"name": "controlnet_generate", "arguments": vendor.arguments(prompt)}
    await pipe.send(request("auto", 7, "tools/call", params))


async def stays(process: Process) -> None:
    """The process does not end yet."""
    with anyio.move_on_after(0.3):
        raise AssertionError(f"it ended with {await process.wait()}")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
async def test_a_submission_is_finished_before_a_process_over_stdio_ends(
    name: str, place: Place, vendor: StalledProvider, tmp_path: Path
) -> None:
    """Told to end while the vendor has accepted and not answered: it waits for the answer, and ends without a word."""
    prompt = f"drained-{name}"
    hold = vendor.hold(prompt, "submitting")
    with anyio.fail_after(SECONDS):
        async with piped(place, tmp_path / "stderr", **vendor.variables) as pipe:
            await send_call(pipe, vendor, prompt)
            await hold.arrived()
            pipe.process.send_signal(signal.Signals[name])
            await stays(pipe.process)
            hold.release()
            assert await pipe.process.wait() == (130 if name == "SIGINT" else 0)
    assert (tmp_path / "stderr").read_text(encoding="utf-8") == ""
    assert vendor.charges(prompt) == 1
    await is_on_record(place)


async def test_a_host_that_closes_stdin_and_then_sends_a_signal_is_not_in_a_hurry(
    place: Place, vendor: StalledProvider, tmp_path: Path
) -> None:
    """As the SDK's client does after two seconds; the submission is finished all the same."""
    hold = vendor.hold("patient", "submitting")
    with anyio.fail_after(SECONDS):
        async with piped(place, tmp_path / "stderr", **vendor.variables) as pipe:
            await send_call(pipe, vendor, "patient")
            await hold.arrived()
            assert pipe.process.stdin is not None
            await pipe.process.stdin.aclose()
            await stays(pipe.process)
            pipe.process.send_signal(signal.SIGTERM)
            await stays(pipe.process)
            hold.release()
            assert await pipe.process.wait() == 0
    await is_on_record(place)


async def test_a_second_signal_ends_at_once(place: Place, vendor: StalledProvider, tmp_path: Path) -> None:
    """Somebody is in a hurry: the intent is on record, so the next process knows what is not known."""
    hold = vendor.hold("hurried", "submitting")
    with anyio.fail_after(SECONDS):
        async with piped(place, tmp_path / "stderr", **vendor.variables) as pipe:
            await send_call(pipe, vendor, "hurried")
            await hold.arrived()
            while pipe.process.returncode is None:
                pipe.process.send_signal(signal.SIGTERM)
                with anyio.move_on_after(0.2):
                    await pipe.process.wait()
            assert pipe.process.returncode == -signal.SIGTERM
    hold.release()
    assert (tmp_path / "stderr").read_text(encoding="utf-8") == ""
    async with record(place) as (jobs, database):
        assert [job.state for job in jobs] == ["submitting"]
        assert (await JobStore(database).events(jobs[0].job_id)).unresolved == 1


async def test_a_client_that_reads_nothing_cannot_hold_up_the_end(place: Place, tmp_path: Path) -> None:
    """The pipe is full, so a thread of the server hangs in a write for ever; it ends all the same."""
    with anyio.fail_after(SECONDS):
        async with piped(place, tmp_path / "stderr") as pipe:
            assert pipe.process.stdin is not None
            await pipe.ask("tools/list")
            for number in range(100, 200):
                await pipe.process.stdin.send(compact(request("auto", number, "tools/list", {})))
            await stays(pipe.process)
            pipe.process.send_signal(signal.SIGTERM)
            assert await pipe.process.wait() == 0
    assert (tmp_path / "stderr").read_text(encoding="utf-8") == ""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere pipes are as large as they are")
async def test_an_answer_that_was_cut_off_did_not_arrive(place: Place, tmp_path: Path) -> None:
    """A host dies while it reads the answer: the same call later is given the job that it has, not another one."""
    photo = str(place.pictures / "photo.png")
    asked: dict[str, JsonValue] = {"prompt": "cut off", "control_image": photo, "width": 512, "wait_seconds": 20}
    call = compact(request("auto", 1, "tools/call", {"name": "controlnet_generate", "arguments": asked}))

    def cut_off() -> int:
        ours, theirs = os.pipe()
        fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, 4096)
        with (
            (tmp_path / "stderr").open("wb") as errors,
            subprocess.Popen(
                [sys.executable, "-c", STDIO],
                env=place.environment(),
                stdin=subprocess.PIPE,
                stdout=theirs,
                stderr=errors,
            ) as process,
        ):
            os.close(theirs)
            assert process.stdin is not None
            process.stdin.write(call)
            process.stdin.flush()
            assert select.select([ours], [], [], 20)[0], "no answer began"
            os.close(ours)
            process.stdin.close()
            return process.wait(120)

    with anyio.fail_after(SECONDS):
        assert await to_thread.run_sync(cut_off) == 0
    assert (tmp_path / "stderr").read_text(encoding="utf-8") == ""
    async with record(place) as (jobs, _):
        assert [(job.status, job.delivered) for job in jobs] == [("succeeded", False)]


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_submission_is_finished_before_a_server_with_a_port_ends(
    transport: str, place: Place, vendor: StalledProvider
) -> None:
    """The caller is still connected; the process ends with 0 and without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    prompt = f"drained-{transport}"
    hold = vendor.hold(prompt, "submitting")
    with anyio.fail_after(SECONDS), serving_http(place, port, **vendor.variables) as server:
        async with calling("http" if transport == "http" else "sse", "auto", server.origin, vendor.arguments(prompt)):
            await hold.arrived()
            server.process.send_signal(signal.SIGHUP)
            while not any("Shutting down" in line for line in server.log):
                await anyio.lowlevel.checkpoint()
            assert server.process.poll() is None
            hold.release()
            assert await to_thread.run_sync(server.process.wait) == 0
    assert "Traceback" not in "".join(server.log), "".join(server.log)
    await is_on_record(place)
