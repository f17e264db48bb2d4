"""The conversation between a person and a team: what is asked next, what is said next, until somebody leaves.

It knows no terminal. A `Screen` shows, a `Person` speaks; the terminal and the pipe each bring both.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from relayline.cli.asked import answer, asks
from relayline.cli.sessions import folded
from relayline.errors import RequestNotOpen, SessionNotFound, UsageError, WorldError
from relayline.machine.inputs import Approval, OutcomeTold
from relayline.messages import Message
from relayline.runtime.requests import (
    AgentReviewRequest,
    FunctionInfoRequest,
    HandoffAgentUserRequest,
    HumanTurnRequest,
)
from relayline.runtime.run import Run
from relayline.runtime.stream import RunResult, WorkflowEvent, WorkflowRunState
from relayline.workflow import SessionView, Workflow

RECAP = 6
"""How many of the last messages are shown at most when a session is taken up again."""


PATIENCE = 3.0
"""Seconds after which it is told that no worker has taken up what was said."""

GOES_ON = (
    WorkflowRunState.FAILED,
    WorkflowRunState.IN_PROGRESS,
    WorkflowRunState.STOPPED,
    WorkflowRunState.CANCELLED,
)
"""Where a session stands that goes on when it is run again."""


@dataclass(frozen=True, slots=True)
class Say:
    """Words for whoever has the conversation."""

    text: str


@dataclass(frozen=True, slots=True)
class Respond:
    """The answer to the request that was put."""

    value: object


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command, without the slash. ``argument``: what was typed after its name."""

    name: str
    argument: str = ""


Move: TypeAlias = Say | Respond | Command | None
"""What a person does next; None: they leave."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known at the start. ``about``: which model speaks. ``resume``: the line to type to come back.
    ``who``: under what name decisions are recorded. ``worker``: the line that starts a worker; empty, if the turns are
    done here.
    """

    workflow: Workflow
    about: str
    session_id: str
    is_new: bool
    resume: str
    who: str = ""
    worker: str = ""


class Screen(Protocol):
    """Shows a conversation. Everything it is given may come from a model: it takes nothing for formatting."""

    def open(self, opening: Opening) -> None: ...

    def recap(self, messages: Sequence[Message]) -> None:
        """The last messages of a session that is taken up again, oldest first."""
        ...

    def show(self, event: WorkflowEvent) -> None:
        """What just happened."""
        ...

    def tell(self, text: str) -> None:
        """Something beside the conversation: a hint, or what a slash command has to say."""
        ...

    def problem(self, text: str) -> None: ...

    def close(self, opening: Opening, *, started: bool) -> None:
        """The person left. ``started``: there is a session to come back to."""
        ...


class Person(Protocol):
    """Speaks and decides. ``patient``: stays when something fails, to try again."""

    patient: bool

    async def say(self) -> Move:
        """What they say to the team."""
        ...

    async def decide(self, request: WorkflowEvent, problem: str) -> Move:
        """Their answer to a request. ``problem``: why the last answer would not do; it is still open."""
        ...

    async def take_turn(self, request: WorkflowEvent, colleagues: Sequence[str], problem: str) -> Move:
        """What they say as a person of the team, whose turn it is: words, or ``handoff`` and ``back`` as commands.

        ``colleagues``: whom they may hand over to. ``problem``: as for `decide`.
        """
        ...

    def waiting(self, stop: Callable[[], object]) -> AbstractContextManager[object]:
        """Entered while the team works. ``stop`` is called, on the event loop, if they do not want to wait."""
        ...


Commands: TypeAlias = Callable[[str, SessionView | None], Awaitable[str]]
"""What a slash command says, given the session as it stands."""


class Conversation:
    """One session, held until the person leaves. ``failed``: something went wrong on the way."""

    def __init__(self, opening: Opening, screen: Screen, person: Person, commands: Commands) -> None:
        self.failed = False
        self._opening = opening
        self._workflow = opening.workflow
        self._id = opening.session_id
        self._screen = screen
        self._person = person
        self._commands = commands
        self._requests: Sequence[WorkflowEvent] = ()

    async def hold(self) -> None:
        """Talk until the person leaves, or until a failure that an impatient one does not stay for."""
        view = await self._look()
        self._screen.open(self._opening)
        if view is not None:
            await self._take_up(view)
        problem = ""
        while self._person.patient or not self.failed:
            request = next((each for each in self._requests if not _is_question(each)), None)
            try:
                move, problem = await self._move(request, problem), ""
            except UsageError as error:
                problem = str(error)
                continue
            match move:
                case None | Command("quit"):
                    break
                case Command(name):
                    await self._command(name)
                case Say(text):
                    await self._turn(text)
                case Respond(value):
                    assert request is not None
                    problem = await self._turn(responses={request.request_id: self._signed(value)})
        self._screen.close(self._opening, started=await self._look() is not None)

    async def _move(self, request: WorkflowEvent | None, problem: str) -> Move:
        if request is None:
            return await self._person.say()
        if isinstance(request.data, AgentReviewRequest | FunctionInfoRequest):
            self._screen.tell(problem or asks(request.data))
            move = await self._person.say()
            return Respond(answer(request.data, move.text)) if isinstance(move, Say) else move
        if not isinstance(request.data, HumanTurnRequest):
            return await self._person.decide(request, problem)
        colleagues = list(request.data.handoffs)
        return _turn_of(request.data, colleagues, await self._person.take_turn(request, colleagues, problem))

    def _signed(self, value: object) -> object:
        """A decision with the name of whoever took it."""
        if isinstance(value, Approval | OutcomeTold) and not value.by:
            return replace(value, by=self._opening.who)
        return value

    async def _command(self, name: str) -> None:
        view = await self._look()
        if name not in ("retry", "continue"):
            self._screen.tell(await self._commands(name, view))
        elif view is None:
            self._screen.tell("There is nothing to try again yet: say something first.")
        elif view.state in GOES_ON:
            await self._turn()
        else:
            self._screen.tell("There is nothing to try again: the last turn went through.")

    async def _look(self) -> SessionView | None:
        return await look(self._workflow, self._id)

    async def _take_up(self, view: SessionView) -> None:
        await self._check_team()
        self._screen.recap(_last_words(view.conversation))
        self._requests = view.requests
        if view.state is WorkflowRunState.STOPPED:
            # Not by itself: a budget is what somebody did not want to spend more than.
            stopped = (await folded(self._workflow.store, self._id)).rest
            self._screen.show(WorkflowEvent("stopped", self._id, stopped))
        elif view.state is WorkflowRunState.CANCELLED:
            self._screen.show(WorkflowEvent("cancelled", self._id, None))
        elif view.state is not WorkflowRunState.IDLE:
            await self._turn()

    async def _check_team(self) -> None:
        team = (await folded(self._workflow.store, self._id)).workflow
        if team != self._workflow.name:
            self._screen.problem(f"this session was begun with the team {team!r}; {self._workflow.name!r} takes it up")

    async def _turn(self, message: str | None = None, responses: dict[str, object] | None = None) -> str:
        """One run, shown. Returns why an answer would not do; the request is still open then."""
        late = False
        try:
            result = await self._show(
                self._workflow.run(message, session_id=self._id, responses=responses, stream=True)
            )
        except RequestNotOpen as error:
            self._fails(str(error))
            late = True
        except WorldError as error:
            self._fails(str(error).replace("run the session again to retry", self._retry_hint))
        except UsageError as error:
            if responses:
                return str(error)
            self._fails(str(error))
        else:
            if result is not None:
                self._requests = result.requests
                return ""
            self._screen.tell("Stopped. What happened so far is kept; /retry goes on from there.")
        view = await self._look()
        self._requests = view.requests if view is not None else ()
        if late and self._person.patient and any(each.request_id in (responses or ()) for each in self._requests):
            return await self._turn()  # its time is over, and what follows from that is still to happen
        return ""

    @property
    def _retry_hint(self) -> str:
        return "/retry tries again" if self._person.patient else "the resume line below tries again"

    def _fails(self, why: str) -> None:
        self.failed = True
        self._screen.problem(why)

    async def _show(self, run: Run) -> RunResult | None:
        """Show a run to its end; None if the person interrupts it."""
        taken = False

        async def read() -> RunResult:
            nonlocal taken
            async with aclosing(run.__aiter__()) as events:
                async for event in events:
                    taken = taken or event.seq is not None
                    self._screen.show(event)
            return await run

        reading = asyncio.create_task(read())
        with self._person.waiting(stop=reading.cancel):
            try:
                await asyncio.wait([reading], timeout=PATIENCE if self._opening.worker else None)
                if not reading.done() and not taken:
                    self._screen.tell(f"No worker has taken this up yet; it waits for one: {self._opening.worker}")
                await asyncio.wait([reading])
            finally:
                reading.cancel()
                await run.aclose()
        return None if reading.cancelled() else reading.result()


async def look(workflow: Workflow, session_id: str) -> SessionView | None:
    """The session as it stands; None if there is none."""
    try:
        return await workflow.session(session_id)
    except SessionNotFound:
        return None


def _turn_of(request: HumanTurnRequest, colleagues: Sequence[str], move: Move) -> Move:
    """What a person of the team does with their turn.

    Raises:
        UsageError: if it cannot be done.
    """
    match move:
        case Say(text):
            return Respond(request.create_response(text))
        case Command("back", words):
            return Respond(request.hand_back(words))
        case Command("handoff", rest):
            # A name may have spaces in it, so the longest that fits; any other is refused with those there are.
            fitting = [name for name in colleagues if f"{rest} ".startswith(f"{name} ")]
            name = max(fitting, key=len, default=rest.partition(" ")[0])
            if not name:
                there = ", ".join(colleagues) or "nobody"
                raise UsageError(f"type /handoff and a name; {request.agent} may hand over to: {there}")
            return Respond(request.create_response(rest[len(name) :].strip(), handoff_to=name))
        case _:
            return move


def _last_words(conversation: Sequence[Message]) -> Sequence[Message]:
    """The last few messages that say something, from a message of the user on."""
    last = [each for each in conversation if each.in_words.strip() and each.role != "tool"][-RECAP:]
    first = next((number for number, each in enumerate(last) if each.role == "user"), 0)
    return last[first:]


def _is_question(request: WorkflowEvent) -> bool:
    return isinstance(request.data, HandoffAgentUserRequest)
