"""One SQLite file of sessions: its layout, its migrations, and the thread that has it open."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from relayline.errors import StoreError
from relayline.journal.sqlite_inbox import INBOX

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
BRANCHES = """
ALTER TABLE session ADD COLUMN parent INTEGER REFERENCES session(key);
ALTER TABLE session ADD COLUMN shared INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN held TEXT NOT NULL DEFAULT '';
CREATE INDEX session_parent ON session(parent) WHERE parent IS NOT NULL;
CREATE TABLE blob(
    key INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES session(key),
    name TEXT NOT NULL, content BLOB NOT NULL, UNIQUE(session, name)
);
"""
MIGRATIONS = [SCHEMA, BRANCHES, INBOX]
"""Step n takes a file from `user_version` n to n + 1."""


class Writer:
    """One thread and the one connection it opens when it is first used."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self.pid = os.getpid()
        self._path = path
        self._synchronous = synchronous
        self._thread = ThreadPoolExecutor(1, "relayline-sqlite")
        self._db: sqlite3.Connection | None = None  # touched by the thread only

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` on the thread. A caller cancelled meanwhile finds it done entirely or not at all."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        db = self._db = self._db or _open(self._path, self._synchronous)
        try:
            return work(db)
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()


def _open(path: Path, synchronous: str) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Autocommit: transactions are ours to begin.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=TIMEOUT)
    try:
        _migrate(path, db)
        db.execute(f"PRAGMA synchronous = {synchronous}")
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
