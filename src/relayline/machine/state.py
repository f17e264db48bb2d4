"""The state of a conversation: the fold of its facts.

Its parts are named tuples, not dataclasses: every fact makes a changed copy, and copying these costs a third.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, assert_never

from relayline.events import (
    Answered,
    Asked,
    Cancelled,
    Compacted,
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
    Transfer,
    TurnEnded,
    TurnStarted,
    UserSpoke,
    Warned,
    Within,
    innermost,
)
from relayline.machine.log import Log
from relayline.machine.renaming import Names, Spoken, runs_function
from relayline.messages import JSON, Message, Text, ToolCall, ToolResult


class OpenCall(NamedTuple):
    """A call of the reply that is being worked off.

    ``parked``: a handoff waits for the calls beside it. ``asked``: a person decides whether it runs. ``started``: it
    may be running. ``interrupted``, ``unclear``: it was cut off, and its tool or a person is asked what became of it.
    """

    call: ToolCall
    stage: Literal["parked", "asked", "started", "interrupted", "unclear"] = "parked"
    result: ToolResult | None = None


class Lane(NamedTuple):
    """Where the words of a turn stand while others have theirs beside it.

    ``key``: what the ids of the turn begin with; it does not depend on who was faster. ``level``: how many turns in a
    row led here since the ways parted. ``said``: what was said in it.
    """

    key: str
    level: int = 1
    said: tuple[Spoken, ...] = ()


class Part(NamedTuple):
    """What a turn has to do with others, and with the function that has it.

    ``after``: the turns it goes on from, ``given``: the last words of each. ``answers``: what the function was told so
    far. ``lane``: where the words of the turn stand; None: in the conversation. ``inner``: the session of the team that
    has the turn.
    """

    after: tuple[int, ...] = ()
    given: tuple[Message, ...] = ()
    answers: tuple[JSON, ...] = ()
    lane: Lane | None = None
    inner: "State | None" = None


ALONE = Part()


class Turn(NamedTuple):
    """One agent's hold on the conversation.

    ``step`` counts its model calls; ``calls`` is empty between them. ``misses``: how many replies in a row came to
    nothing but errors. ``wishes``: the handoffs tools asked for, each with the place of its call in the reply.
    ``nudged``: whether the team told the agent something while it had the turn, but for what its output has to be.
    ``part``: what is rarely needed, kept apart because every fact copies a turn.
    """

    number: int
    agent: str
    step: int = 0
    calls: tuple[OpenCall, ...] = ()
    misses: int = 0
    wishes: tuple[tuple[int, Transfer], ...] = ()
    nudged: bool = False
    part: Part = ALONE

    @property
    def lane(self) -> Lane | None:
        """Where its words stand; None: in the conversation."""
        return self.part.lane

    @property
    def key(self) -> str:
        """What the ids of its calls begin with."""
        return self.part.lane.key if self.part.lane else f"t{self.number}"

    def saying(self, item: Spoken) -> "Turn":
        """With one more item in its lane."""
        lane = self.part.lane
        return (
            self
            if lane is None
            else self._replace(part=self.part._replace(lane=lane._replace(said=(*lane.said, item))))
        )


class Ended(NamedTuple):
    """A turn that is over, and may be gone on from.

    ``last``: its last words. ``held``: who waits for what it came to, None as long as nobody has said where it goes.
    ``joined``: its words are part of the conversation. ``failed``: it came to nothing.
    """

    turn: Turn
    last: Message | None = None
    held: tuple[str, ...] | None = None
    joined: bool = False
    failed: bool = False


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
    often the active agent went on by itself since it got the conversation. ``begun``: the turns of this team's own
    members, whatever budgets ran out; ``turns`` are those of teams within it as well.
    """

    turns: int = 0
    tokens: int = 0
    hops: int = 0
    walked: frozenset[tuple[str, str]] = frozenset()
    alone: int = 0
    taken: Mapping[str, tuple[int, int, int]] = {}
    begun: int = 0


class State(NamedTuple):
    """All that is known of a session. Every field but the two logs is small: bounded by what is open now, by the number
    of agents, or by what the team keeps in common.

    ``seq``: how many facts were folded. ``turns``, ``asked``: how many there were. ``requests``: unanswered, oldest
    first. ``rest``: why nothing goes on, if nothing does. ``shared``: what the team keeps in common. ``summaries``: the
    last one made for each agent that is given one. ``forgotten``: how many items of the conversation there were before
    the first of ``spoken``. ``past``: the turn in the conversation that ended last. ``ended``: the turns apart from it
    that did, until nothing goes on from them any more. ``teams``: how each team among the participants was left.
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
    rest: Failed | Stopped | Cancelled | Finished | None = None
    floor: Floor = Floor()
    since: Since = Since()
    shared: Mapping[str, JSON] = {}
    summaries: Mapping[str, Summarised] = {}
    forgotten: int = 0
    past: Ended | None = None
    ended: Mapping[int, Ended] = {}
    teams: Mapping[str, "State"] = {}

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
            return _turn_ended(state, seq, fact)
        case Routed():
            return _routed(state, seq, fact)
        case Joined():
            return _joined(state, seq, fact)
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
                past=None,
                ended={},
            )
        case Asked():
            return _asked(state, seq, fact)
        case Answered():
            return _answered(state, seq, fact)
        case Failed() | Stopped() | Cancelled():
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
        case Within():
            return _within(state, seq, fact)
        case TeamChanged():
            return _team_changed(state, seq, fact)
        case _:
            assert_never(fact)


def _within(state: State, seq: int, fact: Within) -> State:
    turn = state.open[fact.turn]
    inner = turn.part.inner or _entered(state, turn)
    before = len(inner.spoken)
    inner = evolve(inner._replace(shared=state.shared), fact.fact)
    turn = turn._replace(part=turn.part._replace(inner=inner))
    for item in inner.spoken.since(before) if turn.lane else ():
        turn = turn.saying(item)
    if turn.lane is None:
        # One conversation: what is said in the team is said in it.
        state = state._replace(spoken=inner.spoken, transcript=inner.transcript)
    opened = {**state.open, fact.turn: turn}
    return state._replace(seq=seq, open=opened, shared=inner.shared, since=_since(state.since, innermost(fact)))


def _entered(state: State, turn: Turn) -> State:
    """The session of a team that gets a turn: it knows what was said, and whose word it was when it was left."""
    spoken, transcript = state.spoken, state.transcript
    if turn.part.lane:
        turns = in_sequence(before(state, turn.part.after).values())
        said = [item for each in turns for item in (each.lane.said if each.lane else ())]
        spoken = Log([*spoken, *said])
        transcript = Log([*transcript, *(item for item in said if isinstance(item, Message))])
    left = state.teams.get(turn.agent, State()) if turn.part.lane is None else State()
    return State(turns=left.turns, asked=left.asked, spoken=spoken, transcript=transcript, floor=left.floor, due=Due())


def _since(since: Since, fact: Fact) -> Since:
    """What went on in a team counts for the team it is in, too."""
    match fact:
        case UserSpoke():
            return Since()
        case TurnStarted():
            return since._replace(turns=since.turns + 1)
        case SessionStarted():
            return since._replace(turns=since.turns - 1)  # the turn is of a team, and counts as those within it
        case Replied() if fact.input_tokens or fact.output_tokens:
            return _took(since, fact.model, fact.input_tokens, fact.cached_tokens, fact.output_tokens)
        case _:
            return since


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
        past=state.past and _ended_renamed(state.past, names),
        ended={number: _ended_renamed(each, names) for number, each in state.ended.items()},
        teams={names.agent(name): _renamed(each, names) for name, each in state.teams.items()},
    )


def _ended_renamed(ended: Ended, names: Names) -> Ended:
    held = None if ended.held is None else tuple(map(names.agent, ended.held))
    last = ended.last and names.message(ended.last)
    return ended._replace(turn=_turn_renamed(ended.turn, names), last=last, held=held)


def _part_renamed(part: Part, names: Names) -> Part:
    if part is ALONE:
        return part
    lane = part.lane and part.lane._replace(said=tuple(map(names.spoken, part.lane.said)))
    inner = part.inner and _renamed(part.inner, names)
    return part._replace(given=tuple(map(names.message, part.given)), lane=lane, inner=inner)


def _turn_renamed(turn: Turn, names: Names) -> Turn:
    calls = [each._replace(call=names.call(each.call), result=each.result and names.result(each.result))
             for each in turn.calls]  # fmt: skip
    wishes = tuple((place, names.transfer(wish)) for place, wish in turn.wishes)
    part = _part_renamed(turn.part, names)
    return turn._replace(agent=names.agent(turn.agent), calls=tuple(calls), wishes=wishes, part=part)


def _turn_started(state: State, seq: int, fact: TurnStarted) -> State:
    if fact.after or fact.apart:
        return _went_on(state, seq, fact)
    floor = state.floor
    if state.due is not None and state.due.turn is None and fact.agent != floor.speaker:
        # Whoever the user turned to instead owes nobody an answer, and was handed nothing.
        floor = Floor(fact.agent, arrivals={key: each for key, each in floor.arrivals.items() if key != fact.agent})
    elif fact.agent != floor.speaker:
        floor = floor._replace(speaker=fact.agent)
    opened = {**state.open, fact.turn: Turn(fact.turn, fact.agent)}
    since = state.since._replace(turns=state.since.turns + 1, begun=state.since.begun + 1)
    return state._replace(seq=seq, turns=fact.turn, open=opened, due=None, floor=floor, since=since)


def _went_on(state: State, seq: int, fact: TurnStarted) -> State:
    """A turn begins that goes on from certain others, or has its words apart."""
    ended, given, level = dict(state.ended), list[Message](), 0
    for number in fact.after:
        source = ended.get(number) or state.past
        if source is None or source.turn.number != number:
            continue
        given.append(source.last or Message("assistant", (), source.turn.agent))
        lane = source.turn.lane
        level = max(level, lane.level if lane and not source.joined else 0)
        if source.held and fact.agent in source.held:
            held = tuple(each for each in source.held if each != fact.agent)
            # It stays until the next join, as it says which turns were gone on from.
            ended[number] = source._replace(held=held)
    lane = Lane(fact.key or f"t{fact.turn}", level + 1) if fact.apart else None
    turn = Turn(fact.turn, fact.agent, part=Part(fact.after, tuple(given), lane=lane))
    floor = state.floor if fact.apart else state.floor._replace(speaker=fact.agent)
    since = state.since._replace(turns=state.since.turns + 1, begun=state.since.begun + 1)
    opened = {**state.open, fact.turn: turn}
    return state._replace(seq=seq, turns=fact.turn, open=opened, due=None, floor=floor, since=since, ended=ended)


def _turn_ended(state: State, seq: int, fact: TurnEnded) -> State:
    open_still = [asked for asked in state.requests.values() if asked.turn == fact.turn and asked.call]
    assert not open_still, "nobody is asked about a turn that is over"
    turn = state.open[fact.turn]
    opened = {number: turn for number, turn in state.open.items() if number != fact.turn}
    lane = turn.part.lane
    if lane is None:
        # Whoever was cut off before it said anything has no last words.
        spoke = state.transcript[-1] if len(state.transcript) else None
        inner = turn.part.inner
        own = spoke is not None and (spoke.author_name == turn.agent or inner is not None)
        last = spoke if spoke and own and spoke.role == "assistant" else None
        if inner is not None:
            state = state._replace(teams={**state.teams, turn.agent: inner})
            turn = turn._replace(part=turn.part._replace(inner=None))
        return state._replace(seq=seq, open=opened, due=Due(turn), past=Ended(turn, last, joined=True))
    if fact.failed:
        # Whoever goes on from it, or reads the conversation, is told why there is nothing.
        words = Message("assistant", (Text(f"No answer: {fact.failed}"),), turn.agent, {"failed": fact.failed})
        turn, lane = turn.saying(words), lane._replace(said=(words,))
    last = next((each for each in reversed(lane.said) if isinstance(each, Message) and each.role == "assistant"), None)
    if turn.part.inner is not None:
        turn = turn._replace(part=turn.part._replace(inner=None))
    ended = Ended(turn, last, failed=bool(fact.failed))
    return state._replace(seq=seq, open=opened, ended={**state.ended, fact.turn: ended})


def _routed(state: State, seq: int, fact: Routed) -> State:
    found = state.ended.get(fact.turn) or state.past
    if found is None or found.turn.number != fact.turn:
        return state._replace(seq=seq)
    return state._replace(seq=seq, ended={**state.ended, fact.turn: found._replace(held=fact.held)})


def _joined(state: State, seq: int, fact: Joined) -> State:
    spoken, transcript = state.spoken, state.transcript
    for number in fact.turns:
        lane = state.ended[number].turn.lane
        for item in lane.said if lane else ():
            spoken = spoken.append(item)
            if isinstance(item, Message):
                transcript = transcript.append(item)
    # What had joined before is no longer gone on from, unless somebody still waits for it.
    held = {number: each for number, each in state.ended.items() if each.held}
    ended = held | {number: state.ended[number]._replace(joined=True) for number in fact.turns}
    return state._replace(seq=seq, spoken=spoken, transcript=transcript, ended=ended)


def _replied(state: State, seq: int, fact: Replied) -> State:
    turn = state.open[fact.turn]
    calls = tuple(OpenCall(call) for call in fact.message.tool_calls)
    turn = turn._replace(step=turn.step + 1, calls=calls, wishes=())
    if fact.input_tokens or fact.output_tokens:
        since = _took(state.since, fact.model, fact.input_tokens, fact.cached_tokens, fact.output_tokens)
        state = state._replace(since=since)
    return _spoke(state, seq, fact.message, turn)


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
    turn = turn._replace(calls=(), misses=turn.misses + 1 if missed else 0)
    return _spoke(state, seq, Message("tool", results, turn.agent), turn)


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
    told = turn
    if turn.step:
        told = turn._replace(nudged=turn.nudged or not fact.code, misses=turn.misses + bool(fact.code), wishes=())
    if turn.lane is not None:
        return state._replace(seq=seq, open={**state.open, fact.turn: told.saying(fact)})
    spoken = state.spoken.append(fact)
    if turn.step:
        return state._replace(seq=seq, spoken=spoken, open={**state.open, fact.turn: told})
    return state._replace(seq=seq, spoken=spoken, since=state.since._replace(alone=state.since.alone + (not fact.code)))


def _spoke(state: State, seq: int, message: Message, turn: Turn) -> State:
    if turn.part.lane is not None:
        return state._replace(seq=seq, open={**state.open, turn.number: turn.saying(message)})
    opened = {**state.open, turn.number: turn}
    spoken, transcript = state.spoken.append(message), state.transcript.append(message)
    return state._replace(seq=seq, spoken=spoken, transcript=transcript, open=opened)


def _asked(state: State, seq: int, fact: Asked) -> State:
    stage = "unclear" if fact.ask == "outcome" else "asked"
    opened = state.open if fact.call is None else _staged(state, fact.turn, OpenCall(fact.call, stage))
    assert fact.call is not None or fact.ask in ("user_input", "reply", "review"), "nobody is asked about no call"
    assert fact.ask != "reply" or fact.turn in opened, "nobody replies in a turn that is not open"
    requests = {**state.requests, fact.request: fact}
    due = state.due if fact.ask == "review" else None
    return state._replace(seq=seq, requests=requests, asked=state.asked + 1, due=due, open=opened)


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
    elif asked.ask == "info" and fact.settled == "replied" and asked.call is not None:
        # The function runs again from its beginning, and is told this where it asks for it.
        opened = _staged(state, asked.turn, OpenCall(asked.call, "started"))
        turn = opened[asked.turn]
        part = turn.part._replace(answers=(*turn.part.answers, fact.value))
        opened = {**opened, asked.turn: turn._replace(part=part)}
    return state._replace(seq=seq, requests=requests, open=opened)


def _interrupted(state: State, seq: int, fact: ToolInterrupted) -> State:
    (call,) = (each.call for each in state.open[fact.turn].calls if each.call.id == fact.call_id)
    return state._replace(seq=seq, open=_staged(state, fact.turn, OpenCall(call, "interrupted")))


def _staged(state: State, number: int, changed: OpenCall) -> Mapping[int, Turn]:
    turn = state.open[number]
    calls = tuple(changed if each.call.id == changed.call.id else each for each in turn.calls)
    if not calls and runs_function(changed.call):
        calls = (changed,)
    return {**state.open, number: turn._replace(calls=calls)}


def before(state: State, turns: Iterable[int]) -> dict[int, Turn]:
    """These turns and all that led to them, as far as they have not joined the conversation."""
    found: dict[int, Turn] = {}
    waiting = list(turns)
    while waiting:
        number = waiting.pop()
        each = state.ended.get(number)
        if each and not each.joined and number not in found:
            found[number] = each.turn
            waiting += each.turn.part.after
    return found


def in_sequence(turns: Iterable[Turn]) -> list[Turn]:
    """The turns in the conversation's order: what leads to a turn is before it."""
    return sorted(turns, key=lambda turn: (turn.lane.level if turn.lane else 0, len(turn.key), turn.key))
