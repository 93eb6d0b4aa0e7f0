"""The victim of attacks through links, and the network that leads to it."""

from collections.abc import Generator

import pytest

from controlnet_mcp.images import ssrf_guard
from tests.support.attack_targets import PICTURE, Detour, Victim, giving, victim_of


@pytest.fixture
def victim() -> Generator[Victim]:
    """A server inside, with a picture that an attacker would like to see."""
    with victim_of(giving(PICTURE)) as made:
        yield made


@pytest.fixture
def network(victim: Victim, monkeypatch: pytest.MonkeyPatch) -> Detour:
    """Every address leads to the victim, so that what is dialled is what decides; the guard is on."""
    detour = Detour(victim.port)
    monkeypatch.setattr(ssrf_guard, "DIALLER", detour)
    return detour
