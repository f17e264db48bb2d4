"""What a drawing says of members and of whole teams, whatever decides who speaks next."""

from collections.abc import Iterator, Mapping, Sequence

from relayline.agent import Agent
from relayline.drawing.diagram import Kind, Node
from relayline.events import Ask
from relayline.machine.decide import Machine
from relayline.machine.rules import Team

_DUE: Mapping[Ask, str] = {
    "approval": "approvals",
    "user_input": "questions to the user",
    "reply": "turns of people",
    "review": "reviews",
    "info": "questions of functions",
}


def member(agent: Agent, machine: Machine, *, start: bool, end: bool, notes: Sequence[str] = ()) -> Node:
    """A participant as a node; ``notes`` come after what is true of it in any team."""
    known = (*_notes(agent.name, machine), *notes)
    return Node(agent.name, _kind(agent.name, machine), agent.description, start, end, known)


def budget_of(machine: Machine) -> Iterator[str]:
    """What one message of the user may cost."""
    amounts = (("turns", machine.budget.turns), ("tokens", machine.budget.tokens), ("seconds", machine.budget.seconds))
    if parts := [f"{amount:g} {what}" for what, amount in amounts if amount is not None]:
        yield f"budget for each message: {', '.join(parts)}"


def limits_of(machine: Machine) -> Iterator[str]:
    """How long people have, and whether a condition ends the conversation."""
    if machine.expires:
        yield f"to be answered in time: {_due(machine.expires)}"
    if machine.condition:
        yield "a condition ends the conversation"


def _kind(name: str, machine: Machine) -> Kind:
    if name in machine.teams:
        return "team"
    if name in machine.functions:
        return "step"
    return "person" if name in machine.people else "agent"


def _notes(name: str, machine: Machine) -> Iterator[str]:
    if name in machine.teams:
        yield f"inside: {_inside(machine.teams[name])}"
    if gated := [tool for tool, policy in machine.policies.get(name, {}).items() if policy.approval]:
        yield f"a person approves: {', '.join(gated)}"
    if name in machine.reviewed:
        yield "a person reviews what it says"


def _inside(team: Team) -> str:
    """The names in a team, those in its teams in brackets."""
    if not isinstance(team, Machine):
        return team.name
    return ", ".join(f"{name} ({_inside(team.teams[name])})" if name in team.teams else name for name in team.policies)


def _due(expires: Mapping[Ask, float]) -> str:
    return ", ".join(f"{_DUE.get(ask, ask)} within {_span(seconds)}" for ask, seconds in expires.items())


def _span(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} seconds"
