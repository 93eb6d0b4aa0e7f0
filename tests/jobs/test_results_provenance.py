"""How a picture was made, kept in a file beside it."""

import hashlib
import json
from pathlib import Path

import pytest
from anyio import to_thread
from pydantic import JsonValue

from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.results import Provenance, provenance_of
from controlnet_mcp.tools.views import Job
from tests.support.mcp_session import Session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]


def notes_of(job: Job) -> list[Path]:
    """The files beside the pictures of a job, in the order of the pictures."""
    pictures = [image.path for image in job.images or () if image.path]
    return [path.with_suffix(f".{job.job_id}.json") for path in pictures]


async def record_of(session: Session, job: Job) -> JobRecord:
    """All that is known of a job."""
    return await session.application.services.jobs.store.get(job.job_id, "local")


async def test_every_picture_has_a_note_of_its_own(session: Session) -> None:
    """With all that made it; the picture's bytes are what its name says."""
    job = (await session.generate(num_images=2, modality="canny:0.7", negative_prompt="fog", seed=5)).job
    for index, path in enumerate(notes_of(job)):
        note = Provenance.model_validate_json(path.read_bytes())
        assert (note.job_id, note.index, note.provider, note.seed) == (job.job_id, index, "draft", 5)
        assert (note.request.prompt, note.request.negative_prompt) == ("an oil painting", "fog")
        (control,) = note.request.controls
        assert (control.modality, control.weight, control.is_map) == ("canny", 0.7, True)
        assert note.created_at == job.created_at
        for picture in (note.image.picture, control.picture, note.sources["control_image"]):
            assert picture is not None
            content = await to_thread.run_sync(session.application.services.blobs.get, picture.sha256)
            assert hashlib.sha256(content).hexdigest() == picture.sha256
    assert len(notes_of(job)) == 2


async def test_two_jobs_that_drew_the_same_bytes_have_a_note_each(session: Session) -> None:
    """Neither is written over the other."""
    jobs = [(await session.generate(seed=5, request_key=key)).job for key in "ab"]
    (first,), (second,) = map(notes_of, jobs)
    assert first.parent == second.parent
    assert first.name.partition(".")[0] == second.name.partition(".")[0]
    assert [json.loads(path.read_text())["job_id"] for path in (first, second)] == [job.job_id for job in jobs]


async def test_a_note_holds_no_path(session: Session) -> None:
    """Of this machine, where the picture came from or where it lies."""
    job = (await session.generate(init_image=str(session.pictures / "photo.png"), strength=0.5)).job
    (note,) = notes_of(job)
    text = note.read_text(encoding="utf-8")
    assert str(session.pictures) not in text
    assert str(note.parent) not in text


async def test_a_note_holds_no_link_that_could_hold_a_secret(session: Session) -> None:
    """Links that pictures came from are left out; of links in options, host and path are left."""
    record = await record_of(session, (await session.generate()).job)
    link = "https://user:letmein@host.example/a/b.png?signature=xyz#part"
    control = record.request.controls[0].model_copy(update={"source_url": link})
    options: dict[str, JsonValue] = {"webhook": link, "loras": [{"url": link}], "plain": "a://", "strength": 1}
    more = {"controls": (control,), "init_url": link, "mask_url": link, "options": options}
    note = provenance_of(record.model_copy(update={"request": record.request.model_copy(update=more)}), 0)
    text = note.model_dump_json()
    assert not [part for part in ("user", "letmein", "signature", "xyz", "#part") if part in text]
    bare = "https://host.example/a/b.png"
    assert note.request.options == {"webhook": bare, "loras": [{"url": bare}], "plain": "a://", "strength": 1}


async def test_a_picture_is_not_lost_because_its_note_cannot_be_written(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """The job succeeds, the log says what is missing."""
    first = (await session.generate(seed=5)).job
    (note,) = notes_of(first)
    note.parent.chmod(0o500)
    try:
        blocked = not _may_write(note.parent)
        second = (await session.generate(seed=5)).job
    finally:
        note.parent.chmod(0o700)
    assert second.status == "succeeded"
    assert notes_of(second)[0].is_file() is not blocked
    assert ("could not be noted" in caplog.text) is blocked


def _may_write(folder: Path) -> bool:
    """Whether this user may write there all the same, as root may."""
    try:
        (folder / "probe").touch()
    except OSError:
        return False
    (folder / "probe").unlink()
    return True
