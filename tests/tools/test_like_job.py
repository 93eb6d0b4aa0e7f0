"""`like_job`: an earlier job once more, with changes, on another provider too."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from PIL import Image
from pydantic import JsonValue

from controlnet_mcp.jobs.record import JobRecord
from tests.support.attack_targets import giving
from tests.support.mcp_session import SIDE, WAIT_SECONDS, Session, open_session, settings_for
from tests.support.tls_site import NAME, tls_site

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]
NOBODY = "http://127.0.0.1:9"
FINISHED = {"wait_seconds": WAIT_SECONDS}


@pytest.fixture
async def wired(tmp_path: Path, pictures: Path) -> AsyncGenerator[Session]:
    """A server with keys of providers that nobody answers for."""
    keys = {"SEGMIND_API_KEY": "k" * 20, "ZHIQITE_ACCESS_KEY_ID": "i" * 20, "ZHIQITE_ACCESS_KEY_SECRET": "s" * 20}
    keys |= {"SEGMIND_BASE_URL": NOBODY, "ZHIQITE_BASE_URL": NOBODY}
    more = {"keys": keys, "trusted_hosts": "127.0.0.1"}
    async with open_session(settings_for(tmp_path / "data", pictures, **more)) as opened:
        yield opened


async def like(session: Session, job_id: str, **changes: JsonValue) -> JobRecord:
    """Repeat a job with nothing else given, and read the record of the new one."""
    reply = await session.call("controlnet_generate", like_job=job_id, **(FINISHED | changes))
    return await record_of(session, reply.job.job_id)


async def record_of(session: Session, job_id: str) -> JobRecord:
    """All that is known of a job."""
    return await session.application.services.jobs.store.get(job_id, "local")


async def test_a_job_is_repeated_although_its_file_has_changed(session: Session, tmp_path: Path) -> None:
    """The same seed and the pictures that were handed in then: the same bytes, in a new job."""
    photo = session.pictures / f"{tmp_path.name}.png"
    photo.write_bytes((session.pictures / "photo.png").read_bytes())
    first = (await session.generate(control_image=str(photo), modality="canny:0.7", negative_prompt="fog")).job
    Image.new("RGB", (64, 64), "red").save(photo)
    before, again = await record_of(session, first.job_id), await like(session, first.job_id)
    photo.unlink()
    assert again.job_id != first.job_id
    assert again.request == before.request
    assert [image.picture for image in again.images] == [image.picture for image in before.images]
    assert [row.kind for row in again.warnings] == ["approximate"], "it goes to the provider that drew it, not to auto"


async def test_what_is_given_replaces_what_was(session: Session) -> None:
    """Prompt, size and seed here; the rest stays, and a repeated job can be repeated."""
    first = (await session.generate(modality="canny:0.7", negative_prompt="fog", seed=5)).job
    second = await like(session, first.job_id, prompt="in winter", height=SIDE // 2)
    third = await like(session, second.job_id, seed=6)
    assert (second.request.prompt, second.request.height, second.seed) == ("in winter", SIDE // 2, 5)
    assert (third.request.prompt, third.request.height, third.seed) == ("in winter", SIDE // 2, 6)
    assert [(row.modality, row.weight) for row in third.request.controls] == [("canny", 0.7)]
    assert third.request.negative_prompt == "fog"


async def test_further_pictures_are_repeated_too(session: Session) -> None:
    """Controls of their own, start image and mask."""
    photo, sketch = (str(session.pictures / name) for name in ("photo.png", "sketch.png"))
    extra: dict[str, JsonValue] = {"modality": "lineart", "image": sketch, "weight": 0.3, "end": 0.5}
    first = (
        await session.generate(extra_controls=[extra], init_image=photo, mask_image=sketch, strength=0.4, seed=1)
    ).job
    again = await like(session, first.job_id)
    assert again.request == (await record_of(session, first.job_id)).request
    without = await like(session, first.job_id, init_image="")
    assert (without.request.init_image, without.request.mask_image, without.request.strength) == (None, None, None)
    assert len(without.request.controls) == 2


async def test_another_picture_is_not_taken_for_a_map_because_the_earlier_one_was(session: Session) -> None:
    """What was said of one picture holds for that picture."""
    sketch, photo = (str(session.pictures / name) for name in ("sketch.png", "photo.png"))
    first = (await session.generate(control_image=sketch, control_is_map=True, modality="sketch")).job
    assert (await like(session, first.job_id)).control_map is None
    assert (await like(session, first.job_id, control_image=photo)).control_map is not None


async def test_another_provider_gets_what_means_something_to_it(wired: Session) -> None:
    """Model and own options of the earlier one are left out, and that is said; seed, picture and words stay."""
    options: dict[str, JsonValue] = {"mark": False}
    first = (await wired.generate(provider="draft", model="watercolour", seed=77, provider_options=options)).job
    assert (first.status, first.model) == ("succeeded", "watercolour")
    reply = await wired.call("controlnet_generate", like_job=first.job_id, provider="segmind", dry_run=True)
    shown = json.loads(reply.text)
    assert shown["provider"] == "segmind"
    assert (shown["request"]["json"]["seed"], shown["request"]["json"]["prompt"]) == (77, "an oil painting")
    told = {row["feature"]: row["detail"] for row in shown["warnings"]}
    assert "draft only" in told["model"]
    assert "draft only" in told["provider_options"]
    assert "scheduler" not in told, "none was asked for"
    given: dict[str, JsonValue] = {"like_job": first.job_id, "provider": "draft", "model": "ink", "dry_run": True}
    same = json.loads((await wired.call("controlnet_generate", **given)).text)
    assert same["request"]["json"]["model"] == "ink"
    assert [row["feature"] for row in same["warnings"]] == ["canny"], "what becomes of the photo, nothing else"


async def test_a_warning_of_what_was_left_out_stays_with_the_job(wired: Session) -> None:
    """Not only a dry run says it."""
    first = (await wired.generate(provider="draft", provider_options={"mark": False})).job
    given: dict[str, JsonValue] = {
        "like_job": first.job_id,
        "provider": "auto",
        "model": "sd1.5-canny",
        "wait_seconds": 0,
    }
    job = (await wired.call("controlnet_generate", **given)).job
    assert "provider_options" in [row.feature for row in job.warnings or ()]


async def test_what_is_missing_without_an_earlier_job_is_named(session: Session) -> None:
    """The schema cannot say it, because several hosts mangle combinators."""
    for given, missing in (({"prompt": "a"}, "control_image"), ({"control_image": "a.png"}, "prompt")):
        error = (await session.call("controlnet_generate", **given)).error
        assert error.code == "invalid_request"
        assert missing in error.message
        assert "like_job" in error.hint


async def test_only_a_job_of_the_caller_can_be_repeated(session: Session) -> None:
    """Unknown ones and those of others are the same."""
    first = (await session.generate()).job
    record = await record_of(session, first.job_id)
    foreign = record.model_copy(update={"job_id": f"job_{'f' * 32}", "principal": "somebody else"})
    await session.application.services.jobs.store.add(foreign, request_key=None, fingerprint="x")
    for job_id in (foreign.job_id, f"job_{'0' * 32}"):
        assert (await session.call("controlnet_generate", like_job=job_id)).error.code == "not_found"
    source = f"controlnet://jobs/{foreign.job_id}/sources/control_image"
    assert (await session.generate(control_image=source)).error.code == "not_found"


async def test_a_job_of_an_older_version_says_that_it_cannot_be_repeated(session: Session) -> None:
    """Its record lacks the request."""
    record = await record_of(session, (await session.generate()).job.job_id)
    older = record.model_copy(update={"job_id": f"job_{'e' * 32}", "asked": None, "sources": {}})
    await session.application.services.jobs.store.add(older, request_key=None, fingerprint="y")
    error = (await session.call("controlnet_generate", like_job=older.job_id)).error
    assert error.code == "unsupported"
    assert "control_image" in error.hint
    sheet = await session.read(f"controlnet://jobs/{older.job_id}/sheet")
    assert len(sheet) == 1, "what it has is shown"


async def test_asking_again_after_a_timeout_is_the_same_repetition(session: Session) -> None:
    """Nothing is bought twice; once it was answered, it means another one."""
    first = (await session.generate()).job
    twice = [(await like(session, first.job_id, request_key="k")).job_id for _ in range(2)]
    assert twice[0] == twice[1] != (await like(session, first.job_id)).job_id


async def test_a_provider_of_links_is_given_the_links_again(
    wired: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot take the pictures that were read from them; every other provider is sent those."""
    with tls_site(tmp_path, giving((wired.pictures / "photo.png").read_bytes()), monkeypatch):
        link, changed = f"https://{NAME}/photo.png", f"https://{NAME}/other.png"
        first = (await wired.generate(provider="draft", modality="tile", control_image=link)).job
        given: dict[str, JsonValue] = {"like_job": first.job_id, "dry_run": True, "provider": "zhiqite"}
        sent = (await wired.call("controlnet_generate", **given)).text
        assert link in sent
        other = (await wired.call("controlnet_generate", **given, control_image=changed)).text
        assert link not in other
        assert changed in other
    again = await like(wired, first.job_id)
    assert again.request.controls[0].source_url is None, "nobody serves the link any more"


async def test_a_path_is_not_kept(session: Session) -> None:
    """The record names pictures by its own addresses, so it says nothing of the machine that they came from."""
    record = await record_of(session, (await session.generate()).job.job_id)
    assert str(session.pictures) not in record.model_dump_json()
