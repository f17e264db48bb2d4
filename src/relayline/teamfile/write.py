"""From a workflow to its team's file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from relayline.agent import Agent
from relayline.choices import Choice, Choices
from relayline.declared import payload_type
from relayline.errors import UsageError
from relayline.events import Ask
from relayline.executors import FunctionAgent
from relayline.graphs import MAX_TURNS
from relayline.groupchat import Selecting
from relayline.machine.graph import Graph
from relayline.machine.groupchat import GroupChat
from relayline.machine.limits import Limits
from relayline.machine.patterns import AUTONOMOUS_PROMPT, AUTONOMOUS_TURNS, Autonomy, Handoff
from relayline.machine.topology import Edge, mesh
from relayline.messages import JSON
from relayline.pipelines import reviewable
from relayline.runtime.seat import Seat, Way
from relayline.teamfile import document
from relayline.teamfile.names import Allowed, Anything, Vocabulary
from relayline.teamfile.wording import Wording, present
from relayline.views import previous
from relayline.workflow import TeamAgent, Workflow

EXPIRES: Mapping[Ask, str] = {
    "approval": "approvals",
    "user_input": "questions",
    "reply": "people",
    "review": "reviews",
    "info": "functions",
}


def written(workflow: Workflow, allow: Allowed | None = None) -> str:
    """As `Workflow.to_yaml`."""
    wording = Wording(Anything() if allow is None else Vocabulary(allow))
    team = _Writer(workflow, wording).team()
    wording.problems.extend(
        f"RL309 half a character, as in {each!r:.80}, is no text that a file can have" for each in document.halved(team)
    )
    if wording.problems:
        raise UsageError("\n".join(["the team cannot be written down", *wording.problems]))
    return document.write({"relayline": 1, **team})


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes a team. What is as it is by default is left out."""

    workflow: Workflow
    wording: Wording

    def team(self) -> dict[str, JSON]:
        """The form of the team, whatever its pattern is."""
        match self.workflow.pattern:
            case Handoff() as pattern:
                return self._handoff(pattern)
            case GroupChat() as pattern:
                return self._group_chat(pattern)
            case Graph() as pattern if _in_sequence(pattern):
                return self._sequential()
            case Graph() as pattern if _at_once(pattern):
                return self._concurrent(pattern)
            case Graph() as pattern:
                return self._graph(pattern)
            case other:
                self.wording.problems.append(
                    f"RL309 the team {self.workflow.name!r} has a pattern of its own, {type(other).__name__}, which "
                    "has no form as a file; keep it in Python"
                )
                return {}

    def _head(self, pattern: str, members: Sequence[Agent]) -> dict[str, JSON]:
        participants: list[JSON] = [self._member(agent) for agent in members]
        return {"pattern": pattern, "name": self.workflow.name, "participants": participants}

    def _rules(self) -> dict[str, JSON]:
        """What can be said of a team whatever its pattern is."""
        machine, upgrades = self.workflow.machine, self.workflow.machine.upgrades
        budget = machine.budget
        middleware = [self.wording.name(each, "a middleware") for each in self.workflow.middleware]
        return present(
            budget=present(turns=budget.turns, tokens=budget.tokens, seconds=_seconds(budget.seconds)),
            expiry={EXPIRES[ask]: _seconds(each) for ask, each in machine.expires.items()},
            upgrades=present(
                on_change=None if upgrades.on_change == "continue" else upgrades.on_change,
                renamed=dict(upgrades.renamed),
                renamed_tools=dict(upgrades.renamed_tools),
            ),
            concurrent_input=None if self.workflow.concurrent == "queue" else self.workflow.concurrent,
            middleware=middleware,
        )

    def _termination(self) -> JSON:
        condition = self.workflow.performer.condition
        return None if condition is None else self.wording.condition(condition)

    def _member(self, agent: Agent) -> dict[str, JSON]:
        match agent:
            case FunctionAgent(function=function):
                return {"function": self.wording.name(function, f"the function {agent.name!r}")}
            case TeamAgent(workflow=inner):
                return {
                    **present(name=agent.name if agent.name != inner.name else None),
                    **present(description=agent.description or None),
                    "team": replace(self, workflow=inner).team(),
                }
            case _:
                return self.wording.agent(agent)

    # --- In sequence, at once, in a discussion

    def _sequential(self) -> dict[str, JSON]:
        views = [seat.view for seat in self.workflow.performer.seats.values()]
        return {
            **self._head("sequential", self.workflow.agents),
            **present(chain_only_agent_responses=views == [previous] * len(views) or None),
            **present(request_info=self._reviewed()),
            **self._rules(),
        }

    def _concurrent(self, pattern: Graph) -> dict[str, JSON]:
        several, last = self.workflow.agents[: len(pattern.starts)], self.workflow.agents[len(pattern.starts) :]
        return {
            **self._head("concurrent", several),
            **present(on_failure="partial" if pattern.partial else None),
            **present(aggregator=self._member(last[0]) if last else None),
            **present(request_info=self._reviewed()),
            **self._rules(),
        }

    def _reviewed(self) -> JSON:
        able = reviewable(self.workflow.agents)
        found: list[JSON] = [name for name in able if name in self.workflow.machine.reviewed]
        return True if found and found == able else found

    def _group_chat(self, pattern: GroupChat) -> dict[str, JSON]:
        agents, choose = self.workflow.agents, self.workflow.performer.choose
        select = choose.select if isinstance(choose, Selecting) else None
        named = None if select is None else self.wording.name(select, "the function that selects the next speaker")
        return {
            **self._head("group_chat", agents[: len(pattern.agents)]),
            **present(selection_func=named),
            **present(selector=self._member(agents[-1]) if pattern.selector else None),
            **present(max_rounds=pattern.rounds),
            **present(termination=self._termination()),
            **self._rules(),
        }

    # --- Graphs

    def _graph(self, pattern: Graph) -> dict[str, JSON]:
        choose = self.workflow.performer.choose
        choices = choose.choices if isinstance(choose, Choices) else ()
        turns: dict[str, JSON] = {} if pattern.steps == MAX_TURNS else {"max_turns": pattern.steps}
        return {
            **self._head("graph", self.workflow.agents),
            **present(start=pattern.starts[0] if pattern.starts[0] != pattern.agents[0] else None),
            **present(edges=self._edges(pattern.edges, choices)),
            **turns,
            **self._rules(),
        }

    def _edges(self, edges: Sequence[Edge], choices: Sequence[Choice]) -> list[JSON]:
        """Each group of edges as it was declared: what is guarded by one question is one form."""
        forms: list[dict[str, JSON]] = []
        questions, asked = iter(choices), 0
        for edge in edges:
            if asked:  # its question is written
                asked -= 1
            elif edge.guarded:
                choice = next(questions)
                asked = len(choice.targets) - 1
                forms.append(self._question(choice))
            elif edge.joins:
                _joined(forms, {"from": [edge.source], "to": edge.target}, "from")
            else:
                _joined(forms, {"from": edge.source, "to": edge.target}, "to")
        return [*forms]

    def _question(self, choice: Choice) -> dict[str, JSON]:
        what = f"a condition on the edges from {choice.source!r}"
        if choice.select is not None:
            select = self.wording.name(choice.select, f"the selection from {choice.source!r}")
            return {"from": choice.source, "to": [*choice.targets], "selection_func": select}
        tests = [(None if test is None else self.wording.name(test, what), target) for test, target in choice.tests]
        if not choice.first:
            return {"from": choice.source, "to": tests[0][1], "condition": tests[0][0]}
        cases: list[JSON] = [{"condition": test, "to": target} for test, target in tests if test is not None]
        default = next((target for test, target in tests if test is None), None)
        return {"from": choice.source, "cases": cases, **present(default=default)}

    # --- Handoffs

    def _handoff(self, pattern: Handoff) -> dict[str, JSON]:
        machine, seats = self.workflow.machine, self.workflow.performer.seats
        limits = {"max_hops": machine.limits.hops} if machine.limits.hops != Limits().hops else {}
        members = [{**self._member(agent), **self._seen(agent.name)} for agent in self.workflow.agents]
        return {
            **self._head("handoff", ()),
            "participants": [*members],
            **present(start=pattern.start if pattern.start != pattern.agents[0] else None),
            **present(handoffs=self._handoffs(pattern)),
            **present(return_to_previous=None if pattern.return_to_previous else False),
            **present(autonomous={name: _autonomy(each) for name, each in pattern.autonomous.items()}),
            **present(
                loop_control={
                    **limits,
                    **present(allow_cycles=machine.limits.cycles or None),
                    **present(on_loop=machine.limits.on_loop if machine.limits.on_loop != Limits().on_loop else None),
                    **present(fallback=machine.limits.fallback or None),
                }
            ),
            **present(termination=self._termination()),
            **present(terminal_agents=list(self.workflow.terminal)),
            **present(fallback_agent=machine.rescue or None),
            **present(share_prefix=any(seat.shared for seat in seats.values()) or None),
            **present(repair_announced_handoffs=machine.nudge or None),
            **self._rules(),
        }

    def _seat(self, name: str) -> Seat:
        return self.workflow.performer.seats[name]

    def _seen(self, name: str) -> dict[str, JSON]:
        return present(view=self.wording.view(self._seat(name).view, f"the view of {name!r}"))

    def _handoffs(self, pattern: Handoff) -> list[JSON]:
        forms = [self._edge(edge, self._way(edge)) for edge in pattern.edges]
        if not self._declared(pattern) and all(set(form) == {"from", "to"} for form in forms):
            return []
        joined: list[dict[str, JSON]] = []
        for form in forms:
            _joined(joined, form, "to")
        return [*joined]

    def _declared(self, pattern: Handoff) -> bool:
        """Whether the edges are not those that there are if none is declared."""
        functions = {agent.name for agent in self.workflow.agents if isinstance(agent, FunctionAgent | TeamAgent)}
        usual = tuple(edge for edge in mesh(pattern.agents) if edge.source not in functions)
        # Only who declared edges is warned of somebody without a way in or out, such as a function.
        warned = any(each.startswith(("RL201", "RL202")) for each in self.workflow.warnings)
        return warned or pattern.edges != usual

    def _way(self, edge: Edge) -> Way:
        seat = self._seat(edge.source)
        ways = seat.onward if edge.always else seat.ways.values()
        return next(way for way in ways if way.edge == edge)

    def _edge(self, edge: Edge, way: Way) -> dict[str, JSON]:
        of, wording = f"of the handoff from {edge.source!r} to {edge.target!r}", self.wording
        view = self._seat(edge.target).views.get(edge.source)
        # The default is said here: it differs from the agent's own, or nobody would have given it.
        seen = None if view is None else wording.view(view, f"the view {of}") or "text"
        payload = None if way.payload is None else payload_type(way.payload)
        return {
            "from": edge.source,
            "to": edge.target,
            **present(description=edge.description or None),
            **present(payload=None if payload is None else wording.name(payload, f"the payload {of}")),
            **present(approval="always_require" if edge.approval else None),
            **present(returns=edge.returns if edge.returns != "stay" else None),
            **present(always=edge.always or None),
            **present(when=None if way.when is None else wording.name(way.when, f"the predicate {of}")),
            **present(view=seen),
        }


def _in_sequence(pattern: Graph) -> bool:
    edges = tuple(Edge(one, other, always=True) for one, other in pairwise(pattern.agents))
    return pattern == Graph(pattern.agents[:1], pattern.agents, edges)


def _at_once(pattern: Graph) -> bool:
    several, last = pattern.starts, pattern.agents[len(pattern.starts) :]
    edges = tuple(Edge(each, target, always=True, joins=True) for target in last for each in several)
    return len(last) <= 1 and pattern == Graph(several, (*several, *last), edges, partial=pattern.partial)


def _joined(forms: list[dict[str, JSON]], form: dict[str, JSON], key: str) -> None:
    """Add a form; to the last one, if they differ in nothing but ``key``."""
    before = forms[-1] if forms else {}
    if {**before, key: 0} != {**form, key: 0}:
        forms.append(form)
    else:
        one, other = before[key], form[key]
        before[key] = [*(one if isinstance(one, list) else [one]), *(other if isinstance(other, list) else [other])]


def _autonomy(given: Autonomy) -> dict[str, JSON]:
    return present(
        prompt=given.prompt if given.prompt != AUTONOMOUS_PROMPT else None,
        turns=given.turns if given.turns != AUTONOMOUS_TURNS else None,
    )


def _seconds(given: float | None) -> float | None:
    """Whole seconds without a point, as people write them."""
    return int(given) if given is not None and given == int(given) else given
