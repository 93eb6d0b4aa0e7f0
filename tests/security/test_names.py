"""Attacks by the name of a picture: what is taken out of its wrapping passes the same guards as what came without."""

import shutil
import sys
import time
import tracemalloc
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from pydantic import JsonValue

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.server.auth.file_links import FileLinks, load_secret
from controlnet_mcp.server.settings import Settings
from tests.support.asgi_client import ALICE, BOB, ORIGIN, Gate, open_gate, write_tokens
from tests.support.mcp_session import Session, open_session, settings_for
from tests.tools.test_picture_names import Host, hosted, named, read

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX paths")]


class Endless(str):
    """A text that claims to be 2 GB long; nobody may copy or search it."""

    __slots__ = ()

    def __len__(self) -> int:
        """Claim it."""
        return 2 * 1024**3

    def strip(self, *_: object) -> str:
        """Fail: it would be copied."""
        raise AssertionError


async def test_a_data_uri_of_2_gb_in_quotes_is_refused_before_it_is_copied(session: Session) -> None:
    """Its length alone decides, before anything is unwrapped."""
    with pytest.raises(ControlNetError, match="larger than the limit"):
        await session.application.services.reader.read(Endless('"data:image/png;base64,AAAA"'), local_paths=True)


@pytest.mark.parametrize("wrapper", ['"{}"', "![cat]({})", '{{"data": "{}"}}', "{}"])
async def test_a_long_data_uri_takes_a_bounded_amount_of_memory(settings: Settings, wrapper: str) -> None:
    """A picture that is just too long, in whatever wrapping, takes a few times the limit and is refused."""
    limited = settings.model_copy(update={"max_image_bytes": 1_000_000})
    text = wrapper.format("data:image/png;base64," + "A" * 4_000_000)
    async with open_session(limited) as session:
        tracemalloc.start()
        with pytest.raises(ControlNetError, match="larger than the limit"):
            await session.application.services.reader.read(text, local_paths=True)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 5 * len(text)


WRAPPERS = ['"{}"', "`{}`", "[cat]({})", "<img src='{}'>", '{{"path": "{}"}}', "@{}", "file://{}", "![x](<file://{}>)"]


@pytest.mark.parametrize("wrapper", WRAPPERS)
async def test_7_no_wrapping_leads_out_of_the_allowed_folders(tmp_path: Path, pictures: Path, wrapper: str) -> None:
    """Dots, codes, escapes, links and the home folder are judged once unwrapped; names out there stay hidden."""
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    for folder in (allowed, outside):
        folder.mkdir()
        shutil.copy(pictures / "photo.png", folder / f"{folder.name}.png")
    (allowed / "link.png").symlink_to(outside / "outside.png")
    (allowed / "door").symlink_to(outside)
    paths = [
        *(f"{allowed}/../outside/outside.png", f"{allowed}/%2e%2e/outside/outside.png", f"{outside}/outside.png"),
        *(f"{allowed}/..%2foutside%2foutside.png", f"{allowed}/\\.\\./outside/outside.png", f"{allowed}/link.png"),
        *(f"{allowed}/LINK.png", f"{allowed}/door/outside.png", f"{allowed}/Door/Outside.png", f"{allowed}/door/x.png"),
        *(f"{allowed}/\u2024\u2024/outside/outside.png", f"{allowed}/\uff0e\uff0e/outside/outside.png"),
    ]
    async with open_session(settings_for(tmp_path / "data", allowed)) as session:
        assert not (await named(session, wrapper.format(allowed / "allowed.png"))).result.is_error
        for path in paths:
            error = (await named(session, wrapper.format(path))).error
            assert error.code in {"image_blocked", "image_unreadable"}
            assert "outside.png" not in error.hint


@pytest.mark.parametrize("wrapper", ['"{}"', "<{}>", "![x]({})", '{{"url": "{}"}}', "[[{}]]", "url({})", "{}."])
@pytest.mark.parametrize(
    "link",
    ["https://169.254.169.254/x.png", "https://[::1]/x.png", "https://me:pw@example.org/x.png", "http://10.0.0.1/"],
)
async def test_1_a_wrapped_link_is_guarded_as_a_bare_one(session: Session, wrapper: str, link: str) -> None:
    """Addresses inside, passwords and plain http, in quotes, Markdown and objects."""
    assert (await named(session, wrapper.format(link))).error.code == "image_blocked"


@pytest.fixture
async def gate(settings: Settings, tmp_path: Path) -> AsyncGenerator[Gate]:
    """A web application with Alice and Bob."""
    async with open_gate(settings.model_copy(update={"tokens_file": write_tokens(tmp_path / "tokens")})) as opened:
        yield opened


async def test_18_anothers_job_is_unknown_by_whatever_name(gate: Gate) -> None:
    """An id alone, its pictures, its sheet and the JSON of its answer open for their owner only."""
    async with gate.client(ALICE) as alice, gate.client(BOB) as bob:
        job = (await alice.generate(provider="draft")).job.job_id
        nobody = "job_" + "0" * 32
        for name in ("{}", "`{}`", "{}-1", "controlnet://jobs/{}", "controlnet://jobs/{}/sheet", '{{"job_id": "{}"}}'):
            theirs = await bob.call("extract_control_map", image=name.format(job))
            unknown = await bob.call("extract_control_map", image=name.format(nobody))
            assert theirs.error.code == "not_found"
            assert theirs.text.replace(job, nobody) == unknown.text
        assert not (await alice.call("extract_control_map", image=job)).result.is_error


async def test_18_a_signed_link_opens_one_picture_and_a_forged_one_none(gate: Gate, settings: Settings) -> None:
    """A5: our own /files/ link is read from the store by its signature: forged, altered and old ones are not."""
    async with gate.client(ALICE) as alice:
        image = (await alice.generate(provider="draft")).job.images
        assert image is not None
        picture = StoredPicture.model_validate(image[0].model_dump(include=set(StoredPicture.model_fields)))
        secret = load_secret(settings.data_folder)
        good = FileLinks(ORIGIN, secret, time.time).url_of(picture)
        read_back = [
            good,
            f'"{good}"',
            good.replace(ORIGIN, "https://elsewhere.example/art"),
            good.replace("&", "&amp;"),
        ]
        for link in read_back:
            assert not (await alice.call("extract_control_map", image=link)).result.is_error
        old = FileLinks(ORIGIN, secret, lambda: 1.0).url_of(picture)
        assert "expired" in (await alice.call("extract_control_map", image=old)).error.message
        forged = [
            FileLinks(ORIGIN, b"x" * 32, time.time).url_of(picture),
            good.replace("expires=", "expires=9"),
            good.replace(picture.sha256, "0" * 64),
            good[:-1] + ("0" if good[-1] != "0" else "1"),
        ]
        for link in forged:
            assert (await alice.call("extract_control_map", image=link)).error.code == "image_blocked"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_24_a_root_is_never_the_whole_disk_or_the_home_folder(
    tmp_path: Path, pictures: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that works in them may name files by relative paths, and still only the allowed folders are read."""
    home = tmp_path / "home"
    for folder in (".ssh", "Pictures"):
        (home / folder).mkdir(parents=True)
        shutil.copy(pictures / "photo.png", home / folder / "key.png")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir("/")
    usual = settings_for(tmp_path / "data", home, allowed_dirs=None)
    for root in (home, home.parent, Path("/")):
        async with hosted(usual, mode, Host(root)) as session:
            for path in (home / ".ssh" / "key.png", Path(".ssh/key.png"), (home / ".ssh" / "key.png").relative_to("/")):
                assert (await named(session, str(path))).error.code == "image_blocked"
            assert read(await named(session, str((home / "Pictures" / "key.png").relative_to(root)))).width == 64
    async with hosted(usual, mode, Host(home / ".ssh")) as session:
        assert read(await named(session, "key.png")).width == 64, "a folder that the client names alone is read"


async def test_24_over_http_nobody_is_asked_for_roots(settings: Settings, pictures: Path) -> None:
    """The folders of a client elsewhere are no folders of this machine."""
    host = Host(pictures)
    for mode in ("auto", "legacy"):
        async with hosted(settings, mode, host, local=False) as session:
            for name in ("photo.png", str(pictures / "photo.png"), (pictures / "photo.png").as_uri()):
                error = (await named(session, name)).error
                assert error.code == "image_blocked"
                assert "another machine" in error.message
    assert host.asked == 0


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_7_a_root_is_guarded_as_an_allowed_folder_is(tmp_path: Path, pictures: Path, mode: str) -> None:
    """No link and no dots lead out of it."""
    project, outside = tmp_path / "project", tmp_path / "outside"
    for folder in (project, outside):
        folder.mkdir()
        shutil.copy(pictures / "photo.png", folder / "photo.png")
    (project / "link.png").symlink_to(outside / "photo.png")
    tries: list[JsonValue] = [
        "link.png",
        "../outside/photo.png",
        str(outside / "photo.png"),
        "%2e%2e/outside/photo.png",
    ]
    async with hosted(settings_for(tmp_path / "data", tmp_path / "nothing"), mode, Host(project)) as session:
        assert read(await named(session, "photo.png")).width == 64
        for name in tries:
            assert (await named(session, name)).error.code in {"image_blocked", "image_unreadable"}
