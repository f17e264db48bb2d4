"""Builders of teams whose order is drawn: one after the other, or all at once."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal, Self, TypeAlias, get_args

from relayline.agent import Agent, HumanAgent, Member, Named
from relayline.assembled import TeamBuilder
from relayline.declared import all_named, participants, seats
from relayline.executors import FunctionAgent
from relayline.machine.graph import Graph
from relayline.machine.topology import Edge
from relayline.views import View, previous
from relayline.workflow import TeamAgent, Workflow

OnFailure: TypeAlias = Literal["fail", "partial"]
"""``fail``: the run fails, and can be retried. ``partial``: the others go on, and what failed is named."""


class _Reviewed(TeamBuilder):
    """A team of which some are listened to before it goes on."""

    def __init__(self, name: str, members: Sequence[Member | Callable[..., Any]]) -> None:
        super().__init__(name)
        self._participants = tuple(members)
        self._reviewed: Sequence[Named] | None = ()

    def participants(self, participants: Sequence[Member | Callable[..., Any]]) -> Self:
        """The team, replacing what was given before."""
        self._participants = tuple(participants)
        return self

    def with_request_info(self, agents: Sequence[Named] | None = None) -> Self:
        """Pause after each of ``agents``, by default after every one: a person lets it go on, or says what to change.

        The pause is a ``request_info`` event whose data is an `AgentReviewRequest`. After feedback the agent speaks
        again, and is looked at again. Functions are not paused after.
        """
        self._reviewed = agents
        return self

    def _heard(self, agents: Sequence[Agent], problems: list[str]) -> frozenset[str]:
        able = reviewable(agents)
        if self._reviewed is None:
            return frozenset(able)
        return frozenset(all_named(self._reviewed, able, "with_request_info", problems))


def reviewable(agents: Sequence[Agent]) -> list[str]:
    """The names of those whose words a person can look at before the team goes on: agents with a model."""
    return [each.name for each in agents if not isinstance(each, FunctionAgent | HumanAgent | TeamAgent)]


class SequentialBuilder(_Reviewed):
    """A team whose members have their turns one after the other, each on all that was said before.

    ``participants``: agents, people and functions (`executor`), in order; the last one's words are the result.
    ``chain_only_agent_responses``: each is given only what the one before it said, not the whole conversation.
    """

    def __init__(
        self,
        *,
        participants: Sequence[Member | Callable[..., Any]] = (),
        name: str = "sequential",
        chain_only_agent_responses: bool = False,
    ) -> None:
        super().__init__(name, participants)
        self._chained = chain_only_agent_responses

    def build(self) -> Workflow:
        """The workflow.

        Raises:
            BuildError: with every problem of the declaration, not just the first.
        """
        problems: list[str] = []
        agents = participants(self._participants, problems)
        names = [agent.name for agent in agents]
        reviewed = self._heard(agents, problems)
        views: dict[str, View] = dict.fromkeys(names, previous) if self._chained else {}
        sat = seats(agents, (), views, problems)
        edges = tuple(Edge(one, other, always=True) for one, other in pairwise(names))
        pattern = Graph(tuple(names[:1]), tuple(names), edges if not problems else ())
        start = names[0] if names else ""
        return self._assemble(agents, pattern, sat, problems, start, pattern.edges, reviewed=reviewed)


class ConcurrentBuilder(_Reviewed):
    """A team whose members all have their turns at once, on the same conversation, and do not hear each other.

    What they say joins the conversation when the last is done, in declared order; ``result.outputs`` has the last words
    of each. ``on_failure``: what happens when one of them fails.
    """

    def __init__(
        self,
        *,
        participants: Sequence[Member | Callable[..., Any]] = (),
        name: str = "concurrent",
        on_failure: OnFailure = "fail",
    ) -> None:
        super().__init__(name, participants)
        self._on_failure = on_failure
        self._aggregator: Member | Callable[..., Any] | Callable[..., Any] | None = None

    def with_aggregator(self, aggregator: Member | Callable[..., Any]) -> Self:
        """Who makes one result of all: an agent, who reads what was said, or a function of a list.

        The list has the last words of each, in declared order: as texts (``list[str]``), as messages
        (``list[Message]``), or as values, if they said JSON.
        """
        self._aggregator = aggregator
        return self

    def build(self) -> Workflow:
        """The workflow.

        Raises:
            BuildError: with every problem of the declaration, not just the first.
        """
        problems: list[str] = []
        if self._on_failure not in get_args(OnFailure):
            problems.append(f"RL103 on_failure is {self._on_failure!r}; allowed: {', '.join(get_args(OnFailure))}")
        last = () if self._aggregator is None else (self._aggregator,)
        agents = participants([*self._participants, *last], problems)
        names = [agent.name for agent in agents]
        several = names[: len(names) - len(last)]
        if not several and not problems:
            problems.append("RL105 a team needs at least one participant: ConcurrentBuilder(participants=[...])")
        reviewed = self._heard(agents, problems)
        sat = seats(agents, (), {}, problems)
        edges: tuple[Edge, ...] = ()
        if last and not problems:
            edges = tuple(Edge(each, names[-1], always=True, joins=True) for each in several)
            sat[names[-1]] = replace(sat[names[-1]], many=True)
        pattern = Graph(tuple(several), tuple(names), edges, partial=self._on_failure == "partial")
        start = names[0] if names else ""
        return self._assemble(agents, pattern, sat, problems, start, pattern.edges, reviewed=reviewed)
