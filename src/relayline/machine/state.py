"""The state of a conversation: the fold of its facts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, assert_never

from relayline.events import (
    Answered,
    Asked,
    Ending,
    Fact,
    Failed,
    Finished,
    HandoffSent,
    Replied,
    Retried,
    SessionStarted,
    ToolReturned,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    UserSpoke,
)
from relayline.machine.log import Log
from relayline.messages import Message, ToolCall, ToolResult

Spoken: TypeAlias = Message | HandoffSent
"""What a view is made from: the messages, and the handoffs between them."""


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call of the reply that is being worked off.

    ``parked``: a handoff waits for the calls beside it. ``asked``: a person decides. ``started``: it may be running.
    """

    call: ToolCall
    stage: Literal["parked", "asked", "started"] = "parked"
    result: ToolResult | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One agent's hold on the conversation. ``step`` counts its model calls; ``calls`` is empty between them."""

    number: int
    agent: str
    step: int = 0
    calls: tuple[OpenCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """The pattern is to be asked who speaks next: after the user (``turn`` is None) or after a turn."""

    turn: Turn | None = None


@dataclass(frozen=True, slots=True)
class State:
    """All that is known of a session. Every field but the two logs is small and bounded by what is open now.

    ``seq``: how many facts were folded. ``turns``, ``asked``: how many there were. ``speaker``: who had the
    conversation last. ``requests``: unanswered, oldest first. ``failure``, ``finished``: why it rests, if it does.
    """

    seq: int = 0
    fingerprint: str = ""
    spoken: Log[Spoken] = field(default_factory=Log[Spoken])
    transcript: Log[Message] = field(default_factory=Log[Message])
    turns: int = 0
    asked: int = 0
    speaker: str = ""
    open: Mapping[int, Turn] = field(default_factory=dict[int, Turn])
    requests: Mapping[str, Asked] = field(default_factory=dict[str, Asked])
    due: Due | None = None
    failure: Failed | None = None
    finished: Ending | None = None


def fold(facts: Iterable[Fact], state: State | None = None) -> State:
    """The state after ``facts``, from the beginning or from ``state`` on."""
    state = state or State()
    for fact in facts:
        state = evolve(state, fact)
    return state


def evolve(state: State, fact: Fact) -> State:
    """The state after one more fact, at a cost that does not depend on the length of the conversation.

    Total: any fact that `decide` wrote folds without an error, however many releases ago it was written.
    """
    seq = state.seq + 1
    match fact:
        case Replied():
            return _replied(replace(state, seq=seq), fact)
        case ToolStarted():
            return _call(replace(state, seq=seq), fact.turn, OpenCall(fact.call, "started"))
        case ToolReturned():
            return _returned(replace(state, seq=seq), fact)
        case TurnStarted():
            turn = Turn(fact.turn, fact.agent)
            opened = {**state.open, fact.turn: turn}
            return replace(state, seq=seq, turns=fact.turn, speaker=fact.agent, open=opened, due=None)
        case TurnEnded():
            opened = {number: turn for number, turn in state.open.items() if number != fact.turn}
            return replace(state, seq=seq, open=opened, due=Due(state.open[fact.turn]))
        case HandoffSent():
            return replace(state, seq=seq, spoken=state.spoken.append(fact), due=None)
        case UserSpoke():
            return replace(
                state,
                seq=seq,
                spoken=state.spoken.append(fact.message),
                transcript=state.transcript.append(fact.message),
                due=Due(),
                failure=None,
                finished=None,
            )
        case Asked():
            return _asked(replace(state, seq=seq), fact)
        case Answered():
            requests = {key: request for key, request in state.requests.items() if key != fact.request}
            return replace(state, seq=seq, requests=requests)
        case Failed():
            return replace(state, seq=seq, failure=fact)
        case Retried():
            return replace(state, seq=seq, failure=None)
        case Finished():
            return replace(state, seq=seq, finished=fact.reason, due=None)
        case SessionStarted():
            return replace(state, seq=seq, fingerprint=fact.fingerprint)
        case _:
            assert_never(fact)


def _spoke(state: State, message: Message) -> State:
    return replace(state, spoken=state.spoken.append(message), transcript=state.transcript.append(message))


def _replied(state: State, fact: Replied) -> State:
    turn = state.open[fact.turn]
    calls = tuple(OpenCall(call) for call in fact.message.tool_calls)
    return _spoke(_open(state, replace(turn, step=turn.step + 1, calls=calls)), fact.message)


def _open(state: State, turn: Turn) -> State:
    return replace(state, open={**state.open, turn.number: turn})


def _call(state: State, number: int, changed: OpenCall) -> State:
    turn = state.open[number]
    calls = tuple(changed if each.call.id == changed.call.id else each for each in turn.calls)
    return _open(state, replace(turn, calls=calls))


def _returned(state: State, fact: ToolReturned) -> State:
    turn = state.open[fact.turn]
    calls = tuple(
        replace(each, result=fact.result) if each.call.id == fact.result.call_id else each for each in turn.calls
    )
    results = tuple(each.result for each in calls if each.result is not None)
    if len(results) < len(calls):
        return _open(state, replace(turn, calls=calls))
    # The results join the transcript together and in call order, so it does not depend on who was faster, and nothing
    # can ever stand between a call and its result.
    state = _open(state, replace(turn, calls=()))
    return _spoke(state, Message("tool", results, turn.agent))


def _asked(state: State, fact: Asked) -> State:
    state = replace(state, requests={**state.requests, fact.request: fact}, asked=state.asked + 1, due=None)
    return state if fact.call is None else _call(state, fact.turn, OpenCall(fact.call, "asked"))
