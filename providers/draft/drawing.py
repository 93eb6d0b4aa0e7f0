"""From a ticket to what the renderer draws: reads the pictures that the ticket names."""

from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.decode import decode
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.picture import RESULT_LIMITS
from controlnet_mcp.providers.draft.render import Brief, Layer
from controlnet_mcp.providers.draft.ticket import Ticket


def brief_of(ticket: Ticket, index: int, blobs: BlobStore) -> Brief:
    """Load the pictures of a job for its picture `index`; each has a seed of its own."""
    layers = tuple(Layer(row.modality, _pixels(row.image, blobs), row.weight) for row in ticket.controls)
    medium = f"{ticket.model} of " if ticket.model else ""
    return Brief(
        prompt=medium + ticket.prompt,
        layers=layers,
        width=ticket.width,
        height=ticket.height,
        seed=ticket.seed + index,
        negative_prompt=ticket.negative_prompt,
        init=_pixels(ticket.init_image, blobs) if ticket.init_image else None,
        mask=_pixels(ticket.mask_image, blobs) if ticket.mask_image else None,
        strength=ticket.strength,
        mark=ticket.mark,
    )


def _pixels(name: str, blobs: BlobStore) -> Rgb:
    return decode(blobs.get(name.removeprefix("blob:")), RESULT_LIMITS)
