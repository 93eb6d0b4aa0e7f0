"""The adapter of the embedded draft engine: the engine answers as a small HTTP service inside this process.

Test mode (`simulate`) therefore takes the same way as a paid provider's answers: status codes, polling, downloads.
"""

import difflib
import math
from http import HTTPStatus
from typing import Literal
from urllib.parse import urlencode

from pydantic import Field

from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.base import Provider, Uploaded
from controlnet_mcp.providers.http import Body, HttpCall, HttpReply, Steps
from controlnet_mcp.providers.refusals import refusal
from controlnet_mcp.providers.types import (
    Capabilities,
    Cost,
    FittedRequest,
    Frozen,
    LookRate,
    ModelInfo,
    RemoteTask,
    Report,
    RequestWarning,
    ResolvedRequest,
    SizeLimits,
    Submission,
    Support,
)

BASE_URL = "draft://engine"
MEDIA: dict[str, str] = {
    "illustration": "gouache with ink outlines on paper; the default",
    "watercolour": "transparent washes on rough paper",
    "ink": "brush and hatching in black on rice paper",
    "neon": "glowing lines in the dark",
}
"""Media that the draft engine draws in, each with what it looks like."""


class DraftOptions(Frozen):
    """`provider_options` of the draft engine."""

    simulate: (
        Literal["queued", "progress", "moderated", "payment_required", "rate_limited", "failed", "timed_out"] | None
    ) = Field(
        default=None,
        description="Test mode: queued, progress, moderated, payment_required, rate_limited, failed or timed_out",
    )
    seconds: float = Field(
        default=3.0,
        ge=0,
        le=3600,
        description="Test mode: how long it takes, 0 to 3600 seconds; for rate_limited the Retry-After",
    )
    mark: bool = Field(default=True, description="Whether the small corner mark is drawn")


class TicketControl(Frozen):
    """A control: its modality, conditioning scale 0 to 2, map or picture, and the photo that a map was made from."""

    modality: str
    image: str
    photo: str | None = None
    weight: float = 1.0


class Ticket(DraftOptions):
    """All that the engine knows of a job, kept by the caller; pictures are `blob:<sha256>`, times since the epoch."""

    reference: str
    prompt: str
    negative_prompt: str = ""
    controls: tuple[TicketControl, ...]
    init_image: str | None = None
    mask_image: str | None = None
    strength: float = 0.75
    model: str | None = None
    width: int
    height: int
    num_images: int = 1
    seed: int
    accepted_at: float = 0.0

    def image_url(self, index: int) -> str:
        """Where the engine draws picture `index` of this job."""
        return f"{BASE_URL}/v1/images/{index}?{urlencode({'ticket': self.model_dump_json()})}"


class DraftProvider(Provider):
    """Speaks to the embedded engine; needs no key."""

    name: str = "draft"
    title: str = "draft"
    base_url: str = BASE_URL
    options: type[Frozen] = DraftOptions
    capabilities: Capabilities = Capabilities(
        modalities={
            name: Support(native=name, takes="map" if row.structure != "photo" else "picture")
            for name, row in MODALITIES.items()
        },
        settings=frozenset({"negative_prompt", "init_image", "mask_image", "strength", "model", "seed"}),
        sizes=SizeLimits(minimum=64, maximum=4096, multiple=8, preferred=1024),
        max_controls=4,
        picture_per_control=True,
        cancels=True,
        prices=True,
        free=True,
        looks=LookRate(per_second=math.inf),
        deduplication="key",
        ai_generated=False,
        models=tuple(ModelInfo(name, "draft", summary) for name, summary in MEDIA.items()),
    )

    def fit(self, request: ResolvedRequest) -> FittedRequest:
        """Leave out an unknown model (the words of the prompt choose the medium then); say what becomes of photos."""
        warnings: list[RequestWarning] = []
        if photos := [control.modality for control in request.controls if control.photo]:
            detail = (
                "draft is no AI model and draws nothing new into a photo: it keeps the photo's own colours under the "
                "kept structure (a grey one is tinted), in the manner of the medium. The words choose medium and mood."
            )
            warnings.append(RequestWarning(kind="approximate", feature=photos[0], detail=detail))
        if request.model is not None and request.model.lower() not in MEDIA:
            near = difflib.get_close_matches(request.model.lower(), MEDIA, n=1)
            nearest = f"Did you mean {near[0]}? " if near else ""
            detail = f"draft has no model {request.model[:40]!r}; it was left out. {nearest}Known: {', '.join(MEDIA)}."
            warnings.append(RequestWarning(kind="unsupported", feature="model", detail=detail))
            request = request.model_copy(update={"model": None})
        return FittedRequest(request=request, warnings=tuple(warnings))

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:  # noqa: ARG002  # none
        """Name pictures by the hash under which the blob store holds them: the engine shares the store."""
        same = {"prompt", "model", "width", "height", "num_images", "seed"}
        body: dict[str, Body] = {
            "reference": reference,
            **request.model_dump(include=same),
            "negative_prompt": request.negative_prompt or "",
            "controls": [
                {"modality": row.modality, "image": _hash(row.picture), "photo": _hash(row.photo), "weight": row.weight}
                for row in request.controls
            ],
            "init_image": _hash(request.init_image),
            "mask_image": _hash(request.mask_image),
            "strength": 0.75 if request.strength is None else request.strength,
            **DraftOptions.model_validate(request.options).model_dump(),
        }
        return HttpCall("POST", f"{BASE_URL}/v1/jobs", json=body, submits=True)

    def read(self, reply: HttpReply) -> Submission:
        """The ticket that comes back holds the whole job, so nothing is lost with the process."""
        if reply.status != HTTPStatus.OK:
            raise refusal(reply, said="")
        return reply.read(Submission)

    def poll(self, task: RemoteTask) -> Steps[Report]:
        """Ask for a report."""
        reply = yield HttpCall("GET", f"{BASE_URL}/v1/report", query=task.state)
        if reply.status != HTTPStatus.OK:
            raise refusal(reply)
        return reply.read(Report)

    def cancel(self, task: RemoteTask) -> Steps[bool]:  # noqa: ARG002  # the interface has it
        """Nothing runs between two questions: forgetting the ticket stops the job."""
        return True
        yield HttpCall("DELETE", BASE_URL)  # makes this a conversation, of no calls

    def price(self, request: ResolvedRequest, uploaded: Uploaded) -> Steps[Cost | None]:
        """Drafts are free."""
        return Cost(amount=0, unit="credits")
        yield self.build(request, "", uploaded)  # makes this a conversation, of no calls


def _hash(picture: StoredPicture | None) -> str | None:
    return f"blob:{picture.sha256}" if picture else None
