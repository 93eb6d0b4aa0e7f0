"""The simulator of ModelsLab is believed because both clients that the vendor published work against it.

`modelslab_py` (ids in the path, numbers as numbers, unset fields left out) and `modelslab` (the page's layout, numbers
as text, unset fields as null). They know nothing of this project; we never use them ourselves.
"""

import base64
import importlib
import json
import urllib.request
import warnings
from collections.abc import Generator
from typing import Protocol

import pytest
from pydantic import JsonValue, SecretStr, TypeAdapter

from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.decode import decode
from controlnet_mcp.providers.http import HttpReply
from controlnet_mcp.providers.modelslab.adapter import ModelsLabProvider, ModelsLabSettings
from tests.support.sample_drawings import house
from tests.support.simulators.modelslab import COMMUNITY_KEY, ENTERPRISE_KEY, ModelsLabSimulator
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.studio import as_file

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


class Client(Protocol):
    """`modelslab_py.core.client.Client`."""

    base_url: str

    def post(self, endpoint: str, data: dict[str, str]) -> object:
        """Send the key and more fields."""
        ...


class Community(Protocol):
    """`modelslab_py.core.apis.community.Community`."""

    base_url: str

    def controlnet(self, schema: object) -> object:
        """Submit."""
        ...

    def fetch(self, id: str) -> object:  # noqa: A002  # the vendor's name
        """Ask until it is done."""
        ...


class Published:
    """The names that are used of `modelslab_py`; its import warns of its own pydantic usage."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.client = importlib.import_module("modelslab_py.core.client").Client
            self.community = importlib.import_module("modelslab_py.core.apis.community").Community
            self.schema = importlib.import_module("modelslab_py.schemas.community").ControlNet

    def open(self, simulator: ModelsLabSimulator, key: str, *, enterprise: bool) -> tuple[Client, Community]:
        """The client, redirected to the simulator."""
        client: Client = self.client(key, fetch_retry=4, fetch_timeout=0)
        client.base_url = f"{simulator.origin}/api/"
        community: Community = self.community(client=client, enterprise=enterprise)
        return client, community


PUBLISHED = Published()
OLDER = importlib.import_module("modelslab")


@pytest.fixture
def simulator() -> Generator[ModelsLabSimulator]:
    """A running simulator that can fetch one picture."""
    listening = free_socket()
    service = ModelsLabSimulator(origin_of(listening))
    service.web["https://pictures.example/house.png"] = as_file(house(256))
    with running(service.app(), listening):
        yield service


def asked(**more: object) -> object:
    """The vendor's request model."""
    fields = {"model_id": "midjourney", "controlnet_model": "canny", "controlnet_type": "canny", "samples": 2}
    link = "https://pictures.example/house.png"
    return PUBLISHED.schema(**{"prompt": "a house", "init_image": link, "width": 256, "height": 512, **fields, **more})


def shape_of(link: JsonValue) -> tuple[int, ...]:
    """The shape of the picture behind a link of the simulator."""
    assert isinstance(link, str)
    with urllib.request.urlopen(link) as response:  # noqa: S310  # the simulator on this machine
        return decode(response.read(), Limits()).shape


def seen_by_us(answer: dict[str, JsonValue]) -> str:
    """What our adapter reads in the reply that the vendor's client got."""
    settings = ModelsLabSettings(api_key=SecretStr(ENTERPRISE_KEY))
    reply = HttpReply("modelslab", 200, {}, json.dumps(answer).encode())
    return ModelsLabProvider(settings).read(reply).report.phase


@pytest.mark.parametrize(("key", "enterprise"), [(ENTERPRISE_KEY, True), (COMMUNITY_KEY, False)])
def test_the_published_client_submits_and_fetches(simulator: ModelsLabSimulator, key: str, *, enterprise: bool) -> None:
    """On both of its layouts, `.../images/controlnet` and `.../images/fetch/{id}`."""
    _, community = PUBLISHED.open(simulator, key, enterprise=enterprise)
    accepted = OBJECT.validate_python(community.controlnet(asked()))
    assert (accepted["status"], seen_by_us(accepted)) == ("processing", "running")
    done = OBJECT.validate_python(community.fetch(str(accepted["id"])))
    assert (done["status"], seen_by_us(done)) == ("success", "succeeded")
    assert isinstance(done["output"], list)
    assert [shape_of(link) for link in done["output"]] == [(512, 256, 3)] * 2
    assert simulator.studio.charges == 1


def test_the_published_client_works_in_the_layout_of_the_page(simulator: ModelsLabSimulator) -> None:
    """Its address is set to the page's own, as the notes on it say."""
    _, community = PUBLISHED.open(simulator, ENTERPRISE_KEY, enterprise=True)
    community.base_url = f"{simulator.origin}/api/v1/enterprise/"
    accepted = OBJECT.validate_python(community.controlnet(asked(controlnet_model="canny,depth")))
    assert accepted["status"] == "processing"
    assert simulator.studio.calls("/api/v1/enterprise/controlnet")


def test_the_published_client_uploads_and_asks_for_the_balance(simulator: ModelsLabSimulator) -> None:
    """Through its plain `post`."""
    client, community = PUBLISHED.open(simulator, COMMUNITY_KEY, enterprise=False)
    data = f"data:image/png;base64,{base64.b64encode(as_file(house(256))).decode()}"
    uploaded = OBJECT.validate_python(client.post(f"{client.base_url}v6/base64_to_url", {"base64_string": data}))
    assert isinstance(uploaded["output"], list)
    accepted = OBJECT.validate_python(community.controlnet(asked(control_image=uploaded["output"][0])))
    assert accepted["status"] == "processing"
    wallet = OBJECT.validate_python(client.post(f"{client.base_url}wallet_balance", {}))
    assert wallet["data"] == {"balance": 43.6, "currency": "USD"}


def test_the_published_client_sees_refusals(simulator: ModelsLabSimulator) -> None:
    """It raises on anything but HTTP 200, and gives errors inside HTTP 200 back as they are."""
    _, community = PUBLISHED.open(simulator, "wrong-key", enterprise=True)
    with pytest.raises(Exception, match="401"):
        community.controlnet(asked())
    simulator.legacy = True
    refused = OBJECT.validate_python(community.controlnet(asked()))
    assert refused == {"status": "error", "messege": "Invalid API key"}


def test_the_older_client_sends_text_and_nulls(simulator: ModelsLabSimulator) -> None:
    """The page's own submission and fetch: version 0.2 cannot submit by its enterprise class (a NameError in it)."""
    submits, fetches = OLDER.ControlNet(), OLDER.EPTxt2Img()
    submits.base_url = fetches.base_url = f"{simulator.origin}/api/v1/enterprise"
    submits.route = "controlnet"
    link = "https://pictures.example/house.png"
    text = submits.controlnet_main(ENTERPRISE_KEY, "canny", "canny", "midjourney", link, prompt="a house", samples="2")
    accepted = OBJECT.validate_json(text)
    answers = [OBJECT.validate_json(fetches.fetch_queued(ENTERPRISE_KEY, accepted["id"])) for _ in range(2)]
    assert [row["status"] for row in (accepted, *answers)] == ["processing", "processing", "success"]
    assert [seen_by_us(row) for row in (accepted, *answers)] == ["running", "running", "succeeded"]
    body = OBJECT.validate_json(simulator.studio.calls("/api/v1/enterprise/controlnet")[0].body)
    assert (body["width"], body["seed"]) == ("512", None)


def test_the_older_client_uses_the_community_plan(simulator: ModelsLabSimulator) -> None:
    """`/v5/controlnet`, with every optional field as null."""
    older = OLDER.ControlNet()
    older.base_url = f"{simulator.origin}/api"
    link = "https://pictures.example/house.png"
    names = "openpose,canny,face_detector"
    accepted = OBJECT.validate_json(
        older.controlnet_multi(COMMUNITY_KEY, names, "openpose", "midjourney", init_image=link, prompt="a house")
    )
    assert accepted["status"] == "processing"
    single = older.controlnet_main(COMMUNITY_KEY, "canny", "canny", "realistic-vision-51", link, prompt="a house")
    assert OBJECT.validate_json(single)["status"] == "processing"
    assert simulator.studio.charges == 2
