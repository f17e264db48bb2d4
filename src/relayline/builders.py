"""Builders: say who is in the team and who may hand over to whom, and get a workflow."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, cast, get_args

from relayline.agent import HumanAgent, Member, Named
from relayline.assembled import TeamBuilder
from relayline.declared import (
    HandoffCall,
    all_named,
    asked_of_people,
    edges,
    laid_out_alike,
    named,
    participants,
    policy,
    seats,
)
from relayline.executors import FunctionAgent
from relayline.machine.limits import Limits, OnLoop
from relayline.machine.patterns import AUTONOMOUS_PROMPT, AUTONOMOUS_TURNS, Autonomy, Handoff
from relayline.machine.topology import Returns
from relayline.review import review
from relayline.runtime.perform import Condition
from relayline.runtime.seat import Predicate
from relayline.tools import ApprovalMode
from relayline.views import Shape, View
from relayline.workflow import TeamAgent, Workflow

logger = logging.getLogger("relayline")


class HandoffBuilder(TeamBuilder):
    """A team whose agents decide themselves who has the conversation next.

    Agents may be named by themselves or by their names. Without any `add_handoff` everyone may hand over to everyone;
    with one, only declared edges exist, and an agent without any is terminal: when it is done, the conversation is.

    ``repair_announced_handoffs``: an agent that says it hands over and does not is told so, once a turn, and can still
    do it.

    ``share_prefix``: lay out the requests of all agents alike, so that what a provider has in its prompt cache stays
    good after a handoff: common instructions, everybody's tools, one conversation, and in it who speaks from where on.
    """

    def __init__(
        self,
        *,
        name: str = "handoff",
        participants: Sequence[Member] = (),
        repair_announced_handoffs: bool = False,
        share_prefix: bool = False,
    ) -> None:
        super().__init__(name)
        self._participants = tuple(participants)
        self._repair = repair_announced_handoffs
        self._share_prefix = share_prefix
        self._start: Named | None = None
        self._handoffs: list[HandoffCall] = []
        self._return_to_previous = True
        self._terminal: Sequence[Named] = ()
        self._rescue: Named | None = None
        self._views: list[tuple[Named, View | Shape]] = []
        self._autonomous: tuple[Sequence[Named] | None, Mapping[str, str], Mapping[str, int]] | None = None
        self._limits: tuple[int | None, bool, OnLoop, Named | None] = (20, False, "tell_model", None)

    def participants(self, participants: Sequence[Member]) -> Self:
        """The team, replacing what was given before."""
        self._participants = tuple(participants)
        return self

    def with_start_agent(self, agent: Named) -> Self:
        """Who takes a new conversation. Default: the first participant."""
        self._start = agent
        return self

    def add_handoff(
        self,
        source: Named,
        targets: Named | Sequence[Named],
        *,
        description: str = "",
        payload: type[Any] | None = None,
        approval: ApprovalMode = "never_require",
        returns: Returns = "stay",
        always: bool = False,
        when: Predicate | None = None,
        view: View | Shape | None = None,
    ) -> Self:
        """Let ``source`` hand over to ``targets``.

        ``description``: what ``source`` is told they are for; by default each target's own description. ``payload``: a
        pydantic model or dataclass that ``source`` has to fill in; one that does not fit goes back to it as an error,
        one that does reaches the target and the ``handoff_sent`` event. ``approval="always_require"``: a person is
        asked first. ``returns``: who is next when the target is done: the target itself (``stay``), ``source``
        (``caller``) or the start agent (``start``). ``always``: no choice, the target takes over whenever ``source``
        is done.

        ``when``: a predicate of the transcript and the team's common state, sync or async; while it does not hold, the
        handoff does not exist. It is asked before each reply of ``source``, or, with ``always``, whenever ``source`` is
        done; several such edges are tried in declared order. ``view``: how much of the conversation a target is given
        that got it this way (see `relayline.views`).
        """
        # Whatever is no list stands for itself here, and build() says so if it is no agent either.
        several = list(targets) if isinstance(targets, list | tuple) else [cast("Named", targets)]
        call = HandoffCall(source, several, description, payload, approval, returns, always, when, view)
        self._handoffs.append(call)
        return self

    def with_return_to_previous(self, enabled: bool = True) -> Self:
        """Whether the user's next message goes to whoever spoke last (the default) or always to the start agent."""
        self._return_to_previous = enabled
        return self

    def with_autonomous_mode(
        self,
        agents: Sequence[Named] | None = None,
        *,
        prompts: Mapping[str, str] | None = None,
        turn_limits: Mapping[str, int] | None = None,
    ) -> Self:
        """Let ``agents`` (default: all) go on by themselves where they would have asked the user.

        ``prompts``: what an agent is told then, by name; only it sees this. ``turn_limits``: how many times in a row,
        by name (default 50); after that the user is asked. Counted anew after each handoff and each message of the
        user.
        """
        self._autonomous = (agents, prompts or {}, turn_limits or {})
        return self

    def with_loop_control(
        self,
        *,
        max_hops: int | None = 20,
        allow_cycles: bool = False,
        on_loop: OnLoop = "tell_model",
        fallback: Named | None = None,
    ) -> Self:
        """What keeps the agents from passing the conversation around for ever; this is on by default.

        ``max_hops``: handoffs per message of the user, None for any number. ``allow_cycles``: whether the same edge
        may be taken again although nothing new came in since, neither words of the user nor a tool's result.
        ``on_loop``: ``tell_model`` refuses the handoff and tells the agent why; ``ask_user`` gives the conversation
        to the user; ``stop`` finishes it for now. ``fallback``: an agent that gets it instead. A ``warning`` event
        always says what happened.
        """
        self._limits = (max_hops, allow_cycles, on_loop, fallback)
        return self

    def with_view(self, agent: Named, view: View | Shape) -> Self:
        """How much of the conversation ``agent`` is given: one of `relayline.views`, or a function of the messages."""
        self._views.append((agent, view))
        return self

    def with_fallback_agent(self, agent: Named) -> Self:
        """Who takes over from an agent whose model cannot be had, instead of the run failing.

        A ``warning`` event with the code ``model_failed`` says what happened. If the model of ``agent`` itself fails,
        so does the run.
        """
        self._rescue = agent
        return self

    def with_terminal_agents(self, agents: Sequence[Named]) -> Self:
        """Say that these agents have no way out on purpose: once one has answered, the conversation is finished."""
        self._terminal = agents
        return self

    def with_termination_condition(self, condition: Condition) -> Self:
        """End the conversation when ``condition`` says so.

        It is given the transcript, oldest message first, after each message of the user and after each turn that ended
        without a handoff. Sync (then it should be quick: everybody waits for it) or async. Should it raise, that run
        fails with a `ConditionError` and can be retried.
        """
        self._condition = condition
        return self

    def build(self) -> Workflow:
        """The workflow.

        Raises:
            BuildError: with every problem of the declaration, not just the first.
        """
        problems: list[str] = []
        agents = participants(self._participants, problems)
        names = [agent.name for agent in agents]
        people = frozenset(agent.name for agent in agents if isinstance(agent, HumanAgent))
        functions = frozenset(agent.name for agent in agents if isinstance(agent, FunctionAgent | TeamAgent))
        declared = edges(self._handoffs, names, problems, functions)
        start = names[0] if names else ""
        if self._start is not None:
            start = named(self._start, names, "with_start_agent", problems) or start
        autonomous = self._autonomy(names, people, problems)
        limits = self._loop_control(names, problems)
        terminal = all_named(self._terminal, names, "with_terminal_agents", problems)
        rescue = None if self._rescue is None else named(self._rescue, names, "with_fallback_agent", problems)
        views = {
            name: view
            for agent, given in self._views
            if (name := named(agent, names, "with_view", problems)) and (view := policy(given, "with_view", problems))
        }
        problems += asked_of_people(people, declared, views)
        sat = seats(agents, declared, views, problems) if not problems else {}
        if self._share_prefix and sat:
            sat = laid_out_alike(sat, views, problems)
        edges_of = tuple(each.edge for each in declared)
        pattern = Handoff(start, tuple(names), edges_of if not problems else (), self._return_to_previous, autonomous)
        workflow = self._assemble(
            agents,
            pattern,
            sat,
            problems,
            start,
            pattern.edges,
            limits=limits,
            nudge=self._repair,
            rescue=rescue or "",
        )
        warnings = tuple(review(agents, start, pattern.edges, workflow.machine, terminal, bool(self._handoffs)))
        for warning in warnings:
            logger.warning("team %r: %s", self._name, warning)
        return replace(workflow, warnings=warnings, terminal=tuple(terminal))

    def _autonomy(self, names: Sequence[str], people: frozenset[str], problems: list[str]) -> dict[str, Autonomy]:
        if self._autonomous is None:
            return {}
        agents, prompts, limits = self._autonomous
        chosen = [name for name in names if name not in people]
        if agents is not None:
            chosen = all_named(agents, names, "with_autonomous_mode", problems)
        problems += [
            f"RL114 {name!r} is a person and does not go on alone; leave it out of with_autonomous_mode"
            for name in chosen
            if name in people
        ]
        for name in {**prompts, **limits}:
            if named(name, names, "with_autonomous_mode", problems) and name not in chosen:
                problems.append(
                    f"RL101 {name!r} has a prompt or a limit in with_autonomous_mode, but is not autonomous"
                )
        for name, prompt in prompts.items():
            if not isinstance(prompt, str) or not prompt.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
                problems.append(
                    f"RL108 the prompt of {name!r} is {prompt!r}; it is what the agent is told, and not empty"
                )
        for name, limit in limits.items():
            if type(limit) is not int or limit < 0:
                problems.append(f"RL108 the turn limit of {name!r} is {limit!r}; it is a number of turns, 0 or more")
        return {
            name: Autonomy(prompts.get(name, AUTONOMOUS_PROMPT), limits.get(name, AUTONOMOUS_TURNS)) for name in chosen
        }

    def _loop_control(self, names: Sequence[str], problems: list[str]) -> Limits:
        hops, cycles, on_loop, fallback = self._limits
        if hops is not None and (type(hops) is not int or hops < 1):
            problems.append(
                f"RL108 max_hops is {hops!r}; it is a number of handoffs, 1 or more, or None for any number"
            )
        if type(cycles) is not bool:
            problems.append(f"RL103 allow_cycles is {cycles!r}; it is True or False")
        if on_loop not in get_args(OnLoop):
            problems.append(f"RL103 on_loop is {on_loop!r}; allowed: {', '.join(get_args(OnLoop))}")
        name = "" if fallback is None else named(fallback, names, "with_loop_control", problems)
        return Limits(hops=hops, cycles=cycles, on_loop=on_loop, fallback=name or "")
