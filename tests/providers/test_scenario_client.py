"""The simulator of Scenario against the vendor's own client, scenario-sdk: what it sends is accepted, and understood.

The client has no typed method for the classic ControlNet calls; its generic `post` reaches them.
"""

import base64
from collections.abc import Generator

import pytest
import scenario_sdk
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter
from scenario_sdk import Scenario

from tests.support.sample_drawings import house
from tests.support.simulators.scenario import STATUSES, ScenarioSimulator
from tests.support.simulators.scenario_store import KEY, SECRET, refused
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.studio import as_file

PATH = "/generate/controlnet"


class JobPart(BaseModel):
    """What the test reads of a submission's reply."""

    model_config = ConfigDict(extra="ignore")

    jobId: str  # noqa: N815  # the vendor's name


class Made(BaseModel):
    """The reply to a submission or to a dry run."""

    model_config = ConfigDict(extra="ignore")

    job: JobPart | None = None
    creativeUnitsCost: float  # noqa: N815  # the vendor's name


@pytest.fixture
def simulator() -> Generator[ScenarioSimulator]:
    """A running simulator."""
    listening = free_socket()
    service = ScenarioSimulator(origin_of(listening))
    with running(service.app(), listening):
        yield service


@pytest.fixture
def client(simulator: ScenarioSimulator) -> Generator[Scenario]:
    """The vendor's client, turned to the simulator; it checks every reply against its own types."""
    with Scenario(api_key=KEY, api_secret=SECRET, base_url=f"{simulator.origin}/v1") as opened:
        yield opened


def body(**changes: JsonValue) -> dict[str, JsonValue]:
    """The guide's example, with a picture inside."""
    picture = base64.b64encode(as_file(house(256))).decode()
    example: dict[str, JsonValue] = {
        "prompt": "a superhero in a dynamic pose, comic book style",
        "controlImage": f"data:image/png;base64,{picture}",
        "modality": "pose:0.5",
        "numSamples": 1,
        "guidance": 3.5,
        "numInferenceSteps": 28,
        "modelId": "flux.1-dev",
    }
    return example | changes


def post(client: Scenario, query: str = "", **changes: JsonValue) -> Made:
    """Submit with the client's generic call."""
    reply = client.post(PATH + query, cast_to=object, body=body(**changes))
    return Made.model_validate(TypeAdapter(dict[str, JsonValue]).validate_python(reply))


def test_the_client_submits_polls_and_reads_the_asset(simulator: ScenarioSimulator, client: Scenario) -> None:
    """The guide's way, with the client's own job and asset types."""
    made = post(client, seed=42)
    assert made.job is not None
    jobs = [client.jobs.retrieve(made.job.jobId).job for _ in STATUSES[1:]]
    assert [job.status for job in jobs] == list(STATUSES[1:])
    (asset_id,) = jobs[-1].metadata.asset_ids or []
    asset = client.assets.retrieve(asset_id).asset
    assert asset.mime_type == "image/png"
    assert asset.url.startswith(f"{simulator.origin}/cdn/")
    assert simulator.studio.charges == 1


def test_the_client_takes_http_269_for_a_success(simulator: ScenarioSimulator, client: Scenario) -> None:
    """A dry run: the price, and no job."""
    made = post(client, "?dryRun=true", numSamples=2)
    assert (made.job, made.creativeUnitsCost) == (None, 10)
    assert simulator.jobs == {}


def test_the_client_uploads_and_uses_an_asset(simulator: ScenarioSimulator, client: Scenario) -> None:
    """Below 6 MB: base64, then the asset id instead of the picture."""
    picture = base64.b64encode(as_file(house(64))).decode()
    asset = client.assets.upload(name="house.png", image=picture).asset
    reply = {"controlImageId": asset.id} | {k: v for k, v in body().items() if k != "controlImage"}
    client.post(PATH, cast_to=object, body=reply)
    assert simulator.jobs["job_0001"].asked.control_image_id == asset.id


def test_the_client_uploads_by_ticket(simulator: ScenarioSimulator, client: Scenario) -> None:
    """Ticket, parts, completion, and looks until it is imported."""
    content = as_file(house(64))
    upload = client.uploads.create(
        file_name="house.png", content_type="image/png", file_size=len(content), kind="image", parts=1
    ).upload
    assert [part.number for part in upload.parts or []] == [1]
    simulator.store.tickets[upload.id]["received"] = {"1": content.decode("latin-1")}
    assert client.uploads.trigger_action(upload.id, action="complete").upload.status == "complete"
    statuses = [client.uploads.retrieve(upload.id).upload.status for _ in range(3)]
    assert statuses == ["validating", "validated", "imported"]


def test_the_client_lists_models_and_limits(client: Scenario) -> None:
    """Pages are followed, and the team's units are read."""
    public = [row.id for row in client.models.list(privacy="public")]
    assert len(public) == 5
    assert [row.id for row in client.models.list(privacy="private")] == ["model_eyVcnFJcR92BxBkz7N6g5w"]
    team = client.teams.list().teams[0]
    assert client.teams.retrieve_limits(team.id).values.creative_units == 300


@pytest.mark.parametrize("cancels", [True, False])
def test_the_client_cancels(simulator: ScenarioSimulator, client: Scenario, *, cancels: bool) -> None:
    """Or hears HTTP 400 for a kind that cannot be stopped."""
    simulator.cancels = cancels
    job_id = post(client).job
    assert job_id is not None
    if cancels:
        assert client.jobs.trigger_action(job_id.jobId, action="cancel").job.status == "canceled"
    else:
        with pytest.raises(scenario_sdk.BadRequestError, match="Cannot cancel"):
            client.jobs.trigger_action(job_id.jobId, action="cancel")


def test_the_client_tries_a_paid_call_again_and_is_charged_once(simulator: ScenarioSimulator, client: Scenario) -> None:
    """It repeats a POST after a 5xx, without an idempotency key; the simulator charges only what it accepted."""
    hiccup = refused(500, "Internal server error")
    hiccup.headers["retry-after-ms"] = "1"
    simulator.studio.fail_next("/v1/generate", hiccup)
    assert post(client).job is not None
    attempts = simulator.studio.calls(f"/v1{PATH}")
    assert len(attempts) == 2
    assert not any("idempotency" in name for row in attempts for name in row.headers)
    assert simulator.studio.charges == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"modality": "seg"},
        {"modality": "canny,depth"},
        {"modality": "pose:0"},
        {"width": 500},
        {"scheduler": "DDIMScheduler"},
        {"guidance": 12},
        {"controlImage": "https://example.com/house.png"},
        {"imageUrl": "https://example.com/house.png"},
        {"prompt": None},
        {"seed": "not a number"},
    ],
    ids=str,
)
def test_the_client_hears_refusals(
    simulator: ScenarioSimulator, client: Scenario, changes: dict[str, JsonValue]
) -> None:
    """What the schema does not allow is HTTP 400, and costs nothing."""
    with pytest.raises(scenario_sdk.BadRequestError):
        client.post(PATH, cast_to=object, body=body(**changes))
    assert simulator.studio.charges == 0


def test_a_wrong_key_is_refused(simulator: ScenarioSimulator) -> None:
    """HTTP 401."""
    stranger = Scenario(api_key=KEY, api_secret="wrong", base_url=f"{simulator.origin}/v1")  # noqa: S106  # not one
    with stranger, pytest.raises(scenario_sdk.AuthenticationError):
        stranger.jobs.retrieve("job_0001")
