"""Being told of writes, and of words: one connection that listens, for all who wait in one event loop.

A notification makes every commit that has one wait for the others, over all sessions. So there is one only where
somebody waits. Sessions are dealt out to a few bells. Whoever waits at one holds its advisory lock, shared; an append
tries to take that lock for itself, and rings only if it cannot. As it keeps it until it has committed, nobody begins to
wait between that try and what there is to see. A bell's number is all that is sent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from typing import LiteralString
from zlib import crc32

import psycopg
from psycopg import Notify, sql

from relayline.errors import StoreError
from relayline.journal.postgres.layout import Connection, lock_class

BELLS = 256
"""A lock for each session that somebody waits for would fill the server's table of locks, which has 6400 by default."""

TAKE = "SELECT pg_advisory_lock_shared(%s, bell) FROM unnest(%s::int[]) AS bell"
GIVE = "SELECT pg_advisory_unlock_shared(%s, bell) FROM unnest(%s::int[]) AS bell"


def bell_of(session_id: str) -> int:
    """The number of the bell that rings for this session, and for others."""
    return crc32(session_id.encode()) % BELLS


def channel_of(schema: str) -> str:
    """What those who wait listen to."""
    return f"relayline_{schema}"


def words_channel_of(schema: str) -> str:
    """What those who watch words listen to."""
    return f"{channel_of(schema)}_words"


class Listener:
    """Connected from the first wait on, and again after the connection broke."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], schema: str) -> None:
        self._connect = connect
        self._schema = schema
        self._words: Callable[[str], None] | None = None
        self._listens_to_words = False
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._descriptor = -1  # of its socket; a broken connection no longer knows
        self._waiting: dict[int, set[asyncio.Event]] = {}
        self._held: set[int] = set()  # the bells that the server knows we wait at
        self._changing = asyncio.Lock()
        self._tidying: asyncio.Task[None] | None = None
        self.closed = False

    def hear(self, words: Callable[[str], None]) -> None:
        """Hand on what is sent as words too, from the next time it is `ready`."""
        self._words = words

    @contextmanager
    def at(self, session_id: str) -> Generator[asyncio.Event]:
        """An event that is set when there may be something new in the session."""
        bell, event = bell_of(session_id), asyncio.Event()
        self._waiting.setdefault(bell, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[bell].discard(event)
            if not self._waiting[bell]:
                del self._waiting[bell]  # the lock is given back when it next rings for nobody

    async def ready(self) -> bool:
        """Whether all who wait now will be told; if not, there is no connection for it to be had.

        Whoever waits where nobody did is rung for once: there may be something already.
        """
        async with self._changing:
            try:
                if self._connection is None and not self.closed:
                    await self._listen()
                if self._connection is not None and self._words is not None and not self._listens_to_words:
                    await self._ask(self._connection, _listen(words_channel_of(self._schema)))
                    self._listens_to_words = True
                if self._connection is not None and (new := self._waiting.keys() - self._held):
                    await self._ask(self._connection, TAKE, lock_class(self._schema), sorted(new))
                    self._held |= new
                    for bell in new:
                        self._ring(bell)  # what was written before the lock was ours rang for nobody
            except (StoreError, psycopg.Error, OSError):
                self._hang_up()
            finally:
                if self.closed:
                    self._hang_up()
            return self._connection is not None

    def close(self) -> None:
        """Hang up for good. Whoever waits is told."""
        self.closed = True
        if self._tidying is not None and not self._loop.is_closed():
            self._tidying.cancel()
        if not self._changing.locked() or self._loop.is_closed():  # who is changing something will see to it
            self._hang_up()

    async def _listen(self) -> None:
        connection = await self._connect()
        connection.add_notify_handler(self._heard)
        try:
            # A bell is held up by an append that does not get to its end; meanwhile the others are to look.
            await connection.execute("SET lock_timeout = '1s'")
            await connection.execute(_listen(channel_of(self._schema)))
        except BaseException:
            await connection.close()
            raise
        self._connection, self._held, self._listens_to_words = connection, set(), False
        self._watch(connection)

    async def _give_back(self) -> None:
        """Give back the locks of the bells where nobody waits any more."""
        async with self._changing:
            if self._connection is not None and (old := self._held - self._waiting.keys()):
                self._held -= old
                with suppress(psycopg.Error, OSError):
                    await self._ask(self._connection, GIVE, lock_class(self._schema), sorted(old))

    async def _ask(self, connection: Connection, query: LiteralString | sql.Composed, *given: object) -> None:
        done = False
        self._unwatch()  # psycopg puts a reader of its own there for as long as a query takes
        try:
            await connection.execute(query, given or None)
            done = True
        finally:
            if not done:
                self._hang_up()
            elif self._connection is connection:
                self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        self._descriptor = connection.fileno()
        self._loop.add_reader(self._descriptor, self._readable)
        self._readable()  # what came behind the answer to a query is in a buffer already

    def _unwatch(self) -> None:
        if self._descriptor >= 0:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.remove_reader(self._descriptor)
            self._descriptor = -1

    def _readable(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            connection.pgconn.consume_input()
            while notify := connection.pgconn.notifies():
                self._told(notify.relname.decode(), notify.extra.decode())
        except psycopg.Error:
            self._hang_up()

    def _heard(self, notify: Notify) -> None:
        self._told(notify.channel, notify.payload)

    def _told(self, channel: str, payload: str) -> None:
        if channel == channel_of(self._schema):
            self._ring(int(payload) if payload.isdecimal() else -1)
        elif self._words is not None:
            self._words(payload)

    def _ring(self, bell: int) -> None:
        for event in self._waiting.get(bell, ()):
            event.set()
        if bell not in self._waiting and bell in self._held and (self._tidying is None or self._tidying.done()):
            self._tidying = self._loop.create_task(self._give_back())

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return  # nobody was promised to be told
        self._unwatch()
        connection.pgconn.finish()
        self._held = set()
        for events in self._waiting.values():
            for event in events:
                event.set()


def _listen(channel: str) -> sql.Composed:
    return sql.SQL("LISTEN {}").format(sql.Identifier(channel))
