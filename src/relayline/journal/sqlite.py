"""Journals in one SQLite file: WAL, one writer thread, safe for several processes."""

import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from relayline.errors import DamagedJournal, RelaylineError, StoreError
from relayline.events import Compacted, Entry, Fact, Forked
from relayline.journal import collector
from relayline.journal.deltas import Deltas
from relayline.journal.packing import WITH_BLOBS, Cipher, Durability, Packed, Packer, beside, durable
from relayline.journal.sqlite_file import Writer
from relayline.journal.sqlite_inbox import EPOCH, SqliteInbox, forget, micros, take
from relayline.journal.store import (
    Clock,
    SessionSummary,
    Store,
    check_cut,
    check_delete,
    check_fork,
    check_restore,
    conflict,
    now,
    numbered,
    unknown,
)

T = TypeVar("T")

PAST = """
WITH RECURSIVE past(session, upto) AS (
    SELECT key, :upto FROM session WHERE id = :id
    UNION ALL
    SELECT parent, min(upto, shared) FROM past JOIN session ON key = past.session WHERE parent IS NOT NULL
)
"""
"""Where a session's facts are: its own and, up to where it branched off, those of the sessions before it."""

LAST = 2**62


class SqliteCheckpointStorage(Store, SqliteInbox):
    """One file for any number of sessions.

    Opened on first use; a missing folder is made. Every append is one transaction on this file's one writer thread. A
    batch that was acknowledged survives the death of the process at any moment. With ``durability="full"`` it survives
    that of the machine too; with ``"normal"`` the last moments before it may be lost, and nothing else.

    ``cipher``: encrypts what is said and done, a `cryptography.fernet.Fernet` for instance; ids and times stay legible.
    """

    def __init__(
        self,
        path: str | Path,
        clock: Clock = now,
        *,
        durability: Durability = "normal",
        cipher: Cipher | None = None,
    ) -> None:
        self.path = Path(path)
        self._synchronous = "FULL" if durable(durability) else "NORMAL"
        self._packer = Packer(cipher)
        self._clock = clock
        self._writer: Writer | None = None
        self.deltas = Deltas()

    def now(self) -> datetime:
        return self._clock()

    async def append(
        self,
        session_id: str,
        facts: Sequence[Fact],
        *,
        after: int,
        taking: Collection[str] = (),
    ) -> list[Entry]:
        entries = numbered(facts, after, self._clock())
        await self._keep(session_id, entries, after, taking)
        return entries

    async def restore(self, session_id: str, entries: Sequence[Entry]) -> None:
        check_restore(session_id, entries)
        await self._keep(session_id, entries, 0)

    async def _keep(self, session_id: str, entries: Sequence[Entry], after: int, taking: Collection[str] = ()) -> None:
        lines = [_Line(each.seq, micros(each.at), *self._packer.pack(each.fact)) for each in entries]
        await self._do(partial(_append, session_id=session_id, lines=lines, after=after, taking=taking))

    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        upto = LAST if upto is None else upto
        return await self._entries(
            session_id, await self._do(partial(_rows, session_id=session_id, after=after, upto=upto))
        )

    async def stands(self, session_id: str, first: int, last: Entry) -> bool:
        begun, ending = await self._do(partial(_ends, session_id=session_id, first=first, last=last.seq))
        return begun and await self._entries(session_id, ending) == [last]

    async def _entries(self, session_id: str, rows: Sequence[tuple[int, int, int, str]]) -> list[Entry]:
        entries: list[Entry] = []
        large: set[int] = set()
        stamp, time, opened = 0, EPOCH, self._packer.open
        with collector.paused():
            for seq, at, version, line in rows:
                try:
                    if at != stamp:  # the facts of one batch have one
                        stamp, time = at, _time(at)
                    entries.append(Entry(seq, time, opened(version, line)))
                except (DamagedJournal, TypeError, OverflowError) as error:
                    raise self._damaged(session_id, seq, error) from error
                if version == WITH_BLOBS:
                    large.add(len(entries) - 1)
        if large:
            await self._fill(session_id, entries, large)
        return entries

    async def _fill(self, session_id: str, entries: list[Entry], large: Collection[int]) -> None:
        """Put what is kept beside the lines of these entries in its place."""
        names = [name for place in large for name in beside(entries[place].fact)]
        blobs = await self._do(partial(_blobs, session_id=session_id, names=names))
        for place in large:
            seq, at, fact = entries[place].seq, entries[place].at, entries[place].fact
            try:
                entries[place] = Entry(seq, at, self._packer.fill(fact, blobs))
            except DamagedJournal as error:
                raise self._damaged(session_id, seq, error) from error

    def _damaged(self, session_id: str, seq: int, error: Exception) -> DamagedJournal:
        return DamagedJournal(f"session {session_id!r} in {self.path}, entry {seq}: {error}")

    async def sessions(self) -> list[SessionSummary]:
        return [
            SessionSummary(key, seq, _time(first), _time(last), parent or "", shared, held)
            for key, seq, first, last, parent, shared, held in await self._do(_sessions)
        ]

    async def fork(self, session_id: str, branch: str, *, upto: int) -> None:
        line = _Line(upto + 1, micros(self._clock()), *self._packer.pack(Forked(session_id, upto)))
        await self._do(partial(_fork, session_id=session_id, branch=branch, upto=upto, line=line))

    async def cut(self, session_id: str, fact: Compacted) -> None:
        packed = self._packer.pack(fact)
        await self._do(partial(_cut, session_id=session_id, upto=fact.upto, packed=packed, packer=self._packer))

    async def delete(self, session_id: str) -> None:
        await self._do(partial(_delete, session_id=session_id, packer=self._packer))

    async def hold(self, session_id: str, reason: str) -> None:
        await self._do(partial(_hold, session_id=session_id, reason=reason))

    async def aclose(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is None or self._writer.pid != os.getpid():
            # A forked child inherits neither threads nor a usable connection.
            self._writer = Writer(self.path, self._synchronous)
        try:
            return await self._writer.do(work)
        except RelaylineError:
            raise
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StoreError(f"cannot use the session store {self.path}: {error}") from error


# --- On the writer's thread. Each that writes is one transaction, which the writer rolls back if it raises.


class _Line(NamedTuple):
    """A fact as it is kept, with its number and its time."""

    seq: int
    at: int
    version: int
    body: str
    blobs: Mapping[str, bytes]


class _Row(NamedTuple):
    key: int
    seq: int
    held: str


def _session(db: sqlite3.Connection, session_id: str) -> _Row:
    found = db.execute("SELECT key, seq, held FROM session WHERE id = ?", (session_id,)).fetchone()
    if found is None:
        raise unknown(session_id)
    return _Row(*found)


def _append(
    db: sqlite3.Connection, session_id: str, lines: Sequence[_Line], after: int, taking: Collection[str]
) -> None:
    db.execute("BEGIN IMMEDIATE")
    found = db.execute("SELECT key, seq FROM session WHERE id = ?", (session_id,)).fetchone()
    key, seq = found or (None, 0)
    if seq != after:
        raise conflict(session_id, after, seq)
    _write(db, _begin(db, session_id, lines[0].at) if key is None else key, lines)
    take(db, session_id, taking, lines[-1].seq, lines[-1].at)
    db.execute("COMMIT")


def _begin(db: sqlite3.Connection, session_id: str, at: int, parent: int | None = None, shared: int = 0) -> int:
    key: int = db.execute(
        "INSERT INTO session(id, seq, started, updated, written, parent, shared) VALUES (?, 0, ?, ?, 0, ?, ?)"
        " RETURNING key",
        (session_id, at, at, parent, shared),
    ).fetchone()[0]
    return key


def _write(db: sqlite3.Connection, key: int, lines: Sequence[_Line]) -> None:
    rows = [(key, each.seq, each.at, each.version, each.body) for each in lines]
    db.executemany("INSERT INTO fact VALUES (?, ?, ?, ?, ?)", rows)
    for each in lines:
        if each.blobs:
            blobs = [(key, name, content) for name, content in each.blobs.items()]
            db.executemany("INSERT OR IGNORE INTO blob(session, name, content) VALUES (?, ?, ?)", blobs)
    db.execute(
        "UPDATE session SET seq = ?, updated = ?,"
        # Counted, not timed: a clock may stand still or go back.
        " written = (SELECT max(written) + 1 FROM session) WHERE key = ?",
        (lines[-1].seq, lines[-1].at, key),
    )


@collector.paused()
def _rows(db: sqlite3.Connection, session_id: str, after: int, upto: int) -> list[tuple[int, int, int, str]]:
    return db.execute(
        PAST + "SELECT seq, at, version, body FROM past JOIN fact USING (session)"
        " WHERE seq > :after AND seq <= past.upto ORDER BY seq",
        {"id": session_id, "after": after, "upto": upto},
    ).fetchall()


def _ends(
    db: sqlite3.Connection, session_id: str, first: int, last: int
) -> tuple[bool, Sequence[tuple[int, int, int, str]]]:
    """Whether there is a fact number ``first``, and what there is from number ``last`` on."""
    return bool(_rows(db, session_id, first - 1, first)), _rows(db, session_id, last - 1, LAST)


def _blobs(db: sqlite3.Connection, session_id: str, names: Sequence[str]) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    for name in names:  # one by one: there are few, and a list of them has a limit
        row = db.execute(
            PAST + "SELECT content FROM past JOIN blob USING (session) WHERE name = :name LIMIT 1",
            {"id": session_id, "upto": LAST, "name": name},
        ).fetchone()
        if row:
            found[name] = row[0]
    return found


def _sessions(db: sqlite3.Connection) -> list[tuple[str, int, int, int, str | None, int, str]]:
    return db.execute(
        "SELECT each.id, each.seq, each.started, each.updated, parent.id, each.shared, each.held"
        " FROM session AS each LEFT JOIN session AS parent ON parent.key = each.parent ORDER BY each.written"
    ).fetchall()


def _fork(db: sqlite3.Connection, session_id: str, branch: str, upto: int, line: _Line) -> None:
    db.execute("BEGIN IMMEDIATE")
    origin = _session(db, session_id)
    check_fork(session_id, upto, _first(db, session_id), origin.seq)
    taken = db.execute("SELECT seq FROM session WHERE id = ?", (branch,)).fetchone()
    if taken:
        raise conflict(branch, 0, taken[0])
    _write(db, _begin(db, branch, line.at, origin.key, upto), [line])
    db.execute("COMMIT")


def _first(db: sqlite3.Connection, session_id: str) -> int:
    query = PAST + "SELECT min(seq) FROM past JOIN fact USING (session) WHERE seq <= past.upto"
    first: int = db.execute(query, {"id": session_id, "upto": LAST}).fetchone()[0]
    return first


def _cut(db: sqlite3.Connection, session_id: str, upto: int, packed: Packed, packer: Packer) -> None:
    db.execute("BEGIN IMMEDIATE")
    row = _session(db, session_id)
    check_cut(session_id, upto, _first(db, session_id), row.seq, row.held)
    _let_go(db, row.key, packer)
    _take_over(db, row.key, packer)
    at = db.execute("SELECT at FROM fact WHERE session = ? AND seq = ?", (row.key, upto)).fetchone()[0]
    db.execute("DELETE FROM fact WHERE session = ? AND seq <= ?", (row.key, upto))
    db.execute("INSERT INTO fact VALUES (?, ?, ?, ?, ?)", (row.key, upto, at, packed.version, packed.body))
    left = db.execute("SELECT version, body FROM fact WHERE session = ?", (row.key,)).fetchall()
    wanted = _names(left, packer)
    for key, name in db.execute("SELECT key, name FROM blob WHERE session = ?", (row.key,)).fetchall():
        if name not in wanted:
            db.execute("DELETE FROM blob WHERE key = ?", (key,))
    db.execute("COMMIT")


def _delete(db: sqlite3.Connection, session_id: str, packer: Packer) -> None:
    db.execute("BEGIN IMMEDIATE")
    row = _session(db, session_id)
    check_delete(session_id, row.held)
    _let_go(db, row.key, packer)
    for table, column in (("fact", "session"), ("blob", "session"), ("session", "key")):
        db.execute(f"DELETE FROM {table} WHERE {column} = ?", (row.key,))
    forget(db, session_id)
    db.execute("COMMIT")


def _hold(db: sqlite3.Connection, session_id: str, reason: str) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE session SET held = ? WHERE key = ?", (reason, _session(db, session_id).key))
    db.execute("COMMIT")


def _let_go(db: sqlite3.Connection, key: int, packer: Packer) -> None:
    """Give every branch of a session what it shares with it."""
    for (branch,) in db.execute("SELECT key FROM session WHERE parent = ?", (key,)).fetchall():
        _take_over(db, branch, packer)


def _take_over(db: sqlite3.Connection, key: int, packer: Packer) -> None:
    """Copy what a session shares with others, so that it needs them no more."""
    session_id = db.execute("SELECT id FROM session WHERE key = ?", (key,)).fetchone()[0]
    given = {"id": session_id, "upto": LAST, "key": key}
    shared = db.execute(
        PAST + "SELECT seq, at, version, body FROM past JOIN fact USING (session)"
        " WHERE seq <= past.upto AND session != :key",
        given,
    ).fetchall()
    db.executemany("INSERT INTO fact VALUES (?, ?, ?, ?, ?)", [(key, *row) for row in shared])
    wanted = _names([row[2:] for row in shared], packer)
    blobs = [(key, name, content) for name, content in _blobs(db, session_id, sorted(wanted)).items()]
    db.executemany("INSERT OR IGNORE INTO blob(session, name, content) VALUES (?, ?, ?)", blobs)
    db.execute("UPDATE session SET parent = NULL, shared = 0 WHERE key = ?", (key,))


def _names(lines: Sequence[tuple[int, str]], packer: Packer) -> set[str]:
    """What these lines have beside them."""
    large = [packer.open(version, body) for version, body in lines if version == WITH_BLOBS]
    return {name for fact in large for name in beside(fact)}


def _time(micros: int) -> datetime:
    return EPOCH + timedelta(0, 0, micros)
