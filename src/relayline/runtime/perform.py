"""From an effect to what came of it: call the model, run the tool, ask the condition."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, assert_never, cast

from relayline.agent import Agent, ChatRequest, Chunk, ReplyInfo, ToolSpec
from relayline.errors import BuildError
from relayline.journal.codec import checked
from relayline.machine.effects import CallModel, Effect, Judge, RunTool
from relayline.machine.inputs import EffectFailed, Input, Judged, ModelReplied, ToolDone
from relayline.messages import JSON, Message, Text, ToolCall, valid
from relayline.runtime.session import Session
from relayline.tools import Tool, ToolContext

Condition: TypeAlias = Callable[[Sequence[Message]], bool | Awaitable[bool]]
"""A termination condition: is this conversation, oldest message first, over?"""


@dataclass(frozen=True, slots=True)
class Context:
    """What an effect may know and reach. ``emit`` streams the next words of an agent; None if nobody listens."""

    session: Session
    emit: Callable[[str, str], Awaitable[None]] | None = None


Perform: TypeAlias = Callable[[Effect, Context], Coroutine[Any, Any, Input]]


@dataclass(frozen=True, slots=True)
class Seat:
    """An agent in a team: itself, its tools by name, and all that its model is offered, ready made.

    ``payloads``: the handoffs that carry something, by name, as tools that only check it.
    """

    agent: Agent
    tools: Mapping[str, Tool]
    specs: tuple[ToolSpec, ...]
    payloads: Mapping[str, Tool] = field(default_factory=dict[str, Tool])

    def request(self, session: Session) -> ChatRequest:
        """What the agent's model is given, as the session stands."""
        return ChatRequest(self.agent, session.view(self.agent.name), self.specs)


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
            return await reply(seat, effect.id, context)
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
            tools = self._seat(effect.agent).tools
            if effect.call.name not in tools:
                raise BuildError(f"{effect.agent!r} has no tool {effect.call.name!r} any more; the team has changed")
            tool = tools[effect.call.name]
            key = f"{session.id}/{effect.id}"
            given = ToolContext(session.id, effect.agent, effect.id, key, session.state.transcript)
            return ToolDone(effect.id, valid(await tool.call(effect.call.arguments, given)))
        except (Exception, asyncio.CancelledError, SystemExit) as error:  # argparse and its kin exit
            _unless_cancelled(error)
            return ToolDone(effect.id, valid(f"{type(error).__name__}: {_told(error)}"), "error")

    async def _judge(self, effect: Judge, context: Context) -> Input:
        if self.condition is None:
            return Judged(effect.id, stop=False)
        try:
            verdict = self.condition(context.session.state.transcript)
            return Judged(effect.id, bool(await verdict if inspect.isawaitable(verdict) else verdict))
        except (Exception, asyncio.CancelledError) as error:
            _unless_cancelled(error)
            return _failed(effect.id, error, "the termination condition failed: ")


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
    metadata: dict[str, JSON] = field(default_factory=dict[str, JSON])

    def call(self, call: ToolCall) -> None:
        self.close()
        _strings(call, call.id, call.name, call.arguments)
        self.parts.append(ToolCall(call.id, valid(call.name), valid(call.arguments)))

    def inform(self, info: ReplyInfo) -> None:
        if not isinstance(info, ReplyInfo):  # pyright: ignore[reportUnnecessaryIsInstance] -- a client is not ours
            raise TypeError(f"a client yields str, ToolCall or ReplyInfo; got {info!r:.80}")
        _strings(info, info.model)
        if not all(type(count) is int and count >= 0 for count in (info.input_tokens, info.output_tokens)):
            raise TypeError(f"tokens are counted in whole numbers; got {info!r:.160}")
        self.model = valid(info.model) or self.model
        self.input_tokens = info.input_tokens or self.input_tokens
        self.output_tokens = info.output_tokens or self.output_tokens
        # Checked here, where it can be said whose fault it is.
        self.metadata.update(checked(info.metadata))

    def close(self) -> None:
        """Text arrives in pieces and is kept as one part per stretch."""
        if self.words:
            self.parts.append(Text(valid("".join(self.words))))
            self.words.clear()


async def reply(seat: Seat, effect: str, context: Context) -> ModelReplied:
    """One reply of the seat's model, its calls checked against the tools."""
    client = seat.agent.client
    assert client is not None, "Workflow.run has made sure"
    name = seat.agent.name
    request = seat.request(context.session)
    whole = _Reply()
    emit = context.emit
    chunks = client.stream(request)
    try:
        async for chunk in chunks:
            if isinstance(chunk, str):
                whole.words.append(chunk)
                if emit is not None and chunk:
                    await emit(name, chunk)
            elif isinstance(chunk, ToolCall):
                whole.call(chunk)
            else:
                whole.inform(chunk)
    finally:
        # Here, where it was run: left to the garbage collector, a generator would end in another task.
        if isinstance(chunks, AsyncGenerator):
            await cast("AsyncGenerator[Chunk]", chunks).aclose()
    whole.close()
    calls = [part for part in whole.parts if isinstance(part, ToolCall)]
    problems = {number: problem for number, call in enumerate(calls) if (problem := _problem(seat, call))}
    return ModelReplied(
        effect, tuple(whole.parts), problems, whole.model, whole.input_tokens, whole.output_tokens, whole.metadata
    )


def _problem(seat: Seat, call: ToolCall) -> str | None:
    """What is wrong with a call, before a person is asked to approve it."""
    tool = seat.tools.get(call.name) or seat.payloads.get(call.name)
    try:
        return None if tool is None else tool.problem(call.arguments)
    except Exception as error:  # a user's own validator
        return valid(f"Not run: its arguments could not be checked: {_told(error)}")
