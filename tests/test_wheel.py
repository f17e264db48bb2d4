"""What somebody gets who installs relayline instead of cloning it."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_brings_the_example_and_the_types(tmp_path: Path):
    """The support desk and its data are where the command looks for them, and type checkers find our types."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "relayline/examples/support/__init__.py",
        "relayline/examples/support/shop.sql",
        "relayline/py.typed",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "examples/"))]
