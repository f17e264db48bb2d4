"""What is allowed in a team and still looks like a mistake."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations

from relayline.agent import Agent
from relayline.declared import purpose
from relayline.machine.limits import Budget
from relayline.machine.rules import Rules
from relayline.machine.topology import Edge

FEW = 5
"""How many pairs that are alike are named, and how many of those who choose between them."""

ALIKE = 0.9
"""How alike two descriptions may be, from 0 to 1, before a model can hardly tell them apart."""


def review(
    agents: Sequence[Agent], start: str, edges: Sequence[Edge], rules: Rules, terminal: Collection[str], declared: bool
) -> Iterator[str]:
    """Warnings, each with a stable code. ``terminal``: who is meant to have no way out."""
    by_name = {agent.name: agent for agent in agents}
    exits = {agent.name: [edge for edge in edges if edge.source == agent.name] for agent in agents}
    if declared:
        seen = _reached([start, rules.limits.fallback, rules.rescue], exits)
        for name in by_name:
            if name not in seen:
                yield f"RL201 nobody hands over to {name!r}, so it is only reached by run(to={name!r})"
        for name in by_name:
            comes_back = any(edge.target == name and edge.returns != "stay" for edge in edges)
            if not exits[name] and name in seen and name not in terminal and not comes_back and len(by_name) > 1:
                yield (
                    f"RL202 {name!r} has no way out: once it has answered, the conversation is finished. "
                    f"If that is meant, say so: .with_terminal_agents([{name!r}])"
                )
    told: dict[str, dict[str, str]] = {}
    unaware: dict[str, list[str]] = {}
    for name in by_name:
        # A person is shown no descriptions.
        chosen = [edge for edge in exits[name] if not edge.always and name not in rules.people]
        told[name] = {edge.target: purpose(edge, by_name[edge.target]) for edge in chosen}
        for target, words in told[name].items():
            if not words.strip():
                unaware.setdefault(target, []).append(repr(name))
    for target in (name for name in by_name if name in unaware):
        names = unaware[target]
        who = names[0] if len(names) == 1 else f"{len(names)} agents"
        are = "is" if len(names) == 1 else f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}) are"
        yield f"RL203 {who} {are} told nothing of {target!r} but its name; give {target!r} a description"
    yield from _alike(told)
    if rules.limits.hops is None and rules.limits.cycles and rules.budget == Budget():
        if circle := _circle(edges):
            yield f"RL205 {' -> '.join(circle)} can go round for ever: give it max_hops or with_budget(...)"
    # Who has a choice, or a way on that is open now and then, can leave; and a condition can end it.
    plain = [edge for edge in edges if all(each.always and not each.guarded for each in exits[edge.source])]
    if not rules.condition and (circle := _circle(plain)):
        yield f"RL206 {' -> '.join(circle)} always goes round: no one in it ever has the last word"


def _alike(told: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Who can hardly be told apart, each two once; ``told``: by who chooses, what they are told of each target."""
    alike: dict[frozenset[str], tuple[str, str, list[str]]] = {}
    compared: dict[tuple[str, str], bool] = {}  # in a team where everybody may choose everybody, they are the same
    for name, purposes in told.items():
        plain = [(target, " ".join(words.casefold().split())) for target, words in purposes.items() if words.strip()]
        for (one, its), (other, others) in combinations(plain, 2):
            if (its, others) not in compared:
                compared[its, others] = difflib.SequenceMatcher(None, others, its).ratio() >= ALIKE
            if compared[its, others]:
                alike.setdefault(frozenset((one, other)), (one, other, []))[2].append(name)
    for one, other, names in [*alike.values()][:FEW]:
        who = ", ".join(map(repr, names[:FEW])) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")
        yield f"RL204 {who} can hardly tell {one!r} and {other!r} apart: their descriptions are alike"
    if len(alike) > FEW:
        yield f"RL204 and {len(alike) - FEW} more pairs can hardly be told apart: their descriptions are alike"


def _reached(begin: Sequence[str], exits: Mapping[str, Sequence[Edge]]) -> set[str]:
    found: set[str] = set()
    waiting = [*filter(None, begin)]
    while waiting:
        agent = waiting.pop()
        if agent not in found:
            found.add(agent)
            waiting += [edge.target for edge in exits.get(agent, ())]
    return found


def _circle(edges: Sequence[Edge]) -> list[str]:
    """One circle of edges as a path that ends where it began; empty if there is none."""
    exits: dict[str, list[str]] = {}
    for edge in edges:
        exits.setdefault(edge.source, []).append(edge.target)
    done: set[str] = set()

    def walk(agent: str, path: list[str]) -> list[str]:
        if agent in path:
            return [*path[path.index(agent) :], agent]
        if agent in done:
            return []
        for target in exits.get(agent, ()):
            if found := walk(target, [*path, agent]):
                return found
        done.add(agent)
        return []

    for agent in exits:
        if found := walk(agent, []):
            return found
    return []
