"""Pictures as people and models name them, through tool calls: read, or refused with what is really the matter."""

import base64
import json
import shutil
import sys
import unicodedata
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import mcp_types as types
import pytest
from mcp.client.context import ClientRequestContext
from pydantic import JsonValue

from controlnet_mcp.server.app import open_application
from controlnet_mcp.server.mcp.protocol import build_server
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.tools.extract_control_map import MapView
from tests.support.mcp_session import Reply, Session, connect, open_session, settings_for

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX paths")


@pytest.fixture
def folder(tmp_path: Path, pictures: Path) -> Path:
    """The folder that may be read, with a photo in it."""
    (tmp_path / "mine").mkdir()
    shutil.copy(pictures / "photo.png", tmp_path / "mine" / "photo.png")
    return tmp_path / "mine"


@pytest.fixture
async def here(tmp_path: Path, folder: Path) -> AsyncGenerator[Session]:
    """A session that may read that folder."""
    async with open_session(settings_for(tmp_path / "data", folder)) as session:
        yield session


async def named(session: Session, image: JsonValue) -> Reply:
    """The answer to a picture of this name."""
    return await session.call("extract_control_map", image=image, resolution=64, previews=False)


def read(reply: Reply) -> MapView:
    """The map that was made of it."""
    assert not reply.result.is_error, reply.text
    return MapView.model_validate_json(reply.text)


async def test_a1_wrapped_data_is_read_in_every_argument_that_names_a_picture(here: Session, folder: Path) -> None:
    """A1: data: URIs in quotes, Markdown, tags and objects, also for start image, mask and further controls."""
    digits = base64.b64encode((folder / "photo.png").read_bytes()).decode()
    uri = f"data:image/png;base64,{digits}"
    texts = [
        f'"{uri}"',
        f"`{uri}`",
        f"![photo]({uri})",
        f"<img src='{uri}'>",
        f"url({uri})",
        digits,
        f"base64,{digits}",
    ]
    texts += [f"data: image/png;base64;charset=utf-8, {digits}", json.dumps({"data": digits})]
    anthropic: JsonValue = {"type": "base64", "media_type": "image/png", "data": digits}
    wrapped: list[JsonValue] = [
        *texts,
        {"type": "image", "data": digits, "mimeType": "image/png"},
        {"type": "image", "source": anthropic},
        [{"type": "image_url", "image_url": {"url": uri}}],
    ]
    for image in wrapped:
        assert read(await named(here, image)).width == 64
    for image in wrapped[-4:]:
        extra: JsonValue = {"modality": "canny", "image": image}
        reply = await here.generate(control_image=image, init_image=image, extra_controls=[extra], dry_run=True)
        assert not reply.result.is_error or reply.error.code == "unsupported", reply.text


@pytest.mark.parametrize("wrapper", ['"{}"', "{}", "![cat]({})", "<img src='{}'>", '{{"image": "{}"}}', "data: {}"])
async def test_a1_no_error_repeats_what_was_handed_in(here: Session, wrapper: str) -> None:
    """A1: a megabyte that is no picture comes back as a hundred characters at most."""
    for text in (
        "data:image/png;base64," + "!" * 1_000_000,
        "x/" * 500_000,
        "A" * 1_000_000,
        "https://" + "é" * 1_000_000,
    ):
        reply = await named(here, wrapper.format(text))
        assert reply.result.is_error
        assert len(reply.text.encode()) < 1500


@needs_posix
@pytest.mark.parametrize(
    "wrapper",
    [
        *('"{}"', "'{}'", "`{}`", "<{}>", "@{}", '@"{}"', "[my photo]({})", "![photo](<{}>)", "\u200b{}", "\ufeff{}"),
        *("\u202a{}\u202c", "{}.", "`{}`.", "“{}”", "```\n{}\n```", "Path: {}", "file://{}", '"file://{}"', "({})"),
    ],
)
async def test_a2_the_wrapping_of_a_path_is_taken_off(here: Session, folder: Path, wrapper: str) -> None:
    """A2: what people paste and models write round a path does not make it another path."""
    assert read(await named(here, wrapper.format(folder / "photo.png"))).width == 64


@needs_posix
@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("my photo (1).png", "my\\ photo\\ \\(1\\).png"),
        ("my photo.png", "my%20photo.png"),
        ("Tom & Jerry's.png", "Tom &amp; Jerry's.png"),
        ("my_photo.png", "my\\_photo.png"),
        ("水彩.png", "%E6%B0%B4%E5%BD%A9.png"),
    ],
)
async def test_a2_a_path_as_a_shell_or_a_uri_writes_it_is_read(
    here: Session, folder: Path, name: str, spelling: str
) -> None:
    """A2: a backslash before a space and codes with percent signs; a file that is called just so comes first."""
    (folder / "photo.png").rename(folder / name)
    assert read(await named(here, f"{folder}/{spelling}")).notes is None
    (folder / spelling).write_bytes(b"no picture")
    assert (await named(here, f"{folder}/{spelling}")).error.code == "image_unreadable"


async def test_a2_wrapped_links_and_uris_are_links_and_uris(here: Session, folder: Path) -> None:
    """A2: a quoted controlnet:// URI is read, and a quoted link is judged as a link."""
    uri = read(await named(here, str(folder / "photo.png"))).uri
    for text in (f'"{uri}"', f"`{uri}`", f"<{uri}>", f"[map]({uri})", uri.removeprefix("controlnet://"), f"@{uri}"):
        assert read(await named(here, text)).width == 64
    for text in ('"https://127.0.0.1/cat.png"', "<https://127.0.0.1/cat.png>", "[cat](https://127.0.0.1/cat.png)"):
        assert "may not be read from '127.0.0.1'" in (await named(here, text)).error.message


MAC = "Screenshot 2026-05-12 at 4.42.48\u202fPM.png"


@needs_posix
@pytest.mark.parametrize(
    ("name", "given"),
    [
        (MAC, MAC.replace("\u202f", " ")),
        ("my photo.png", "my\u00a0photo.png"),
        ("my\u00a0photo.png", "my photo.png"),
        (unicodedata.normalize("NFD", "Café à la crème.png"), "Café à la crème.png"),
        ("Café.png", unicodedata.normalize("NFD", "Café.png")),
        ("Anna\u2019s cat.png", "Anna's cat.png"),
        ("Anna's cat.png", "Anna\u2019s cat.png"),
        ("\u201cone\u201d.png", '"one".png'),
        ("IMG_0001.PNG", "img_0001.png"),
        ("a \u2013 b.png", "a - b.png"),
        ("two  spaces.png", "two spaces.png"),
        ("ﬁnal.png", "final.png"),
        ("\u200bhidden.png", "hidden.png"),
        ("Straße.png", "STRASSE.PNG"),
        ("\uff57\uff49de.png", "wide.png"),
    ],
)
async def test_a3_the_only_file_that_looks_the_same_is_read(here: Session, folder: Path, name: str, given: str) -> None:
    """A3: a macOS screenshot is found although its space is a U+202F, and so on; the notice says which file it was."""
    (folder / "photo.png").rename(folder / name)
    notes = read(await named(here, f"{folder}/{given}")).notes
    assert notes is not None
    assert repr(name)[1:-1] in notes[0]
    told = (await here.generate(control_image=f"{folder}/{given}", dry_run=True)).text
    assert "The file that was read" in told


@needs_posix
async def test_a3_a_folder_on_the_way_may_be_spelt_otherwise_too(here: Session, folder: Path) -> None:
    """A3: also the folder that may be read, where no folder has the name that was given."""
    (folder / "Été 2026").mkdir()
    (folder / "photo.png").rename(folder / "Été 2026" / "photo.png")
    nfd = unicodedata.normalize("NFD", "été 2026")
    assert read(await named(here, f"{folder}/{nfd}/photo.png")).notes
    assert read(await named(here, f"{str(folder).replace('mine', 'Mine')}/{nfd}/Photo.png")).notes


@needs_posix
async def test_a3_several_that_look_the_same_are_listed(here: Session, folder: Path) -> None:
    """A3: none of them is guessed, and the exact name always wins."""
    for name in ("Cat.png", "CAT.png", "cat\u200b.png"):
        shutil.copy(folder / "photo.png", folder / name)
    error = (await named(here, f"{folder}/cAt.png")).error
    assert error.code == "image_unreadable"
    assert all(ascii(name) in error.hint for name in ("Cat.png", "CAT.png", "cat\u200b.png"))
    assert read(await named(here, f"{folder}/CAT.png")).notes is None


@pytest.mark.parametrize(
    "text",
    [
        *("sandbox:/mnt/data/cat.png", "/mnt/user-data/uploads/cat.png", "/mnt/data/cat.png", "file-abc", "[Image #1]"),
        *("image.png", "blob:https://chat.example/0-1", "cid:image001", "attachment:cat.png", "Image 1", "<image>"),
        *(
            "the uploaded image",
            "`sandbox:/mnt/data/cat.png`",
            '{"file_id": "file-abc123"}',
            "[cat](sandbox:/mnt/data/c.png)",
        ),
    ],
)
async def test_a4_pictures_of_the_chat_are_told_apart(here: Session, folder: Path, text: str) -> None:
    """A4: the error says that they do not reach this server, and into which folder to save them."""
    error = (await named(here, text)).error
    assert "Pictures of the chat do not reach this server" in error.hint
    assert str(folder) in error.hint
    assert "ALLOWED_DIRS" not in error.hint


async def test_a4_a_file_that_is_called_like_an_attachment_is_read(
    here: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A4: image.png in the working directory is a file like any other."""
    monkeypatch.chdir(folder)
    (folder / "photo.png").rename(folder / "image.png")
    assert read(await named(here, "image.png")).width == 64


async def test_a5_a_job_alone_is_its_first_picture(here: Session, folder: Path) -> None:
    """A5: by its id, its URI, and the name that answers give its pictures; also as JSON of the whole answer."""
    reply = await here.generate(control_image=str(folder / "photo.png"), provider="draft", num_images=2)
    job = reply.job.job_id
    first = read(await named(here, f"controlnet://jobs/{job}/images/0")).coverage
    for text in (job, f"`{job}`", f"controlnet://jobs/{job}", f"{job}-1", reply.text, f"jobs/{job}/images/0"):
        assert read(await named(here, text)).coverage == first
    assert not (await here.generate(control_image=job, dry_run=True)).result.is_error


async def test_a5_a_job_without_pictures_and_an_unknown_one_are_told_apart(here: Session, folder: Path) -> None:
    """A5: one is not finished, of the other nothing is known."""
    slow: JsonValue = {"simulate": "queued", "seconds": 600}
    reply = await here.generate(control_image=str(folder / "photo.png"), provider_options=slow, wait_seconds=0)
    error = (await named(here, reply.job.job_id)).error
    assert error.code == "not_found"
    assert reply.job.job_id in error.message
    assert "job_status" in error.hint
    assert (await named(here, "job_" + "0" * 32)).error.code == "not_found"


async def test_a5_a_sheet_is_for_people(here: Session, folder: Path) -> None:
    """A5: the error says so and names the picture; of a job that is not there it says what it says of any."""
    job = (await here.generate(control_image=str(folder / "photo.png"), provider="draft")).job
    assert job.sheet_uri is not None
    error = (await named(here, job.sheet_uri)).error
    assert "for people" in error.message
    assert f"controlnet://jobs/{job.job_id}/images/0" in error.hint
    assert (await named(here, job.sheet_uri.replace(job.job_id, "job_" + "0" * 32))).error.code == "not_found"


class Host:
    """A client that works in some folders."""

    def __init__(self, *folders: Path) -> None:
        """Take the folders."""
        self.folders = folders
        self.asked = 0

    async def __call__(self, context: ClientRequestContext) -> types.ListRootsResult:
        """Name them."""
        del context
        self.asked += 1
        return types.ListRootsResult.model_validate({"roots": [{"uri": path.as_uri()} for path in self.folders]})


@asynccontextmanager
async def hosted(settings: Settings, mode: str, host: Host | None, *, local: bool = True) -> AsyncGenerator[Session]:
    """A session whose client declares roots, where it has a host."""
    async with (
        open_application(settings) as application,
        connect(build_server(application, local=local), mode, roots=host) as client,
    ):
        yield Session(client, application, settings.allowed_folders[0])


@needs_posix
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a6_a_relative_path_starts_at_the_roots_of_the_client(
    tmp_path: Path, folder: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A6: in both eras of the protocol, and a full path below a root is read; roots are asked for only where needed."""
    monkeypatch.chdir("/")
    (tmp_path / "project" / "art work").mkdir(parents=True)
    shutil.copy(folder / "photo.png", tmp_path / "project" / "art work" / "house.png")
    host = Host(tmp_path / "nowhere", tmp_path / "project")
    async with hosted(settings_for(tmp_path / "data", folder), mode, host) as session:
        assert read(await named(session, str(folder / "photo.png"))).width == 64
        assert host.asked == 0
        for text in ("art work/house.png", "./art work/house.png", "art%20work/house.png", "ART WORK/House.png"):
            assert read(await named(session, text)).width == 64
        assert host.asked == 4
        assert read(await named(session, str(tmp_path / "project" / "art work" / "house.png"))).width == 64
        reply = await session.generate(
            control_image="art work/house.png", init_image="art work/house.png", dry_run=True
        )
        assert not reply.result.is_error, reply.text
        error = (await named(session, "art work/mouse.png")).error
        assert str(tmp_path / "project" / "art work")[:90] in error.message  # a long one is cut at 100 characters
        assert "house.png" in error.hint


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a6_a_relative_path_comes_with_a_question_to_the_user(tmp_path: Path, folder: Path, mode: str) -> None:
    """A6: a call that is repeated with the user's yes still knows the roots."""
    settings = settings_for(tmp_path / "data", folder, confirm_above={"jobs": 0.0})
    (tmp_path / "project").mkdir()
    shutil.copy(folder / "photo.png", tmp_path / "project" / "house.png")
    async with hosted(settings, mode, Host(tmp_path / "project")) as session:
        assert read(await named(session, "house.png")).width == 64
        assert (await session.generate(control_image="house.png", provider="draft")).job.images


@needs_posix
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a6_without_roots_the_error_names_the_folder(
    tmp_path: Path, folder: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A6: the one that a relative path starts at, whether it may be read or not."""
    async with hosted(settings_for(tmp_path / "data", folder), mode, None) as session:
        monkeypatch.chdir("/")
        assert "'house.png' was looked up in '/'" in (await named(session, "house.png")).error.message
        monkeypatch.chdir(folder)
        assert f"There is no 'house.png' in '{folder}"[:90] in (await named(session, "house.png")).error.message


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a6_roots_elsewhere_are_passed_over(tmp_path: Path, folder: Path, mode: str) -> None:
    """A6: folders of another machine, files and folders that are gone do not keep the others from being used."""

    class Mixed(Host):
        async def __call__(self, context: ClientRequestContext) -> types.ListRootsResult:
            del context
            uris = ["file://nas/share", "file:///gone", (folder / "photo.png").as_uri(), folder.as_uri()]
            return types.ListRootsResult.model_validate({"roots": [{"uri": uri} for uri in uris]})

    async with hosted(settings_for(tmp_path / "data", tmp_path / "nothing"), mode, Mixed()) as session:
        assert read(await named(session, "photo.png")).width == 64


async def test_a6_a_client_that_fails_to_name_its_roots_has_none(tmp_path: Path, folder: Path) -> None:
    """A6: the answer is that of a client without any."""

    class Broken(Host):
        async def __call__(self, context: ClientRequestContext) -> types.ListRootsResult:
            del context
            raise ValueError

    async with hosted(settings_for(tmp_path / "data", folder), "legacy", Broken()) as session:
        assert (await named(session, "house.png")).error.code == "image_blocked"


@needs_posix
@pytest.mark.parametrize(
    "text",
    [
        *(
            "C:\\Users\\me\\cat.png",
            "c:/Users/me/cat.png",
            "file:///c%3A/Users/me/cat.png",
            "file:///C:/Users/me/cat.png",
        ),
        *("\\\\nas\\share\\cat.png", '"D:\\my pictures\\cat.png"', "`C:\\Users\\me\\cat.png`", "/C:/Users/me/cat.png"),
        *(
            "%USERPROFILE%\\Pictures\\cat.png",
            "C:\\\\Users\\\\me\\\\cat.png",
            "[cat](C:\\a\\cat.png)",
            "file://C:/cat.png",
        ),
    ],
)
async def test_a8_a_path_of_windows_is_told_elsewhere(here: Session, text: str) -> None:
    """A8: the error says on which system this server runs."""
    error = (await named(here, text)).error
    assert "a path of Windows" in error.message
    assert "this server runs on" in error.message
    assert "ALLOWED_DIRS" not in error.hint
