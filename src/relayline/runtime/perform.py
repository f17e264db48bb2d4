"""From an effect to what came of it: call the model, run the tool, ask the condition."""

import asyncio
import inspect
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, assert_never, cast

from relayline.agent import Agent, ChatClient, ChatRequest, Chunk, ReplyInfo, ToolSpec
from relayline.context import SharedState, ToolContext
from relayline.errors import BuildError, ConditionError, UsageError
from relayline.events import Transfer
from relayline.journal.codec import checked
from relayline.machine.effects import CallModel, Effect, Judge, RunTool
from relayline.machine.inputs import EffectFailed, Input, Judged, ModelReplied, Summary, ToolDone
from relayline.machine.topology import Edge
from relayline.machine.view import TEAM, sound
from relayline.messages import JSON, Message, Text, ToolCall, valid
from relayline.runtime.session import Session
from relayline.tools import Tool
from relayline.views import View, text

SUM_UP = (
    "You sum up conversations for a colleague who takes over. Say what the user wants, what was found out and done, "
    "and what is open. Keep names, numbers and dates exactly. Use a few plain sentences, and no greeting."
)

Condition: TypeAlias = Callable[[Sequence[Message]], bool | Awaitable[bool]]
"""A termination condition: is this conversation, oldest message first, over?"""


Predicate: TypeAlias = Callable[[Sequence[Message], Mapping[str, JSON]], bool | Awaitable[bool]]
"""Whether a handoff is open, given the conversation, oldest message first, and what the team keeps in common."""


@dataclass(frozen=True, slots=True)
class Context:
    """What an effect may know and reach.

    ``emit`` streams the next words of an agent, ``progress`` what its tool has to show; None if nobody listens.
    """

    session: Session
    emit: Callable[[str, str], Awaitable[None]] | None = None
    progress: Callable[[str, JSON], Awaitable[None]] | None = None


Perform: TypeAlias = Callable[[Effect, Context], Coroutine[Any, Any, Input]]


@dataclass(frozen=True, slots=True)
class Way:
    """A way on from an agent. ``payload``: a tool that only checks what it carries. ``when``: while it exists."""

    edge: Edge
    payload: Tool | None = None
    when: Predicate | None = None

    async def open(self, transcript: Sequence[Message], shared: Mapping[str, JSON]) -> bool:
        """Whether it exists now.

        Raises:
            ConditionError: if its predicate cannot say.
        """
        if self.when is None:
            return True
        try:
            # A copy: whoever decides must not change what is decided about.
            verdict = self.when(transcript, dict(shared))
            return bool(await verdict if inspect.isawaitable(verdict) else verdict)
        except Exception as error:
            where = f"from {self.edge.source!r} to {self.edge.target!r}"
            said = f"{type(error).__name__}: {_told(error)}"
            raise ConditionError(f"the predicate of the handoff {where} failed: {said}") from error


@dataclass(frozen=True, slots=True)
class Seat:
    """An agent in a team: itself, its voice, its tools by name, and all that its model is offered, ready made.

    ``ways``: its handoffs by tool name. ``onward``: the ways on that no model chooses. ``view``: how much of the
    conversation it is given, ``views``: by whom it was handed over, where that differs.
    """

    agent: Agent
    client: ChatClient | None
    tools: Mapping[str, Tool]
    specs: tuple[ToolSpec, ...]
    ways: Mapping[str, Way] = field(default_factory=dict[str, Way])
    onward: Sequence[Way] = ()
    view: View = text
    views: Mapping[str, View] = field(default_factory=dict[str, View])

    async def request(self, session: Session) -> ChatRequest:
        """What the agent's model is given, as the session stands.

        Raises:
            ConditionError: if a handoff's predicate cannot say.
        """
        state = session.state
        shut = {
            name
            for name, way in self.ways.items()
            if way.when is not None and not await way.open(state.transcript, state.shared)
        }
        specs = tuple(spec for spec in self.specs if spec.name not in shut) if shut else self.specs
        return ChatRequest(self.agent, tuple(await self._messages(session)), specs)

    async def _messages(self, session: Session) -> Sequence[Message]:
        view, agent = self.viewed(session), self.agent.name
        messages = session.view(agent, view)
        if view.client is not None and (made := session.state.summaries.get(agent)):
            messages.insert(0, Message("user", (Text(f"What was said before, summed up:\n{made.text}"),), TEAM))
        if view.shape is not None:
            shaped = view.shape(messages, agent)
            messages = list(await shaped if inspect.isawaitable(shaped) else shaped)
        return messages if view.first is None and view.shape is None else sound(messages)

    def viewed(self, session: Session) -> View:
        """How much of the conversation the agent is given now."""
        arrival = session.state.floor.arrivals.get(self.agent.name)
        return self.views.get(arrival.handoff.source, self.view) if arrival else self.view

    def way(self, target: str) -> Way | None:
        """The handoff to ``target``, if it is declared."""
        return next((way for way in self.ways.values() if way.edge.target == target), None)

    def check(self, wanted: Transfer) -> None:
        """Refuse a handoff a tool asks for that the agent could not have.

        Raises:
            UsageError: naming what is wrong with it.
        """
        way = self.way(wanted.target)
        where = f"from {self.agent.name!r} to {wanted.target!r}"
        if way is None:
            declared = ", ".join(repr(each.edge.target) for each in self.ways.values()) or "none"
            raise UsageError(f"no handoff {where}; declared: {declared}. Add it with .add_handoff(...)")
        if way.edge.approval:
            raise UsageError(f"a person approves each handoff {where}, so the agent itself has to ask for it")
        if way.payload is None and wanted.payload is not None:
            raise UsageError(f"the handoff {where} carries no payload; declare it with .add_handoff(..., payload=...)")
        if way.payload is not None:
            problem = way.payload.problem(json.dumps({"payload": wanted.payload}))
            if problem:
                raise UsageError(problem)


@dataclass(frozen=True, slots=True)
class Performer:
    """The plain `Perform` of a team."""

    seats: Mapping[str, Seat]
    condition: Condition | None = None

    async def __call__(self, effect: Effect, context: Context) -> Input:
        match effect:
            case CallModel():
                return await self._call_model(effect, context)
            case RunTool():
                return await self._run_tool(effect, context)
            case Judge():
                return await self._judge(effect, context)
            case _:
                assert_never(effect)

    async def _call_model(self, effect: CallModel, context: Context) -> Input:
        try:
            seat = self._seat(effect.agent)
            return await _summary(seat, effect.id, context.session) or await reply(seat, effect.id, context)
        except (Exception, asyncio.CancelledError) as error:
            _unless_cancelled(error)
            return _failed(effect.id, error)

    def _seat(self, agent: str) -> Seat:
        if agent not in self.seats:
            raise BuildError(f"the conversation is with {agent!r}, who is not in this team: {', '.join(self.seats)}")
        return self.seats[agent]

    async def _run_tool(self, effect: RunTool, context: Context) -> Input:
        session = context.session
        try:
            seat = self._seat(effect.agent)
            if effect.call.name not in seat.tools:
                raise BuildError(f"{effect.agent!r} has no tool {effect.call.name!r} any more; the team has changed")
            shared = SharedState(lambda: session.state.shared)
            progress = _Progress(effect.agent, context)
            arrival = session.state.floor.arrivals.get(effect.agent)
            given = ToolContext(
                session.id,
                effect.agent,
                effect.id,
                f"{session.id}/{effect.id}",
                session.state.transcript,
                shared,
                arrival and arrival.handoff.payload,
                [],
                seat.check,
                progress,
            )
            try:
                content = valid(await seat.tools[effect.call.name].call(effect.call.arguments, given))
            finally:
                await progress.shown()
            values, removed = shared.changes()
            for wanted in given.handoffs:
                way = seat.way(wanted.target)
                if way and not await way.open(session.state.transcript, {**session.state.shared, **values}):
                    content = f"{content}\nNot transferred to {wanted.target}: that handoff is not open."
                    given.handoffs.clear()
                    break
            wish = given.handoffs[0] if given.handoffs else None
            return ToolDone(effect.id, content, "done", values, removed, wish)
        except (Exception, asyncio.CancelledError, SystemExit) as error:  # argparse and its kin exit
            _unless_cancelled(error)
            return ToolDone(effect.id, valid(f"{type(error).__name__}: {_told(error)}"), "error")

    async def _judge(self, effect: Judge, context: Context) -> Input:
        state = context.session.state
        try:
            if self.condition is not None:
                verdict = self.condition(state.transcript)
                if await verdict if inspect.isawaitable(verdict) else verdict:
                    return Judged(effect.id, stop=True)
        except (Exception, asyncio.CancelledError) as error:
            _unless_cancelled(error)
            return _failed(effect.id, error, "the termination condition failed: ")
        try:
            ended = state.due and state.due.turn and self.seats.get(state.due.turn.agent)
            for way in ended.onward if ended else ():
                if await way.open(state.transcript, state.shared):
                    return Judged(effect.id, stop=False, ways=frozenset({way.edge.target}))
            return Judged(effect.id, stop=False)
        except (Exception, asyncio.CancelledError) as error:
            _unless_cancelled(error)
            return _failed(effect.id, error)


class _Progress:
    """Shows what a tool emits, from whatever thread it does, before its result is."""

    def __init__(self, agent: str, context: Context) -> None:
        self._agent = agent
        self._show = context.progress
        self._loop = asyncio.get_running_loop()
        self._shown: list[Future[None]] = []

    def __call__(self, data: JSON) -> None:
        kept = checked({"data": data})["data"]
        if self._show is not None:
            self._shown.append(asyncio.run_coroutine_threadsafe(self._tell(self._show, kept), self._loop))

    async def _tell(self, show: Callable[[str, JSON], Awaitable[None]], data: JSON) -> None:
        await show(self._agent, data)

    async def shown(self) -> None:
        for each in self._shown:
            await asyncio.wrap_future(each)


def _unless_cancelled(error: BaseException) -> None:
    """Raise a cancellation that is meant for us; one that comes out of a client or a tool is a failure like any
    other.
    """
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


def _failed(effect: str, error: BaseException, prefix: str = "") -> EffectFailed:
    return EffectFailed(effect, type(error).__name__, valid(prefix + _told(error)), error)


def _told(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(it cannot say what is wrong)"


def _strings(chunk: object, *values: object) -> None:
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"names, ids and arguments (as JSON text) are strings; got {chunk!r:.160}")


@dataclass(slots=True)
class _Reply:
    parts: list[Text | ToolCall] = field(default_factory=list[Text | ToolCall])
    words: list[str] = field(default_factory=list[str])
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    metadata: dict[str, JSON] = field(default_factory=dict[str, JSON])
    native: dict[str, JSON] = field(default_factory=dict[str, JSON])

    def call(self, call: ToolCall) -> None:
        self.close()
        _strings(call, call.id, call.name, call.arguments)
        self.parts.append(ToolCall(call.id, valid(call.name), valid(call.arguments)))

    def inform(self, info: ReplyInfo) -> None:
        if not isinstance(info, ReplyInfo):  # pyright: ignore[reportUnnecessaryIsInstance] -- a client is not ours
            raise TypeError(f"a client yields str, ToolCall or ReplyInfo; got {info!r:.80}")
        _strings(info, info.model)
        counts = (info.input_tokens, info.output_tokens, info.cached_tokens)
        if not all(type(count) is int and count >= 0 for count in counts):
            raise TypeError(f"tokens are counted in whole numbers; got {info!r:.160}")
        self.model = valid(info.model) or self.model
        self.input_tokens = info.input_tokens or self.input_tokens
        self.output_tokens = info.output_tokens or self.output_tokens
        self.cached_tokens = info.cached_tokens or self.cached_tokens
        # Checked here, where it can be said whose fault it is.
        self.metadata.update(checked(info.metadata))
        self.native.update(checked(info.native))

    def close(self) -> None:
        """Text arrives in pieces and is kept as one part per stretch."""
        if self.words:
            self.parts.append(Text(valid("".join(self.words))))
            self.words.clear()


async def reply(seat: Seat, effect: str, context: Context) -> ModelReplied:
    """One reply of the seat's model, its calls checked against the tools."""
    client = seat.client
    if client is None:
        raise BuildError(f"{seat.agent.name!r} is a person in this team, and had a model when this turn began")
    name = seat.agent.name
    request = await seat.request(context.session)
    emit = context.emit
    whole = await _collect(client, request, None if emit is None else partial(emit, name))
    calls = [part for part in whole.parts if isinstance(part, ToolCall)]
    offered = {spec.name for spec in request.tools}
    problems = {number: problem for number, call in enumerate(calls) if (problem := _problem(seat, call, offered))}
    return ModelReplied(
        effect,
        tuple(whole.parts),
        problems,
        whole.model,
        whole.input_tokens,
        whole.output_tokens,
        whole.metadata,
        whole.native,
        whole.cached_tokens,
    )


async def _collect(client: ChatClient, request: ChatRequest, emit: Callable[[str], Awaitable[None]] | None) -> _Reply:
    whole = _Reply()
    chunks = client.stream(request)
    try:
        async for chunk in chunks:
            if isinstance(chunk, str):
                whole.words.append(chunk)
                if emit is not None and chunk:
                    await emit(chunk)
            elif isinstance(chunk, ToolCall):
                whole.call(chunk)
            else:
                whole.inform(chunk)
    finally:
        # Here, where it was run: left to the garbage collector, a generator would end in another task.
        if isinstance(chunks, AsyncGenerator):
            await cast("AsyncGenerator[Chunk]", chunks).aclose()
    whole.close()
    return whole


async def _summary(seat: Seat, effect: str, session: Session) -> Summary | None:
    """What went on before the agent got the conversation, if its view wants that summed up and it is not yet."""
    view, agent = seat.viewed(session), seat.agent.name
    arrival, made = session.state.floor.arrivals.get(agent), session.state.summaries.get(agent)
    if view.client is None or arrival is None or arrival.at <= (made.upto if made else 0):
        return None
    before = [message for item in session.state.spoken.since(0)[: arrival.at] if (message := view.show(item, agent))]
    ask = Message("user", (Text(f"Sum up the conversation above for {agent}, who takes over now."),), TEAM)
    sums_up = Agent("summary", SUM_UP)
    whole = await _collect(view.client, ChatRequest(sums_up, (*sound([*before, ask]),)), None)
    words = "".join(part.text for part in whole.parts if isinstance(part, Text)).strip()
    return Summary(effect, agent, arrival.at, words, whole.model, whole.input_tokens, whole.output_tokens)


def _problem(seat: Seat, call: ToolCall, offered: Collection[str]) -> str | None:
    """What is wrong with a call, before a person is asked to approve it."""
    way = seat.ways.get(call.name)
    if way and call.name not in offered:
        return f"Not taken: the handoff to {way.edge.target!r} is not open now."
    tool = seat.tools.get(call.name) or (way and way.payload)
    try:
        return None if tool is None else tool.problem(call.arguments)
    except Exception as error:  # a user's own validator
        return valid(f"Not run: its arguments could not be checked: {_told(error)}")
