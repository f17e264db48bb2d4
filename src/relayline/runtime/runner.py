"""What a call does to a session: what it says is put on record, then the session is driven until it rests."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relayline.errors import (
    ConditionError,
    ExecutorError,
    ModelError,
    RequestNotOpen,
    SequenceConflict,
    SessionBusy,
    UsageError,
    WorldError,
)
from relayline.events import Stopped
from relayline.journal.checkpoints import request_id
from relayline.journal.inbox import inbox_of
from relayline.journal.store import conflict
from relayline.machine.decide import Machine
from relayline.machine.inputs import Answer, Approval, Expired, Input, Opened, Resumed, Terminate, Turned
from relayline.machine.lanes import outputs
from relayline.machine.nested import Waiting, waiting
from relayline.machine.state import State
from relayline.messages import Message
from relayline.runtime.driver import drive
from relayline.runtime.orders import Given
from relayline.runtime.perform import Context, Perform
from relayline.runtime.pool import ConcurrentInput, Hold
from relayline.runtime.requests import as_response
from relayline.runtime.seat import Seat
from relayline.runtime.session import ATTEMPTS, Session, not_found
from relayline.runtime.stream import Emit, Narrator, RunResult, WorkflowRunState, pending, run_state

NUMBERS = 1000
"""Each time somebody takes up what another was at, the numbers of attempts go on from the next thousand."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs the sessions of one team. ``seat``: that of an agent, or, by its path, of one in a team within it."""

    machine: Machine
    perform: Perform
    seat: Callable[[str], Seat | None]
    concurrent: ConcurrentInput

    async def work(self, hold: Hold, given: Given, emit: Emit) -> RunResult:
        session = hold.session
        inputs = await self._inputs(session, given)
        narrator = Narrator(session, emit)
        await narrator.signal("started")
        await narrator.signal("status", WorkflowRunState.IN_PROGRESS)
        try:
            before = await self._enter(session, given, inputs, narrator)
            hold.begun()
            delta = narrator.delta if given.stream else None
            numbers = NUMBERS * (given.attempt - 1)
            context = Context(session, narrator.progress, delta, settings=given.settings, before=numbers)
            seconds = self.machine.budget.seconds
            cause = await drive(session, (), self.perform, context, narrator.tell, seconds)
            self.check(session.state, cause)
        except WorldError as error:
            await narrator.signal("failed", error)
            await narrator.signal("status", WorkflowRunState.FAILED)
            raise
        await narrator.signal("status", run_state(session.state))
        return self.result(session.id, session.state, before)

    def result(self, session_id: str, state: State, before: int) -> RunResult:
        """What came of it; ``before``: how many messages there were."""
        new = state.transcript.since(before)
        stopped = state.rest if isinstance(state.rest, Stopped) else None
        waiting = pending(session_id, state)
        value, last = self._value(new), outputs(state)
        return RunResult(session_id, run_state(state), new, state.transcript, waiting, stopped, value, last)

    async def _inputs(self, session: Session, given: Given) -> list[Input]:
        """What the run has to say to the session as it stands; refused, if it makes no sense there."""
        state = session.state
        if not state.seq and given.said is None:
            raise not_found(session.id)
        if given.seq is not None and state.seq != given.seq:
            raise conflict(session.id, given.seq, state.seq)
        overdue = session.overdue()
        expired = [Expired(request) for request in overdue]
        opened = Opened(session.id)
        changed, state = self.machine.decide(state, opened)
        begin: list[Input] = [opened] if changed else []
        if given.expired:
            return [*begin, Expired(given.expired)]
        if given.said:
            return [*begin, *expired, given.said]
        inputs: list[Input] = [*begin, Resumed(), *expired]
        if given.responses:
            # A team that has changed may have withdrawn what was asked.
            ready = self.machine.decide(state, Resumed()).state if changed else state
            inputs += await self.answers(session.id, ready, given.responses, overdue)
        return inputs

    async def _enter(self, session: Session, given: Given, inputs: Sequence[Input], narrator: Narrator) -> int:
        """Put on record what the run was given, and show what waits; how many messages there were before.

        Where another process wrote first, it is decided again on what that wrote: nobody has to say it twice.
        """
        for attempt in range(ATTEMPTS):
            asked, before = {each.request for each in waiting(session.state)}, len(session.state.transcript)
            try:
                entries = await session.commit(inputs, taking=(given.taking,) if given.taking else ())
            except SequenceConflict as error:
                if not given.anything or given.seq is not None or given.taking:
                    raise  # whoever only resumes need not, with somebody else at work
                if self.concurrent == "reject":
                    raise _busy(session.id) from error
                await asyncio.sleep(attempt / 1000)
                await session.refresh()
                inputs = await self._inputs(session, given)
                narrator.catch_up()
                continue
            if given.taking and not entries:
                await inbox_of(session.store).refuse(session.id, given.taking, "")  # it meant nothing
            await narrator.tell(entries)
            if not given.anything:
                await narrator.remind(asked)
            return before
        raise _busy(session.id)

    def _value(self, new: Sequence[Message]) -> Any:
        """What the last reply is the JSON of, if its agent's replies are that of anything."""
        last = next((message for message in reversed(new) if message.role == "assistant"), None)
        seat = last and self.seat(last.author_name)
        if last and seat and seat.function:
            return seat.function.value(last.text)
        if not last or not seat or not seat.output or last.tool_calls:
            return None
        return seat.output.read(last.text)[0]

    async def answers(
        self, session_id: str, state: State, responses: Mapping[str, Any], overdue: Collection[str]
    ) -> list[Answer]:
        if len(responses) > 1 and any(isinstance(value, Terminate) for value in responses.values()):
            raise UsageError("terminate() ends the conversation; give no other response with it")
        answers: list[Answer] = []
        open_now = {each.request: each for each in waiting(state)}
        for request, value in responses.items():
            local = request.rpartition("/")[2]
            found = open_now.get(local)
            if local in overdue:
                raise RequestNotOpen(f"the time to answer request {request!r} is over; run the session to go on")
            if found is None:
                others = ", ".join(request_id(session_id, each) for each in open_now) or "none"
                raise RequestNotOpen(
                    f"request {request!r} is not waiting for an answer (never asked, already answered, or withdrawn); "
                    f"waiting in session {session_id!r}: {others}"
                )
            asked = found.asked
            response = as_response(asked, value)
            if isinstance(response, Approval) and response.arguments is not None and asked.call is not None:
                seat = self.seat(found.path)
                tool = seat and seat.tools.get(asked.call.name)
                problem = tool.problem(response.arguments) if tool else f"{asked.call.name!r} takes none."
                if problem:
                    raise UsageError(f"the edited arguments do not fit; the request stays open. {problem}")
            if isinstance(response, Turned):
                await self._check_turn(state, found, response)
            answers.append(Answer(local, response))
        return answers

    async def _check_turn(self, state: State, found: Waiting, given: Turned) -> None:
        """Refuse what a person cannot do with their turn, before anything is said to have begun."""
        asked = found.asked
        self.machine.decide(state, Answer(found.request, given))
        seat = self.seat(found.path)
        way = seat and seat.way(given.to)
        if way and not await way.open(state.transcript, state.shared):
            raise UsageError(
                f"the handoff from {asked.agent!r} to {given.to!r} is not open now; the request stays open"
            )

    def check(self, state: State, cause: BaseException | None = None) -> None:
        """Raise what the run failed with, if it did."""
        failure = state.failure
        seat = self.seat(failure.agent) if failure else None
        _check(state, cause, function=bool(seat and seat.function))


def _busy(session_id: str) -> SessionBusy:
    return SessionBusy(
        f"session {session_id!r} is being written to by others all the time; nothing was changed, so say it again"
    )


def _check(state: State, cause: BaseException | None, *, function: bool) -> None:
    """Raise what the run failed with, if it did."""
    failure = state.failure
    if failure is None:
        return
    if isinstance(cause, ConditionError):
        raise cause
    if not failure.agent:
        raise ConditionError(failure.message) from cause
    if function:
        raise ExecutorError(
            f"{failure.agent!r} failed: {failure.error}: {failure.message}. "
            "Nothing is lost; run the session again to retry.",
            failure.agent,
        ) from cause
    raise ModelError(
        f"the model of {failure.agent!r} failed: {failure.error}: {failure.message}. "
        "Nothing is lost; run the session again to retry.",
        failure.agent,
    ) from cause
