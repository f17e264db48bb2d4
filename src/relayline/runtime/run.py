"""A run: iterate over it, await it, or close it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Self, TypeAlias

from relayline.errors import RunClosed, UsageError
from relayline.runtime.stream import Emit, RunResult, WorkflowEvent, discard

Work: TypeAlias = Callable[[Emit], Coroutine[Any, Any, RunResult]]

WAITING_EVENTS = 1024
"""How many events a slow reader may be behind before the run waits for it."""


class Run:
    """One call of `Workflow.run`: nothing happens before it is iterated, awaited or entered.

    ``async for event in run`` gives the events as they happen, once; ``await run`` gives the `RunResult`, as often as
    you like, also after the iteration. Both raise what the run failed with. Leaving the iteration, ``aclose()`` and
    the end of ``async with`` cancel what is in flight; the session stays at its last fact and can be run again, but
    not inside the loop over a run of it, which would wait for the loop that waits for it.

    ``session_id``: the session. A run from an earlier checkpoint begins a branch, and names it from its first event on.
    """

    def __init__(self, session_id: str, work: Work) -> None:
        self.session_id = session_id
        self._work = work
        self._events: asyncio.Queue[WorkflowEvent | None] = asyncio.Queue(WAITING_EVENTS)
        self._pump: asyncio.Task[RunResult] | None = None
        self._read = False
        self._closed = False

    async def __aiter__(self) -> AsyncGenerator[WorkflowEvent, None]:
        # A generator, so that a reader who just walks away closes the run; the work is in a task of its own, because a
        # generator must not be suspended inside a task group or timeout of its producer.
        if self._read:
            raise UsageError("a run is iterated once; await it for its result, or run the session again")
        self._read = True
        pump = self._start()
        try:
            while not (pump.done() and self._events.empty()):
                event = await self._events.get()
                if event is not None:
                    yield event
            if not self._closed:
                self._result(pump)
        finally:
            await self.aclose()

    def __await__(self) -> Generator[Any, None, RunResult]:
        return self._finish().__await__()

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop here. Harmless on a run that is over; one that was never begun never will."""
        if self._pump is None or not self._pump.done():
            self._closed = True
        if self._pump is not None and not self._pump.done():
            self._pump.cancel()
            await asyncio.wait([self._pump])

    def shown_as(
        self, event: Callable[[WorkflowEvent], WorkflowEvent], result: Callable[[RunResult], RunResult]
    ) -> Self:
        """This run, before it is begun, with events and a result that these make of its own."""
        work = self._work

        async def shown(emit: Emit) -> RunResult:
            async def show(each: WorkflowEvent) -> None:
                await emit(event(each))

            return result(await work(show))

        self._work = shown
        return self

    def _start(self, emit: Emit | None = None) -> asyncio.Task[RunResult]:
        if self._pump is None:
            if self._closed:
                raise _closed(self.session_id)
            work = self._work(emit or self._events.put)
            self._pump = asyncio.create_task(work, name=f"relayline {self.session_id}")
            self._pump.add_done_callback(self._wake)
        return self._pump

    def _wake(self, pump: asyncio.Task[RunResult]) -> None:
        if not pump.cancelled():
            pump.exception()  # looked at: whoever leaves a failed run early has seen it fail
        if self._events.empty():
            self._events.put_nowait(None)  # for a reader that waits; any other sees that the pump is done

    async def _finish(self) -> RunResult:
        if self._pump is None and not self._read:
            # Nobody will ever read the events: a tenth of a turn would go into making them.
            self._read = True
            pump = self._start(discard)
            try:
                await asyncio.wait([pump])
            finally:
                await self.aclose()
            return self._result(pump)
        pump = self._start()
        if not self._read:
            async for _ in self:
                pass
        await asyncio.wait([pump])
        return self._result(pump)

    def _result(self, pump: asyncio.Task[RunResult]) -> RunResult:
        if pump.cancelled():
            raise _closed(self.session_id)
        return pump.result()


def _closed(session_id: str) -> RunClosed:
    return RunClosed(f"this run of session {session_id!r} was closed before it ended; run the session again to go on")
