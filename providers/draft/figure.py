"""Gives skeletons a body: a painter's mannequin with head, torso, clothes and a shadow."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.providers.draft import light, scenery
from controlnet_mcp.providers.draft.canvas import (
    Field,
    Plane,
    Rgb,
    blend,
    blurred,
    distance,
    grid,
    grown,
    plane,
    smoothstep,
)
from controlnet_mcp.providers.draft.classes import border_lines
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.objects import MATERIALS
from controlnet_mcp.providers.draft.palette import Colour, shifted
from controlnet_mcp.providers.draft.scene import Scene
from controlnet_mcp.providers.draft.skeleton import Limb, drawn, limbs, people

SKIN, HAIR, TOP, LEGS, SHOES = 1, 2, 3, 4, 5
"""Labels of a body's parts; 0 is everything else."""

_WIDTHS: dict[str, tuple[float, float]] = {
    "upper-arm": (0.185, 0.145),
    "forearm": (0.135, 0.095),
    "thigh": (0.25, 0.18),
    "shin": (0.175, 0.11),
    "neck": (0.15, 0.13),
}
"""Radii at the near and far end of each limb as shares of the body's unit (shoulder to hip), times one half."""

Point = npt.NDArray[np.float64]


class _Body:
    """Draws one person into label and height planes; all sizes follow from the skeleton's own."""

    def __init__(self, bones: Sequence[Limb], labels: npt.NDArray[np.uint8], height: Plane) -> None:
        self.labels = labels
        self.height = height
        self.bones = bones
        flanks = [b.length for b in bones if b.kind == "flank"]
        limbs_only = [b.length for b in bones if b.kind in {"thigh", "shin", "upper-arm"}]
        self.unit = max(flanks, default=1.1 * max(limbs_only, default=max(b.length for b in bones)))

    def draw(self) -> None:
        """Legs first, then torso, arms and head: what is nearer covers what is farther."""
        neck = self._neck()
        for kind, label in (("thigh", LEGS), ("shin", LEGS)):
            self._limbs(kind, label, neck)
        self._feet(neck)
        self._torso(neck)
        self._limbs("upper-arm", TOP, neck)
        self._limbs("forearm", SKIN, neck)
        self._hands(neck)
        self._head(neck)

    def _of(self, kind: str) -> list[Limb]:
        return [bone for bone in self.bones if bone.kind == kind]

    def _neck(self) -> Point:
        """The point that shoulders, flanks and neck share."""
        ends = [
            np.asarray(end) for b in self.bones if b.kind in {"shoulder", "flank", "neck"} for end in (b.start, b.end)
        ]
        if not ends:
            return np.asarray(self.bones[0].start)
        return min(ends, key=lambda spot: sum(float(np.hypot(*(spot - other))) for other in ends))

    def _ordered(self, bone: Limb, hub: Point) -> tuple[Point, Point]:
        """Ends of a limb, the one nearer the trunk first."""
        a, b = np.asarray(bone.start), np.asarray(bone.end)
        for parent in (
            {"forearm": "upper-arm", "shin": "thigh", "thigh": "flank", "upper-arm": "shoulder"}.get(bone.kind, ""),
        ):
            spots = [np.asarray(end) for other in self._of(parent) for end in (other.start, other.end)]
            if spots:
                near_a = min(float(np.hypot(*(a - s))) for s in spots)
                near_b = min(float(np.hypot(*(b - s))) for s in spots)
                return (a, b) if near_a <= near_b else (b, a)
        return (a, b) if np.hypot(*(a - hub)) <= np.hypot(*(b - hub)) else (b, a)

    def _limbs(self, kind: str, label: int, neck: Point) -> None:
        wide, thin = _WIDTHS[kind]
        for bone in self._of(kind):
            a, b = self._ordered(bone, neck)
            self._capsule(a, b, wide * self.unit * 0.5, thin * self.unit * 0.5, label)

    def _capsule(self, a: Point, b: Point, wide: float, thin: float, label: int) -> None:
        """A tapered, rounded limb; its middle swells a little as a muscle does."""
        mask = np.zeros_like(self.labels)
        for share in np.linspace(0, 1, 40).tolist():
            radius = wide + (thin - wide) * share + 0.1 * wide * np.sin(np.pi * min(share * 1.4, 1))
            spot = a + (b - a) * share
            cv2.circle(mask, (round(spot[0] * 16), round(spot[1] * 16)), max(round(radius * 16), 16), 1, -1, shift=4)
        self._stamp(mask, label)

    def _stamp(self, mask: npt.NDArray[np.uint8], label: int) -> None:
        inside = mask > 0
        deep = distance(np.asarray(inside, dtype=np.bool_))
        top = float(deep.max()) + 1e-6
        self.height[inside] = np.sqrt(np.maximum(1 - (1 - deep[inside] / top) ** 2, 0)) * top
        self.labels[inside] = label

    def _torso(self, neck: Point) -> None:
        hips = [self._ordered(bone, neck)[1] for bone in self._of("flank")]
        shoulders = [self._ordered(bone, neck)[1] for bone in self._of("shoulder")]
        if not hips or not shoulders:
            return
        middle = (sum(hips, np.zeros(2)) / len(hips)) * 0.45 + neck * 0.55
        spots: list[tuple[Point, float]] = [(s, 0.105) for s in shoulders] + [(h, 0.12) for h in hips]
        spots += [(neck, 0.08)] + [(middle + (s - neck) * 0.62, 0.1) for s in shoulders]
        ring = np.concatenate(
            [
                s + self.unit * r * np.stack([np.cos(t), np.sin(t)], axis=1)
                for s, r in spots
                for t in [np.linspace(0, 2 * np.pi, 16)]
            ]
        )
        mask = np.zeros_like(self.labels)
        hull = cv2.convexHull(np.round(ring).astype(np.int32).reshape(-1, 1, 2))
        cv2.fillConvexPoly(mask, hull, 1, cv2.LINE_8)
        self._stamp(mask, TOP)
        belt = mask.copy()
        low = sum(hips, np.zeros(2)) / len(hips)
        up = (neck - low) / max(float(np.hypot(*(neck - low))), 1.0)
        rows, columns = np.indices(belt.shape)
        below = (columns - low[0]) * up[0] + (rows - low[1]) * up[1] < 0.03 * self.unit
        self.labels[(belt > 0) & below] = LEGS

    def _head(self, neck: Point) -> None:
        bones = self._of("neck")
        if bones:
            _, nose = self._ordered(bones[0], neck)
        elif self._of("face"):
            nose = np.asarray(self._of("face")[0].start)
        else:
            return
        axis = nose - neck
        reach = max(float(np.hypot(*axis)), 0.3 * self.unit)
        axis = axis / max(float(np.hypot(*axis)), 1e-6)
        size = float(np.clip(0.56 * reach, 0.17 * self.unit, 0.26 * self.unit))
        self._capsule(neck, neck + axis * reach * 0.7, 0.085 * self.unit, 0.08 * self.unit, SKIN)
        centre, turn = nose + axis * size * 0.22, float(np.degrees(np.arctan2(axis[1], axis[0])))
        for offset, scale, label in ((0.16, 1.13, HAIR), (-0.12, 0.98, SKIN)):
            mask = np.zeros_like(self.labels)
            at = centre + axis * size * offset
            axes = (round(size * 1.22 * scale * 16), round(size * 0.94 * scale * 16))
            cv2.ellipse(mask, (round(at[0] * 16), round(at[1] * 16)), axes, turn, 0, 360, 1, -1, cv2.LINE_8, 4)
            self._stamp(mask, label)
        self._fringe(centre, axis, size)

    def _fringe(self, centre: Point, axis: Point, size: float) -> None:
        """Hair over the forehead."""
        rows, columns = np.indices(self.labels.shape)
        along = (columns - centre[0]) * axis[0] + (rows - centre[1]) * axis[1]
        aside = (columns - centre[0]) * -axis[1] + (rows - centre[1]) * axis[0]
        cap = (along > size * (0.42 + 0.22 * np.cos(aside / size * 2.2 + 0.6))) & (np.hypot(along, aside) < size * 1.5)
        self.labels[cap & (self.labels == SKIN)] = HAIR

    def _hands(self, neck: Point) -> None:
        for bone in self._of("forearm"):
            a, b = self._ordered(bone, neck)
            away = (b - a) / max(bone.length, 1e-6)
            self._capsule(b, b + away * 0.13 * self.unit, 0.055 * self.unit, 0.045 * self.unit, SKIN)

    def _feet(self, neck: Point) -> None:
        for bone in self._of("shin"):
            a, b = self._ordered(bone, neck)
            side = 1.0 if b[0] >= neck[0] else -1.0
            toe = b + np.asarray((side * 0.15, 0.06)) * self.unit
            self._capsule(b, toe, 0.068 * self.unit, 0.05 * self.unit, SHOES)


def scene_from_skeleton(rgb: Rgb, look: Look) -> Scene:
    """A figure in a setting.

    Args:
        rgb: Pose map or face landmarks on black, at the size of the plan.
        look: The brief.
    """
    height, width = rgb.shape[:2]
    labels, relief = bodies(rgb)
    setting, glow = _setting(look, height, width, labels)
    colour, shade, lines = dressed(setting, labels, relief, look)
    if not bool(np.isin(labels, (TOP, LEGS)).any()):
        marks = blurred(plane(drawn(rgb)), 0.7)
        colour = blend(colour, (0.3, 0.16, 0.14), plane(np.clip(marks, 0, 1) * 0.75))
    figure = plane(labels > 0)
    return Scene(colour, shade, plane(0.35 * (1 - figure)), plane(1 - figure), plane(glow * (1 - figure)), lines)


def dressed(setting: Field, labels: npt.NDArray[np.int32], relief: Plane, look: Look) -> tuple[Field, Plane, Plane]:
    """Put figures before a setting: colours, shading and outlines."""
    height = labels.shape[0]
    figure = np.asarray(labels > 0, dtype=np.bool_)
    feet = _ground_shadow(figure, look)
    setting = blend(setting, look.theme.shade, plane(feet * 0.55))
    table = plane([(0.0, 0.0, 0.0), *_wardrobe(look)])
    colour = plane(np.where(figure[..., None], table[labels], setting))
    shade = plane(light.shaded(blurred(relief, height / 300), look, 1.0) * figure)
    return blurred(colour, 0.7), shade, border_lines(np.asarray(labels, dtype=np.int32))


def bodies(rgb: Rgb) -> tuple[npt.NDArray[np.int32], Plane]:
    """Labels of body parts and their height in pixels."""
    found = people(limbs(rgb))
    labels = np.zeros(rgb.shape[:2], dtype=np.uint8)
    height = np.zeros(rgb.shape[:2], dtype=np.float32)
    for bones in sorted(found, key=lambda group: max(max(b.start[1], b.end[1]) for b in group)):
        _Body(bones, labels, height).draw()
    if not found:
        _mass(rgb, labels, height)
    return labels.astype(np.int32), height


def _mass(rgb: Rgb, labels: npt.NDArray[np.uint8], height: Plane) -> None:
    """Without known limbs: a head around face landmarks, or a thick line figure around any other drawing."""
    ink = drawn(rgb)
    if not bool(ink.any()):
        return
    rows, columns = np.nonzero(ink)
    tall, wide = float(np.ptp(rows)) + 1, float(np.ptp(columns)) + 1
    if 0.6 < tall / wide < 2.2 and float(ink.mean()) < 0.25:  # noqa: PLR2004  # proportions of a face
        _bust(rows, columns, labels, height)
        return
    radius = max(min(rgb.shape[:2]) // 28, 2)
    thick = grown(plane(ink), radius) > 0.5  # noqa: PLR2004
    deep = distance(np.asarray(thick, dtype=np.bool_))
    height[thick] = np.sqrt(np.maximum(deep[thick] * (2 * radius + 2 - deep[thick]), 0))
    labels[thick] = TOP


def _bust(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], labels: npt.NDArray[np.uint8], height: Plane
) -> None:
    x, y = float(columns.min() + np.ptp(columns) / 2), float(rows.min() + np.ptp(rows) / 2)
    size = max(float(np.ptp(columns)) * 0.56, float(np.ptp(rows)) * 0.5)
    spots: list[tuple[tuple[float, float], tuple[float, float], int]] = [
        ((x, y - size * 0.16), (size * 1.1, size * 1.26), HAIR),
        ((x, y + size * 2.5), (size * 2.1, size * 1.15), TOP),
        ((x, y + size * 1.25), (size * 0.45, size * 0.75), SKIN),
        ((x, y + size * 0.02), (size * 0.93, size * 1.2), SKIN),
    ]
    for (cx, cy), (rx, ry), label in spots:
        mask = np.zeros_like(labels)
        cv2.ellipse(mask, (round(cx), round(cy)), (max(round(rx), 1), max(round(ry), 1)), 0, 0, 360, 1, -1)
        inside = mask > 0
        deep = distance(np.asarray(inside, dtype=np.bool_))
        height[inside] = np.sqrt(np.maximum(deep[inside] * (2 * deep.max() - deep[inside]), 0)) * 0.8
        labels[inside] = label


def _wardrobe(look: Look) -> list[Colour]:
    """Colours of skin, hair, top, legs and shoes."""
    own = {material.name: material.colours[0] for material in look.materials}
    skins, hairs = MATERIALS["skin"].colours, MATERIALS["hair"].colours
    skin = skins[look.key[3] % len(skins)]
    if "skin" not in own:
        skin = own.get("metal") or own.get("fur") or own.get("scales") or skin
    hair = own.get("hair") or hairs[look.key[4] % len(hairs)]
    top = look.named[0] if look.named else own.get("suit") or own.get("metal") or own.get("cloth") or look.accents[0]
    legs = (
        look.named[1]
        if len(look.named) > 1
        else own.get("suit") or own.get("leather") or shifted(look.accents[2], -0.1, 0.8)
    )
    return [skin, hair, top, legs, shifted(legs, -0.2, 0.7)]


def _setting(look: Look, height: int, width: int, labels: npt.NDArray[np.int32]) -> tuple[Field, Plane]:
    """Sky and ground outdoors, a studio otherwise; the floor lies where the feet are."""
    rows = np.flatnonzero((labels > 0).any(axis=1))
    foot = float(rows[-1]) / height if rows.size else 0.9
    horizon = float(np.clip(foot - 0.2, 0.45, 0.85))
    y, _ = grid(height, width)
    floor = scenery.ground(look, height, width, horizon)
    if look.setting == "outdoor":
        sky, glow = scenery.sky(look, height, width, horizon)
        edge = smoothstep(plane(y + np.zeros((1, width))), horizon - 0.006, horizon + 0.006)
        return blend(sky, floor, edge), plane(glow * (1 - edge))
    wall = scenery.backdrop(look, height, width)
    if foot > 0.98:  # noqa: PLR2004  # cut off by the frame: no floor to see
        return wall, np.zeros((height, width), dtype=np.float32)
    edge = smoothstep(plane(y + np.zeros((1, width))), horizon - 0.05, horizon + 0.06)
    return blend(wall, floor, plane(edge * 0.6)), np.zeros((height, width), dtype=np.float32)


def _ground_shadow(figure: npt.NDArray[np.bool_], look: Look) -> Plane:
    """An ellipse of shadow under each figure's feet, leaning away from the light."""
    height, width = figure.shape
    shadow = np.zeros((height, width), dtype=np.float32)
    number, _, stats, _ = cv2.connectedComponentsWithStats(figure.astype(np.uint8))
    for piece in range(1, number):
        left, top, wide, tall = (int(v) for v in stats[piece, :4])
        if top + tall >= height - 1 or wide * tall < 0.004 * height * width:
            continue
        centre = (round(left + wide / 2 - look.light[0] * wide * 0.5), round(top + tall - 0.012 * tall))
        cv2.ellipse(shadow, centre, (max(round(wide * 0.75), 1), max(round(tall * 0.035), 1)), 0, 0, 360, 1.0, -1)
    return plane(blurred(shadow, max(height / 90, 1.0)) * ~figure)
