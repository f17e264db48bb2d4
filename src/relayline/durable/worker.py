"""A worker: does the turns of sessions, any number of them in any number of processes, started and killed at will."""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from relayline.dispatch import Dispatcher, HandedBack, Limits
from relayline.durable.local import Local
from relayline.durable.words import Words
from relayline.errors import DispatchError, RelaylineError, SequenceConflict, StoreError
from relayline.journal.inbox import Claim, Room, inbox_of
from relayline.workflow import Workflow

logger = logging.getLogger(__name__)

LEASE = 5.0
"""Seconds for which a session is claimed; what a worker that died was at waits for no longer, where nobody notices."""

BEAT = 1.0
"""Seconds between two signs of life, which also bring what was cancelled."""

REMEMBERED = timedelta(days=7)
"""How long the ids of what was taken are kept: submitting one of them again is harmless for so long."""

PURGES = 3600.0
"""Seconds between two times that they are forgotten."""

SWEPT = 1000
"""How many sessions are dispatched again in one sweep, at most."""

LONGEST_PAUSE = 60.0
"""Seconds until a session that still is due is dispatched once more, in the end."""

GIVES_UP = 50
"""How often a session is taken up before it is taken for one that kills whoever takes it up."""

LOSSES = 5
"""How often in a row a turn may lose against somebody else who writes to its session, before it waits a moment."""


class Worker:
    """Does the turns that ``workflow``'s dispatcher has, or those of this process and store if it has none.

    ``serve()`` works until it is cancelled or `stop` is called. ``name``: this worker's, unlike any other's.
    """

    def __init__(
        self,
        workflow: Workflow,
        limits: Limits | None = None,
        *,
        lease: float = LEASE,
        beat: float = BEAT,
        name: str = "",
    ) -> None:
        self.dispatcher: Dispatcher = workflow.dispatcher or Local()
        self.workflow = workflow.with_dispatcher(self.dispatcher)
        self.limits = limits or Limits()
        self.name = name or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._inbox = inbox_of(workflow.store)
        self._room = Room(self.limits.sessions, self.limits.per_tenant)
        self._lease, self._beat = lease, beat
        self._at_work: dict[str, set[asyncio.Task[None]]] = {}
        self._turns: set[asyncio.Task[None] | None] = set()
        self._look = asyncio.Event()
        self._swept: dict[str, tuple[float, float]] = {}
        self._stopping = False
        self._beaten = float("-inf")
        self._serving: asyncio.Task[None] | None = None

    @property
    def at_work(self) -> int:
        """How many sessions it looks after just now."""
        return len(self._turns)

    @property
    def stopping(self) -> bool:
        """Whether it takes nothing new."""
        return self._stopping

    @property
    def lives(self) -> bool:
        """Whether it reached its store lately: a sign of life that went through."""
        return asyncio.get_running_loop().time() - self._beaten < 3 * self._beat + 1

    async def serve(self) -> None:
        """Work until cancelled, or stopped."""
        self._serving = asyncio.create_task(self.dispatcher.serve(self.run_turn, self.limits))
        chores = [
            asyncio.create_task(self._again(self._beat, self._show_life)),
            asyncio.create_task(self._sweeps()),
            asyncio.create_task(self._again(PURGES, self._purge)),
        ]
        try:
            await asyncio.wait([self._serving, *chores], return_when=asyncio.FIRST_COMPLETED)
            for chore in chores:
                if chore.done():
                    chore.result()
            if self._serving.done() and not self._serving.cancelled():
                self._serving.result()
        finally:
            for task in (self._serving, *chores):
                task.cancel()
            await asyncio.gather(self._serving, *chores, return_exceptions=True)

    async def stop(self, grace: float = 30.0) -> None:
        """Take nothing new, let what is going on finish for so many seconds, and hand back what is not over then."""
        self._stopping = True
        turns = [turn for turn in self._turns if turn is not None]
        if turns:
            await asyncio.wait(turns, timeout=grace)
        if self._serving is not None:
            self._serving.cancel()

    async def run_turn(self, session_id: str) -> None:
        """Look after a session until it rests. What dispatchers call.

        Raises:
            HandedBack, StoreError: it does not rest, and has to be dispatched again.
        """
        if self._stopping:
            if self.dispatcher.retries:
                raise HandedBack(f"worker {self.name} stops")
            return
        turn = asyncio.current_task()
        self._turns.add(turn)
        try:
            force = self.dispatcher.retries
            while claim := await self._claim(session_id, force=force):
                force = False
                if not await self._look_after(claim):
                    return
        finally:
            self._turns.discard(turn)
            if self._room != Room():
                self._look.set()  # there is room again

    async def _claim(self, session_id: str, *, force: bool) -> Claim | None:
        return await self._inbox.claim(
            session_id, self.name, team=self.workflow.name, seconds=self._lease, force=force, room=self._room
        )

    async def _look_after(self, claim: Claim) -> bool:
        """Whether there may be more to do for the session."""
        if claim.attempt > GIVES_UP:
            logger.error("session %r was taken up %s times and never came to rest", claim.session_id, GIVES_UP)
            await self._inbox.cancel(claim.session_id)
            claim = replace(claim, cancelled=True)
        wait = 0.0
        try:
            await self._work_off(claim)
            return await self._inbox.finish(claim)
        except SequenceConflict:
            # Somebody else is at it. If they have claimed it, it is theirs; if not, they are just passing by.
            logger.info("session %r was written to by somebody else as well", claim.session_id)
            wait = 0.2 if claim.attempt % LOSSES == 0 else 0.0
            await self._inbox.hand_back(claim, seconds=wait)
            return not wait
        except asyncio.CancelledError:
            await asyncio.shield(self._inbox.hand_back(claim))
            raise
        except Exception:
            with suppress(StoreError):
                await self._inbox.hand_back(claim, seconds=min(0.1 * 2**claim.attempt, 30.0))
            raise

    async def _work_off(self, claim: Claim) -> None:
        async with Words(self._inbox.deltas, claim.session_id) as words:
            task = asyncio.create_task(self.workflow.work_off(claim, words.after), name=f"at {claim.session_id}")
            tasks = self._at_work.setdefault(claim.session_id, set())
            tasks.add(task)
            try:
                await asyncio.wait([task])
            finally:
                task.cancel()
                await asyncio.wait([task])
                tasks.discard(task)
                if not tasks:
                    self._at_work.pop(claim.session_id, None)
        if task.cancelled():
            # By the heartbeat: whoever cancels the turn itself has left by now.
            await self.workflow.work_off(replace(claim, cancelled=True))
        else:
            task.result()

    async def _show_life(self) -> None:
        for session_id in await self._inbox.renew(self.name, seconds=self._lease):
            for task in self._at_work.get(session_id, ()):
                task.cancel()
        self._beaten = asyncio.get_running_loop().time()

    async def _sweeps(self) -> None:
        while True:
            await self._guarded(self._sweep)
            with suppress(TimeoutError):
                # Not wait_for: in Python 3.11 that forgets a cancellation that comes in the same moment.
                async with asyncio.timeout(self.dispatcher.every):
                    await self._look.wait()
            self._look.clear()

    async def _sweep(self) -> None:
        """Dispatch what is due and nobody looks after: forgotten, left behind by the dead, or submitted elsewhere.

        Or it is not forgotten, and there are not enough workers. So what was dispatched is left alone for a while, each
        time twice as long, or sweeps would fill the engine's queue the faster the longer that is.
        """
        if self._stopping:
            return
        due = await self._inbox.due(self.workflow.name, quiet=self.dispatcher.quiet, most=SWEPT)
        now = asyncio.get_running_loop().time()
        self._swept = {session_id: self._swept[session_id] for session_id in due if session_id in self._swept}
        for session_id in due:
            when, pause = self._swept.get(session_id, (now, self.dispatcher.quiet))
            if when <= now:
                await self.dispatcher.submit(session_id, "")
                self._swept[session_id] = now + pause, min(2 * pause, LONGEST_PAUSE)

    async def _purge(self) -> None:
        await self._inbox.purge(self.workflow.store.now() - REMEMBERED)

    async def _again(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._guarded(work)
            await asyncio.sleep(seconds)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """A store or an engine that is away comes back; until then there is nothing to do but to say so."""
        try:
            await work()
        except (StoreError, DispatchError) as error:
            logger.warning("worker %s: %s", self.name, error)
        except RelaylineError:
            logger.exception("worker %s", self.name)
