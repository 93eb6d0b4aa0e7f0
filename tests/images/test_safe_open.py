"""Local files: only plain ones, only below the allowed folders, whatever the text of the path pretends."""

import os
import threading
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace
from typing import cast

import pytest

from controlnet_mcp.foundation.errors import ControlNetError, ImageError, RequestError
from controlnet_mcp.images import safe_open
from controlnet_mcp.images.safe_open import is_link, is_plain_name, read_file, without_prefix

CONTENT = b"pixels"
LIMIT = 1000

needs_posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX files")


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    """An allowed folder with a picture in a folder in it, beside a secret that is outside."""
    folder = tmp_path / "allowed"
    (folder / "trip").mkdir(parents=True)
    (folder / "trip" / "castle.png").write_bytes(CONTENT)
    (tmp_path / "allowed-not").mkdir()
    (tmp_path / "allowed-not" / "secret.png").write_bytes(b"secret")
    (tmp_path / "secret.png").write_bytes(b"secret")
    return folder


@pytest.fixture(params=["descriptor", "resolved"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test as on POSIX and as on a system that cannot open names relative to a folder."""
    if request.param == "resolved":
        monkeypatch.setattr(safe_open, "BY_DESCRIPTOR", value=False)
    elif not safe_open.BY_DESCRIPTOR:
        pytest.skip("this system has no folder descriptors")


def refused(path: object, allowed: Path, code: str) -> ControlNetError:
    """The error of reading a path, which must have the code."""
    with pytest.raises(ControlNetError) as caught:
        read_file(str(path), [allowed], LIMIT)
    assert caught.value.code == code
    assert b"secret".decode() not in caught.value.hint
    return caught.value


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(
    "spelling", ["{}/trip/castle.png", "{}/trip/../trip/./castle.png", "file://{}/trip/castle.png"]
)
def test_a_file_below_an_allowed_folder_is_read(allowed: Path, spelling: str) -> None:
    """Plain paths, dots that stay inside, and `file:` URIs."""
    assert read_file(spelling.format(allowed.as_posix()), [allowed], LIMIT) == CONTENT


@needs_posix
@pytest.mark.parametrize("spelling", ["file:{}/a%20b.png", "FILE://localhost{}/a%20b.png", "{}/a b.png"])
def test_file_uris_are_decoded(allowed: Path, spelling: str) -> None:
    """Percent signs in a `file:` URI are codes; in a path they are characters."""
    (allowed / "a b.png").write_bytes(CONTENT)
    (allowed / "a%20b.png").write_bytes(b"another")
    assert read_file(spelling.format(allowed), [allowed], LIMIT) == CONTENT
    assert read_file(f"{allowed}/a%20b.png", [allowed], LIMIT) == b"another"


@needs_posix
@pytest.mark.parametrize("encoded", ["%2e%2e/secret.png", "trip/%2e%2e%2f..%2fsecret.png"])
def test_codes_in_a_uri_do_not_lead_out(allowed: Path, encoded: str) -> None:
    """Decoding comes before judging."""
    refused(f"file://{allowed}/{encoded}", allowed, "image_blocked")


def test_home_and_working_directory_are_understood(allowed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the home folder, and a relative path starts at the working directory."""
    monkeypatch.setenv("HOME", str(allowed.parent))
    monkeypatch.setenv("USERPROFILE", str(allowed.parent))
    assert read_file("~/allowed/trip/castle.png", [allowed], LIMIT) == CONTENT
    monkeypatch.chdir(allowed / "trip")
    assert read_file("castle.png", [allowed], LIMIT) == CONTENT
    assert read_file("../trip/castle.png", [allowed], LIMIT) == CONTENT


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(
    "path",
    ["../secret.png", "trip/../../secret.png", "../allowed-not/secret.png", "../no-such-folder/x.png", "/etc/passwd"],
)
def test_what_is_outside_is_blocked(allowed: Path, path: str) -> None:
    """Dots, a folder whose name begins alike, and absolute paths; what exists there is not told."""
    error = refused(f"{allowed}/{path}" if path.startswith(("..", "trip")) else path, allowed, "image_blocked")
    assert "CONTROLNET_MCP_ALLOWED_DIRS" in error.hint
    assert str(allowed) in error.hint


@needs_posix
@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("place", ["link.png", "trip/link.png", "linked/secret.png"])
def test_a_link_out_is_blocked(allowed: Path, place: str) -> None:
    """Neither the file nor a folder on the way may be a link that leads out."""
    (allowed / "link.png").symlink_to(allowed.parent / "secret.png")
    (allowed / "trip" / "link.png").symlink_to("../../secret.png")
    (allowed / "linked").symlink_to(allowed.parent)
    refused(allowed / place, allowed, "image_blocked")


@needs_posix
def test_a_link_inside_is_not_followed_either(allowed: Path) -> None:
    """A link proves nothing about where it leads a moment later."""
    (allowed / "link.png").symlink_to(allowed / "trip" / "castle.png")
    assert "link" in refused(allowed / "link.png", allowed, "image_blocked").message


@needs_posix
@pytest.mark.usefixtures("both_ways")
def test_the_allowed_folder_itself_may_be_a_link(allowed: Path) -> None:
    """The operator's word counts, by the name of the link and by the name of the folder."""
    link = allowed.parent / "pictures"
    link.symlink_to(allowed)
    assert read_file(f"{link}/trip/castle.png", [link], LIMIT) == CONTENT
    assert read_file(f"{allowed}/trip/castle.png", [link], LIMIT) == CONTENT


@needs_posix
def test_another_name_of_an_allowed_folder_is_understood(allowed: Path) -> None:
    """A path through a link above the folder (as `/tmp` is on macOS) is the same folder."""
    (allowed.parent / "alias").symlink_to(allowed.parent)
    assert read_file(f"{allowed.parent}/alias/allowed/trip/castle.png", [allowed], LIMIT) == CONTENT


def test_folders_that_do_not_exist_are_passed_over(allowed: Path) -> None:
    """The default list names folders that many machines lack."""
    missing = allowed.parent / "Pictures"
    assert read_file(f"{allowed}/trip/castle.png", [missing, allowed], LIMIT) == CONTENT
    refused(missing / "castle.png", missing, "image_blocked")


@needs_posix
def test_a_pipe_does_not_hang_and_a_device_is_not_read(allowed: Path) -> None:
    """Only plain files are read."""
    os.mkfifo(allowed / "pipe.png")
    refused(allowed / "pipe.png", allowed, "image_blocked")
    with pytest.raises(ImageError) as caught:
        read_file("/dev/zero", [Path("/dev")], LIMIT)
    assert caught.value.code == "image_blocked"


@pytest.mark.usefixtures("both_ways")
def test_a_hard_link_is_blocked(allowed: Path) -> None:
    """A second name may be that of a file elsewhere."""
    (allowed / "twin.png").hardlink_to(allowed.parent / "secret.png")
    refused(allowed / "twin.png", allowed, "image_blocked")


@pytest.mark.usefixtures("both_ways")
def test_a_folder_is_no_picture(allowed: Path) -> None:
    """Neither the allowed folder nor one in it."""
    assert "folder" in refused(allowed, allowed, "image_unreadable").message
    assert "folder" in refused(allowed / "trip", allowed, "image_unreadable").message


@pytest.mark.usefixtures("both_ways")
def test_the_size_limit_is_exact(allowed: Path) -> None:
    """A file of just the limit is read, one byte more is not."""
    (allowed / "large.png").write_bytes(b"x" * LIMIT)
    assert len(read_file(f"{allowed}/large.png", [allowed], LIMIT)) == LIMIT
    (allowed / "large.png").write_bytes(b"x" * (LIMIT + 1))
    assert "larger than the limit" in refused(allowed / "large.png", allowed, "image_unreadable").message


@pytest.mark.usefixtures("both_ways")
def test_a_missing_file_is_unreadable(allowed: Path) -> None:
    """Inside of the allowed folders it may be told that nothing is there."""
    refused(allowed / "trip" / "nothing.png", allowed, "image_unreadable")
    refused(allowed / "trip" / "castle.png" / "x", allowed, "image_unreadable")


@needs_posix
@pytest.mark.parametrize(("wrong", "right"), [("trip/Castel.png", "castle.png"), ("tripp/castle.png", "trip")])
def test_a_misspelt_name_is_answered_with_the_right_one(allowed: Path, wrong: str, right: str) -> None:
    """The hint names what is like it in the folder where the path stops to exist."""
    assert repr(right) in refused(allowed / wrong, allowed, "image_unreadable").hint


@pytest.mark.parametrize(
    "text", ["", "a\0b.png", "file:///a%00b.png", "file://server/share/a.png", "file://[bad/a", "\ud800.png"]
)
def test_what_cannot_be_a_path_is_an_invalid_request(allowed: Path, text: str) -> None:
    """NUL, other machines and broken text never reach the file system."""
    with pytest.raises(RequestError) as caught:
        read_file(text, [allowed], LIMIT)
    assert caught.value.code == "invalid_request"


def test_an_overlong_name_is_unreadable(allowed: Path) -> None:
    """The system's own refusals become our error."""
    refused(allowed / ("x" * 5000), allowed, "image_unreadable")


@needs_posix
def test_no_descriptor_is_left_open(allowed: Path) -> None:
    """Reading and every refusal close what they opened."""
    (allowed / "link.png").symlink_to(allowed.parent / "secret.png")
    before = len(list(Path("/dev/fd").iterdir()))
    for name in ("trip/castle.png", "link.png", "trip", "nothing.png", "nothing/x", "trip/castle.png/x"):
        try:
            read_file(f"{allowed}/{name}", [allowed], 3 if name == "trip" else LIMIT)
        except ImageError:
            continue
    assert len(list(Path("/dev/fd").iterdir())) == before


@needs_posix
@pytest.mark.usefixtures("both_ways")
def test_a_folder_swapped_for_a_link_never_leaks(allowed: Path) -> None:
    """While somebody swaps a folder for a link to the outside, reads give the picture or an error."""
    outside = allowed.parent / "outside"
    outside.mkdir()
    (outside / "castle.png").write_bytes(b"secret")
    (allowed / "swap").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (allowed / "trip").rename(allowed / "kept")
            (allowed / "swap").rename(allowed / "trip")
            (allowed / "trip").rename(allowed / "swap")
            (allowed / "kept").rename(allowed / "trip")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        seen = {_outcome(allowed) for _ in range(2000)}
    finally:
        stop.set()
        swapper.join()
    assert CONTENT in seen
    assert seen <= {CONTENT, b""}


@pytest.mark.parametrize(
    "name",
    [
        *("cat.png:secret", "cat.png::$DATA", "CON", "con.png", "Aux", "NUL .png", "COM1.jpg", "lpt³", "CONIN$"),
        *("cat.png.", "cat.png ", "*.png", "a?b", "a|b", "C:", "a\\b", "a\x1fb"),
    ],
)
def test_names_that_mean_something_else_on_windows_are_refused(
    allowed: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams, devices, patterns, and the many spellings of one name, even where such a file exists."""
    assert not is_plain_name(name)
    (allowed / name).write_bytes(b"x")
    monkeypatch.setattr(safe_open, "BY_DESCRIPTOR", value=False)
    refused(allowed / name, allowed, "image_blocked")


@pytest.mark.parametrize("name", ["cat.png", "a b.png", "console.png", "com10", "été.webp", ".hidden", "a.b.c"])
def test_ordinary_names_are_plain(name: str) -> None:
    """Nothing that people call their pictures is refused."""
    assert is_plain_name(name)


@pytest.mark.parametrize(
    ("told", "path"),
    [("\\\\?\\C:\\a\\b.png", "C:\\a\\b.png"), ("\\\\?\\UNC\\nas\\x\\b.png", "\\\\nas\\x\\b.png"), ("C:\\a", "C:\\a")],
)
def test_paths_are_compared_as_windows_spells_them(told: str, path: str) -> None:
    """The system puts a prefix before the path of a handle."""
    assert PureWindowsPath(without_prefix(told)) == PureWindowsPath(path)


def test_a_junction_counts_as_a_link() -> None:
    """Windows marks it as a reparse point, and its mode is that of a folder."""
    plain = os.stat_result((0o040755,) * 10)
    junction = SimpleNamespace(st_mode=0o040755, st_file_attributes=0x410)
    assert not is_link(plain)
    assert is_link(cast("os.stat_result", junction))


def _outcome(allowed: Path) -> bytes:
    try:
        return read_file(f"{allowed}/trip/castle.png", [allowed], LIMIT)
    except ImageError:
        return b""
