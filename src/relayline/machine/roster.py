"""What a team was, as its journals remember it: small enough for every session, and enough to name what has changed."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from relayline.events import Roster
from relayline.machine.topology import Edge, ToolPolicy

SMALL = 1_000
"""Bytes of JSON up to which a roster is kept word for word."""

PERSON = "@"
MARKS = {
    "!": ("asks a person first", "asks nobody first any more"),
    "*": ("may be repeated", "may not be repeated any more"),
    "?": ("can say what became of a call", "cannot say what became of a call any more"),
}

OnChange: TypeAlias = Literal["continue", "refuse"]
"""What becomes of a session that was begun with another team: it goes on with this one, or it is refused."""


@dataclass(frozen=True, slots=True)
class Upgrades:
    """How sessions of earlier teams are taken. ``renamed``, ``renamed_tools``: what was called otherwise, old to new
    name.
    """

    on_change: OnChange = "continue"
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
    renamed_tools: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def maps(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return self.renamed, self.renamed_tools


def roster(
    policies: Mapping[str, Mapping[str, ToolPolicy]],
    people: frozenset[str],
    edges: Sequence[Edge],
    start: str,
    contracts: Mapping[tuple[str, str], str],
    teams: Mapping[str, Roster] | None = None,
) -> Roster:
    """A team as it is recorded. ``contracts``: by source and target of a handoff, a digest of what it has to carry.
    ``teams``: the agents that are teams, as these are recorded.
    """
    names = list(policies)
    agents = {
        name: PERSON if name in people else " ".join(_tool(*each) for each in tools.items())
        for name, tools in policies.items()
    }
    ways: dict[str, dict[str, str]] = {}
    for edge in edges:
        terms = _terms(edge, contracts.get((edge.source, edge.target), ""))
        before = ways.setdefault(edge.source, {}).get(edge.target)  # an agent may have two ways to a colleague
        ways[edge.source][edge.target] = terms if before is None else f"{before}; {terms}"
    return Roster(agents, _joined(ways, names), "" if names[:1] == [start] else start, teams or {})


def fingerprint(team: Roster) -> str:
    """The same for two teams exactly if `differences` finds none between them."""
    tools = {name: sorted(line.split()) for name, line in team.agents.items()}
    start = team.start or next(iter(team.agents), "")
    inner = {name: fingerprint(each) for name, each in team.teams.items()}
    whole = [tools, _spread(team), start, *([inner] if inner else [])]
    shape = json.dumps(whole, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(shape.encode()).hexdigest()[:12]


def short(team: Roster) -> Roster:
    """The roster as it is kept. Of one that is long only a digest is: then it can be said whose tools or handoffs
    have changed, and not which.
    """
    return team if _size(team) <= SMALL else _shortened(team)


def _shortened(team: Roster) -> Roster:
    agents = {name: _digest_of(line) if len(line) > 7 else line for name, line in team.agents.items()}
    ways = {source: {_digest_of(to): ""} if _size(to) > 24 else to for source, to in team.edges.items()}
    return Roster(agents, ways, team.start, {name: _shortened(each) for name, each in team.teams.items()})


def renamed(team: Roster, agents: Mapping[str, str], tools: Mapping[str, str]) -> Roster:
    """The roster under other names. Where two agents become one, it is that one's tools that count."""
    lines: dict[str, str] = {}
    inner: dict[str, Roster] = {}
    for name, line in team.agents.items():
        if name not in agents or agents[name] not in team.agents:
            if name in team.teams:
                inner[agents.get(name, name)] = renamed(team.teams[name], agents, tools)
            known = [tools.get(each.rstrip("!*?"), each.rstrip("!*?")) + _marks(each) for each in line.split()]
            lines[agents.get(name, name)] = " ".join(known)
    ways: dict[str, dict[str, str]] = {}
    for source, to in _spread(team).items():
        for target, terms in to.items():
            ends = agents.get(source, source), agents.get(target, target)
            if ends[0] != ends[1]:
                ways.setdefault(ends[0], {})[ends[1]] = terms
    start = team.start or next(iter(team.agents), "")
    start = agents.get(start, start)
    return Roster(lines, _joined(ways, list(lines)), "" if [*lines][:1] == [start] else start, inner)


def differences(old: Roster, new: Roster, path: str = "") -> Iterator[str]:
    """What is not as it was, each in a sentence. ``path``: where the team is, ``desk/`` in a team."""
    for name in old.agents:
        if name not in new.agents:
            yield f"agent {path + name!r} is gone"
    for name, line in new.agents.items():
        if name not in old.agents:
            yield f"agent {path + name!r} is new"
        else:
            yield from _tools_differ(path + name, old.agents[name], line)
    before, now = (_under(path, _spread(each)) for each in (old, new))
    both = [path + name for name in new.agents if name in old.agents]
    for name in both:
        yield from _ways_differ(name, before.get(name, {}), now.get(name, {}), both)
    starts = [path + (each.start or next(iter(each.agents), "")) for each in (old, new)]
    if starts[0] != starts[1]:
        yield f"{starts[1]!r} begins conversations, which {starts[0]!r} did"
    for name in (name for name in new.agents if name in old.agents):
        one, other = old.teams.get(name), new.teams.get(name)
        if one and other:
            yield from differences(one, other, f"{path}{name}/")
        elif one or other:
            yield f"{path + name!r} is {'a team' if other else 'no team any more'}"


def everybody(team: Roster) -> Iterator[str]:
    """The names of all agents, those in teams within it as well."""
    yield from team.agents
    for each in team.teams.values():
        yield from everybody(each)


def all_tools(team: Roster) -> str:
    """The lines of all agents, those in teams within it as well."""
    return " ".join([*team.agents.values(), *map(all_tools, team.teams.values())])


def _under(path: str, ways: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
    """The ways, of agents by their paths; a digest is none."""
    if not path:
        return ways
    return {
        path + source: {each if each.startswith("#") else path + each: terms for each, terms in to.items()}
        for source, to in ways.items()
    }


def digest(value: object) -> str:
    """A few letters that are others for another value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _tools_differ(name: str, old: str, new: str) -> Iterator[str]:
    if PERSON in (old, new):
        if old != new:
            yield f"{name!r} is {'a person' if new == PERSON else 'no person any more'}"
        return
    if old.startswith("#") or new.startswith("#"):
        if _shortest(old) != _shortest(new):
            yield f"{name!r} has other tools"
        return
    before, now = ({each.rstrip("!*?"): _marks(each) for each in line.split()} for line in (old, new))
    yield from (f"{name!r} has no tool {each!r} any more" for each in before if each not in now)
    yield from (f"{name!r} has a new tool {each!r}" for each in now if each not in before)
    for each in (each for each in now if each in before):
        for mark, (has, lost) in MARKS.items():
            if (mark in now[each]) != (mark in before[each]):
                yield f"the tool {each!r} of {name!r} {has if mark in now[each] else lost}"


def _ways_differ(name: str, old: Mapping[str, str], new: Mapping[str, str], both: Sequence[str]) -> Iterator[str]:
    if any(each.startswith("#") for each in (*old, *new)):
        if _shortest(old) != _shortest(new):
            yield f"{name!r} has other handoffs"
        return
    # Those to who is gone, or new, say nothing that was not said.
    yield from (f"there is no handoff from {name!r} to {each!r} any more" for each in both if each in {*old} - {*new})
    yield from (f"there is a new handoff from {name!r} to {each!r}" for each in both if each in {*new} - {*old})
    for each in (each for each in new if each in old and old[each] != new[each]):
        yield f"the handoff from {name!r} to {each!r} is {new[each] or 'plain'}, and was {old[each] or 'plain'}"


def _tool(name: str, policy: ToolPolicy) -> str:
    return name + "!" * policy.approval + "*" * policy.repeatable + "?" * policy.reconcile


def _marks(written: str) -> str:
    return written[len(written.rstrip("!*?")) :]


def _terms(edge: Edge, contract: str) -> str:
    words = {
        "approval": edge.approval,
        f"payload:{contract}" if contract else "payload": edge.payload,
        f"returns:{edge.returns}": edge.returns != "stay",
        "always": edge.always,
        "guarded": edge.guarded,
    }
    return " ".join(word for word, holds in words.items() if holds)


def _joined(ways: Mapping[str, Mapping[str, str]], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The ways with an empty name for everybody else, where that is shorter."""
    others = len(names) - 1
    if others and len(ways) == len(names) and all(list(to.values()) == [""] * others for to in ways.values()):
        return {"": {"": ""}}
    alike = {source for source, to in ways.items() if len(to) == others > 1 and len({*to.values()}) == 1}
    return {source: {"": next(iter(to.values()))} if source in alike else dict(to) for source, to in ways.items()}


def _spread(team: Roster) -> dict[str, dict[str, str]]:
    """The ways with every name."""
    ways = dict.fromkeys(team.agents, team.edges[""]) if "" in team.edges else team.edges
    return {
        source: {each: to[""] for each in team.agents if each != source} if "" in to else dict(to)
        for source, to in ways.items()
    }


def _digest_of(value: str | Mapping[str, str]) -> str:
    return f"#{digest(sorted(value.split()) if isinstance(value, str) else value)}"


def _shortest(value: str | Mapping[str, str]) -> str:
    """The digest, of what may be one already."""
    first = value if isinstance(value, str) else next(iter(value), "")
    return first if first.startswith("#") else _digest_of(value)


def _size(value: Roster | Mapping[str, str]) -> int:
    plain = [value.agents, value.edges] if isinstance(value, Roster) else value
    inner = value.teams.values() if isinstance(value, Roster) else ()
    return len(json.dumps(plain, separators=(",", ":"), ensure_ascii=False).encode()) + sum(map(_size, inner))
