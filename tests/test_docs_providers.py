"""`docs/providers.md` keeps its word: its table is that of the code, and every test that it names exists.

    python -m tests.test_docs_providers

writes the table anew.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlnet_mcp.providers.registry import ProviderEntry, build_table
from controlnet_mcp.providers.types import Capabilities
from tests.test_readme import table

PAGE = Path(__file__).parents[1] / "docs" / "providers.md"
MARKED = re.compile(r"(<!-- capabilities -->\n).*?(<!-- /capabilities -->)", re.DOTALL)
HEADINGS = ("provider", "modalities", "controls", "sides", "uploads", "price", "cancel", "a lost reply")
AFTER_A_LOST_REPLY = {
    "key": "asked again, under the same key",
    "lookup": "not asked again; the task bears our reference",
    "none": "not asked again",
}
"""What is done when nobody knows whether a submission was accepted."""
HOSTED = [entry for entry in build_table({}) if entry.missing]


def uploads(can: Capabilities) -> str:
    """Whether pictures are uploaded, and how long an upload is used again."""
    if not can.upload_lifetime_seconds:
        return "none, pictures go as links only" if can.needs_public_url else "none, pictures go inline"
    ids = ", its asset ids are taken too" if can.asset_ids else ""
    return f"used again for {can.upload_lifetime_seconds / 3600:g} h{ids}"


def controls(can: Capabilities) -> str:
    """How many structures at once."""
    if can.max_controls == 1:
        return "1"
    return f"up to {can.max_controls}, {'a picture each' if can.picture_per_control else 'one picture'}"


def row(entry: ProviderEntry) -> tuple[str, ...]:
    """One provider."""
    can, sizes = entry.capabilities, entry.capabilities.sizes
    return (
        f"`{entry.name}`",
        f"{len(can.modalities)}: {', '.join(can.modalities)}",
        controls(can),
        f"{sizes.minimum} to {sizes.maximum}",
        uploads(can),
        "told" if can.prices else "not told",
        "yes" if can.cancels else "no",
        AFTER_A_LOST_REPLY[can.deduplication],
    )


def written(page: str) -> str:
    """The page with its table written anew."""
    made = table(HEADINGS, [row(entry) for entry in build_table({})])
    return MARKED.sub(lambda match: f"{match[1]}{made}\n{match[2]}", page)


def sections() -> Iterator[tuple[str, str]]:
    """Name of a provider and what the page says of it."""
    for part in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        yield heading.lower(), text


def test_the_table_is_that_of_the_code() -> None:
    """Write it anew with `python -m tests.test_docs_providers`."""
    page = PAGE.read_text(encoding="utf-8")
    assert MARKED.search(page)
    assert page == written(page)


@pytest.mark.parametrize("entry", HOSTED, ids=lambda entry: entry.name)
def test_every_fact_has_a_source_and_a_test_that_exists(entry: ProviderEntry) -> None:
    """In the test files of that provider; what nobody could check is listed too."""
    text = dict(sections())[entry.name]
    facts = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(facts) >= 8
    files = list((Path(__file__).parent / "providers").glob(f"test_{entry.name}*.py"))
    tests = set(re.findall(r"def (test_\w+)\(", "\n".join(path.read_text(encoding="utf-8") for path in files)))
    tests |= {path.name for path in files}
    for fact in facts:
        _, _, source, named, _ = re.split(r"(?<!\\)\|", fact)
        assert re.search(r"\d", source), fact
        names = re.findall(r"`(test_[\w.]+)`", named)
        assert names, fact
        assert set(names) <= tests, fact
    assert len(text.partition("Unverified:\n")[2].strip().splitlines()) >= 4


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
