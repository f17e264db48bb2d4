"""A team's sessions in the hands of workers: what is submitted waits in the store, and whoever claims it runs it."""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from relayline.dispatch import Dispatcher
from relayline.errors import (
    ConditionError,
    DispatchError,
    ExecutorError,
    ModelError,
    RunClosed,
    UsageError,
    WorldError,
)
from relayline.journal.inbox import Claim, Delivery, Receipt, inbox_of
from relayline.journal.store import Store
from relayline.machine.effects import effects
from relayline.machine.inputs import Cancel, Opened
from relayline.machine.nested import waiting
from relayline.runtime.letter import Letter, read_letter
from relayline.runtime.orders import Given, Order
from relayline.runtime.pool import Hold, Sessions
from relayline.runtime.runner import Runner
from relayline.runtime.session import Session, existing
from relayline.runtime.stream import Emit, Narrator, RunResult, WorkflowRunState, run_state
from relayline.runtime.watch import PATIENCE, Watcher

logger = logging.getLogger(__name__)

LOOK_FOR_RECEIPT = 0.2
"""Seconds between two looks at what became of a message, while nothing else is heard."""

UNANSWERED = 5.0
"""Seconds after which it is said that no worker has taken up what a run submitted."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The session that something was submitted to, and the id it has there."""

    session_id: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """``team``: its name, which messages are for."""

    team: str
    runner: Runner
    store: Store
    sessions: Sessions
    dispatcher: Dispatcher | None

    async def submit(
        self, order: Order, message_id: str | None = None, not_before: datetime | None = None, tenant: str = ""
    ) -> Submitted:
        """Put it into the store's inbox, unless it is there, and tell the workers."""
        name = uuid.uuid4().hex if message_id is None else message_id
        inbox = inbox_of(self.store)
        submitted = Submitted(order.session_id, name)
        if message_id is not None and await inbox.receipt(order.session_id, name):
            return submitted
        body = (await self._letter(order)).written()
        if await inbox.put(order.session_id, name, body, team=self.team, tenant=tenant, not_before=not_before):
            await self._dispatch(submitted, not_before)
        return submitted

    async def receipt(self, submitted: Submitted) -> Receipt | None:
        """What became of what was submitted."""
        return await inbox_of(self.store).receipt(submitted.session_id, submitted.message_id)

    async def cancel(self, session_id: str) -> bool:
        """Stop what is done for a session, and refuse what waits; whether there was anything."""
        found = await inbox_of(self.store).cancel(session_id)
        if found and self.dispatcher is not None:
            with suppress(DispatchError):  # the workers ask the store
                await self.dispatcher.cancel(session_id)
        return found

    async def work_off(self, claim: Claim, listen: Callable[[int], Emit]) -> None:
        """Do what there is to do for a claimed session, until it rests: what a crash cut off, then what waits."""
        async with self.sessions.hold(claim.session_id, self.runner.machine) as hold:
            session = hold.session
            if claim.cancelled:
                await session.commit([Cancel()])
                return
            emit = listen(session.state.seq)
            if effects(session.state):
                await self._take(hold, Delivery("", Letter(self.team).written()), claim, emit)
            for waiting in claim.waiting:
                await self._take(hold, waiting, claim, emit)
            await self._set_timers(session)

    async def _take(self, hold: Hold, waiting: Delivery, claim: Claim, emit: Emit) -> None:
        try:
            letter = read_letter(waiting.body)
            if letter.team != self.team:
                raise UsageError(f"the message is for the team {letter.team!r}; {self.team!r} has this session")
            order = letter.said, letter.responses, None, True, letter.settings
            await self.runner.work(hold, Given(*order, waiting.message_id, claim.attempt, letter.expired), emit)
        except (ModelError, ConditionError, ExecutorError):
            pass  # it is on record
        except UsageError as error:
            if not waiting.message_id or isinstance(error, RunClosed):
                raise
            await inbox_of(self.store).refuse(claim.session_id, waiting.message_id, str(error))

    async def _letter(self, order: Order) -> Letter:
        if order.said is None:
            session = await existing(order.session_id, self.runner.machine, self.store)
            overdue = session.overdue()
            state = self.runner.machine.decide(session.state, Opened(session.id)).state
            answers = await self.runner.answers(session.id, state, order.responses, overdue)
            return Letter(self.team, None, {each.request: each.response for each in answers}, order.settings)
        return Letter(self.team, order.said, {}, order.settings)

    async def _set_timers(self, session: Session) -> None:
        """See to it that somebody looks when the time of what is asked now is over."""
        try:
            deadlines = session.deadlines()
        except UsageError:
            return  # the team does not take the session, so nothing in it is its to time
        for request, until in deadlines.items():
            name = f"expiry of {request}"
            body = Letter(self.team, expired=request).written()
            if await inbox_of(self.store).put(session.id, name, body, team=self.team, not_before=until):
                await self._dispatch(Submitted(session.id, name), until)

    async def _dispatch(self, submitted: Submitted, not_before: datetime | None) -> None:
        if self.dispatcher is not None:
            try:
                await self.dispatcher.submit(submitted.session_id, submitted.message_id, not_before)
            except DispatchError as error:
                logger.warning("%s; a worker will find it in the store", error)

    async def follow(self, order: Order, stream: bool, emit: Emit) -> RunResult:
        """Have a worker do it, and show what it does as if it were done here."""
        session = self.sessions.copy(order.session_id, self.runner.machine)
        narrator = Narrator(session, emit)
        try:
            async with Watcher(session, stream=stream) as watcher:
                await watcher.start()
                before = session.state
                submitted = await self.submit(order)
                await narrator.signal("started")
                await narrator.signal("status", WorkflowRunState.IN_PROGRESS)
                if order.said is None and not order.responses:
                    await narrator.remind({each.request for each in waiting(before)})
                receipt: Receipt | None = None
                patience = time.monotonic() + UNANSWERED
                while receipt is None or effects(session.state) or session.state.seq < receipt.seq:
                    async for event in watcher.news(PATIENCE if receipt else LOOK_FOR_RECEIPT):
                        await emit(event)
                    if receipt is None:
                        receipt = _settled(await self.receipt(submitted))
                    if receipt is None and time.monotonic() > patience:
                        logger.warning("session %r waits for a worker of team %r that is free", session.id, self.team)
                        patience = math.inf
        except asyncio.CancelledError:
            await asyncio.shield(self.cancel(session.id))
            raise
        finally:
            self.sessions.learn(session)
        if receipt.problem:
            raise UsageError(receipt.problem)
        try:
            self.runner.check(session.state)
        except WorldError as error:
            await narrator.signal("failed", error)
            await narrator.signal("status", WorkflowRunState.FAILED)
            raise
        await narrator.signal("status", run_state(session.state))
        return self.runner.result(session.id, session.state, len(before.transcript))


def _settled(receipt: Receipt | None) -> Receipt | None:
    return None if receipt is None or receipt.state == "waiting" else receipt
