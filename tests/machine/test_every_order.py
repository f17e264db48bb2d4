"""Small graphs, in every order in which their turns can finish: one conversation comes of it."""

from collections.abc import Iterator, Mapping

import pytest

from relayline.events import Joined, TurnStarted
from relayline.machine.decide import Machine
from relayline.machine.effects import CallModel, Effect, Judge, effects
from relayline.machine.graph import Graph
from relayline.machine.inputs import Input, Judged, ModelReplied, UserSaid
from relayline.machine.lanes import outputs, sight
from relayline.machine.state import State
from relayline.machine.topology import Edge
from relayline.messages import Text, user


def graph(starts: str, ways: Mapping[str, str], joins: Mapping[str, str] | None = None) -> Graph:
    """``ways``: source to targets; ``joins``: a node to all it waits for, in declared order. A letter is a node."""
    plain = [Edge(source, target, always=True) for source, targets in ways.items() for target in targets]
    met = [Edge(each, target, always=True, joins=True) for target, many in (joins or {}).items() for each in many]
    named = dict.fromkeys(name for edge in [*plain, *met] for name in (edge.source, edge.target))
    return Graph(tuple(starts), tuple(dict.fromkeys([*starts, *named])), tuple(plain + met))


GRAPHS = {
    "two ways that meet": graph("s", {"s": "ab"}, {"j": "ab"}),
    "declared the other way round": graph("s", {"s": "ab"}, {"j": "ba"}),
    "a long way and a short one": graph("s", {"s": "ac", "a": "b"}, {"j": "bc"}),
    "who waits hears the long way first": graph("s", {"s": "ca", "a": "b"}, {"j": "bc"}),
    "one node twice, and a join after it": graph("s", {"s": "abd", "a": "c", "b": "c"}, {"j": "cd"}),
    "two joins in a row": graph("s", {"s": "abc"}, {"j": "ab", "k": "jc"}),
    "two joins at once": graph("s", {"s": "ab"}, {"j": "ab", "k": "ba"}),
    "a beginning that is waited for": graph("bs", {"s": "a"}, {"b": "sa", "c": "asb"}),
    "ways that never meet": graph("s", {"s": "ab", "a": "cd"}),
}


def plays(machine: Machine, state: State, facts: tuple[object, ...] = ()) -> Iterator[tuple[State, tuple[object, ...]]]:
    """How it can end, in every order of what is under way, each with all facts."""
    wanted = effects(state)
    if not wanted:
        yield state, facts
    for effect in wanted:
        decision = machine.decide(state, done(effect, state))
        yield from plays(machine, decision.state, (*facts, *decision.facts))


def done(effect: Effect, state: State) -> Input:
    """An agent says on what it speaks; so whatever it is given shows in the end."""
    if isinstance(effect, Judge):
        return Judged(effect.id, stop=False)
    assert isinstance(effect, CallModel)
    heard = "+".join(message.text for message in sight(state, effect.turn).transcript)
    given = "".join(message.author_name for message in state.open[effect.turn].part.given)
    return ModelReplied(effect.id, (Text(f"{effect.agent}({given})[{heard}]"),))


@pytest.mark.parametrize("name", GRAPHS)
def test_one_conversation_in_every_order(name: str) -> None:
    """The words, what each was given, and the results are those of any other order; so are the ids."""
    drawn = GRAPHS[name]
    machine = Machine("g", drawn, {name: {} for name in drawn.agents})
    begun = machine.decide(State(), UserSaid(user("go")))
    found = set[object]()
    orders = 0
    for state, facts in plays(machine, begun.state):
        orders += 1
        words = tuple(message.text for message in state.transcript)
        ids = tuple(sorted((each.agent, each.key) for each in facts if isinstance(each, TurnStarted)))
        found.add((words, tuple(message.text for message in outputs(state)), ids))
    assert orders > 1
    assert len(found) == 1


@pytest.mark.parametrize("name", [name for name in GRAPHS if "join" in name or "meet" in name or "way" in name])
def test_who_waits_for_several_goes_on_from_one_of_each_in_declared_order(name: str) -> None:
    """Whoever finished first."""
    drawn = GRAPHS[name]
    machine = Machine("g", drawn, {name: {} for name in drawn.agents})
    joins = {target: [edge.source for edge in drawn.edges if edge.target == target and edge.joins] for target in "jk"}
    for _, facts in plays(machine, machine.decide(State(), UserSaid(user("go"))).state):
        agents = {1: "s"} | {fact.turn: fact.agent for fact in facts if isinstance(fact, TurnStarted)}
        for fact in facts:
            if isinstance(fact, TurnStarted) and joins.get(fact.agent):
                assert [agents[number] for number in fact.after] == joins[fact.agent]
        joined = [number for fact in facts if isinstance(fact, Joined) for number in fact.turns]
        assert len(joined) == len(set(joined))
