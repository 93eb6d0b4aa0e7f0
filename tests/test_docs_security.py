"""The table of attacks in docs/security.md: complete, and in step with the tests."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "security.md"


def rows() -> dict[int, str]:
    """The lines of the table by their number."""
    found = re.findall(r"^\| (\d+) \|(.*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {int(number): rest for number, rest in found}


def test_every_attack_has_a_line() -> None:
    """Twenty-four attacks, each with what is done about it and a test."""
    assert sorted(rows()) == list(range(1, 25))
    assert all(re.search(r"`(\w+/)?test_\w+\.py", row) for row in rows().values())


def test_every_test_of_an_attack_is_in_the_table() -> None:
    """A file that nobody finds from the table, or a number that the table gives to another file, is noticed."""
    files = sorted((TESTS / "security").glob("test_*.py"))
    assert files
    table = "\n".join(rows().values())
    assert [file.name for file in files if f"security/{file.name}" not in table] == []
    for file in files:
        for number in set(re.findall(r"def test_(\d+)_", file.read_text("utf-8"))):
            assert f"security/{file.name}" in rows()[int(number)], f"{file.name} has a test of attack {number}"
