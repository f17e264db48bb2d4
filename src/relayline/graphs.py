"""A builder of graphs: agents and functions as nodes, and edges that say where what they came to goes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import UnionType
from typing import Any, Self, TypeAlias, Union, get_args, get_origin

from relayline.agent import Agent, Member
from relayline.assembled import TeamBuilder
from relayline.choices import Choice, Choices, Selection, Test
from relayline.declared import named, participants, seats
from relayline.executors import FunctionAgent
from relayline.machine.graph import Graph
from relayline.machine.topology import Edge
from relayline.messages import Message
from relayline.workflow import TeamAgent, Workflow

Node: TypeAlias = Member | Callable[..., Any] | str
"""An agent, a person or a function; or the name of one of the ``participants``."""


@dataclass(frozen=True, slots=True)
class Case:
    """Where it goes if ``condition`` holds, and none before it does."""

    condition: Test
    target: Node


@dataclass(frozen=True, slots=True)
class Default:
    """Where it goes if no case holds."""

    target: Node


MAX_TURNS = 100
"""How many turns one message of the user may take, if nothing else is said: a circle that never ends does."""


class WorkflowBuilder(TeamBuilder):
    """A graph whose nodes are agents, people and functions.

    When a node is done, what it came to goes along the edges from it: along all of them, or those whose condition
    holds. What runs side by side does not hear of one another; what is said joins the conversation where the ways meet.
    A node without an edge that is taken is an end; ``result.outputs`` has what the ends came to. Circles are fine:
    ``max_turns`` is how many turns one message of the user may take.

    ``start_executor``: who takes what the user says. ``participants``: the nodes, if edges are to call them by their
    names; whoever an edge mentions is one as well.
    """

    def __init__(
        self,
        *,
        start_executor: Node,
        participants: Sequence[Node] = (),
        name: str = "workflow",
        max_turns: int | None = MAX_TURNS,
    ) -> None:
        super().__init__(name)
        self._nodes: list[Node] = [*participants]
        self._called: dict[str, str] = {}
        self._edges: list[Edge] = []
        self._choices: list[Choice] = []
        self._problems: list[str] = []
        self._turns = max_turns
        self._start = self._name_of(start_executor, "start_executor")

    def add_edge(self, source: Node, target: Node, condition: Test | None = None) -> Self:
        """From ``source`` to ``target``, if the ``condition`` holds: a function of what ``source`` came to, or none."""
        one, other = self._name_of(source, "add_edge"), self._name_of(target, "add_edge")
        if condition is not None:
            self._choices.append(Choice(one, ((condition, other),)))
        return self._add(Edge(one, other, _if(condition), always=True, guarded=condition is not None))

    def add_chain(self, nodes: Sequence[Node]) -> Self:
        """One after the other."""
        for source, target in pairwise(nodes):
            self.add_edge(source, target)
        return self

    def add_fan_out_edges(self, source: Node, targets: Sequence[Node]) -> Self:
        """From ``source`` to all ``targets``, at once."""
        for target in targets:
            self.add_edge(source, target)
        return self

    def add_fan_in_edges(self, sources: Sequence[Node], target: Node) -> Self:
        """From ``sources`` to ``target``, which waits for all of them: a function is given the list, in this order."""
        other = self._name_of(target, "add_fan_in_edges")
        for source in sources:
            self._add(Edge(self._name_of(source, "add_fan_in_edges"), other, always=True, joins=True))
        return self

    def add_switch_case_edge_group(self, source: Node, cases: Sequence[Case | Default]) -> Self:
        """From ``source`` to the first whose condition holds; a `Default`, if there is one, is the last."""
        where = "add_switch_case_edge_group"
        one = self._name_of(source, where)
        if any(isinstance(each, Default) for each in cases[:-1]) or not cases:
            self._problems.append(
                f"RL153 the cases of {one!r} end with their one Default; what comes after is never met"
            )
        tests = [
            (each.condition if isinstance(each, Case) else None, self._name_of(each.target, where)) for each in cases
        ]
        choice = Choice(one, tuple(tests), first=True)
        self._choices.append(choice)
        return self._add(*(_switched(one, name, tests) for name in choice.targets))

    def add_multi_selection_edge_group(self, source: Node, targets: Sequence[Node], selection_func: Selection) -> Self:
        """From ``source`` to those of ``targets`` that ``selection_func`` names, given the value and all the names."""
        where = "add_multi_selection_edge_group"
        one, names = self._name_of(source, where), [self._name_of(each, where) for each in targets]
        if not names:
            self._problems.append(f"RL107 add_multi_selection_edge_group from {one!r} names no target")
        self._choices.append(Choice(one, tuple((None, name) for name in names), selection_func))
        told = f"if {called} selects it" if (called := _called(selection_func)) else "if selected"
        return self._add(*(Edge(one, name, told, always=True, guarded=True) for name in names))

    def build(self) -> Workflow:
        """The workflow.

        Raises:
            BuildError: with every problem of the declaration, not just the first.
        """
        problems = list(self._problems)
        agents = participants(self._nodes, problems)
        for name, where in self._called.items():
            named(name, [agent.name for agent in agents], where, problems)
        if self._turns is not None and (type(self._turns) is not int or self._turns < 1):
            problems.append(f"RL108 max_turns is {self._turns!r}; it is a number of turns, 1 or more, or None")
        if not problems:
            problems += _odd_edges(self._start, agents, self._edges)
        sat = seats(agents, (), {}, problems) if not problems else {}
        waiting = {edge.target for edge in self._edges if edge.joins}
        sat = {name: replace(seat, many=name in waiting) for name, seat in sat.items()}
        names = tuple(agent.name for agent in agents)
        pattern = Graph((self._start,), names, tuple(self._edges) if not problems else (), self._turns)
        teams = [each.workflow for each in agents if isinstance(each, TeamAgent)]
        inner = {name: seat for each in teams for name, seat in each.seats.items()}
        choose = Choices(tuple(self._choices), {**inner, **sat})
        return self._assemble(agents, pattern, sat, problems, self._start, pattern.edges, choose)

    def _add(self, *edges: Edge) -> Self:
        for edge in edges:
            if any((edge.source, edge.target) == (each.source, each.target) for each in self._edges):
                self._problems.append(
                    f"RL150 the edge from {edge.source!r} to {edge.target!r} is there twice; keep one"
                )
            else:
                self._edges.append(edge)
        return self

    def _name_of(self, node: Node, where: str) -> str:
        """The node's name; it is a node of the graph from here on."""
        if isinstance(node, str):
            self._called.setdefault(node, where)
            return node
        if node not in self._nodes:
            self._nodes.append(node)
        return str(getattr(node, "name", getattr(node, "__name__", node)))


def _called(function: object) -> str:
    """What a function is called, if it is called anything."""
    name = getattr(function, "__name__", "")
    return "" if name == "<lambda>" else str(name)


def _if(test: object) -> str:
    return f"if {called}" if (called := _called(test)) else ""


def _switched(source: str, target: str, tests: Sequence[tuple[Test | None, str]]) -> Edge:
    """The edge to one target of a switch, with the cases that lead to it."""
    cases: list[str] = []
    for number, (test, name) in enumerate(tests, 1):
        if name == target:
            told = f"case {number}: {called}" if (called := _called(test)) else f"case {number}"
            cases.append("otherwise" if test is None else told)
    default = (None, target) in tests
    return Edge(source, target, "; ".join(cases), always=True, guarded=True, default=default)


def _odd_edges(start: str, agents: Sequence[Agent], edges: Sequence[Edge]) -> Iterator[str]:
    """What cannot be meant: nodes nobody leads to, two kinds of ways into one, and types that do not fit."""
    by_name = {agent.name: agent for agent in agents}
    reached, waiting = set[str](), [start]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [edge.target for edge in edges if edge.source == name]
    yield from (f"RL152 no way leads to {name!r}; it begins with {start!r}" for name in by_name if name not in reached)
    for name in by_name:
        into = [edge for edge in edges if edge.target == name]
        if any(edge.joins for edge in into) and not all(edge.joins for edge in into):
            plain = next(edge.source for edge in into if not edge.joins)
            yield f"RL154 {name!r} waits for several, and {plain!r} leads to it by itself; let it wait for that as well"
    for edge in edges:
        given, taken = _gives(by_name[edge.source]), _takes(by_name[edge.target])
        if edge.joins:
            taken = _item(taken)
        if taken is None or not _fits(given, taken):
            wanted = _named(_takes(by_name[edge.target]))
            yield (
                f"RL151 {edge.source!r} gives {_named(given)}, and {edge.target!r} takes {wanted}"
                + (", one list of what all it waits for give" if edge.joins else "")
                + (f"; give {edge.source!r} an output_type" if given is str and edge.source in by_name else "")
            )


def _gives(agent: Agent) -> Any:
    if isinstance(agent, FunctionAgent) and agent.function:
        return agent.function.gives
    return agent.output_type or str


def _takes(agent: Agent) -> Any:
    return agent.function.takes if isinstance(agent, FunctionAgent) and agent.function else Any


def _item(kind: Any) -> Any:
    """What is in a list of this type; None: it is no list."""
    if kind is Any or kind is str:
        return Any
    return (*get_args(kind), Any)[0] if get_origin(kind) in (list, Sequence) or kind is list else None


def _fits(given: Any, taken: Any) -> bool:
    """Whether every value of one type is one of the other, as far as can be said before there is one."""
    if Any in (given, taken) or taken in (str, Message, object) or given == taken:
        return True
    if get_args(taken) == (Message,):
        return True
    if get_origin(taken) in (Union, UnionType):
        return any(_fits(given, each) for each in get_args(taken))
    if get_origin(given) in (Union, UnionType):
        return all(_fits(each, taken) for each in get_args(given))
    one, other = get_origin(given) or given, get_origin(taken) or taken
    if not isinstance(one, type) or not isinstance(other, type):
        return False
    return (issubclass(one, other) or (one is int and other is float)) and (
        not get_args(given) or not get_args(taken) or all(map(_fits, get_args(given), get_args(taken)))
    )


def _named(kind: Any) -> str:
    return str(kind) if get_args(kind) or not hasattr(kind, "__name__") else kind.__name__
