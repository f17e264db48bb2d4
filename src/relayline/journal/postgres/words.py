"""Words of agents on their way through the server, as notifications: never kept, and to those who watch alone."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import psycopg
from psycopg import sql

from relayline.errors import DamagedJournal, StoreError
from relayline.journal.deltas import Delta, Deltas
from relayline.journal.packing import Packer
from relayline.journal.postgres import inbox_statements as statements
from relayline.journal.postgres.connections import Connections, rows
from relayline.journal.postgres.layout import Connection, lock_class
from relayline.journal.postgres.waiting import Listener, bell_of, channel_of

LONGEST = 7900
"""Bytes of a notification; the server takes less than 8000."""

PIECE = 700
"""Characters of words in one: each may take seven bytes, and beside them stands the id of the session."""

AGAIN = 1.0
"""Seconds until a broken connection is tried again. What is said meanwhile is missed, and read with the whole reply."""


class PostgresDeltas(Deltas):
    """Between all processes at one schema. What a tool shows is left out if it is longer than a notification may be."""

    def __init__(self, schema: str, packer: Packer, place: Callable[[], tuple[Connections, Listener]]) -> None:
        super().__init__()
        self._schema = schema
        self._packer = packer
        self._place = place  # of the event loop that asks
        self._listeners: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}
        self._ready: dict[asyncio.AbstractEventLoop, asyncio.Event] = {}

    async def publish(self, session_id: str, delta: Delta) -> None:
        for start in range(0, max(len(delta.words), 1), PIECE):
            piece = delta._replace(words=delta.words[start : start + PIECE])
            text = json.dumps(
                [session_id, self._packer.seal(json.dumps({"delta": piece}, ensure_ascii=False))], ensure_ascii=False
            )
            if len(text.encode()) > LONGEST:
                return
            given = {"channel": self._channel, "words": text}
            lock = {"lock": lock_class(self._schema), "bell": bell_of(session_id)}
            with suppress(StoreError):  # they are in the reply that follows
                await self._place()[0].repeat(partial(rows, query=statements.PUBLISH, **given, **lock))

    @asynccontextmanager
    async def watch(self, session_id: str) -> AsyncGenerator[asyncio.Queue[Delta]]:
        loop = asyncio.get_running_loop()
        connections, listener = self._place()
        async with super().watch(session_id) as queue:
            if loop not in self._listeners or self._listeners[loop].done():
                self._ready[loop] = asyncio.Event()
                self._listeners[loop] = asyncio.create_task(self._listen(connections.open, self._ready[loop]))
            await self._ready[loop].wait()
            with listener.at(session_id):  # who publishes looks whether somebody waits there
                await listener.ready()
                yield queue

    def close(self) -> None:
        """Stop listening."""
        task = self._listeners.pop(asyncio.get_running_loop(), None)
        if task is not None:
            task.cancel()

    @property
    def _channel(self) -> str:
        return f"{channel_of(self._schema)}_words"

    async def _listen(self, connect: Callable[[], Awaitable[Connection]], ready: asyncio.Event) -> None:
        while True:
            try:
                connection = await connect()
                try:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
                    ready.set()
                    async for notification in connection.notifies():
                        self._heard(notification.payload)
                finally:
                    await connection.close()
            except (StoreError, psycopg.Error, OSError):
                ready.set()  # nobody has to wait for it: words are not what the journal holds
                await asyncio.sleep(AGAIN)

    def _heard(self, text: str) -> None:
        try:
            session_id, sealed = json.loads(text)
            self.arrived(session_id, Delta(*json.loads(self._packer.unseal(sealed))["delta"]))
        except (ValueError, TypeError, KeyError, DamagedJournal):
            return  # of another release, or with another key
