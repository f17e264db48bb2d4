"""A builder of graphs: agents and functions as nodes, and edges that say where what they came to goes."""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import UnionType
from typing import Any, NamedTuple, Self, TypeAlias, Union, get_args, get_origin

from relayline.agent import Agent, Member
from relayline.assembled import TeamBuilder
from relayline.declared import participants, seats
from relayline.errors import ConditionError
from relayline.executors import FunctionAgent
from relayline.machine.graph import Graph
from relayline.machine.state import State, Turn
from relayline.machine.topology import Edge
from relayline.messages import Message
from relayline.runtime.perform import Choose
from relayline.runtime.seat import Seat
from relayline.workflow import Workflow

Node: TypeAlias = Member | Callable[..., Any]
"""An agent, a person or a function."""

Test: TypeAlias = Callable[[Any], bool | Awaitable[bool]]
"""Whether an edge is taken, given what its source came to: a function's value, an agent's words or its output."""

Selection: TypeAlias = Callable[[Any, list[str]], Sequence[str] | Awaitable[Sequence[str]]]
"""The names of those that what a node came to goes to, of the names there are."""


@dataclass(frozen=True, slots=True)
class Case:
    """Where it goes if ``condition`` holds, and none before it does."""

    condition: Test
    target: Node


@dataclass(frozen=True, slots=True)
class Default:
    """Where it goes if no case holds."""

    target: Node


class _Choice(NamedTuple):
    """One question about what ``source`` came to. ``first``: whether only the first that holds counts."""

    source: str
    tests: tuple[tuple[Test | None, str], ...] = ()
    select: Selection | None = None
    first: bool = False


MAX_TURNS = 100
"""How many turns one message of the user may take, if nothing else is said: a circle that never ends does."""


class WorkflowBuilder(TeamBuilder):
    """A graph whose nodes are agents, people and functions.

    When a node is done, what it came to goes along the edges from it: along all of them, or those whose condition
    holds. What runs side by side does not hear of one another; what is said joins the conversation where the ways meet.
    A node without an edge that is taken is an end; ``result.outputs`` has what the ends came to. Circles are fine:
    ``max_turns`` is how many turns one message of the user may take.

    ``start_executor``: who takes what the user says.
    """

    def __init__(self, *, start_executor: Node, name: str = "workflow", max_turns: int | None = MAX_TURNS) -> None:
        super().__init__(name)
        self._nodes: list[Node] = []
        self._edges: list[Edge] = []
        self._choices: list[_Choice] = []
        self._problems: list[str] = []
        self._turns = max_turns
        self._start = self._name_of(start_executor)

    def add_edge(self, source: Node, target: Node, condition: Test | None = None) -> Self:
        """From ``source`` to ``target``, if the ``condition`` holds: a function of what ``source`` came to, or none."""
        one, other = self._name_of(source), self._name_of(target)
        if condition is not None:
            self._choices.append(_Choice(one, ((condition, other),)))
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
        other = self._name_of(target)
        for source in sources:
            self._add(Edge(self._name_of(source), other, always=True, joins=True))
        return self

    def add_switch_case_edge_group(self, source: Node, cases: Sequence[Case | Default]) -> Self:
        """From ``source`` to the first whose condition holds; a `Default`, if there is one, is the last."""
        one = self._name_of(source)
        if any(isinstance(each, Default) for each in cases[:-1]) or not cases:
            self._problems.append(
                f"RL153 the cases of {one!r} end with their one Default; what comes after is never met"
            )
        tests = [(each.condition if isinstance(each, Case) else None, self._name_of(each.target)) for each in cases]
        self._choices.append(_Choice(one, tuple(tests), first=True))
        return self._add(*(_switched(one, name, tests) for name in dict.fromkeys(n for _, n in tests)))

    def add_multi_selection_edge_group(self, source: Node, targets: Sequence[Node], selection_func: Selection) -> Self:
        """From ``source`` to those of ``targets`` that ``selection_func`` names, given the value and all the names."""
        one, names = self._name_of(source), [self._name_of(each) for each in targets]
        self._choices.append(_Choice(one, tuple((None, name) for name in names), selection_func))
        told = f"if {called} selects it" if (called := _called(selection_func)) else "if selected"
        return self._add(*(Edge(one, name, told, always=True, guarded=True) for name in names))

    def build(self) -> Workflow:
        """The workflow.

        Raises:
            BuildError: with every problem of the declaration, not just the first.
        """
        problems = list(self._problems)
        agents = participants(self._nodes, problems)
        if self._turns is not None and (type(self._turns) is not int or self._turns < 1):
            problems.append(f"RL108 max_turns is {self._turns!r}; it is a number of turns, 1 or more, or None")
        if not problems:
            problems += _odd_edges(self._start, agents, self._edges)
        sat = seats(agents, (), {}, problems) if not problems else {}
        waiting = {edge.target for edge in self._edges if edge.joins}
        sat = {name: replace(seat, many=name in waiting) for name, seat in sat.items()}
        names = tuple(agent.name for agent in agents)
        pattern = Graph((self._start,), names, tuple(self._edges) if not problems else (), self._turns)
        choose = _chooser(self._choices, sat)
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

    def _name_of(self, node: Node) -> str:
        """The node's name; it is a node of the graph from here on."""
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
    yield from (f"RL152 no way leads from {start!r} to {name!r}" for name in by_name if name not in reached)
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


def _chooser(choices: Sequence[_Choice], sat: dict[str, Seat]) -> Choose:
    async def choose(state: State, turn: Turn | None) -> frozenset[str]:
        ended = turn and (state.ended.get(turn.number) or state.past)
        if turn is None or not ended or ended.failed:
            return frozenset()
        value = _value(sat[turn.agent], ended.last)
        found: set[str] = set()
        for choice in choices:
            if choice.source == turn.agent:
                found |= await _chosen(choice, value)
        return frozenset(found)

    return choose


def _value(seat: Seat, last: Message | None) -> Any:
    text = last.text if last else ""
    if seat.function is not None:
        return seat.function.value(text)
    return seat.output.read(text)[0] if seat.output else text


async def _chosen(choice: _Choice, value: Any) -> set[str]:
    names = [name for _, name in choice.tests]
    found: set[str] = set()
    try:
        if choice.select is not None:
            said = choice.select(value, names)
            found = set(await said if inspect.isawaitable(said) else said)
        for test, name in () if choice.select is not None else choice.tests:
            holds = True if test is None else test(value)
            if await holds if inspect.isawaitable(holds) else holds:
                found.add(name)
                if choice.first:
                    break
    except Exception as error:
        raise ConditionError(f"a condition on the edges from {choice.source!r} failed: {error}") from error
    if odd := found - set(names):
        raise ConditionError(f"the selection from {choice.source!r} named {min(odd)!r}; there are: {', '.join(names)}")
    return found
