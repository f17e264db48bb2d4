"""Following a session from outside: what anybody appends to it, in any process."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from relayline.errors import SessionNotFound
from relayline.events import Compacted, Entry
from relayline.journal.checkpoints import batches, state_after
from relayline.journal.deltas import Delta
from relayline.journal.inbox import inbox_of
from relayline.journal.store import Store
from relayline.machine.effects import effects
from relayline.machine.state import State
from relayline.runtime.stream import AgentRunUpdateEvent, Reader, WorkflowEvent

PATIENCE = 5.0
"""Seconds after which it is looked whether the session is still there."""


async def watch(
    store: Store, session_id: str, after: int, *, until_rest: bool, stream: bool
) -> AsyncGenerator[WorkflowEvent, None]:
    """The session's events above ``after``; see `Workflow.watch`."""
    async with Watcher(store, session_id, after, stream=stream) as watcher:
        while True:
            async for event in watcher.news(PATIENCE):
                yield event
            if until_rest and watcher.last is not None and watcher.last.seq >= after and not effects(watcher.state):
                return


class Watcher:
    """Follows one session. ``state``, ``last``: the session as far as it was shown, and its last fact.

    ``stream``: show words as well, as they are said. Enter it before they are.
    """

    def __init__(self, store: Store, session_id: str, after: int, *, stream: bool) -> None:
        self.state = State()
        self.last: Entry | None = None
        self._store = store
        self._id = session_id
        self._after = after
        self._reader = Reader(session_id, self.state)
        self._stream = stream
        self._words: asyncio.Queue[Delta] = asyncio.Queue()
        self._attempts: dict[str, int] = {}
        self._open = AsyncExitStack()
        self._more = True  # there may be something nobody was told of

    async def news(self, seconds: float) -> AsyncGenerator[WorkflowEvent, None]:
        """What is new, as soon as anything is; nothing, if that takes so many seconds."""
        if not self._more:
            delta = await self._wait(seconds)
            if delta is not None and delta.after <= self.state.seq:
                for event in self._said(delta):
                    yield event
                return
        else:
            delta = None
        self._more = False
        entries = await _new(self._store, self._id, self.last)
        for batch in batches(entries):
            self.state = state_after(self._id, batch, self.state)
            self._attempts.clear()
            for entry in batch:
                event = self._reader.event(entry, self.state)
                self.last = entry
                if event is not None and entry.seq > self._after:
                    yield event
        if delta is not None:
            for event in self._said(delta):
                yield event

    async def _wait(self, seconds: float) -> Delta | None:
        """Wait for facts or words; None: it is to be looked for facts."""
        if not self._stream:
            await self._store.wait(self._id, after=self.state.seq, seconds=seconds)
            return None
        facts = asyncio.ensure_future(self._store.wait(self._id, after=self.state.seq, seconds=seconds))
        words = asyncio.ensure_future(self._words.get())
        tasks: set[asyncio.Future[Any]] = {facts, words}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if words.done():
                return words.result()
            facts.result()
            return None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _said(self, delta: Delta) -> Sequence[WorkflowEvent]:
        """Words, unless they are those of a reply that is there already, or died."""
        if delta.after < self.state.seq:
            return ()
        if not delta.words:
            return (WorkflowEvent("progress", self._id, delta.data, delta.agent),)
        if delta.attempt < self._attempts.get(delta.agent, 0):
            return ()
        self._attempts[delta.agent] = delta.attempt
        return (AgentRunUpdateEvent(self._id, delta.words, delta.agent, attempt=delta.attempt),)

    async def __aenter__(self) -> Self:
        if self._stream:
            self._words = await self._open.enter_async_context(inbox_of(self._store).deltas.watch(self._id))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._open.aclose()


async def _new(store: Store, session_id: str, last: Entry | None) -> Sequence[Entry]:
    """What came after ``last``."""
    if last is None:
        return await store.read(session_id)
    # That one too, to see that it still is what it was.
    entries = await store.read(session_id, after=last.seq - 1)
    if entries[:1] == [last]:
        return entries[1:]
    if entries and isinstance(entries[0].fact, Compacted):
        # Forgotten meanwhile. What stands for it is news if it reaches beyond what was shown.
        return entries[entries[0].seq == last.seq :]
    raise SessionNotFound(f"session {session_id!r} was deleted while it was watched")
