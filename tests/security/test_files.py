"""An agent that a document talked into it asks for a picture that is none of its business."""

from pathlib import Path

import pytest

from controlnet_mcp.server.settings import Settings
from tests.support.asgi_client import ALICE, open_gate, write_tokens
from tests.support.mcp_session import open_session, settings_for

pytestmark = pytest.mark.anyio


@pytest.fixture
def home(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and the working directory, with a picture where keys are kept and one where pictures are."""
    for folder in (".ssh", "Pictures"):
        (tmp_path / "home" / folder).mkdir(parents=True)
        (tmp_path / "home" / folder / "key.png").write_bytes((pictures / "photo.png").read_bytes())
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


async def code_of(settings: Settings, *paths: str) -> list[str]:
    """What comes of asking for local pictures over stdio."""
    async with open_session(settings) as session:
        replies = [await session.call("extract_control_map", image=path) for path in paths]
    return [reply.error.code if reply.result.is_error else "read" for reply in replies]


async def test_by_default_only_folders_for_pictures_are_read(home: Path, tmp_path: Path) -> None:
    """The home folder is no working directory; what else may be read is the operator's explicit word."""
    asked = [
        str(home / ".ssh" / "key.png"),
        "~/.ssh/key.png",
        ".ssh/key.png",
        str(home / "Pictures" / "../.ssh/key.png"),
    ]
    usual = settings_for(tmp_path / "data", home, allowed_dirs=None)
    assert await code_of(usual, *asked) == ["image_blocked"] * 4
    assert await code_of(usual, str(home / "Pictures" / "key.png")) == ["read"]
    assert await code_of(settings_for(tmp_path / "data", home), asked[0]) == ["read"], "without the control it works"


async def test_callers_elsewhere_read_no_files_at_all(home: Path, tmp_path: Path) -> None:
    """Not even those that somebody at this machine may have."""
    settings = settings_for(tmp_path / "data", home, tokens_file=write_tokens(tmp_path / "tokens"))
    async with open_gate(settings) as gate, gate.client(ALICE) as alice:
        for path in (home / ".ssh" / "key.png", home / "Pictures" / "key.png"):
            for reference in (str(path), path.as_uri()):
                reply = await alice.call("extract_control_map", image=reference)
                assert reply.error.code == "image_blocked"
                assert "another machine" in reply.error.message
