"""Pictures of the draft engine, drawn without a server or a blob store."""

from dataclasses import dataclass
from typing import TypedDict, Unpack

from controlnet_mcp.providers.draft.adapter import Ticket, TicketControl
from controlnet_mcp.providers.draft.render import draw
from tests.support.sample_drawings import Rgb


@dataclass(frozen=True, slots=True)
class Given:
    """A control: its modality, the map or picture, its weight, and the photo that a map was made from."""

    modality: str
    rgb: Rgb
    weight: float = 1.0
    photo: Rgb | None = None


class Settings(TypedDict, total=False):
    """Fields of a ticket; the seed is 1 and nothing is marked unless said."""

    seed: int
    negative_prompt: str
    strength: float
    mark: bool


def drawn(
    prompt: str,
    *controls: Given,
    size: int | tuple[int, int] = 256,
    init: Rgb | None = None,
    mask: Rgb | None = None,
    **settings: Unpack[Settings],
) -> Rgb:
    """Draw a picture of a width and height (or square) as the service does."""
    width, height = (size, size) if isinstance(size, int) else size
    pictures = {f"control {index}": control.rgb for index, control in enumerate(controls)}
    photos = {f"photo {index}": row.photo for index, row in enumerate(controls) if row.photo is not None}
    named = pictures | photos | {name: rgb for name, rgb in (("init", init), ("mask", mask)) if rgb is not None}
    ticket = Ticket(
        reference="test",
        prompt=prompt,
        controls=tuple(
            TicketControl(
                modality=control.modality,
                image=f"control {index}",
                photo=None if control.photo is None else f"photo {index}",
                weight=control.weight,
            )
            for index, control in enumerate(controls)
        ),
        init_image=None if init is None else "init",
        mask_image=None if mask is None else "mask",
        width=width,
        height=height,
        seed=settings.get("seed", 1),
        negative_prompt=settings.get("negative_prompt", ""),
        strength=settings.get("strength", 0.75),
        mark=settings.get("mark", False),
    )
    return draw(ticket, 0, named.__getitem__)
