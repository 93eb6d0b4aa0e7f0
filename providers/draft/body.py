"""Gives one skeleton a body of capsules and hulls, as a painter's mannequin has."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.providers.draft.canvas import (
    Plane,
    distance,
)
from controlnet_mcp.providers.draft.skeleton import Limb

SKIN, HAIR, TOP, LEGS, SHOES, EYES, MOUTH = 1, 2, 3, 4, 5, 6, 7
"""Labels of a body's parts; 0 is everything else."""

_WIDTHS: dict[str, tuple[float, float]] = {
    "upper-arm": (0.185, 0.145),
    "forearm": (0.135, 0.095),
    "thigh": (0.25, 0.18),
    "shin": (0.175, 0.11),
    "neck": (0.15, 0.13),
}
"""Radii at the near and far end of each limb as shares of the body's unit (shoulder to hip), times one half."""

_FEATURES = ((-0.36, 0.16, 0.1, 0.13, EYES), (0.36, 0.16, 0.1, 0.13, EYES), (0.0, -0.5, 0.06, 0.24, MOUTH))
"""Each feature's place beside and above the nose, its height and width, as shares of the head's size, and its label."""

Point = npt.NDArray[np.float64]


class Body:
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
        """A hull over shoulders, waist and hips, with a belt; where a short limb was not found its neighbour helps."""
        hips = [self._ordered(bone, neck)[1] for bone in self._of("flank")]
        hips = hips or [self._ordered(bone, neck)[0] for bone in self._of("thigh")]
        shoulders = [self._ordered(bone, neck)[0] for bone in self._of("upper-arm")]
        shoulders = shoulders or [self._ordered(bone, neck)[1] for bone in self._of("shoulder")]
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
        self._face(nose, axis, size)

    def _fringe(self, centre: Point, axis: Point, size: float) -> None:
        """Hair over the forehead."""
        rows, columns = np.indices(self.labels.shape)
        along = (columns - centre[0]) * axis[0] + (rows - centre[1]) * axis[1]
        aside = (columns - centre[0]) * -axis[1] + (rows - centre[1]) * axis[0]
        cap = (along > size * (0.42 + 0.22 * np.cos(aside / size * 2.2 + 0.6))) & (np.hypot(along, aside) < size * 1.5)
        self.labels[cap & (self.labels == SKIN)] = HAIR

    def _face(self, nose: Point, axis: Point, size: float) -> None:
        """Two eyes and a mouth around the nose, as far as a mannequin has them."""
        aside = np.asarray((-axis[1], axis[0]))
        for x, y, wide, tall, label in _FEATURES:
            at = nose + aside * size * x + axis * size * y
            axes = (max(round(size * wide * 16), 8), max(round(size * tall * 16), 8))
            turn = float(np.degrees(np.arctan2(axis[1], axis[0])))
            spot = np.zeros_like(self.labels)
            cv2.ellipse(spot, (round(at[0] * 16), round(at[1] * 16)), axes, turn, 0, 360, 1, -1, cv2.LINE_8, 4)
            self.labels[(spot > 0) & (self.labels == SKIN)] = label

    def _hands(self, neck: Point) -> None:
        for bone in self._of("forearm"):
            a, b = self._ordered(bone, neck)
            away = (b - a) / max(bone.length, 1e-6)
            self._capsule(b, b + away * 0.13 * self.unit, 0.055 * self.unit, 0.045 * self.unit, SKIN)

    def _feet(self, neck: Point) -> None:
        for bone in self._of("shin"):
            b = self._ordered(bone, neck)[1]
            side = 1.0 if b[0] >= neck[0] else -1.0
            toe = b + np.asarray((side * 0.15, 0.06)) * self.unit
            self._capsule(b, toe, 0.068 * self.unit, 0.05 * self.unit, SHOES)
