"""Teams whose order is drawn beforehand as a diagram: one after the other, all at once, or a graph."""

from collections import Counter
from collections.abc import Iterator, Sequence

from relayline.agent import Agent
from relayline.drawing.diagram import Diagram, Line
from relayline.drawing.members import budget_of, limits_of, member
from relayline.machine.decide import Machine
from relayline.machine.graph import Graph
from relayline.machine.topology import Edge


def graph(agents: Sequence[Agent], machine: Machine, pattern: Graph) -> Diagram:
    """Every edge a line. An end is a node that may be left by no edge: it has none, or conditions on all it has."""
    leads_on = {edge.source for edge in pattern.edges if not edge.guarded or edge.default}
    nodes = [
        member(agent, machine, start=agent.name in pattern.starts, end=agent.name not in leads_on) for agent in agents
    ]
    parts = Counter(edge.source for edge in pattern.edges if not edge.guarded)
    lines = [_line(edge, at_once=parts[edge.source] > 1) for edge in pattern.edges]
    return Diagram(machine.name, tuple(nodes), tuple(lines), tuple(_rules(machine, pattern)))


def _line(edge: Edge, *, at_once: bool) -> Line:
    if edge.guarded:
        # A condition without a name is one all the same.
        return Line(edge.source, edge.target, "tested", edge.description or "if its condition holds")
    terms = (("at once", at_once), ("waits for all", edge.joins))
    return Line(
        edge.source,
        edge.target,
        "joined" if edge.joins else "always",
        edge.description,
        tuple(term for term, holds in terms if holds),
    )


def _rules(machine: Machine, pattern: Graph) -> Iterator[str]:
    if len(pattern.starts) > 1:
        yield f"all at once: {', '.join(pattern.starts)}"
    if pattern.partial:
        yield "it goes on without one that fails"
    if pattern.steps is not None:
        yield f"at most {pattern.steps} {'turn' if pattern.steps == 1 else 'turns'} for each message"
    yield from budget_of(machine)
    yield from limits_of(machine)
