"""The parts of a team in the words of a file: names for objects, models, views and conditions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from relayline import views
from relayline.agent import Agent, HumanAgent
from relayline.conditions import Both, Either, MaxMessages, SaidBy, TerminationCondition, TextMentions, Unless
from relayline.machine import view
from relayline.messages import JSON
from relayline.teamfile.names import Refused, Vocabulary
from relayline.views import View

SHOWN: Mapping[view.Show, str] = {view.text: "text", view.with_results: "with_results", view.full: "full"}


@dataclass(frozen=True, slots=True)
class Wording:
    """Says in a file's words what a team has; what has no name is a problem."""

    vocabulary: Vocabulary
    problems: list[str] = field(default_factory=list[str])

    def name(self, value: object, what: str) -> str:
        """The name of what is made in code."""
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

    def agent(self, agent: Agent) -> dict[str, JSON]:
        """An agent or a person; one of a class of its own has a name."""
        if type(agent) not in (Agent, HumanAgent):
            return {"agent": self.name(agent, f"the agent {agent.name!r}, of a class of its own,")}
        of, output = f"of {agent.name!r}", agent.output_type
        return {
            "name": agent.name,
            **present(person=isinstance(agent, HumanAgent) or None),
            **present(description=agent.description or None),
            **present(instructions=agent.instructions or None),
            **present(model=self.model(agent.client, f"the client {of}")),
            **present(tools=[self.name(tool, f"the tool {tool.name!r} {of}") for tool in _tools(agent)]),
            **present(knowledge=list(agent.knowledge)),
            **present(examples=list(agent.examples)),
            **present(settings=self._settings(agent)),
            **present(output=None if output is None else self.name(output, f"the output {of}")),
        }

    def model(self, client: object, what: str) -> JSON:
        match client:
            case None | str():
                return client
            case tuple():
                return [self.model(each, what) for each in cast("tuple[object, ...]", client)]
            case _:
                return {"client": self.name(client, what)}

    def _settings(self, agent: Agent) -> dict[str, JSON]:
        for name, value in agent.settings.items():
            if not _plain(value):
                self.problems.append(f"RL309 the setting {name!r} of {agent.name!r} is no JSON: {value!r:.80}")
        return dict(agent.settings)

    def view(self, view: View, what: str) -> JSON:
        """The form of a view; None: it is the one that everybody has."""
        show, last = SHOWN.get(view.show), view.first.count if view.first else None
        if show is None or (view.first and view.first.previous):  # what has no form of its own has a name
            return self.name(view, what)
        shapes = _shapes(view)
        if shapes == [views.words] and view == views.shaped(views.words):
            return "words"
        if len(shapes) == 1 and view == views.shaped(shapes[0]):
            return self.name(shapes[0], what)
        names = ["words" if each is views.words else self.name(each, what) for each in shapes]
        summary = self.model(view.model or view.client, f"who sums up, in {what},")
        parts = present(last=last, summary=summary, shape=names)
        if not parts:
            return None if show == "text" else show
        return {**present(show=show if show != "text" else None), **parts}

    def condition(self, condition: object) -> JSON:
        """A termination condition."""
        if not isinstance(condition, TerminationCondition):
            return self.name(condition, "the termination condition")
        match cast("object", condition.holds):
            case MaxMessages(count):
                return {"max_messages": count}
            case TextMentions(text):
                return {"text_mentions": text}
            case SaidBy(author):
                return {"said_by": author}
            case Either():
                return {"any": [self.condition(each) for each in _joined(condition, Either)]}
            case Both():
                return {"all": [self.condition(each) for each in _joined(condition, Both)]}
            case Unless(other):
                return {"not": self.condition(other)}
            case function:
                # It may have a name as it is; if not, its function is made one again.
                return self.vocabulary.name_of(condition) or self.name(function, "a part of the termination condition")


def present(**values: Any) -> dict[str, JSON]:
    """The values that say something."""
    return {name: value for name, value in values.items() if value is not None and value != [] and value != {}}


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
