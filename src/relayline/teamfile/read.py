"""From a team's file to its workflow."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from relayline import conditions, views
from relayline.agent import Agent, HumanAgent
from relayline.builders import HandoffBuilder
from relayline.conditions import TerminationCondition
from relayline.errors import BuildError, UsageError
from relayline.teamfile import document as documents
from relayline.teamfile import form as forms
from relayline.teamfile.document import Document, Fault
from relayline.teamfile.document import Path as Place
from relayline.teamfile.faults import checked, located, told
from relayline.teamfile.names import Allowed, Refused, Vocabulary
from relayline.tools import Tool, as_tools
from relayline.views import Shape, View
from relayline.workflow import Workflow

VIEWS = {"text": views.text, "with_results": views.with_results, "full": views.full}
"""The views that a file names as they are."""


def load(path: str | Path, allow: Allowed = ()) -> Workflow:
    """As `relayline.load`."""
    vocabulary, place = Vocabulary(allow), Path(path)
    try:
        text = place.read_text("utf-8-sig")
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BuildError(f"RL301 {place} cannot be read: {why}") from error
    return team(text, place.name, vocabulary)


def team(text: str, source: str, vocabulary: Vocabulary) -> Workflow:
    """The team that a YAML text describes. ``source``: what the text is called when something is wrong with it.

    Raises:
        BuildError: with everything that is wrong.
    """
    faults: list[Fault] = []
    document = documents.read(text, faults)
    looked_at = document and checked(document, faults)
    if not document or not looked_at:
        raise BuildError(*told(source, faults))
    form, sound = looked_at
    builder = _Team(sound, vocabulary, faults).builder(form)
    try:
        workflow = builder.build()
    except BuildError as error:
        faults += [located(document, problem) for problem in error.problems]
        raise BuildError(*told(source, faults)) from error
    except Exception as error:
        faults.append(Fault(1, "RL308", f"what it names does not work together: {type(error).__name__}: {error}"))
        raise BuildError(*told(source, faults)) from error
    if faults:
        raise BuildError(*told(source, faults))
    return workflow


@dataclass(frozen=True, slots=True)
class _Team:
    """Puts a team together; what a name does not stand for is a fault and left out."""

    document: Document
    vocabulary: Vocabulary
    faults: list[Fault]

    def builder(self, form: forms.TeamForm) -> HandoffBuilder:
        """The builder, told all that the form says."""
        builder = HandoffBuilder(
            name=form.name,
            participants=self._participants(form),
            repair_announced_handoffs=form.repair_announced_handoffs,
            share_prefix=form.share_prefix,
        )
        if form.start is not None:
            builder.with_start_agent(form.start)
        for number, handoff in enumerate(form.handoffs):
            self._handoff(builder, handoff, ("handoffs", number))
        for number, each in enumerate(form.participants):
            name = self._name(each, ("participants", number))
            if each.view is not None and name is not None:
                if view := self._view(each.view, ("participants", number, "view")):
                    builder.with_view(name, view)
        if form.autonomous:
            said = {name: each or forms.AutonomyForm() for name, each in form.autonomous.items()}
            builder.with_autonomous_mode(
                list(said),
                prompts={name: each.prompt for name, each in said.items() if each.prompt is not None},
                turn_limits={name: each.turns for name, each in said.items() if each.turns is not None},
            )
        self._rules(builder, form)
        return builder

    def _rules(self, builder: HandoffBuilder, form: forms.TeamForm) -> None:
        loops, budget, expiry = form.loop_control, form.budget, form.expiry
        builder.with_return_to_previous(form.return_to_previous)
        builder.with_loop_control(
            max_hops=loops.max_hops,
            allow_cycles=loops.allow_cycles,
            on_loop=loops.on_loop,
            fallback=loops.fallback,
        )
        builder.with_budget(turns=budget.turns, tokens=budget.tokens, seconds=budget.seconds)
        builder.with_request_expiry(
            approvals=expiry.approvals,
            questions=expiry.questions,
            people=expiry.people,
            reviews=expiry.reviews,
            functions=expiry.functions,
        )
        builder.with_terminal_agents(form.terminal_agents).with_concurrent_input(form.concurrent_input)
        upgrades = form.upgrades
        builder.with_upgrades(
            on_change=upgrades.on_change, renamed=upgrades.renamed, renamed_tools=upgrades.renamed_tools
        )
        if form.fallback_agent is not None:
            builder.with_fallback_agent(form.fallback_agent)
        if form.termination is not None:
            if condition := self._condition(form.termination, ("termination",), whole=True):
                builder.with_termination_condition(condition)
        middleware = self._several(form.middleware, ("middleware",))
        builder.with_middleware(*cast("Sequence[Any]", middleware))

    # --- Names

    def _object(self, name: str, place: Place) -> object | None:
        try:
            return self.vocabulary.stands_for(name)
        except Refused as error:
            self._fault(place, error.code, str(error))
            return None

    def _several(self, names: Sequence[str], place: Place) -> list[object]:
        found = [self._object(name, (*place, number)) for number, name in enumerate(names)]
        return [each for each in found if each is not None]

    def _fault(self, place: Place, code: str, what: str) -> None:
        self.faults.append(Fault(self.document.line(place), code, what))

    def _called(self, make: Callable[[], Any], place: Place) -> Any:
        """What ``make`` returns; what it refuses is a fault here."""
        try:
            return make()
        except BuildError as error:
            for problem in error.problems:
                code, _, what = problem.partition(" ")
                self._fault(place, *((code, what) if code.startswith("RL") else ("RL305", problem)))
        except UsageError as error:
            self._fault(place, "RL305", str(error))
        return None

    # --- Participants

    def _participants(self, form: forms.TeamForm) -> list[Any]:
        found: list[Any] = []
        for number, each in enumerate(form.participants):
            place = ("participants", number)
            made = (
                self._object(each.agent, (*place, "agent"))
                if isinstance(each, forms.GivenForm)
                else self._agent(each, place)
            )
            if made is not None:
                found.append(made)
        return found

    def _name(self, each: forms.AgentForm | forms.GivenForm, place: Place) -> str | None:
        if isinstance(each, forms.AgentForm):
            return each.name
        try:
            return getattr(self.vocabulary.stands_for(each.agent), "name", None)
        except Refused:  # told already
            return None

    def _agent(self, form: forms.AgentForm, place: Place) -> Agent:
        kind = HumanAgent if form.person else Agent
        return kind(
            form.name,
            form.instructions,
            form.description,
            self._tools(form.tools, (*place, "tools")),
            None if form.model is None else self._model(form.model, (*place, "model")),
            form.knowledge,
            form.examples,
            form.settings,
            None if form.output is None else self._object(form.output, (*place, "output")),
        )

    def _tools(self, names: Sequence[str], place: Place) -> list[Tool]:
        tools: list[Tool] = []
        for number, name in enumerate(names):
            here = (*place, number)
            found = self._object(name, here)
            if found is not None:
                tools += self._called(partial(_made_tools, found), here) or []
        return tools

    def _model(self, given: object, place: Place) -> Any:
        match given:
            case forms.ClientForm(client=name):
                return self._object(name, (*place, "client"))
            case list():
                several = cast("list[str | forms.ClientForm]", given)
                voices = [self._model(each, (*place, number)) for number, each in enumerate(several)]
                return [each for each in voices if each is not None]
            case _:
                return given

    # --- Handoffs

    def _handoff(self, builder: HandoffBuilder, form: forms.HandoffForm, place: Place) -> None:
        when = None if form.when is None else self._object(form.when, (*place, "when"))
        builder.add_handoff(
            form.source,
            form.target,
            description=form.description,
            payload=cast("Any", form.payload and self._object(form.payload, (*place, "payload"))),
            approval=form.approval,
            returns=form.returns,
            always=form.always,
            # An edge whose predicate is not known is still none that is always open.
            when=cast("Any", _unknown if form.when is not None and when is None else when),
            view=None if form.view is None else self._view(form.view, (*place, "view")),
        )

    def _view(self, form: str | forms.ViewForm, place: Place) -> View | Shape | None:
        if isinstance(form, str):
            if form == "words":
                return views.words
            return VIEWS.get(form) or cast("Any", self._object(form, place))
        view = VIEWS[form.show]
        if form.summary is not None:
            model = self._model(form.summary, (*place, "summary"))
            if model is not None:
                view = self._called(partial(views.summary, model, view), (*place, "summary")) or view
        if form.last is not None:
            view = views.last(form.last, view)
        for number, name in enumerate(form.shape):
            here = (*place, "shape", number)
            shape = cast("Shape | None", views.words if name == "words" else self._object(name, here))
            if shape is not None:
                view = self._called(partial(views.shaped, shape, view), here) or view
        return view

    # --- Termination

    def _condition(self, form: str | forms.ConditionForm, place: Place, *, whole: bool = False) -> Any:
        if isinstance(form, str):
            return self._named_condition(form, place, whole=whole)
        several = form.any or form.all
        if several:
            key = "any" if form.any else "all"
            parts = [self._condition(each, (*place, key, number)) for number, each in enumerate(several)]
            made = [each for each in parts if each is not None]
            joined = made[0] if made else None
            for each in made[1:]:
                joined = joined | each if key == "any" else joined & each
            return joined
        if form.negated is not None:
            inner = self._condition(form.negated, (*place, "not"))
            return None if inner is None else ~inner
        if form.max_messages is not None:
            return conditions.max_messages(form.max_messages)
        if form.text_mentions is not None:
            return conditions.text_mentions(form.text_mentions)
        return conditions.said_by(form.said_by or "")

    def _named_condition(self, name: str, place: Place, *, whole: bool) -> Any:
        found = self._object(name, place)
        if found is None or isinstance(found, TerminationCondition) or (whole and callable(found)):
            return found
        if not callable(found) or _waits(found):
            what = "is no function of the transcript that answers at once, as one that is joined with others has to be"
            self._fault(place, "RL308", f"{name!r} {what}")
            return None
        return TerminationCondition(cast("Any", found))


def _made_tools(found: object) -> list[Tool]:
    return [*as_tools([cast("Any", found)])]


def _waits(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _unknown(transcript: object, state: object) -> bool:
    """In place of a predicate that is not known; the team is not built."""
    del transcript, state
    return False
