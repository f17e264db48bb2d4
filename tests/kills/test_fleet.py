"""A few kills of each fleet; `make fleet` does it sixty times."""

from pathlib import Path

import pytest

from tests.kills.fleet import KINDS, run


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fleet_whose_workers_are_killed_loses_nothing(kind: str, tmp_path: Path):
    """Whatever its workers were at, every conversation comes to its end, and every effect happened once or by a person's leave."""
    report, recovery = await run(kind, tmp_path, kills=3)
    assert (report.lost, report.repeated_under_key, report.silent_reruns) == (0, 0, 0)
    assert report.effects > 20
    assert len(recovery.seconds) == 3
