"""Makes one scene of all the controls of a brief.

The control that says most about colour and place leads (picture, classes, lines, depth, normals, skeleton); the others
add what they know: lines their ink, depth its air, normals their light, skeletons their figures.
"""

import cv2
import numpy as np

from controlnet_mcp.images.modalities import MODALITIES, Structure
from controlnet_mcp.providers.draft import bust, classes, figure, filters, inkwork, photo, relief, tint
from controlnet_mcp.providers.draft.brief import Brief, Layer
from controlnet_mcp.providers.draft.canvas import Plane, Rgb, plane, resized, resized_rgb
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.paint_lines import scene_from_lines
from controlnet_mcp.providers.draft.scene import Scene
from controlnet_mcp.providers.draft.structure import line_plane, photo_field

_LEAD: tuple[Structure, ...] = ("photo", "classes", "lines", "depth", "normal", "skeleton")
Size = tuple[int, int]
"""Width and height."""


def compose(brief: Brief, look: Look, plan: Size, work: Size) -> Scene:
    """Build the scene.

    Args:
        brief: What to draw.
        look: Its words.
        plan: Size at which regions are found.
        work: Size at which the medium will paint.
    """
    layers = sorted(brief.layers, key=lambda layer: _LEAD.index(_structure(layer)))
    if not layers and brief.init is not None:
        layers = [Layer("reference", brief.init)]
    scene = (
        _led(layers[0], brief, look, plan, work) if layers else scene_from_lines(np.zeros(plan[::-1], np.float32), look)
    )
    for layer in layers[1:]:
        scene = _added(scene, layer, look)
    return _at(scene, work)


def _structure(layer: Layer) -> Structure:
    return MODALITIES[layer.modality].structure


def _nearest(rgb: Rgb, size: Size) -> Rgb:
    """Scale without mixing colours, which mean classes or limbs."""
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def _led(layer: Layer, brief: Brief, look: Look, plan: Size, work: Size) -> Scene:
    """The scene of one control alone; pictures keep their detail and are taken at the larger size."""
    match _structure(layer):
        case "photo":
            return _pictured(layer, brief, look, work)
        case "classes":
            return classes.scene_from_classes(_nearest(layer.rgb, plan), look)
        case "lines":
            return scene_from_lines(line_plane(layer.rgb, *plan), look)
        case "depth":
            return relief.scene_from_depth(resized_rgb(layer.rgb, *plan), look)
        case "normal":
            return relief.scene_from_normals(resized_rgb(layer.rgb, *plan), look)
        case "skeleton":
            return figure.scene_from_skeleton(_nearest(layer.rgb, plan), look)


def _pictured(layer: Layer, brief: Brief, look: Look, work: Size) -> Scene:
    field = photo_field(layer.rgb, *work)
    if brief.mask is not None:
        hole = resized_rgb(brief.mask, *work).max(axis=2) > 127  # noqa: PLR2004  # half way
        if bool(hole.any()) and not bool(hole.all()):
            field = filters.filled(field, np.asarray(hole, dtype=np.bool_), look)
    if layer.modality == "illusion":
        return photo.hidden(field, look)
    if layer.modality == "gray":
        return tint.tinted(field, look)
    return photo.restyled(field, look, layer.modality)


def _added(scene: Scene, layer: Layer, look: Look) -> Scene:
    """Work a further control into a scene; its size is the scene's."""
    height, width = scene.shade.shape
    size = (width, height)
    match _structure(layer):
        case "depth":
            near = relief.nearness(resized_rgb(layer.rgb, *size))
            scene = relief.air(scene, near, layer.weight)
            return relief.shade_more(scene, relief.depth_shade(near, look), min(layer.weight, 1.0))
        case "normal":
            shade = relief.normal_shade(resized_rgb(layer.rgb, *size), look)
            return relief.shade_more(scene, shade, min(layer.weight, 1.0))
        case "skeleton":
            return _peopled(scene, _nearest(layer.rgb, size), look)
        case "lines":
            lines = line_plane(layer.rgb, *size) * min(layer.weight, 1.0)
            scene.lines = plane(np.maximum(scene.lines * 0.5, lines))
            return scene
        case "photo" | "classes":
            return _echoed(scene, layer, size)


def _peopled(scene: Scene, rgb: Rgb, look: Look) -> Scene:
    """Stand figures in a scene."""
    labels, height = bust.bodies(rgb)
    colour, shade, lines = figure.dressed(scene.colour, labels, height, look)
    there = plane(labels > 0)
    scene.colour, scene.shade = colour, plane(scene.shade * (1 - there) + shade)
    scene.far, scene.sky = plane(scene.far * (1 - there)), plane(scene.sky * (1 - there))
    scene.lines = plane(np.maximum(scene.lines * (1 - 0.6 * there), lines))
    return scene


def _echoed(scene: Scene, layer: Layer, size: Size) -> Scene:
    """A second picture lends its colours."""
    share = 0.35 * min(layer.weight, 1.0)
    scene.colour = plane(scene.colour * (1 - share) + photo_field(layer.rgb, *size) * share)
    return scene


def _at(scene: Scene, size: Size) -> Scene:
    """The scene at another size."""
    if scene.shade.shape == size[::-1]:
        return scene
    return Scene(
        colour=resized(scene.colour, *size),
        shade=resized(scene.shade, *size),
        far=resized(scene.far, *size),
        sky=resized(scene.sky, *size),
        glow=resized(scene.glow, *size),
        lines=resized(scene.lines, *size),
        measured=scene.measured,
        pictured=scene.pictured,
    )


def final_lines(brief: Brief, scene: Scene, strength: float) -> Plane:
    """Opacity of the lines at full size: every line control's own, else those that the scene found."""
    size = (brief.width, brief.height)
    given = [layer for layer in brief.layers if _structure(layer) == "lines"]
    strongest = max((layer.weight for layer in brief.layers), default=1.0)
    if given:
        drawn = [inkwork.opacity(line_plane(layer.rgb, *size), layer.weight, strength) for layer in given]
        return plane(np.maximum.reduce(drawn))
    return inkwork.opacity(inkwork.larger(scene.lines, *size), strongest, strength * 0.8)
