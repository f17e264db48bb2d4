"""What changes more than one session, or takes something away: each function is the inside of one transaction.

These take turns (branches may begin beside one another), so that nobody waits for somebody who waits for them, and no
session's past changes while another reads it to keep it. Appends go on meanwhile, except to a session that is cut or
deleted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg.types.numeric import Int8

from relayline.journal.packing import WITH_BLOBS, Packed, Packer, beside
from relayline.journal.postgres import statements
from relayline.journal.postgres.batch import Batch
from relayline.journal.postgres.connections import rows, scalar
from relayline.journal.postgres.inbox_statements import FORGET
from relayline.journal.postgres.layout import SHAPE, Connection, lock_class
from relayline.journal.store import check_cut, check_delete, check_fork, conflict, unknown

LAST = 2**62


class Row(NamedTuple):
    """What a session is, without its facts."""

    key: int
    seq: int
    held: str


async def fork(connection: Connection, session_id: str, batch: Batch, upto: int) -> None:
    """Begin the session of ``batch``, which is its `Forked`, with the first ``upto`` facts of another."""
    await connection.execute(statements.BESIDE_OTHERS, {"of": lock_class(batch.schema), "lock": SHAPE})
    origin = await _session(connection, session_id)
    check_fork(session_id, upto, await _first(connection, session_id), origin.seq)
    if not await batch.write(connection, parent=origin.key, shared=upto):
        raise conflict(batch.session_id, 0, (await _session(connection, batch.session_id)).seq)


@dataclass(frozen=True, slots=True)
class Taking:
    """Takes something away, from sessions of which others may be branches."""

    schema: str
    packer: Packer

    async def cut(self, connection: Connection, session_id: str, upto: int, packed: Packed) -> None:
        """Put ``packed`` in the place of all up to number ``upto``."""
        row = await self._alone_with(connection, session_id)
        check_cut(session_id, upto, await _first(connection, session_id), row.seq, row.held)
        await self._let_go(connection, row.key)
        await self._take_over(connection, row.key, session_id)
        line = {"key": row.key, "upto": Int8(upto), "version": packed.version, "body": packed.body}
        await connection.execute(statements.STAND_IN, line)
        large = await rows(connection, statements.LARGE, key=row.key, large=WITH_BLOBS)
        await connection.execute(statements.DROP_BLOBS, {"key": row.key, "names": self._names(large)})

    async def delete(self, connection: Connection, session_id: str) -> None:
        """Delete a session and all that was kept for it alone."""
        row = await self._alone_with(connection, session_id)
        check_delete(session_id, row.held)
        await self._let_go(connection, row.key)
        await connection.execute(statements.DELETE, {"key": row.key})
        await connection.execute(FORGET, {"id": session_id})

    async def _alone_with(self, connection: Connection, session_id: str) -> Row:
        await connection.execute(statements.ALONE, {"of": lock_class(self.schema), "lock": SHAPE})
        return await _session(connection, session_id, statements.SESSION + " FOR UPDATE")

    async def _let_go(self, connection: Connection, key: int) -> None:
        """Give every branch of a session what it shares with it."""
        for branch, branch_id in await rows(connection, statements.BRANCHES, key=key):
            await self._take_over(connection, branch, branch_id)

    async def _take_over(self, connection: Connection, key: int, session_id: str) -> None:
        """Copy what a session shares with others, so that it needs them no more."""
        past = {"id": session_id, "upto": Int8(LAST), "key": key}
        large = await rows(connection, statements.TAKE_OVER, **past, large=WITH_BLOBS)
        if large:
            await connection.execute(statements.TAKE_OVER_BLOBS, {**past, "names": self._names(large)})
        await connection.execute(statements.ON_ITS_OWN, {"key": key})

    def _names(self, lines: Sequence[tuple[int, str]]) -> list[str]:
        """What these lines have beside them."""
        return sorted({name for version, body in lines for name in beside(self.packer.open(version, body))})


async def _session(connection: Connection, session_id: str, query: Any = statements.SESSION) -> Row:
    found = await rows(connection, query, id=session_id)
    if not found:
        raise unknown(session_id)
    return Row(*found[0])


async def _first(connection: Connection, session_id: str) -> int:
    first: int = await scalar(connection, statements.FIRST, id=session_id, upto=Int8(LAST))
    return first
