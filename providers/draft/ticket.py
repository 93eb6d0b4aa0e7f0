"""The draft engine's whole memory of a job: a ticket that the caller keeps, so that a restart loses nothing."""

from urllib.parse import urlencode

from controlnet_mcp.providers.types import Frozen

ORIGIN = "draft://engine"


class TicketControl(Frozen):
    """One control: canonical modality, the picture as `blob:<sha256>`, conditioning scale 0 to 2."""

    modality: str
    image: str
    weight: float = 1.0


class Ticket(Frozen):
    """An accepted job: the submitted fields and when it was accepted (seconds since the epoch)."""

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
    simulate: str | None = None
    seconds: float = 3.0
    mark: bool = True
    accepted_at: float = 0.0

    def image_url(self, index: int) -> str:
        """Where the engine draws picture `index` of this job."""
        query = urlencode({"ticket": self.model_dump_json()})
        return f"{ORIGIN}/v1/images/{index}?{query}"
