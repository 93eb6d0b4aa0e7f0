"""How long the draft engine takes (processor seconds) and how well it keeps lines (edge recall beside chance).

Recall is the share of the control's own Canny edge pixels (100/200) that have an edge of the result (Canny 60/150 of
its grey) within 2 px. Chance is the same for a control moved by 23 and 17 px. Run: `python -m bench.draft`.
"""

import time

import cv2
import numpy as np
from skimage import data

from bench.support.command import run
from controlnet_mcp.providers.draft.brief import Brief, Layer
from controlnet_mcp.providers.draft.canvas import Rgb
from controlnet_mcp.providers.draft.lexicon import MEDIA
from controlnet_mcp.providers.draft.render import render
from tests.support.edge_recall import chance_of, recall_of
from tests.support.sample_drawings import house


def canny_of(name: str, size: int = 512) -> Rgb:
    """Canny map of the middle square of one of scikit-image's photos."""
    photo: Rgb = np.asarray(getattr(data, name)(), dtype=np.uint8)
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    square = cv2.resize(photo[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(cv2.Canny(square, 100, 200), cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def times() -> None:
    """Print the best of three processor times for each size, the slowest medium and the default."""
    print("size   " + "  ".join(f"{medium:>12}" for medium in MEDIA))
    for size in (512, 1024, 2048, 4096):
        layer = Layer("scribble", house(size))
        cells: list[str] = []
        for medium in MEDIA:
            brief = Brief(f"{medium} of a house by a tree", (layer,), size, size, 1)
            spent: list[float] = []
            for _ in range(3 if size <= 1024 else 1):
                start = time.process_time()
                render(brief)
                spent.append(time.process_time() - start)
            cells.append(f"{min(spent):11.2f}s")
        print(f"{size:<6} " + "  ".join(cells))


def recalls() -> None:
    """Print recall and chance for each medium and drawing."""
    drawings = {"house": house(512), "coffee": canny_of("coffee"), "astronaut": canny_of("astronaut")}
    print("medium        " + "  ".join(f"{name:>16}" for name in drawings) + "   (recall, chance)")
    for medium in MEDIA:
        cells: list[str] = []
        for drawing in drawings.values():
            result = render(Brief(f"{medium} picture", (Layer("canny", drawing),), 512, 512, 1))
            cells.append(f"{recall_of(drawing, result):8.3f} {chance_of(drawing, result):7.3f}")
        print(f"{medium:<14}" + "  ".join(cells))


def main() -> None:
    """Print recall and times."""
    cv2.setNumThreads(1)
    recalls()
    times()


if __name__ == "__main__":
    run(main)
