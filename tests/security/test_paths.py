"""Attacks on local paths (7 to 9): each fails, and succeeds against the same victim without its control."""

import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlnet_mcp.foundation.errors import ControlNetError, ImageError
from controlnet_mcp.images import safe_open
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.picture import EXTENSIONS, StoredType
from controlnet_mcp.images.safe_open import read_file
from controlnet_mcp.server.cli.output import place_for, readable_name, save
from controlnet_mcp.tools import TOOLS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX links")

PICTURE, SECRET = b"pixels", b"secret"
LIMIT = 1000

_before_open: list[Callable[[str], None]] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _before_open and isinstance(arguments[0], str | Path):
        _before_open[-1](str(arguments[0]))


sys.addaudithook(_hook)  # the moment between the last check and the opening of a file, which no other way can hit


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    """An allowed folder with a picture in a folder, and a secret of the same name outside."""
    for folder, content in (("allowed/trip", PICTURE), ("outside", SECRET), ("allowed-twin", SECRET)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "castle.png").write_bytes(content)
    return tmp_path / "allowed"


@pytest.fixture
def swap(allowed: Path) -> Generator[Callable[[str], None]]:
    """Swaps the folder for a link to the outside as soon as the picture, by whatever path, is about to be opened."""

    def act(path: str) -> None:
        if path.endswith("castle.png") and not (allowed / "kept").exists():
            (allowed / "trip").rename(allowed / "kept")
            (allowed / "trip").symlink_to(allowed.parent / "outside")

    _before_open.append(act)
    yield act
    _before_open.clear()


def outcome(path: object, allowed: Path) -> bytes:
    """What is read, or nothing where it is refused."""
    try:
        return read_file(str(path), [allowed], LIMIT)
    except ImageError:
        return b""


def by_text(path: str, allowed: Path) -> bytes:
    """How it is usually done: the resolved path is compared, then opened (what the advisories of C2 had)."""
    if not Path(path).resolve().is_relative_to(allowed.resolve()):
        return b""
    return Path(path).read_bytes()


def by_prefix(path: str, allowed: Path) -> bytes:
    """How it is done worse: the text is compared."""
    return Path(path).read_bytes() if os.path.normpath(path).startswith(str(allowed)) else b""  # text


def planted(allowed: Path, kind: str) -> str:
    """A path that looks allowed and leads to the secret."""
    outside = allowed.parent / "outside" / "castle.png"
    match kind:
        case "link":
            (allowed / "x.png").symlink_to(outside)
            return f"{allowed}/x.png"
        case "hard link":
            (allowed / "y.png").hardlink_to(outside)
            return f"{allowed}/y.png"
        case "folder link":
            (allowed / "z").symlink_to(outside.parent)
            return f"{allowed}/z/castle.png"
        case _:
            return f"{allowed}-twin/castle.png"


@pytest.mark.parametrize("kind", ["link", "hard link", "folder link", "twin"])
def test_7_nothing_outside_is_read(allowed: Path, kind: str) -> None:
    """Links of every kind and a folder whose name begins alike; a comparison of texts is taken in by each."""
    path = planted(allowed, kind)
    assert outcome(path, allowed) == b""
    assert by_prefix(path, allowed) == SECRET


@pytest.mark.parametrize("path", ["/proc/self/environ", "/dev/zero", "/proc/self/fd/0", "/dev/stdin", "/etc/passwd"])
def test_7_the_system_is_not_read(allowed: Path, path: str) -> None:
    """Nor through a folder that the operator allowed by mistake: only plain files are."""
    assert outcome(path, allowed) == b""
    if path.startswith("/dev"):
        assert outcome(path, Path("/dev")) == b""


PARTS = ["..", ".", "", "trip", "castle.png", "outside", "allowed-twin", "~", "%2e%2e", "\\", "\0", "é"]
STARTS = ["{}/", "file://{}/", "{}/trip/", "", "~/", "file:", "//"]


def test_7_any_text_gives_the_picture_or_an_error(allowed: Path) -> None:
    """Whatever is written as a path, the answer is the one picture that may be read, or an error of ours."""
    seen: set[object] = set()

    @settings(max_examples=120, deadline=None)
    @given(st.lists(st.sampled_from(PARTS) | st.text(max_size=6), max_size=8), st.sampled_from(STARTS))
    def check(parts: list[str], start: str) -> None:
        try:
            seen.add(read_file(start.format(allowed) + "/".join(parts), [allowed], LIMIT))
        except ControlNetError as error:
            seen.add(error.code)

    check()
    assert read_file(f"{allowed}/trip/castle.png", [allowed], LIMIT) == PICTURE
    assert seen <= {PICTURE, "image_blocked", "image_unreadable", "invalid_request"}


@pytest.mark.usefixtures("swap")
@pytest.mark.parametrize("by_descriptor", [True, False])
def test_8_a_swap_at_the_last_moment_does_not_leak(
    allowed: Path, monkeypatch: pytest.MonkeyPatch, *, by_descriptor: bool
) -> None:
    """With folder descriptors the picture is still the picture; without, the open file is asked where it is."""
    monkeypatch.setattr(safe_open, "BY_DESCRIPTOR", by_descriptor)
    read = outcome(f"{allowed}/trip/castle.png", allowed)
    assert (allowed / "kept").exists(), "the swap did not happen"
    assert read == (PICTURE if by_descriptor else b"")


@pytest.mark.usefixtures("swap")
def test_8_the_same_swap_leaks_past_a_check_of_the_path(allowed: Path) -> None:
    """The control replaced by the usual one: resolve, compare, open."""
    assert by_text(f"{allowed}/trip/castle.png", allowed) == SECRET


@pytest.mark.usefixtures("swap")
def test_8_the_same_swap_leaks_where_the_open_file_is_not_asked(allowed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of systems without folder descriptors, switched off."""
    monkeypatch.setattr(safe_open, "BY_DESCRIPTOR", value=False)

    def told(_: int) -> Path:
        return allowed.resolve() / "trip" / "castle.png"

    monkeypatch.setattr(safe_open, "final_path", told)
    assert outcome(f"{allowed}/trip/castle.png", allowed) == SECRET


@pytest.mark.parametrize("mime_type", EXTENSIONS)
def test_9_stored_names_are_ours(tmp_path: Path, mime_type: StoredType) -> None:
    """A hash and an extension of a closed set; another type has no name at all."""
    blobs = BlobStore(tmp_path)
    sha256 = blobs.put(PICTURE, mime_type)
    (name,) = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert name == f"{sha256}.{EXTENSIONS[mime_type]}"
    with pytest.raises(KeyError):
        blobs.put(PICTURE, "../../x")  # type: ignore[arg-type]  # the attack


def test_9_no_tool_takes_a_place_to_write() -> None:
    """The closed list of arguments: none of them is a path that is written to, over any transport."""
    arguments = {name for tool in TOOLS for name in tool.arguments.model_fields}
    assert {
        name for name in arguments if any(part in name for part in ("path", "output", "file", "folder", "dir"))
    } == set()


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60) | st.sampled_from(["../../x", "png/../../x", "/etc/cron.d/x", "a\0b", "CON"]))
def test_9_a_saved_name_stays_in_its_folder(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The command line names files after the prompt: one plain name, and the extension of what the picture is."""
    folder = tmp_path_factory.getbasetemp()
    place = place_for(str(folder), readable_name(text), "image/png")
    assert place.parent == folder
    assert place.suffix == ".png"
    assert place.name.startswith("controlnet")


def test_9_nothing_is_overwritten(tmp_path: Path) -> None:
    """Not what is there, nor what a link in its place leads to."""
    victim = tmp_path / "victim.png"
    victim.write_bytes(SECRET)
    (tmp_path / "x.png").symlink_to(victim)
    assert save(PICTURE, victim).name == "victim-2.png"
    assert save(PICTURE, tmp_path / "x.png").name == "x-2.png"
    assert victim.read_bytes() == SECRET
