"""A clock that does as it is told, and a store that loses its process at a chosen moment."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from relayline.events import Compacted, Entry, Fact
from relayline.journal.store import SessionSummary, Store

T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """A clock for stores: each reading is ``step`` after the one before, and `advance` moves it by hand."""

    def __init__(self, start: datetime = START, step: timedelta = timedelta(seconds=1)) -> None:
        self.time = start
        self.step = step

    def __call__(self) -> datetime:
        reading = self.time
        self.time += self.step
        return reading

    def advance(self, by: timedelta) -> None:
        """Let time pass, or go back: clocks do."""
        self.time += by


class Crash(Exception):
    """The process died here.

    An `Exception`, so that asyncio and test runners handle it like any other, but no `RelaylineError`: a run reports
    those and goes on to say that it failed, which the dead do not do.
    """


class CrashingStore(Store):
    """See `crash_at`. ``appends``: how many were tried; ``crashed``: whether it came to that."""

    def __init__(self, inner: Store, at: int, written: bool) -> None:
        self.appends = 0
        self.crashed = False
        self._inner = inner
        self._at = at
        self._written = written

    def now(self) -> datetime:
        return self._inner.now()

    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        return await self._append(lambda: self._inner.append(session_id, facts, after=after))

    async def restore(self, session_id: str, entries: Sequence[Entry]) -> None:
        await self._append(lambda: self._inner.restore(session_id, entries))

    async def _append(self, write: Callable[[], Awaitable[T]]) -> T:
        self._alive()
        self.appends += 1
        if self.appends < self._at:
            return await write()
        self.crashed = True
        if self._written:
            await write()
        raise Crash(f"died {'after' if self._written else 'before'} append {self.appends} was written")

    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        self._alive()
        return await self._inner.read(session_id, after=after, upto=upto)

    async def sessions(self) -> list[SessionSummary]:
        self._alive()
        return await self._inner.sessions()

    async def fork(self, session_id: str, branch: str, *, upto: int) -> None:
        self._alive()
        await self._inner.fork(session_id, branch, upto=upto)

    async def cut(self, session_id: str, fact: Compacted) -> None:
        self._alive()
        await self._inner.cut(session_id, fact)

    async def delete(self, session_id: str) -> None:
        self._alive()
        await self._inner.delete(session_id)

    async def hold(self, session_id: str, reason: str) -> None:
        self._alive()
        await self._inner.hold(session_id, reason)

    async def aclose(self) -> None:
        """Leaves the inner store open: it is what the next process finds."""

    def _alive(self) -> None:
        # Whoever swallows a Crash gets no further with it.
        if self.crashed:
            raise Crash("this process is dead; go on with the inner store")


def crash_at(store: Store, append: int, *, written: bool = False) -> CrashingStore:
    """``store`` as a process sees it that dies in its ``append``-th append, counted from 1.

    ``written``: whether that batch reaches ``store``, though nobody lives to hear of it. From then on every call raises
    `Crash`. To prove a recovery, run on this until it crashes, then run the session again on ``store`` itself::

        crashing = crash_at(store, 3)
        with pytest.raises(Crash):
            await workflow.with_store(crashing).run("...", session_id="s")
        await workflow.with_store(store).run(session_id="s")
    """
    return CrashingStore(store, append, written)
