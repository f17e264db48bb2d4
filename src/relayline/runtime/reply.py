"""One reply of a model, from its first word to what is wrong with its calls."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from relayline.agent import Agent, ChatClient, ChatRequest, Chunk, ReplyInfo
from relayline.journal.codec import checked
from relayline.machine.effects import CallModel
from relayline.machine.inputs import ModelReplied, Summary
from relayline.machine.state import State
from relayline.machine.view import TEAM, sound
from relayline.messages import JSON, Message, Text, ToolCall, valid
from relayline.runtime.seat import Seat, summed_up, told
from relayline.runtime.session import Session
from relayline.views import View

SUM_UP = (
    "You sum up conversations for a colleague who takes over. Say what the user wants, what was found out and done, "
    "and what is open. Keep names, numbers and dates exactly. Use a few plain sentences, and no greeting."
)


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


async def reply(
    seat: Seat,
    client: ChatClient,
    wanted: CallModel,
    session: Session,
    settings: Mapping[str, Any],
    emit: Callable[[str], Awaitable[None]] | None,
) -> ModelReplied:
    """One reply of the seat's model, its calls checked against the tools. ``emit`` is given its words as they come."""
    request = await seat.request(session, settings, wanted.turn)
    whole = await _collect(client, request, emit)
    calls = [part for part in whole.parts if isinstance(part, ToolCall)]
    offered = {spec.name for spec in request.own_tools}
    problems = {number: problem for number, call in enumerate(calls) if (problem := _problem(seat, call, offered))}
    return ModelReplied(
        wanted.id,
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


async def summarise(seat: Seat, effect: str, session: Session) -> Summary | None:
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
    begin = max(made.upto if made else 0, state.forgotten) - state.forgotten
    items = state.spoken.since(begin)[: upto - state.forgotten - begin]
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
        return valid(f"Not run: its arguments could not be checked: {told(error)}")
