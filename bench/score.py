"""Time of a structure score of a 1024 px picture, beside the detector alone (the floor), on one core.

Run with `python -m bench.score`. Figures are the least of several turns, in processor time, so that a busy machine
counts for little; score and floor take turns. The picture is in memory; decoding it is printed once, on its own. The
result is the picture in other colours with texture, so that all ways of looking are gone through.
"""

import time
from collections.abc import Callable

import cv2
import numpy as np

from bench.support.command import run
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.classify import appearance_of
from controlnet_mcp.images.decode import decode
from controlnet_mcp.images.encode import encode_png
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.maps.recipes import make_map
from controlnet_mcp.images.structure_score import MEASURED
from controlnet_mcp.images.structure_score.measures import score_structure
from tests.support import sample_drawings
from tests.support.structure_pairs import photo

SIDE_PIXELS = 1024
TURNS = 7
LIMIT_MILLISECONDS = 150


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return 1000 * (time.process_time() - start)


def _least(*calls: Callable[[], object]) -> list[float]:
    """The least time of each call; the calls take turns."""
    turns = [[_milliseconds(call) for call in calls] for _ in range(TURNS)]
    return [min(times) for times in zip(*turns, strict=True)]


def _asked(page: Rgb, modality: str) -> Rgb:
    return sample_drawings.segmentation(SIDE_PIXELS) if modality == "seg" else make_map(page, modality).rgb


def main() -> None:
    """Print the table."""
    cv2.setNumThreads(1)
    page = photo("astronaut.png", SIDE_PIXELS)
    grain = np.random.default_rng(1).normal(0, 8, page.shape)
    result = np.clip(page[..., [1, 2, 0]] + grain, 0, 255).astype(np.uint8)
    content = encode_png(result)
    decoding, looking = _least(lambda: decode(content, Limits()), lambda: appearance_of(result))
    print(
        f"{SIDE_PIXELS} px, one core, least of {TURNS}; decoding it {decoding:.1f} ms, a check of it {looking:.1f} ms"
    )
    print(f"{'modality':12} {'metric':12} {'score':>6} {'detector ms':>12} {'score ms':>9} {'limit ms':>9}")
    for modality in sorted(MEASURED - {"depth"}):
        asked = _asked(page, modality)
        detector = "canny" if modality == "seg" else modality
        floor, ours = _least(
            lambda: make_map(result, detector),  # noqa: B023  # called before the loop goes on
            lambda: score_structure(asked, result, modality, is_map=True),  # noqa: B023  # likewise
        )
        found = score_structure(asked, result, modality, is_map=True)
        assert found is not None
        row = f"{modality:12} {found.metric:12} {found.score:6.2f} {floor:12.1f} {ours:9.1f} {LIMIT_MILLISECONDS:9}"
        print(row, "" if ours < LIMIT_MILLISECONDS else "  over the limit")


if __name__ == "__main__":
    run(main)
