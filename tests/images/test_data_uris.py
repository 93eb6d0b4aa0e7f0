"""`data:` URIs as models and people write them."""

import base64
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlnet_mcp.foundation.errors import ImageError, RequestError
from controlnet_mcp.images.references import is_bare_base64, parse, read_data_uri

LIMIT = 1000


@given(content=st.binary(max_size=300), header=st.sampled_from(["image/png", "", "IMAGE/PNG;charset=x", "text/plain"]))
def test_base64_comes_back(content: bytes, header: str) -> None:
    """Any bytes under any claimed type, with and without padding, in both alphabets."""
    digits = base64.b64encode(content).decode()
    for body in (digits, digits.rstrip("="), base64.urlsafe_b64encode(content).decode()):
        assert read_data_uri(f"data:{header};base64,{body}", LIMIT) == content


@given(content=st.binary(max_size=300))
def test_percent_codes_come_back(content: bytes) -> None:
    """The form without base64."""
    assert read_data_uri(f"data:image/png,{quote_from_bytes(content)}", LIMIT) == content


@pytest.mark.parametrize(
    "uri",
    [
        "DATA:image/png;BASE64,cGl4ZWxz",
        "data:image/png;base64 , cGl4\n  ZWxz \t",
        "data:image/png;base64,cGl4%5AWxz%0A",
        "data:;base64,cGl4ZWxz",
        "data:,pixels",
    ],
)
def test_odd_but_clear_spellings_are_read(uri: str) -> None:
    """Case, line breaks and percent codes do not matter."""
    assert read_data_uri(uri, LIMIT) == b"pixels"


@pytest.mark.parametrize(
    "uri", ["data:", "data:image/png;base64", "data:;base64,a", "data:;base64,cGl4!", "data:;base64,é"]
)
def test_broken_uris_are_invalid_requests(uri: str) -> None:
    """A cut-off or mangled URI says how it should be written."""
    with pytest.raises(RequestError) as caught:
        read_data_uri(uri, LIMIT)
    assert caught.value.code == "invalid_request"
    assert "base64" in caught.value.hint


@pytest.mark.parametrize("head", ["data:;base64,", "data:,"])
def test_the_limit_is_exact(head: str) -> None:
    """A thousand bytes pass, one more does not."""
    body = base64.b64encode(b"x" * 1001).decode() if "base64" in head else "x" * 1001
    assert len(read_data_uri(head + body, 1001)) == 1001
    with pytest.raises(ImageError, match="larger than the limit"):
        read_data_uri(head + body, 1000)


def test_padding_with_spaces_does_not_pass_the_limit() -> None:
    """What is counted first is the text, before anything is copied."""
    with pytest.raises(ImageError, match="larger than the limit"):
        read_data_uri("data:;base64," + " " * 5000, LIMIT)


@pytest.mark.parametrize("start", ["iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD", "AAAAIGZ0eXBhdmlm", "SUkqAA"])
def test_bare_base64_is_recognised_by_its_picture(start: str) -> None:
    """It is read as what it is."""
    assert is_bare_base64(start + "A" * 60)
    assert parse(start + "A" * 60).text == f"data:;base64,{start}{'A' * 60}"


def test_very_long_base64_is_recognised_whatever_it_holds() -> None:
    """No path is that long."""
    assert is_bare_base64("QUJD" * 2000)


@pytest.mark.parametrize(
    "text",
    ["cat.png", "/home/user/pictures/holidays/2026/summer/italy/rome/colosseum", "/9j/x", "iVBORw0KGgo!" + "A" * 60],
)
def test_paths_are_not_taken_for_base64(text: str) -> None:
    """Names made of the same characters stay names."""
    assert not is_bare_base64(text)
    assert parse(text).kind == "path"
