"""The adapter of the embedded draft engine: the engine answers as a small HTTP service inside this process.

Test mode (`simulate`) therefore takes the same way as a paid provider's answers: status codes, polling, downloads.
"""

import difflib
from typing import Literal

from pydantic import Field

from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.base import Provider, Uploaded
from controlnet_mcp.providers.draft.lexicon import MEDIA
from controlnet_mcp.providers.draft.ticket import ORIGIN
from controlnet_mcp.providers.http import Body, HttpCall, HttpReply, Steps
from controlnet_mcp.providers.refusals import refusal
from controlnet_mcp.providers.types import (
    Capabilities,
    Control,
    Cost,
    FittedRequest,
    Frozen,
    ModelInfo,
    RemoteTask,
    Report,
    RequestWarning,
    ResolvedRequest,
    SizeLimits,
    Submission,
    Support,
)

BASE_URL = ORIGIN
_OK = 200


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


def _capabilities() -> Capabilities:
    return Capabilities(
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
        deduplication="key",
        ai_generated=False,
        models=tuple(ModelInfo(name, "draft", summary) for name, summary in MEDIA.items()),
    )


class DraftProvider(Provider):
    """Speaks to the embedded engine; needs no key."""

    name: str = "draft"
    title: str = "draft"
    base_url: str = BASE_URL
    capabilities: Capabilities = _capabilities()
    options: type[Frozen] = DraftOptions

    def fit(self, request: ResolvedRequest) -> FittedRequest:
        """A model that there is not is left out, and said: the words of the prompt choose the medium then."""
        if request.model is None or request.model.lower() in MEDIA:
            return FittedRequest(request=request)
        near = difflib.get_close_matches(request.model.lower(), MEDIA, n=1)
        wish = f"Did you mean {near[0]}? " if near else ""
        detail = f"draft has no model {request.model[:40]!r}; it was left out. {wish}Known: {', '.join(MEDIA)}."
        notice = RequestWarning(kind="unsupported", feature="model", detail=detail)
        return FittedRequest(request=request.model_copy(update={"model": None}), warnings=(notice,))

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:  # noqa: ARG002  # none
        """Pictures go by the hash under which the blob store holds them: the engine shares the store."""
        body: dict[str, Body] = {
            "reference": reference,
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt or "",
            "controls": [_control(control) for control in request.controls],
            "init_image": _hash(request.init_image),
            "mask_image": _hash(request.mask_image),
            "strength": 0.75 if request.strength is None else request.strength,
            "model": request.model,
            "width": request.width,
            "height": request.height,
            "num_images": request.num_images,
            "seed": request.seed,
            **DraftOptions.model_validate(request.options).model_dump(),
        }
        return HttpCall("POST", f"{BASE_URL}/v1/jobs", json=body, submits=True)

    def read(self, reply: HttpReply) -> Submission:
        """The ticket that comes back holds the whole job, so nothing is lost with the process."""
        if reply.status != _OK:
            raise refusal(reply, said="")
        return reply.read(Submission)

    def poll(self, task: RemoteTask) -> Steps[Report]:
        """Ask for a report."""
        reply = yield HttpCall("GET", f"{BASE_URL}/v1/report", query=task.state)
        if reply.status != _OK:
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


def _control(control: Control) -> dict[str, Body]:
    return {"modality": control.modality, "image": _hash(control.picture), "weight": control.weight}
