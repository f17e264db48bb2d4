"""``relayline doctor``: is everything here, and is everything kept in order?"""

import asyncio
import importlib.metadata
import os
import platform
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from relayline.cli.sessions import folded
from relayline.clients import weights
from relayline.errors import DamagedJournal, StoreError
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.sqlite_file import APPLICATION_ID

CORE = ("pydantic", "griffelib", "typing-extensions")
EXTRAS = {
    "cli": ("typer", "rich", "prompt-toolkit"),
    "embedded": weights.PACKAGES,
    "local-llm": ("xllamacpp",),
    "mcp": ("mcp",),
    "models": ("pydantic-ai-slim", "genai-prices"),
    "yaml": ("pyyaml",),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """``absent``: something optional that is not there."""

    state: Literal["ok", "absent", "problem"]
    what: str

    def __str__(self) -> str:
        return f"{self.state:<9}{self.what}"


def version() -> str:
    """This relayline's version, as far as it is known."""
    return _version("relayline") or "(not installed, running from its source)"


def findings(store: Path) -> list[Finding]:
    """Everything worth knowing; what is wrong says what to do."""
    return [*_packages(), _model(), *_store(store)]


def _packages() -> Iterator[Finding]:
    yield Finding("ok", f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("ok", f"relayline {version()}")
    yield _group("core", CORE, "problem", "pip install --upgrade relayline")
    for extra, packages in EXTRAS.items():
        yield _group(f"extra {extra}", packages, "absent", f"pip install 'relayline[{extra}]'")


def _group(name: str, packages: Sequence[str], unless: Literal["absent", "problem"], remedy: str) -> Finding:
    versions = {package: _version(package) for package in packages}
    missing = [package for package, found in versions.items() if found is None]
    if missing:
        return Finding(unless, f"{name}: without {', '.join(missing)}. To have it: {remedy}")
    return Finding("ok", f"{name}: {', '.join(f'{package} {found}' for package, found in versions.items())}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _model() -> Finding:
    found = weights.status()
    if found.sha256_ok:
        return Finding("ok", f"embedded model: {found.bytes / 1e6:.0f} MB in {found.path}")
    if found.installed:
        return Finding("problem", f"embedded model in {found.path} is damaged. Type: relayline model fetch")
    wanted = all(_version(package) for package in weights.PACKAGES)
    return Finding(
        "problem" if wanted else "absent", f"embedded model: not in {found.path}. Type: relayline model fetch"
    )


def _store(path: Path) -> list[Finding]:
    if not path.exists():
        return [_place(path)]
    trouble = _trouble(path)
    if trouble:
        return [Finding("problem", f"store {path}: {trouble}")]
    try:
        sessions, damaged = asyncio.run(_journals(path))
    except StoreError as error:
        return [Finding("problem", str(error))]
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    return [
        Finding("ok", f"store {path}: {size}, sound, {sessions} sessions"),
        *(Finding("problem", f"{each}. The other sessions are not touched by this") for each in damaged),
    ]


def _place(path: Path) -> Finding:
    folder = next(each for each in path.absolute().parents if each.exists())
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return Finding("ok", f"store {path}: not there yet, made by the first chat")
    return Finding("problem", f"store {path}: cannot be made in {folder}. Name another with --store or RELAYLINE_STORE")


def _trouble(path: Path) -> str:
    """What is wrong with the file, looked at without changing it; nothing if it is well."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            owner = db.execute("PRAGMA application_id").fetchone()[0]
            if owner != APPLICATION_ID and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return "a database of another program. Name another file with --store or RELAYLINE_STORE"
            verdict = [row[0] for row in db.execute("PRAGMA quick_check(5)")]
    except sqlite3.Error as error:
        return f"{error}. Name another file with --store or RELAYLINE_STORE, or bring this one back from a backup"
    if verdict != ["ok"]:
        return (
            f"damaged ({'; '.join(verdict)}). Bring it back from a backup, or save what is left with sqlite3 .recover"
        )
    if not os.access(path, os.W_OK) or not os.access(path.absolute().parent, os.W_OK):
        return "cannot be written. Change its permissions and its folder's, or name another with --store"
    return ""


async def _journals(path: Path) -> tuple[int, list[DamagedJournal]]:
    """How many sessions there are, and what is wrong with those that cannot be read."""
    damaged: list[DamagedJournal] = []
    async with aclosing(SqliteCheckpointStorage(path)) as store:
        summaries = await store.sessions()
        for each in summaries:
            try:
                await folded(store, each.session_id)
            except DamagedJournal as error:
                damaged.append(error)
    return len(summaries), damaged
