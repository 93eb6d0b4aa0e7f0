"""What the draft engine is asked to draw."""

from dataclasses import dataclass

from controlnet_mcp.providers.draft.canvas import Rgb


@dataclass(frozen=True, slots=True)
class Layer:
    """One control.

    Attributes:
        modality: Canonical name from `controlnet_mcp.images.modalities`.
        rgb: The ready control map, or the picture itself for photo-like modalities; any size.
        weight: Conditioning scale, 0 to 2: how strongly structure shows.
    """

    modality: str
    rgb: Rgb
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Brief:
    """What to draw.

    Attributes:
        prompt: Words.
        layers: Controls; none makes a picture of the mood alone, or of `init`.
        width: Pixels across, at least 16.
        height: Pixels down, at least 16.
        seed: Decides what the words leave open.
        negative_prompt: Colours, moods, media and things to leave out.
        init: Start picture.
        mask: White (above 127) is repainted, all else stays `init` exactly.
        strength: How far to leave `init`, 0 to 1.
        mark: Whether to set the small corner mark.
    """

    prompt: str
    layers: tuple[Layer, ...]
    width: int
    height: int
    seed: int
    negative_prompt: str = ""
    init: Rgb | None = None
    mask: Rgb | None = None
    strength: float = 0.75
    mark: bool = True
