"""Time and memory of every control map, beside the raw OpenCV calls that do the same job (the floor).

Run with `python -m bench.maps`. One core. Floor and map take turns, so that a busy machine slows both; times are CPU
time, the least of some rounds. Memory is how far the process grows over what it held before the call, buffers inside
OpenCV too, as a multiple of the decoded picture; each is measured in a process of its own (Linux only). Promised: at
most 1.15 times the floor or 1 ms more, and at most 6 pictures.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

from bench.support.command import run
from bench.support.map_floors import AUTOMATIC, FLOORS
from controlnet_mcp.images.maps import MapParameters
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.maps.recipes import WEIGHTLESS, make_map

SIDES_PIXELS = (512, 1024, 2048)
ROUNDS = {512: 25, 1024: 11, 2048: 7}
MOST_TIMES, MOST_MILLISECONDS_MORE, MOST_PICTURES = 1.15, 1.0, 6.0


def _ours(rgb: Rgb, row: str) -> object:
    return make_map(rgb, "canny", MapParameters(thresholds="auto")) if row == AUTOMATIC else make_map(rgb, row)


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return 1000 * (time.process_time() - start)


def _picture(row: str, side: int) -> Rgb:
    """The photo, square; for normals its brightness, as if it were depth."""
    photo = np.asarray(Image.open(Path(data.__file__).with_name("astronaut.png")), dtype=np.uint8)
    if row == "normal":
        photo = np.repeat(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    return np.asarray(cv2.resize(photo, (side, side), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _resident_bytes(line: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition(f"{line}:")[2].split()[0])


def _growth(row: str, side: int) -> float:
    """By how many pictures this process grows while it makes a map, after a small one has loaded everything."""
    rgb = _picture(row, side)
    _ours(np.ascontiguousarray(rgb[:64, :64]), row)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak
    before = _resident_bytes("VmRSS")
    _ours(rgb, row)
    return (_resident_bytes("VmHWM") - before) / rgb.nbytes


def _measured_growth(row: str, side: int) -> float:
    command = [sys.executable, "-m", "bench.maps", row, str(side)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _row(row: str, side: int) -> str:
    """One line of the table: map, side, floor, ours, ratio, memory, verdict."""
    rgb = _picture(row, side)
    turns = [
        (_milliseconds(lambda: FLOORS[row](rgb)), _milliseconds(lambda: _ours(rgb, row)))
        for _ in range(ROUNDS[side] + 1)
    ][1:]
    floor, ours = (min(times) for times in zip(*turns, strict=True))
    memory = _measured_growth(row, side)
    fast = ours <= max(MOST_TIMES * floor, floor + MOST_MILLISECONDS_MORE)
    verdict = "holds" if fast and memory <= MOST_PICTURES else "FAILS"
    return f"{row:12} {side:5} {floor:9.2f} {ours:9.2f} {ours / floor:7.2f} {memory:8.1f}  {verdict}"


def main(only: str = "", pixels: int = 0) -> None:
    """Print the table for every map and size; with both words only how one map's memory grows, in a process for it."""
    cv2.setNumThreads(1)
    if only:
        print(_growth(only, pixels))
        return
    assert set(FLOORS) == {*WEIGHTLESS, AUTOMATIC, "normal"}
    print(f"OpenCV {cv2.__version__}, NumPy {np.__version__}, one core; floor = raw OpenCV calls for the same map")
    print(f"{'map':12} {'px':>5} {'floor ms':>9} {'ours ms':>9} {'ratio':>7} {'pictures':>8}")
    for row in FLOORS:
        for side in SIDES_PIXELS:
            print(_row(row, side), flush=True)


if __name__ == "__main__":
    run(main)
