"""A few kills on each store; `make kills` does it sixty times."""

from pathlib import Path

import pytest

from tests.kills.stores import KINDS, a_store
from tests.kills.suite import run


@pytest.mark.parametrize("kind", KINDS)
def test_killed_processes_lose_nothing_and_do_nothing_twice(kind: str, tmp_path: Path):
    """Whatever was in flight, every conversation comes to its end, and every effect happened once or by a person's leave."""
    with a_store(kind, tmp_path) as where:
        report = run(where, tmp_path, kills=5)
    assert (report.lost, report.repeated_under_key, report.silent_reruns) == (0, 0, 0)
    assert report.effects > 100
