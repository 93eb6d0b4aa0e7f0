"""Every provider in the table keeps the contract."""

import pytest

from controlnet_mcp.providers.registry import NAMES
from tests.contract.provider_contract import BARE, CONTRACT, READY, Check


@pytest.mark.parametrize("check", CONTRACT)
@pytest.mark.parametrize("name", NAMES)
def test_a_provider_keeps_the_contract(name: str, check: Check) -> None:
    """One rule, one provider."""
    check(READY[name], BARE[name])
