"""References: the texts and JSON objects by which callers name a picture, read into a kind and a plain text.

Models and people wrap what they name: in quotes, Markdown, HTML, CSS, in the image objects of MCP and of the services
that models run at. Everything here works on text alone: no file, link or setting is looked at, and what is read
afterwards is guarded where it is read.

Sources: RFC 2397 (`data:`), RFC 8089 (`file:`), the image objects of MCP (`ImageContent`, `EmbeddedResource`), OpenAI
(`image_url`, `b64_json`, `file_id`), Anthropic (`source`) and Gemini (`inlineData`).
"""

import binascii
import json
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias, cast
from urllib.parse import unquote, unquote_to_bytes

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.text import quote
from controlnet_mcp.images.picture import too_large

Kind: TypeAlias = Literal["data", "link", "signed", "stored", "path", "chat", "windows", "scheme", "object", "nothing"]
"""`data`: a `data:` URI. `link`: http or https. `signed`: a link of this server's form to one of its originals.
`stored`: a `controlnet://` URI. `path`: a path or `file:` URI. None of the others can be read: `chat`: an attachment of
the conversation; `windows`: a path of Windows on another system; `scheme`: another kind of link; `object`: JSON that
holds no picture, or several."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One picture as it was named: without its wrapping, schemes in lower case, base64 as a `data:` URI."""

    kind: Kind
    text: str


QUOTED_CHARACTERS = 100
"""Most characters of a reference that a sentence repeats."""
EXTRA_CHARACTERS = 65_536
"""Characters that wrapping may add to the longest legal picture; also the longest text that is unwrapped before the
limits of the reader are known."""
_DEEPEST = 12
_MOST_ENTRIES = 200
"""Entries of a list that are looked at."""
_HEAD = 4096
"""Leading characters in which a wrapping is looked for; no path is longer."""
_BLANK = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f"
    "\u205f\u3000\xad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063"
    "\u2064\u2066\u2067\u2068\u2069\ufeff\ufffc"
)
"""White space, and characters without a shape that come along with copied text."""
_CLOSERS: dict[str, str] = {
    **{mark: mark for mark in "\"'`*\uff02\u00b4"},
    **dict(
        zip(
            "([{<\u00ab\u00bb\u2039\u300c\u300e\u300a\u3010",
            ")]}>\u00bb\u00ab\u203a\u300d\u300f\u300b\u3011",
            strict=True,
        )
    ),
    "\u201c": "\u201d",
    "\u201e": "\u201c\u201d",
    "\u2018": "\u2019",
    "\u201a": "\u2018\u2019",
}
"""Opening quotes and brackets, and what closes each."""
_ENDS = _BLANK + ",;.!:"
_BYTES_MARK = r"(?i)[bru]{1,2}(?=['\"])"
_FENCE = r"(`{3,}|~{3,})[^\n`]*\n"
_MARKDOWN = r"(?:(?:[^\[\]]{0,200}\s)?!)?\[(?:[^\[\]\\]|\\.){0,1000}\]\("
_TITLE = r"\s+(?:\"[^\"]*\"|'[^']*')\s*$"
_TAG = r"(?i)<\s*img\b|^<\s*(?:image|source|a|picture|figure|object|embed|link|meta)\b"
_ATTRIBUTE = r"(?i)[\s\"'/:](?:src|href|data-src|content|data)\s*=\s*(\\?[\"'])?"
_CSS = r"(?i)(?:[\w-]{1,40}\s*:\s*)?(?:[^()/\\]{0,80}\s)?url\(\s*"
_BEGINS = r"[~/\\]|\.{1,2}[/\\]|[a-z]:[\\/]|(?:https?|data|file|controlnet):|job_"
_LABEL = (
    r"(?i)(?:@|(?:(?:the\s)?(?:image|img|picture|photo|path|file[ _]?path|image[ _]?(?:path|url)|url|uri|link|src"
    r"|source|media|input|control_image|init_image|mask_image)\s*[:=]|file\s*(?:=|:\s))\s*){1,4}"
    rf"(?=[\"'`<\u201c\u00ab!\[({{*]|{_BEGINS}|url\()|[\"'`<(\[\u201c]{{1,4}}(?={_BEGINS})"
)
"""What may stand before a reference: an at sign, a label, a quote that is never closed."""
_JSON_START = r"[{\[]\s*[\"'{]"
_PLAIN = r"(?i)(?:data|https?|controlnet)\s?:|file:\S"
_ENCODED_SCHEME = r"(?i)(?:data|https?|file|controlnet)%3A"


def parse(text: str, *, windows: bool = os.name == "nt") -> Reference:
    """Take the wrapping off a reference and tell its kind; `windows` where paths are those of Windows."""
    for _ in range(_DEEPEST):
        inner = _unwrapped(text)
        if inner == text:
            break
        text = inner
    if not text:
        return Reference("nothing", "")
    if re.match(_WEB, text) or re.match(_SIGNED, text):
        return _link(text)
    if uri := _data_uri(text):
        return Reference("data", uri)
    if stored := _stored(text):
        return Reference("stored", stored)
    return Reference(_unread_kind(text, windows=windows), text)


def plain_text(value: object) -> object:
    """A reference as an argument: text without its wrapping, also for a JSON object or list that holds one picture.

    What is long is left as it is, because it is read within limits later; what is no reference is left as well.
    """
    if isinstance(value, dict | list):
        named = _only_picture(cast("object", value))
        if named is None:  # as an error may show it
            members = ", ".join(f'"{str(name)[:40]}": …' for name in list(cast("Iterable[object]", value))[:5])
            named = f"{{{members}}}" if isinstance(value, dict) else "[{…}]"
        value = named
    if isinstance(value, str) and len(value) <= EXTRA_CHARACTERS:
        return parse(value).text
    return value


def _unwrapped(text: str) -> str:
    """The text without its outermost wrapping."""
    text = text.strip(_BLANK)
    if not text or re.match(_PLAIN, text):
        return text
    for unwrap in (_in_json, _in_markdown, _in_html, _in_css, _in_pair):
        inner = unwrap(text)
        if inner is not None:
            return inner
    if (label := re.match(_LABEL, text)) and not re.match(_JSON_START, text):
        return text[label.end() :]
    if not re.match(_ENCODED_SCHEME, text):
        return text
    at = _HEAD - 2 + text[_HEAD - 2 : _HEAD].find("%") if "%" in text[_HEAD - 2 : _HEAD] else _HEAD
    return unquote(text[:at]) + text[at:]  # what is longer than a link is base64, which is decoded later


def _in_json(text: str) -> str | None:
    """The picture in a JSON object or list; also in one with Python's quotes, or with backslashes that stand alone."""
    if not re.match(_JSON_START, text):
        return None
    variants = (("\\", '"'), ("\\\\", '"'), ("\\", "'"))
    for slash, mark in variants if len(text) <= EXTRA_CHARACTERS else variants[:1]:
        with suppress(ValueError, RecursionError):
            return _only_picture(json.loads(text.replace("\\", slash).replace(mark, '"')))
    return None


def _in_markdown(text: str) -> str | None:
    """What stands between fences, or the target of `![alternative](target "title")` or `[words](<target>)`."""
    if fence := re.match(_FENCE, text[:_HEAD]):
        return text[fence.end() :].removesuffix(fence[1])
    if text.startswith("[!["):  # a picture that is a link
        return text[1:]
    found = re.match(_MARKDOWN, text[:_HEAD])
    if found is None:
        return None
    target = _until_closed(text[found.end() :]).strip(_BLANK)
    title = re.compile(_TITLE).search(target, max(0, len(target) - _HEAD))
    return target[: title.start()] if title else target  # brackets round it are taken off as any others


def _in_html(text: str) -> str | None:
    """The address in a tag such as `<img src=…>`."""
    tag = re.search(_TAG, text[:_HEAD])
    found = re.compile(_ATTRIBUTE).search(text, tag.end(), _HEAD) if tag else None
    if found is None:
        return None
    value = text[found.end() :]
    inner = value.partition(found[1])[0] if found[1] else re.split(r"[\s>]", value, maxsplit=1)[0]
    if "&" not in inner:
        return inner
    from html import unescape

    return unescape(inner)


def _in_css(text: str) -> str | None:
    found = re.match(_CSS, text[:_HEAD])
    if found is None:
        return None
    value = text[found.end() :]
    return value[1:].partition(value[0])[0] if value[:1] in {'"', "'"} else _until_closed(value)


def _in_pair(text: str) -> str | None:
    """The text between two quotes or brackets of a kind, where nothing but punctuation follows."""
    if mark := re.match(_BYTES_MARK, text):
        text = text[mark.end() :]
    closed = text.rstrip(_ENDS)
    if len(closed) < 2 or closed[-1] not in _CLOSERS.get(closed[0], ""):  # noqa: PLR2004  # both quotes
        return None
    if re.match(_JSON_START, closed):
        return None
    inner = closed[1:-1]
    if closed[0] == '"' and "\\" in inner and re.search(r'\\[u"/]', inner) and not re.match(_WINDOWS, inner):
        with suppress(ValueError):
            return str(json.loads(closed))
    return inner


def _until_closed(text: str) -> str:
    """The text before the bracket that closes one which was opened before it; all of it where none does."""
    depth = 1
    for bracket in islice(re.finditer(r"[()]", text), _HEAD):
        depth += 1 if bracket[0] == "(" else -1
        if depth == 0:
            return text[: bracket.start()]
    return text


_BYTES = ("data", "b64_json", "base64", "blob", "bytes", "bytesBase64Encoded", "image_base64", "imageBytes", "b64")
"""Members of an object that hold a picture itself, in base64."""
_NAMES = (
    *("uri", "url", "image_url", "imageUrl", "fileUri", "file_uri", "path", "file_path", "filePath", "src", "href"),
    *("image", "source", "inlineData", "inline_data", "fileData", "file_data", "resource", "picture", "file"),
    *("filename", "control_image", "job_id", "file_id", "fileId", "images", "content", "output", "result"),
    *("control_map_uri", "text"),
)
"""Members that name a picture or hold an object that does, the surest first."""
_TYPES = frozenset({"mime_type", "mimeType", "media_type", "mediaType", "type", "format"})


def _only_picture(value: object) -> str | None:
    """The one picture that a JSON value names, as text; `None` where there is none, or where there are several."""
    found = list(dict.fromkeys(_pictures(value, 0)))
    return found[0] if len(found) == 1 else None


def _pictures(value: object, depth: int) -> list[str]:
    """The pictures in a JSON value."""
    if depth > _DEEPEST:
        return []
    match value:
        case str():
            return [value] if value.strip(_BLANK) else []
        case list():
            found: list[str] = []
            for item in cast("list[object]", value)[:_MOST_ENTRIES]:
                match item:
                    case {"type": "text"}:  # a block of text beside the pictures
                        pass
                    case _:
                        found += _pictures(item, depth + 1)
            return found
        case dict():
            return _pictures_of_members(cast("dict[str, object]", value), depth + 1)
        case _:
            return []


def _pictures_of_members(rows: dict[str, object], depth: int) -> list[str]:
    """The pictures in an object: the first that a member of a known name holds, else all that are plain ones."""
    for name in _BYTES:
        inner = rows.get(name)
        if isinstance(inner, list) and rows.get("type") == "Buffer":  # of Node
            with suppress(TypeError, ValueError):
                return [f"base64,{binascii.b2a_base64(bytes(cast('list[int]', inner)), newline=False).decode()}"]
        if isinstance(inner, str) and inner:
            surely = name != "data" or not _TYPES.isdisjoint(rows)
            unmarked = len(inner) <= _HEAD and parse(inner).kind == "path"  # a longer one is base64 without a mark
            return [f"base64,{inner}" if surely and unmarked else inner]
    known = [found for name in (*_BYTES, *_NAMES) if (found := _pictures(rows.get(name), depth))]
    if known:
        return known[0]
    others = [text for name, row in rows.items() if name not in _NAMES for text in _pictures(row, depth)]
    if len(rows) == 1:
        return others
    # a path may be any word; the others name a picture wherever they stand
    return [text for text in others if parse(text[:_HEAD]).kind in {"data", "link", "signed", "stored"}]


_JOB = (
    r"(?i)(?:controlnet:/{0,3})?(?:jobs/)?(?P<job>job_[0-9a-f]{6,64})"
    r"(?:/images/(?P<index>[0-9]{1,2})|-(?P<number>[0-9]{1,2})|/(?P<other>control-map|sheet|sources/[a-z_]+[0-9]?))?"
    r"/?(?:[?#].*)?"
)
"""A job, or one of its pictures, by its URI, by the rest of it, or by the name that answers give the picture (-1)."""
_MAP = r"(?i)(?:(?:controlnet:/{0,3})?maps/)?(?P<sha256>[0-9a-f]{64})/?"
_SIGNED = r"(?:https?://[^?#\s]*)?/files/[0-9a-f]{64}\.[a-z]{3,4}\?(?=.*\bexpires=[0-9])(?=.*\bsignature=[0-9a-f])"
_ENDED_LINK = r"(?is)(?P<link>.*\.(?:png|jpe?g|webp|gif|bmp|avif|heic|tiff?))[.,;:!?)\]}>\"'`*]+"
_ESCAPED = r"\\([^\w\s])|\\(?=_)"
_WINDOWS = r"/?[A-Za-z][:|](?:[\\/]|$)|\\\\[^\\]+\\|%[A-Za-z]+%[\\/]|//wsl[$.]"
_OF_THE_CHAT = (
    r"(?is)(?:sandbox|blob|cid|mid|attachments?|file-service|sediment|upload|clipboard|about)[:].*"
    r"|(?:content|ph|assets-library|webkit-fake-url|message)://.*"
)
_LIKE_AN_ATTACHMENT = (
    r"(?i)/mnt/(?:data|user-data)(?:/.*)?|files/[a-z0-9-]{8,40}"
    r"|(?:c?file|container_file|assistant|attachment)[-_][A-Za-z0-9]{3,}(?:\.[a-z]{3,4})?"
    r"|[\[<(]?(?:(?:the|this|that|my|your|an?|attached|uploaded|pasted|provided|shared|above|previous|last|latest|user|"
    r"input)[ _])*(?:image|img|picture|pic|photo|screenshot|sketch|drawing|attachment|upload|file|input)s?"
    r"(?:[-_ #.(:]{0,3}[0-9]{1,6}\)?)?"
    r"(?: (?:above|below|attached|here|(?:in|from|of) (?:the |this |our )?(?:chat|conversation|message|thread)))?"
    r"(?:\.(?:png|jpe?g|webp|gif|bmp|heic|avif))?[\])>]?"
)
_WEB = r"(?i)https?:|www\."
_FILE_SCHEME = r"(?i)^file:[/\\]*"
_SCHEME = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]+)://"


def _unread_kind(text: str, *, windows: bool) -> Kind:
    """The kind of a text that is neither data, nor a link, nor ours: a path, if it is nothing that cannot be read."""
    if not windows and re.match(_WINDOWS, unquote(re.sub(_FILE_SCHEME, "", text[:_HEAD]))):
        return "windows"
    if re.fullmatch(_OF_THE_CHAT, text):
        return "chat"
    scheme = re.match(_SCHEME, text)
    if scheme and scheme["scheme"].lower() != "file":
        return "scheme"
    return "object" if re.match(_JSON_START, text) else "path"


def is_of_the_chat(text: str) -> bool:
    """Tell whether a path looks like an attachment of the conversation, which only its model and its host can see."""
    return len(text) <= _HEAD and re.fullmatch(_LIKE_AN_ATTACHMENT, text) is not None


def _stored(text: str) -> str | None:
    """The URI of a job's picture, or of a map; of a job alone it is the first."""
    if found := re.fullmatch(_JOB, text):
        place = f"controlnet://jobs/{found['job'].lower()}"
        index = int(found["index"] or 0) if not found["number"] else int(found["number"]) - 1
        return f"{place}/{(found['other'] or f'images/{max(index, 0)}').lower()}"
    if found := re.fullmatch(_MAP, text):
        return f"controlnet://maps/{found['sha256'].lower()}"
    scheme, colon, rest = text.partition(":")
    return f"controlnet:{rest}" if colon and scheme.lower() == "controlnet" else None


def _link(text: str) -> Reference:
    """A web link as it was before it was written into Markdown, HTML or a sentence."""
    scheme, colon, rest = text.partition(":")
    link = f"{scheme.lower()}:{rest}" if colon and scheme.lower() in {"http", "https"} else text
    link = f"https://{text}" if text[:4].lower() == "www." else link
    link = re.sub(_ESCAPED, r"\1", link).replace("&amp;", "&")
    link = link.rstrip("\"'`>")
    if ended := re.fullmatch(_ENDED_LINK, link):
        link = ended["link"]
    return Reference("signed" if re.match(_SIGNED, link) else "link", link)


_MOST_SPELLINGS = 16


def path_spellings(text: str, *, windows: bool = os.name == "nt") -> tuple[str, ...]:
    """The paths that a text may stand for, the most literal first.

    Shells, URIs, JSON, Markdown and sentences write a path in other ways than the system does, and file names may hold
    the same characters themselves.

    Raises:
        RequestError: `invalid_request`: a `file:` URI of another machine.
    """
    if len(text) > _HEAD:
        return (text,)
    found = _file_uri_paths(text, windows=windows) if text[:5].lower() == "file:" else [text]
    rewritings: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
        (r"^@(?=.)", ""),
        (r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16))),
        (r"^(?:\$HOME|\$\{HOME\}|%USERPROFILE%)(?=[/\\])", "~"),
        (r"(?:%[0-9a-fA-F]{2})+", lambda codes: unquote(codes[0])),
        (r"&amp;", "&"),
        (r"^[\"'`<(\[]+(?=.)", ""),
        (r"[.,;:!?)\]}>\"'`]+$", ""),
    ]
    if not windows:
        rewritings.append((r"^([^/]*)$", lambda name: name[1].replace("\\", "/")))
        rewritings.append((r"\\(.)", r"\1"))
    for pattern, replacement in rewritings:
        rewritten = [re.sub(pattern, replacement, path) for path in found]
        found = list(dict.fromkeys([*found, *filter(None, rewritten)]))[:_MOST_SPELLINGS]
    return tuple(found)


def _file_uri_paths(uri: str, *, windows: bool) -> list[str]:
    """The paths that a `file:` URI may mean: what stands behind `?` or `#` may be part of a name."""
    rest = uri[5:]
    if rest.startswith("//"):
        host, _, tail = rest[2:].partition("/")
        if host.lower() not in {"", "localhost", "~", "."}:
            raise RequestError(
                "invalid_request",
                f"{quote(uri, QUOTED_CHARACTERS)!r} does not name a file of this machine.",
                hint="Write file:///full/path/of/picture.png, or pass the path itself.",
            )
        rest = f"{host}/{tail}" if host in {"~", "."} else f"/{tail}"
    paths = [unquote(re.split(r"[?#]", rest, maxsplit=1)[0]), unquote(rest)]
    return [path.removeprefix("/") for path in paths] if windows else paths


_DATA = r"(?i)data\s*:\s*(?://)?\s*"
_IN_BASE64 = r"(?i)(?P<type>[^,]{0,300}?),?\s*\bbase64\b(?:\s*://|\s*[;:,=](?:[^,]{0,100},)?|\s+)\s*"
_SAYS_BASE64 = (
    r"(?i)(?P<type>(?:[\w.+-]{1,40}/)?[\w.+-]{0,40}?)\s*[;:,]?\s*\bbase64\s*(?:://|[,:;=](?:[^,]{0,100},)?)\s*"
)
_MEDIA_TYPE = r"(?i)image/[\w.+-]+"
_PICTURE_STARTS = (
    r"(?:iVBORw0KGgo|/9j/|UklGR|R0lGOD|Qk|SUkqA|TU0AK|AAABAA|PHN2Zy|PD94bWwg|AAAA[A-Za-z0-9+/]{2}Z0eXB)"
    r"(?=[A-Za-z0-9+/_\-\s\\%]{36})"
)
"""The first base64 digits of the signatures of PNG, JPEG, WebP, GIF, BMP, TIFF, ICO, SVG, AVIF and HEIC."""
_PICTURE_WITHIN = rf"(?:(?<![A-Za-z0-9+/=_\-])|(?<=base64)){_PICTURE_STARTS}"
_LONGEST_PREFIX = 600
_BASE64 = r"[A-Za-z0-9+/=_\-\s]+"
_DIGITS = r"[A-Za-z0-9+/_\-\s\\%]*=*"
_SHORTEST_BASE64 = 48
_AROUND_DIGITS = _BLANK + "*\\\"'`<>()[]{}\u201c\u201d\u2018\u2019"
_AFTER_DIGITS = frozenset(_AROUND_DIGITS + "#?&,;|")
_URL_SAFE = str.maketrans("-_", "+/")


def is_bare_base64(text: str) -> bool:
    """Tell whether a text is the base64 of a picture without saying so, and no name that is made of such digits."""
    head = text[: _HEAD + 1]
    if len(text) < _SHORTEST_BASE64 or not re.fullmatch(_BASE64, head):
        return False
    return len(text) > _HEAD or re.match(_PICTURE_STARTS, head) is not None


def _picture_within(text: str) -> int | None:
    """The place in a text where the base64 of a picture begins; in JSON that cannot be read, of the only one."""
    whole = re.match(_JSON_START, text)
    found = re.compile(_PICTURE_WITHIN).finditer(text, 0, EXTRA_CHARACTERS if whole else _LONGEST_PREFIX)
    first, second = next(found, None), next(found, None) if whole else None
    return first.start() if first and not second else None


def _data_uri(text: str) -> str | None:
    """The `data:` URI of a text that is or holds base64, whatever stands around the digits; `None` for other texts."""
    uri = re.match(_DATA, text[:_HEAD])
    at = uri.end() if uri else 0
    if said := re.compile(_IN_BASE64 if uri else _SAYS_BASE64).match(text[: at + _HEAD], at):
        claimed, at = said["type"], said.end()
    elif (within := _picture_within(text)) is not None:
        claimed, at = text[:within], within
    elif uri:
        return f"data:{text[at:]}"
    elif is_bare_base64(text):
        claimed = ""
    else:
        return None
    if mark := re.compile(_BYTES_MARK).match(text, at):
        at = mark.end()
    digits = text[at:].strip(_AROUND_DIGITS)
    if digits[-1:] in {".", ","} and digits[-2:] != "..":  # of the sentence; two say that the rest was left out
        digits = digits[:-1]
    run = re.match(_DIGITS, digits)
    if run and run.end() < len(digits) and (run[0].endswith("=") or digits[run.end()] in _AFTER_DIGITS):
        digits = run[0].strip(_AROUND_DIGITS)
    media_type = re.search(_MEDIA_TYPE, claimed)
    return f"data:{media_type[0] if media_type else ''};base64,{digits}"


def read_data_uri(uri: str, max_bytes: int) -> bytes:
    """The bytes of a `data:` URI: base64 (with or without padding, spaces and URL-safe digits) or percent-encoded.

    Raises:
        RequestError: `invalid_request`: there is no comma, or the base64 is broken.
        ImageError: `image_unreadable`: more than `max_bytes`; raised before anything is decoded.
    """
    header, comma, body = uri.partition(":")[2].partition(",")
    if not comma:
        raise _malformed("there is no comma after its type")
    in_base64 = header.lower().rstrip().endswith(";base64")
    longest = max_bytes * (4 if in_base64 else 3)  # every byte as %XX, or each base64 digit of four so
    if len(body) > longest:
        raise too_large(max_bytes)
    if in_base64:
        if "\\" in body:  # as JSON and Python write line ends and slashes
            body = re.sub(r"\\[nr]", "", body).replace("\\/", "/")
        if "%" in body:
            body = _decoded(body).decode("utf-8", "replace")
        digits = "".join(body.split()).rstrip("=").translate(_URL_SAFE)
        try:
            content = binascii.a2b_base64(digits + "=" * (-len(digits) % 4), strict_mode=True)
        except ValueError as error:
            raise _malformed("its base64 is cut off or holds other characters") from error
    else:
        content = _decoded(body)
    if len(content) > max_bytes:
        raise too_large(max_bytes)
    return content


def _decoded(text: str) -> bytes:
    """Percent-encoded text as bytes; in pieces, because every code takes many times its length on the way."""
    pieces: list[bytes] = []
    at = 0
    while at < len(text):
        end = at + EXTRA_CHARACTERS
        code = text.find("%", end - 2, end)
        end = code if code >= 0 and end < len(text) else end
        pieces.append(unquote_to_bytes(text[at:end].encode("utf-8", "replace")))
        at = end
    return b"".join(pieces)


def _malformed(why: str) -> RequestError:
    return RequestError(
        "invalid_request",
        f"The data: URI cannot be read: {why}.",
        hint="Write it as data:image/png;base64,<all of the base64>; better, pass a link or a file.",
    )
