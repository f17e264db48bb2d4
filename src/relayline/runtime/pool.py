"""The sessions of a store that this process has at hand, and who may be at work on one."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from weakref import WeakValueDictionary

from relayline.errors import RelaylineError, RunClosed, SessionBusy, UsageError
from relayline.journal.store import Store
from relayline.machine.decide import Machine
from relayline.runtime.session import Session

ConcurrentInput: TypeAlias = Literal["queue", "reject", "interrupt"]
"""What becomes of a message to a session that is at work: it waits, it is refused, or it cuts off what goes on."""

SESSIONS_KEPT = 64
"""How many idle sessions a workflow keeps folded; any other is folded again from its journal."""

_HELD: ContextVar[frozenset[tuple[int, str]]] = ContextVar("relayline_held", default=frozenset())
"""The sessions that wait for what is being done: a tool sees the one it was called in."""


class Hold:
    """One run's time with a session, which a newer message may end once the run's own input is on record."""

    def __init__(self, session: Session, line: "_Line") -> None:
        self.session = session
        self.interrupted = False
        self._line = line
        self._begun = False
        self._task = asyncio.current_task()
        self._cancelled_before = self._task.cancelling() if self._task else 0

    def begun(self) -> None:
        """What this run was given is on record, so that cutting it off loses nothing."""
        self._begun = True
        if self._line.interrupters:
            self.interrupt()

    def interrupt(self) -> None:
        """Cut the run off as a cancellation does; before it has `begun` it is only meant to be."""
        if self._begun and not self.interrupted and self._task:
            self.interrupted = True
            self._task.cancel()

    def over(self) -> bool:
        """Whether nothing but the interruption had cancelled the run."""
        return self.interrupted and self._task is not None and self._task.uncancel() <= self._cancelled_before


@dataclass(slots=True, eq=False, weakref_slot=True)
class _Line:
    """Those who want one session on one event loop: who holds it, and how many wait, ``interrupters`` among them."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    holder: Hold | None = None
    waiting: int = 0
    interrupters: int = 0

    async def acquire(self, *, interrupt: bool) -> None:
        self.waiting += 1
        self.interrupters += interrupt
        try:
            if interrupt and self.holder:
                self.holder.interrupt()
            await self.lock.acquire()
        finally:
            self.waiting -= 1
            self.interrupters -= interrupt


class Sessions:
    """The sessions of one store that this process has at hand: one run at a time for each."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._idle: OrderedDict[str, Session] = OrderedDict()
        # By event loop too: a lock of one loop cannot be waited for in another. Across loops, as across processes, the
        # store decides who was first.
        self._lines: WeakValueDictionary[tuple[int, str], _Line] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, session_id: str, machine: Machine, policy: ConcurrentInput = "queue") -> AsyncGenerator[Hold]:
        """The session, caught up with its journal and nobody else's in this process meanwhile.

        ``policy``: what to do if it is somebody else's now.

        Raises:
            UsageError: the session waits for this very call.
            SessionBusy: it is somebody else's, and the policy is not to wait.
            RunClosed: a newer message took it away.
        """
        if (id(self), session_id) in _HELD.get():
            raise UsageError(
                f"session {session_id!r} is waiting for this very call, so it cannot be run in it; "
                "what a tool or a condition needs of the conversation it is given"
            )
        line = self._lines.setdefault((id(asyncio.get_running_loop()), session_id), _Line())
        if policy == "reject" and (line.lock.locked() or line.waiting):
            raise SessionBusy(
                f"session {session_id!r} is at work on something else, and its team takes no message meanwhile "
                "(with_concurrent_input('reject')); say it again when that is done"
            )
        await line.acquire(interrupt=policy == "interrupt")
        held = _HELD.set(_HELD.get() | {(id(self), session_id)})
        session = self._idle.pop(session_id, None) or Session(session_id, machine, self.store)
        hold = line.holder = Hold(session, line)
        try:
            await session.refresh()
            yield hold
            if hold.interrupted:
                await _let_go(hold)
        except asyncio.CancelledError:
            if hold.over():
                raise RunClosed(
                    f"this run of session {session_id!r} was interrupted by a newer message; "
                    "what was said and done until then is on record"
                ) from None
            raise
        except RelaylineError:
            self._keep(session)
            raise
        else:
            # Not if it was cancelled or broke: what was cut off half-way is folded anew the next time.
            self._keep(session)
        finally:
            line.holder = None
            line.lock.release()
            _HELD.reset(held)

    def copy(self, session_id: str, machine: Machine) -> Session:
        """The session as far as it is known here, for who only looks: it is nobody's, and others go on with theirs."""
        idle = self._idle.get(session_id)
        return idle.copy() if idle else Session(session_id, machine, self.store)

    def learn(self, session: Session) -> None:
        """Keep what was read for a copy, if it is more than is known here."""
        idle = self._idle.get(session.id)
        if idle is None or idle.state.seq < session.state.seq:
            self._keep(session)

    def _keep(self, session: Session) -> None:
        self._idle[session.id] = session
        if len(self._idle) > SESSIONS_KEPT:
            self._idle.popitem(last=False)


async def _let_go(hold: Hold) -> None:
    """A run that was interrupted when all was done has its result: the cancellation ends here."""
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        if not hold.over():
            raise
