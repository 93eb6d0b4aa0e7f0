"""Names of saved pictures, files that the user names, Ctrl-C and the progress bar."""

import io
import os
import sys
from pathlib import Path

import click
import pytest

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.server.cli import interruptible
from controlnet_mcp.server.cli.local_paths import file_meant, with_own_files
from controlnet_mcp.server.cli.output import place_for, readable_name, save
from controlnet_mcp.server.cli.session import progress_bar


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A cosy cottage", "controlnet-a-cosy-cottage"),
        ("../../etc/passwd; rm -rf ~", "controlnet-etc-passwd-rm-rf"),
        ("black/white cat", "controlnet-black-white-cat"),
        ("con", "controlnet-con"),
        ("水彩 小屋", "controlnet-水彩-小屋"),
        ("...", "controlnet"),
        ("word " * 40, "controlnet-word-word-word-word-word-word-word-word-word-wor"),
    ],
)
def test_a_name_is_readable_and_harmless(text: str, name: str) -> None:
    """Words of any script, no separators, no control over the folder, of bounded length."""
    assert readable_name(text) == name


@pytest.mark.parametrize(
    ("output", "mime_type", "name"),
    [
        ("a.png", "image/png", "a.png"),
        ("a.PNG", "image/png", "a.PNG"),
        ("a.jpeg", "image/jpeg", "a.jpeg"),
        ("a.png", "image/webp", "a.webp"),
        ("v1.2", "image/png", "v1.2.png"),
    ],
)
def test_an_extension_tells_the_truth(output: str, mime_type: str, name: str) -> None:
    """One that lies is replaced, one that is missing is added, any other ending belongs to the name."""
    assert place_for(output, "unused", mime_type) == Path(name)


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    """Not even where a link leads nowhere."""
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    written = [save(content, tmp_path / "a.png").name for content in (b"1", b"2")]
    assert written == ["a-2.png", "a-3.png"]
    assert not (tmp_path / "gone.png").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """In a sentence that also says where the picture is kept."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(click.ClickException, match=r"cannot be saved.*It is kept as kept\.png"):
        save(b"", tmp_path / "file" / "a.png", kept=Path("kept.png"))


def test_files_are_written_as_full_paths_with_their_folders(tmp_path: Path) -> None:
    """Also in further controls, and through links; the folders are what has to be readable."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").write_bytes(b"")
    (tmp_path / "link.png").symlink_to(tmp_path / "real" / "a.png")
    given = {
        "control_image": str(tmp_path / "link.png"),
        "extra_controls": [{"modality": "pose", "image": str(tmp_path / "b.png"), "weight": 1}],
        "prompt": "a.png",
    }
    written, folders = with_own_files(given)
    root = tmp_path.resolve()
    assert written == {
        "control_image": str(root / "real" / "a.png"),
        "extra_controls": [{"modality": "pose", "image": str(root / "b.png"), "weight": 1}],
        "prompt": "a.png",
    }
    assert folders == {root / "real", root}


@pytest.mark.parametrize(
    "reference",
    [
        "https://example.com/a.png",
        "data:image/png;base64,AAAA",
        "controlnet://maps/0",
        "asset_123",
        "file://elsewhere/a.png",
        "[Image #1]",
        "C:\\pictures\\a.png",
        "sandbox:/mnt/data/a.png",
        "file://server/share/a.png",
        "",
    ],
)
def test_what_is_no_path_stays_as_it_is(reference: str) -> None:
    """And opens no folder."""
    assert with_own_files({"control_image": reference}) == ({"control_image": reference}, frozenset())


def test_f9_a_file_uri_is_a_file_of_the_user(tmp_path: Path) -> None:
    """F9: `file:///…` on the command line means the path, however it is written."""
    root = tmp_path.resolve()
    (root / "a b.png").write_bytes(b"")
    for reference in (f"file://{root}/a%20b.png", f"file://localhost{root}/a%20b.png", f"FILE:{root}/a%20b.png"):
        written, folders = with_own_files({"image": reference})
        assert written == {"image": str(root / "a b.png")}
        assert folders == {root}


@pytest.mark.parametrize(
    "prompt", ["a cottage / " + "very " * 80 + "cosy", "x" * 300 + "/" + "y" * 300, "é" * 200 + "/a"]
)
def test_f9_a_prompt_in_the_place_of_the_picture_is_told(prompt: str) -> None:
    """F9: a text that no path can be as long as is no crash."""
    with pytest.raises(ImageError, match="There is no file") as caught:
        with_own_files({"control_image": prompt})
    assert "PROMPT comes before IMAGE" in caught.value.hint
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("output", ["new/", "new/below/", f"new{os.sep}"])
def test_f9_an_output_that_ends_with_a_slash_is_a_folder(output: str, tmp_path: Path) -> None:
    """F9: also one that does not exist yet."""
    path = save(b"1", place_for(f"{tmp_path}/{output}", "controlnet-a", "image/png"))
    assert path == tmp_path / output / "controlnet-a.png"


@pytest.mark.parametrize(
    "wrapper", ['"{}"', "`{}`", "<{}>", "@{}", "[a]({})", "file://{}", "\u202a{}", "{}.", "{}", '{{"path": "{}"}}']
)
def test_a2_a_path_of_the_command_line_may_be_wrapped(tmp_path: Path, wrapper: str) -> None:
    """A2: what was pasted from a chat or a file manager names the file that it names there."""
    (tmp_path / "a b.png").write_bytes(b"")
    assert file_meant(wrapper.format(tmp_path / "a b.png")) == tmp_path.resolve() / "a b.png"
    assert file_meant(wrapper.format(str(tmp_path / "a b.png").replace(" ", "%20"))) == tmp_path.resolve() / "a b.png"


def test_a2_a_file_that_is_called_so_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A2: quotes, an at sign and codes may be part of its name."""
    monkeypatch.chdir(tmp_path)
    for name in ("'a'.png", "@a.png", "a%20b.png", "'a'", "job_" + "0" * 32):
        Path(name).write_bytes(b"")
        assert file_meant(name) == tmp_path.resolve() / name


def test_a_text_that_is_no_path_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its length nor a NUL makes it crash."""
    monkeypatch.chdir(tmp_path)
    assert file_meant("a/" + "x" * 300) == tmp_path.resolve() / "a" / ("x" * 300)
    assert file_meant("a\0b") is None


def test_an_interrupted_command_says_a_last_word(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, and ends as shells expect it."""
    with pytest.raises(SystemExit) as end, interruptible(lambda: "Stopped."):
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert capsys.readouterr() == ("", "Stopped.\n")


class _Screen(io.StringIO):
    """A terminal that remembers what was written to it."""

    def isatty(self) -> bool:
        """Say that somebody looks."""
        return True


def test_a_file_gets_no_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at it."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar() as tell:
        assert tell is None


@pytest.mark.anyio
async def test_a_terminal_gets_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows what is being done, as it is written."""
    screen = _Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar() as tell:
        assert tell is not None
        await tell(0.5, "draft: drawing [half]")
    assert "draft: drawing [half]" in screen.getvalue()
