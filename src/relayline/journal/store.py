"""What a journal store has to do, and the one that keeps everything in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

from relayline.errors import SequenceConflict
from relayline.events import Entry, Fact
from relayline.journal.checkpoints import Checkpoint, checkpoints
from relayline.journal.codec import encode

Clock: TypeAlias = Callable[[], datetime]


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """``seq``: how many facts it has. ``started``, ``updated``: its first and its last fact, in UTC."""

    session_id: str
    seq: int
    started: datetime
    updated: datetime


class Store(Protocol):
    """An append-only journal per session. `relayline.testing.check_store` is the whole of its contract."""

    def now(self) -> datetime:
        """The time by which entries are dated, in UTC."""
        return now()

    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        """Add ``facts``, at least one, as one atomic batch, if the session has ``after`` facts now. Durable on return.

        Raises:
            SequenceConflict: the session has another number of facts; nothing was written.
            StoreError: the batch could not be kept; nothing was written.
        """
        ...

    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        """The entries with ``after < seq <= upto``, oldest first; none for a session that does not exist.

        Raises:
            DamagedJournal: if an entry cannot be read.
        """
        ...

    async def sessions(self) -> list[SessionSummary]:
        """All sessions, the one most recently written to last."""
        ...

    async def list_checkpoints(self, session_id: str | None = None) -> list[Checkpoint]:
        """Where a session rested, or where every session did: the newest last. Reads all of what it is asked about.

        Follows from the other methods; a store has nothing to do for it.

        Raises:
            DamagedJournal: if a journal cannot be read.
        """
        if session_id is not None:
            return list(checkpoints(session_id, await self.read(session_id)))
        ids = [each.session_id for each in await self.sessions()]
        found = [each for key in ids for each in checkpoints(key, await self.read(key))]
        return sorted(found, key=lambda each: each.timestamp)

    async def aclose(self) -> None:
        """Let go of files and threads. What was appended stays; closing twice is harmless."""
        ...


class InMemoryCheckpointStorage(Store):
    """Keeps journals for as long as the process lives. Refuses what a durable store would refuse."""

    def __init__(self, clock: Clock = now) -> None:
        self._clock = clock
        self._journals: dict[str, list[Entry]] = {}

    def now(self) -> datetime:
        return self._clock()

    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        for fact in facts:
            encode(fact)
        journal = self._journals.setdefault(session_id, [])
        if len(journal) != after:
            raise conflict(session_id, after, len(journal))
        at = self._clock()
        entries = [Entry(after + number, at, fact) for number, fact in enumerate(facts, 1)]
        journal.extend(entries)
        # Moved to the end, so that sessions() is in order without sorting.
        self._journals[session_id] = self._journals.pop(session_id)
        return entries

    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        return self._journals.get(session_id, [])[after:upto]

    async def sessions(self) -> list[SessionSummary]:
        return [SessionSummary(key, len(kept), kept[0].at, kept[-1].at) for key, kept in self._journals.items() if kept]

    async def aclose(self) -> None:
        pass


async def fork(store: Store, session_id: str, upto: int, branch: str) -> None:
    """Begin the session ``branch`` with the first ``upto`` facts of ``session_id``. Nothing in them has to be changed.

    Raises:
        SequenceConflict: if there is a session ``branch``; nothing was written.
    """
    await store.append(branch, [entry.fact for entry in await store.read(session_id, upto=upto)], after=0)


def conflict(session_id: str, after: int, found: int) -> SequenceConflict:
    """The error for an append that came second."""
    return SequenceConflict(
        f"session {session_id!r} has {found} facts, not {after}: somebody else wrote to it. "
        "Nothing was written here; run again to continue from there."
    )
