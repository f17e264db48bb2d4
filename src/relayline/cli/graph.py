"""``relayline graph``: a team drawn, as Mermaid or as plain text."""

from collections.abc import Collection, Mapping, Sequence

from relayline.cli.clean import one_line
from relayline.errors import UsageError
from relayline.machine.patterns import Handoff
from relayline.machine.topology import Edge
from relayline.workflow import Workflow


def as_mermaid(workflow: Workflow) -> str:
    """A flowchart: the start agent rounded, terminal agents doubly framed, edges with descriptions and terms.

    A thick edge is taken whenever its source is done; any other is the source's choice.
    """
    pattern = _handoffs(workflow)
    ids = {agent: f"a{number}" for number, agent in enumerate(pattern.agents)}
    lines = ["flowchart LR"]
    for agent, node in ids.items():
        left, right = _shape(pattern, agent)
        lines.append(f'    {node}{left}"{_label(agent)}"{right}')
    for edge in pattern.edges:
        label = f'|"{_label(about)}"|' if (about := _about(edge)) else ""
        lines.append(f"    {ids[edge.source]} {'==>' if edge.always else '-->'}{label} {ids[edge.target]}")
    return "\n".join(lines)


def as_text(workflow: Workflow) -> str:
    """An agent a paragraph, with the ways out of it: ``->`` if it chooses them, ``=>`` if it does not."""
    pattern = _handoffs(workflow)
    about = {agent.name: one_line(agent.description) for agent in workflow.agents}
    exits = _exits(pattern)
    paragraphs = [_paragraph(pattern, agent, about, exits[agent], workflow.machine.people) for agent in pattern.agents]
    return "\n\n".join([f"team {one_line(workflow.name)}", *paragraphs])


def _paragraph(
    pattern: Handoff, agent: str, about: Mapping[str, str], exits: Sequence[Edge], people: Collection[str]
) -> str:
    terms = (("a person", agent in people), ("start", agent == pattern.start), ("end", not exits))
    marks = [mark for mark, holds in terms if holds]
    first = one_line(agent) + (f" ({', '.join(marks)})" if marks else "")
    lines = [f"{first}: {about[agent]}" if about.get(agent) else first]
    for edge in exits:
        why = f": {one_line(terms)}" if (terms := _about(edge)) else ""
        lines.append(f"  {'=>' if edge.always else '->'} {one_line(edge.target)}{why}")
    return "\n".join(lines)


def _about(edge: Edge) -> str:
    terms = [
        term
        for term, holds in (
            ("always", edge.always),
            ("not always open", edge.guarded),
            ("with a payload", edge.payload),
            ("a person approves", edge.approval),
            (f"then back to the {edge.returns}", edge.returns != "stay"),
        )
        if holds
    ]
    return " ".join(filter(None, [edge.description, f"({', '.join(terms)})" if terms else ""]))


def _handoffs(workflow: Workflow) -> Handoff:
    if not isinstance(workflow.pattern, Handoff):
        raise UsageError(f"a team of type {type(workflow.pattern).__name__} has no drawing yet; handoff teams have")
    return workflow.pattern


def _exits(pattern: Handoff) -> Mapping[str, Sequence[Edge]]:
    return {agent: [edge for edge in pattern.edges if edge.source == agent] for agent in pattern.agents}


def _shape(pattern: Handoff, agent: str) -> tuple[str, str]:
    if agent == pattern.start:
        return "([", "])"
    return ("[", "]") if _exits(pattern)[agent] else ("[[", "]]")


def _label(text: str) -> str:
    """Text as Mermaid takes it between quotes: its own signs as entities, which are written with a # there."""
    return "".join(each if each.isalnum() or each in " .,:;-_/'()?!" else f"#{ord(each)};" for each in one_line(text))
