"""The sessions of a store that this process has at hand."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from weakref import WeakValueDictionary

from relayline.errors import RelaylineError, UsageError
from relayline.journal.store import Store
from relayline.machine.decide import Machine
from relayline.runtime.session import Session

SESSIONS_KEPT = 64
"""How many idle sessions a workflow keeps folded; any other is folded again from its journal."""

_HELD: ContextVar[frozenset[tuple[int, str]]] = ContextVar("relayline_held", default=frozenset())
"""The sessions that wait for what is being done: a tool sees the one it was called in."""


class Sessions:
    """The sessions of one store that this process has at hand: one run at a time for each, the others queue."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._idle: OrderedDict[str, Session] = OrderedDict()
        # By event loop too: a lock of one loop cannot be waited for in another. Across loops, as across processes, the
        # store decides who was first.
        self._locks: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, session_id: str, machine: Machine) -> AsyncGenerator[Session]:
        """The session, caught up with its journal and nobody else's in this process meanwhile."""
        if (id(self), session_id) in _HELD.get():
            raise UsageError(
                f"session {session_id!r} is waiting for this very call, so it cannot be run in it; "
                "what a tool or a condition needs of the conversation it is given"
            )
        lock = self._locks.setdefault((id(asyncio.get_running_loop()), session_id), asyncio.Lock())
        async with lock:
            held = _HELD.set(_HELD.get() | {(id(self), session_id)})
            session = self._idle.pop(session_id, None) or Session(session_id, machine, self.store)
            try:
                await session.refresh()
                yield session
            except RelaylineError:
                self._keep(session)
                raise
            finally:
                _HELD.reset(held)
            # Not if it was cancelled or broke: what was cut off half-way is folded anew the next time.
            self._keep(session)

    def _keep(self, session: Session) -> None:
        self._idle[session.id] = session
        if len(self._idle) > SESSIONS_KEPT:
            self._idle.popitem(last=False)
