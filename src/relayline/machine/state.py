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
    HandedBack,
    HandoffSent,
    Prompted,
    Replied,
    Retried,
    SessionStarted,
    ToolReturned,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    UserSpoke,
    Warned,
)
from relayline.machine.log import Log
from relayline.messages import Message, ToolCall, ToolResult

Spoken: TypeAlias = Message | HandoffSent | HandedBack | Prompted
"""What a view is made from: the messages, and what went on between them."""


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call of the reply that is being worked off.

    ``parked``: a handoff waits for the calls beside it. ``asked``: a person decides whether it runs. ``started``: it
    may be running. ``unclear``: it was cut off, and a person is asked what became of it.
    """

    call: ToolCall
    stage: Literal["parked", "asked", "started", "unclear"] = "parked"
    result: ToolResult | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One agent's hold on the conversation.

    ``step`` counts its model calls; ``calls`` is empty between them. ``misses``: how many replies in a row came to
    nothing but errors.
    """

    number: int
    agent: str
    step: int = 0
    calls: tuple[OpenCall, ...] = ()
    misses: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """Somebody has to speak next: after a turn, or after the user (``turn`` is None), who may have said who
    (``to``).
    """

    turn: Turn | None = None
    to: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """All that is known of a session. Every field but the two logs is small and bounded by what is open now.

    ``seq``: how many facts were folded. ``turns``, ``asked``: how many there were. ``speaker``: who had the
    conversation last. ``requests``: unanswered, oldest first. ``failure``, ``finished``: why it rests, if it does.
    ``hops``: handoffs since the user last spoke. ``walked``: the edges taken since anything new came in, be it words of
    the user or a tool's result. ``alone``: how often the active agent went on by itself since it got the conversation.
    ``callers``: who gets the conversation back when the active agent is done, the last first. ``sticky``: whether the
    active agent takes the user's next message.
    """

    seq: int = 0
    workflow: str = ""
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
    hops: int = 0
    walked: frozenset[tuple[str, str]] = frozenset()
    alone: int = 0
    callers: tuple[str, ...] = ()
    sticky: bool = True


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
            return _replied(state, seq, fact)
        case ToolStarted():
            return replace(state, seq=seq, open=_staged(state, fact.turn, OpenCall(fact.call, "started")))
        case ToolReturned():
            return _returned(state, seq, fact)
        case TurnStarted():
            turn = Turn(fact.turn, fact.agent)
            opened = {**state.open, fact.turn: turn}
            # Whoever the user turned to instead owes nobody an answer.
            turned = state.due is not None and state.due.turn is None and fact.agent != state.speaker
            callers, sticky = ((), True) if turned else (state.callers, state.sticky)
            return replace(
                state,
                seq=seq,
                turns=fact.turn,
                speaker=fact.agent,
                open=opened,
                due=None,
                callers=callers,
                sticky=sticky,
            )
        case TurnEnded():
            opened = {number: turn for number, turn in state.open.items() if number != fact.turn}
            return replace(state, seq=seq, open=opened, due=Due(state.open[fact.turn]))
        case HandoffSent():
            return _handed_over(state, seq, fact)
        case HandedBack():
            spoken, walked = state.spoken.append(fact), frozenset[tuple[str, str]]()
            callers = state.callers[:-1]
            hops = state.hops + 1
            return replace(state, seq=seq, spoken=spoken, due=None, hops=hops, walked=walked, alone=0, callers=callers)
        case Prompted():
            return replace(state, seq=seq, spoken=state.spoken.append(fact), alone=state.alone + 1)
        case Warned():
            return replace(state, seq=seq)
        case UserSpoke():
            return replace(
                state,
                seq=seq,
                spoken=state.spoken.append(fact.message),
                transcript=state.transcript.append(fact.message),
                due=Due(to=fact.to),
                failure=None,
                finished=None,
                hops=0,
                walked=frozenset(),
                alone=0,
            )
        case Asked():
            return _asked(state, seq, fact)
        case Answered():
            return _answered(state, seq, fact)
        case Failed():
            return replace(state, seq=seq, failure=fact)
        case Retried():
            return replace(state, seq=seq, failure=None)
        case Finished():
            return replace(state, seq=seq, finished=fact.reason, due=None)
        case SessionStarted():
            return replace(state, seq=seq, workflow=fact.workflow, fingerprint=fact.fingerprint)
        case _:
            assert_never(fact)


def _replied(state: State, seq: int, fact: Replied) -> State:
    turn = state.open[fact.turn]
    calls = tuple(OpenCall(call) for call in fact.message.tool_calls)
    opened = {**state.open, fact.turn: replace(turn, step=turn.step + 1, calls=calls)}
    return _spoke(state, seq, fact.message, opened)


def _returned(state: State, seq: int, fact: ToolReturned) -> State:
    if fact.result.outcome == "done":
        state = replace(state, walked=frozenset())
    turn = state.open[fact.turn]
    result = fact.result
    calls = tuple(replace(each, result=result) if each.call.id == result.call_id else each for each in turn.calls)
    results = tuple(each.result for each in calls if each.result is not None)
    if len(results) < len(calls):
        return replace(state, seq=seq, open={**state.open, fact.turn: replace(turn, calls=calls)})
    # The results join the transcript together and in call order, so it does not depend on who was faster, and nothing
    # can ever stand between a call and its result.
    missed = all(each.outcome == "error" for each in results)
    opened = {**state.open, fact.turn: replace(turn, calls=(), misses=turn.misses + 1 if missed else 0)}
    return _spoke(state, seq, Message("tool", results, turn.agent), opened)


def _handed_over(state: State, seq: int, fact: HandoffSent) -> State:
    # Whoever hands over for good has nobody waiting for it any more.
    callers = (*state.callers, fact.source) if fact.returns == "caller" else ()
    return replace(
        state,
        seq=seq,
        spoken=state.spoken.append(fact),
        due=None,
        hops=state.hops + 1,
        walked=state.walked | {(fact.source, fact.target)},
        alone=0,
        callers=callers,
        sticky=fact.returns != "start",
    )


def _spoke(state: State, seq: int, message: Message, opened: Mapping[int, Turn]) -> State:
    spoken, transcript = state.spoken.append(message), state.transcript.append(message)
    return replace(state, seq=seq, spoken=spoken, transcript=transcript, open=opened)


def _asked(state: State, seq: int, fact: Asked) -> State:
    stage = "unclear" if fact.ask == "outcome" else "asked"
    opened = state.open if fact.call is None else _staged(state, fact.turn, OpenCall(fact.call, stage))
    requests = {**state.requests, fact.request: fact}
    return replace(state, seq=seq, requests=requests, asked=state.asked + 1, due=None, open=opened)


def _answered(state: State, seq: int, fact: Answered) -> State:
    requests = dict(state.requests)
    asked = requests.pop(fact.request)
    opened = state.open
    if fact.settled == "approved" and asked.call is not None:
        # What is approved is no longer asked; a tool is started by the next fact, a handoff waits to be taken.
        opened = _staged(state, asked.turn, OpenCall(asked.call))
    return replace(state, seq=seq, requests=requests, open=opened)


def _staged(state: State, number: int, changed: OpenCall) -> Mapping[int, Turn]:
    turn = state.open[number]
    calls = tuple(changed if each.call.id == changed.call.id else each for each in turn.calls)
    return {**state.open, number: replace(turn, calls=calls)}
