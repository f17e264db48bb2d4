"""The inbox of a SQLite store."""

import json
import sqlite3
from abc import abstractmethod
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from relayline.journal.inbox import ANY, CANCELLED, Claim, Delivery, Fate, Inbox, Receipt, Room, gone
from relayline.journal.packing import Packer

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

INBOX = """
CREATE TABLE inbox(
    number INTEGER PRIMARY KEY AUTOINCREMENT, session TEXT NOT NULL, message TEXT NOT NULL, due INTEGER NOT NULL,
    body TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', seq INTEGER NOT NULL DEFAULT 0,
    problem TEXT NOT NULL DEFAULT '', UNIQUE(session, message)
);
CREATE INDEX inbox_done ON inbox(due) WHERE state != 'waiting';
CREATE TABLE work(
    session TEXT PRIMARY KEY, team TEXT NOT NULL, tenant TEXT NOT NULL, due INTEGER NOT NULL, until INTEGER NOT NULL,
    owner TEXT NOT NULL DEFAULT '', attempt INTEGER NOT NULL DEFAULT 0, cancelled INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX work_due ON work(team, due);
CREATE INDEX work_owner ON work(owner) WHERE owner != '';
"""
"""``inbox.due``: when a message may be taken, and once it was, when that was. ``work``: a row for each session that
somebody has to look after, since ``due``, and whom it is left to, ``until`` when."""


class SqliteInbox(Inbox):
    """All of an inbox but the appending."""

    _clock: Callable[[], datetime]
    _packer: Packer

    @abstractmethod
    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do it on the writer's thread."""
        ...

    async def put(
        self,
        session_id: str,
        message_id: str,
        body: str,
        *,
        team: str,
        tenant: str = "",
        not_before: datetime | None = None,
    ) -> bool:
        now = self._clock()
        due = micros(max(not_before or now, now))
        sealed = self._packer.seal(body)
        return await self._do(lambda db: _put(db, session_id, message_id, sealed, team, tenant, due, micros(now)))

    async def receipt(self, session_id: str, message_id: str) -> Receipt | None:
        found = await self._do(lambda db: _receipt(db, session_id, message_id))
        return found and Receipt(message_id, found[0], found[1], self._read(found[2]))

    async def refuse(self, session_id: str, message_id: str, problem: str) -> None:
        sealed, now = self._written(problem), micros(self._clock())
        await self._do(lambda db: _refuse(db, session_id, message_id, sealed, now))

    async def claim(
        self, session_id: str, owner: str, *, team: str, seconds: float, force: bool = False, room: Room = ANY
    ) -> Claim | None:
        now = self._clock()
        until = micros(now + timedelta(seconds=seconds))
        claim = await self._do(lambda db: _claim(db, session_id, owner, team, micros(now), until, force, room))
        return claim and replace(
            claim, waiting=[Delivery(key, self._packer.unseal(body)) for key, body in claim.waiting]
        )

    async def renew(self, owner: str, *, seconds: float) -> Collection[str]:
        until = micros(self._clock() + timedelta(seconds=seconds))
        return await self._do(lambda db: _renew(db, owner, until))

    async def finish(self, claim: Claim) -> bool:
        now = micros(self._clock())
        return await self._do(lambda db: _finish(db, claim, now))

    async def hand_back(self, claim: Claim, *, seconds: float = 0) -> None:
        until = micros(self._clock() + timedelta(seconds=seconds))
        await self._do(lambda db: _hand_back(db, claim, until))

    async def due(self, team: str, *, quiet: float = 0, most: int = 100) -> list[str]:
        before = micros(self._clock() - timedelta(seconds=quiet))
        return await self._do(lambda db: _due(db, team, before, most))

    async def cancel(self, session_id: str) -> bool:
        sealed, now = self._written(CANCELLED), micros(self._clock())
        return await self._do(lambda db: _cancel(db, session_id, sealed, now))

    async def purge(self, before: datetime) -> int:
        return await self._do(lambda db: _purge(db, micros(before)))

    def _written(self, problem: str) -> str:
        return self._packer.seal(json.dumps({"problem": problem}))

    def _read(self, problem: str) -> str:
        return json.loads(self._packer.unseal(problem))["problem"] if problem else ""


def micros(at: datetime) -> int:
    """A time as the tables have it."""
    return (at - EPOCH) // timedelta(microseconds=1)


# --- On the writer's thread. Each that writes is one transaction, which the writer rolls back if it raises.


def _put(
    db: sqlite3.Connection, session: str, message: str, body: str, team: str, tenant: str, due: int, now: int
) -> bool:
    db.execute("BEGIN IMMEDIATE")
    kept = db.execute(
        "INSERT INTO inbox(session, message, due, body) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (session, message, due, body),
    )
    if kept.rowcount:
        db.execute(
            "INSERT INTO work(session, team, tenant, due, until) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT(session) DO UPDATE SET due = min(due, excluded.due)",
            (session, team, tenant, due, now),
        )
    db.execute("COMMIT")
    return bool(kept.rowcount)


def _receipt(db: sqlite3.Connection, session: str, message: str) -> tuple[Fate, int, str] | None:
    return db.execute(
        "SELECT state, seq, problem FROM inbox WHERE session = ? AND message = ?", (session, message)
    ).fetchone()


def _refuse(db: sqlite3.Connection, session: str, message: str, problem: str, now: int) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.execute(
        "UPDATE inbox SET state = 'refused', body = '', problem = ?, due = ?"
        " WHERE session = ? AND message = ? AND state = 'waiting'",
        (problem, now, session, message),
    )
    db.execute("COMMIT")


def take(db: sqlite3.Connection, session: str, messages: Collection[str], seq: int, now: int) -> None:
    """Part of an append's transaction."""
    for message in messages:
        done = db.execute(
            "UPDATE inbox SET state = 'taken', body = '', seq = ?, due = ?"
            " WHERE session = ? AND message = ? AND state = 'waiting'",
            (seq, now, session, message),
        )
        if not done.rowcount:
            raise gone(session, messages)


def _claim(
    db: sqlite3.Connection,
    session: str,
    owner: str,
    team: str,
    now: int,
    until: int,
    force: bool,
    room: Room,
) -> Claim | None:
    db.execute("BEGIN IMMEDIATE")
    found = db.execute(
        "SELECT attempt, cancelled, tenant FROM work WHERE session = :session AND team = :team AND due <= :now"
        " AND (until <= :now OR owner = :owner OR :force)",
        {"session": session, "team": team, "now": now, "owner": owner, "force": force},
    ).fetchone()
    if found is None or not _has_room(db, session, found[2], now, room):
        db.execute("COMMIT")
        return None
    attempt = found[0] + 1
    db.execute("UPDATE work SET owner = ?, until = ?, attempt = ? WHERE session = ?", (owner, until, attempt, session))
    waiting = db.execute(
        "SELECT message, body FROM inbox WHERE session = ? AND state = 'waiting' AND due <= ? ORDER BY number",
        (session, now),
    ).fetchall()
    db.execute("COMMIT")
    return Claim(session, owner, attempt, bool(found[1]), [Delivery(*each) for each in waiting])


def _has_room(db: sqlite3.Connection, session: str, tenant: str, now: int, room: Room) -> bool:
    for most, where in ((room.sessions, ""), (room.per_tenant, " AND tenant = :tenant")):
        if most is not None:
            others = "SELECT count(*) FROM work WHERE until > :now AND session != :session" + where
            if db.execute(others, {"now": now, "session": session, "tenant": tenant}).fetchone()[0] >= most:
                return False
    return True


def _renew(db: sqlite3.Connection, owner: str, until: int) -> Collection[str]:
    db.execute("BEGIN IMMEDIATE")
    mine = db.execute("UPDATE work SET until = ? WHERE owner = ? RETURNING session, cancelled", (until, owner))
    cancelled = {session for session, flag in mine.fetchall() if flag}
    db.execute("COMMIT")
    return cancelled


def _finish(db: sqlite3.Connection, held: Claim, now: int) -> bool:
    mine = {"session": held.session_id, "owner": held.owner, "attempt": held.attempt, "now": now}
    db.execute("BEGIN IMMEDIATE")
    left: int | None = db.execute(
        "SELECT min(due) FROM inbox WHERE session = ? AND state = 'waiting'", (held.session_id,)
    ).fetchone()[0]
    if left is None:
        changed = db.execute(
            "DELETE FROM work WHERE session = :session AND owner = :owner AND attempt = :attempt", mine
        )
    else:
        changed = db.execute(
            "UPDATE work SET due = :due, until = :now, owner = '', attempt = 0, cancelled = 0"
            " WHERE session = :session AND owner = :owner AND attempt = :attempt",
            {**mine, "due": left},
        )
    db.execute("COMMIT")
    return bool(changed.rowcount) and left is not None and left <= now


def _hand_back(db: sqlite3.Connection, held: Claim, until: int) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.execute(
        "UPDATE work SET until = ?, owner = '' WHERE session = ? AND owner = ? AND attempt = ?",
        (until, held.session_id, held.owner, held.attempt),
    )
    db.execute("COMMIT")


def _due(db: sqlite3.Connection, team: str, before: int, most: int) -> list[str]:
    rows = db.execute(
        "SELECT session FROM work WHERE team = :team AND due <= :before AND until <= :before ORDER BY due LIMIT :most",
        {"team": team, "before": before, "most": most},
    )
    return [session for (session,) in rows.fetchall()]


def _cancel(db: sqlite3.Connection, session: str, problem: str, now: int) -> bool:
    db.execute("BEGIN IMMEDIATE")
    found = db.execute("UPDATE work SET cancelled = 1 WHERE session = ? AND due <= ?", (session, now)).rowcount
    if found:
        db.execute(
            "UPDATE inbox SET state = 'refused', body = '', problem = :problem, due = :now"
            " WHERE session = :session AND state = 'waiting' AND due <= :now",
            {"session": session, "problem": problem, "now": now},
        )
    db.execute("COMMIT")
    return bool(found)


def _purge(db: sqlite3.Connection, before: int) -> int:
    db.execute("BEGIN IMMEDIATE")
    count = db.execute("DELETE FROM inbox WHERE state != 'waiting' AND due < ?", (before,)).rowcount
    db.execute("COMMIT")
    return count


def forget(db: sqlite3.Connection, session: str) -> None:
    """Part of a deletion's transaction."""
    db.execute("DELETE FROM inbox WHERE session = ?", (session,))
    db.execute("DELETE FROM work WHERE session = ?", (session,))
