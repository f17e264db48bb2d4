"""The fold: what each fact makes of the state of a conversation."""

from collections.abc import Iterable, Mapping
from typing import assert_never

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
    Roster,
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
    innermost,
)
from relayline.machine.lanes import before, in_sequence
from relayline.machine.log import Log
from relayline.machine.renamed import renamed
from relayline.machine.renaming import Names, runs_function
from relayline.machine.state import (
    Arrival,
    Due,
    Ended,
    Floor,
    Lane,
    OpenCall,
    Part,
    Since,
    State,
    Turn,
)
from relayline.machine.topology import LONGEST_KEY, shortened
from relayline.messages import Message, Text


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
    match fact:  # what there is most of comes first
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
    return State(
        turns=left.turns,
        asked=left.asked,
        spoken=spoken,
        transcript=transcript,
        floor=left.floor,
        due=Due(),
        summaries=left.summaries,
        teams=left.teams,
        # There is one conversation, so the calls in it have ids that no other team's have.
        key=f"{shortened(turn.key, LONGEST_KEY - 8)}w",
    )


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
        teams={name: _compacted(each) for name, each in fact.teams.items()},
    )


def _team_changed(state: State, seq: int, fact: TeamChanged) -> State:
    if fact.renamed or fact.renamed_tools:
        state = renamed(state, Names.of(fact))
    if fact.roster is not None:
        state = _without_gone(state, fact.roster)
    return state._replace(seq=seq, started=SessionStarted(state.workflow, fact.fingerprint, fact.roster))


def _without_gone(state: State, roster: Roster) -> State:
    """Nobody gives back to who is not there, in no team within the team either."""
    callers = tuple(each for each in state.floor.callers if each in roster.agents)
    within = roster.teams
    teams = {name: _without_gone(each, within[name]) if name in within else each for name, each in state.teams.items()}
    return state._replace(floor=state.floor._replace(callers=callers), teams=teams)


def _turn_started(state: State, seq: int, fact: TurnStarted) -> State:
    if fact.after or fact.apart:
        return _went_on(state, seq, fact)
    floor = state.floor
    if state.due is not None and state.due.turn is None and fact.agent != floor.speaker:
        # Whoever the user turned to instead owes nobody an answer, and was handed nothing.
        floor = Floor(fact.agent, arrivals={key: each for key, each in floor.arrivals.items() if key != fact.agent})
    elif fact.agent != floor.speaker:
        floor = floor._replace(speaker=fact.agent)
    turn = Turn(fact.turn, fact.agent)
    if state.key:
        turn = turn._replace(part=Part(key=f"{state.key}{fact.turn}"))
    opened = {**state.open, fact.turn: turn}
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
    own = f"{state.key}{fact.turn}" if state.key else ""
    lane = Lane(fact.key or own or f"t{fact.turn}", level + 1) if fact.apart else None
    turn = Turn(fact.turn, fact.agent, part=Part(fact.after, tuple(given), lane=lane, key=own))
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
    call = {each.call.id: each.call for each in state.open[fact.turn].calls}[fact.call_id]
    return state._replace(seq=seq, open=_staged(state, fact.turn, OpenCall(call, "interrupted")))


def _staged(state: State, number: int, changed: OpenCall) -> Mapping[int, Turn]:
    turn = state.open[number]
    calls = tuple(changed if each.call.id == changed.call.id else each for each in turn.calls)
    if not calls and runs_function(changed.call):
        calls = (changed,)
    return {**state.open, number: turn._replace(calls=calls)}
