"""What all simulators share: a record of what they received, scripted faults, and a painter of believable results."""

import base64
import io
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import Image
from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from controlnet_mcp.images.maps.arrays import Rgb


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Studio:
    """The state of a running simulator, seen by the test and by its handlers.

    Attributes:
        received: Every request, in order.
        faults: Replies to give instead of the real ones, by path prefix; each is used once.
        charges: How many paid submissions were accepted.
    """

    received: list[Received] = field(default_factory=list[Received])
    faults: dict[str, deque[Response]] = field(default_factory=dict[str, deque[Response]])
    charges: int = 0

    def fail_next(self, path_prefix: str, *responses: Response) -> None:
        """Answer the next requests under a path with these."""
        self.faults.setdefault(path_prefix, deque()).extend(responses)

    async def note(self, request: Request) -> Response | None:
        """Record a request; gives the scripted fault when one is due."""
        body = await request.body()
        headers = {name.lower(): value for name, value in request.headers.items()}
        query = dict(request.query_params)
        self.received.append(Received(request.method, request.url.path, query, headers, body))
        for prefix, waiting in self.faults.items():
            if request.url.path.startswith(prefix) and waiting:
                return waiting.popleft()
        return None

    def calls(self, path: str) -> list[Received]:
        """The requests to one path."""
        return [row for row in self.received if row.path == path]


@dataclass(frozen=True, slots=True)
class Simulation:
    """How the suites serve a simulator and what they have to know of it; every simulator has one as `SIMULATION`.

    Attributes:
        keys: The variables that hold secrets, with the keys that it takes.
        serve: Makes an application for an origin, its record, and the variables that say where it is; every job is done
            when it is looked at for the first time.
        modality: What the end-to-end test asks for.
        submitted: The sample reply of an accepted submission.
        ended: The sample reply that says that a job is done, where its pictures are asked for by another call.
        finished: The sample reply that tells of pictures.
        balance: What it says is left, if it tells a balance.
        price_unit: What it tells prices in, if it tells any.
        listing: The path where it lists its models, if it does.
    """

    keys: Mapping[str, str]
    serve: Callable[[str], tuple[ASGIApp, Studio, Mapping[str, str]]]
    modality: str = "canny"
    submitted: str = "submitted"
    ended: str | None = None
    finished: str = "finished"
    balance: float | None = None
    price_unit: str | None = None
    listing: str | None = None


def read_picture(reference: JsonValue) -> Rgb:
    """Decode a `data:` URL or plain base64, as a vendor would.

    Raises:
        ValueError: It is neither, or no picture.
    """
    if not isinstance(reference, str):
        raise ValueError("not text")  # noqa: TRY004  # one error for all that a vendor refuses
    text = reference.partition("base64,")[2] if reference.startswith("data:") else reference
    with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def paint(control: Rgb, width: int, height: int, seed: int) -> Rgb:
    """Paint a control map into a picture: a seeded sunset with the map's structure as bright relief."""
    rows = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None, None]
    tint = np.random.default_rng(seed % 2**32).uniform(0.2, 0.9, (2, 3)).astype(np.float32)
    ground = (tint[0] * (1 - rows) + tint[1] * rows) * np.ones((1, width, 1), dtype=np.float32)
    map_there = cv2.resize(control, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    painted = ground * (1 - 0.7 * map_there) + 0.95 * map_there
    levels: Rgb = np.clip(painted * 255, 0, 255).astype(np.uint8)
    return levels


def as_file(rgb: Rgb, kind: str = "PNG") -> bytes:
    """Encode a picture as a vendor would deliver it."""
    target = io.BytesIO()
    Image.fromarray(rgb).save(target, kind)
    return target.getvalue()
