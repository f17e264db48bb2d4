"""What the parts of a team's file mean: objects for names, models, tools, views and conditions."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from relayline import conditions, views
from relayline.conditions import TerminationCondition
from relayline.errors import BuildError, UsageError
from relayline.executors import Executor, executor
from relayline.teamfile import parts
from relayline.teamfile.document import Document, Fault, Path
from relayline.teamfile.names import Refused, Vocabulary
from relayline.tools import Tool, as_tools
from relayline.views import Shape, View

VIEWS = {"text": views.text, "with_results": views.with_results, "full": views.full}
"""The views that a file names as they are."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """Says what stands where in a document; what a name does not stand for is a fault, and nothing."""

    document: Document
    vocabulary: Vocabulary
    faults: list[Fault]

    def inside(self, place: Path) -> "Meaning":
        """The same of the part of the document at this place."""
        return replace(self, document=self.document.inside(place))

    def named(self, name: str, place: Path) -> object | None:
        """What a name stands for."""
        try:
            return self.vocabulary.stands_for(name)
        except Refused as error:
            self.fault(place, error.code, str(error))
            return None

    def function(self, name: str, place: Path) -> Executor | None:
        """A function as a participant."""
        found = self.named(name, place)
        if found is None or isinstance(found, Executor):
            return found
        if not callable(found) or isinstance(found, type):
            self.fault(place, "RL308", f"{name!r} is no function: give one, or what @executor made of one")
            return None
        return cast("Executor | None", self.called(lambda: executor(found), place))

    def several(self, names: Sequence[str], place: Path) -> list[object]:
        found = [self.named(name, (*place, number)) for number, name in enumerate(names)]
        return [each for each in found if each is not None]

    def fault(self, place: Path, code: str, what: str) -> None:
        self.faults.append(Fault(self.document.line(place), code, what))

    def called(self, make: Callable[[], Any], place: Path) -> Any:
        """What ``make`` returns; what it refuses is a fault here."""
        try:
            return make()
        except BuildError as error:
            for problem in error.problems:
                code, _, what = problem.partition(" ")
                self.fault(place, *((code, what) if code.startswith("RL") else ("RL305", problem)))
        except UsageError as error:
            self.fault(place, "RL305", str(error))
        return None

    def tools(self, names: Sequence[str], place: Path) -> list[Tool]:
        tools: list[Tool] = []
        for number, name in enumerate(names):
            here = (*place, number)
            found = self.named(name, here)
            if found is not None:
                tools += self.called(partial(_made_tools, found), here) or []
        return tools

    def model(self, given: object, place: Path) -> Any:
        match given:
            case parts.ClientForm(client=name):
                return self.named(name, (*place, "client"))
            case list():
                several = cast("list[str | parts.ClientForm]", given)
                voices = [self.model(each, (*place, number)) for number, each in enumerate(several)]
                return [each for each in voices if each is not None]
            case _:
                return given

    def view(self, form: str | parts.ViewForm, place: Path) -> View | Shape | None:
        if isinstance(form, str):
            if form == "words":
                return views.words
            return VIEWS.get(form) or cast("Any", self.named(form, place))
        view = VIEWS[form.show]
        if form.summary is not None:
            model = self.model(form.summary, (*place, "summary"))
            if model is not None:
                view = self.called(partial(views.summary, model, view), (*place, "summary")) or view
        if form.last is not None:
            view = views.last(form.last, view)
        for number, name in enumerate(form.shape):
            here = (*place, "shape", number)
            shape = cast("Shape | None", views.words if name == "words" else self.named(name, here))
            if shape is not None:
                view = self.called(partial(views.shaped, shape, view), here) or view
        return view

    def condition(self, form: str | parts.ConditionForm, place: Path, *, whole: bool = False) -> Any:
        if isinstance(form, str):
            return self._named_condition(form, place, whole=whole)
        several = form.any or form.all
        if several:
            key = "any" if form.any else "all"
            found = [self.condition(each, (*place, key, number)) for number, each in enumerate(several)]
            made = [each for each in found if each is not None]
            joined = made[0] if made else None
            for each in made[1:]:
                joined = joined | each if key == "any" else joined & each
            return joined
        if form.negated is not None:
            inner = self.condition(form.negated, (*place, "not"))
            return None if inner is None else ~inner
        if form.max_messages is not None:
            return conditions.max_messages(form.max_messages)
        if form.text_mentions is not None:
            return conditions.text_mentions(form.text_mentions)
        return conditions.said_by(form.said_by or "")

    def _named_condition(self, name: str, place: Path, *, whole: bool) -> Any:
        found = self.named(name, place)
        if found is None or isinstance(found, TerminationCondition) or (whole and callable(found)):
            return found
        if whole:
            self.fault(place, "RL308", f"{name!r} is no function of the transcript, and no condition")
            return None
        if not callable(found) or _waits(found):
            what = "is no function of the transcript that answers at once, as one that is joined with others has to be"
            self.fault(place, "RL308", f"{name!r} {what}")
            return None
        return TerminationCondition(cast("Any", found))


def _made_tools(found: object) -> list[Tool]:
    return [*as_tools([cast("Any", found)])]


def _waits(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
