"""From a team's file to its workflow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, assert_never, cast

from relayline.agent import Agent, HumanAgent
from relayline.assembled import TeamBuilder
from relayline.builders import HandoffBuilder
from relayline.errors import BuildError
from relayline.executors import executor
from relayline.graphs import Case, Default, WorkflowBuilder
from relayline.groupchat import GroupChatBuilder
from relayline.pipelines import ConcurrentBuilder, SequentialBuilder
from relayline.teamfile import document as documents
from relayline.teamfile import form as forms
from relayline.teamfile import parts
from relayline.teamfile.document import Fault
from relayline.teamfile.document import Path as Place
from relayline.teamfile.faults import checked, located, told
from relayline.teamfile.meaning import Meaning
from relayline.teamfile.names import Allowed, Vocabulary
from relayline.workflow import Workflow

Builder: TypeAlias = HandoffBuilder | SequentialBuilder | ConcurrentBuilder | GroupChatBuilder | WorkflowBuilder

T = TypeVar("T", HandoffBuilder, GroupChatBuilder)
R = TypeVar("R", SequentialBuilder, ConcurrentBuilder)


def load(path: str | Path, allow: Allowed = ()) -> Workflow:
    """As `relayline.load`."""
    vocabulary = Vocabulary(allow)
    try:
        place = Path(path)
    except TypeError:
        raise BuildError(f"RL301 {path!r:.80} is no path of a file") from None
    try:
        text = place.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BuildError(f"RL301 {place} cannot be read: {why}") from error
    except ValueError as error:
        raise BuildError(f"RL301 {str(place)!r} cannot be read: it is no name of a file") from error
    return team(text, place.name, vocabulary)


def team(text: str, source: str, vocabulary: Vocabulary) -> Workflow:
    """The team that a YAML text describes. ``source``: what the text is called when something is wrong with it.

    Raises:
        BuildError: with everything that is wrong.
    """
    faults: list[Fault] = []
    document = documents.read(text, faults)
    looked_at = document and checked(document, faults)
    if not looked_at:
        raise BuildError(*told(source, faults))
    form, sound = looked_at
    try:
        made = _built(form, Meaning(sound, vocabulary, faults))
    except BuildError as error:
        raise BuildError(*told(source, faults)) from error
    if faults:
        raise BuildError(*told(source, faults))
    return made


def _built(form: forms.AnyTeam, meaning: Meaning) -> Workflow:
    """The team.

    Raises:
        BuildError: with what is among the faults now.
    """
    try:
        return _Team(meaning).builder(form).build()
    except BuildError as error:
        # That a chat never ends may only follow from what is wrong with its end.
        problems = [each for each in error.problems if not (each.startswith("RL143") and meaning.faults)]
        meaning.faults.extend(located(meaning.document, problem) for problem in problems)
        raise
    except Exception as error:
        why = f"what it names does not work together: {type(error).__name__}: {error}"
        meaning.fault((), "RL308", why)
        raise BuildError(f"RL308 {why}") from error


@dataclass(frozen=True, slots=True)
class _Team:
    """Puts a team together; what a name does not stand for is a fault and left out."""

    meaning: Meaning

    def builder(self, form: forms.AnyTeam) -> Builder:
        """The builder, told all that the form says."""
        builder = self._of_pattern(form)
        self._rules(builder, form)
        return builder

    def _of_pattern(self, form: forms.AnyTeam) -> Builder:
        made = [self._member(each, ("participants", number)) for number, each in enumerate(form.participants)]
        members = [each for each in made if each is not None]
        match form:
            case forms.HandoffTeam():
                builder = self._handoff(form, members)
                self._views(builder, form, made)
                return self._ending(builder, form.termination)
            case forms.SequentialTeam():
                chained = form.chain_only_agent_responses
                sequence = SequentialBuilder(name=form.name, participants=members, chain_only_agent_responses=chained)
                return _reviewed(sequence, form.request_info)
            case forms.ConcurrentTeam():
                together = ConcurrentBuilder(name=form.name, participants=members, on_failure=form.on_failure)
                if form.aggregator is not None and (last := self._member(form.aggregator, ("aggregator",))):
                    together.with_aggregator(last)
                return _reviewed(together, form.request_info)
            case forms.GroupChatTeam():
                return self._group_chat(form, members)
            case forms.GraphTeam():
                return self._graph(form, members)
            case _:
                assert_never(form)

    def _rules(self, builder: TeamBuilder, form: forms.AnyTeam) -> None:
        budget, expiry, upgrades = form.budget, form.expiry, form.upgrades
        builder.with_budget(turns=budget.turns, tokens=budget.tokens, seconds=budget.seconds)
        builder.with_request_expiry(
            approvals=expiry.approvals,
            questions=expiry.questions,
            people=expiry.people,
            reviews=expiry.reviews,
            functions=expiry.functions,
        )
        builder.with_concurrent_input(form.concurrent_input)
        builder.with_upgrades(
            on_change=upgrades.on_change, renamed=upgrades.renamed, renamed_tools=upgrades.renamed_tools
        )
        builder.with_middleware(*cast("Sequence[Any]", self.meaning.several(form.middleware, ("middleware",))))

    # --- Participants

    def _member(self, form: forms.AnyMember, place: Place) -> Any:
        match form:
            case parts.AgentForm():
                return self._agent(form, place)
            case parts.GivenForm():
                return self.meaning.named(form.agent, (*place, "agent"))
            case parts.FunctionForm():
                function = self.meaning.function(form.function, (*place, "function"))
                return function or _unknown_member(form.function.rpartition(":")[2])
            case forms.NestedForm():
                name = form.team.name if form.name is None else form.name
                try:
                    return _built(form.team, self.meaning.inside((*place, "team"))).as_agent(name, form.description)
                except BuildError:  # told already
                    return _unknown_member(name)
            case _:
                assert_never(form)

    def _agent(self, form: parts.AgentForm, place: Place) -> Agent:
        kind, meaning = HumanAgent if form.person else Agent, self.meaning
        return kind(
            form.name,
            form.instructions,
            form.description,
            meaning.tools(form.tools, (*place, "tools")),
            None if form.model is None else meaning.model(form.model, (*place, "model")),
            form.knowledge,
            form.examples,
            form.settings,
            None if form.output is None else meaning.named(form.output, (*place, "output")),
        )

    # --- Handoffs

    def _handoff(self, form: forms.HandoffTeam, members: Sequence[Any]) -> HandoffBuilder:
        builder = HandoffBuilder(
            name=form.name,
            participants=members,
            repair_announced_handoffs=form.repair_announced_handoffs,
            share_prefix=form.share_prefix,
        )
        if form.start is not None:
            builder.with_start_agent(form.start)
        for number, handoff in enumerate(form.handoffs):
            self._edge(builder, handoff, ("handoffs", number))
        if form.autonomous:
            said = {name: each or parts.AutonomyForm() for name, each in form.autonomous.items()}
            builder.with_autonomous_mode(
                list(said),
                prompts={name: each.prompt for name, each in said.items() if each.prompt is not None},
                turn_limits={name: each.turns for name, each in said.items() if each.turns is not None},
            )
        loops = form.loop_control
        builder.with_loop_control(
            max_hops=loops.max_hops,
            allow_cycles=loops.allow_cycles,
            on_loop=loops.on_loop,
            fallback=loops.fallback,
        )
        builder.with_return_to_previous(form.return_to_previous).with_terminal_agents(form.terminal_agents)
        if form.fallback_agent is not None:
            builder.with_fallback_agent(form.fallback_agent)
        return builder

    def _edge(self, builder: HandoffBuilder, form: parts.HandoffForm, place: Place) -> None:
        named, view = self.meaning.named, form.view
        builder.add_handoff(
            form.source,
            form.target,
            description=form.description,
            payload=cast("Any", form.payload and named(form.payload, (*place, "payload"))),
            approval=form.approval,
            returns=form.returns,
            always=form.always,
            when=None if form.when is None else self._function(form.when, (*place, "when")),
            view=None if view is None else self.meaning.view(view, (*place, "view")),
        )

    def _views(self, builder: HandoffBuilder, form: forms.HandoffTeam, made: Sequence[Any]) -> None:
        for number, (each, member) in enumerate(zip(form.participants, made, strict=True)):
            if each.view is not None and (name := getattr(member, "name", None)):
                if view := self.meaning.view(each.view, ("participants", number, "view")):
                    builder.with_view(name, view)

    # --- Discussions and graphs

    def _group_chat(self, form: forms.GroupChatTeam, members: Sequence[Any]) -> GroupChatBuilder:
        select = form.selection_func
        builder = GroupChatBuilder(
            name=form.name,
            participants=members,
            selection_func=None if select is None else self._function(select, ("selection_func",)),
            selector=None if form.selector is None else self._member(form.selector, ("selector",)),
            max_rounds=form.max_rounds,
        )
        return self._ending(builder, form.termination)

    def _graph(self, form: forms.GraphTeam, members: Sequence[Any]) -> WorkflowBuilder:
        start = members[0] if form.start is None and members else form.start or ""
        builder = WorkflowBuilder(name=form.name, start_executor=start, participants=members, max_turns=form.max_turns)
        for number, each in enumerate(form.edges):
            place = ("edges", number)
            match each:
                case parts.EdgeForm():
                    named = each.condition
                    condition = None if named is None else self._function(named, (*place, "condition"))
                    for target in [each.target] if isinstance(each.target, str) else each.target:
                        builder.add_edge(each.source, target, condition)
                case parts.JoinForm():
                    builder.add_fan_in_edges(each.sources, each.target)
                case parts.SwitchForm():
                    builder.add_switch_case_edge_group(each.source, self._cases(each, place))
                case parts.SelectionForm():
                    select = self._function(each.selection_func, (*place, "selection_func"))
                    builder.add_multi_selection_edge_group(each.source, each.targets, select)
                case _:
                    assert_never(each)
        return builder

    def _cases(self, form: parts.SwitchForm, place: Place) -> list[Case | Default]:
        cases: list[Case | Default] = [
            Case(self._function(each.condition, (*place, "cases", number, "condition")), each.target)
            for number, each in enumerate(form.cases)
        ]
        return cases if form.default is None else [*cases, Default(form.default)]

    # --- Code

    def _function(self, name: str, place: Place) -> Any:
        # A way whose predicate is not known is still none that is always open.
        return self.meaning.named(name, place) or _unknown_way

    def _ending(self, builder: T, form: str | parts.ConditionForm | None) -> T:
        condition = None if form is None else self.meaning.condition(form, ("termination",), whole=True)
        if condition is not None:
            builder.with_termination_condition(condition)
        return builder


def _reviewed(builder: R, given: bool | list[str]) -> R:
    if given is not False:
        builder.with_request_info(None if given is True else given)
    return builder


def _unknown_way(*given: Any) -> Any:
    """In place of a function that is not known; the team is not built."""
    del given


def _unknown_member(name: str) -> Any:
    """In place of a function or a team that is not known; the team is not built."""
    return executor(_unknown, name=name)


def _unknown(value: Any = None) -> Any:
    """In place of a function that is not known; the team is not built."""
    del value
