"""A data folder that cannot be used, a full disk, a damaged record: said plainly, and nothing is lost."""

import errno
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from anyio import fail_after, to_thread
from pydantic import JsonValue

from controlnet_mcp.foundation.errors import StorageError
from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.store import JobStore
from controlnet_mcp.server.app import open_application
from controlnet_mcp.server.mcp.protocol import build_server
from controlnet_mcp.server.settings import Settings
from tests.support.mcp_session import Reply, Session, connect, open_session, settings_for

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]


def told(reply: Reply) -> str:
    """The sentences of a storage error."""
    error = reply.error
    assert error.code == "not_configured", reply.text
    assert error.hint
    assert "Traceback" not in reply.text
    return f"{error.message} {error.hint}"


async def test_a_data_folder_that_cannot_exist_is_told(tmp_path: Path, pictures: Path) -> None:
    """The server starts and lists its tools; what needs the folder says what is wrong, and which variable to set."""
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    async with open_session(settings_for(tmp_path / "file" / "data", pictures)) as session:
        assert (await session.client.list_tools()).tools
        for reply in (
            await session.generate(),
            await session.call("extract_control_map", image=str(pictures / "photo.png")),
            await session.call("list_jobs"),
            await session.call("job_status", job_id="job_1"),
        ):
            assert "CONTROLNET_MCP_DATA_DIR" in told(reply)
        assert not (await session.call("list_modalities")).result.is_error


async def test_a_full_disk_is_told_and_passes(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is no room nothing is started; afterwards everything works, without a restart."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(descriptor))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        reply = await session.generate()
    assert "full" in told(reply)
    assert reply.error.retryable
    assert (await session.generate()).job.status == "succeeded"


async def test_a_result_is_not_lost_to_a_full_disk(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished picture that cannot be stored yet is fetched again when there is room."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(descriptor))

    slow: JsonValue = {"simulate": "progress", "seconds": 0.3}
    first = (await session.generate(wait_seconds=0, provider_options=slow)).job
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        job = await session.until(first.job_id, lambda seen: "full" in (seen.stage or ""))
        assert job.status == "running"
    job = (await session.call("job_status", job_id=first.job_id, wait_seconds=20)).job
    assert job.status == "succeeded", job.error


async def test_a_damaged_record_is_told_and_left_as_it_is(settings: Settings) -> None:
    """The file is not repaired, replaced or emptied: whoever has a copy can compare."""
    database = settings.data_folder / "jobs.sqlite3"
    database.parent.mkdir(parents=True)
    garbage = b"this is no database, and no SQLite header either" * 100
    database.write_bytes(garbage)
    async with open_session(settings) as session:
        for reply in (await session.generate(), await session.call("list_jobs")):
            assert "damaged" in told(reply)
            assert str(database)[:50] in told(reply)  # a long path is cut in its middle
            assert database.name in told(reply)
            assert not reply.error.retryable
        assert not (
            await session.call("extract_control_map", image=str(session.pictures / "photo.png"))
        ).result.is_error
    assert database.read_bytes() == garbage


async def test_a_record_that_was_cut_off_is_told_and_left_as_it_is(settings: Settings) -> None:
    """A file with a good beginning and no end, as after a disk fault."""
    async with open_session(settings) as session:
        for number in range(3):
            await session.generate(prompt=f"number {number}", wait_seconds=0)
    database = settings.data_folder / "jobs.sqlite3"
    whole = database.read_bytes()
    cut = whole[:6000]
    database.write_bytes(cut)
    async with open_session(settings) as session:
        assert "damaged" in told(await session.call("list_jobs"))
    assert database.read_bytes() == cut


async def test_a_record_of_a_newer_version_is_told_and_left_as_it_is(settings: Settings) -> None:
    """An older program does not touch what it does not understand."""
    database = settings.data_folder / "jobs.sqlite3"
    database.parent.mkdir(parents=True)
    await to_thread.run_sync(write_newer, database)
    before = database.read_bytes()
    async with open_session(settings) as session:
        for reply in (await session.generate(), await session.call("list_jobs")):
            assert "newer version" in told(reply)
    assert database.read_bytes() == before


def write_newer(database: Path) -> None:
    """Make a database as a later version might."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA user_version = 999")
    connection.execute("CREATE TABLE jobs (something INTEGER)")
    connection.commit()
    connection.close()


async def test_a_job_can_be_looked_at_while_another_process_writes(session: Session) -> None:
    """Readers do not wait for writers."""
    done = (await session.generate()).job
    database = session.application.settings.data_folder / "jobs.sqlite3"
    other = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    await to_thread.run_sync(other.execute, "BEGIN IMMEDIATE")
    with fail_after(120):
        assert (await session.call("job_status", job_id=done.job_id)).job == done
    await to_thread.run_sync(other.execute, "ROLLBACK")
    other.close()
    assert (await session.generate()).job.status == "succeeded"


class Forgetful(JobStore):
    """A record that cannot note what went out."""

    async def mark_delivered(self, job_id: str) -> None:
        """Fail as a full disk does."""
        raise StorageError("not_configured", f"There is no room to note {job_id}.", hint="Make room.", retryable=True)


async def test_an_answer_is_not_lost_because_it_cannot_be_noted(settings: Settings) -> None:
    """The caller gets the job all the same; asked again, the same one."""
    database = Database(settings.data_folder / "jobs.sqlite3")
    async with open_application(settings) as application:
        jobs = replace(application.services.jobs, store=Forgetful(database))
        forgetful = replace(application, services=replace(application.services, jobs=jobs))
        async with connect(build_server(forgetful, local=True)) as client:
            session = Session(client, forgetful, settings.allowed_folders[0])
            first, again = [(await session.generate()).job for _ in range(2)]
    assert first.status == "succeeded"
    await to_thread.run_sync(database.close)
    assert first.job_id == again.job_id


async def test_only_the_owner_can_read_the_data_folder(session: Session) -> None:
    """Prompts and pictures are nobody else's business."""
    await session.generate()
    folder = session.application.settings.data_folder
    paths = [folder, *folder.rglob("*")]
    assert len(paths) > 5
    assert [str(path) for path in paths if path.stat().st_mode & 0o077] == []
