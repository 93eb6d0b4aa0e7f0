"""`doctor` and the accounts of ready providers: the balance is told, a refused key is broken, silence is not."""

from collections.abc import Generator, Mapping
from pathlib import Path

import pytest
from click.testing import Result
from starlette.responses import Response

from tests.server.test_cli import Terminal
from tests.server.test_cli_doctor import row
from tests.support.hosted_providers import HOSTED, SIMULATIONS, Hosted, serving_all


@pytest.fixture(scope="module")
def services() -> Generator[Mapping[str, Hosted]]:
    """All simulators, running."""
    with serving_all() as opened:
        yield opened


def doctor(data_dir: Path, services: Mapping[str, Hosted], **wrong: str) -> Result:
    """The report with every key set, some of them wrong."""
    variables = {name: text for service in services.values() for name, text in service.variables.items()}
    return Terminal(data_dir, {**variables, **wrong}).run("doctor")


def test_balances_are_told(tmp_path: Path, services: Mapping[str, Hosted]) -> None:
    """Of each provider that tells one; nothing is charged and no key is shown."""
    ended = doctor(tmp_path, services)
    told = {name: row(ended.stdout, f"account {name}").split(maxsplit=3)[3] for name in HOSTED}
    silent = "nothing was refused; it does not tell a balance"
    balances = {name: simulation.balance for name, simulation in SIMULATIONS.items()}
    assert told == {name: silent if left is None else f"{left:g} left" for name, left in balances.items()}
    assert len([left for left in balances.values() if left is not None]) >= 4
    assert ended.exit_code == 0
    assert sum(service.studio.charges for service in services.values()) == 0
    assert not [secret for service in services.values() for secret in service.secrets if secret in ended.output]


@pytest.mark.parametrize("name", HOSTED)
def test_a_refused_key_is_broken(tmp_path: Path, services: Mapping[str, Hosted], name: str) -> None:
    """Which one is said at the end, the wrong key is not; the others are still asked."""
    ended = doctor(tmp_path, services, **{next(iter(SIMULATIONS[name].keys)): "a-wrong-key"})
    states = {other: row(ended.stdout, f"account {other}").split()[0] for other in HOSTED}
    assert states == dict.fromkeys(HOSTED, "ok") | {name: "BROKEN"}
    assert ended.exit_code == 1
    assert f"Broken: account {name}." in ended.stderr
    assert "a-wrong-key" not in ended.output


def test_a_provider_that_fails_now_is_noted(tmp_path: Path, services: Mapping[str, Hosted]) -> None:
    """It says nothing about the key."""
    services["segmind"].studio.fail_next("/v1/get-user-credits", Response("broken", 500))
    ended = doctor(tmp_path, services)
    assert row(ended.stdout, "account segmind").startswith("note")
    assert ended.exit_code == 0
