"""Following a session from outside: what anybody appends to it, in any process."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from relayline.errors import SessionNotFound
from relayline.events import Compacted, Entry
from relayline.journal.checkpoints import batches
from relayline.journal.deltas import Delta
from relayline.journal.inbox import inbox_of
from relayline.journal.store import Look
from relayline.machine.effects import effects
from relayline.runtime.session import Session
from relayline.runtime.stream import AgentRunUpdateEvent, Reader, WorkflowEvent

PATIENCE = 5.0
"""Seconds after which it is looked whether the session is still there."""


async def watch(session: Session, after: int, *, until_rest: bool, stream: bool) -> AsyncGenerator[WorkflowEvent, None]:
    """The session's events above ``after``; see `Workflow.watch`. ``session``: nothing is known of it yet."""
    async with Watcher(session, after, stream=stream) as watcher:
        while True:
            async for event in watcher.news(PATIENCE):
                yield event
            last = session.last
            if until_rest and last is not None and last.seq >= after and not effects(session.state):
                return


class Watcher:
    """Follows ``session``, which is as far as it was shown, and shows what is above ``after``.

    ``stream``: show words as well, as they are said. Enter it before they are.
    """

    def __init__(self, session: Session, after: int = 0, *, stream: bool) -> None:
        self.session = session
        self._after = after
        self._reader = Reader(session.id, session.state)
        self._stream = stream
        self._attempts: dict[str, int] = {}
        self._open = AsyncExitStack()
        self._look: Look
        self._words: asyncio.Queue[Delta] | None = None
        self._facts: asyncio.Task[bool] | None = None
        self._next: asyncio.Task[Delta] | None = None
        self._more = True  # there may be something nobody was told of

    async def start(self) -> None:
        """Begin where the session stands now, and show what comes after."""
        await self.session.refresh()
        self._after, self._more = self.session.state.seq, False
        self._reader = Reader(self.session.id, self.session.state)

    async def news(self, seconds: float) -> AsyncGenerator[WorkflowEvent, None]:
        """What is new, as soon as anything is; nothing, if that takes so many seconds."""
        delta: Delta | None = None
        if not self._more:
            found = await self._wait(seconds)
            if found is False:
                return
            delta = None if found is True else found
            if delta is not None and delta.after <= self.session.state.seq:
                for event in self._said(delta):
                    yield event
                return
        self._more = False
        entries = await _new(self.session)
        for batch in batches(entries):
            self.session.take_in(batch)
            self._attempts.clear()
            for entry in batch:
                event = self._reader.event(entry, self.session.state)
                if event is not None and entry.seq > self._after:
                    yield event
        if delta is not None:
            for event in self._said(delta):
                yield event

    async def _wait(self, seconds: float) -> Delta | bool:
        """Wait for words, or until it is to be looked for facts: True. False: the time is up."""
        if self._facts is None:
            self._facts = asyncio.ensure_future(_looked(self._look, self.session.state.seq))
        if self._words is not None and self._next is None:
            self._next = asyncio.ensure_future(self._words.get())
        both: set[asyncio.Task[Any]] = {self._facts} if self._next is None else {self._facts, self._next}
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        delta: Delta | None = None
        if self._next is not None and self._next.done():
            delta, self._next = self._next.result(), None
        if self._facts.done() and (delta is None or delta.after > self.session.state.seq):
            self._facts.result()
            self._facts = None
            return delta or True
        return delta or False

    def _said(self, delta: Delta) -> Sequence[WorkflowEvent]:
        """Words, unless they are those of a reply that is there already, or died."""
        if delta.after < self.session.state.seq:
            return ()
        if not delta.words:
            return (WorkflowEvent("progress", self.session.id, delta.data, delta.agent),)
        if delta.attempt < self._attempts.get(delta.agent, 0):
            return ()
        self._attempts[delta.agent] = delta.attempt
        return (AgentRunUpdateEvent(self.session.id, delta.words, delta.agent, attempt=delta.attempt),)

    async def __aenter__(self) -> Self:
        store, session_id = self.session.store, self.session.id
        try:
            if self._stream:
                self._words = await self._open.enter_async_context(inbox_of(store).deltas.watch(session_id))
            self._look = await self._open.enter_async_context(store.following(session_id))
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        waiting: list[asyncio.Task[Any]] = [each for each in (self._facts, self._next) if each is not None]
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await self._open.aclose()


async def _looked(look: Look, after: int) -> bool:
    return await look(after, PATIENCE)


async def _new(session: Session) -> Sequence[Entry]:
    """What came after the last that it has taken in."""
    last = session.last
    if last is None:
        return await session.store.read(session.id)
    # That one too, to see that it still is what it was.
    entries = await session.store.read(session.id, after=last.seq - 1)
    if entries[:1] == [last]:
        return entries[1:]
    if entries and isinstance(entries[0].fact, Compacted):
        # Forgotten meanwhile. What stands for it is news if it reaches beyond what was shown.
        return entries[entries[0].seq == last.seq :]
    raise SessionNotFound(f"session {session.id!r} was deleted while it was watched")
