"""The inbox of a PostgreSQL store."""

import json
from abc import abstractmethod
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from psycopg.types.numeric import Int8

from relayline.journal.inbox import ANY, CANCELLED, Claim, Delivery, Inbox, Receipt, Room
from relayline.journal.packing import Packer
from relayline.journal.postgres import inbox_statements as statements
from relayline.journal.postgres.connections import Connections, rows
from relayline.journal.postgres.layout import ROOM, Connection, lock_class


class PostgresInbox(Inbox):
    """All of an inbox but the appending."""

    schema: str
    _clock: Callable[[], datetime]
    _packer: Packer

    @property
    @abstractmethod
    def _connections(self) -> Connections: ...

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
        now, sealed = self._clock(), self._packer.seal(body)
        due = max(not_before or now, now)
        given = {"id": session_id, "message": message_id, "body": sealed, "team": team, "tenant": tenant}
        return bool(await self._ask(statements.PUT, **given, due=due, now=now))

    async def receipt(self, session_id: str, message_id: str) -> Receipt | None:
        found = await self._ask(statements.RECEIPT, id=session_id, message=message_id)
        if not found:
            return None
        state, seq, problem = found[0]
        return Receipt(message_id, state, seq, json.loads(self._packer.unseal(problem))["problem"] if problem else "")

    async def refuse(self, session_id: str, message_id: str, problem: str) -> None:
        sealed = self._written(problem)
        await self._ask(statements.REFUSE, id=session_id, message=message_id, problem=sealed, now=self._clock())

    async def claim(
        self, session_id: str, owner: str, *, team: str, seconds: float, force: bool = False, room: Room = ANY
    ) -> Claim | None:
        now = self._clock()
        given = {
            "id": session_id,
            "owner": owner,
            "team": team,
            "now": now,
            "until": now + timedelta(seconds=seconds),
            "force": force,
        }
        if room == ANY:
            found = await self._ask(statements.CLAIM, **given)
        else:
            found = await self._connections.transact(partial(self._claim_in, room, given))
        if not found:
            return None
        attempt, cancelled, news, _, _ = found[0]
        waiting = [Delivery(message, self._packer.unseal(body)) for *_, message, body in found if message is not None]
        return Claim(session_id, owner, attempt, cancelled, waiting, news)

    async def _claim_in(self, room: Room, given: dict[str, Any], connection: Connection) -> list[tuple[Any, ...]]:
        # One at a time, so that two do not take the last place.
        await connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (lock_class(self.schema), ROOM))
        places = {"sessions": room.sessions, "per_tenant": room.per_tenant}
        return await rows(connection, statements.CLAIM_IN_ROOM, **given, **places)

    async def renew(self, owner: str, *, seconds: float) -> Collection[str]:
        until = self._clock() + timedelta(seconds=seconds)
        return {session for session, flag in await self._ask(statements.RENEW, owner=owner, until=until) if flag}

    async def finish(self, claim: Claim) -> bool:
        found = await self._ask(statements.FINISH, **_held(claim), news=Int8(claim.news), now=self._clock())
        return bool(found and found[0][0])

    async def hand_back(self, claim: Claim, *, seconds: float = 0) -> None:
        await self._ask(statements.HAND_BACK, **_held(claim), until=self._clock() + timedelta(seconds=seconds))

    async def due(self, team: str, *, quiet: float = 0, most: int = 100) -> list[str]:
        before = self._clock() - timedelta(seconds=quiet)
        return [session for (session,) in await self._ask(statements.DUE, team=team, before=before, most=most)]

    async def cancel(self, session_id: str) -> bool:
        given = {"id": session_id, "problem": self._written(CANCELLED), "now": self._clock()}
        return bool(await self._ask(statements.CANCEL, **given))

    async def purge(self, before: datetime) -> int:
        return (await self._ask(statements.PURGE, before=before))[0][0]

    async def _ask(self, query: str, **given: object) -> list[tuple[Any, ...]]:
        return await self._connections.repeat(partial(rows, query=query, **given))

    def _written(self, problem: str) -> str:
        return self._packer.seal(json.dumps({"problem": problem}))


def _held(claim: Claim) -> dict[str, object]:
    return {"id": claim.session_id, "owner": claim.owner, "attempt": Int8(claim.attempt)}
