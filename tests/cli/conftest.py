"""A home of its own for every test of the command line, and the command as a real process."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

import relayline
from relayline.clients import weights

TEAM = str(Path(__file__).with_name("team.py"))
PEOPLE = str(Path(__file__).with_name("people.py")) + ":workflow"
SHORT = str(Path(__file__).with_name("people.py")) + ":short"
CACHE = str(weights.cache_folder())  # the model is fetched once, not once a test
Relayline: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, and nothing of the environment that would change what is shown."""
    folder = tmp_path / "home"
    for name in ("RELAYLINE_STORE", "COLUMNS", "LINES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "XDG_DATA_HOME": str(folder),
        "HOME": str(folder),
        "LOCALAPPDATA": str(folder),
        "RELAYLINE_CACHE": CACHE,
        "RELAYLINE_SHOP": str(tmp_path / "shop.db"),
        "PYTHONPATH": str(Path(relayline.__file__).parents[1]),
    }.items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def run() -> Relayline:
    """``relayline`` with these arguments as a process of its own, ``lines`` on its standard input."""

    def run(*arguments: str, lines: str = "", env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "relayline.cli", *arguments],
            input=lines,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=60,
            env={**os.environ, **(env or {})},
            check=False,
        )

    return run
