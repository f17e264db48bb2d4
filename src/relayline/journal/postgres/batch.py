"""An append: one statement that compares and writes, and what to do if its end is not seen."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg.types.numeric import Int8

from relayline.errors import SequenceConflict, StoreError
from relayline.events import Entry
from relayline.journal.inbox import gone
from relayline.journal.packing import Packed
from relayline.journal.postgres import statements
from relayline.journal.postgres.connections import Connections, Lost, Patience, Undone
from relayline.journal.postgres.layout import Connection, lock_class
from relayline.journal.postgres.waiting import bell_of, channel_of
from relayline.journal.store import conflict

TRIES = 5
"""How often a statement is sent again that the server took back, in favour of somebody else's."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries to be written to ``session_id`` if it ends with number ``after``, and what is kept of their facts."""

    schema: str
    session_id: str
    entries: Sequence[Entry]
    packed: Sequence[Packed]
    after: int
    taking: tuple[str, ...] = ()
    token: int = field(default_factory=lambda: secrets.randbits(63))
    """Tells our facts from those of somebody who wrote the same words in the same microsecond."""

    async def append(self, connections: Connections) -> None:
        """Write it, once.

        A statement whose end was not seen is simply sent again. Either it had been kept, or is about to be: then this
        one finds another end of the session, and our token there. Or it had not, and never will.

        Raises:
            SequenceConflict: the session's last fact is another; nothing was written.
            StoreError: nothing was written; or, as it then says, nobody knows.
        """
        doubt: Patience | None = None  # since a statement's end was not seen
        undone = 0
        while True:
            try:
                async with connections.one() as connection:
                    if not await self.write(connection):
                        await self._compare(connection, sent_before=doubt is not None)
                    return
            except SequenceConflict:
                raise
            except StoreError as error:
                if isinstance(error, Undone) and undone < TRIES:
                    undone += 1
                    continue
                if isinstance(error, Lost) and doubt is None:
                    doubt = Patience(error)
                    continue  # at once: as a rule the connection had long been dead
                if doubt is None:
                    raise
                await doubt.pause()

    async def write(self, connection: Connection, parent: int | None = None, shared: int = 0) -> bool:
        """Whether it was written: not, if the session has another end."""
        first, last = self.entries[0], self.entries[-1]
        given: dict[str, object] = {
            "id": self.session_id,
            "after": Int8(self.after),
            "first": Int8(first.seq),
            "last": Int8(last.seq),
            "at": first.at,
            "updated": last.at,
            "batch": Int8(self.token),
            "versions": " ".join([str(each.version) for each in self.packed]),
            "bodies": "\n".join([each.body for each in self.packed]),
            "lock": lock_class(self.schema),
            "bell": bell_of(self.session_id),
            "channel": channel_of(self.schema),
        }
        blobs = {name: content for each in self.packed for name, content in each.blobs.items()}
        if self.after:
            query = statements.go_on(blobs=bool(blobs), taking=bool(self.taking))
        else:
            query = statements.begin(blobs=bool(blobs), taking=bool(self.taking))
            given |= {"parent": parent, "shared": Int8(shared)}
            if first.at != last.at:  # brought from elsewhere
                query = statements.RESTORE
                given["times"] = [each.at for each in self.entries]
        if blobs or query is statements.RESTORE:
            given |= {"names": list(blobs), "contents": list(blobs.values())}
        if self.taking:
            given |= {"taking": list(self.taking), "count": len(self.taking)}
        return (await connection.execute(query.encode(), given, prepare=True, binary=True)).rowcount == 1

    async def _compare(self, connection: Connection, *, sent_before: bool) -> None:
        cursor = await connection.execute(statements.END, {"id": self.session_id, "first": Int8(self.entries[0].seq)})
        end, token = await cursor.fetchone() or (0, None)
        if not (sent_before and token == self.token):
            if end == self.after:
                raise gone(self.session_id, self.taking)
            raise conflict(self.session_id, self.after, end)
