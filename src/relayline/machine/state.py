"""The state of a conversation: the fold of its facts.

Its parts are named tuples, not dataclasses: every fact makes a changed copy, and copying these costs a third.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, assert_never

from relayline.events import (
    Answered,
    Asked,
    Compacted,
    Fact,
    Failed,
    Finished,
    Forked,
    HandedBack,
    HandoffSent,
    Prompted,
    Replied,
    Retried,
    SessionStarted,
    StateChanged,
    Stopped,
    Summarised,
    TeamChanged,
    ToolInterrupted,
    ToolReconciled,
    ToolReturned,
    ToolStarted,
    Transfer,
    TurnEnded,
    TurnStarted,
    UserSpoke,
    Warned,
)
from relayline.machine.log import Log
from relayline.machine.renaming import Names, Spoken
from relayline.messages import JSON, Message, ToolCall, ToolResult


class OpenCall(NamedTuple):
    """A call of the reply that is being worked off.

    ``parked``: a handoff waits for the calls beside it. ``asked``: a person decides whether it runs. ``started``: it
    may be running. ``interrupted``, ``unclear``: it was cut off, and its tool or a person is asked what became of it.
    """

    call: ToolCall
    stage: Literal["parked", "asked", "started", "interrupted", "unclear"] = "parked"
    result: ToolResult | None = None


class Turn(NamedTuple):
    """One agent's hold on the conversation.

    ``step`` counts its model calls; ``calls`` is empty between them. ``misses``: how many replies in a row came to
    nothing but errors. ``wishes``: the handoffs tools asked for, each with the place of its call in the reply.
    ``nudged``: whether the team told the agent something while it had the turn, but for what its output has to be.
    """

    number: int
    agent: str
    step: int = 0
    calls: tuple[OpenCall, ...] = ()
    misses: int = 0
    wishes: tuple[tuple[int, Transfer], ...] = ()
    nudged: bool = False


@dataclass(frozen=True, slots=True)
class Due:
    """Somebody has to speak next: after a turn, or after the user (``turn`` is None), who may have said who
    (``to``).
    """

    turn: Turn | None = None
    to: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How an agent last got the conversation. ``at``: how many items of the conversation there were before; 0, if that
    was forgotten.
    """

    handoff: HandoffSent
    at: int


class Floor(NamedTuple):
    """Whose the conversation is. ``speaker``: who had it last.

    ``callers``: who gets it back when the speaker is done, the last first. ``sticky``: whether the speaker takes the
    user's next message. ``arrivals``: how each agent got it the last time somebody handed over to it.
    """

    speaker: str = ""
    callers: tuple[str, ...] = ()
    sticky: bool = True
    arrivals: Mapping[str, Arrival] = {}


class Since(NamedTuple):
    """What went on since the user last spoke: ``turns``, ``tokens`` (of models, in and out) and ``hops`` (handoffs).

    Turns and tokens count from when a budget last ran out, if that was later. ``taken``: the tokens of each model since
    then: in, those of them from a cache, and out. ``walked``: the edges taken since
    anything new came in, be it words of the user, a tool's result or the turn of a person in the team. ``alone``: how
    often the active agent went on by itself since it got the conversation.
    """

    turns: int = 0
    tokens: int = 0
    hops: int = 0
    walked: frozenset[tuple[str, str]] = frozenset()
    alone: int = 0
    taken: Mapping[str, tuple[int, int, int]] = {}


class State(NamedTuple):
    """All that is known of a session. Every field but the two logs is small: bounded by what is open now, by the number
    of agents, or by what the team keeps in common.

    ``seq``: how many facts were folded. ``turns``, ``asked``: how many there were. ``requests``: unanswered, oldest
    first. ``rest``: why nothing goes on, if nothing does. ``shared``: what the team keeps in common. ``summaries``: the
    last one made for each agent that is given one. ``forgotten``: how many items of the conversation there were before
    the first of ``spoken``.
    """

    seq: int = 0
    started: SessionStarted | None = None
    spoken: Log[Spoken] = Log()
    transcript: Log[Message] = Log()
    turns: int = 0
    asked: int = 0
    open: Mapping[int, Turn] = {}
    requests: Mapping[str, Asked] = {}
    due: Due | None = None
    rest: Failed | Stopped | Finished | None = None
    floor: Floor = Floor()
    since: Since = Since()
    shared: Mapping[str, JSON] = {}
    summaries: Mapping[str, Summarised] = {}
    forgotten: int = 0

    @property
    def items(self) -> int:
        """How many items the conversation has, with what was forgotten."""
        return self.forgotten + len(self.spoken)

    @property
    def workflow(self) -> str:
        """The name of the team, empty before the first fact."""
        return self.started.workflow if self.started else ""

    @property
    def failure(self) -> Failed | None:
        """What the session rests because of, if it is a failure."""
        return self.rest if isinstance(self.rest, Failed) else None


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
            return state._replace(seq=seq, open=_staged(state, fact.turn, OpenCall(fact.call, "started")))
        case ToolInterrupted():
            return _interrupted(state, seq, fact)
        case ToolReturned():
            return _returned(state, seq, fact)
        case TurnStarted():
            return _turn_started(state, seq, fact)
        case TurnEnded():
            open_still = [asked for asked in state.requests.values() if asked.turn == fact.turn and asked.call]
            assert not open_still, "nobody is asked about a turn that is over"
            opened = {number: turn for number, turn in state.open.items() if number != fact.turn}
            return state._replace(seq=seq, open=opened, due=Due(state.open[fact.turn]))
        case HandoffSent():
            return _handed_over(state, seq, fact)
        case HandedBack():
            since = state.since._replace(hops=state.since.hops + 1, walked=frozenset[tuple[str, str]](), alone=0)
            floor = state.floor._replace(callers=state.floor.callers[:-1])
            return state._replace(seq=seq, spoken=state.spoken.append(fact), due=None, since=since, floor=floor)
        case Prompted():
            return _prompted(state, seq, fact)
        case Warned() | Forked() | ToolReconciled():
            return state._replace(seq=seq)
        case Summarised():
            spent = _took(state.since, fact.model, fact.input_tokens, 0, fact.output_tokens)
            return state._replace(seq=seq, since=spent, summaries={**state.summaries, fact.agent: fact})
        case StateChanged():
            kept = {key: value for key, value in state.shared.items() if key not in fact.removed}
            return state._replace(seq=seq, shared={**kept, **fact.values})
        case UserSpoke():
            return state._replace(
                seq=seq,
                spoken=state.spoken.append(fact.message),
                transcript=state.transcript.append(fact.message),
                due=Due(to=fact.to),
                rest=None,
                since=Since(),
            )
        case Asked():
            return _asked(state, seq, fact)
        case Answered():
            return _answered(state, seq, fact)
        case Failed() | Stopped():
            return state._replace(seq=seq, rest=fact)
        case Retried():
            ran_out = isinstance(state.rest, Stopped)
            since = state.since._replace(turns=len(state.open), tokens=0, taken={}) if ran_out else state.since
            return state._replace(seq=seq, rest=None, since=since)
        case Finished():
            return state._replace(seq=seq, rest=fact, due=None)
        case SessionStarted():
            return state._replace(seq=seq, started=fact)
        case Compacted():
            return _compacted(fact)
        case TeamChanged():
            return _team_changed(state, seq, fact)
        case _:
            assert_never(fact)


def _compacted(fact: Compacted) -> State:
    arrivals = {handoff.target: Arrival(handoff, 0) for handoff in fact.arrivals}
    return State(
        seq=fact.upto,
        started=SessionStarted(fact.workflow, fact.fingerprint, fact.roster),
        turns=fact.turns,
        asked=fact.asked,
        floor=Floor(fact.speaker, fact.callers, fact.sticky, arrivals),
        shared=fact.shared,
        summaries={made.agent: made for made in fact.summaries},
        forgotten=fact.items,
    )


def _team_changed(state: State, seq: int, fact: TeamChanged) -> State:
    if fact.renamed or fact.renamed_tools:
        state = _renamed(state, Names.of(fact))
    floor = state.floor
    if fact.roster is not None:
        # Nobody gives back to who is not there.
        floor = floor._replace(callers=tuple(each for each in floor.callers if each in fact.roster.agents))
    started = SessionStarted(state.workflow, fact.fingerprint, fact.roster)
    return state._replace(seq=seq, started=started, floor=floor)


def _renamed(state: State, names: Names) -> State:
    """The same conversation under other names. Two agents that become one are one from the beginning."""
    floor, due, rest = state.floor, state.due, state.rest
    speaker = names.agent(floor.speaker)
    callers: list[str] = []
    for each in map(names.agent, floor.callers):
        if each not in (speaker, *callers[-1:]):  # nobody waits for themselves
            callers.append(each)
    arrivals: dict[str, Arrival] = {}
    for each in sorted(floor.arrivals.values(), key=lambda each: each.at):
        handoff = names.handoff(each.handoff)
        arrivals[handoff.target] = Arrival(handoff, each.at)
    walked = {(names.agent(source), names.agent(target)) for source, target in state.since.walked}
    made = sorted(state.summaries.values(), key=lambda each: each.upto)
    return state._replace(
        spoken=Log([names.spoken(each) for each in state.spoken]),
        transcript=Log([names.message(each) for each in state.transcript]),
        open={number: _turn_renamed(turn, names) for number, turn in state.open.items()},
        requests={key: names.asked(each) for key, each in state.requests.items()},
        due=due and Due(due.turn and _turn_renamed(due.turn, names), names.agent(due.to)),
        rest=replace(rest, agent=names.agent(rest.agent)) if isinstance(rest, Failed) else rest,
        floor=Floor(speaker, tuple(callers), floor.sticky, arrivals),
        since=state.since._replace(walked=frozenset(walked)),
        summaries={names.agent(each.agent): replace(each, agent=names.agent(each.agent)) for each in made},
    )


def _turn_renamed(turn: Turn, names: Names) -> Turn:
    calls = [each._replace(call=names.call(each.call), result=each.result and names.result(each.result))
             for each in turn.calls]  # fmt: skip
    wishes = tuple((place, names.transfer(wish)) for place, wish in turn.wishes)
    return turn._replace(agent=names.agent(turn.agent), calls=tuple(calls), wishes=wishes)


def _turn_started(state: State, seq: int, fact: TurnStarted) -> State:
    floor = state.floor
    if state.due is not None and state.due.turn is None and fact.agent != floor.speaker:
        # Whoever the user turned to instead owes nobody an answer, and was handed nothing.
        floor = Floor(fact.agent, arrivals={key: each for key, each in floor.arrivals.items() if key != fact.agent})
    elif fact.agent != floor.speaker:
        floor = floor._replace(speaker=fact.agent)
    opened = {**state.open, fact.turn: Turn(fact.turn, fact.agent)}
    since = state.since._replace(turns=state.since.turns + 1)
    return state._replace(seq=seq, turns=fact.turn, open=opened, due=None, floor=floor, since=since)


def _replied(state: State, seq: int, fact: Replied) -> State:
    turn = state.open[fact.turn]
    calls = tuple(OpenCall(call) for call in fact.message.tool_calls)
    opened = {**state.open, fact.turn: turn._replace(step=turn.step + 1, calls=calls, wishes=())}
    if fact.input_tokens or fact.output_tokens:
        since = _took(state.since, fact.model, fact.input_tokens, fact.cached_tokens, fact.output_tokens)
        state = state._replace(since=since)
    return _spoke(state, seq, fact.message, opened)


def _took(since: Since, model: str, given: int, cached: int, taken: int) -> Since:
    before = since.taken.get(model, (0, 0, 0))
    sums = {**since.taken, model: (before[0] + given, before[1] + cached, before[2] + taken)}
    return since._replace(tokens=since.tokens + given + taken, taken=sums)


def _returned(state: State, seq: int, fact: ToolReturned) -> State:
    if fact.result.outcome == "done" and state.since.walked:
        state = state._replace(since=state.since._replace(walked=frozenset[tuple[str, str]]()))
    turn = state.open[fact.turn]
    result = fact.result
    calls = tuple(each._replace(result=result) if each.call.id == result.call_id else each for each in turn.calls)
    if fact.transfer:
        place = next((number for number, each in enumerate(calls) if each.call.id == result.call_id), 0)
        turn = turn._replace(wishes=(*turn.wishes, (place, fact.transfer)))
    results = tuple(each.result for each in calls if each.result is not None)
    if len(results) < len(calls):
        return state._replace(seq=seq, open={**state.open, fact.turn: turn._replace(calls=calls)})
    # The results join the transcript together and in call order, so it does not depend on who was faster, and nothing
    # can ever stand between a call and its result.
    missed = all(each.outcome == "error" for each in results)
    opened = {**state.open, fact.turn: turn._replace(calls=(), misses=turn.misses + 1 if missed else 0)}
    return _spoke(state, seq, Message("tool", results, turn.agent), opened)


def _handed_over(state: State, seq: int, fact: HandoffSent) -> State:
    # Whoever hands over for good has nobody waiting for it any more.
    callers = (*state.floor.callers, fact.source) if fact.returns == "caller" else ()
    arrivals = {**state.floor.arrivals, fact.target: Arrival(fact, state.items)}
    since = state.since
    return state._replace(
        seq=seq,
        spoken=state.spoken.append(fact),
        due=None,
        floor=Floor(state.floor.speaker, callers, fact.returns != "start", arrivals),
        since=since._replace(hops=since.hops + 1, walked=since.walked | {(fact.source, fact.target)}, alone=0),
    )


def _prompted(state: State, seq: int, fact: Prompted) -> State:
    turn = state.open[fact.turn]
    spoken = state.spoken.append(fact)
    if turn.step:
        told = turn._replace(nudged=turn.nudged or not fact.code, misses=turn.misses + bool(fact.code), wishes=())
        return state._replace(seq=seq, spoken=spoken, open={**state.open, fact.turn: told})
    return state._replace(seq=seq, spoken=spoken, since=state.since._replace(alone=state.since.alone + 1))


def _spoke(state: State, seq: int, message: Message, opened: Mapping[int, Turn]) -> State:
    spoken, transcript = state.spoken.append(message), state.transcript.append(message)
    return state._replace(seq=seq, spoken=spoken, transcript=transcript, open=opened)


def _asked(state: State, seq: int, fact: Asked) -> State:
    stage = "unclear" if fact.ask == "outcome" else "asked"
    opened = state.open if fact.call is None else _staged(state, fact.turn, OpenCall(fact.call, stage))
    assert fact.call is not None or fact.ask in ("user_input", "reply"), "nobody is asked about no call"
    assert fact.ask != "reply" or fact.turn in opened, "nobody replies in a turn that is not open"
    requests = {**state.requests, fact.request: fact}
    return state._replace(seq=seq, requests=requests, asked=state.asked + 1, due=None, open=opened)


def _answered(state: State, seq: int, fact: Answered) -> State:
    requests = dict(state.requests)
    asked = requests.pop(fact.request)
    opened = state.open
    if asked.ask == "reply" and fact.settled == "replied" and state.since.walked:
        # What a colleague who is a person did is something new, as the user's words are.
        state = state._replace(since=state.since._replace(walked=frozenset[tuple[str, str]]()))
    if fact.settled == "approved" and asked.call is not None:
        # What is approved is no longer asked; a tool is started by the next fact, a handoff waits to be taken.
        opened = _staged(state, asked.turn, OpenCall(asked.call))
    return state._replace(seq=seq, requests=requests, open=opened)


def _interrupted(state: State, seq: int, fact: ToolInterrupted) -> State:
    (call,) = (each.call for each in state.open[fact.turn].calls if each.call.id == fact.call_id)
    return state._replace(seq=seq, open=_staged(state, fact.turn, OpenCall(call, "interrupted")))


def _staged(state: State, number: int, changed: OpenCall) -> Mapping[int, Turn]:
    turn = state.open[number]
    calls = tuple(changed if each.call.id == changed.call.id else each for each in turn.calls)
    return {**state.open, number: turn._replace(calls=calls)}
