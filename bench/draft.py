"""How long the draft engine takes (processor seconds) and how well it keeps lines (edge recall beside chance).

Recall is the share of the control's own Canny edge pixels (100/200) that have an edge of the result (Canny 60/150 of
its grey) within 2 px. Chance is the same for a control moved by 23 and 17 px. Run: `python -m bench.draft`.
"""

import time

import cv2
import numpy as np
from skimage import data

from bench.support.command import run
from controlnet_mcp.images.resize import to_frame
from controlnet_mcp.providers.draft.adapter import MEDIA
from tests.support.draft_pictures import Given, drawn
from tests.support.edge_recall import chance_of, recall_of
from tests.support.sample_drawings import Rgb, house


def photo_of(name: str, size: int = 512) -> Rgb:
    """One of scikit-image's photos, its middle square."""
    return to_frame(np.asarray(getattr(data, name)(), dtype=np.uint8), size, size)


def canny_of(photo: Rgb) -> Rgb:
    """Canny map of a photo."""
    return np.asarray(cv2.cvtColor(cv2.Canny(photo, 100, 200), cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def times() -> None:
    """Print the best of three processor times for each size and medium, of a drawing and of a photo."""
    print("size          " + "  ".join(f"{medium:>12}" for medium in MEDIA))
    for size in (512, 1024, 2048, 4096):
        photo = photo_of("astronaut", size)
        for name, control in (
            ("drawing", Given("scribble", house(size))),
            ("photo", Given("canny", canny_of(photo), photo=photo)),
        ):
            cells: list[str] = []
            for medium in MEDIA:
                spent: list[float] = []
                for _ in range(3 if size <= 1024 else 1):
                    start = time.process_time()
                    drawn(f"{medium} of a house by a tree", control, size=size)
                    spent.append(time.process_time() - start)
                cells.append(f"{min(spent):11.2f}s")
            print(f"{size:<5} {name:<8}" + "  ".join(cells))


def recalls() -> None:
    """Print recall and chance for each medium and drawing; maps of photos alone, and with the photo below them."""
    photos = {name: photo_of(name) for name in ("coffee", "astronaut")}
    controls = {"house": Given("canny", house(512))}
    controls |= {f"{name} map": Given("canny", canny_of(photo)) for name, photo in photos.items()}
    controls |= {name: Given("canny", canny_of(photo), photo=photo) for name, photo in photos.items()}
    print("medium        " + "  ".join(f"{name:>16}" for name in controls) + "   (recall, chance)")
    for medium in MEDIA:
        cells: list[str] = []
        for control in controls.values():
            result = drawn(f"{medium} picture", control, size=512)
            cells.append(f"{recall_of(control.rgb, result):8.3f} {chance_of(control.rgb, result):7.3f}")
        print(f"{medium:<14}" + "  ".join(cells))


def main() -> None:
    """Print recall and times."""
    cv2.setNumThreads(1)
    recalls()
    times()


if __name__ == "__main__":
    run(main)
