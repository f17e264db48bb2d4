"""From a workflow to its team's file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from relayline import views
from relayline.agent import Agent, HumanAgent
from relayline.conditions import Both, Either, MaxMessages, SaidBy, TerminationCondition, TextMentions, Unless
from relayline.declared import payload_type
from relayline.errors import UsageError
from relayline.events import Ask
from relayline.machine import view
from relayline.machine.limits import Limits
from relayline.machine.patterns import AUTONOMOUS_PROMPT, AUTONOMOUS_TURNS, Autonomy, Handoff
from relayline.machine.topology import Edge, mesh
from relayline.messages import JSON
from relayline.runtime.seat import Seat, Way
from relayline.teamfile import document
from relayline.teamfile.names import Allowed, Anything, Refused, Vocabulary
from relayline.views import View
from relayline.workflow import Workflow

SHOWN: Mapping[view.Show, str] = {view.text: "text", view.with_results: "with_results", view.full: "full"}
EXPIRES: Mapping[Ask, str] = {
    "approval": "approvals",
    "user_input": "questions",
    "reply": "people",
    "review": "reviews",
    "info": "functions",
}


def written(workflow: Workflow, allow: Allowed | None = None) -> str:
    """As `Workflow.to_yaml`."""
    writer = _Writer(workflow, Anything() if allow is None else Vocabulary(allow))
    team = writer.team()
    if writer.problems:
        raise UsageError("\n".join(["the team cannot be written down", *writer.problems]))
    return document.write(team)


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes a team; what has no name is a problem."""

    workflow: Workflow
    vocabulary: Vocabulary
    problems: list[str] = field(default_factory=list[str])

    def team(self) -> dict[str, JSON]:
        """The whole file. What is as it is by default is left out."""
        pattern = self.workflow.pattern
        if not isinstance(pattern, Handoff):
            raise UsageError(
                f"the team {self.workflow.name!r} cannot be written down: only those of HandoffBuilder have a form as "
                f"a file, and its pattern is {type(pattern).__name__}; keep it in Python"
            )
        machine, seats = self.workflow.machine, self.workflow.performer.seats
        limits = {"max_hops": machine.limits.hops} if machine.limits.hops != Limits().hops else {}
        return {
            "relayline": 1,
            "pattern": "handoff",
            "name": self.workflow.name,
            "participants": [self._participant(agent) for agent in self.workflow.agents],
            **_present(start=pattern.start if pattern.start != pattern.agents[0] else None),
            **_present(handoffs=self._handoffs(pattern)),
            **_present(return_to_previous=None if pattern.return_to_previous else False),
            **_present(autonomous={name: _autonomy(each) for name, each in pattern.autonomous.items()}),
            **_present(
                loop_control={
                    **limits,
                    **_present(allow_cycles=machine.limits.cycles or None),
                    **_present(on_loop=machine.limits.on_loop if machine.limits.on_loop != Limits().on_loop else None),
                    **_present(fallback=machine.limits.fallback or None),
                }
            ),
            **_present(
                budget=_present(
                    turns=machine.budget.turns, tokens=machine.budget.tokens, seconds=_seconds(machine.budget.seconds)
                )
            ),
            **_present(expiry={EXPIRES[ask]: _seconds(each) for ask, each in machine.expires.items()}),
            **_present(termination=self._termination()),
            **_present(terminal_agents=list(self.workflow.terminal)),
            **_present(fallback_agent=machine.rescue or None),
            **_present(upgrades=self._upgrades()),
            **_present(concurrent_input=None if self.workflow.concurrent == "queue" else self.workflow.concurrent),
            **_present(middleware=[self._name(each, "a middleware") for each in self.workflow.middleware]),
            **_present(share_prefix=any(seat.shared for seat in seats.values()) or None),
            **_present(repair_announced_handoffs=machine.nudge or None),
        }

    def _upgrades(self) -> dict[str, JSON]:
        upgrades = self.workflow.machine.upgrades
        return _present(
            on_change=None if upgrades.on_change == "continue" else upgrades.on_change,
            renamed=dict(upgrades.renamed),
            renamed_tools=dict(upgrades.renamed_tools),
        )

    # --- Names

    def _name(self, value: object, what: str) -> str:
        try:
            if name := self.vocabulary.name_of(value):
                return name
        except Refused as error:
            self.problems.append(f"{error.code} {error}")
            return ""
        self.problems.append(
            f"RL309 {what} has no name to be loaded by: {value!r:.80}. Define it at the top of a module and give "
            "to_yaml(allow=[that module]), or allow={a name: the object}"
        )
        return ""

    # --- Participants

    def _participant(self, agent: Agent) -> dict[str, JSON]:
        view = _present(view=self._view(self._seat(agent.name).view, f"the view of {agent.name!r}"))
        if type(agent) not in (Agent, HumanAgent):
            return {"agent": self._name(agent, f"the agent {agent.name!r}, of a class of its own,"), **view}
        of = f"of {agent.name!r}"
        return {
            "name": agent.name,
            **_present(person=isinstance(agent, HumanAgent) or None),
            **_present(description=agent.description or None),
            **_present(instructions=agent.instructions or None),
            **_present(model=self._model(agent.client, f"the client {of}")),
            **_present(tools=[self._name(tool, f"the tool {tool.name!r} {of}") for tool in _tools(agent)]),
            **_present(knowledge=list(agent.knowledge)),
            **_present(examples=list(agent.examples)),
            **_present(settings=self._settings(agent)),
            **_present(output=None if agent.output_type is None else self._name(agent.output_type, f"the output {of}")),
            **view,
        }

    def _seat(self, name: str) -> Seat:
        return self.workflow.performer.seats[name]

    def _model(self, client: object, what: str) -> JSON:
        match client:
            case None | str():
                return client
            case tuple():
                return [self._model(each, what) for each in cast("tuple[object, ...]", client)]
            case _:
                return {"client": self._name(client, what)}

    def _settings(self, agent: Agent) -> dict[str, JSON]:
        for name, value in agent.settings.items():
            if not _plain(value):
                self.problems.append(f"RL309 the setting {name!r} of {agent.name!r} is no JSON: {value!r:.80}")
        return dict(agent.settings)

    def _view(self, view: View, what: str) -> JSON:
        """The form of a view; None: it is the one that everybody has."""
        show, last = SHOWN.get(view.show), view.first.count if view.first else None
        if show is None or (view.first and view.first.previous):  # what has no form of its own has a name
            return self._name(view, what)
        shapes = _shapes(view)
        if shapes == [views.words] and view == views.shaped(views.words):
            return "words"
        if len(shapes) == 1 and view == views.shaped(shapes[0]):
            return self._name(shapes[0], what)
        names = ["words" if each is views.words else self._name(each, what) for each in shapes]
        summary = self._model(view.model or view.client, f"who sums up, in {what},")
        parts = _present(last=last, summary=summary, shape=names)
        if not parts:
            return None if show == "text" else show
        return {**_present(show=show if show != "text" else None), **parts}

    # --- Handoffs

    def _handoffs(self, pattern: Handoff) -> list[JSON]:
        ways = [(edge, self._way(edge)) for edge in pattern.edges]
        forms = [self._handoff(edge, way) for edge, way in ways]
        everybody = mesh(pattern.agents)
        if pattern.edges == everybody and all(set(form) == {"from", "to"} for form in forms):
            return []
        joined: list[dict[str, JSON]] = []
        for form in forms:
            before = joined[-1] if joined else {}
            if before and {**before, "to": 0} == {**form, "to": 0}:
                targets = before["to"] if isinstance(before["to"], list) else [before["to"]]
                before["to"] = [*targets, form["to"]]
            else:
                joined.append(form)
        return [*joined]

    def _way(self, edge: Edge) -> Way:
        seat = self._seat(edge.source)
        ways = seat.onward if edge.always else seat.ways.values()
        return next(way for way in ways if way.edge == edge)

    def _handoff(self, edge: Edge, way: Way) -> dict[str, JSON]:
        of = f"of the handoff from {edge.source!r} to {edge.target!r}"
        view = self._seat(edge.target).views.get(edge.source)
        # The default is said here: it differs from the agent's own, or nobody would have given it.
        seen = None if view is None else self._view(view, f"the view {of}") or "text"
        payload = None if way.payload is None else payload_type(way.payload)
        return {
            "from": edge.source,
            "to": edge.target,
            **_present(description=edge.description or None),
            **_present(payload=None if payload is None else self._name(payload, f"the payload {of}")),
            **_present(approval="always_require" if edge.approval else None),
            **_present(returns=edge.returns if edge.returns != "stay" else None),
            **_present(always=edge.always or None),
            **_present(when=None if way.when is None else self._name(way.when, f"the predicate {of}")),
            **_present(view=seen),
        }

    # --- Termination

    def _termination(self) -> JSON:
        condition = self.workflow.performer.condition
        return None if condition is None else self._condition(condition)

    def _condition(self, condition: object) -> JSON:
        if not isinstance(condition, TerminationCondition):
            return self._name(condition, "the termination condition")
        match cast("object", condition.holds):
            case MaxMessages(count):
                return {"max_messages": count}
            case TextMentions(text):
                return {"text_mentions": text}
            case SaidBy(author):
                return {"said_by": author}
            case Either():
                return {"any": [self._condition(each) for each in _joined(condition, Either)]}
            case Both():
                return {"all": [self._condition(each) for each in _joined(condition, Both)]}
            case Unless(other):
                return {"not": self._condition(other)}
            case function:
                # It may have a name as it is; if not, its function is made one again.
                return self.vocabulary.name_of(condition) or self._name(function, "a part of the termination condition")


def _joined(condition: TerminationCondition, kind: type[Either | Both]) -> list[TerminationCondition]:
    """``a | b | c`` as a list: from the left, as Python reads it."""
    holds = condition.holds
    return [*_joined(holds.one, kind), holds.other] if isinstance(holds, kind) else [condition]


def _tools(agent: Agent) -> Sequence[Any]:
    return cast("Sequence[Any]", agent.tools)


def _shapes(view: View) -> list[Any]:
    if view.shape is None:
        return []
    return [*view.shape.shapes] if isinstance(view.shape, views.Shapes) else [view.shape]


def _autonomy(given: Autonomy) -> dict[str, JSON]:
    return _present(
        prompt=given.prompt if given.prompt != AUTONOMOUS_PROMPT else None,
        turns=given.turns if given.turns != AUTONOMOUS_TURNS else None,
    )


def _seconds(given: float | None) -> float | None:
    """Whole seconds without a point, as people write them."""
    return int(given) if given is not None and given == int(given) else given


def _present(**values: Any) -> dict[str, JSON]:
    """The values that say something."""
    return {name: value for name, value in values.items() if value is not None and value != [] and value != {}}


def _plain(value: object) -> bool:
    match value:
        case None | bool() | int() | float() | str():
            return type(value) in (type(None), bool, int, float, str)
        case list():
            return all(map(_plain, cast("list[object]", value)))
        case dict():
            pairs = cast("dict[object, object]", value).items()
            return all(type(key) is str and _plain(each) for key, each in pairs)
        case _:
            return False
