"""Turns in this process: the default, and all that a team needs on one machine.

Several processes on one store share its sessions. Each sweeps what is due and claims what it can; a session whose
worker died is due again once its claim has run out.
"""

import asyncio
import logging
from datetime import datetime

from relayline.dispatch import Dispatcher, Limits, RunTurn

logger = logging.getLogger(__name__)


class Local(Dispatcher):
    """Tasks of one event loop. ``every``: seconds between two looks at what other processes submitted."""

    quiet = 0.0
    retries = False

    def __init__(self, every: float = 0.2) -> None:
        self.every = every
        self._queue: asyncio.Queue[str] | None = None
        self._known: set[str] = set()

    async def submit(self, session_id: str, message_id: str, not_before: datetime | None = None) -> None:
        """Begin at once, if turns are done here; what is for later is found when it is due."""
        if self._queue is not None and not_before is None and session_id not in self._known:
            self._known.add(session_id)
            self._queue.put_nowait(session_id)

    async def cancel(self, session_id: str) -> None:
        """The workers ask the store."""

    async def serve(self, run_turn: RunTurn, limits: Limits) -> None:
        queue = self._queue = asyncio.Queue()
        room = asyncio.Semaphore(limits.here)

        async def turn(session_id: str) -> None:
            try:
                await run_turn(session_id)
            except Exception:
                logger.exception("a turn of session %r broke off; it is taken up again", session_id)
            finally:
                self._known.discard(session_id)
                room.release()

        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    await room.acquire()
                    session_id = await queue.get()
                    tasks.create_task(turn(session_id), name=f"relayline {session_id}")
        finally:
            self._queue = None
            self._known.clear()
