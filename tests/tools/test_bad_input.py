"""Bad input gets a clear error and loses nothing."""

import base64
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError
from PIL import Image
from pydantic import JsonValue

from tests.support.mcp_session import Reply, Session, open_session, settings_for

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

LONG = "x" * 1_200_000
"""More text than any message may hold."""
ONE_PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


@pytest.fixture
async def untouched(session: Session) -> AsyncGenerator[Session]:
    """A session in which nothing may have been started, and that still works, when the test is over."""
    yield session
    page = await session.application.services.jobs.store.page("local", status=None, provider=None, limit=1, cursor=None)
    assert page.jobs == (), "a refused call made a job"
    assert (await session.call("list_models", provider="draft")).result.is_error is False


def told(reply: Reply, code: str) -> str:
    """The whole text of an error result, once its form was checked."""
    error = reply.error
    assert error.code == code, reply.text
    assert error.message
    assert error.hint, reply.text
    assert reply.text == f"{code}: {error.message} {error.hint}"
    assert "Traceback" not in reply.text
    assert "pydantic" not in reply.text
    assert len(reply.text) < 2000
    return reply.text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"promt": "x"}, "Did you mean prompt?"),
        ({"control_images": []}, "Did you mean control_image?"),
        ({"zzz": 1}, "Known: prompt"),
        ({"modality": "cany"}, "Did you mean canny"),
        ({"modality": "canny:0.5,"}, "modality"),
        ({"modality": "canny:3"}, "0 to 2"),
        ({"modality": "canny:-0.1"}, "0 to 2"),
        ({"modality": "canny:nan"}, "0 to 2"),
        ({"modality": "canny:strong"}, "canny:0.8"),
        ({"modality": "canny,Edges"}, "twice"),
        ({"model": "x" * 201}, "model"),
        ({"modality": 7}, "modality"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "  \n "}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "x" * 8001}, "8000"),
        ({"prompt": ["x"]}, "prompt"),
        ({"control_image": ""}, "control_image"),
        ({"control_image": None}, "control_image"),
        ({"width": 1_000_000}, "width"),
        ({"width": "wide"}, "width"),
        ({"height": 5.5}, "height"),
        ({"num_images": 0}, "num_images"),
        ({"num_images": 9}, "num_images"),
        ({"seed": -2}, "seed"),
        ({"steps": 10_000}, "steps"),
        ({"wait_seconds": 301}, "wait_seconds"),
        ({"wait_seconds": -1}, "wait_seconds"),
        ({"provider": "scenrio"}, "scenario"),
        ({"provider": "nobody"}, "provider"),
        ({"provider_options": {"simulat": "queued"}}, "simulate"),
        ({"provider_options": {"simulate": "explode"}}, "simulate"),
        ({"provider_options": {"seconds": -1}}, "seconds"),
        ({"provider_options": [1]}, "provider_options"),
        ({"provider_options": "not json"}, "provider_options"),
        ({"extra_controls": "nonsense"}, "extra_controls"),
        ({"extra_controls": [{"modality": "canny"}]}, "image"),
        ({"extra_controls": [{"modality": "canny", "image": "photo.png", "wight": 1}]}, "weight"),
        ({"extra_controls": [{"modality": "canny:0.5,depth", "image": "photo.png"}]}, "an entry of its own"),
        ({"strength": 0.5}, "init_image"),
        ({"request_key": "x" * 201}, "request_key"),
        ({"dry_run": "perhaps"}, "dry_run"),
    ],
)
async def test_a_wrong_argument_is_named(untouched: Session, arguments: dict[str, JsonValue], says: str) -> None:
    """The error says what is wrong and names the way out."""
    text = told(await untouched.generate(**arguments), "invalid_request")
    assert says in text


@pytest.mark.parametrize(
    ("reference", "code", "says"),
    [
        ("missing.png", "image_unreadable", "missing.png"),
        ("../outside.png", "image_blocked", "folder"),
        ("/etc/passwd", "image_blocked", "folder"),
        ("text.png", "image_unreadable", "picture"),
        ("empty.png", "image_unreadable", "empty"),
        ("truncated.png", "image_unreadable", "damaged"),
        ("ftp://example.org/a.png", "invalid_request", "https"),
        ("http://127.0.0.1:9/a.png", "image_blocked", ""),
        ("https://127.0.0.1:9/a.png", "image_blocked", ""),
        ("data:image/png;base64,AAAA", "image_unreadable", "picture"),
        ("data:text/html,<b>x</b>", "", ""),
        (f"data:image/png;base64,{ONE_PIXEL}", "image_unreadable", "damaged"),
        ("controlnet://jobs/job_0/images/0", "not_found", "list_jobs"),
        (f"controlnet://maps/{'0' * 64}", "not_found", "again"),
        ("asset_123", "unsupported", "asset"),
    ],
)
async def test_a_picture_that_cannot_be_read_is_told(untouched: Session, reference: str, code: str, says: str) -> None:
    """Missing, forbidden, broken or no picture: each has its sentence, wherever the picture is asked for."""
    photo = (untouched.pictures / "photo.png").read_bytes()
    for name, content in (("text.png", b"just text"), ("empty.png", b""), ("truncated.png", photo[:500])):
        (untouched.pictures / name).write_bytes(content)
    local = ":" not in reference and not reference.startswith(("/", "asset"))
    named = str(untouched.pictures / reference) if local else reference
    for reply in (
        await untouched.generate(control_image=named),
        await untouched.call("extract_control_map", image=named),
    ):
        if reference.startswith("asset") and reply.error.code != "unsupported":
            continue
        assert says in told(reply, code or reply.error.code)
    for argument in ("init_image", "mask_image"):
        more: dict[str, JsonValue] = {"init_image": str(untouched.pictures / "photo.png"), argument: named}
        assert (await untouched.generate(**more)).result.is_error


async def test_a_picture_that_is_too_large_is_refused(tmp_path: Path, pictures: Path) -> None:
    """By its bytes or by its pixels, before anything is decoded."""
    Image.new("RGB", (3000, 3000)).save(pictures / "vast.png")
    (pictures / "heavy.png").write_bytes((pictures / "photo.png").read_bytes() + bytes(300_000))
    small = settings_for(tmp_path, pictures, max_image_pixels=1_000_000, max_image_bytes=200_000)
    async with open_session(small) as session:
        assert "3000x3000" in told(await session.generate(control_image=str(pictures / "vast.png")), "image_unreadable")
        assert "200,000" in told(await session.generate(control_image=str(pictures / "heavy.png")), "image_unreadable")


async def test_a_link_out_of_the_folder_is_not_followed(untouched: Session, tmp_path: Path) -> None:
    """A name inside an allowed folder that leads outside is outside."""
    secret = tmp_path / "secret.png"
    secret.write_bytes((untouched.pictures / "photo.png").read_bytes())
    link = untouched.pictures / "link.png"
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    told(await untouched.generate(control_image=str(link)), "image_blocked")


async def test_a_provider_without_its_key_names_the_variable(untouched: Session) -> None:
    """The operator learns what to set."""
    for dry_run in (True, False):
        text = told(await untouched.generate(provider="scenario", dry_run=dry_run), "not_configured")
        assert "SCENARIO_API_KEY" in text


async def test_values_that_hosts_write_as_text_are_understood(session: Session) -> None:
    """Objects as JSON text, numbers as text, and nulls for what is not given."""
    extra = f'[{{"modality": "lineart", "image": "{session.pictures / "sketch.png"}", "weight": "0.5", "start": null}}]'
    job = (
        await session.generate(
            extra_controls=extra,
            provider_options='{"mark": false}',
            width="128",
            seed="5",
            init_image=None,
            negative_prompt=None,
            steps=None,
            request_key=None,
        )
    ).job
    assert job.status == "succeeded", job.error
    assert (job.seed, [row.weight for row in job.controls]) == (5, [1.0, 0.5])


@pytest.mark.parametrize("tool", ["job_status", "cancel_job"])
@pytest.mark.parametrize("job_id", ["job_0", "", "job_" + "f" * 32, "'; DROP TABLE jobs; --", "\u0000", "../../etc"])
async def test_an_unknown_job_is_told(untouched: Session, tool: str, job_id: str) -> None:
    """Whatever stands for its id."""
    assert "list_jobs" in told(await untouched.call(tool, job_id=job_id), "not_found")


async def test_an_unknown_tool_is_told(untouched: Session) -> None:
    """With the tools that there are."""
    assert "controlnet_generate" in told(await untouched.call("controlnet_generat"), "invalid_request")


@pytest.mark.parametrize("tool", ["job_status", "cancel_job", "extract_control_map", "controlnet_generate"])
async def test_a_missing_argument_is_named(untouched: Session, tool: str) -> None:
    """Every tool says which argument it cannot do without."""
    told(await untouched.call(tool), "invalid_request")


@pytest.mark.parametrize(
    "uri",
    [
        "controlnet://nothing",
        "controlnet://jobs/job_0",
        "controlnet://jobs/job_0/images/0",
        "controlnet://jobs/job_0/control-map",
        "controlnet://maps/abc",
        f"controlnet://maps/{'0' * 64}",
        "controlnet://",
        "file:///etc/passwd",
        "https://example.org/",
    ],
)
async def test_an_unknown_resource_is_a_protocol_error(untouched: Session, uri: str) -> None:
    """Invalid parameters, with a sentence; nothing outside our own addresses is read."""
    with pytest.raises(MCPError) as caught:
        await untouched.read(uri)
    assert caught.value.error.code == -32602
    assert caught.value.error.message
    assert "Traceback" not in caught.value.error.message


@pytest.mark.parametrize(
    "argument",
    ["prompt", "control_image", "modality", "init_image", "provider", "model", "scheduler", "request_key", "zzz", LONG],
)
async def test_text_of_any_length_is_answered_shortly(session: Session, argument: str) -> None:
    """What a caller sends never comes back in a message that is too large for the caller."""
    for dry_run in (True, False):
        reply = await session.generate(**{argument: LONG}, dry_run=dry_run)
        assert len(reply.result.model_dump_json(by_alias=True).encode()) < 50_000


async def test_long_names_are_answered_shortly(untouched: Session) -> None:
    """Ids, cursors, resources and prompts, too."""
    replies = [
        await untouched.call("job_status", job_id=LONG),
        await untouched.call("list_jobs", cursor=LONG),
        await untouched.call("list_modalities", modality=LONG, provider=LONG),
        await untouched.call("list_models", provider=LONG),
        await untouched.call("extract_control_map", image=LONG, modality=LONG),
        await untouched.call("extract_control_map", image=LONG, parameters={LONG: 1}),
    ]
    assert all(len(reply.result.model_dump_json().encode()) < 50_000 for reply in replies)
    for uri in (f"controlnet://{LONG}", f"controlnet://jobs/{LONG}"):
        with pytest.raises(MCPError) as caught:
            await untouched.read(uri)
        assert len(caught.value.error.model_dump_json()) < 50_000
    for name, arguments in ((LONG, {}), ("restyle", {"image": LONG, "look": LONG})):
        with pytest.raises(MCPError) as caught:
            await untouched.client.get_prompt(name, arguments)
        assert len(caught.value.error.model_dump_json()) < 50_000
