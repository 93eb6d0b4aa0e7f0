"""Pictures as files of the user: readable names, the real extension, and never over something that is there."""

import itertools
import re
from pathlib import Path

import click

_LONGEST_NAME = 48
_EXTENSIONS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
_SAME = {".jpeg": ".jpg"}


def readable_name(text: str) -> str:
    """A file name of the first words of a text, in any script, without anything that a shell or a system minds."""
    words = "-".join(re.findall(r"[^\W_]+", text.lower()))
    return f"controlnet-{words[:_LONGEST_NAME].strip('-')}".strip("-")


def place_for(output: Path | None, name: str, mime_type: str) -> Path:
    """Where a picture is to go.

    Args:
        output: A file, a folder that exists, or nothing for the working directory.
        name: The name, without extension, where `output` does not give one.
        mime_type: What the picture is: an extension that says otherwise is replaced.
    """
    output = output or Path()
    path = output / name if output.is_dir() else output
    extension = _EXTENSIONS[mime_type]
    if _SAME.get(path.suffix.lower(), path.suffix.lower()) == extension:
        return path
    pictures = {*_EXTENSIONS.values(), *_SAME}
    return path.with_suffix(extension) if path.suffix.lower() in pictures else path.with_name(path.name + extension)


def save(content: bytes, wanted: Path, *, kept: Path | None = None) -> Path:
    """Write a new file, called `name-2`, `name-3`… where the name is taken.

    Args:
        content: The file.
        wanted: What it is to be called.
        kept: Where else the picture is, to be told when it cannot be written.

    Returns:
        Where it was written, as a full path.

    Raises:
        click.ClickException: The folder cannot be made or written.
    """
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        return _write_new(content, wanted).absolute()
    except OSError as error:
        elsewhere = f" It is kept as {kept}." if kept else ""
        said = f"The picture cannot be saved as {wanted}: {error.strerror or error}.{elsewhere}"
        raise click.ClickException(said) from error


def _write_new(content: bytes, wanted: Path) -> Path:
    for number in itertools.count(1):
        path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
        try:
            file = path.open("xb")
        except FileExistsError:
            continue
        with file:
            file.write(content)
        return path
    raise AssertionError  # there is always a next number
