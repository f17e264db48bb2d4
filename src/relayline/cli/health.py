"""A store under the doctor's eyes: the place it is in, and every session."""

import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, closing
from pathlib import Path

from relayline.cli.ailments import ailments
from relayline.cli.finding import Finding
from relayline.errors import MissingExtra, StoreError, UsageError
from relayline.journal.file import FileCheckpointStorage
from relayline.journal.files.listing import Finding as FileFinding
from relayline.journal.opening import Place
from relayline.journal.sqlite_file import APPLICATION_ID
from relayline.journal.store import SessionSummary

LITTLE = 100_000_000
"""Bytes that should be free: some thousand turns, or a few pictures."""

ANOTHER = "Name another with --store or RELAYLINE_STORE"


async def mended(place: Place) -> list[Finding]:
    """Cut off what dying processes left at the ends of journals: all that can be mended without a loss."""
    if place.kind != "folder" or not place.is_there:
        return []
    async with aclosing(FileCheckpointStorage(place.path)) as store:
        return [Finding("ok", "tail", f"{path}: mended") for path in await store.mend()]


async def health(place: Place) -> list[Finding]:
    """How a store is, and what is in it; nothing is changed, and nothing made."""
    if not place.is_there:
        return [_to_be_made(place)]
    trouble = {"sqlite": _file, "folder": _folder}[place.kind](place.path) if place.kind != "postgresql" else ""
    if trouble:
        return [Finding("problem", "store", f"store {place}: {trouble}")]
    try:
        return [each async for each in _looked_at(place)]
    except (StoreError, UsageError, MissingExtra, OSError) as error:
        return [Finding("problem", "store", f"store {place}: {error}")]


async def _looked_at(place: Place) -> AsyncIterator[Finding]:
    async with aclosing(place.open()) as store:
        summaries = await store.sessions()
        yield _sound(place, summaries)
        for finding in _space(place):
            yield finding
        told: set[str] = set()
        for each in summaries:
            for finding in await ailments(store, each):
                told |= {each.session_id} if finding.check == "journal" else set()
                yield finding
        if isinstance(store, FileCheckpointStorage):
            for found in await store.findings():
                if found.torn or found.session_id not in told:
                    yield _of_a_file(found)


def _sound(place: Place, sessions: Sequence[SessionSummary]) -> Finding:
    size = "" if place.kind == "postgresql" else f"{_size(place.path) / 1e6:.1f} MB, "
    number, held = len(sessions), sum(bool(each.held) for each in sessions)
    kept = f", {held} of them held" if held else ""
    return Finding("ok", "store", f"store {place}: {size}sound, {number} session{'s'[: number != 1]}{kept}")


def _of_a_file(found: FileFinding) -> Finding:
    """What is wrong with a file; sessions that cannot be read are told of already."""
    if found.torn:
        what = f"{found.path}: {found.problem}; nothing that was acknowledged is lost. "
        return Finding(
            "note", "tail", what + "The next write cuts it off, and so does relayline doctor --fix", found.session_id
        )
    what = f"{found.path}: {found.problem}. The other sessions are not touched by this. Bring it back from a backup"
    return Finding("problem", "journal", what, found.session_id)


def _to_be_made(place: Place) -> Finding:
    folder = next(each for each in place.path.absolute().parents if each.exists())
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return Finding("ok", "store", f"store {place}: not there yet, made by the first chat")
    return Finding("problem", "store", f"store {place}: cannot be made in {folder}. {ANOTHER}")


def _space(place: Place) -> Iterator[Finding]:
    if place.kind == "postgresql":
        return
    free = shutil.disk_usage(place.path if place.kind == "folder" else place.path.absolute().parent).free
    if free < LITTLE:
        yield Finding("problem", "store", f"store {place}: only {free / 1e6:.0f} MB are free on its disk. Make room")
    else:
        yield Finding("ok", "store", f"disk of the store: {free / 1e9:.1f} GB free")


def _size(path: Path) -> int:
    """Of a file and what SQLite has beside it, or of a folder."""
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return sum(each.stat().st_size for each in (path, path.with_name(f"{path.name}-wal")) if each.exists())


def _folder(path: Path) -> str:
    if not path.is_dir():
        return f"is a file, and a word that ends with / means a folder. {ANOTHER}"
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return "cannot be written. Change its permissions, or name another with --store"
    return ""


def _file(path: Path) -> str:
    """What is wrong with the file, looked at without changing it; nothing if it is well."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            owner = db.execute("PRAGMA application_id").fetchone()[0]
            if owner != APPLICATION_ID and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return f"a database of another program. {ANOTHER}"
            verdict = [row[0] for row in db.execute("PRAGMA quick_check(5)")]
    except sqlite3.Error as error:
        return f"{error}. {ANOTHER}, or bring this one back from a backup"
    if verdict != ["ok"]:
        return (
            f"damaged ({'; '.join(verdict)}). Bring it back from a backup, or save what is left with sqlite3 .recover"
        )
    if not os.access(path, os.W_OK) or not os.access(path.absolute().parent, os.W_OK):
        return "cannot be written. Change its permissions and its folder's, or name another with --store"
    return ""
