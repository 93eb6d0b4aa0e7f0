"""Depth and normal maps: objects from their breaks, form from their slopes."""

import numpy as np

from controlnet_mcp.providers.draft import scenery
from controlnet_mcp.providers.draft.canvas import Field, Mask, Plane, Rgb, blend, blurred, gradients, plane, smoothstep
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.paint_lines import scene_from_lines
from controlnet_mcp.providers.draft.palette import mix
from controlnet_mcp.providers.draft.scene import Scene


def nearness(rgb: Rgb) -> Plane:
    """A depth map as 0 farthest to 1 nearest, stretched to its own range."""
    depth = plane(rgb.astype(np.float32).mean(axis=2) / 255)
    low, high = float(depth.min()), float(depth.max())
    return plane((depth - low) / max(high - low, 0.05))


def depth_breaks(near: Plane) -> Plane:
    """Lines where depth jumps, as coverage."""
    soft = blurred(near, 1.0)
    x, y = gradients(soft)
    return smoothstep(plane(np.hypot(x, y)), 0.022, 0.05)


def depth_shade(near: Plane, look: Look) -> Plane:
    """Form shading of a depth map; slopes are measured against the map's own usual slope."""
    soft = blurred(near, max(min(near.shape) / 220, 1.2))
    x, y = gradients(soft)
    usual = float(np.percentile(np.hypot(x, y), 80)) + 1e-4
    lit = -(x * look.light[0] + y * look.light[1]) / (usual * 2.0 + 0.003)
    return plane(np.tanh(lit * 1.1))


def scene_from_depth(rgb: Rgb, look: Look) -> Scene:
    """Layers of air: what is far takes the sky's colour, what is near the mood's accents.

    Args:
        rgb: Depth map, near is bright, at the size of the plan.
        look: The brief.
    """
    near = nearness(rgb)
    lines = depth_breaks(near)
    scene = scene_from_lines(lines, look)
    scene.shade = plane(np.clip(depth_shade(near, look) + 0.25 * scene.shade, -1, 1))
    empty = _empty(near)
    warm = mix(look.accents[0], look.theme.light, 0.3)
    scene.colour = blend(scene.colour, warm, plane(smoothstep(near, 0.55, 1.0) * 0.25))
    scene.far, scene.measured = plane(np.clip(1.05 - near * 1.5, 0, 1)), True
    scene.sky = plane(blurred(plane(empty), 1.0))
    height, width = near.shape
    sky, glow = scenery.sky(look, height, width, 0.65) if look.setting != "indoor" else _wall(look, height, width)
    scene.colour = blend(scene.colour, sky, scene.sky)
    scene.glow = plane(np.maximum(scene.glow * (1 - scene.sky), glow * scene.sky))
    scene.shade = plane(scene.shade * (1 - scene.sky))
    return scene


def _wall(look: Look, height: int, width: int) -> tuple[Field, Plane]:
    return scenery.backdrop(look, height, width), np.zeros((height, width), dtype=np.float32)


def _empty(near: Plane) -> Mask:
    """The farthest places, down to the lowest row that has a tenth of them: a hole in the ground is no sky."""
    farthest = np.less(near, 0.03)
    rows = np.flatnonzero(np.greater(farthest.mean(axis=1), 0.1))
    found = np.zeros(near.shape, dtype=np.bool_)
    if rows.size:
        found[: int(rows[-1]) + 1] = farthest[: int(rows[-1]) + 1]
    return found


def normal_shade(rgb: Rgb, look: Look) -> Plane:
    """Light a normal map (red right, green up, blue to the viewer): -1 in shadow, 0 flat, 1 lit."""
    normal = rgb.astype(np.float32) / 127.5 - 1
    x_light, y_light = look.light
    facing = normal[..., 0] * x_light - normal[..., 1] * y_light + 0.55 * (normal[..., 2] - 1)
    return plane(np.tanh(facing * 1.25))


def scene_from_normals(rgb: Rgb, look: Look) -> Scene:
    """Objects from breaks in direction, modelled by the map itself.

    Args:
        rgb: Normal map at the size of the plan.
        look: The brief.
    """
    soft = blurred(plane(rgb.astype(np.float32) / 255), 1.0)
    slopes = [np.hypot(*gradients(plane(soft[..., channel]))) for channel in range(3)]
    strength = plane(np.sqrt(np.square(slopes).sum(axis=0)))
    scene = scene_from_lines(smoothstep(strength, 0.05, 0.11), look)
    shade = normal_shade(rgb, look)
    scene.shade = plane(np.clip(shade * 1.1 + 0.15 * scene.shade, -1, 1))
    rim = smoothstep(plane(1 - (rgb[..., 2].astype(np.float32) / 127.5 - 1)), 0.55, 0.95)
    scene.colour = blend(scene.colour, mix(look.theme.sky[1], look.theme.light, 0.5), plane(rim * 0.3))
    scene.sky = plane(scene.sky * 0.5)
    return scene


def shade_more(scene: Scene, shade: Plane, weight: float) -> Scene:
    """Add another control's shading to a scene."""
    scene.shade = plane(np.clip(scene.shade * (1 - 0.5 * min(weight, 1)) + shade * weight, -1, 1))
    return scene


def air(scene: Scene, near: Plane, weight: float) -> Scene:
    """Add a depth control's distances to a scene."""
    scene.far = plane(np.clip(scene.far * (1 - min(weight, 1)) + (1 - near) * 0.9 * weight, 0, 1) * (1 - scene.sky))
    return scene
