"""Fixtures that every test file may use."""

import signal
import socket
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from controlnet_mcp.server.settings import Settings
from tests.support import network_guard
from tests.support.event_loop_watch import LoopWatch, watch_event_loop
from tests.support.mcp_session import Session, open_session, settings_for
from tests.support.server_process import Place, Web, serving_http
from tests.support.stalled_provider import StalledProvider, stalled_provider

network_guard.watch()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts a background suite so, and the programs that tests interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a suite in which anything tried to leave this machine, even where nobody noticed."""
    if network_guard.refused:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        sys.stderr.write(f"\nSomething tried to leave this machine: {network_guard.refused}\n")


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, as the server does."""
    return "asyncio"


@pytest.fixture
def loop_watch() -> Generator[LoopWatch]:
    """Fails the test when code of the project blocks the event loop; the test may look at what was found."""
    with watch_event_loop() as watch:
        yield watch
    assert not watch.findings, f"the event loop was blocked: {watch.findings}"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small pictures: `photo.png`, `sketch.png` and `blank.png`, all 256 pixels square."""
    from PIL import Image
    from skimage import data

    from tests.support.sample_drawings import house, paper

    folder = tmp_path_factory.mktemp("pictures")
    with Image.open(Path(data.__file__).with_name("astronaut.png")) as photo:
        photo.convert("RGB").resize((256, 256), Image.Resampling.LANCZOS).save(folder / "photo.png")
    Image.fromarray(house(256)).save(folder / "sketch.png")
    Image.fromarray(paper(256)).save(folder / "blank.png")
    return folder


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Generator[Web]:
    """A server in a process of its own that listens on a port of this machine; tests share it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    place = Place(tmp_path_factory.mktemp("web") / "data", pictures)
    with serving_http(place, port) as server:
        yield server


@pytest.fixture(scope="session")
def vendor(pictures: Path) -> Generator[StalledProvider]:
    """A paid provider on this machine that can hold its answers; tests share it, each with prompts of its own."""
    with stalled_provider(pictures / "sketch.png") as opened:
        yield opened


@pytest.fixture
def settings(tmp_path: Path, pictures: Path) -> Settings:
    """Settings with an empty data folder, for a server that may read `pictures`."""
    return settings_for(tmp_path / "data", pictures)


@pytest.fixture
async def session(settings: Settings) -> AsyncGenerator[Session]:
    """A whole server in memory, and a client on it."""
    async with open_session(settings) as opened:
        yield opened
