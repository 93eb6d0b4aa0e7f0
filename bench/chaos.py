"""300 jobs over three processes on one data folder with 20 random kills: charges, doubles, lost, uncertain.

The floor is what cannot be better: as many charges as jobs or fewer, no double, nothing lost. Jobs are uncertain by
construction where a kill hit a submission in flight, of which there are at most four per process. Run:
`python -m bench.chaos [jobs] [kills] [seed]`.
"""

import sys
import tempfile
from dataclasses import fields
from pathlib import Path

from PIL import Image

from tests.support.kill_storm import Storm, blow
from tests.support.sample_drawings import house
from tests.support.server_process import Place


def main(jobs: str = "300", kills: str = "20", seed: str = "1") -> None:
    """Run one storm and print its toll."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        Image.fromarray(house(256)).save(folder / "sketch.png")
        toll = blow(Storm(int(jobs), kills=int(kills), seed=int(seed)), Place(folder / "data", folder))
    for field in fields(toll):
        print(f"{field.name:<10} {getattr(toll, field.name):8.0f}")
    print("most uncertain by construction:", toll.kills * 4)
    assert (toll.doubles, toll.lost) == (0, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
