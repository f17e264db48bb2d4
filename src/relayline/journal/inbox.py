"""The inbox of a store: what was submitted to sessions, and which of them somebody has to look after.

A message becomes facts exactly once: the transaction that appends them takes it out of the inbox. Leases say who is at
work, so that others need not be; what keeps two of them apart is the compare-and-append of the journal alone.
"""

from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol, TypeAlias, cast, runtime_checkable

from relayline.errors import SequenceConflict, UsageError
from relayline.events import Entry, Fact
from relayline.journal.deltas import Deltas

Fate: TypeAlias = Literal["waiting", "taken", "refused"]
"""What became of a message."""


class Delivery(NamedTuple):
    """A message in the inbox. ``body``: JSON text."""

    message_id: str
    body: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a message.

    ``taken``: its facts are in the journal, where number ``seq`` is the last of them. ``refused``: it meant nothing to
    the session; ``problem`` says why.
    """

    message_id: str
    state: Fate
    seq: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A session to look after. ``attempt``: how often it was claimed since it last was at rest, from 1.

    ``cancelled``: what it is at is not wanted any more. ``waiting``: the messages whose time has come, in order.
    ``news``: the store's own affair.
    """

    session_id: str
    owner: str
    attempt: int
    cancelled: bool
    waiting: Sequence[Delivery]
    news: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """How many sessions may be at work at once: in the whole fleet, and of each tenant. None: any number."""

    sessions: int | None = None
    per_tenant: int | None = None


ANY = Room()


@runtime_checkable
class Inbox(Protocol):
    """What a store has to do beside its journals for messages to be submitted to it.

    `relayline.testing.check_inbox` is the whole of its contract. ``deltas``: how words reach those who watch.
    """

    deltas: Deltas

    @abstractmethod
    async def append(
        self,
        session_id: str,
        facts: Sequence[Fact],
        *,
        after: int,
        taking: Collection[str] = (),
    ) -> list[Entry]:
        """As for every store; and the messages ``taking`` are taken out of the inbox in the same transaction.

        Raises:
            SequenceConflict: also if one of them does not wait there any more.
        """
        ...

    @abstractmethod
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
        """Keep a message for a session, which need not exist yet. Durable on return.

        False: the session had one of that id already, waiting or taken; nothing was changed. ``team``: whose workers
        look after it. ``tenant``: whose room it takes.
        """
        ...

    @abstractmethod
    async def receipt(self, session_id: str, message_id: str) -> Receipt | None:
        """What became of a message; None: there never was one of that id, or it was purged."""
        ...

    @abstractmethod
    async def refuse(self, session_id: str, message_id: str, problem: str) -> None:
        """Take a message out of the inbox that leads to no facts. Nothing happens if it does not wait any more."""
        ...

    @abstractmethod
    async def claim(
        self, session_id: str, owner: str, *, team: str, seconds: float, force: bool = False, room: Room = ANY
    ) -> Claim | None:
        """Look after a session for so many seconds.

        None: there is nothing to do for it now, or not for this team; there is no room; or somebody else looks after it
        and it is not taken from them by ``force``.
        """
        ...

    @abstractmethod
    async def renew(self, owner: str, *, seconds: float) -> Collection[str]:
        """Look after the sessions of this owner for so many seconds from now; gives those that were cancelled."""
        ...

    @abstractmethod
    async def finish(self, claim: Claim) -> bool:
        """The session rests: let go of it. True: something came in meanwhile whose time has come.

        Nothing happens to a session that somebody else has claimed since.
        """
        ...

    @abstractmethod
    async def hand_back(self, claim: Claim, *, seconds: float = 0) -> None:
        """Let go of a session that does not rest: whoever comes next, in so many seconds, goes on with it."""
        ...

    @abstractmethod
    async def due(self, team: str, *, quiet: float = 0, most: int = 100) -> list[str]:
        """Sessions whose time came and that nobody looked after for ``quiet`` seconds at least; the oldest first."""
        ...

    @abstractmethod
    async def cancel(self, session_id: str) -> bool:
        """Whoever looks after the session is told to stop, and what waits for it now is refused.

        False: there was nothing to stop.
        """
        ...

    @abstractmethod
    async def purge(self, before: datetime) -> int:
        """Forget the ids of messages that were taken or refused before then; how many they were."""
        ...


def inbox_of(store: object) -> Inbox:
    """The store, for what it can do beside keeping journals.

    Raises:
        UsageError: it has no inbox.
    """
    # By its class first: to find out what else has all that a protocol asks for takes a hundred times as long.
    if Inbox in type(store).__mro__ or isinstance(store, Inbox):
        return cast("Inbox", store)
    raise UsageError(
        f"a {type(store).__name__} has no inbox, so nothing can be submitted to it; "
        "the stores in memory, in SQLite and in PostgreSQL have one"
    )


CANCELLED = "cancelled before anybody took it"


def gone(session_id: str, message_ids: Collection[str]) -> SequenceConflict:
    """The error for taking what does not wait any more."""
    shown = ", ".join(map(repr, message_ids))
    return SequenceConflict(
        f"message {shown} does not wait for session {session_id!r} any more: somebody else took it. "
        "Nothing was written here."
    )
