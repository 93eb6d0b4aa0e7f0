"""300 jobs over three processes on one data folder with 20 random kills: charges, doubles, lost, uncertain.

The floor is what cannot be better: as many charges as jobs or fewer, no double, nothing lost. Jobs are uncertain by
construction where a kill hit a submission in flight, of which there are at most four per process. Run:
`python -m bench.chaos [jobs] [kills] [seed]`.
"""

import tempfile
from dataclasses import fields
from pathlib import Path

from PIL import Image

from bench.support.command import run
from tests.support.kill_storm import Storm, blow
from tests.support.sample_drawings import house
from tests.support.server_process import Place


def main(jobs: int = 300, kills: int = 20, seed: int = 1) -> None:
    """Run one storm and print its toll."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        Image.fromarray(house(256)).save(folder / "sketch.png")
        toll = blow(Storm(jobs, kills=kills, seed=seed), Place(folder / "data", folder))
    for field in fields(toll):
        print(f"{field.name:<10} {getattr(toll, field.name):8.0f}")
    print("most uncertain by construction:", toll.kills * 4)
    assert (toll.doubles, toll.lost) == (0, 0)


if __name__ == "__main__":
    run(main)
