"""The store: any number of processes on one database, a row for each fact."""

import asyncio
import os
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter
from typing import Any

from psycopg.types.numeric import Int8

from relayline.errors import DamagedJournal, UsageError
from relayline.events import Compacted, Entry, Fact, Forked
from relayline.journal import collector
from relayline.journal.packing import WITH_BLOBS, Cipher, Durability, Packer, beside, durable
from relayline.journal.postgres import changes, statements
from relayline.journal.postgres.batch import Batch
from relayline.journal.postgres.connections import Connections, Database, rows, scalar
from relayline.journal.postgres.inbox import PostgresInbox
from relayline.journal.postgres.layout import checked
from relayline.journal.postgres.waiting import Listener
from relayline.journal.postgres.words import PostgresDeltas
from relayline.journal.store import (
    LOOK_AGAIN,
    Clock,
    Look,
    SessionSummary,
    Store,
    check_restore,
    now,
    numbered,
    unknown,
)

LOOK_ANYWAY = 5.0
"""Seconds between two looks while we are told of writes: what stands between us and the server may have lost one."""


class PostgresCheckpointStorage(Store, PostgresInbox):
    """One schema of a PostgreSQL database, for any number of sessions, processes and machines.

    Connected on first use; the schema and its tables are made if they are missing. A batch that was acknowledged
    survives the death of this process at any moment. With ``durability="full"`` it survives that of the database server
    too; with ``"normal"`` the last moments before it may be lost (by default 0.6 seconds), and nothing else.

    ``dsn``: ``postgresql://USER:PASSWORD@HOST/DATABASE``, or what else libpq takes. ``cipher``: encrypts what is said
    and done, a `cryptography.fernet.Fernet` for instance; ids and times stay legible. ``connections``: at most so many
    at once, and one more while something waits.

    Each event loop has connections of its own, so each that used the store should close it; what was left by a loop
    that is no more is closed from the next. A forked child makes its own.

    Raises:
        UsageError: ``dsn`` cannot be read, ``schema`` is no name of one, or there are no connections.
    """

    def __init__(
        self,
        dsn: str,
        clock: Clock = now,
        *,
        schema: str = "relayline",
        durability: Durability = "normal",
        cipher: Cipher | None = None,
        connections: int = 5,
    ) -> None:
        if connections < 1:
            raise UsageError(f"a store needs at least one connection, not {connections}")
        self._database = Database.at(dsn)
        self.schema = checked(schema)
        self._durable = durable(durability)
        self._most = connections
        self._packer = Packer(cipher)
        self._clock = clock
        # By process too: a forked child must not touch what its parent has.
        self.deltas = PostgresDeltas(self.schema, self._packer, self._place)
        self._places: dict[tuple[int, asyncio.AbstractEventLoop], tuple[Connections, Listener]] = {}

    def __repr__(self) -> str:
        return f"<PostgresCheckpointStorage: schema {self.schema!r} of {self._database.name}>"

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
        await self._batch(session_id, entries, after, taking).append(self._connections)
        return entries

    async def restore(self, session_id: str, entries: Sequence[Entry]) -> None:
        check_restore(session_id, entries)
        await self._batch(session_id, entries, 0).append(self._connections)

    def _batch(self, session_id: str, entries: Sequence[Entry], after: int, taking: Collection[str] = ()) -> Batch:
        packed = [self._packer.pack(each.fact) for each in entries]
        return Batch(self.schema, session_id, entries, packed, after, tuple(taking))

    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        upto = changes.LAST if upto is None else upto
        find = partial(rows, query=statements.READ, id=session_id, after=Int8(after), upto=Int8(upto))
        found = await self._connections.repeat(find)
        try:
            return await self._entries(session_id, found)
        except DamagedJournal:
            # Between a look at the lines and one beside them, somebody may have cut or deleted the session.
            again = await self._connections.repeat(find)
            if again == found:
                raise
            return await self._entries(session_id, again)

    async def stands(self, session_id: str, first: int, last: Entry) -> bool:
        find = partial(
            rows, query=statements.ENDS, id=session_id, first=Int8(first), last=Int8(last.seq), upto=Int8(changes.LAST)
        )
        found = await self._connections.repeat(find)
        begun = any(row[0] == first for row in found)
        return begun and await self._entries(session_id, [row for row in found if row[0] >= last.seq]) == [last]

    async def _entries(self, session_id: str, found: Sequence[tuple[Any, ...]]) -> list[Entry]:
        entries: list[Entry] = []
        large: list[int] = []
        with collector.paused():
            for seq, at, version, line in sorted(found, key=itemgetter(0)):
                try:
                    entries.append(Entry(seq, at.replace(tzinfo=UTC), self._packer.open(version, line)))
                except DamagedJournal as error:
                    raise self._damaged(session_id, seq, error) from error
                if version == WITH_BLOBS:
                    large.append(len(entries) - 1)
        if large:
            await self._fill(session_id, entries, large)
        return entries

    async def _fill(self, session_id: str, entries: list[Entry], large: Collection[int]) -> None:
        """Put what is kept beside the lines of these entries in its place."""
        names = sorted({name for place in large for name in beside(entries[place].fact)})
        find = partial(rows, query=statements.BLOBS, id=session_id, upto=Int8(changes.LAST), names=names)
        blobs = dict(await self._connections.repeat(find))
        for place in large:
            seq, at, fact = entries[place].seq, entries[place].at, entries[place].fact
            try:
                entries[place] = Entry(seq, at, self._packer.fill(fact, blobs))
            except DamagedJournal as error:
                raise self._damaged(session_id, seq, error) from error

    def _damaged(self, session_id: str, seq: int, error: Exception) -> DamagedJournal:
        return DamagedJournal(f"session {session_id!r} in {self._database.name}, entry {seq}: {error}")

    async def sessions(self) -> list[SessionSummary]:
        return [
            SessionSummary(key, seq, first.replace(tzinfo=UTC), last.replace(tzinfo=UTC), *rest)
            for key, seq, first, last, *rest in await self._connections.repeat(partial(rows, query=statements.SESSIONS))
        ]

    async def fork(self, session_id: str, branch: str, *, upto: int) -> None:
        batch = self._batch(branch, [Entry(upto + 1, self._clock(), Forked(session_id, upto))], 0)
        begin = partial(changes.fork, session_id=session_id, batch=batch, upto=upto)
        await self._connections.transact(begin)

    async def cut(self, session_id: str, fact: Compacted) -> None:
        taking, packed = changes.Taking(self.schema, self._packer), self._packer.pack(fact)
        await self._connections.transact(partial(taking.cut, session_id=session_id, upto=fact.upto, packed=packed))

    async def delete(self, session_id: str) -> None:
        taking = changes.Taking(self.schema, self._packer)
        await self._connections.transact(partial(taking.delete, session_id=session_id))

    async def hold(self, session_id: str, reason: str) -> None:
        if not await self._connections.repeat(partial(rows, query=statements.HOLD, id=session_id, reason=reason)):
            raise unknown(session_id)

    async def wait(self, session_id: str, *, after: int, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        connections, listener = self._place()
        until = loop.time() + seconds
        find = partial(scalar, query=statements.BEYOND, id=session_id, after=Int8(after))
        if await connections.repeat(find):
            return True
        if seconds <= 0:
            return False
        with listener.at(session_id) as bell:
            while True:
                told = await listener.ready()
                bell.clear()  # before the look: what comes after that rings it again
                if await connections.repeat(find):
                    return True
                left = until - loop.time()
                if left <= 0 or listener.closed:
                    return False
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, LOOK_ANYWAY if told else LOOK_AGAIN)):
                        await bell.wait()

    @asynccontextmanager
    async def following(self, session_id: str) -> AsyncGenerator[Look]:
        _, listener = self._place()
        with listener.at(session_id) as bell:

            async def look(after: int, seconds: float) -> bool:
                if listener.closed or not await listener.ready():
                    return await self.wait(session_id, after=after, seconds=seconds)
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(seconds, LOOK_ANYWAY)):
                        await bell.wait()
                bell.clear()
                return True

            await listener.ready()
            bell.clear()
            yield look

    async def aclose(self) -> None:
        here = self._places.pop((os.getpid(), asyncio.get_running_loop()), ())
        for each in here:
            each.close()
        self._tidy()

    @property
    def _connections(self) -> Connections:
        return self._place()[0]

    def _place(self) -> tuple[Connections, Listener]:
        key = os.getpid(), asyncio.get_running_loop()
        place = self._places.get(key)
        if place is None:
            self._tidy()
            connections = Connections(self._database, self.schema, self._durable, self._most)
            place = self._places[key] = connections, Listener(connections.open, self.schema)
        return place

    def _tidy(self) -> None:
        """Close what is left of loops that ended without it."""
        for key in list(self._places):
            if key[0] == os.getpid() and key[1].is_closed():
                for each in self._places.pop(key):
                    each.close()
