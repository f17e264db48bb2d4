"""A conversation under other names: as if its agents and tools had always been called what they are called now."""

from dataclasses import replace

from relayline.events import Failed
from relayline.machine.log import Log
from relayline.machine.names import Names
from relayline.machine.state import (
    ALONE,
    Arrival,
    Due,
    Ended,
    Floor,
    Part,
    State,
    Turn,
)


def renamed(state: State, names: Names) -> State:
    """The same conversation under other names."""
    state = state.copied()
    rename(state, names)
    return state


def rename(state: State, names: Names) -> None:
    """Give what is in ``state`` other names. Two agents that become one are one from the beginning."""
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
    state.spoken = Log([names.spoken(each) for each in state.spoken])
    state.transcript = Log([names.message(each) for each in state.transcript])
    state.open = {number: _turn_renamed(turn, names) for number, turn in state.open.items()}
    state.requests = {key: names.asked(each) for key, each in state.requests.items()}
    state.due = due and Due(due.turn and _turn_renamed(due.turn, names), names.agent(due.to))
    state.rest = replace(rest, agent=names.agent(rest.agent)) if isinstance(rest, Failed) else rest
    state.floor = Floor(speaker, tuple(callers), floor.sticky, arrivals)
    state.since = state.since._replace(walked=frozenset(walked))
    state.summaries = {names.agent(each.agent): replace(each, agent=names.agent(each.agent)) for each in made}
    state.past = state.past and _ended_renamed(state.past, names)
    state.ended = {number: _ended_renamed(each, names) for number, each in state.ended.items()}
    state.teams = {names.agent(name): renamed(each, names) for name, each in state.teams.items()}


def _ended_renamed(ended: Ended, names: Names) -> Ended:
    held = None if ended.held is None else tuple(map(names.agent, ended.held))
    last = ended.last and names.message(ended.last)
    return ended._replace(turn=_turn_renamed(ended.turn, names), last=last, held=held)


def _part_renamed(part: Part, names: Names) -> Part:
    if part is ALONE:
        return part
    lane = part.lane and part.lane._replace(said=tuple(map(names.spoken, part.lane.said)))
    inner = part.inner and renamed(part.inner, names)
    return part._replace(given=tuple(map(names.message, part.given)), lane=lane, inner=inner)


def _turn_renamed(turn: Turn, names: Names) -> Turn:
    calls = [each._replace(call=names.call(each.call), result=each.result and names.result(each.result))
             for each in turn.calls]  # fmt: skip
    wishes = tuple((place, names.transfer(wish)) for place, wish in turn.wishes)
    part = _part_renamed(turn.part, names)
    return turn._replace(agent=names.agent(turn.agent), calls=tuple(calls), wishes=wishes, part=part)
