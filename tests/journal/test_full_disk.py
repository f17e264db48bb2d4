"""A disk that is full in the middle of a conversation, and has room again."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from relayline.events import Replied, UserSpoke
from relayline.journal.opening import open_store
from relayline.testing import assert_replays

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["sqlite", "file"])
async def test_a_full_disk_stops_the_run_and_the_session_goes_on_when_there_is_room(kind: str, tmp_path: Path):
    """What was shown is in the journal and nothing else; the message that found no room is told so, and the next is kept."""
    where = {"sqlite": str(tmp_path / "sessions.db"), "file": f"{tmp_path / 'sessions'}/"}[kind]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tests.journal.full_disk", where],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    (full,) = [number for number, line in enumerate(lines) if line.startswith("FULL ")]
    assert "cannot use the session store" in lines[full]
    assert 3 < full < 300
    store = open_store(where)
    entries = await store.read("s")
    await store.aclose()
    said = [entry.fact.message.text for entry in entries if isinstance(entry.fact, UserSpoke | Replied)]
    assert said[2:] == lines[:full] + lines[full + 1 :]
    assert said[-2] == "Is there room again?"
    assert_replays(entries)
