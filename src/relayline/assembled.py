"""What the builders of all patterns have in common: a store, middleware, budgets, and the way to a workflow."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import combinations, permutations
from typing import Any, NamedTuple, Self, cast, get_args

from relayline.agent import Agent, HumanAgent
from relayline.declared import named
from relayline.errors import BuildError
from relayline.events import Ask, Roster
from relayline.executors import FunctionAgent
from relayline.journal.store import InMemoryCheckpointStorage, Store
from relayline.machine.decide import Machine
from relayline.machine.limits import Budget
from relayline.machine.patterns import Pattern
from relayline.machine.roster import OnChange, Upgrades, digest, fingerprint, roster, short
from relayline.machine.topology import Edge, ToolPolicy
from relayline.messages import JSON
from relayline.middleware import Middleware
from relayline.runtime.perform import Choose, Condition, Performer
from relayline.runtime.pool import ConcurrentInput
from relayline.runtime.seat import Seat
from relayline.tools import Tool
from relayline.workflow import TeamAgent, Workflow

Duration = float | timedelta

LONGEST = 36_525 * 86_400
"""Seconds, a hundred years: all that clocks, stores and engines can count to. What takes longer is for ever."""


class TeamBuilder:
    """What can be said of a team whatever its pattern is. Use one of its kinds, such as `SequentialBuilder`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._middleware: tuple[Middleware, ...] = ()
        self._budget: tuple[int | None, int | None, float | None] = (None, None, None)
        self._expiry: dict[Ask, Duration | None] = {}
        self._condition: Condition | None = None
        self._store: Store | None = None
        self._concurrent: ConcurrentInput = "queue"
        self._upgrades: tuple[OnChange, Mapping[str, str], Mapping[str, str]] = ("continue", {}, {})

    def with_budget(self, *, turns: int | None = None, tokens: int | None = None, seconds: float | None = None) -> Self:
        """What one message of the user may cost: ``turns`` of agents, ``tokens`` of their models in and out, and
        ``seconds`` a run.

        When one runs out the run ends with ``result.stopped``; nothing is lost, and running the session again goes on
        with as much again. Tokens are known once a reply is there, so the last one may exceed them. A tool that is
        running when the seconds are over is cut off as by a crash.

        In a team within a team the budget is for each of its turns, the seconds for what it has of a run; what is
        within counts for the team around it as well. ``result.stopped`` names the team whose budget ran out.
        """
        self._budget = (turns, tokens, seconds)
        return self

    def with_request_expiry(
        self,
        *,
        approvals: Duration | None = None,
        questions: Duration | None = None,
        people: Duration | None = None,
        reviews: Duration | None = None,
        functions: Duration | None = None,
    ) -> Self:
        """How long people have to answer, in seconds or as a `timedelta`; None, the default: for ever.

        It is looked at when the session is next run. An approval that comes too late counts as refused. A question of
        an agent to the user ends the conversation, until the user says something. The turn of a `HumanAgent` goes back
        to whoever handed over. What nobody reviewed (``with_request_info``), or a function wants to know
        (``context.request_info``), ends the conversation as well; or, where the others go on without one that fails,
        the function's turn.

        In a team within a team what that says counts, and what it does not say is as in the team around it.
        """
        self._expiry = {
            "approval": approvals,
            "user_input": questions,
            "reply": people,
            "review": reviews,
            "info": functions,
        }
        return self

    def with_middleware(self, *middleware: Middleware) -> Self:
        """What is done around every effect, the outermost first: `relayline.middleware`, or functions of yours.

        Effects of teams within the team count as its own, under their path (``desk/refunds``); the middleware of those
        is inside of this.
        """
        self._middleware = middleware
        return self

    def with_checkpointing(self, storage: Store) -> Self:
        """Where the conversations are kept. Default: in memory."""
        self._store = storage
        return self

    def with_upgrades(
        self,
        *,
        on_change: OnChange = "continue",
        renamed: Mapping[str, str] | None = None,
        renamed_tools: Mapping[str, str] | None = None,
    ) -> Self:
        """How sessions are taken that were begun with this team as it was before: other agents, tools or handoffs.

        ``on_change``: ``continue`` lets them go on; what is gone is told and never guessed. ``refuse`` raises
        `UpgradeRefused`, which says what differs. ``renamed``, ``renamed_tools``: what agents and tools were called
        before, old name to new; also of agents that were removed, to whoever does their work now. What is only renamed
        is never refused. `Workflow.affected_sessions` says beforehand what would become of each.
        """
        self._upgrades = (on_change, renamed or {}, renamed_tools or {})
        return self

    def with_concurrent_input(self, policy: ConcurrentInput) -> Self:
        """What becomes of a message to a session that is at work on another.

        ``queue``, the default: it waits its turn. ``reject``: it gets a `SessionBusy` at once. ``interrupt``: what goes
        on is cut off, as by closing its run, which ends with `RunClosed`; then the message is heard. Answers to
        requests and resumptions always wait. Between processes the store decides who was first; the other is heard
        after.
        """
        self._concurrent = policy
        return self

    def _common(self, problems: list[str]) -> None:
        """The problems of what all builders take."""
        if self._condition is not None and not callable(self._condition):
            problems.append(
                f"RL103 with_termination_condition takes a function of the transcript; got {self._condition!r}"
            )
        if self._store is not None and not hasattr(self._store, "append"):
            problems.append(
                f"RL103 with_checkpointing takes a store, such as InMemoryCheckpointStorage(); got {self._store!r}"
            )
        if self._concurrent not in get_args(ConcurrentInput):
            allowed = ", ".join(get_args(ConcurrentInput))
            problems.append(f"RL103 the policy is {self._concurrent!r} in with_concurrent_input; allowed: {allowed}")
        problems += [f"RL103 middleware is a function; got {each!r}" for each in self._middleware if not callable(each)]

    def _spending(self, problems: list[str]) -> Budget:
        turns, tokens, seconds = self._budget
        for what, amount in (("turns", turns), ("tokens", tokens)):
            if amount is not None and (type(amount) is not int or amount < 1):
                problems.append(f"RL108 the budget of {what} is {amount!r}; it is a whole number, 1 or more, or None")
        if seconds is not None and not _countable(seconds):
            problems.append(
                f"RL108 the budget of seconds is {seconds!r}; it is a number above 0, {LONGEST} at most, or None"
            )
        return Budget(turns, tokens, seconds)

    def _taken(self, names: Sequence[str], tools: Collection[str], problems: list[str]) -> Upgrades:
        on_change, renamed, renamed_tools = self._upgrades
        if on_change not in get_args(OnChange):
            problems.append(
                f"RL103 on_change is {on_change!r} in with_upgrades; allowed: {', '.join(get_args(OnChange))}"
            )
        for old, new in renamed.items():
            named(new, names, "with_upgrades", problems)
            if old in names:
                problems.append(f"RL119 {old!r} is renamed in with_upgrades, and is still in the team; leave one out")
        for old, new in renamed_tools.items():
            if new not in tools:
                problems.append(f"RL119 {old!r} is renamed to {new!r} in with_upgrades, and nobody has such a tool")
            if old in tools:
                problems.append(f"RL119 {old!r} is renamed in with_upgrades, and is still a tool; leave one out")
        return Upgrades(on_change, dict(renamed), dict(renamed_tools))

    def _expires(self, problems: list[str]) -> dict[Ask, float]:
        found: dict[Ask, float] = {}
        for ask, given in self._expiry.items():
            seconds = given.total_seconds() if isinstance(given, timedelta) else given
            if seconds is not None and not _countable(seconds):
                problems.append(
                    f"RL108 a request expires after {given!r}; it is seconds or a timedelta above 0, up to {LONGEST} "
                    "seconds (a hundred years), or None"
                )
            elif seconds is not None:
                found[ask] = seconds
        return found

    def _assemble(
        self,
        agents: Sequence[Agent],
        pattern: Pattern,
        seats: Mapping[str, Seat],
        problems: list[str],
        start: str,
        edges: Sequence[Edge] = (),
        choose: Choose | None = None,
        **rules: Any,
    ) -> Workflow:
        """The workflow, of what the kind of builder made. ``start``, ``edges``: as journals remember them.

        Raises:
            BuildError: if there are problems, those found here included.
        """
        self._common(problems)
        teams = [each for each in agents if isinstance(each, TeamAgent)]
        problems += _same_names(agents)
        problems += _names_like_paths(agents)
        budget, expires = self._spending(problems), self._expires(problems)
        tools = {name: {key: _policy(tool) for key, tool in seat.tools.items()} for name, seat in seats.items()}
        names = [agent.name for agent in agents]
        used = {key for each in tools.values() for key in each}
        upgrades = self._taken(names, used, problems)
        within = _within(agents)
        problems += _mixed_up([_Called(self._name, {*names}, used, upgrades), *within] if within else [])
        if problems:
            raise BuildError(*problems)
        people = frozenset(agent.name for agent in agents if isinstance(agent, HumanAgent))
        contracts = {
            (way.edge.source, way.edge.target): _contract(way.payload)
            for seat in seats.values()
            for way in seat.ways.values()
            if way.payload
        }
        inner = {each.name: each.workflow.machine.roster or Roster({}) for each in teams}
        whole = roster(tools, people, edges, start, contracts, inner)
        machine = Machine(
            name=self._name,
            pattern=pattern,
            policies=tools,
            fingerprint=fingerprint(whole),
            condition=self._condition is not None,
            budget=budget,
            people=people,
            functions={
                agent.name: ToolPolicy(repeatable=agent.function.repeatable)
                for agent in agents
                if isinstance(agent, FunctionAgent) and agent.function
            },
            expires=expires,
            roster=short(whole),
            upgrades=upgrades,
            teams={each.name: each.workflow.machine for each in teams},
            **rules,
        )
        store = self._store or InMemoryCheckpointStorage()
        performer = Performer(seats, self._condition, choose, {each.name: each.team for each in teams})
        return Workflow(
            self._name, tuple(agents), pattern, machine, performer, store, (), self._middleware, self._concurrent
        )


def _names(agents: Sequence[Agent]) -> Iterator[str]:
    for each in agents:
        yield each.name
        if isinstance(each, TeamAgent):
            yield from _names(each.workflow.agents)


def _same_names(agents: Sequence[Agent]) -> Iterator[str]:
    """Who is called alike in a team and in one within it: in one conversation, names tell who spoke."""
    if any(isinstance(each, TeamAgent) for each in agents):
        for name, times in Counter(_names(agents)).items():
            if times > 1 and sum(each.name == name for each in agents) < times:
                yield f"RL144 {name!r} is the name of several in the teams within this team; names must differ"


def _names_like_paths(agents: Sequence[Agent]) -> Iterator[str]:
    """Whose name reads as the path of somebody within another: requests, events and failures are told by it."""
    names = dict.fromkeys(_names(agents))
    for name in names:
        before = (name[:end] for end, letter in enumerate(name) if letter == "/")
        if outer := next((each for each in before if each in names), None):
            yield f"RL145 {name!r} reads as somebody within {outer!r}; no name may begin with another and '/'"


class _Called(NamedTuple):
    """What is called how in one of the teams of a tree, and was before."""

    team: str
    agents: Collection[str]
    tools: Collection[str]
    upgrades: Upgrades


def _within(agents: Sequence[Agent]) -> list[_Called]:
    found: list[_Called] = []
    for each in agents:
        if isinstance(each, TeamAgent):
            machine = each.workflow.machine
            tools = {key for own in machine.policies.values() for key in own}
            found += [_Called(each.name, {*machine.policies}, tools, machine.upgrades), *_within(each.workflow.agents)]
    return found


def _mixed_up(teams: Sequence[_Called]) -> Iterator[str]:
    """Old names that are not one team's alone: a conversation is renamed as a whole."""
    for one, other in permutations(teams, 2):
        had = [(old, "an agent", "call that one otherwise") for old in one.upgrades.renamed if old in other.agents]
        had += [(old, "a tool", "rename it there too") for old in one.upgrades.renamed_tools if old in other.tools]
        for old, kind, cure in had:
            yield (
                f"RL119 {old!r} is renamed in with_upgrades of {one.team!r}, and {other.team!r} still has {kind} of "
                f"that name, which would be renamed with it; {cure}, or leave it out"
            )
    for one, other in combinations(teams, 2):
        for mine, theirs in zip(one.upgrades.maps, other.upgrades.maps, strict=True):
            for old in (each for each in mine if theirs.get(each, mine[each]) != mine[each]):
                yield (
                    f"RL119 {old!r} is renamed to {mine[old]!r} in with_upgrades of {one.team!r}, and to "
                    f"{theirs[old]!r} in that of {other.team!r}; in one conversation nobody can tell the two apart, "
                    "so leave one out"
                )


def _countable(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 < number <= LONGEST


def _policy(tool: Tool) -> ToolPolicy:
    return ToolPolicy(tool.approval_mode == "always_require", tool.repeatable, tool.hook is not None)


def _contract(payload: Tool) -> str:
    """A digest of what a handoff has to carry, without the words around it."""
    properties = cast("Mapping[str, JSON]", payload.parameters["properties"])
    return digest([properties["payload"], payload.parameters.get("$defs")])
