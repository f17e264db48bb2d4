"""A team at work: immutable, and good for any number of sessions at once."""

import importlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, cast

from relayline.agent import Agent, ChatClient, ChatRequest, Named, as_client
from relayline.dispatch import Dispatcher
from relayline.errors import DamagedJournal, SessionNotFound, UsageError
from relayline.events import Entry, StateChanged, UserSpoke, innermost
from relayline.fleet import Fleet, Submitted
from relayline.history.branches import fork
from relayline.journal.checkpoints import standing, state_after
from relayline.journal.ids import checked_id, new_id
from relayline.journal.inbox import Claim, Receipt
from relayline.journal.store import Store
from relayline.machine.decide import Machine
from relayline.machine.graph import Graph
from relayline.machine.groupchat import GroupChat
from relayline.machine.inputs import Opened
from relayline.machine.patterns import Pattern
from relayline.messages import JSON, Message
from relayline.middleware import Middleware
from relayline.runtime.look import SessionView, view_of
from relayline.runtime.orders import Given, Order, position_of, read_order
from relayline.runtime.perform import Perform, Performer, Team, at_any_depth
from relayline.runtime.pool import ConcurrentInput, Sessions
from relayline.runtime.requests import user_message
from relayline.runtime.run import Run
from relayline.runtime.runner import Runner
from relayline.runtime.seat import Seat
from relayline.runtime.session import Session, existing, not_found
from relayline.runtime.stream import Emit, RunResult, WorkflowEvent, discard
from relayline.runtime.watch import watch
from relayline.upgrades import SessionUpgrade, upgrade_of
from relayline.usage import Price, SessionUsage, usage_of

if TYPE_CHECKING:
    from relayline.drawing.diagram import Diagram


@dataclass(frozen=True, slots=True)
class Workflow:
    """A team, its rules and its store. Made by a builder's ``build()``.

    It holds no conversation: run as many sessions on it at once as you like, from as many tasks of one event loop.
    ``warnings``: what in its declaration looks like a mistake, each with a stable code. ``middleware``: what is done
    around every effect, the outermost first. ``concurrent``: what becomes of a message to a session that is at work.
    ``terminal``: who is meant to have no way out.
    ``dispatcher``: what tells workers of what was submitted; then they do what is run.
    """

    name: str
    agents: tuple[Agent, ...] = field(repr=False)
    pattern: Pattern = field(repr=False)
    machine: Machine = field(repr=False)
    performer: Performer = field(repr=False)
    store: Store = field(repr=False)
    warnings: tuple[str, ...] = field(default=(), repr=False)
    middleware: tuple[Middleware, ...] = field(default=(), repr=False)
    concurrent: ConcurrentInput = field(default="queue", repr=False)
    terminal: tuple[str, ...] = field(default=(), repr=False)
    dispatcher: Dispatcher | None = field(default=None, repr=False, compare=False)
    # Shared by copies on the same store, so that they queue as well.
    _sessions: Sessions | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self._sessions is None:
            object.__setattr__(self, "_sessions", Sessions(self.store))
        assert self.performed  # what is wrong with a middleware is told now

    @property
    def performed(self) -> Perform:
        """How the team's effects, and those of teams within it, are performed, its middleware around them."""
        perform: Perform = self.performer
        for middleware in reversed(self.middleware):
            perform = middleware(perform)
        return at_any_depth(perform) if self.performer.teams else perform

    @property
    def seats(self) -> Mapping[str, Seat]:
        """Those of this team's agents and of the agents in teams within it, by name: all of these differ."""
        inner = {name: seat for each in self._teams for name, seat in each.workflow.seats.items()}
        return {**inner, **self.performer.seats}

    @property
    def mute(self) -> Sequence[str]:
        """The agents that still need a model."""
        others = self._speechless
        own = [name for name, seat in self.performer.seats.items() if seat.client is None and name not in others]
        return own + [f"{each.name}/{name}" for each in self._teams for name in each.workflow.mute]

    @property
    def _speechless(self) -> set[str]:
        return {*self.machine.people, *self.machine.functions, *self.machine.teams}

    @property
    def _teams(self) -> "list[TeamAgent]":
        return [each for each in self.agents if isinstance(each, TeamAgent)]

    def as_agent(self, name: str | None = None, description: str = "") -> "TeamAgent":
        """This team as a participant of another one, or a node of a graph.

        It has one conversation with the team it sits in: it hears what was said, and what is said in it is said there.
        Its pauses, events and tokens are those of the outer run, under ``name/AGENT``; plain words of the user go on in
        it. When it is finished, its turn is over, and its last words are what it came to. Its own store is not used.

        ``name``: default, the team's.
        """
        return TeamAgent(self.name if name is None else name, description=description, workflow=self)

    def run(
        self,
        message: str | Message | None = None,
        *,
        session_id: str | None = None,
        responses: Mapping[str, Any] | None = None,
        checkpoint_id: str | None = None,
        to: Named | None = None,
        state: Mapping[str, JSON] | None = None,
        stream: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> Run:
        """Say something, answer what was asked, or resume.

        - ``run("...")`` starts a conversation under a new id (``run.session_id``); with ``session_id`` it continues
          that one, or starts it. A message answers an agent's open question. It also withdraws pending approvals (those
          calls do not run) and interrupts a turn that was cut off.
        - ``run(responses={request_id: answer})`` answers requests and finds their session by itself.
        - ``run(session_id=...)`` resumes: it shows again what is pending, retries what failed, and goes on with what a
          crash cut off.
        - ``run(checkpoint_id=...)`` goes on from where a session once stood, alone or with a message or responses: from
          where it rested (``storage.list_checkpoints()``), or from any other ``SESSION@SEQ``. If that is where the
          session still stands, it is resumed. Else this begins a branch: a new session, under ``session_id`` or a
          generated one, that has all up to there in common with it, as with `fork`. What came after it in the original
          stays as it is. Responses are given by the ids that the checkpoint has.

        ``to``: the agent that takes this message, whoever had the conversation before; from there it goes on as usual.
        ``state``: JSON values to put into what the team keeps in common, before this message; tools and predicates
        read it.
        ``stream``: also give ``message_delta`` events. Everything else is the same with and without.
        ``settings``: in place of the agents' own of these names, for all their models, in this run alone. They are not
        in the journal: who resumes the session gives them again.

        Raises:
            UsageError: at once, if the call makes no sense; nothing was changed.
            SessionNotFound, RequestNotOpen, UpgradeRefused, ModelError, ConditionError, StoreError: from the `Run`.
        """
        order = self._order(message, session_id, responses, checkpoint_id, to, state, settings)

        async def work(emit: Emit) -> RunResult:
            seq = None
            if order.checkpoint_id is not None:
                run.session_id, seq = await self._stand_at(order.checkpoint_id, session_id, order.responses)
            if self.dispatcher is not None:
                return await self._fleet.follow(replace(order, session_id=run.session_id), stream, emit)
            policy = self.concurrent if order.said else "queue"
            async with self._shared.hold(run.session_id, self.machine, policy) as hold:
                return await self._runner.work(
                    hold, Given(order.said, order.responses, seq, stream, order.settings), emit
                )

        run = Run(order.session_id, work)
        return run

    def _order(
        self,
        message: str | Message | None,
        session_id: str | None,
        responses: Mapping[str, Any] | None,
        checkpoint_id: str | None,
        to: Named | None,
        state: Mapping[str, JSON] | None,
        settings: Mapping[str, Any] | None,
    ) -> Order:
        if self.mute:
            raise UsageError(
                f"no model for {', '.join(map(repr, self.mute))}: give them one with Agent(client=...), "
                "or the team with workflow.with_client(...)"
            )
        return read_order(message, session_id, responses, checkpoint_id, to, state, settings, self.performer.seats)

    async def submit(
        self,
        message: str | Message | None = None,
        *,
        session_id: str | None = None,
        responses: Mapping[str, Any] | None = None,
        to: Named | None = None,
        state: Mapping[str, JSON] | None = None,
        settings: Mapping[str, Any] | None = None,
        message_id: str | None = None,
        not_before: datetime | None = None,
        tenant: str = "",
    ) -> Submitted:
        """Leave it to a worker: what `run` would do is done by whichever is free, here or elsewhere.

        Durable on return. Messages of a session are taken one after the other, in the order they were submitted.
        `watch` shows what comes of it, `receipt` whether it was taken.

        ``message_id``: names the message, so that submitting it once more changes nothing; by default one is made.
        ``not_before``: when it is to be taken. ``tenant``: whose share of the fleet it takes.

        Raises:
            UsageError, SessionNotFound, RequestNotOpen: the call makes no sense now; nothing was submitted.
            StoreError: it could not be kept.
        """
        order = self._order(message, session_id, responses, None, to, state, settings)
        return await self._fleet.submit(order, message_id, not_before, tenant)

    async def receipt(self, submitted: Submitted) -> Receipt | None:
        """What became of what was submitted; None if nobody submitted it, or it was purged."""
        return await self._fleet.receipt(submitted)

    async def cancel(self, session_id: str) -> bool:
        """Stop what workers do for a session, and refuse what waits for it now.

        A model call in flight ends within a second or two, on whatever worker. The session is then `CANCELLED`, until
        it is run again or somebody says something else. False: there was nothing to stop.
        """
        return await self._fleet.cancel(session_id)

    async def work_off(self, claim: Claim, listen: Callable[[int], Emit] = lambda _: discard) -> None:
        """Do what there is to do for a claimed session, until it rests: what a crash cut off, then what waits.

        For those who write workers; `relayline.durable.worker` does. ``listen`` is told the number of the
        session's last fact, and gives what is then given every event.

        Raises:
            SequenceConflict: somebody else is at it as well. Nothing is lost.
            StoreError: what is done so far is kept.
        """
        await self._fleet.work_off(claim, listen)

    def edit(
        self,
        session_id: str,
        seq: int,
        message: str | Message,
        *,
        branch: str | None = None,
        stream: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> Run:
        """Say ``message`` in place of the user's message that is fact number ``seq``, and go on from there in a branch.

        Whoever was to take that message takes this one, and what the team's state was told with it stands. The original
        stays as it is. ``branch``: the name of the new session; by default one is made (``run.session_id``).

        Raises:
            UsageError: at once, if the message cannot be said or the name is none; nothing was changed.
            UsageError, SessionNotFound: from the `Run`, if there is no such message, or a session ``branch`` already.
            ModelError, ConditionError, StoreError: from the `Run`.
        """
        said = user_message(message)

        async def work(emit: Emit) -> RunResult:
            replaced, told = await self._message(session_id, seq)
            again = self.run(
                said,
                session_id=run.session_id,
                checkpoint_id=f"{session_id}@{seq - 1}",
                to=replaced.to if replaced.to in self.performer.seats else None,
                state=told or None,
                stream=stream,
                settings=settings,
            )
            async for event in again:
                await emit(event)
            return await again

        run = Run(checked_id(new_id() if branch is None else branch), work)
        return run

    async def _message(self, session_id: str, seq: int) -> tuple[UserSpoke, Mapping[str, JSON]]:
        """The message, and what the team was told with it that a branch before it does not have."""
        entries = await self._entries(session_id)
        facts = [(each.seq, innermost(each.fact)) for each in entries]
        messages = {number: fact for number, fact in facts if isinstance(fact, UserSpoke)}
        if seq not in messages:
            newest = ", ".join(map(str, [*messages][-5:])) or "none"
            raise UsageError(
                f"fact {seq} of session {session_id!r} is no message of the user's; the newest are: {newest}"
            )
        stood = standing(session_id, entries, seq - 1)
        with_it = [each.fact for each in entries if stood < each.seq < seq]
        told = {key: value for fact in with_it if isinstance(fact, StateChanged) for key, value in fact.values.items()}
        return messages[seq], told

    async def fork(self, session_id: str, *, at: int | None = None, branch: str | None = None) -> str:
        """Begin a branch without running it: a new session that has all up to fact number ``at`` in common with this.

        ``at``: by default the last fact. At the end of what was written together, and before and after each message of
        the user's, a branch begins exactly there; anywhere else the session never stood, and it begins at the last of
        these positions before. ``branch``: its name; by default one is made.

        Returns the name of the branch. Nothing is copied for it, and neither session is touched by the other.

        Raises:
            SessionNotFound: if the store has no such session.
            UsageError: it is another team's, has no such position, or there is a session ``branch`` already.
        """
        self.machine.decide((await existing(session_id, self.machine, self.store)).state, Opened(session_id))
        return await fork(self.store, session_id, at=at, branch=branch)

    def watch(
        self, session_id: str, after: int = 0, *, until_rest: bool = False, stream: bool = False
    ) -> AsyncGenerator[WorkflowEvent, None]:
        """The events of a session as they are appended, by whoever runs it, in this process or any other.

        From the first above number ``after`` on, so that whoever lost the connection goes on after the last ``seq``
        they saw. They are the events that the caller of the run is given, less those without a number. A session that
        does not exist yet is waited for.

        ``stream``: also show words as they are said, and what tools show while they run, of sessions that workers look
        after; of several attempts at a reply those of the last one count. None of that is kept: who comes late reads
        the whole reply.
        ``until_rest``: end as soon as all is shown and the session rests. By default it never ends by itself: leave the
        loop.

        Raises:
            SessionNotFound: the session was deleted meanwhile.
            DamagedJournal, StoreError: it cannot be read.
        """
        session = Session(session_id, self.machine, self.store)
        return watch(session, after, until_rest=until_rest, stream=stream)

    async def session(self, session_id: str, at: int | None = None) -> SessionView:
        """Look at a session without touching it: as it stands in the journal, whoever is at work on it.

        ``at``: as it stood after fact number ``at``, by default the last.

        Raises:
            SessionNotFound: if the store has none of that id.
            UsageError: if it has no such position.
        """
        entries = await self._entries(session_id)
        if at is not None:
            standing(session_id, entries, at)  # there is one, at least before it
            entries = _upto(entries, at)
        return view_of(session_id, entries)

    async def preview(self, session_id: str, agent: Named) -> ChatRequest:
        """Exactly what ``agent``'s model would be given if it had to answer now.

        Nothing is asked of a model for it: where a `summary` would have to be made first, the whole is shown.

        Raises:
            SessionNotFound: if the store has none of that id.
            UsageError: if there is no such agent.
            UpgradeRefused: if the team does not take sessions that were begun with another.
            ConditionError: if the predicate of one of its handoffs fails.
        """
        name = agent if isinstance(agent, str) else getattr(agent, "name", repr(agent))
        if name not in self.performer.seats:
            raise UsageError(f"no agent {name!r}; there are: {', '.join(self.performer.seats)}")
        session = await existing(session_id, self.machine, self.store)
        if session.state.workflow == self.name:
            session.state = self.machine.decide(session.state, Opened(session_id)).state
        return await self.performer.seats[name].request(session)

    async def usage(self, session_id: str, price: Price | None = None) -> SessionUsage:
        """What the session took: tokens and money, in all, by agent, by model, by handoff and call by call.

        ``price``: what a call costs; by default the list price of its model, if the extra ``models`` is installed and
        its list has the model. ``unpriced`` names those that have none.

        Raises:
            SessionNotFound: if the store has none of that id.
        """
        return usage_of(await self._entries(session_id), price)

    async def _entries(self, session_id: str) -> Sequence[Entry]:
        entries = await self.store.read(session_id)
        if not entries:
            raise not_found(session_id)
        return entries

    def diagram(self, session: SessionView | None = None) -> "Diagram":
        """The team as it is drawn; with a session, what `Workflow.session` gave: the way it took, and where it is.

        The way of a handoff team is that of all its handoffs; that of any other begins anew with each message of the
        user, and the last one is shown.

        Raises:
            UsageError: if the pattern is one of your own, which has no drawing.
        """
        from relayline.drawing.team import diagram_of
        from relayline.drawing.trail import doing, with_path, with_turns

        drawn = diagram_of(self.agents, self.machine)
        if session is None:
            return drawn
        if isinstance(self.pattern, Graph | GroupChat):
            return with_turns(drawn, session.turns, session.state, session.requests)
        return with_path(drawn, session.handoffs, session.active_agent, doing(session.state, session.requests))

    def to_mermaid(self, session: SessionView | None = None) -> str:
        """`diagram`, for Markdown: a flowchart in the words of Mermaid."""
        from relayline.drawing.mermaid import as_mermaid

        return as_mermaid(self.diagram(session))

    def to_dot(self, session: SessionView | None = None) -> str:
        """`diagram`, for Graphviz."""
        from relayline.drawing.dot import as_dot

        return as_dot(self.diagram(session))

    def to_svg(self, session: SessionView | None = None) -> str:
        """`diagram`, as a picture of its own, with a light and a dark face."""
        from relayline.drawing.svg import as_svg

        return as_svg(self.diagram(session))

    def to_yaml(self, allow: Sequence[str] | Mapping[str, object] | None = None) -> str:
        """The team as a file that `relayline.load` reads (the extra ``yaml``): all of it that is no code.

        Code is named. ``allow``: as for `load`, which reads the file with the same; by default every function and class
        that can be had from its own module. A store is no part of a team, nor is a client given by `with_client`.

        Raises:
            UsageError: with everything that has no name.
            MissingExtra: pyyaml is not installed.
        """
        return cast("str", importlib.import_module("relayline.teamfile.write").written(self, allow))

    async def affected_sessions(self) -> list[SessionUpgrade]:
        """What would become of each session of this team, were it run now: a dry run of an upgrade.

        Reads every journal of the team, oldest session first by its last fact, and writes nothing. The policy is that
        of `HandoffBuilder.with_upgrades`.
        """
        found: list[SessionUpgrade] = []
        for each in await self.store.sessions():
            try:
                report = upgrade_of(each.session_id, await self.store.read(each.session_id), self.machine)
            except DamagedJournal as error:
                report = SessionUpgrade(each.session_id, "damaged", (str(error),))
            found += [report] if report else []
        return found

    def with_client(self, client: ChatClient | str, *, override: bool = False) -> Self:
        """The same team, speaking through ``client``: the agents that have none of their own, or all of them.

        ``client``: a client, or the name of a model (``"openai:gpt-5-mini"``). Who sums up for a `views.summary` keeps
        its own.

        Raises:
            UsageError: there is no such provider, or its key is missing.
            MissingExtra: the packages of real models are not installed.
        """
        client = as_client(client)
        others = self._speechless
        given_one = [
            name
            for name, seat in self.performer.seats.items()
            if name not in others and (override or seat.client is None)
        ]
        spoken_for = {name: replace(self.performer.seats[name], voices=(client,)) for name in given_one}
        seats = {**self.performer.seats, **spoken_for}
        inner = [replace(each, workflow=each.workflow.with_client(client, override=override)) for each in self._teams]
        agents = tuple(next((new for new in inner if new.name == each.name), each) for each in self.agents)
        performer = replace(self.performer, seats=seats, teams={each.name: each.team for each in inner})
        return replace(self, agents=agents, performer=performer)

    def with_dispatcher(self, dispatcher: Dispatcher) -> Self:
        """The same team, whose turns ``dispatcher`` gives to workers."""
        return replace(self, dispatcher=dispatcher)

    def with_store(self, store: Store) -> Self:
        """The same team on another store."""
        return replace(self, store=store, _sessions=None)

    @property
    def _shared(self) -> Sessions:
        assert self._sessions is not None
        return self._sessions

    @property
    def _runner(self) -> Runner:
        return Runner(self.machine, self.performed, self._seat, self.concurrent)

    @property
    def _fleet(self) -> Fleet:
        return Fleet(self.name, self._runner, self.store, self._shared, self.dispatcher)

    def _seat(self, path: str) -> Seat | None:
        """The seat of an agent: of this team, or, by its path ``desk/refunds`` or its name alone, of one in it."""
        for team in self._teams:
            if path.startswith(f"{team.name}/"):
                return team.workflow._seat(path[len(team.name) + 1 :])
        return self.seats.get(path)

    async def _stand_at(self, checkpoint_id: str, branch: str | None, responses: Mapping[str, Any]) -> tuple[str, int]:
        """The session that stands at the checkpoint, its own or a branch that begins there, and its position."""
        origin, at = position_of(checkpoint_id)
        entries = await self.store.read(origin)
        if not entries:
            raise SessionNotFound(f"no session {origin!r} in this store, so no checkpoint {checkpoint_id!r}")
        if branch in (None, origin) and at == entries[-1].seq:
            return origin, at
        seq = standing(origin, entries, at)
        # All that can be wrong with the call is found before anything is written.
        state = self.machine.decide(state_after(origin, _upto(entries, seq)), Opened(origin)).state
        await self._runner.answers(origin, state, responses, ())
        return await fork(self.store, origin, at=seq, branch=branch), seq + 1


@dataclass(frozen=True)
class TeamAgent(Agent):
    """A team as a participant of another one. Made by `Workflow.as_agent`."""

    workflow: Workflow = None  # type: ignore[assignment]  # a dataclass cannot have it without a default here

    @property
    def team(self) -> Team:
        return Team(self.workflow.machine, self.workflow.performed)


def _upto(entries: Sequence[Entry], seq: int) -> Sequence[Entry]:
    return entries[: seq - entries[0].seq + 1]
