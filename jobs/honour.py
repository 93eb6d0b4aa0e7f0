"""Settings that a provider cannot honour become warnings, never a silent drop."""

from typing import get_args

from controlnet_mcp.images.errors import RequestError
from controlnet_mcp.jobs.wish import Wish
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.capabilities import Setting
from controlnet_mcp.providers.values import GenerationRequest, Notice

_SETTINGS: tuple[Setting, ...] = get_args(Setting)


def honour(request: GenerationRequest, wish: Wish, provider: Provider) -> tuple[GenerationRequest, list[Notice]]:
    """Leave out what the provider has no place for, and say so.

    Raises:
        RequestError: `invalid_request` when `strength` or `mask_image` is given without what it acts on.
    """
    _check_companions(wish)
    can = provider.capabilities
    lost = [name for name in _SETTINGS if name not in can.settings and getattr(wish, name) is not None]
    notices = [_ignored(name, provider.name) for name in lost]
    blank: dict[str, None] = {name: None for name in lost if name != "seed"}
    if wish.num_images > can.max_images:
        detail = f"{provider.name} draws at most {can.max_images} pictures at once; {wish.num_images} were asked for."
        notices.append(Notice(kind="adjusted", feature="num_images", detail=detail))
    controls = request.controls
    if not can.weights and any(control.weight != 1 for control in controls):
        notices.append(_ignored("weight", provider.name))
    if not can.control_range and any((control.start, control.end) != (0, 1) for control in controls):
        notices.append(_ignored("start and end of extra_controls", provider.name))
    return request.model_copy(update=blank), notices


def _check_companions(wish: Wish) -> None:
    if wish.strength is not None and wish.init_image is None:
        raise RequestError(
            "invalid_request",
            "strength says how far to leave init_image, but no init_image is given.",
            hint="Give init_image for image-to-image; for the strength of a control write its weight, as in canny:0.6.",
        )
    if wish.mask_image is not None and wish.init_image is None:
        raise RequestError(
            "invalid_request",
            "mask_image says which part of init_image to repaint, but no init_image is given.",
            hint="Give the picture to be repainted as init_image; it may be the same as control_image.",
        )


def _ignored(feature: str, provider: str) -> Notice:
    return Notice(kind="unsupported", feature=feature, detail=f"{provider} has no {feature}; it was left out.")
