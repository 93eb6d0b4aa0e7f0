"""The pictures that were handed in for a job, kept with it under names: so that it can be shown and repeated later.

A path, a link or a `data:` URI says little later: files change and links end. The record therefore keeps the wish with
every picture named by the job's own address of it (`controlnet://jobs/{job_id}/sources/{name}`), which belongs to the
job's caller as the job does. What was never read here (an asset of the provider, a link only it can follow) stays as it
was written.
"""

from collections.abc import Mapping

from controlnet_mcp.images.pictures import StoredPicture
from controlnet_mcp.jobs.addresses import source_uri
from controlnet_mcp.jobs.pictures import HandedIn
from controlnet_mcp.jobs.wish import Wish

CONTROL, START, MASK = "control_image", "init_image", "mask_image"
"""Names of sources, which are those of the wish's fields."""
PICTURES = frozenset({CONTROL, START, MASK, "extra_controls"})
"""The fields of a wish that name pictures."""


def extra_name(index: int) -> str:
    """The name of the picture of a further control, counted from 0."""
    return f"extra_control_{index}"


def sources_of(pictures: HandedIn) -> dict[str, StoredPicture]:
    """What was read, by name."""
    extras = {extra_name(index): picture for index, picture in enumerate(pictures.extras)}
    named = {CONTROL: pictures.main, **extras, START: pictures.init, MASK: pictures.mask}
    return {name: picture for name, picture in named.items() if picture is not None}


def kept_wish(wish: Wish, job_id: str, sources: Mapping[str, StoredPicture]) -> Wish:
    """The wish as it goes into the record: what was read here is named by the job's own addresses."""
    extras = [
        extra.model_copy(update={"image": source_uri(job_id, extra_name(index))})
        for index, extra in enumerate(wish.extra_controls)
    ]
    named = {name: source_uri(job_id, name) for name in (CONTROL, START, MASK) if name in sources}
    return wish.model_copy(update={**named, "extra_controls": extras})
