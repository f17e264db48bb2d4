"""The next words of agents, to whoever watches: fast, unnumbered, and never kept."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

from relayline.messages import JSON

WORDS_WAITING = 1024
"""How many deltas a watcher may be behind; it misses the ones after, and reads the whole reply when it is there."""


class Delta(NamedTuple):
    """An agent's next words, or what its tool shows while it runs (``data``).

    ``after``: the number of the session's last fact when they were said. ``attempt``: the words of a lower one count no
    more.
    """

    after: int
    agent: str
    attempt: int
    words: str
    data: JSON = None


class Deltas:
    """Hands on words within one process."""

    def __init__(self) -> None:
        self._watchers: defaultdict[str, set[asyncio.Queue[Delta]]] = defaultdict(set)

    async def publish(self, session_id: str, delta: Delta) -> bool:
        """Show words to whoever watches the session. False: nobody does."""
        self.arrived(session_id, delta)
        return session_id in self._watchers

    @asynccontextmanager
    async def watch(self, session_id: str) -> AsyncGenerator[asyncio.Queue[Delta]]:
        """What is said in the session from now on."""
        queue = asyncio.Queue[Delta](WORDS_WAITING)
        self._watchers[session_id].add(queue)
        try:
            yield queue
        finally:
            self._watchers[session_id].discard(queue)
            if not self._watchers[session_id]:
                del self._watchers[session_id]

    def arrived(self, session_id: str, delta: Delta) -> None:
        """Words came from this process or another."""
        for queue in self._watchers.get(session_id, ()):
            if not queue.full():
                queue.put_nowait(delta)
