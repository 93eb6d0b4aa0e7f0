"""Draw a picture on the structure of controls, without weights: words choose medium, mood and colours, no content.

Each medium is a function that turns a scene into a painted surface and the colour of the lines on it.
"""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from controlnet_mcp.images.maps.arrays import Rgb, luminance, resized
from controlnet_mcp.images.modalities import MODALITIES, Structure
from controlnet_mcp.images.resize import to_frame
from controlnet_mcp.providers.draft.adapter import Ticket, TicketControl
from controlnet_mcp.providers.draft.canvas import (
    Field,
    Plane,
    along,
    blend,
    blurred,
    distance,
    fbm,
    gradients,
    grid,
    paper,
    plane,
    smoothstep,
    stream,
    unit_of,
    vivid,
)
from controlnet_mcp.providers.draft.scene import Scene, form, from_classes, from_lines, from_photo, from_relief, peopled
from controlnet_mcp.providers.draft.words import Look, from_hex, mix, read, shifted

_PAPER, _RICE, _BLACK = (plane(from_hex(code)) for code in ("fbf8f0", "f5eddb", "17171f"))


def _lit(scene: Scene, look: Look, strength: float = 1.0) -> Field:
    """Local colours under the mood's light: warm lights, coloured shadows, haze in the distance, dimmed at night."""
    theme, shade, dusk = look.theme, scene.shade * strength, plane(look.theme.shade)
    dark = plane(scene.colour * (0.45 + 0.55 * dusk) * 0.78 + dusk * 0.04)
    colour = blend(scene.colour, dark, plane(np.clip(-shade, 0, 1) * 0.8))
    light = plane(1 - (1 - colour) * (1 - 0.45 * plane(theme.light)))
    colour = blend(colour, light, plane(np.clip(shade, 0, 1) * 0.75))
    haze = (0.55 if theme.weather == "haze" else 0.38) * scene.far * (1 - scene.sky)
    colour = blend(colour, theme.sky[1], plane(haze))
    if theme.dim:
        night = plane((colour * 0.7 + luminance(colour)[..., None] * 0.3) * (0.5 + dusk * 0.9) * 0.82 + dusk * 0.1)
        colour = blend(colour, night, plane(theme.dim * 1.35 * (1 - 0.85 * scene.sky) * (1 - scene.glow)))
    return colour


def _ink_over(surface: Field, look: Look, dark: float, tint: float) -> Field:
    """Line colour: the mood's shadow over light places, its light over dark ones, each tinted by what is below."""
    near = blurred(surface, max(26 * unit_of(surface), 2.0))
    deep = plane(mix((0.06, 0.06, 0.09), look.theme.shade, 0.35)) * (1 - tint) + near * tint * dark
    pale = plane(mix(look.theme.light, look.theme.sky[1], 0.3)) * 0.9 + 0.08
    unseen = np.less(luminance(near)[..., None], 0.14)  # dark lines would not show
    return plane(np.clip(np.where(unseen, pale, deep), 0, 1))


def _deckle(height: int, width: int, look: Look, depth: float) -> Plane:
    """1 inside, falling to 0 at a torn, uneven border of unpainted paper."""
    y, x = (np.minimum(at, 1 - at) for at in grid(height, width))
    edge = np.minimum(y * height, x * width) / min(height, width)
    rough = fbm(height, width, stream(look.key, "deckle"), max(min(height, width) / 9, 4), 5)
    return smoothstep(plane(edge + (rough - 0.5) * depth * 1.1), depth * 0.35, depth * 0.75)


def illustration(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Gouache: soft matt colour with dry-brush traces on paper."""
    (height, width), unit = scene.shade.shape, unit_of(scene.shade)
    dry = fbm(height, width, stream(look.key, "dry"), 18 * unit, 3, stretch=5.0) - 0.5
    grain = paper(height, width, stream(look.key, "paper"))
    base = vivid(plane(_lit(scene, look, 0.9) * (1 + 0.12 * dry)[..., None]), 1.08)
    surface = plane(np.clip(base + 0.022 * grain[..., None], 0, 1))
    return surface, _ink_over(surface, look, 0.2, 0.35)


def watercolour(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Transparent pigment: pools, granulation, darker wash edges, white paper around."""
    (height, width), unit, rng = scene.shade.shape, unit_of(scene.shade), stream(look.key, "water")
    flow, cross = (fbm(height, width, rng, 46 * unit, 3) - 0.5 for _ in range(2))
    held = smoothstep(distance(np.less(scene.lines, 0.25)), 2, 14 * unit)  # lines hold the paint around them
    reach = (6 if scene.pictured else 16) * unit * held
    down, across = np.indices((height, width), dtype=np.float32)
    lit, reflect = _lit(scene, look, 0.75), cv2.BORDER_REFLECT
    base = plane(cv2.remap(lit, across + flow * reach, down + cross * reach, cv2.INTER_LINEAR, borderMode=reflect))
    slope = plane(np.hypot(*gradients(luminance(blurred(base, 1.2 * unit)))))
    rim = np.clip(blurred(slope, 1.5 * unit) * 9 * unit, 0, 0.35)
    pools, grain = fbm(height, width, rng, 120 * unit), paper(height, width, rng)
    density = np.clip((0.62 + 0.75 * (pools - 0.35) + rim) * (1 + 0.13 * grain), 0.18, 1.25)
    density *= 0.04 + 0.96 * _deckle(height, width, look, 0.06)
    # Pigment takes light away by Beer's law, so a thick wash turns deep and not grey.
    clear = np.clip(vivid(base, 1.25), 0.02, 1) ** density[..., None]
    surface = plane(np.clip(clear * _PAPER + 0.014 * grain[..., None], 0, 1))
    return surface, _ink_over(surface, look, 0.35, 0.5)


def ink(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Black washes and hatching on rice paper with a breath of colour."""
    (height, width), unit, rng = scene.shade.shape, unit_of(scene.shade), stream(look.key, "ink")
    base, grain = _lit(scene, look, 1.2), paper(height, width, rng)
    tone = blurred(luminance(base), 1.5 * unit)
    wash = (0.82 - tone) * 0.95 + (fbm(height, width, rng, 70 * unit) - 0.5) * 0.22
    wash = np.clip(wash, 0, 0.72) * (1 - 0.75 * scene.sky) * _deckle(height, width, look, 0.05)
    wobble = blurred(rng.standard_normal((height, width), dtype=np.float32), 9 * unit) * 40 * unit
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    dark, pitch = plane((0.62 - tone) * 1.6 if scene.pictured else -scene.shade), 1.4 * np.pi / max(6.5 * unit, 4.0)
    strokes = [smoothstep(plane(np.sin((across + wobble) * pitch)), 0.35, 0.95) for across in (x + y, x - y)]
    hatch = np.maximum(strokes[0] * smoothstep(dark, 0.12, 0.5), strokes[1] * smoothstep(dark, 0.45, 0.8))
    colour = blend(_RICE, vivid(base, 1.5), 0.3 if look.named else 0.16)
    cover = plane(np.clip(wash * (0.75 + 0.1 * grain) + hatch * 0.5, 0, 0.85))
    surface = plane(np.clip(blend(colour, _BLACK, cover) + 0.015 * grain[..., None], 0, 1))
    light = np.greater(luminance(blurred(surface, 4 * unit))[..., None], 0.3)  # in the dark lines are left open
    return surface, plane(np.where(light, _BLACK, _RICE))


def neon(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Tubes of light in a dark room, of two or three gas colours that drift over the picture."""
    (height, width), unit, first = scene.shade.shape, unit_of(scene.shade), look.accents[0]
    gases = look.named[:3] if look.named[1:] else (first, shifted(first, 0.0, 1.0, 110), look.accents[1])
    drift = fbm(height, width, stream(look.key, "gas"), 260 * unit, 2) * 1.3 + grid(height, width)[0] * 0.5 - 0.35
    hues = along(plane(drift), [shifted(colour, 0.05, 3.0) for colour in gases])
    hues = blend(hues, vivid(blurred(scene.colour, 5 * unit), 2.4), 0.75 if scene.pictured else 0.2)
    hues = plane(np.clip(hues / np.maximum(hues.max(axis=2, keepdims=True), 0.35), 0, 1))
    room = plane(mix((0.02, 0.015, 0.06), look.theme.shade, 0.22)) + hues * 0.06
    dark = room + _lit(scene, look) * (0.3 if scene.pictured else 0.13)
    tubes = plane(hues * np.maximum(scene.lines, scene.glow)[..., None])
    halo = blurred(tubes, 2.2 * unit) * 0.95 + blurred(tubes, 8 * unit) * 1.1 + blurred(tubes, 30 * unit) * 1.1
    # Dense drawings would flood the room with light: the halo is measured against how much line there is.
    load = 1.5 / (1 + 7 * float(scene.lines.mean()))
    surface = plane(np.clip(1 - (1 - np.clip(dark, 0, 1)) * np.exp(-halo * load), 0, 1))
    return surface, plane(np.clip(hues * 0.62 + 0.42, 0, 1))


PAINTERS: dict[str, tuple[Callable[[Scene, Look], tuple[Field, Field]], float]] = {
    "illustration": (illustration, 0.85),
    "watercolour": (watercolour, 0.72),
    "ink": (ink, 0.95),
    "neon": (neon, 0.95),
}
"""Name of `MEDIA` to what paints it, and how strongly lines cover in it at conditioning scale 1."""


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
