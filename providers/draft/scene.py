"""What a painter knows before choosing a medium."""

from dataclasses import dataclass

from controlnet_mcp.providers.draft.canvas import Field, Mask, Plane


@dataclass(slots=True)
class Scene:
    """A picture before its medium; everything has one size.

    Attributes:
        colour: Local colours, lit evenly.
        shade: Form shading: -1 in shadow, 0 neutral, 1 lit.
        far: 0 near to 1 far away; haze follows it.
        sky: 1 where there is sky or an empty backdrop.
        glow: 1 where something shines by itself (sun, lamp, lit window).
        lines: Coverage of the lines to keep, 0 to 1.
        measured: Whether `far` comes from a depth map.
        pictured: Whether `colour` is a given photo whose own light must stay.
    """

    colour: Field
    shade: Plane
    far: Plane
    sky: Plane
    glow: Plane
    lines: Plane
    measured: bool = False
    pictured: bool = False


@dataclass(frozen=True, slots=True)
class Places:
    """Where the setting shows: masks of sky, ground and backdrop."""

    sky: Mask
    ground: Mask
    backdrop: Mask
