"""From a line drawing to a scene."""

import numpy as np

from controlnet_mcp.providers.draft import colouring, light, scenery, wash
from controlnet_mcp.providers.draft.canvas import Field, Plane, blend, blurred, grid, plane, smoothstep
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.regions import segment
from controlnet_mcp.providers.draft.roles import fullness
from controlnet_mcp.providers.draft.scene import Places, Scene
from controlnet_mcp.providers.draft.shapes import grouped, outlined, shapes


def scene_from_lines(lines: Plane, look: Look) -> Scene:
    """Find the regions of a drawing, colour and light them.

    Args:
        lines: Line coverage, 0 to 1, at the size of the plan.
        look: The brief.
    """
    fine = segment(lines)
    if not int(fine.max()):
        return _empty(lines, look)
    shape = shapes(fine, lines)
    group = grouped(fine, shape)
    found = colouring.coloured(shape, group, look)
    where = colouring.places(fine, found)
    paint = colouring.painted(fine, shape, found, look)
    colour, sky_glow, horizon = _set(paint, where, look)
    swell = np.zeros(lines.shape, dtype=np.float32)
    loose = swell
    vague = 1 - float(smoothstep(plane(outlined(fine, lines)), 0.4, 0.68))
    if vague > 0:
        sure = np.where(where.backdrop | where.ground, 0, np.where(where.sky, 1, found.sure[fine]))
        loose = blurred(plane((1 - sure) * vague), min(lines.shape) / 100)
        dense, swell = wash.implied(lines, look)
        colour = blend(colour, wash.washed(colour, lines, look, where), loose)
        colour = plane(colour * (1 - 0.42 * dense * loose)[..., None])
    things = colouring.things(fine, found)
    shadow = light.cast(things, look, min(lines.shape) * 0.05)
    colour = blend(colour, look.theme.shade, plane(shadow * 0.42 * (1 - where.sky)))
    relief = light.inflated(np.asarray(group[fine], dtype=np.int32), things)
    relief = plane(relief * plane(fullness(shape)[group][fine]))
    glow = plane(np.maximum(plane(found.glow[fine]) * 0.9, sky_glow))
    return Scene(
        colour=blurred(colour, 0.8),
        shade=plane(np.clip(light.shaded(relief, look) + 0.4 * swell * loose, -1, 1) * (1 - glow)),
        far=_distance(where, horizon),
        sky=plane(where.sky | where.backdrop),
        glow=glow,
        lines=lines,
    )


def _empty(lines: Plane, look: Look) -> Scene:
    """A map without lines, or all line: a picture of the mood."""
    height, width = lines.shape
    nothing = np.zeros((height, width), dtype=np.float32)
    field = (scenery.wide if look.setting == "indoor" else scenery.vista)(look, height, width)
    return Scene(field, nothing, nothing.copy(), nothing.copy(), nothing.copy(), nothing.copy())


def _set(colour: Field, where: Places, look: Look) -> tuple[Field, Plane, float]:
    """Put sky, ground and backdrop behind the things; also what shines in the sky, and the horizon."""
    height, width = where.sky.shape
    glow = np.zeros((height, width), dtype=np.float32)
    rows = np.flatnonzero(where.ground.any(axis=1))
    horizon = float(np.clip(rows[0] / height, 0.3, 0.85)) if rows.size else 0.66
    if bool(where.sky.any()):
        sky, shining = scenery.sky(look, height, width, horizon)
        colour = plane(np.where(where.sky[..., None], sky, colour))
        glow = plane(shining * where.sky)
    if bool(where.ground.any()):
        ground = scenery.ground(look, height, width, horizon)
        colour = plane(np.where(where.ground[..., None], blend(ground, colour, 0.35), colour))
    if bool(where.backdrop.any()):
        colour = plane(np.where(where.backdrop[..., None], scenery.wide(look, height, width), colour))
    return colour, glow, horizon


def _distance(where: Places, horizon: float) -> Plane:
    """Far at the horizon, near at the foot, for ground only; things stand at half distance at most."""
    y, _ = grid(*where.sky.shape)
    depth = np.clip(1 - (y - horizon) / max(1 - horizon, 0.1) * 1.6, 0, 1)
    return plane(depth * where.ground)
