"""Words of agents on their way through the server, as notifications: never kept, and to those who watch alone."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from relayline.errors import DamagedJournal, StoreError
from relayline.journal.deltas import Delta, Deltas
from relayline.journal.packing import Packer
from relayline.journal.postgres import inbox_statements as statements
from relayline.journal.postgres.connections import Connections, rows
from relayline.journal.postgres.layout import lock_class
from relayline.journal.postgres.waiting import Listener, bell_of, words_channel_of

LONGEST = 7900
"""Bytes of a notification; the server takes less than 8000."""

PIECE = 700
"""Characters of words in one: each may take seven bytes, and beside them stands the id of the session."""


class PostgresDeltas(Deltas):
    """Between all processes at one schema. What a tool shows is left out if it is longer than a notification may be.

    Words that are said while a connection is broken are missed, and read with the whole reply.
    """

    def __init__(self, schema: str, packer: Packer, place: Callable[[], tuple[Connections, Listener]]) -> None:
        super().__init__()
        self._schema = schema
        self._packer = packer
        self._place = place  # of the event loop that asks

    async def publish(self, session_id: str, delta: Delta) -> bool:
        heard = True
        for start in range(0, max(len(delta.words), 1), PIECE):
            piece = delta._replace(words=delta.words[start : start + PIECE])
            text = json.dumps(
                [session_id, self._packer.seal(json.dumps({"delta": piece}, ensure_ascii=False))], ensure_ascii=False
            )
            if len(text.encode()) > LONGEST:
                break
            given = {"channel": words_channel_of(self._schema), "words": text}
            lock = {"lock": lock_class(self._schema), "bell": bell_of(session_id)}
            with suppress(StoreError):  # they are in the reply that follows
                heard = bool(await self._place()[0].repeat(partial(rows, query=statements.PUBLISH, **given, **lock)))
            if not heard:
                break
        return heard

    @asynccontextmanager
    async def watch(self, session_id: str) -> AsyncGenerator[asyncio.Queue[Delta]]:
        _, listener = self._place()
        async with super().watch(session_id) as queue:
            listener.hear(self._heard)
            with listener.at(session_id):  # who publishes looks whether somebody waits there
                await listener.ready()
                yield queue

    def _heard(self, text: str) -> None:
        try:
            session_id, sealed = json.loads(text)
            self.arrived(session_id, Delta(*json.loads(self._packer.unseal(sealed))["delta"]))
        except (ValueError, TypeError, KeyError, DamagedJournal):
            return  # of another release, or with another key
