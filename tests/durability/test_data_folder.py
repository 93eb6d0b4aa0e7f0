"""A data folder that an earlier version left behind opens: its jobs, its pictures, and what was under way.

`data_folders/027f12d.zip` was made by the server of that commit, which was killed at the end; the JSON beside it
is what the same version said of the folder afterwards (`data_folders/README.md`).
"""

import io
import json
import re
import sqlite3
import time
import zipfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import mcp_types as types
import pytest
from PIL import Image
from pydantic import BaseModel, JsonValue

from controlnet_mcp.server.settings import Settings
from tests.support.asgi_client import open_gate, write_tokens
from tests.support.mcp_session import WAIT_SECONDS, open_session, settings_for
from tests.support.sample_drawings import house
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.wavespeed import KEY, Task, WaveSpeedStudio, wavespeed
from tests.support.simulators.wavespeed_forms import ControlLoraForm

pytestmark = pytest.mark.anyio

FOLDERS = Path(__file__).with_name("data_folders")
VERSION = "027f12d"
MODEL = "wavespeed-ai/flux-control-lora-canny"
SIDE = 512
REWORDED = "next"
"""The sentence that is written anew for every answer; all else is as it was recorded."""


class Left(BaseModel):
    """A job that the killed server left: how it stood, and the provider's id of it."""

    job_id: str
    state: str
    task: str | None


class Noted(BaseModel):
    """What the version that made the folder said of it.

    Attributes:
        vendor: Where its provider was.
        token: Alice's.
        ended: Jobs that had ended before, by name.
        left: Jobs that had not.
        alice: The job of a caller with a token.
        unheard: Arguments of the job whose call was never answered.
        maps: Addresses of maps that were made by themselves.
        request_keys: Keys by the names of jobs.
        order: All jobs of the local caller, newest first.
        jobs: What `job_status` says, once a job has ended.
        pictures: Hashes of pictures by their addresses.
    """

    vendor: str
    token: str
    ended: dict[str, str]
    left: dict[str, Left]
    alice: str
    unheard: dict[str, JsonValue]
    maps: tuple[str, ...]
    request_keys: dict[str, str]
    order: tuple[str, ...]
    jobs: dict[str, dict[str, JsonValue]]
    pictures: dict[str, str]


@dataclass(frozen=True, slots=True)
class Vendor:
    """The provider that the folder's jobs were bought from."""

    studio: WaveSpeedStudio
    settings: Settings


@pytest.fixture(scope="module")
def noted() -> Noted:
    """What was said of the folder."""
    return Noted.model_validate_json((FOLDERS / f"{VERSION}.json").read_bytes())


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The folder, as the killed server left it."""
    with zipfile.ZipFile(FOLDERS / f"{VERSION}.zip") as archive:
        archive.extractall(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def old(unpacked: Path, pictures: Path) -> Settings:
    """Settings of a server on the folder; nobody answers for the provider."""
    keys = {"WAVESPEED_API_KEY": KEY, "WAVESPEED_BASE_URL": "http://127.0.0.1:9"}
    return settings_for(unpacked, pictures, keys=keys)


@contextmanager
def sold_by(noted: Noted, folder: Path, pictures: Path, **more: object) -> Generator[Vendor]:
    """Serve the provider, with the tasks that it accepted then and under the address that it had."""
    listening = free_socket()
    studio = WaveSpeedStudio(origin=origin_of(listening), looks_until_done=1)
    form = ControlLoraForm(prompt="as it was", control_image="-", size=f"{SIDE}*{SIDE}", seed=7)
    for name in ("stays there", "no download"):
        studio.tasks[noted.left[name].task or ""] = Task(MODEL, form, None, house(SIDE))
    with closing(sqlite3.connect(folder / "jobs.sqlite3")) as db, db:
        db.execute("UPDATE jobs SET document = replace(document, ?, ?)", (noted.vendor, studio.origin))
    keys = {"WAVESPEED_API_KEY": KEY, "WAVESPEED_BASE_URL": studio.origin}
    with running(wavespeed(studio), listening):
        yield Vendor(studio, settings_for(folder, pictures, keys=keys, trusted_hosts="127.0.0.1", **more))


def made_just_now(folder: Path, deadline_seconds: float = 1800) -> None:
    """Move the deadlines and the spending into the present, as if the folder were opened right after it was left.

    Args:
        folder: The data folder.
        deadline_seconds: How long the jobs may still take; negative where their time is over.
    """
    now = time.time()
    with closing(sqlite3.connect(folder / "jobs.sqlite3")) as db, db:
        db.execute("UPDATE jobs SET document = json_set(document, '$.deadline_at', ?)", (now + deadline_seconds,))
        db.execute("UPDATE spending SET at = ?", (now,))


def facts(text: str) -> dict[str, JsonValue]:
    """What an answer says of a job, without where its files lie and what to do next."""
    said: dict[str, JsonValue] = json.loads(re.sub(r'"path":"[^"]*",', "", text))
    return {name: value for name, value in said.items() if name != REWORDED}


async def test_every_job_is_listed_and_says_what_it_said(old: Settings, noted: Noted) -> None:
    """All that a caller is told of jobs that had ended, through the tools and as a resource."""
    async with open_session(old) as session:
        listed = (await session.call("list_jobs", limit=100)).listed
        assert tuple(job.job_id for job in listed) == noted.order
        assert all(job.next for job in listed)
        for name, job_id in noted.ended.items():
            expected = facts(json.dumps(noted.jobs[job_id], separators=(",", ":")))
            assert facts((await session.call("job_status", job_id=job_id)).text) == expected, name
            (resource,) = await session.read(f"controlnet://jobs/{job_id}")
            assert isinstance(resource, types.TextResourceContents)
            assert facts(resource.text) == expected, name


async def test_every_picture_has_the_bytes_that_it_had(old: Settings, noted: Noted) -> None:
    """Results, control maps, what was handed in, maps made by themselves; and every finished job has its sheet."""
    before = {uri: digest for uri, digest in noted.pictures.items() if not _result_of_left(uri, noted)}
    assert len(before) > 50
    assert set(noted.maps) < set(before)
    async with open_session(old) as session:
        for uri, digest in before.items():
            assert sha256(await session.read_picture(uri)).hexdigest() == digest, uri
        for job_id in noted.ended.values():
            if "sheet_uri" in noted.jobs[job_id]:
                with Image.open(io.BytesIO(await session.read_picture(f"controlnet://jobs/{job_id}/sheet"))) as sheet:
                    sheet.load()


def _result_of_left(uri: str, noted: Noted) -> bool:
    """Whether a picture was only made after the folder had been left."""
    return "/images/" in uri and any(left.job_id in uri for left in noted.left.values())


@pytest.mark.parametrize("opened", ["at once", "late"])
async def test_what_was_under_way_is_taken_up_and_ends(
    unpacked: Path, pictures: Path, noted: Noted, opened: Literal["at once", "late"]
) -> None:
    """As the version that left it would have ended it; after its deadline, only what was never sent is given up."""
    made_just_now(unpacked, 1800 if opened == "at once" else -1)
    with sold_by(noted, unpacked, pictures) as vendor:
        async with open_session(vendor.settings) as session:
            for name, left in noted.left.items():
                reply = await session.call("job_status", job_id=left.job_id, wait_seconds=WAIT_SECONDS)
                given_up = opened == "late" and left.state == "new"
                assert reply.job.status == ("failed" if given_up else noted.jobs[left.job_id]["status"]), (name, reply)
                for image in reply.job.images or ():
                    assert sha256(await session.read_picture(image.uri)).hexdigest() == image.sha256
                    assert (image.width, image.height) == _size(noted.jobs[left.job_id])
        assert vendor.studio.charges == (0 if opened == "late" else 1), "nothing is bought a second time"


def _size(job: dict[str, JsonValue]) -> tuple[int, int]:
    match job:
        case {"images": [{"width": int(width), "height": int(height)}]}:
            return width, height
        case _:
            raise AssertionError(job)


async def test_a_request_key_still_means_its_job(old: Settings, noted: Noted) -> None:
    """Whatever else the call says; and a call that was never answered finds its job by its arguments."""
    async with open_session(old) as session:
        for name, key in noted.request_keys.items():
            job = (await session.generate(provider="draft", request_key=key, wait_seconds=0)).job
            assert job.job_id == (noted.ended.get(name) or noted.left[name].job_id)
        again = (await session.call("controlnet_generate", **noted.unheard)).job
        assert again.job_id == noted.left["unheard"].job_id
        assert len((await session.call("list_jobs", limit=100)).listed) == len(noted.order)


async def test_an_old_job_can_be_repeated(old: Settings, noted: Noted) -> None:
    """With its prompt, seed and pictures, those of further controls included; a paid one on another provider."""
    async with open_session(old) as session:
        for name in ("plain", "two pictures", "ready map", "all pictures", "repeated"):
            like = noted.ended[name]
            again = (await session.call("controlnet_generate", like_job=like, wait_seconds=WAIT_SECONDS)).job
            assert (again.status, again.job_id in noted.order) == ("succeeded", False)
            before, now = noted.jobs[like], json.loads(again.model_dump_json())
            assert [now[part] for part in ("prompt", "seed", "controls")] == [
                before[part] for part in ("prompt", "seed", "controls")
            ]
            for part in ("control_image", "init_image", "mask_image", "extra_control_0"):
                old_uri, uri = (f"controlnet://jobs/{job_id}/sources/{part}" for job_id in (like, again.job_id))
                if old_uri in noted.pictures:
                    assert sha256(await session.read_picture(uri)).hexdigest() == noted.pictures[old_uri]
        paid: dict[str, JsonValue] = {
            "like_job": noted.ended["paid"],
            "provider": "draft",
            "width": 64,
            "height": 64,
            "wait_seconds": WAIT_SECONDS,
        }
        assert (await session.call("controlnet_generate", **paid)).job.images


async def test_what_was_spent_still_counts(unpacked: Path, pictures: Path, noted: Noted) -> None:
    """Eight jobs at 0.027 were bought or may have been; one that was refused counts for nothing."""
    made_just_now(unpacked)
    with sold_by(noted, unpacked, pictures, max_cost_per_day="wavespeed=0.22") as vendor:
        async with open_session(vendor.settings) as session:
            error = (await session.generate(provider="wavespeed", width=SIDE, height=SIDE)).error
    assert error.code == "payment_required"
    assert "0.216" in error.message


async def test_the_job_of_a_caller_with_a_token_is_still_hers(
    old: Settings, tmp_path: Path, pictures: Path, noted: Noted
) -> None:
    """Hers alone, and under the same token."""
    tokens = write_tokens(tmp_path / "tokens", f"alice: {noted.token}")
    settings = settings_for(old.data_folder, pictures, tokens_file=tokens)
    async with open_gate(settings) as gate, gate.client(noted.token) as alice:
        assert [job.job_id for job in (await alice.call("list_jobs")).listed] == [noted.alice]
        assert (await alice.call("job_status", job_id=noted.order[0])).error.code == "not_found"
    async with open_session(old) as session:
        assert (await session.call("job_status", job_id=noted.alice)).error.code == "not_found"
