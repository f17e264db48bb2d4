"""Teams that discuss as a diagram: in turn, around a function, or around the agent who gives the word."""

from collections.abc import Iterator, Sequence

from relayline.agent import Agent
from relayline.drawing.diagram import Diagram, Line, Node
from relayline.drawing.members import budget_of, limits_of, member
from relayline.machine.decide import Machine
from relayline.machine.groupchat import GroupChat

CHOSEN = "a function says who speaks next"


def discussion(agents: Sequence[Agent], machine: Machine, pattern: GroupChat) -> Diagram:
    """Who may speak after whom. Only a selector is an end: all else that ends a chat is a rule of the whole."""
    first = pattern.selector or ("" if pattern.chosen else pattern.agents[0])
    nodes = [member(agent, machine, start=agent.name == first, end=agent.name == pattern.selector) for agent in agents]
    nodes.sort(key=lambda node: not node.start)  # who gives the word is declared last
    if pattern.chosen:
        nodes.insert(0, Node("", "hub", CHOSEN, start=True))
    return Diagram(machine.name, tuple(nodes), tuple(_lines(pattern)), tuple(_rules(machine, pattern)))


def _lines(pattern: GroupChat) -> Iterator[Line]:
    members = pattern.agents
    if pattern.selector:
        for each in members:
            yield Line(pattern.selector, each)
            yield Line(each, pattern.selector, "back")
    elif pattern.chosen:
        yield from (Line("", each, "tested", both=True) for each in members)
    else:
        yield from (Line(one, other, "always") for one, other in zip(members, (*members[1:], members[0]), strict=True))


def _rules(machine: Machine, pattern: GroupChat) -> Iterator[str]:
    if pattern.rounds is not None:
        yield f"at most {pattern.rounds} {'turn' if pattern.rounds == 1 else 'turns'} of members for each message"
    if pattern.chosen:
        yield "over when the function names nobody"
    if pattern.selector:
        yield f"over when {pattern.selector} answers"
    yield from budget_of(machine)
    yield from limits_of(machine)
