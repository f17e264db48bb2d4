"""A run: iterate over it, await it, or close it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeAlias

from relayline.runtime.stream import Emit, RunResult, WorkflowEvent

Work: TypeAlias = Callable[[Emit], Awaitable[RunResult]]

WAITING_EVENTS = 1024
"""How many events a slow reader may be behind before the run waits for it."""


class Run:
    """One call of `Workflow.run`: nothing happens before it is iterated, awaited or entered.

    ``async for event in run`` gives the events as they happen; ``await run`` gives the `RunResult`, also after the
    iteration. Both raise what the run failed with. Leaving the iteration, ``aclose()`` and the end of ``async with``
    cancel what is in flight; the session stays at its last fact and can be run again.
    """

    def __init__(self, session_id: str, work: Work) -> None:
        self.session_id = session_id
        self._work = work
        self._events: asyncio.Queue[WorkflowEvent | None] = asyncio.Queue(WAITING_EVENTS)
        self._pump: asyncio.Task[RunResult] | None = None
        self._read = False

    async def __aiter__(self) -> AsyncGenerator[WorkflowEvent, None]:
        # A generator, so that a reader who just walks away closes the run; the work is in a task of its own, because a
        # generator must not be suspended inside a task group or timeout of its producer.
        self._start()
        try:
            while not self._read and (event := await self._events.get()) is not None:
                yield event
            self._read = True
            await self._result()
        finally:
            await self.aclose()

    def __await__(self) -> Generator[Any, None, RunResult]:
        return self._drain().__await__()

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop here. Harmless on a run that is over, or was never begun."""
        self._read = True
        if self._pump is not None and not self._pump.done():
            self._pump.cancel()
            await asyncio.wait([self._pump])

    def _start(self) -> None:
        if self._pump is None:
            self._pump = asyncio.create_task(self._run(), name=f"relayline {self.session_id}")

    async def _run(self) -> RunResult:
        try:
            result = await self._work(self._events.put)
        except asyncio.CancelledError:
            # Whoever cancels has stopped reading, so a full queue would be waited for in vain.
            with suppress(asyncio.QueueFull):
                self._events.put_nowait(None)
            raise
        except BaseException:
            await self._events.put(None)
            raise
        await self._events.put(None)
        return result

    async def _drain(self) -> RunResult:
        async for _ in self:
            pass
        return await self._result()

    async def _result(self) -> RunResult:
        assert self._pump is not None
        return await self._pump
