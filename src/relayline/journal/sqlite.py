"""Journals in one SQLite file: WAL, one writer thread, safe for several processes."""

import asyncio
import os
import sqlite3
import time
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

TIMEOUT = 30
"""Seconds to wait for another process's write, which takes milliseconds."""

APPLICATION_ID = 0x72_6C_79_31  # "rly1": tells our files from other people's databases

SCHEMA = """
CREATE TABLE session(
    key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, seq INTEGER NOT NULL,
    started INTEGER NOT NULL, updated INTEGER NOT NULL, written INTEGER NOT NULL
);
CREATE INDEX session_written ON session(written);
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
        self._writer: _Writer | None = None

    def now(self) -> datetime:
        return self._clock()

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
                    "INSERT INTO session(id, seq, started, updated, written) VALUES (?, 0, ?, ?, 0) RETURNING key",
                    (session_id, stamp, stamp),
                ).fetchone()
            rows = [(found[0], after + number, stamp, VERSION, body) for number, body in enumerate(bodies, 1)]
            db.executemany("INSERT INTO fact VALUES (?, ?, ?, ?, ?)", rows)
            db.execute(
                "UPDATE session SET seq = ?, updated = ?,"
                # Counted, not timed: a clock may stand still or go back.
                " written = (SELECT max(written) + 1 FROM session) WHERE key = ?",
                (after + len(rows), stamp, found[0]),
            )
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
            except (DamagedJournal, TypeError, OverflowError) as error:
                raise DamagedJournal(f"session {session_id!r} in {self.path}, entry {seq}: {error}") from error
        return entries

    async def sessions(self) -> list[SessionSummary]:
        def rows(db: sqlite3.Connection) -> list[tuple[str, int, int, int]]:
            return db.execute("SELECT id, seq, started, updated FROM session ORDER BY written").fetchall()

        return [SessionSummary(key, seq, _time(first), _time(last)) for key, seq, first, last in await self._do(rows)]

    async def aclose(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is None or self._writer.pid != os.getpid():
            self._writer = _Writer(self.path)  # a forked child inherits neither threads nor a usable connection
        try:
            return await self._writer.do(work)
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StoreError(f"cannot use the session store {self.path}: {error}") from error


class _Writer:
    """One thread and the one connection it opens when it is first used."""

    def __init__(self, path: Path) -> None:
        self.pid = os.getpid()
        self._path = path
        self._thread = ThreadPoolExecutor(1, "relayline-sqlite")
        self._db: sqlite3.Connection | None = None  # touched by the thread only

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` on the thread. A caller cancelled meanwhile finds it done entirely or not at all."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        db = self._db = self._db or _open(self._path)
        try:
            return work(db)
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Autocommit: transactions are ours to begin.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=TIMEOUT)
    try:
        _migrate(path, db)
    except BaseException:
        db.close()
        raise
    return db


def _migrate(path: Path, db: sqlite3.Connection) -> None:
    db.execute("BEGIN")  # one moment for all that is read: another process may be making the tables just now
    layout = _layout(path, db)
    db.execute("COMMIT")
    if layout < len(MIGRATIONS):
        _make(path, db)
    _switch_to_wal(db)
    db.execute("PRAGMA synchronous = NORMAL")


def _make(path: Path, db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    for step in MIGRATIONS[_layout(path, db) :]:  # read again: another process may have been faster
        for statement in step.split(";"):
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("COMMIT")


def _switch_to_wal(db: sqlite3.Connection) -> None:
    # The timeout of the connection does not count here: SQLite gives up at once while another process has the file.
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


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
