"""A team's rules as a diagram."""

from collections.abc import Sequence

from relayline.agent import Agent
from relayline.drawing.diagram import Diagram, Line, Node
from relayline.drawing.discussion import discussion
from relayline.drawing.graph import graph
from relayline.drawing.members import budget_of, limits_of, member
from relayline.errors import UsageError
from relayline.machine.decide import Machine
from relayline.machine.graph import Graph
from relayline.machine.groupchat import GroupChat
from relayline.machine.limits import Limits
from relayline.machine.patterns import Handoff
from relayline.machine.topology import Edge, mesh

CROWD = 4
"""From how many on lines between everybody and everybody are drawn as one place where they all meet."""

EVERYBODY = "everybody may hand over to everybody"


def diagram_of(agents: Sequence[Agent], machine: Machine) -> Diagram:
    """How a team is drawn.

    Raises:
        UsageError: if nobody said yet how teams of this pattern are.
    """
    match machine.pattern:
        case Handoff() as pattern:
            return _handoff(agents, machine, pattern)
        case Graph() as pattern:
            return graph(agents, machine, pattern)
        case GroupChat() as pattern:
            return discussion(agents, machine, pattern)
        case other:
            raise UsageError(f"a team of type {type(other).__name__} has no drawing")


def _handoff(agents: Sequence[Agent], machine: Machine, pattern: Handoff) -> Diagram:
    # Whoever is asked by a colleague gives the conversation back.
    leaves = {edge.source for edge in pattern.edges} | {e.target for e in pattern.edges if e.returns == "caller"}
    nodes = [
        member(
            agent,
            machine,
            start=agent.name == pattern.start,
            end=agent.name not in leaves,
            notes=_notes(agent.name, machine, pattern),
        )
        for agent in agents
    ]
    lines = [_line(edge) for edge in pattern.edges]
    if len(nodes) >= CROWD and set(pattern.edges) == set(mesh(pattern.agents)):
        lines = [Line("", node.name, both=True) for node in nodes]
        nodes.insert(1, Node("", "hub", EVERYBODY))
    return Diagram(machine.name, tuple(nodes), tuple(_paired(lines)), tuple(_rules(machine, pattern)))


def _line(edge: Edge) -> Line:
    terms = (
        ("always", edge.always),
        ("not always open", edge.guarded),
        ("with a payload", edge.payload),
        ("a person approves", edge.approval),
        (f"then back to the {edge.returns}", edge.returns != "stay"),
    )
    return Line(
        edge.source,
        edge.target,
        "always" if edge.always else "chosen",
        edge.description,
        tuple(term for term, holds in terms if holds),
        edge.guarded,
    )


def _paired(lines: Sequence[Line]) -> list[Line]:
    """Two lines that say nothing but that there is a way, and back, as one."""
    bare = {(each.source, each.target): each for each in lines if each == Line(each.source, each.target)}
    paired: list[Line] = []
    for line in lines:
        there, back = (line.source, line.target), (line.target, line.source)
        if there not in bare or back not in bare or line is not bare[there]:
            paired.append(line)
        elif Line(*back, both=True) not in paired:
            paired.append(Line(*there, both=True))
    return paired


def _notes(name: str, machine: Machine, pattern: Handoff) -> list[str]:
    notes: list[str] = []
    if alone := pattern.autonomous.get(name):
        notes.append(f"goes on alone, {_times(alone.turns)}")
    if name == machine.rescue:
        notes.append("takes over where a model fails")
    if name == machine.limits.fallback:
        notes.append("takes over from a loop")
    return notes


def _rules(machine: Machine, pattern: Handoff) -> list[str]:
    rules = list(budget_of(machine))
    if machine.limits != Limits(fallback=machine.limits.fallback):
        rules.append(f"loops: {_loops(machine.limits)}")
    rules += limits_of(machine)
    if not pattern.return_to_previous:
        rules.append("each message of the user goes to the start")
    return rules


def _loops(limits: Limits) -> str:
    hops = "any number of handoffs" if limits.hops is None else f"at most {limits.hops} handoffs for each message"
    again = ", the same one again and again" if limits.cycles else ""
    after = {"tell_model": "", "ask_user": ", then the user is asked", "stop": ", then it stops"}
    return hops + again + after[limits.on_loop]


def _times(turns: int) -> str:
    return "once" if turns == 1 else f"{turns} times at most"
