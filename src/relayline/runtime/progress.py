"""What a tool shows while it runs."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from relayline.messages import JSON


class Progress:
    """Shows what a tool emits, from whatever thread it does, in its order and before its result is."""

    def __init__(self, agent: str, show: Callable[[str, JSON], Awaitable[None]]) -> None:
        self._agent = agent
        self._show = show
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[JSON] = deque()
        self._pump: asyncio.Task[None] | None = None
        self.over = False

    def __call__(self, data: JSON) -> None:
        if not self.over:
            self._waiting.append(data)
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._waiting and (self._pump is None or self._pump.done()):
            self._pump = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while self._waiting:
            await self._show(self._agent, self._waiting.popleft())

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: object, error: BaseException | None, where: object) -> None:
        self.over = True
        try:
            if error is not None:
                unless_cancelled(error)
            while self._waiting or (self._pump and not self._pump.done()):
                self._wake()
                if self._pump:
                    await self._pump
        except asyncio.CancelledError:
            # Nobody waits for the tool any more, and maybe nobody reads.
            self._waiting.clear()
            if self._pump:
                self._pump.cancel()
            raise


def unless_cancelled(error: BaseException) -> None:
    """Raise a cancellation that is meant for us; one that comes out of a client or a tool is a failure like any
    other.
    """
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error
