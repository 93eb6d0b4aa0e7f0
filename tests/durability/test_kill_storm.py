"""300 jobs over three processes with 20 random kills: no job is charged twice, and nothing that was charged is lost."""

from pathlib import Path

import pytest

from tests.support.kill_storm import Storm, blow
from tests.support.server_process import Place


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_a_storm_of_kills_costs_nothing_twice(tmp_path: Path, pictures: Path) -> None:
    """Only what a kill hit between the request and its answer may be uncertain: four submissions per process."""
    storm = Storm()
    toll = blow(storm, Place(tmp_path / "data", pictures))
    assert (toll.doubles, toll.lost) == (0, 0), toll
    assert toll.uncertain + toll.succeeded == storm.jobs, toll
    assert toll.uncertain <= 4 * storm.kills, toll
