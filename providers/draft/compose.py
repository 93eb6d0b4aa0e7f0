"""Makes one scene of all the controls of a brief."""

from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.providers.draft import inkwork
from controlnet_mcp.providers.draft.brief import Brief
from controlnet_mcp.providers.draft.canvas import Plane, plane, resized
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.paint_lines import scene_from_lines
from controlnet_mcp.providers.draft.scene import Scene
from controlnet_mcp.providers.draft.structure import line_plane


def compose(brief: Brief, look: Look, plan: tuple[int, int], work: tuple[int, int]) -> Scene:
    lines = line_plane(brief.layers[0].rgb, *plan)
    scene = scene_from_lines(lines, look)
    w, h = work
    out = Scene(*(resized(getattr(scene, n), w, h) for n in ("colour", "shade", "far", "sky", "glow")), lines=line_plane(brief.layers[0].rgb, w, h))
    return out


def final_lines(brief, scene, strength):
    lines = line_plane(brief.layers[0].rgb, brief.width, brief.height)
    return inkwork.opacity(lines, brief.layers[0].weight, strength)
