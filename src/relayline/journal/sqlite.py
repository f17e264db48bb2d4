"""Journals in one SQLite file: WAL, one writer thread, safe for several processes."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from relayline.errors import DamagedJournal, StoreError
from relayline.events import Entry, Fact
from relayline.journal.codec import VERSION, decode, encode
from relayline.journal.store import Clock, SessionSummary, Store, conflict, now

T = TypeVar("T")

APPLICATION_ID = 0x72_6C_79_31  # "rly1": tells our files from other people's databases

SCHEMA = """
CREATE TABLE session(
    key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, seq INTEGER NOT NULL,
    started INTEGER NOT NULL, updated INTEGER NOT NULL
);
CREATE INDEX session_updated ON session(updated);
CREATE TABLE fact(
    session INTEGER NOT NULL REFERENCES session(key), seq INTEGER NOT NULL,
    at INTEGER NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY(session, seq)
) WITHOUT ROWID;
"""
MIGRATIONS = [SCHEMA]
"""Step n takes a file from `user_version` n to n + 1."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SqliteCheckpointStorage(Store):
    """One file for any number of sessions.

    Opened on first use; a missing folder is made. Every append is one transaction on this file's one writer thread. A
    batch that was acknowledged survives the death of the process at any moment, and that of the machine up to the last
    moments before it (WAL with ``synchronous=NORMAL``).
    """

    def __init__(self, path: str | Path, clock: Clock = now) -> None:
        self.path = Path(path)
        self._clock = clock
        self._thread: ThreadPoolExecutor | None = None
        self._db: sqlite3.Connection | None = None  # touched by the thread only

    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        bodies = [encode(fact) for fact in facts]
        at = self._clock()
        stamp = _micros(at)

        def write(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            found = db.execute("SELECT key, seq FROM session WHERE id = ?", (session_id,)).fetchone()
            if (found[1] if found else 0) != after:
                raise conflict(session_id, after, found[1] if found else 0)
            if not found:
                found = db.execute(
                    "INSERT INTO session(id, seq, started, updated) VALUES (?, 0, ?, ?) RETURNING key",
                    (session_id, stamp, stamp),
                ).fetchone()
            rows = [(found[0], after + number, stamp, VERSION, body) for number, body in enumerate(bodies, 1)]
            db.executemany("INSERT INTO fact VALUES (?, ?, ?, ?, ?)", rows)
            db.execute("UPDATE session SET seq = ?, updated = ? WHERE key = ?", (after + len(rows), stamp, found[0]))
            db.execute("COMMIT")

        await self._do(write)
        return [Entry(after + number, at, fact) for number, fact in enumerate(facts, 1)]

    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        def rows(db: sqlite3.Connection) -> list[tuple[int, int, int, str]]:
            return db.execute(
                "SELECT fact.seq, at, version, body FROM fact JOIN session ON key = session"
                " WHERE id = ? AND fact.seq > ? AND fact.seq <= ? ORDER BY fact.seq",
                (session_id, after, upto if upto is not None else 2**62),
            ).fetchall()

        entries: list[Entry] = []
        for seq, at, version, body in await self._do(rows):
            try:
                entries.append(Entry(seq, _time(at), decode(body, version)))
            except DamagedJournal as error:
                raise DamagedJournal(f"session {session_id!r} in {self.path}, entry {seq}: {error}") from error
        return entries

    async def sessions(self) -> list[SessionSummary]:
        def rows(db: sqlite3.Connection) -> list[tuple[str, int, int, int]]:
            return db.execute("SELECT id, seq, started, updated FROM session ORDER BY updated, key").fetchall()

        return [SessionSummary(key, seq, _time(first), _time(last)) for key, seq, first, last in await self._do(rows)]

    async def aclose(self) -> None:
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown()

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` on the one thread. A caller cancelled meanwhile finds it done entirely or not at all."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "relayline-sqlite")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"cannot use the session store {self.path}: {error}") from error

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        db = self._db = self._db or _open(self.path)
        try:
            return work(db)
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Autocommit: transactions are ours to begin. The timeout is for other processes' writes, which take milliseconds.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        _migrate(path, db)
    except BaseException:
        db.close()
        raise
    return db


def _migrate(path: Path, db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    if _layout(path, db) == len(MIGRATIONS):
        return
    db.execute("BEGIN IMMEDIATE")
    for step in MIGRATIONS[_layout(path, db) :]:  # read again: another process may have been faster
        for statement in step.split(";"):
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("COMMIT")


def _layout(path: Path, db: sqlite3.Connection) -> int:
    layout: int = db.execute("PRAGMA user_version").fetchone()[0]
    owner: int = db.execute("PRAGMA application_id").fetchone()[0]
    if owner != APPLICATION_ID and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreError(f"{path} is a database of another program; choose another path for the session store")
    if layout > len(MIGRATIONS):
        raise StoreError(f"{path} was written by a newer relayline (layout {layout}); upgrade to use it")
    return layout


def _micros(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def _time(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)
