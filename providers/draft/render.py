"""Draws a picture on the structure of controls, without weights: words choose medium, mood and colours, no content."""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from controlnet_mcp.images.modalities import MODALITIES, Structure
from controlnet_mcp.images.resize import to_frame
from controlnet_mcp.providers.draft.adapter import Ticket, TicketControl
from controlnet_mcp.providers.draft.canvas import Plane, Rgb, blend, blurred, distance, plane, resized
from controlnet_mcp.providers.draft.media import PAINTERS
from controlnet_mcp.providers.draft.scene import Scene, form, from_classes, from_lines, from_photo, from_relief, peopled
from controlnet_mcp.providers.draft.words import Look, read

_LEAD: tuple[Structure, ...] = ("photo", "classes", "lines", "depth", "normal", "skeleton")
"""The control that says most about colour and place leads; the others add what they know."""
_HALF = 127
"""Level above which paper is light, and a mask means: repaint."""


def draw(ticket: Ticket, index: int, picture: Callable[[str], Rgb]) -> Rgb:
    """Draw picture `index` of a job, each with a seed of its own: the same ticket gives the same bytes.

    `picture` gives the pixels of a picture that the ticket names, of any size.
    """
    picture = cache(picture)  # decoding takes longer than looking again
    words = f"{ticket.model} of {ticket.prompt}" if ticket.model else ticket.prompt
    look = read(words, ticket.negative_prompt, ticket.seed + index)
    scene = _composed(ticket, look, picture)
    paint, opacity = PAINTERS[look.medium]
    surface, line_colour = paint(scene, look)
    size = (ticket.width, ticket.height)
    opacity *= 0.7 if scene.pictured else 1  # a photo has contrast of its own
    given = [control for control in ticket.controls if _structure(control) == "lines"]
    drawn = [_opaque(_line_plane(picture(control.image), size), control.weight, opacity) for control in given]
    if not given:
        weight = max((control.weight for control in ticket.controls), default=1.0)
        drawn = [_opaque(resized(scene.lines, size), weight, 0.8 * opacity)]
    lines = np.maximum.reduce(drawn)
    bytes_of = [np.asarray(field * 255 + 0.5, dtype=np.uint8) for field in (surface, line_colour)]
    below, above = (resized(values, size) for values in bytes_of)
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(look.key, "big")))
    for start in range(0, ticket.height, 256):  # lines and grain band by band, which needs little memory
        rows = np.s_[start : start + 256]
        band = below[rows].astype(np.float32)
        band += (above[rows] - band) * lines[rows][..., None]
        band += rng.standard_normal((*band.shape[:2], 1), dtype=np.float32) * 2.6
        below[rows] = np.clip(band + 0.5, 0, 255)
    return _confined(below, ticket, picture)


def _structure(control: TicketControl) -> Structure:
    return MODALITIES[control.modality].structure


def _composed(ticket: Ticket, look: Look, picture: Callable[[str], Rgb]) -> Scene:
    """One scene of all the controls, at the size at which the medium paints; a photo leads."""
    size = np.asarray((ticket.width, ticket.height))
    # from some size on, regions and light are found, and the surface is painted, smaller than the lines
    scales = (min(1.0, (side**2 / size.prod()) ** 0.5) for side in (640, 1280))
    plan, work = ((max(round(size[0] * scale), 8), max(round(size[1] * scale), 8)) for scale in scales)
    controls = sorted(ticket.controls, key=lambda row: (row.photo is None, _LEAD.index(_structure(row))))
    lead = controls[0] if controls else None
    start = to_frame(picture(ticket.init_image), *work) if ticket.init_image else None
    photo = to_frame(picture(lead.photo or lead.image), *work) if lead else start
    if photo is None:
        scene = from_lines(np.zeros(plan[::-1], dtype=np.float32), look)
    elif lead is None or lead.photo or _structure(lead) == "photo":
        if ticket.mask_image:  # what is repainted begins as what surrounds it, in a breath of the mood's colour
            hole = to_frame(picture(ticket.mask_image), *work).max(axis=2) > _HALF
            small = resized(photo, (max(work[0] // 8, 8), max(work[1] // 8, 8)))
            there = cv2.resize(cv2.dilate(hole.astype(np.uint8), np.ones((17, 17), dtype=np.uint8)), small.shape[1::-1])
            around = resized(np.asarray(cv2.inpaint(small, there, 3, cv2.INPAINT_TELEA), dtype=np.uint8), work)
            fill = blend(around, plane(look.accents[0]) * 255, 0.25)
            photo = np.asarray(np.where(hole[..., None], fill, photo), dtype=np.uint8)
        scene = from_photo(photo, look, lead.modality if lead else "reference")
    elif _structure(lead) == "lines":
        scene = from_lines(_line_plane(picture(lead.image), plan), look)
    else:
        make = {"classes": from_classes, "skeleton": peopled}.get(_structure(lead), from_relief)
        scene = make(to_frame(picture(lead.image), *plan), look)
    for control in controls:
        if control is not lead or control.photo or _structure(control) in {"depth", "normal"}:
            _add(scene, control, look, picture(control.image))
    planes = (scene.colour, scene.lines, scene.shade, scene.far, scene.sky, scene.glow)
    scene = Scene(*(resized(values, work) for values in planes), pictured=scene.pictured)
    if start is not None and ticket.strength < 1:  # the start picture's colours lead, the more the lower it is
        colours = blurred(plane(start.astype(np.float32) / 255), max(min(work) / 256, 0.8))
        scene.colour = blend(scene.colour, colours, 1 - ticket.strength**1.5)
    return scene


def _add(scene: Scene, control: TicketControl, look: Look, rgb: Rgb) -> None:
    """Work what a control knows into a scene: lines their ink, depth and normals their form, poses figures."""
    size, weight = (int(scene.colour.shape[1]), int(scene.colour.shape[0])), min(control.weight, 1.0)
    structure = _structure(control)
    if structure == "lines":
        scene.lines = plane(np.maximum(scene.lines * 0.5, _line_plane(rgb, size) * weight))
    elif structure in {"depth", "normal"}:
        shade, far = form(to_frame(rgb, *size), structure, look)
        strength = weight * (0.3 if scene.pictured else 1.0)
        scene.shade = plane(np.clip(scene.shade * (1 - 0.7 * weight) + shade * strength, -1, 1) * (1 - scene.sky))
        scene.far = plane(np.maximum(scene.far * (1 - weight), far * strength * (1 - scene.sky)))
    elif control.photo is None and structure == "skeleton":
        peopled(to_frame(rgb, *size), look, scene)
    elif control.photo is None:
        scene.colour = blend(scene.colour, to_frame(rgb, *size).astype(np.float32) / 255, 0.35 * weight)


def _line_plane(rgb: Rgb, size: tuple[int, int]) -> Plane:
    """Line coverage, 0 to 1, of a line map at a size: also for dark lines on light paper, and thin or faint lines."""
    peak = np.asarray(rgb.max(axis=2), dtype=np.uint8)
    if int(np.median(peak)) > _HALF:
        peak = np.asarray(255 - rgb.min(axis=2), dtype=np.uint8)
    shrink = max(rgb.shape[0] / size[1], rgb.shape[1] / size[0])
    if shrink > 1.5:  # noqa: PLR2004  # averaging would wash thin lines out: widen them first
        peak = np.asarray(cv2.dilate(peak, np.ones((round(shrink), round(shrink)), dtype=np.uint8)), dtype=np.uint8)
    scaled = to_frame(peak, *size)
    seen = scaled[scaled > 24]  # noqa: PLR2004  # above the noise of JPEG
    strong = max(float(np.percentile(seen, 90)) if seen.size else 255.0, 60.0)
    return plane(np.clip(plane(scaled) / strong, 0, 1))


def _opaque(lines: Plane, weight: float, strength: float) -> Plane:
    """Opacity of lines: conditioning scale 0 leaves a trace, 1 is normal, 2 full and bolder."""
    share = strength * (0.12 + 0.88 * weight) if weight <= 1 else min(strength + 0.3 * (weight - 1), 1.0)
    crisp = (lines - 0.5) * 1.3 + 0.5  # enlarged lines are soft
    return plane(np.clip(crisp * max(weight, 1), 0, 1) * share)


def _confined(result: Rgb, ticket: Ticket, picture: Callable[[str], Rgb]) -> Rgb:
    """Blend with the start picture, confine to the mask (falling to 0 at its border), set the mark.

    The mark is the word `draft` on a translucent pill in the lower right corner, where all of it may be painted.
    """
    allowed = np.ones(result.shape[:2], dtype=np.bool_)
    if ticket.init_image:
        start = to_frame(picture(ticket.init_image), ticket.width, ticket.height)
        share = np.full(result.shape[:2], 1 - (1 - ticket.strength) ** 2.5, dtype=np.float32)
        if ticket.mask_image:
            mask = to_frame(picture(ticket.mask_image), ticket.width, ticket.height)
            allowed = np.asarray(mask.max(axis=2) > _HALF, dtype=np.bool_)
            share *= np.clip(distance(allowed) / max(min(mask.shape[:2]) / 40, 2.0), 0, 1) * allowed
        result = np.asarray(blend(start, result, share) + 0.5, dtype=np.uint8)
    if not ticket.mark:
        return result
    height, width = result.shape[:2]
    size = max(round(min(height, width * 0.75) * 0.025), 8)
    font = ImageFont.load_default(size)
    left, top, right, bottom = (round(edge) for edge in font.getbbox("draft"))
    pill = (round(right - left + 1.2 * size), round(bottom - top + 0.7 * size))
    x, y = width - pill[0] - size // 2, height - pill[1] - size // 2
    if min(x, y) < 0 or not bool(allowed[y : y + pill[1], x : x + pill[0]].all()):
        return result
    plate = Image.new("RGBA", pill, (0, 0, 0, 0))
    pen = ImageDraw.Draw(plate)
    pen.rounded_rectangle((0, 0, pill[0] - 1, pill[1] - 1), pill[1] // 2, fill=(22, 22, 28, 120))
    pen.text((round(0.6 * size) - left, round(0.35 * size) - top), "draft", font=font, fill=(255, 255, 255, 225))
    marked = Image.fromarray(result)
    marked.paste(plate, (x, y), plate)
    return np.asarray(marked, dtype=np.uint8)
