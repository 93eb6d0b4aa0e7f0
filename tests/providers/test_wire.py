"""The vendor kit's tolerant reading: what stands beside a picture that was paid for must not cost the picture."""

import pytest
from pydantic import JsonValue

from controlnet_mcp.providers.wire import count, pictures_in, text_of, whole


@pytest.mark.parametrize(
    ("value", "read"),
    [(7, 7), ("7", 7), (18446744073709551615, 18446744073709551615), (True, None), ("x", None), (10**400, None)],
)
def test_whole_numbers_keep_every_digit(value: object, read: int | None) -> None:
    """Also seeds beyond what a float holds exactly."""
    assert whole(value) == read


@pytest.mark.parametrize(("value", "read"), [(0, 0), ("3", 3), (2.0, 2), (-1, None), (1e300, None), ([], None)])
def test_a_count_is_a_number_of_things(value: object, read: int | None) -> None:
    """A place in a queue becomes a time to wait, so that only believable ones count."""
    assert count(value) == read


def test_an_objection_is_told_with_its_field_and_kind() -> None:
    """In the manner of FastAPI; the input that it repeats is the caller's prompt or picture, and is not told."""
    rows: JsonValue = [
        {"loc": ["body", "loras", 0, "scale"], "msg": "Too large", "type": "less_than_equal", "input": "a secret"},
        {"loc": [], "type": "missing", "input": "a secret"},
    ]
    assert text_of(rows) == "loras.0.scale: Too large (less_than_equal);  (missing)"


def test_what_is_no_picture_costs_no_other() -> None:
    """Flags belong to places in the list; a missing one means that nothing was found."""
    link = "https://files.example/1.png"
    rows: JsonValue = [{"url": 7}, None, {"url": link}, link, "x"]
    found = pictures_in(rows, [False, False, True])
    assert [(picture.url, picture.flagged) for picture in found] == [(link, True), (link, False)]
    assert pictures_in("x", {}) == ()
