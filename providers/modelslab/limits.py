"""The ranges of ModelsLab's numbers and pictures, with a notice for every value that had to give way."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.modelslab.options import ModelsLabOptions
from controlnet_mcp.providers.types import RequestWarning, ResolvedRequest

Plan: TypeAlias = Literal["enterprise", "community"]

UPLOAD_LIMIT_BYTES = 5_000_000
"""`base64_to_url` takes 5 MB."""
MAX_INLINE_BYTES = 10_000_000
"""Most bytes of pictures that are sent inside a request; the vendor names no limit, this one is ours."""

_SCALE = (0.1, 2.0)
"""Conditioning scale. The vendor's sources disagree: 0.1 to 5 (community schema), 0.1 to 2 (community text), 1 to 20
(enterprise page, the numbers of its guidance scale), 0.5 and 0.7 in its examples. This range is in all but one."""
_GUIDANCE = (1.0, 20.0)
_STEPS = (1, 50)
_UNDISPUTED_STEPS = frozenset({21, 30, 31})
"""The page says 1 to 50, later pages only 21 or 31, and their examples 30."""


@dataclass(slots=True)
class Settling:
    """A request while it is being settled, and what had to be said on the way."""

    request: ResolvedRequest
    plan: Plan
    options: ModelsLabOptions
    notices: list[RequestWarning] = field(default_factory=list[RequestWarning])

    def say(self, kind: Literal["unsupported", "adjusted", "assumed"], feature: str, detail: str) -> None:
        """Remember a notice."""
        self.notices.append(RequestWarning(kind=kind, feature=feature, detail=detail))

    def change(self, **values: object) -> None:
        """Change fields of the request."""
        self.request = self.request.model_copy(update=values)


def carried(request: ResolvedRequest) -> Iterator[tuple[StoredPicture, str | None]]:
    """The pictures of a request, each with the link that the vendor can open itself, if there is one."""
    control = request.controls[0]
    rows = (
        (control.picture, control.source_url),
        (request.init_image, request.init_url),
        (request.mask_image, request.mask_url),
    )
    for picture, url in rows:
        if picture is not None:
            yield picture, public(url)


def public(url: str | None) -> str | None:
    """A link that may be passed on: plain http is only read where the operator trusts a host of his own."""
    return url if url and url.startswith("https://") else None


def fit_weight(work: Settling) -> None:
    """One conditioning scale for all controls, inside its range."""
    first, *others = work.request.controls
    if any(row.weight != first.weight for row in others):
        detail = f"ModelsLab has one conditioning scale for all controls; {first.weight:g} of {first.modality} is used."
        work.say("adjusted", "weight", detail)
    low, high = _SCALE
    weight = min(max(first.weight, low), high)
    if weight != first.weight:
        work.say("adjusted", "weight", f"ModelsLab takes a weight from {low:g} to {high:g}; {weight:g} is used.")
    if weight < 1 and work.plan == "enterprise":
        detail = f"ModelsLab's enterprise page says at least 1, its other pages {low:g}; {weight:g} is sent."
        work.say("assumed", "weight", detail)
    work.change(controls=(first.model_copy(update={"weight": weight}), *others))


def fit_guidance(work: Settling) -> None:
    """Classifier-free guidance, 1 to 20."""
    asked = work.request.guidance
    if asked is None:
        return
    low, high = _GUIDANCE
    guidance = min(max(asked, low), high)
    if guidance != asked:
        work.say("adjusted", "guidance", f"ModelsLab takes guidance from {low:g} to {high:g}; {guidance:g} is used.")
    work.change(guidance=guidance)


def fit_steps(work: Settling) -> None:
    """Denoising steps, 1 to 50 as the page says."""
    asked = work.request.steps
    if asked is None:
        return
    low, high = _STEPS
    steps = min(max(asked, low), high)
    if steps != asked:
        work.say("adjusted", "steps", f"ModelsLab takes {low} to {high} steps; {steps} is used.")
    elif steps not in _UNDISPUTED_STEPS:
        detail = f"ModelsLab's pages disagree (1 to 50 steps, or only 21 and 31); {steps} is sent."
        work.say("assumed", "steps", detail)
    work.change(steps=steps)


def fit_pictures(work: Settling) -> None:
    """Pictures beyond the upload's limit go inside the request, where the vendor names no limit.

    Raises:
        RequestError: `invalid_request` when they are too large for that too.
    """
    rows = list(carried(work.request))
    too_large = any(url is None and picture.size_bytes > UPLOAD_LIMIT_BYTES for picture, url in rows)
    if not (too_large or work.options.base64):
        return
    total = sum({picture.sha256: picture.size_bytes for picture, _ in rows}.values())
    if total > MAX_INLINE_BYTES:
        raise RequestError(
            "invalid_request",
            f"The pictures are too large for ModelsLab: {total:,} bytes as they are stored (PNG).",
            hint="Pass them as https links, or smaller: results have at most 1024 pixels a side.",
        )
    if not work.options.base64:
        work.options = work.options.model_copy(update={"base64": True})
        detail = f"A picture is larger than the {UPLOAD_LIMIT_BYTES:,} bytes of an upload, so base64 is used."
        work.say("adjusted", "base64", detail)
