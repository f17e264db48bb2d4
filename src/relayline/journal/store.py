"""What a journal store has to do, and the one that keeps everything in memory."""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

from relayline.errors import SequenceConflict, SessionHeld, SessionNotFound, StoreError, UsageError
from relayline.events import Compacted, Entry, Fact, Forked
from relayline.journal.checkpoints import Checkpoint, checkpoints
from relayline.journal.memory_inbox import MemoryInbox
from relayline.journal.packing import Packer

Clock: TypeAlias = Callable[[], datetime]

Look: TypeAlias = Callable[[int, float], Awaitable[bool]]
"""Waits for so many seconds at most; whether there may be facts beyond this number."""

MOST = 2**62
"""No fact has this number."""

LOOK_AGAIN = 0.1
"""Seconds between two looks at a store that does not tell of writes."""


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """``seq``: the number of its last fact. ``started``, ``updated``: when it began, as a session or as a branch, and
    its last fact, in UTC. ``parent``: the session it branched off, as long as the two share the first ``shared`` facts.
    ``held``: why it has to be kept as it is; empty, if nobody said so.
    """

    session_id: str
    seq: int
    started: datetime
    updated: datetime
    parent: str = ""
    shared: int = 0
    held: str = ""


class Store(Protocol):
    """An append-only journal per session. `relayline.testing.check_store` is the whole of its contract."""

    def now(self) -> datetime:
        """The time by which entries are dated, in UTC."""
        return now()

    @abstractmethod
    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        """Add ``facts``, at least one, as one atomic batch, if ``after`` is the number of the session's last fact, or 0
        and there is no such session. Durable on return.

        Raises:
            SequenceConflict: the session's last fact is another; nothing was written.
            StoreError: the batch could not be kept; nothing was written.
        """
        ...

    @abstractmethod
    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        """The entries with ``after < seq <= upto``, oldest first; none for a session that does not exist.

        Raises:
            DamagedJournal: if an entry cannot be read.
        """
        ...

    async def stands(self, session_id: str, first: int, last: Entry) -> bool:
        """Whether the session still begins with fact number ``first`` and ends with ``last``; asked before every turn.

        Follows from `read`. A store that can tell at one look does better.
        """
        begun = await self.read(session_id, after=first - 1, upto=first)
        return bool(begun) and await self.read(session_id, after=last.seq - 1) == [last]

    @abstractmethod
    async def sessions(self) -> list[SessionSummary]:
        """All sessions, the one most recently written to last."""
        ...

    @abstractmethod
    async def fork(self, session_id: str, branch: str, *, upto: int) -> None:
        """Begin the session ``branch`` with the first ``upto`` facts of ``session_id``, and a `Forked` behind them.

        The branch refers to what it shares, nothing is copied. From there on neither is touched by the other.

        Raises:
            SessionNotFound: there is no session ``session_id``.
            UsageError: it has no fact of the number ``upto``.
            SequenceConflict: there is a session ``branch`` already.
        """
        ...

    @abstractmethod
    async def cut(self, session_id: str, fact: Compacted) -> None:
        """Put ``fact`` in the place of all up to number ``fact.upto``, for good. Branches keep what they shared.

        Raises:
            SessionNotFound, SessionHeld: nothing was changed.
            UsageError: the session has nothing before that number, or nothing after it.
        """
        ...

    @abstractmethod
    async def delete(self, session_id: str) -> None:
        """Delete a session and all that was kept for it alone. Branches keep what they shared.

        Raises:
            SessionNotFound, SessionHeld: nothing was changed.
        """
        ...

    @abstractmethod
    async def hold(self, session_id: str, reason: str) -> None:
        """Refuse to cut or delete the session from now on; an empty ``reason`` lifts that.

        Raises:
            SessionNotFound: there is no such session.
        """
        ...

    @abstractmethod
    async def restore(self, session_id: str, entries: Sequence[Entry]) -> None:
        """Begin a session with ``entries`` that are brought from elsewhere, at least one, all of them or none.

        They keep their times and their numbers, which have no gaps; the first is 1, or that of a `Compacted`.

        Raises:
            SequenceConflict: there is a session of that name already; it is as it was.
            StoreError: their numbers are others, or they could not be kept; nothing was written.
        """
        ...

    async def wait(self, session_id: str, *, after: int, seconds: float) -> bool:
        """Whether the session gets beyond fact number ``after`` within so many seconds; True as soon as it has.

        Follows from `read`, by looking again and again. A store that is told of writes does better.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not await self.read(session_id, after=after, upto=after + 1):
            left = until - loop.time()
            if left <= 0:
                return False
            await asyncio.sleep(min(LOOK_AGAIN, left))
        return True

    @asynccontextmanager
    async def following(self, session_id: str) -> AsyncGenerator[Look]:
        """For who waits again and again, and reads each time: `wait` for one session, which may say True too early.

        Nothing is missed by who reads after this was entered, and after each True. Follows from `wait`; a store that is
        told of writes has less to ask.
        """

        async def look(after: int, seconds: float) -> bool:
            return await self.wait(session_id, after=after, seconds=seconds)

        yield look

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

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of files and threads. What was appended stays; closing twice is harmless."""
        ...


_PLAIN = Packer()


@dataclass(slots=True)
class _Journal:
    entries: list[Entry]
    started: datetime
    parent: str = ""
    shared: int = 0
    held: str = ""

    @property
    def first(self) -> int:
        return self.entries[0].seq

    @property
    def last(self) -> int:
        return self.entries[-1].seq

    def on_its_own(self) -> None:
        self.parent, self.shared = "", 0


class InMemoryCheckpointStorage(Store, MemoryInbox):
    """Keeps journals for as long as the process lives. Refuses what a durable store would refuse."""

    def __init__(self, clock: Clock = now) -> None:
        MemoryInbox.__init__(self, clock)
        # In order of the last write, so that sessions() need not sort.
        self._journals: dict[str, _Journal] = {}

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
        for fact in facts:
            _PLAIN.pack(fact)
        entries = numbered(facts, after, self._clock())
        journal = self._journals.get(session_id)
        if (journal.last if journal else 0) != after:
            raise conflict(session_id, after, journal.last if journal else 0)
        if taking:
            self.take(session_id, taking, entries[-1].seq)
        if journal is None:
            self._journals[session_id] = _Journal(entries.copy(), entries[0].at)
        else:
            journal.entries.extend(entries)
            self._journals[session_id] = self._journals.pop(session_id)
        return entries

    async def restore(self, session_id: str, entries: Sequence[Entry]) -> None:
        check_restore(session_id, entries)
        for each in entries:
            Packer().pack(each.fact)
        if session_id in self._journals:
            raise conflict(session_id, 0, self._journals[session_id].last)
        self._journals[session_id] = _Journal(list(entries), entries[0].at)

    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        journal = self._journals.get(session_id)
        if journal is None:
            return []
        before = journal.first - 1
        return journal.entries[max(after - before, 0) : None if upto is None else max(upto - before, 0)]

    async def sessions(self) -> list[SessionSummary]:
        return [
            SessionSummary(key, each.last, each.started, each.entries[-1].at, each.parent, each.shared, each.held)
            for key, each in self._journals.items()
        ]

    async def fork(self, session_id: str, branch: str, *, upto: int) -> None:
        origin = self._journal(session_id)
        check_fork(session_id, upto, origin.first, origin.last)
        if branch in self._journals:
            raise conflict(branch, 0, self._journals[branch].last)
        at = self._clock()
        entries = [*await self.read(session_id, upto=upto), Entry(upto + 1, at, Forked(session_id, upto))]
        self._journals[branch] = _Journal(entries, at, session_id, upto)

    async def cut(self, session_id: str, fact: Compacted) -> None:
        journal = self._journal(session_id)
        check_cut(session_id, fact.upto, journal.first, journal.last, journal.held)
        place = fact.upto - journal.first
        journal.entries[: place + 1] = [Entry(fact.upto, journal.entries[place].at, fact)]
        journal.on_its_own()
        self._let_go(session_id)

    async def delete(self, session_id: str) -> None:
        check_delete(session_id, self._journal(session_id).held)
        del self._journals[session_id]
        self.forget(session_id)
        self._let_go(session_id)

    async def hold(self, session_id: str, reason: str) -> None:
        self._journal(session_id).held = reason

    async def aclose(self) -> None:
        pass

    def _journal(self, session_id: str) -> _Journal:
        if session_id not in self._journals:
            raise unknown(session_id)
        return self._journals[session_id]

    def _let_go(self, session_id: str) -> None:
        for each in self._journals.values():
            if each.parent == session_id:
                each.on_its_own()


def numbered(facts: Sequence[Fact], after: int, at: datetime) -> list[Entry]:
    """A batch as entries, whose numbers go on from ``after``.

    Raises:
        StoreError: it has what only `Store.cut` and `Store.restore` write.
    """
    if any(isinstance(fact, Compacted) for fact in facts):
        raise StoreError("a 'compacted' fact stands for the beginning of a journal, and is not appended; see Store.cut")
    return [Entry(number, at, fact) for number, fact in enumerate(facts, after + 1)]


def conflict(session_id: str, after: int, found: int) -> SequenceConflict:
    """The error for an append that came second."""
    return SequenceConflict(
        f"session {session_id!r} has {found} facts, not {after}: somebody else wrote to it. "
        "Nothing was written here; run again to continue from there."
    )


def unknown(session_id: str) -> SessionNotFound:
    """The error for a session that does not exist."""
    return SessionNotFound(f"no session {session_id!r} in this store")


def check_restore(session_id: str, entries: Sequence[Entry]) -> None:
    """Refuse entries that no session could begin with: none, or with other numbers than theirs."""
    if not entries:
        raise StoreError(f"session {session_id!r} cannot be restored from no entries; give it one or more")
    first = entries[0].fact
    begin = first.upto if isinstance(first, Compacted) else 1
    if not 0 < begin < MOST - len(entries):
        raise StoreError(f"session {session_id!r} cannot be restored: no fact has the number {begin}")
    for expected, entry in enumerate(entries, begin):
        if entry.seq != expected:
            raise StoreError(
                f"session {session_id!r} cannot be restored: an entry has the number {entry.seq} where {expected} was "
                "expected; give all of them, in their order"
            )


def check_fork(session_id: str, upto: int, first: int, last: int) -> None:
    """Refuse a branch from where the session, whose facts are ``first`` to ``last``, has nothing."""
    if not first <= upto <= last:
        raise UsageError(f"session {session_id!r} has the facts {first} to {last}; no branch can begin after {upto}")


def check_cut(session_id: str, upto: int, first: int, last: int, held: str) -> None:
    """Refuse to compact what is held, or where there is nothing before or nothing after."""
    check_delete(session_id, held)
    if not first < upto < last:
        raise UsageError(f"session {session_id!r} has the facts {first} to {last}; it cannot be compacted up to {upto}")


def check_delete(session_id: str, held: str) -> None:
    """Refuse to delete or shorten what is held."""
    if held:
        raise SessionHeld(
            f"session {session_id!r} is held ({held}), so it can be neither deleted nor compacted; "
            "lift that first, with hold(session_id, '')"
        )
