"""Values of environment variables as people and host programs write them: cleaned, or found to say nothing.

Hosts hand `${user_config.x}` on where nothing was entered; people copy quotes, line ends, invisible characters and the
placeholders of manuals, and write lists in many ways. Nothing here reads the environment or the disk.
"""

import difflib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast
from urllib.parse import unquote, urlsplit

from controlnet_mcp.foundation.text import quote
from controlnet_mcp.providers.registry import NAMES

Kind: TypeAlias = Literal["text", "path", "folders", "key"]
"""`folders` is a list of paths; a `key` is a secret of a provider."""

_QUOTES = dict(zip("\"'`“”„\u2018\u2019«", "\"'`””“\u2019\u2019»", strict=True))
_ESCAPED_QUOTE = '\\"'


def cleaned(text: str) -> str:
    """The text without white space, line ends and pairs of quotes around it."""
    text = text.strip()
    if text.startswith(_ESCAPED_QUOTE) and text.endswith(_ESCAPED_QUOTE):
        text = text[2:-2].strip()
    while len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1].replace(_ESCAPED_QUOTE, ""):
        text = text[1:-1].replace(_ESCAPED_QUOTE, '"').strip()
    return text


_TEMPLATE = re.compile(
    r"\$\{.*\}|\$\(.*\)|\$(env:)?\w+|%\w+%|\{\{.*\}\}|<[^<>/]*>|\(?null\)?|undefined|none|nil",
    re.IGNORECASE | re.DOTALL,
)
"""A template that nobody filled in, or the word of a language for no value."""
_UNRESOLVED = re.compile(r"\$\{[^{}]*\}|\{\{.*?\}\}|<[^<>/]*>|^(\$\w+|%\w+%)(?=[/\\])")
"""A template inside of a value, or a variable before a path that does not exist."""
_NO_KEY = re.compile(r"[\W_]*|n/?a|\{.*\}|\[.*\]|[a-z][a-z0-9+.-]*://.*|.*(\*{3}|\.{3}|x{6}).*", re.IGNORECASE)
"""Signs alone, a link (to a vault that was not opened), or a masked copy: `sk-...abcd`, `sk-xxxxxx`."""
_PLACEHOLDER_WORDS = re.compile(
    r"(your|my|our|the|own|real|actual|new|api|app|access|auth|secret|private|keys?|tokens?|ids?|credentials?|code"
    r"|value|string|here|goes|insert|paste|enter|replace|with|me|this|it|change|add|put|fill|set|todo|tbd|fixme"
    rf"|placeholder|dummy|example|sample|fake|empty|unset|missing|x{{3,}}+|be|from|dashboard|provider|sk|pk|sg|wsk"
    rf"|{'|'.join(NAMES)})+"
)
"""Words that placeholders are made of, written together: `YOUR_API_KEY`, `insert-key-here`, `sk-xxxx`."""
_TELLING = re.compile(
    r"your|here|insert|paste|enter|replace|change|todo|tbd|fixme|placeholder|dummy|example|sample|fake|xxx"
    r"|^(empty|unset|missing)$|^(?!sk|pk).*(key|token|secret)(id)?$"
)
"""One of these is among them; `sk-secret` may be a key."""
_LONGEST_PLACEHOLDER = 100


def is_placeholder(text: str, kind: Kind) -> bool:
    """Tell whether a cleaned value stands for one that was never filled in; keys are told by words of manuals too."""
    if kind != "text" and _UNRESOLVED.search(text):
        return True
    if kind != "key" or _TEMPLATE.fullmatch(text):
        return _TEMPLATE.fullmatch(text) is not None
    letters = re.sub(r"[\W_0-9]+", "", text.lower())
    in_words = len(letters) <= _LONGEST_PLACEHOLDER and _PLACEHOLDER_WORDS.fullmatch(letters)
    return _NO_KEY.fullmatch(text) is not None or bool(in_words and _TELLING.search(letters))


def foreign_character(key: str) -> str | None:
    """The first character that no key has, as `U+200B`: invisible, or not of ASCII."""
    return next((f"U+{ord(char):04X}" for char in key if not "!" <= char <= "~"), None)


_BRACKETED = re.compile(r"""\[\s*["'].*\]|\[[^\[\]:]*\]|\{.*\}""", re.DOTALL)
"""A list or object in brackets, and no IPv6 address."""


def split_names(text: str) -> list[str]:
    """The entries of a list without spaces in them: with commas, semicolons, spaces or lines, or as JSON."""
    text = cleaned(text)
    if _BRACKETED.fullmatch(text):
        text = text[1:-1]
    return [entry for entry in map(cleaned, re.split(r"[,;\s]+", text)) if entry]


def split_amounts(text: str) -> dict[str, str]:
    """The rows of a list of `name=amount` or `name: amount`, or of a JSON object; names in lower case."""
    rows = (row.partition("=") for row in split_names(re.sub(r"\s*[=:]\s*", "=", text)))
    return {cleaned(name).lower(): cleaned(amount) for name, _, amount in rows}


def _one_of(ends: str, before_a_path: str) -> re.Pattern[str]:
    """Matches one folder of a list and what ends it; a colon after the letter of a drive does not."""
    start = r"""[/~$%\\"'`]|\.{1,2}[/\\]|file:|[A-Za-z]:[\\/]"""
    head = r"(?:file:/*)?(?:[A-Za-z]:(?=[\\/]))?"
    plain = rf"{head}(?:[^{ends}{before_a_path}]|[{before_a_path}](?!\s*(?:{start})))*"
    quoted = "|".join(f"{sign}[^{sign}]*{sign}" for sign in "\"'`")
    return re.compile(rf"\s*({quoted}|{plain})\s*(?:[{ends}{before_a_path}]|$)", re.IGNORECASE)


_FOLDER = _one_of(r",;\r\n", ":")
_FOLDER_IN_QUOTES = _one_of(r"\r\n", ",;:")
"""Where the whole list was in quotes, a comma may be part of a name."""


def split_folders(text: str) -> list[str]:
    """The folders of a list, as they are written: with commas, semicolons, colons or lines, or as JSON."""
    inside = cleaned(text)
    pattern = _FOLDER if inside == text.strip() else _FOLDER_IN_QUOTES
    if inside.startswith("["):
        with suppress(ValueError):
            rows: object = json.loads(inside)
            return [row for row in cast("list[object]", rows) if isinstance(row, str)]
        inside = inside[1:].removesuffix("]")
    found = (match[1] for match in pattern.finditer(inside))
    return [folder for folder in (cleaned(one).lstrip("\"'`").rstrip('"') for one in found) if folder]


_VARIABLE = re.compile(r"\$\{(?:env:)?(\w+)\}|\$(?:env:)?(\w+)|%(\w+)%")


def expanded(text: str, environ: Mapping[str, str]) -> str:
    """A path without quotes, its variables, `~`, `file:` (RFC 8089) and escaped spaces resolved; may be empty."""
    text = _VARIABLE.sub(lambda found: environ.get(next(filter(None, found.groups())), found[0]), cleaned(text))
    if text.lower().startswith("file:"):
        with suppress(ValueError):
            host, path = urlsplit(text)[1:3]
            if host.lower() in {"", "localhost", "~"}:
                path = unquote(path)
                text = path[1:] if re.match("/[A-Za-z]:", path) else host.replace("localhost", "") + path
    if os.sep == "/":
        text = text.replace("\\ ", " ")
    return os.path.expanduser(text.strip())  # noqa: PTH111  # pathlib raises where there is no home folder


@dataclass(frozen=True, slots=True)
class Reading:
    """The variables that say something, by their names, and sentences on those that do not."""

    values: Mapping[str, str | list[str]]
    notes: tuple[str, ...]


def read_values(environ: Mapping[str, str], kind_of: Callable[[str], Kind | None]) -> Reading:
    """Read the variables that `kind_of` knows; the notes repeat no value, which may be a secret."""
    values: dict[str, str | list[str]] = {}
    notes: list[str] = []
    for name, text in environ.items():
        kind = kind_of(name)
        if kind is None or not cleaned(text):
            continue
        written = _written(text, kind, environ)
        said = [value for value in written if not is_placeholder(value, kind)]
        foreign = foreign_character("".join(said)) if kind == "key" else None
        if len(said) < len(written):
            rest = "only its other folders count" if said else "it counts as not set"
            notes.append(f"{name} holds a placeholder in the place of a value: {rest}.")
        if foreign:
            notes.append(f"{name} holds {foreign}: copy it again. Until then it counts as not set.")
        elif kind == "folders" and (said or not written):
            values[name] = said
        elif kind != "folders" and any(said):
            values[name] = said[0]
    return Reading(values, tuple(notes))


_AFTER_A_KEY = re.compile(r"(?:\\[rn]|[,;\s])+$")


def _written(text: str, kind: Kind, environ: Mapping[str, str]) -> list[str]:
    """What stands in a variable, cleaned: one value, or folders; `none` allows no folder."""
    value = cleaned(text)
    match kind:
        case "folders" if value.lower() == "none":
            return []
        case "folders":
            return [folder for folder in (expanded(part, environ) for part in split_folders(text)) if folder]
        case "key":
            return [cleaned(_AFTER_A_KEY.sub("", value))]
        case "path":
            return [expanded(value, environ)]
        case "text":
            return [value]


_SIMILAR, _VERY_SIMILAR = 0.65, 0.88


def unknown_names(
    names: Iterable[str], known: Collection[str], prefix: str, is_other: Callable[[str], bool] = lambda _name: False
) -> list[str]:
    """A sentence on each name that begins with `prefix`, or is very near to a known one, and is none of the known.

    A name that `is_other` without the prefix is meant so.
    """
    notes: list[str] = []
    for name in names:
        written = name.upper().replace("-", "_")
        if name.upper() in known or not written.startswith(prefix[:7]):
            continue
        ours, bare = written.startswith(prefix), written.removeprefix(prefix)
        if ours and is_other(bare):
            near = [bare]
        elif ours:
            rests = difflib.get_close_matches(
                bare, [other.removeprefix(prefix) for other in known], n=1, cutoff=_SIMILAR
            )
            near = [f"{prefix}{rest}" for rest in rests]
        else:
            near = difflib.get_close_matches(written, known, n=1, cutoff=_VERY_SIMILAR)
        if ours or near:
            meant = f"did you mean {near[0]}?" if near else "docs/settings.md lists all settings."
            notes.append(f"{quote(name, 100)} is not read: {meant}")
    return notes
