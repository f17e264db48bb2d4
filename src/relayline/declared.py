"""What a team's declaration comes to: every problem of it, or the seats, edges and rules of a workflow."""

import difflib
import inspect
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, NamedTuple, cast, get_args

from relayline.agent import Agent, ChatClient, HumanAgent, Named, ToolSpec, as_client
from relayline.errors import BuildError, UsageError
from relayline.executors import Executor, FunctionAgent, executor
from relayline.machine.topology import Edge, Returns, mesh, tool_names
from relayline.messages import JSON, valid
from relayline.output import Output
from relayline.runtime.seat import Predicate, Seat, Way
from relayline.runtime.shared import shared
from relayline.tools import ApprovalMode, Tool, as_tool, tool
from relayline.views import Shape, View, shaped, text

WHY = "Why, in a few words. Your colleague will read it."
HANDOFF_PARAMETERS: dict[str, JSON] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "description": WHY},
    },
    "additionalProperties": False,
}


class HandoffCall(NamedTuple):
    """One call of `HandoffBuilder.add_handoff`."""

    source: Named
    targets: Sequence[Named]
    description: str
    payload: type[Any] | None
    approval: ApprovalMode
    returns: Returns
    always: bool
    when: Predicate | None
    view: View | Shape | None


class Declared(NamedTuple):
    """An edge with what the machine does not need to know of it. ``payload``: its type."""

    edge: Edge
    payload: type[Any] | None = None
    when: Predicate | None = None
    view: View | None = None


def participants(given: Sequence[object], problems: list[str]) -> tuple[Agent, ...]:
    """The agents, and a card for every object that only behaves like one."""
    agents: list[Agent] = []
    for each in given:
        agent = _participant(each, problems)
        if agent is None:
            continue
        if not isinstance(agent.name, str):  # pyright: ignore[reportUnnecessaryIsInstance] -- not all check types
            problems.append(f"RL103 an agent's name is a string; got {agent.name!r}")
        elif not isinstance(agent.description, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            problems.append(f"RL103 the description of {agent.name!r} is a text; got {agent.description!r}")
        elif not agent.name.strip():
            problems.append("RL104 an agent has no name; names are how agents and people tell each other apart")
        elif valid(agent.name) != agent.name:
            problems.append(f"RL104 the name {agent.name!r} is not valid Unicode; half a character is in it")
        elif odd := [each for each in clients_of(agent) if not isinstance(each, str) and not hasattr(each, "stream")]:
            problems.append(f"RL103 the client of {agent.name!r} has no stream(request); got {odd[0]!r}")
        elif any(agent.name == other.name for other in agents):
            problems.append(f"RL102 two participants are called {agent.name!r}; names must differ")
        elif isinstance(agent, HumanAgent) and (agent.tools or agent.client or agent.output_type):
            problems.append(f"RL114 {agent.name!r} is a person, who has no tools, no client and no output_type")
        else:
            agents.append(agent)
    if not given:
        problems.append("RL105 a team needs at least one participant: HandoffBuilder(participants=[...])")
    return tuple(agents)


def _participant(given: Any, problems: list[str]) -> Agent | None:
    if isinstance(given, Agent):
        return given
    if isinstance(given, Executor) or inspect.isroutine(given):
        try:
            made = given if isinstance(given, Executor) else executor(given)
            return FunctionAgent(made.name, description=made.description, function=made)
        except BuildError as error:
            problems.append(str(error))
            return None
    client = given if hasattr(given, "stream") else getattr(given, "client", None)
    voice = isinstance(client, str) or hasattr(client, "stream")
    if not hasattr(given, "name") or not voice or isinstance(given, type):
        problems.append(
            f"RL103 participants are agents, functions, or objects with a name and stream(request); got {given!r}"
        )
        return None
    card: dict[str, Any] = {
        name: value
        for name in ("instructions", "description", "tools", "knowledge", "examples", "settings", "output_type")
        if (value := getattr(given, name, None))
    }
    try:
        return Agent(name=given.name, client=client, **card)
    except (BuildError, TypeError) as error:
        problems.append(f"RL103 {given.name!r} cannot be an agent: {_without_codes(error)}")
        return None


def named(given: object, names: Sequence[str], where: str, problems: list[str]) -> str | None:
    """The name of a participant, if it is one."""
    name = given if isinstance(given, str) else getattr(given, "name", given)
    if isinstance(name, str) and name in names:
        return name
    close = difflib.get_close_matches(name, names, 1) if isinstance(name, str) else []
    hint = f"did you mean {close[0]!r}?" if close else f"participants: {', '.join(map(repr, names)) or 'none'}"
    problems.append(f"RL101 unknown agent {name!r} in {where}; {hint}")
    return None


def all_named(given: object, names: Sequence[str], where: str, problems: list[str]) -> list[str]:
    """The names of a list of participants; those that are none are problems."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        problems.append(f"RL103 {where} takes a list of agents; got {given!r}")
        return []
    found = [named(each, names, where, problems) for each in cast("Sequence[object]", given)]
    return [each for each in found if each is not None]


def edges(
    calls: Sequence[HandoffCall], names: Sequence[str], problems: list[str], functions: Collection[str] = ()
) -> list[Declared]:
    """The edges in declared order; a full mesh, if none was declared. ``functions`` choose nothing themselves."""
    if not calls:
        return [Declared(edge) for edge in mesh(names) if edge.source not in functions]
    found: dict[tuple[str, str, bool], Declared] = {}
    for each in calls:
        source = named(each.source, names, "add_handoff", problems)
        targets = [named(target, names, "add_handoff", problems) for target in each.targets]
        if source in functions and not each.always:
            problems.append(
                f"RL142 {source!r} is a function or a team, which chooses nobody: say always=True, with when=... if it "
                "depends"
            )
        problems += _problems_of(each, source, targets)
        given = None if each.view is None else policy(each.view, "add_handoff", problems)
        for target in targets:
            if source is None or target is None:
                continue
            if (source, target, each.always) in found:
                problems.append(f"RL113 the handoff from {source!r} to {target!r} is declared twice; keep one")
            gated = each.approval == "always_require"
            terms = (gated, each.returns, each.payload is not None, each.always, each.when is not None)
            edge = Edge(source, target, each.description, *terms)
            found[source, target, each.always] = Declared(edge, each.payload, each.when, given)
    for agent in names:
        onward = [each.edge for each in found.values() if each.edge.source == agent and each.edge.always]
        plain = [edge for edge in onward if not edge.guarded]
        if len(plain) > 1:
            several = " and to ".join(repr(edge.target) for edge in plain)
            problems.append(f"RL111 {agent!r} always hands over to {several}; it can to one only")
        elif plain and plain[0] is not onward[-1]:
            problems.append(
                f"RL111 {agent!r} always hands over to {plain[0].target!r}, so nothing declared after it is reached; "
                "declare the guarded ones first"
            )
    return list(found.values())


def asked_of_people(people: Collection[str], declared: Sequence[Declared], viewed: Collection[str]) -> Iterator[str]:
    """What only a model could do, and the declaration wants of a person."""
    whole = "is a person and is shown the whole conversation"
    yield from (f"RL114 {name!r} {whole}; leave it out of with_view" for name in viewed if name in people)
    for edge, view in ((each.edge, each.view) for each in declared):
        if view and edge.target in people:
            yield f"RL114 {edge.target!r} {whole}; leave the view out of the handoff from {edge.source!r}"
        if edge.source in people and (edge.payload or edge.approval):
            yield (
                f"RL114 {edge.source!r} is a person, who fills in no payload and needs nobody's approval; leave them "
                f"out of the handoff to {edge.target!r}"
            )


def _problems_of(each: HandoffCall, source: str | None, targets: Sequence[str | None]) -> Iterator[str]:
    if not targets:
        yield f"RL107 add_handoff from {source!r} names no target"
    if source in targets and source is not None:
        yield f"RL106 add_handoff from {source!r} to itself: an agent that wants to go on just answers"
    if not isinstance(each.description, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        yield f"RL103 description is {each.description!r} in add_handoff; it is a text"
    if each.approval not in get_args(ApprovalMode):
        yield f"RL103 approval is {each.approval!r} in add_handoff; allowed: {', '.join(get_args(ApprovalMode))}"
    if each.returns not in get_args(Returns):
        yield f"RL103 returns is {each.returns!r} in add_handoff; allowed: {', '.join(get_args(Returns))}"
    if each.when is not None and not _takes_two(each.when):
        yield f"RL103 when is {each.when!r} in add_handoff; it is a function of the transcript and the state"
    if each.always and (each.payload or each.approval == "always_require" or each.returns != "stay"):
        yield f"RL112 no model chooses the handoff from {source!r}, so it has no payload, no approval and no way back"


def _takes_two(predicate: object) -> bool:
    try:
        return callable(predicate) and bool(inspect.signature(predicate).bind([], {}))
    except TypeError:
        return False
    except ValueError:  # it has no signature to read
        return True


def policy(given: object, where: str, problems: list[str]) -> View | None:
    """The view that was given, or the one a function makes."""
    if isinstance(given, View):
        return given
    if callable(given):
        return shaped(cast("Shape", given))
    problems.append(f"RL103 a view is one of relayline.views or a function of the messages; got {given!r} in {where}")
    return None


def seats(
    agents: Sequence[Agent], declared: Sequence[Declared], views: Mapping[str, View], problems: list[str]
) -> dict[str, Seat]:
    """Each agent with all that its model is offered."""
    by_name = {agent.name: agent for agent in agents}
    handoffs = tool_names(list(by_name))
    voices = _voices(agents, problems)
    made: dict[str, Seat] = {}
    for agent in agents:
        tools = _own_tools(agent, set(handoffs.values()), problems)
        specs = [ToolSpec(own.name, own.description, own.parameters) for own in tools.values()]
        ways: dict[str, Way] = {}
        for each in declared:
            if each.edge.source == agent.name and not each.edge.always:
                name, target = handoffs[each.edge.target], by_name[each.edge.target]
                checks = None if each.payload is None else _payload_tool(name, each.payload, problems)
                schema = checks.parameters if checks else HANDOFF_PARAMETERS
                specs.append(ToolSpec(name, _shown(each.edge, target), schema, target.name, tuple(target.examples)))
                ways[name] = Way(each.edge, checks, each.when)
        onward = [Way(each.edge, None, each.when) for each in declared if each.edge.always]
        made[agent.name] = Seat(
            agent,
            voices[agent.name],
            tools,
            tuple(specs),
            ways,
            [way for way in onward if way.edge.source == agent.name],
            views.get(agent.name, text),
            {each.edge.source: each.view for each in declared if each.view and each.edge.target == agent.name},
            output=_output(agent, problems),
            function=agent.function if isinstance(agent, FunctionAgent) else None,
        )
    return made


def laid_out_alike(seats: Mapping[str, Seat], views: Collection[str], problems: list[str]) -> dict[str, Seat]:
    """The same seats, with one layout for the requests of all."""
    agents = [seat.agent for seat in seats.values() if not isinstance(seat.agent, HumanAgent)]
    offered: dict[str, ToolSpec] = {}
    problems += [
        f"RL116 with share_prefix all agents see one list of tools, and {spec.name!r} of {agent.name!r} is not as that "
        "of a colleague; rename one, or describe both alike"
        for agent in agents
        for spec in seats[agent.name].specs
        if offered.setdefault(spec.name, spec) != spec
    ]
    problems += [
        f"RL117 with share_prefix all agents are given the same conversation; leave out the view of {name!r}"
        for name, seat in seats.items()
        if name in views or seat.views
    ]
    layout = shared(agents, list(seats), {name: seat.specs for name, seat in seats.items()})
    return {name: replace(seat, shared=layout) for name, seat in seats.items()}


def _voices(agents: Sequence[Agent], problems: list[str]) -> dict[str, tuple[ChatClient, ...]]:
    """Who speaks for each agent: its client or clients, or itself, if it is of a kind that does.

    Agents that name the same model share a client, and with it its connections.
    """
    by_model: dict[str, ChatClient | None] = {}
    voices: dict[str, tuple[ChatClient, ...]] = {}
    for agent in agents:
        speaks_itself = agent.client is None and hasattr(agent, "stream")
        given = [cast("ChatClient", agent)] if speaks_itself else clients_of(agent)
        for each in given:
            if isinstance(each, str) and each not in by_model:
                by_model[each] = _voice(agent.name, each, problems)
        found = [by_model[each] if isinstance(each, str) else each for each in given]
        voices[agent.name] = tuple(each for each in found if each is not None)
    return voices


def clients_of(agent: Agent) -> Sequence[ChatClient | str]:
    """The clients an agent was given, in the order they are asked."""
    if agent.client is None:
        return ()
    return agent.client if isinstance(agent.client, tuple) else (cast("ChatClient | str", agent.client),)


def _voice(agent: str, model: str, problems: list[str]) -> ChatClient | None:
    try:
        return as_client(model)
    except UsageError as error:
        problems.append(f"RL115 the client of {agent!r}: {error}")
        return None


def _own_tools(agent: Agent, taken: set[str], problems: list[str]) -> dict[str, Tool]:
    tools: dict[str, Tool] = {}
    for own in map(as_tool, agent.tools):
        if own.name in tools:
            problems.append(f"RL109 agent {agent.name!r} has two tools called {own.name!r}")
        elif own.name in taken:
            problems.append(
                f"RL109 agent {agent.name!r} has a tool called {own.name!r}, which is the name of a handoff"
            )
        tools[own.name] = own
    return tools


def _output(agent: Agent, problems: list[str]) -> Output | None:
    if agent.output_type is None:
        return None
    try:
        return Output.of(agent.output_type)
    except BuildError as error:
        problems.append(f"RL118 {agent.output_type!r} cannot be the output of {agent.name!r}: {error}")
        return None


def purpose(edge: Edge, target: Agent) -> str:
    """What the source is told the target is for; empty: nothing but its name."""
    return edge.description or target.description


def _shown(edge: Edge, target: Agent) -> str:
    return f"Hand the conversation over to {target.name}: {purpose(edge, target) or target.name}"


def _payload_tool(name: str, payload: type[Any], problems: list[str]) -> Tool | None:
    """A handoff's arguments as those of a function, so that they are shown and checked as any tool's are."""

    def handoff(payload: object, reason: Annotated[str, WHY] = "") -> None:
        del payload, reason

    handoff.__annotations__["payload"] = payload
    try:
        return tool(handoff, name=name)
    except (BuildError, LookupError, TypeError) as error:
        problems.append(
            f"RL110 {payload!r} cannot be the payload of {name}: it has no JSON Schema ({_without_codes(error)})"
        )
        return None


def payload_type(checks: Tool) -> type[Any]:
    """The type whose values `Way.payload` lets pass."""
    return cast("type[Any]", checks.function.__annotations__["payload"])


def _without_codes(error: Exception) -> str:
    """What is wrong, as a part of a problem that has a code itself."""
    return re.sub(r"^RL\d+ ", "", str(error), flags=re.MULTILINE)
