"""What a caller sees of a run: numbered facts, and unnumbered signals around them."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias, assert_never, get_args

from relayline.errors import WorldError
from relayline.events import (
    Answered,
    Asked,
    Cancelled,
    Compacted,
    Entry,
    Fact,
    Failed,
    Finished,
    Forked,
    HandedBack,
    HandoffSent,
    Joined,
    Prompted,
    Replied,
    Retried,
    Routed,
    SessionStarted,
    StateChanged,
    Stopped,
    Summarised,
    TeamChanged,
    ToolInterrupted,
    ToolReconciled,
    ToolReturned,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    UserSpoke,
    Warned,
    Within,
)
from relayline.journal.checkpoints import request_id
from relayline.machine.nested import waiting
from relayline.machine.state import State
from relayline.messages import JSON, Message
from relayline.runtime.requests import request_data
from relayline.runtime.session import Session

EventType: TypeAlias = Literal[
    "started",
    "status",
    "session_started",
    "executor_invoked",
    "executor_completed",
    "executor_failed",
    "message",
    "message_delta",
    "tool_call",
    "tool_interrupted",
    "tool_reconciled",
    "tool_result",
    "handoff_sent",
    "handed_back",
    "routed",
    "joined",
    "request_info",
    "request_answered",
    "retried",
    "stopped",
    "cancelled",
    "state_changed",
    "summarised",
    "forked",
    "compacted",
    "team_changed",
    "progress",
    "output",
    "warning",
    "prompted",
    "failed",
]


class WorkflowRunState(StrEnum):
    """Where a session stands."""

    IN_PROGRESS = "IN_PROGRESS"
    IDLE = "IDLE"
    IDLE_WITH_PENDING_REQUESTS = "IDLE_WITH_PENDING_REQUESTS"
    STOPPED = "STOPPED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class WorkflowEvent:
    """Something happened.

    ``type`` says what, for every kind. Those that callers look for most are classes as well, which know the type of
    their ``data``: ``event.type == "request_info"`` and ``isinstance(event, RequestInfoEvent)`` ask the same.

    ``seq`` numbers what is in the journal; signals (``started``, ``status``, ``message_delta``, ``progress``,
    ``failed``) have none, nor has a ``request_info`` that is shown again on resume. ``executor_id`` is the agent
    concerned. ``data`` by type:

    =====================  ==========================================================================
    message                the `Message`; its ``role`` says whose
    message_delta          `str`, the next words of ``executor_id``
    tool_call              the `ToolCall` as it runs
    tool_result            the `ToolResult`
    handoff_sent           `HandoffSent`: ``source``, ``target``, ``reason``, ``payload``
    handed_back            `HandedBack`: ``source``, ``target``, ``reason``
    request_info           `HandoffAgentUserRequest`, `FunctionApprovalRequestContent`,
                           `InterruptedCallRequest`, `HumanTurnRequest`, `AgentReviewRequest` or
                           `FunctionInfoRequest`; answer it under ``request_id``
    warning                `Warned`: ``code``, ``message``
    prompted               `Prompted`: ``text``, what the team told an agent, and nobody else
    request_answered       `Answered`: ``settled``, ``note``, ``by``
    progress               what a tool passed to `ToolContext.emit`
    state_changed          `StateChanged`: ``values``, ``removed``
    summarised             `Summarised`: ``text``
    stopped                `Stopped`: ``budget``, ``message``
    output                 the whole conversation, a list of `Message`
    status                 `WorkflowRunState`
    executor_failed        `Failed`: ``error``, ``message``
    failed                 the exception the run ends with
    others                 the fact itself, or None
    =====================  ==========================================================================
    """

    type: EventType
    session_id: str
    data: Any
    executor_id: str = ""
    request_id: str = ""
    seq: int | None = None
    at: datetime | None = None

    @property
    def source_executor_id(self) -> str:
        """The agent that asks, under the name the pattern's users know."""
        return self.executor_id


@dataclass(frozen=True, slots=True)
class WorkflowStartedEvent(WorkflowEvent):
    """A run begins."""

    type: Literal["started"] = field(default="started", init=False)
    data: None = None


@dataclass(frozen=True, slots=True)
class WorkflowStatusEvent(WorkflowEvent):
    """Where the session stands now: at the beginning of a run and at its end."""

    type: Literal["status"] = field(default="status", init=False)
    data: WorkflowRunState

    @property
    def state(self) -> WorkflowRunState:
        return self.data


@dataclass(frozen=True, slots=True)
class WorkflowFailedEvent(WorkflowEvent):
    """The run ends with an error, which it raises next."""

    type: Literal["failed"] = field(default="failed", init=False)
    data: WorldError


@dataclass(frozen=True, slots=True)
class WorkflowOutputEvent(WorkflowEvent):
    """The conversation is finished, for now; ``data`` is all of it."""

    type: Literal["output"] = field(default="output", init=False)
    data: list[Message]


@dataclass(frozen=True, slots=True)
class ExecutorInvokedEvent(WorkflowEvent):
    """An agent has the conversation from here on."""

    type: Literal["executor_invoked"] = field(default="executor_invoked", init=False)
    data: TurnStarted


@dataclass(frozen=True, slots=True)
class ExecutorCompletedEvent(WorkflowEvent):
    """An agent gave the conversation up."""

    type: Literal["executor_completed"] = field(default="executor_completed", init=False)
    data: TurnEnded


@dataclass(frozen=True, slots=True)
class ExecutorFailedEvent(WorkflowEvent):
    """An agent's model, or the termination condition, failed."""

    type: Literal["executor_failed"] = field(default="executor_failed", init=False)
    data: Failed


@dataclass(frozen=True, slots=True)
class AgentRunUpdateEvent(WorkflowEvent):
    """An agent's next words. ``attempt``: from 1; the words of an earlier one count no more, its reply died."""

    type: Literal["message_delta"] = field(default="message_delta", init=False)
    data: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class HandoffSentEvent(WorkflowEvent):
    """The conversation went from one agent to another."""

    type: Literal["handoff_sent"] = field(default="handoff_sent", init=False)
    data: HandoffSent


@dataclass(frozen=True, slots=True)
class RequestInfoEvent(WorkflowEvent):
    """A person is asked."""

    type: Literal["request_info"] = field(default="request_info", init=False)


Classed: TypeAlias = (
    WorkflowStartedEvent
    | WorkflowStatusEvent
    | WorkflowFailedEvent
    | WorkflowOutputEvent
    | ExecutorInvokedEvent
    | ExecutorCompletedEvent
    | ExecutorFailedEvent
    | AgentRunUpdateEvent
    | HandoffSentEvent
    | RequestInfoEvent
)
CLASSES: Mapping[str, type[Classed]] = {each.__dataclass_fields__["type"].default: each for each in get_args(Classed)}
"""The types of events that are classes of their own."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to.

    ``messages``: what was said in this run, tool traffic included. ``conversation``: the whole of it. ``requests``: the
    ``request_info`` events that wait for a person now. ``stopped``: the budget that ran out, if one did; run the
    session again to go on. ``value``: the last reply as a value of its agent's ``output_type``; None if the agent has
    none, or the reply does not fit. ``outputs``: the last words of those nobody went on from: of everybody who spoke at
    once, in declared order, or of whoever spoke last.
    """

    session_id: str
    state: WorkflowRunState
    messages: Sequence[Message]
    conversation: Sequence[Message]
    requests: Sequence[RequestInfoEvent]
    stopped: Stopped | None = None
    value: Any = field(default=None, repr=False)
    outputs: Sequence[Message] = field(default=(), repr=False)

    @property
    def text(self) -> str:
        """What the agents said in this run."""
        return "\n".join(message.text for message in self.messages if message.role == "assistant" and message.text)


Emit: TypeAlias = Callable[[WorkflowEvent], Awaitable[None]]


async def discard(event: WorkflowEvent) -> None:
    """Nobody listens, so that events need not be made."""
    del event


class Narrator:
    """Tells a session's facts, and what goes on around them, as events."""

    def __init__(self, session: Session, emit: Emit) -> None:
        self._session = session
        self._emit = emit
        self._heard = emit is not discard
        self._reader = Reader(session.id, session.state)

    def catch_up(self) -> None:
        """The session has read what others wrote."""
        self._reader = Reader(self._session.id, self._session.state)

    async def tell(self, entries: Sequence[Entry]) -> None:
        """Show what was just appended."""
        for entry in entries if self._heard else ():
            if shown := self._reader.event(entry, self._session.state):
                await self._emit(shown)

    async def signal(self, kind: EventType, data: object = None, agent: str = "") -> None:
        """Show something that is not in the journal."""
        if self._heard:
            await self._emit(_event(kind, self._session.id, data, agent))

    async def delta(self, agent: str, attempt: int, words: str) -> None:
        """Show an agent's next words."""
        await self._emit(AgentRunUpdateEvent(self._session.id, words, agent, attempt=attempt))

    async def progress(self, agent: str, data: JSON) -> None:
        """Show what an agent's tool has to show."""
        await self._emit(WorkflowEvent("progress", self._session.id, data, agent))

    async def remind(self, waiting: Collection[str]) -> None:
        """Show again what was ``waiting`` for a person, by its local id, as far as it still is."""
        still = {request_id(self._session.id, local) for local in waiting}
        for event in pending(self._session.id, self._session.state):
            if event.request_id in still:
                await self._emit(event)


class Reader:
    """Reads a session's facts as events, one after the other from where the session stood in ``state``."""

    def __init__(self, session_id: str, state: State) -> None:
        self._id = session_id
        self._agents: dict[str, str] = {}
        self._know(state, "", "")

    def _know(self, state: State, prefix: str, path: str) -> None:
        for number, turn in state.open.items():
            self._agents[f"{prefix}t{number}"] = path + turn.agent
            if turn.part.inner is not None:
                self._know(turn.part.inner, f"{prefix}t{number}.", f"{path}{turn.agent}/")

    def _rename(self, renamed: Mapping[str, str]) -> None:
        called: dict[str, str] = {}
        for turn, path in self._agents.items():  # a team before what is in it
            outer = turn.rpartition(".")[0]
            name = path[len(self._agents[outer]) + 1 :] if outer else path
            called[turn] = (f"{called[outer]}/" if outer else "") + renamed.get(name, name)
        self._agents = called

    def event(self, entry: Entry, state: State) -> WorkflowEvent | None:
        """The next fact as an event, if it is one. ``state``: after the whole of its batch."""
        fact, within, prefix, path = entry.fact, state, "", ""
        while isinstance(fact, Within):
            turn = within.open.get(fact.turn)
            prefix, path = f"{prefix}t{fact.turn}.", f"{self._agents[f'{prefix}t{fact.turn}']}/"
            fact, within = fact.fact, (turn and turn.part.inner) or State()
        if path and isinstance(fact, SessionStarted | Finished | TeamChanged):
            return None  # told by its turn, and by the change of the outer team
        kind, data, agent, request = self._read(fact, within, prefix, path)
        return _event(kind, self._id, data, agent, request, entry.seq, entry.at)

    def _read(self, fact: Fact, state: State, prefix: str, path: str) -> tuple[EventType, Any, str, str]:
        match fact:
            case UserSpoke(message):
                return "message", message, "", ""
            case Replied(_, message):
                return "message", message, path + message.author_name, ""
            case ToolStarted(turn, call):
                return "tool_call", call, self._agents[f"{prefix}t{turn}"], ""
            case ToolInterrupted(turn):
                return "tool_interrupted", fact, self._agents[f"{prefix}t{turn}"], ""
            case ToolReconciled(turn):
                return "tool_reconciled", fact, self._agents[f"{prefix}t{turn}"], ""
            case ToolReturned(turn, result):
                return "tool_result", result, self._agents[f"{prefix}t{turn}"], ""
            case TurnStarted(turn, agent):
                self._agents[f"{prefix}t{turn}"] = path + agent
                return "executor_invoked", fact, path + agent, ""
            case TurnEnded(turn, agent):
                self._agents.pop(f"{prefix}t{turn}")
                return "executor_completed", fact, path + agent, ""
            case HandoffSent(_, source):
                return "handoff_sent", fact, path + source, ""
            case HandedBack(_, source):
                return "handed_back", fact, path + source, ""
            case Routed():
                return "routed", fact, "", ""
            case Joined():
                return "joined", fact, "", ""
            case Prompted(_, agent):
                return "prompted", fact, path + agent, ""
            case Warned(_, _, agent):
                return "warning", fact, path + agent, ""
            case Asked(request, _, _, agent):
                return "request_info", request_data(fact, state), path + agent, request_id(self._id, prefix + request)
            case Answered(request):
                return "request_answered", fact, "", request_id(self._id, prefix + request)
            case Failed(_, agent):
                return "executor_failed", fact, path + agent, ""
            case Finished():
                return "output", list(state.transcript), "", ""
            case Retried():
                return "retried", fact, "", ""
            case Stopped():
                return "stopped", fact, "", ""
            case Cancelled():
                return "cancelled", fact, "", ""
            case StateChanged():
                return "state_changed", fact, "", ""
            case Summarised(agent):
                return "summarised", fact, path + agent, ""
            case SessionStarted():
                return "session_started", fact, "", ""
            case Forked():
                return "forked", fact, "", ""
            case Compacted():
                return "compacted", fact, "", ""
            case TeamChanged():
                self._rename(fact.renamed)
                return "team_changed", fact, "", ""
            case Within():
                raise AssertionError("it was looked into")
            case _:
                assert_never(fact)


def _event(
    kind: EventType,
    session_id: str,
    data: Any,
    agent: str,
    request: str = "",
    seq: int | None = None,
    at: datetime | None = None,
) -> WorkflowEvent:
    own = CLASSES.get(kind)
    if own is None:
        return WorkflowEvent(kind, session_id, data, agent, request, seq, at)
    return own(session_id, data, agent, request, seq, at)


def pending(session_id: str, state: State) -> list[RequestInfoEvent]:
    """What waits for a person, as events, oldest first."""
    return [
        RequestInfoEvent(
            session_id, request_data(each.asked, each.state), each.path, request_id(session_id, each.request)
        )
        for each in waiting(state)
    ]


def run_state(state: State) -> WorkflowRunState:
    """Where a session stands when nothing of it is in flight."""
    if state.failure:
        return WorkflowRunState.FAILED
    if isinstance(state.rest, Stopped):
        return WorkflowRunState.STOPPED
    if isinstance(state.rest, Cancelled):
        return WorkflowRunState.CANCELLED
    if any(waiting(state)):
        return WorkflowRunState.IDLE_WITH_PENDING_REQUESTS
    return WorkflowRunState.IN_PROGRESS if state.open or state.due else WorkflowRunState.IDLE
