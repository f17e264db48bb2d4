"""From an effect to what came of it: call the model, run the tool, ask the condition."""

import asyncio
import copy
import inspect
import json
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias, assert_never, cast, get_args

from relayline.agent import Agent, ChatClient, ChatRequest, Chunk, ReplyInfo, ToolSpec
from relayline.context import Host, SharedState, ToolContext
from relayline.errors import BuildError, ConditionError, UsageError
from relayline.events import Summarised, Transfer
from relayline.journal.codec import checked
from relayline.machine.effects import CallModel, Effect, Judge, RunTool
from relayline.machine.inputs import EffectFailed, Input, Judged, ModelReplied, Summary, ToolDone
from relayline.machine.state import State
from relayline.machine.topology import Edge
from relayline.machine.view import TEAM, begun, sound
from relayline.messages import JSON, Message, Role, Text, ToolCall, valid
from relayline.output import Output
from relayline.runtime.session import Session
from relayline.runtime.shared import Shared
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

    ``progress`` shows what an agent's tool has to show. ``emit`` streams an agent's next words, with the number of the
    attempt they belong to; None if nobody listens. ``attempts``: how often each reply was begun in this run.
    ``settings``: the run's own, for the models of its agents.
    """

    session: Session
    progress: Callable[[str, JSON], Awaitable[None]]
    emit: Callable[[str, str, int], Awaitable[None]] | None = None
    attempts: dict[str, int] = field(default_factory=dict[str, int])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


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
            # A copy, lists and all: whoever decides must not change what is decided about.
            verdict = self.when(transcript, copy.deepcopy(dict(shared)))
            return bool(await verdict if inspect.isawaitable(verdict) else verdict)
        except Exception as error:
            where = f"from {self.edge.source!r} to {self.edge.target!r}"
            said = f"{type(error).__name__}: {_told(error)}"
            raise ConditionError(f"the predicate of the handoff {where} failed: {said}") from error


@dataclass(frozen=True, slots=True)
class Seat:
    """An agent in a team: itself, its voice, its tools by name, and all that its model is offered, ready made.

    ``voices``: its client first, then those that are asked where the one before failed. ``ways``: its handoffs by tool
    name. ``onward``: the ways on that no model chooses. ``view``: how much of the conversation it is given, ``views``:
    by whom it was handed over, where that differs. ``shared``: how the requests of the whole team are laid out, if they
    are laid out alike. ``output``: what its last word has to be.
    """

    agent: Agent
    voices: Sequence[ChatClient]
    tools: Mapping[str, Tool]
    specs: tuple[ToolSpec, ...]
    ways: Mapping[str, Way] = field(default_factory=dict[str, Way])
    onward: Sequence[Way] = ()
    view: View = text
    views: Mapping[str, View] = field(default_factory=dict[str, View])
    shared: Shared | None = None
    output: Output | None = None

    @property
    def client(self) -> ChatClient | None:
        """The model that is asked first."""
        return self.voices[0] if self.voices else None

    async def request(self, session: Session, settings: Mapping[str, Any] | None = None) -> ChatRequest:
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
        request = ChatRequest(
            self.agent,
            (),
            specs,
            session.id,
            output=self.output.schema if self.output else None,
            overrides=settings or {},
        )
        if self.shared is None or not getattr(self.client, "shares_prefix", True):
            return replace(request, messages=tuple(await self._messages(session)))
        return replace(
            request,
            messages=tuple(self.shared.lay(session.view("", View(self.shared.show)), self.agent.name)),
            tools=self.shared.tools,
            common=self.shared.system,
            allowed=tuple(spec.name for spec in specs),
        )

    async def _messages(self, session: Session) -> Sequence[Message]:
        view, agent = self.viewed(session), self.agent.name
        messages = session.view(agent, view)
        if view.client is not None and (made := session.state.summaries.get(agent)):
            messages.insert(0, summed_up(made))
        if view.shape is not None:
            shaped = view.shape(messages, agent)
            return sound(_messages(await shaped if inspect.isawaitable(shaped) else shaped, agent))
        return messages if view.first is None else begun(messages)

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


def _messages(given: object, agent: str) -> Sequence[Message]:
    whole = list(cast("Sequence[object]", given)) if isinstance(given, list | tuple) else None
    if whole is None or not all(isinstance(each, Message) and each.role in get_args(Role) for each in whole):
        raise TypeError(f"the view of {agent!r} has to give a list of messages; got {given!r:.80}")
    return cast("list[Message]", whole)


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
            if made := await _summary(seat, effect.id, context.session):
                return made
        except (Exception, asyncio.CancelledError) as error:
            _unless_cancelled(error)
            return _failed(effect.id, error)
        failure: BaseException | None = None
        for client in seat.voices:
            try:
                return await reply(seat, client, effect.id, context)
            except (Exception, asyncio.CancelledError) as error:
                _unless_cancelled(error)
                failure = error
                if isinstance(error, UsageError):
                    break  # a setting that does not exist is nobody's failure but the program's
        if failure is None:
            failure = BuildError(f"{seat.agent.name!r} is a person in this team, and had a model when this turn began")
        return _failed(effect.id, failure)

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
                copy.deepcopy(arrival.handoff.payload) if arrival else None,
                [],
                partial(_check, seat, progress),
                progress,
                Host(seat.client, session.store),
            )
            async with progress:
                content = valid(await seat.tools[effect.call.name].call(effect.call.arguments, given))
            # The tool has run. From here on its result is what it said, whatever becomes of the rest.
            values: Mapping[str, JSON] = {}
            removed: tuple[str, ...] = ()
            shared.close()
            try:
                values, removed = shared.changes()
            except TypeError as error:
                content = valid(f"{content}\nIts changes were not kept: {error}.")
            wish = given.handoffs[-1] if given.handoffs else None
            way = wish and seat.way(wish.target)
            if wish and way:
                left = {key: value for key, value in session.state.shared.items() if key not in removed}
                if why := await _shut(way, session.state.transcript, {**left, **values}):
                    content, wish = f"{content}\nNot transferred to {wish.target}: {why}.", None
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


def _check(seat: Seat, progress: "_Progress", wanted: Transfer) -> None:
    if progress.over:
        raise UsageError(f"the tool has returned, so it cannot hand over to {wanted.target!r} any more")
    seat.check(wanted)


async def _shut(way: Way, transcript: Sequence[Message], shared: Mapping[str, JSON]) -> str:
    """Why a handoff that a tool wants does not exist now; empty: it does."""
    try:
        return "" if await way.open(transcript, shared) else "that handoff is not open"
    except ConditionError as error:
        # The tool has run. What it did is kept, whatever becomes of its wish.
        return valid(str(error))


class _Progress:
    """Shows what a tool emits, from whatever thread it does, in its order and before its result is."""

    def __init__(self, agent: str, context: Context) -> None:
        self._agent = agent
        self._show = context.progress
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[JSON] = deque()
        self._pump: asyncio.Task[None] | None = None
        self.over = False

    def __call__(self, data: JSON) -> None:
        if not self.over:
            self._waiting.append(data)
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._waiting and (self._pump is None or self._pump.done()):
            self._pump = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while self._waiting:
            await self._show(self._agent, self._waiting.popleft())

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: object, error: BaseException | None, where: object) -> None:
        self.over = True
        try:
            if error is not None:
                _unless_cancelled(error)
            while self._waiting or (self._pump and not self._pump.done()):
                self._wake()
                if self._pump:
                    await self._pump
        except asyncio.CancelledError:
            # Nobody waits for the tool any more, and maybe nobody reads.
            self._waiting.clear()
            if self._pump:
                self._pump.cancel()
            raise


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


async def reply(seat: Seat, client: ChatClient, effect: str, context: Context) -> ModelReplied:
    """One reply of the seat's model, its calls checked against the tools."""
    name = seat.agent.name
    request = await seat.request(context.session, context.settings)
    attempt = context.attempts[effect] = context.attempts.get(effect, 0) + 1
    show = context.emit

    async def emit(words: str) -> None:
        if show is not None:
            await show(name, words, attempt)

    whole = await _collect(client, request, emit if show else None)
    calls = [part for part in whole.parts if isinstance(part, ToolCall)]
    offered = {spec.name for spec in request.own_tools}
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
        frozenset(seat.ways.keys() - offered),
        _unfit(seat, whole.parts),
    )


def _unfit(seat: Seat, parts: Sequence[Text | ToolCall]) -> str:
    """Why a reply is not the output it has to be; only one without calls is."""
    words = [part.text for part in parts if isinstance(part, Text)]
    if seat.output is None or len(words) < len(parts):
        return ""
    return valid(seat.output.read("".join(words))[1])


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


def summed_up(made: Summarised) -> Message:
    """A summary as a model is shown it."""
    return Message("user", (Text(f"What was said before, summed up:\n{made.text}"),), TEAM)


async def _summary(seat: Seat, effect: str, session: Session) -> Summary | None:
    """What went on before the agent got the conversation, if its view wants that summed up and it is not yet."""
    view, agent = seat.viewed(session), seat.agent.name
    arrival, made = session.state.floor.arrivals.get(agent), session.state.summaries.get(agent)
    if view.client is None or arrival is None or arrival.at <= (made.upto if made else 0):
        return None
    whole = await _collect(view.client, summary_request(view, agent, session.state, arrival.at), None)
    words = "".join(part.text for part in whole.parts if isinstance(part, Text)).strip()
    if not words:
        raise ValueError(f"the model that sums up for {agent!r} said nothing")
    return Summary(effect, agent, arrival.at, words, whole.model, whole.input_tokens, whole.output_tokens)


def summary_request(view: View, agent: str, state: State, upto: int) -> ChatRequest:
    """What whoever sums up the first ``upto`` items of the conversation for ``agent`` is given."""
    made = state.summaries.get(agent)
    old = [summed_up(made)] if made else []
    items = state.spoken.since(made.upto if made else 0)[: upto - (made.upto if made else 0)]
    # As nobody in particular sees it, so that it is all words: no provider takes calls of tools it is not given.
    before = [*old, *(message for item in items if (message := view.show(item, "")))]
    ask = Message("user", (Text(f"Sum up the conversation above for {agent}, who takes over now."),), TEAM)
    return ChatRequest(Agent("summary", SUM_UP), tuple(sound([*before, ask])))


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
