"""The demonstration of the durability page, as a reader runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import relayline

KILLED = Path(__file__).parents[2] / "examples" / "killed.py"


def test_whatever_is_killed_every_order_is_paid_and_shipped_once():
    """Twelve keys, twelve parcels, and never one of them twice."""
    environment = {**os.environ, "PYTHONPATH": str(Path(relayline.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(KILLED)], check=False, capture_output=True, encoding="utf-8", env=environment, timeout=100
    )
    assert done.returncode == 0, done.stderr
    orders, charged, shipped, asked = done.stdout.splitlines()
    assert re.fullmatch(r"12 orders; the desk was killed \d+ times", orders)
    assert charged.endswith(" times, under 12 keys")
    assert shipped == "12 parcels were shipped 1 time(s)"
    assert asked.startswith("somebody was asked ")
