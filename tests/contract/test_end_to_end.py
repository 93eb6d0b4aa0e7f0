"""The hosted providers through the real command line: a drawing goes in, a picture with its structure comes out.

Each runs against its simulator on loopback, in a process of its own, with nothing but environment variables.
"""

from collections.abc import Generator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from controlnet_mcp.tools.views import Job
from tests.server.test_cli import TIMEOUT_SECONDS, Terminal
from tests.support.edge_recall import chance_of, recall_of
from tests.support.hosted_providers import HOSTED, LINKS_ONLY, SIMULATIONS, Hosted, serving_all, serving_file
from tests.support.sample_drawings import Rgb, house

SIDE = 512


@pytest.fixture(scope="module")
def services() -> Generator[Mapping[str, Hosted]]:
    """All simulators, running."""
    with serving_all() as opened:
        yield opened


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`house.png`: a drawn house."""
    path = tmp_path_factory.mktemp("drawings") / "house.png"
    Image.fromarray(house(SIDE)).save(path)
    return path


def generate(terminal: Terminal, provider: str, picture: str, *more: str) -> tuple[int, str, str]:
    """Run `controlnet-mcp generate` as another process; gives its exit code, stdout and stderr."""
    words = (
        "generate",
        "a house at dawn",
        picture,
        "--provider",
        provider,
        "--modality",
        SIMULATIONS[provider].modality,
    )
    size = ("--width", str(SIDE), "--height", str(SIDE))
    with terminal.start(*words, *size, "--seed", "7", *more) as program:
        stdout, stderr = program.communicate(timeout=TIMEOUT_SECONDS)
    return program.returncode, stdout, stderr


def pixels(path: Path) -> Rgb:
    """A picture from the disk."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def files_with(secrets: tuple[str, ...], folder: Path) -> list[Path]:
    """The files under a folder that hold one of these texts."""
    texts = [secret.encode() for secret in secrets]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if any(text in path.read_bytes() for text in texts)]


@pytest.mark.parametrize("provider", HOSTED)
def test_a_picture_with_the_drawing_s_structure_comes_home(
    services: Mapping[str, Hosted], drawing: Path, tmp_path: Path, provider: str
) -> None:
    """One charge, the promised size, the drawing's edges, and the key nowhere outside of requests."""
    service, data_dir = services[provider], tmp_path / "data"
    charges = service.studio.charges
    with ExitStack() as stack:
        variables = dict(service.variables)
        if provider in LINKS_ONLY:
            origin = stack.enter_context(serving_file(drawing))
            variables["CONTROLNET_MCP_PUBLIC_URL"] = origin
        code, stdout, stderr = generate(
            Terminal(data_dir, variables), provider, str(drawing), "--output", str(tmp_path / "out.png")
        )
    assert code == 0, stderr
    assert service.studio.charges == charges + 1
    result = pixels(Path(stdout.strip()))
    assert result.shape == (SIDE, SIDE, 3)
    assert recall_of(house(SIDE), result) > max(0.9, 2 * chance_of(house(SIDE), result))
    assert not [secret for secret in service.secrets if secret in stdout + stderr]
    assert files_with(service.secrets, data_dir) == []


def test_a_local_picture_reaches_a_provider_of_links_through_the_public_url(
    services: Mapping[str, Hosted], drawing: Path, tmp_path: Path
) -> None:
    """The link is signed and of ours; without a public address the way out is told and nothing is sent."""
    service = services["zhiqite"]
    charges = service.studio.charges
    code, _, stderr = generate(Terminal(tmp_path / "closed", dict(service.variables)), "zhiqite", str(drawing))
    assert code == 1
    assert "CONTROLNET_MCP_PUBLIC_URL" in stderr
    assert service.studio.charges == charges
    with serving_file(drawing) as origin:
        variables = {**service.variables, "CONTROLNET_MCP_PUBLIC_URL": origin}
        code, stdout, stderr = generate(
            Terminal(tmp_path / "open", variables),
            "zhiqite",
            str(drawing),
            "--output",
            str(tmp_path / "out.png"),
            "--json",
        )
    assert code == 0, stderr
    assert Job.model_validate_json(stdout).status == "succeeded"
    assert service.studio.charges == charges + 1
    assert f"{origin}/files/" in service.studio.calls("/AIGCImgOpenServ/saas/sd/v2/controlnet")[-1].body.decode()
