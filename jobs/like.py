"""Repeating a job with changes: what is not said is as it was, on another provider too."""

from collections.abc import Mapping

from pydantic import JsonValue

from controlnet_mcp.images.errors import RequestError
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.wish import Wish
from controlnet_mcp.providers.values import Notice

_OF_THE_PROVIDER = ("model", "scheduler", "provider_options")
"""What means something to one provider only."""
_OF_THE_PICTURE = "control_is_map"
"""What is said of `control_image`, and of no other picture."""
_REMOVABLE: Mapping[str, tuple[str, ...]] = {
    "init_image": ("init_image", "mask_image", "strength"),
    "mask_image": ("mask_image",),
    "negative_prompt": ("negative_prompt",),
    "model": ("model",),
    "scheduler": ("scheduler",),
}
"""What an empty text takes out, with all that means nothing without it."""


def repeated(
    earlier: JobRecord, changes: Mapping[str, JsonValue], *, by_link: bool = False
) -> tuple[Wish, tuple[Notice, ...]]:
    """The wish of an earlier job with changes.

    It goes to the provider that drew it and with the seed that was used, unless the changes name others. An empty text
    takes out what the earlier job had (a start image, a negative prompt).

    Args:
        earlier: A job of the same caller.
        changes: Fields of `Wish`, as far as they were given; checked already.
        by_link: Whether the provider only takes links: then the links that the earlier job was given are used again,
            where there were any, and not the pictures that were read from them.

    Returns:
        The wish, and what of the earlier one could not be taken over.

    Raises:
        RequestError: `unsupported` when the record of the job is too old to be repeated.
    """
    if earlier.wish is None:
        raise RequestError(
            "unsupported",
            f"The job {earlier.job_id} was made by a version that did not keep enough to repeat it.",
            hint="Give prompt and control_image without like_job; job_status shows what it was.",
        )
    seed = earlier.request.seed if earlier.seed is None else earlier.seed
    before = earlier.wish.model_dump(mode="json") | {"provider": earlier.provider, "seed": seed}
    before |= _links(earlier) if by_link else {}
    provider = changes.get("provider", earlier.provider)
    lost = [name for name in _OF_THE_PROVIDER if provider != earlier.provider and name not in changes and before[name]]
    if "control_image" in changes:
        before.pop(_OF_THE_PICTURE)
    removed = {name for field, names in _REMOVABLE.items() if changes.get(field) == "" for name in names}
    kept = {name: value for name, value in before.items() if name not in {*lost, *removed}}
    given = {name: value for name, value in changes.items() if not (name in _REMOVABLE and value == "")}
    return Wish.model_validate(kept | given), tuple(_lost(name, earlier) for name in lost)


def _links(earlier: JobRecord) -> dict[str, str]:
    """The links that pictures were read from, as far as they went to the provider unchanged."""
    request = earlier.request
    links = {"control_image": request.controls[0].source_url, "init_image": request.init_url}
    return {name: link for name, link in (links | {"mask_image": request.mask_url}).items() if link}


def _lost(name: str, earlier: JobRecord) -> Notice:
    detail = (
        f"{name} of the earlier job means something to {earlier.provider} only and was not taken over; "
        f"give {name} for one of the new provider's."
    )
    return Notice(kind="adjusted", feature=name, detail=detail)
