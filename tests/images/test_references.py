"""References as models and people write them: whatever a picture's name is wrapped in, the name is found in it."""

import base64
import json
import string
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlnet_mcp.images.references import (
    Kind,
    Reference,
    is_of_the_chat,
    parse,
    path_spellings,
    plain_text,
    read_data_uri,
)

JOB = "job_" + "0a" * 16
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(40))
DIGITS = base64.b64encode(PNG).decode()
URI = f"data:image/png;base64,{DIGITS}"
LINK = "https://example.org/a/cat.png?size=1"
PATH = "/home/me/my pictures/cat (1).png"
STORED = f"controlnet://jobs/{JOB}/images/1"


def between(opened: str, closed: str) -> Callable[[str], str]:
    """Put a text between two marks."""
    return lambda text: f"{opened}{text}{closed}"


PAIRS = ('""', "''", "``", "“”", "„“", "«»", "\u2018\u2019", "<>", "[]", "**", "()")
WRAPPERS: dict[str, Callable[[str], str]] = {
    **{f"{pair[0]}…{pair[1]}": between(*pair) for pair in PAIRS},
    "blanks": lambda text: f" \n\t{text}\u3000\n",
    "marks of direction": lambda text: f"\u202a\ufeff{text}\u202c\u200b",
    "three backticks": lambda text: f"```\n{text}\n```",
    "a fence with a language": lambda text: f"```text\n{text}\n```",
    "quotes and a comma": lambda text: f'"{text}",',
    "backticks and a full stop": lambda text: f"`{text}`.",
    "a picture in Markdown": lambda text: f"![a cat [1]]({text})".replace("[1]", ""),
    "a link in Markdown": lambda text: f"[my cat](<{text}>)",
    "a title in Markdown": lambda text: f'![cat]({text} "My cat")',
    "a picture that is a link": lambda text: f"[![cat]({text})](https://example.org/)",
    "a quote that is not closed": lambda text: f'"{text}',
    "a member of any name": lambda text: json.dumps({"value": [text], "url": text, "kind": "picture"}),
    "a sentence with a picture": lambda text: f"Here it is: ![cat]({text})",
    "a tag": lambda text: f'<img src="{text}" alt="a cat">',
    "a tag in single quotes": lambda text: f"<img alt='cat' src='{text}'/>",
    "an svg tag": lambda text: f'<image xlink:href="{text}" width="4"/>',
    "css": lambda text: f"url('{text}')",
    "a rule of css": lambda text: f'background-image: url("{text}");',
    "an at sign": lambda text: f"@{text}",
    "an at sign and quotes": lambda text: f'@"{text}"',
    "a label": lambda text: f"image: {text}",
    "a path's label": lambda text: f"Path: `{text}`",
    "a JSON string": json.dumps,
    "a list": lambda text: json.dumps([text]),
    "url": lambda text: json.dumps({"url": text}),
    "OpenAI": lambda text: json.dumps({"type": "image_url", "image_url": {"url": text, "detail": "high"}}),
    "OpenAI's responses": lambda text: json.dumps({"type": "input_image", "image_url": text}),
    "Anthropic's link": lambda text: json.dumps({"type": "image", "source": {"type": "url", "url": text}}),
    "a resource link of MCP": lambda text: json.dumps({"type": "resource_link", "uri": text, "name": "cat"}),
    "Gemini's file": lambda text: json.dumps({"fileData": {"mimeType": "image/png", "fileUri": text}}),
    "an object of Python": lambda text: f"{{'path': '{text}', 'kind': None}}".replace("None", "'x'"),
    "a list of blocks": lambda text: json.dumps([{"type": "text", "text": "Look"}, {"image": {"url": text}}]),
}
COMPOSABLE = [
    *("`…`", "<…>", "[…]", "*…*", "(…)", "“…”", "«…»", "marks of direction", "a picture in Markdown"),
    *("a link in Markdown", "a JSON string", "a list", "OpenAI", "Gemini's file", "a list of blocks"),
]
"""Wrappings that may stand in one another; the others mean something where they are outermost."""
BASE64: dict[str, Callable[[str], str]] = {
    "digits alone": lambda digits: digits,
    "without padding": lambda digits: digits.rstrip("="),
    "in lines": lambda digits: "\n".join(digits[at : at + 20] for at in range(0, len(digits), 20)),
    "base64,": lambda digits: f"base64,{digits}",
    "base64://": lambda digits: f"base64://{digits}",
    "image/png;base64,": lambda digits: f"image/png;base64,{digits}",
    ";base64,": lambda digits: f";base64,{digits}",
    "png;base64,": lambda digits: f"png;base64,{digits}",
    "Python's bytes": lambda digits: f"b'{digits}'",
    "Python's bytes in a URI": lambda digits: f"data:image/png;base64,b'{digits}'",
    "spaces": lambda digits: f"data: image/png; base64, {digits}",
    "a parameter behind": lambda digits: f"data:image/png;base64;charset=utf-8,{digits}",
    "a parameter before": lambda digits: f"data:image/png;charset=utf-8;base64,{digits}",
    "no type": lambda digits: f"data:base64,{digits}",
    "no base64": lambda digits: f"data:image/png,{digits}",
    "a colon for the comma": lambda digits: f"data:image/png;base64:{digits}",
    "a line end for the comma": lambda digits: f"data:image/png;base64\n{digits}",
    "a comma for the semicolon": lambda digits: f"data:image/png,base64,{digits}",
    "twice": lambda digits: f"data:image/png;base64,data:image/png;base64,{digits}",
    "slashes": lambda digits: f"data://image/png;base64,{digits}",
    "capitals": lambda digits: f"DATA:IMAGE/PNG;BASE64,{digits}",
    "escaped slashes": lambda digits: f"data:image\\/png;base64,{digits}".replace("/", "/"),
    "escaped line ends": lambda digits: f"data:image/png;base64,{digits[:8]}\\n{digits[8:]}",
    "an end of a sentence": lambda digits: f"data:image/png;base64,{digits}.",
    "a stray quote": lambda digits: f'data:image/png;base64,{digits}"',
    "all in codes": lambda digits: f"data%3Aimage%2Fpng%3Bbase64%2C{digits.replace('+', '%2B').replace('/', '%2F')}",
    "a name with a comma": lambda digits: f'data:image/png;filename="a,b.png";base64,{digits}',
    "nothing but data:": lambda digits: f"data:{digits}",
    "no comma": lambda digits: f"data:image/png;base64{digits}",
    "a misspelt scheme": lambda digits: f"date:image/png;base64,{digits}",
    "a label": lambda digits: f"Data URI: data:image/png;base64,{digits}",
    "a tag of its own": lambda digits: f"<image>{digits}</image>",
    "attributes alone": lambda digits: f"src='data:image/png;base64,{digits}' alt='x'",
    "a word before": lambda digits: f"base64 {digits}",
    "a fragment": lambda digits: f"data:image/png;base64,{digits}#x",
    "words behind": lambda digits: f"data:image/png;base64,{digits} (my sketch)",
    "a fence": lambda digits: f"```base64\n{digits}\n```",
    "an object without quotes": lambda digits: f'{{data: "{digits}"}}',
    "an object of Python": lambda digits: f"{{'data': '{digits}', 'annotations': None}}",
    "an object with a comma too many": lambda digits: f'{{"data": "{digits}",}}',
    "an object that was escaped": lambda digits: json.dumps(json.dumps({"data": digits}))[1:-1],
    "a buffer of Node": lambda digits: json.dumps({"type": "Buffer", "data": list(base64.b64decode(digits))}),
    "data": lambda digits: json.dumps({"data": digits}),
    "Anthropic": lambda digits: json.dumps(
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": digits}}
    ),
    "MCP": lambda digits: json.dumps({"type": "image", "data": digits, "mimeType": "image/png"}),
    "a resource of MCP": lambda digits: json.dumps({"type": "resource", "resource": {"uri": "x:y", "blob": digits}}),
    "b64_json": lambda digits: json.dumps({"data": [{"b64_json": digits}]}),
    "Gemini": lambda digits: json.dumps({"inlineData": {"mimeType": "image/png", "data": digits}}),
    "Vercel": lambda digits: json.dumps({"type": "image", "image": digits}),
    "Bedrock": lambda digits: json.dumps({"image": {"format": "png", "source": {"bytes": digits}}}),
    "LangChain": lambda digits: json.dumps(
        {"type": "image", "source_type": "base64", "mime_type": "x/y", "data": digits}
    ),
    "a member of any name": lambda digits: json.dumps({"kind": "base64", "value": digits}),
    "Vertex": lambda digits: json.dumps({"image": {"bytesBase64Encoded": digits, "mimeType": "image/png"}}),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize(("kind", "text"), [("data", URI), ("link", LINK), ("path", PATH), ("stored", STORED)])
def test_a1_a2_every_wrapping_is_taken_off_every_reference(wrapper: str, kind: Kind, text: str) -> None:
    """A1, A2: data: URIs, links, paths and our own URIs come out of all of them as they went in."""
    assert parse(WRAPPERS[wrapper](text)) == Reference(kind, text)


@pytest.mark.parametrize("form", BASE64)
def test_a1_every_form_of_base64_is_read(form: str) -> None:
    """A1: with every prefix, parameter and object that it comes with, and with none."""
    found = parse(BASE64[form](DIGITS))
    assert found.kind == "data"
    assert read_data_uri(found.text, 1000) == PNG
    assert parse(found.text) == found


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(COMPOSABLE), max_size=4), st.binary(max_size=99))
def test_a1_wrappings_within_wrappings_are_taken_off(names: list[str], content: bytes) -> None:
    """A1: any three, one in the other, around any bytes that begin as a picture does."""
    text = wanted = f"data:image/png;base64,{base64.b64encode(PNG + content).decode()}"
    for name in names:
        text = WRAPPERS[name](text)
    assert parse(text).text == wanted


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=80) | st.text("\"'`<>()[]{}!@\\/:.,;#%= \nabdtu&*ijo_1", max_size=60))
def test_a1_any_text_has_one_kind_and_reading_it_again_changes_nothing(text: str) -> None:
    """A1: no text makes the parser fail, and what it gives is as short as what it was given, a prefix apart."""
    found = parse(text)
    assert parse(found.text) == found or found.kind in {"path", "object", "chat", "scheme", "windows"}
    assert len(found.text) <= len(text) + len("data:;base64,") + len("controlnet://jobs//images/0") + len("https://")
    assert all(path_spellings(found.text)) if found.kind == "path" and found.text[:5] != "file:" else True


@given(st.text(string.ascii_letters + string.digits + " ._-()#+,'&éüñ水", min_size=1, max_size=30))
def test_a2_an_ordinary_path_is_left_as_it_is(name: str) -> None:
    """A2: no name that files have loses a character on the way."""
    path = f"/home/me/{name.strip() or 'x'}x"
    assert parse(path) == Reference("path", path)
    assert path_spellings(path)[0] == path


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("/a/My\\ Cat\\ \\(1\\).png", "/a/My Cat (1).png"),
        ("/a/My%20Cat.png", "/a/My Cat.png"),
        ("/a/cat.png.", "/a/cat.png"),
        ("/a/cat.png),", "/a/cat.png"),
        ("@cat.png", "cat.png"),
        ('"cat.png', "cat.png"),
        ("file:///a/b%20c.png", "/a/b c.png"),
        ("file:/a/b.png", "/a/b.png"),
        ("file:///a/b#1.png", "/a/b#1.png"),
        ("file://~/b.png", "~/b.png"),
        ("$HOME/b.png", "~/b.png"),
        ("${HOME}/b.png", "~/b.png"),
        ("pictures\\cat.png", "pictures/cat.png"),
        ("/a/Tom &amp; Jerry.png", "/a/Tom & Jerry.png"),
        ("/a/4.42.48\\u202fPM.png", "/a/4.42.48\u202fPM.png"),
        ("/a/my\\_cat.png", "/a/my_cat.png"),
    ],
)
def test_a2_a_path_is_tried_as_it_was_meant(text: str, meant: str) -> None:
    """A2: shells, URIs, Markdown, JSON and sentences write paths in ways of their own; the literal one comes first."""
    spellings = path_spellings(parse(text, windows=False).text, windows=False)
    assert meant in spellings
    assert text.startswith("file:") or spellings[0] == text


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        (JOB, f"controlnet://jobs/{JOB}/images/0"),
        (JOB.upper().replace("JOB", "job"), f"controlnet://jobs/{JOB}/images/0"),
        (f"`{JOB}`", f"controlnet://jobs/{JOB}/images/0"),
        (f"{JOB}-2", f"controlnet://jobs/{JOB}/images/1"),
        (f"jobs/{JOB}/images/3", f"controlnet://jobs/{JOB}/images/3"),
        (f"controlnet://jobs/{JOB}/", f"controlnet://jobs/{JOB}/images/0"),
        (f"Controlnet:/jobs/{JOB}/control-map", f"controlnet://jobs/{JOB}/control-map"),
        (f"controlnet://jobs/{JOB}/sheet", f"controlnet://jobs/{JOB}/sheet"),
        (f"{JOB}/sources/extra_control_0", f"controlnet://jobs/{JOB}/sources/extra_control_0"),
        ("ab" * 32, f"controlnet://maps/{'ab' * 32}"),
        ("controlnet://maps/x", "controlnet://maps/x"),
        (json.dumps({"job_id": JOB, "images": [{"uri": "a"}, {"uri": "b"}]}), f"controlnet://jobs/{JOB}/images/0"),
    ],
)
def test_a5_our_own_names_become_our_own_uris(text: str, uri: str) -> None:
    """A5: a job alone is its first picture; what answers call a picture leads to it."""
    assert parse(text) == Reference("stored", uri)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *(("sandbox:/mnt/data/cat.png", "chat"), ("blob:https://chat.example/1-2", "chat"), ("cid:ab@c", "chat")),
        *(("attachment://cat.png", "chat"), ("file-service://file-9", "chat"), ("content://media/1", "chat")),
        *(("C:\\Users\\me\\cat.png", "windows"), ("d:/cat.png", "windows"), ("file:///c%3A/Users/cat.png", "windows")),
        *(("file://C:/cat.png", "windows"), ("\\\\nas\\share\\cat.png", "windows"), ("/C:/cat.png", "windows")),
        *(("//wsl$/Ubuntu/home/me/cat.png", "windows"), ("\\\\wsl.localhost\\Ubuntu\\cat.png", "windows")),
        *(
            ("%USERPROFILE%\\cat.png", "windows"),
            ('"C:\\new\\table.png"', "windows"),
            ("C:\\\\Users\\\\c.png", "windows"),
        ),
        *(("s3://bucket/cat.png", "scheme"), ("ftp://x/cat.png", "scheme"), ("gopher://x", "scheme")),
        *(
            ('{"a": 1}', "object"),
            ('["/a.png", "/b.png"]', "object"),
            ('{"data": "iVBOR', "object"),
            ("[{}]", "object"),
        ),
        *(("", "nothing"), (" \u200b\ufeff\n", "nothing"), ('""', "nothing"), ("``````", "nothing")),
    ],
)
def test_what_cannot_be_read_has_a_kind_of_its_own(text: str, kind: str) -> None:
    """A4, A8: so that the error says what is the matter."""
    assert parse(text, windows=False).kind == kind


@pytest.mark.parametrize(
    "text",
    [
        *("[Image #1]", "image.png", "Image 2", "<image>", "file-abc", "file_0123abcd", "/mnt/user-data/uploads/x.png"),
        *(
            "/mnt/data/cat.png",
            "the attached image",
            "uploaded_image.png",
            "image (3).webp",
            "the image above",
            "files/ab12cd34",
        ),
    ],
)
def test_a4_attachments_are_recognised(text: str) -> None:
    """A4: by the names that hosts and models give them; files of the same name are read first."""
    found = parse(text)
    assert found.kind == "path"
    assert is_of_the_chat(found.text)


@pytest.mark.parametrize("text", ["house.png", "/home/me/image.png", "cat sketch.png", "images/cat.png", "profile.png"])
def test_a4_files_are_no_attachments(text: str) -> None:
    """A4: what has a name or a folder of its own is a file."""
    assert not is_of_the_chat(text)


@pytest.mark.parametrize(
    "value",
    [
        {"data": DIGITS},
        {"type": "image", "data": DIGITS, "mimeType": "image/png"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DIGITS}},
        [{"type": "image_url", "image_url": {"url": URI}}],
    ],
)
def test_a1_objects_are_read_as_their_text_is(value: object) -> None:
    """A1: hosts that send the object itself are understood as well."""
    text = plain_text(value)
    assert isinstance(text, str)
    assert read_data_uri(parse(text).text, 1000) == PNG


def test_a1_what_is_nested_without_end_is_no_picture() -> None:
    """A1: deep objects, deep wrappings and loops of quotes end the search, not the process."""
    deep: object = URI
    for _ in range(500):
        deep = {"image": deep}
    assert parse(str(plain_text(deep))).kind == "object"
    assert parse('["' * 100_000).kind == "object"
    assert parse("[" * 100_000).kind == "path"
    assert parse('{"image":' * 50_000).kind == "object"
    assert parse("(" * 50_000 + "/a.png" + ")" * 50_000).kind == "path"


@pytest.mark.parametrize(
    "wrapper", ['"{}"', "`{}`", "![cat]({})", '<img src="{}">', '{{"data": "{}"}}', "url({})", "{}"]
)
def test_a1_long_texts_are_parsed_in_a_few_copies(wrapper: str) -> None:
    """A1: 8 MB in any wrapping take no more than a few times their size, and no time that is worth telling."""
    text = wrapper.format("data:image/png;base64," + "A" * 8_000_000)
    tracemalloc.start()
    found = parse(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.kind == "data"
    assert peak < 5 * len(text)
