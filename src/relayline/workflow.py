"""A team at work: immutable, and good for any number of sessions at once."""

import asyncio
import copy
import importlib
import logging
import re
import uuid
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Self, cast

from relayline.agent import Agent, ChatClient, ChatRequest, Named, as_client
from relayline.dispatch import Dispatcher
from relayline.drawing.diagram import Diagram
from relayline.drawing.dot import as_dot
from relayline.drawing.mermaid import as_mermaid
from relayline.drawing.svg import as_svg
from relayline.drawing.team import diagram_of
from relayline.drawing.trail import doing, with_path, with_turns
from relayline.errors import (
    ConditionError,
    DamagedJournal,
    DispatchError,
    ExecutorError,
    ModelError,
    RequestNotOpen,
    RunClosed,
    SequenceConflict,
    SessionBusy,
    SessionNotFound,
    UsageError,
    WorldError,
)
from relayline.events import Entry, HandedBack, HandoffSent, Stopped, UserSpoke
from relayline.history.branches import fork
from relayline.journal.checkpoints import request_id, standing, state_after
from relayline.journal.codec import checked
from relayline.journal.ids import checked_id, new_id
from relayline.journal.inbox import Claim, Delivery, Receipt, inbox_of
from relayline.journal.store import Store, conflict
from relayline.machine.decide import Machine
from relayline.machine.effects import effects
from relayline.machine.graph import Graph
from relayline.machine.groupchat import GroupChat
from relayline.machine.inputs import (
    Answer,
    Approval,
    Cancel,
    Expired,
    Input,
    Opened,
    Resumed,
    Terminate,
    Turned,
    UserSaid,
)
from relayline.machine.lanes import outputs
from relayline.machine.nested import Waiting, speaking, waiting
from relayline.machine.patterns import Pattern
from relayline.machine.state import State
from relayline.machine.way import TurnTaken, way
from relayline.messages import JSON, Message
from relayline.middleware import Middleware
from relayline.runtime.driver import drive
from relayline.runtime.letter import Letter, read_letter
from relayline.runtime.perform import Context, Perform, Performer, Team
from relayline.runtime.pool import ConcurrentInput, Hold, Sessions
from relayline.runtime.requests import as_response, user_message
from relayline.runtime.run import Run, discard
from relayline.runtime.seat import Seat
from relayline.runtime.session import ATTEMPTS, Session
from relayline.runtime.stream import (
    Emit,
    Narrator,
    RequestInfoEvent,
    RunResult,
    WorkflowEvent,
    WorkflowRunState,
    pending,
    run_state,
)
from relayline.runtime.watch import Watcher, watch
from relayline.upgrades import SessionUpgrade, upgrade_of
from relayline.usage import Price, SessionUsage, usage_of

logger = logging.getLogger(__name__)

LOOK_FOR_RECEIPT = 0.2
"""Seconds between two looks at what became of a message, while nothing else is heard."""

NUMBERS = 1000
"""Each time somebody takes up what another was at, the numbers of attempts go on from the next thousand."""


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as it stands in its journal.

    ``active_agent``: who had the conversation last, or has it now. ``shared``: what the team keeps in common: the
    ``state`` of `ToolContext`. ``handoffs``: the way the conversation took, oldest first,
    without what was compacted. ``turns``: who had it, and which turn led to which; as far back as ``handoffs``.
    """

    session_id: str
    state: WorkflowRunState
    active_agent: str
    conversation: Sequence[Message]
    requests: Sequence[RequestInfoEvent]
    seq: int
    shared: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    handoffs: Sequence[HandoffSent | HandedBack] = ()
    turns: Sequence[TurnTaken] = ()


@dataclass(frozen=True, slots=True)
class Submitted:
    """The session that something was submitted to, and the id it has there."""

    session_id: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Order:
    """What a call asks for. ``expired``: the request whose time is over, if that is all."""

    session_id: str
    said: UserSaid | None = None
    responses: Mapping[str, Any] = field(default_factory=dict[str, Any])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    checkpoint_id: str | None = None
    expired: str = ""


class Given(NamedTuple):
    """What a run was called with: a message, answers, or neither.

    ``seq``: where the session has to stand. ``taking``: the message in the store's inbox that it is. ``attempt``: how
    often somebody took the session up. ``expired``: the request whose time is over, if that is all.
    """

    said: UserSaid | None
    responses: Mapping[str, Any]
    seq: int | None
    stream: bool
    settings: Mapping[str, Any]
    taking: str = ""
    attempt: int = 1
    expired: str = ""

    @property
    def anything(self) -> bool:
        return self.said is not None or bool(self.responses) or bool(self.expired)


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
        """How the team's effects are performed, its middleware around them."""
        perform: Perform = self.performer
        for middleware in reversed(self.middleware):
            perform = middleware(perform)
        return perform

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
            assert self._sessions is not None
            seq = None
            if order.checkpoint_id is not None:
                run.session_id, seq = await self._stand_at(order.checkpoint_id, session_id, order.responses)
            if self.dispatcher is not None:
                return await self._follow(replace(order, session_id=run.session_id), stream, emit)
            policy = self.concurrent if order.said else "queue"
            async with self._sessions.hold(run.session_id, self.machine, policy) as hold:
                return await self._work(hold, Given(order.said, order.responses, seq, stream, order.settings), emit)

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
        """What a call asks for.

        Raises:
            UsageError: it makes no sense.
        """
        if self.mute:
            raise UsageError(
                f"no model for {', '.join(map(repr, self.mute))}: give them one with Agent(client=...), "
                "or the team with workflow.with_client(...)"
            )
        said = None if message is None else user_message(message)
        target = to if isinstance(to, str) or to is None else getattr(to, "name", repr(to))
        if target is not None and target not in self.performer.seats:
            raise UsageError(
                f"no agent {target!r} to give the message to; there are: {', '.join(self.performer.seats)}"
            )
        if target is not None and said is None:
            raise UsageError(f"{target!r} can only be given a message; there is none")
        if state is not None and said is None:
            raise UsageError("state is given with a message; there is none")
        if settings is not None and not isinstance(settings, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"settings are a mapping of names to values; got {settings!r:.80}")
        if said is not None and responses:
            raise UsageError(
                "give a message or responses, not both: a message withdraws what the responses would answer"
            )
        origin = None if checkpoint_id is None else _position(checkpoint_id)[0]
        if responses and (origin is None or {_session_asked(request) for request in responses} != {origin}):
            # What names another session than the checkpoint's was asked in a branch that an earlier run began.
            session_id, checkpoint_id = _session_of(responses, session_id), None
        if said is None and session_id is None and checkpoint_id is None:
            raise UsageError("nothing to do: give a message, responses, or the session_id to resume")
        try:
            values = checked(state or {})
        except (ValueError, TypeError, AttributeError) as error:
            raise UsageError(f"state is a mapping of names to JSON values: {error}") from None
        given = checked_id(session_id if session_id is not None else new_id() if origin is None else origin)
        given_to = said and UserSaid(said, target or "", values)
        return Order(given, given_to, responses or {}, dict(settings or {}), checkpoint_id)

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
        return await self._submit(order, message_id, not_before, tenant)

    async def _submit(
        self, order: Order, message_id: str | None = None, not_before: datetime | None = None, tenant: str = ""
    ) -> Submitted:
        name = uuid.uuid4().hex if message_id is None else message_id
        inbox = inbox_of(self.store)
        submitted = Submitted(order.session_id, name)
        if message_id is not None and await inbox.receipt(order.session_id, name):
            return submitted
        body = (await self._letter(order)).written()
        if await inbox.put(order.session_id, name, body, team=self.name, tenant=tenant, not_before=not_before):
            await self._dispatch(submitted, not_before)
        return submitted

    async def receipt(self, submitted: Submitted) -> Receipt | None:
        """What became of what was submitted; None if nobody submitted it, or it was purged."""
        return await inbox_of(self.store).receipt(submitted.session_id, submitted.message_id)

    async def cancel(self, session_id: str) -> bool:
        """Stop what workers do for a session, and refuse what waits for it now.

        A model call in flight ends within a second or two, on whatever worker. The session is then `CANCELLED`, until
        it is run again or somebody says something else. False: there was nothing to stop.
        """
        found = await inbox_of(self.store).cancel(session_id)
        if found and self.dispatcher is not None:
            with suppress(DispatchError):  # the workers ask the store
                await self.dispatcher.cancel(session_id)
        return found

    async def work_off(self, claim: Claim, listen: Callable[[int], Emit] = lambda _: discard) -> None:
        """Do what there is to do for a claimed session, until it rests: what a crash cut off, then what waits.

        For those who write workers; `relayline.durable.worker` does. ``listen`` is told the number of the
        session's last fact, and gives what is then given every event.

        Raises:
            SequenceConflict: somebody else is at it as well. Nothing is lost.
            StoreError: what is done so far is kept.
        """
        assert self._sessions is not None
        async with self._sessions.hold(claim.session_id, self.machine) as hold:
            session = hold.session
            if claim.cancelled:
                await session.commit([Cancel()])
                return
            emit = listen(session.state.seq)
            if effects(session.state):
                await self._take(hold, Delivery("", Letter(self.name).written()), claim, emit)
            for waiting in claim.waiting:
                await self._take(hold, waiting, claim, emit)
            await self._set_timers(session)

    async def _take(self, hold: Hold, waiting: Delivery, claim: Claim, emit: Emit) -> None:
        try:
            letter = read_letter(waiting.body)
            if letter.team != self.name:
                raise UsageError(f"the message is for the team {letter.team!r}; {self.name!r} has this session")
            order = letter.said, letter.responses, None, True, letter.settings
            await self._work(hold, Given(*order, waiting.message_id, claim.attempt, letter.expired), emit)
        except (ModelError, ConditionError, ExecutorError):
            pass  # it is on record
        except UsageError as error:
            if not waiting.message_id or isinstance(error, RunClosed):
                raise
            await inbox_of(self.store).refuse(claim.session_id, waiting.message_id, str(error))

    async def _letter(self, order: Order) -> Letter:
        if order.said is None:
            session = await self._look(order.session_id)
            overdue = session.overdue(self.machine.expires)
            state = self.machine.decide(session.state, Opened(session.id)).state
            answers = await self._answers(session.id, state, order.responses, overdue)
            return Letter(self.name, None, {each.request: each.response for each in answers}, order.settings)
        return Letter(self.name, order.said, {}, order.settings)

    async def _set_timers(self, session: Session) -> None:
        """See to it that somebody looks when the time of what is asked now is over."""
        for request, until in session.deadlines(self.machine.expires).items():
            name = f"expiry of {request}"
            body = Letter(self.name, expired=request).written()
            if await inbox_of(self.store).put(session.id, name, body, team=self.name, not_before=until):
                await self._dispatch(Submitted(session.id, name), until)

    async def _dispatch(self, submitted: Submitted, not_before: datetime | None) -> None:
        if self.dispatcher is not None:
            try:
                await self.dispatcher.submit(submitted.session_id, submitted.message_id, not_before)
            except DispatchError as error:
                logger.warning("%s; a worker will find it in the store", error)

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
            replaced = await self._message(session_id, seq)
            again = self.run(
                said,
                session_id=run.session_id,
                checkpoint_id=f"{session_id}@{seq - 1}",
                to=replaced.to if replaced.to in self.performer.seats else None,
                stream=stream,
                settings=settings,
            )
            async for event in again:
                await emit(event)
            return await again

        run = Run(checked_id(new_id() if branch is None else branch), work)
        return run

    async def _message(self, session_id: str, seq: int) -> UserSpoke:
        entries = await self._entries(session_id)
        messages = {each.seq: each.fact for each in entries if isinstance(each.fact, UserSpoke)}
        if seq not in messages:
            newest = ", ".join(map(str, [*messages][-5:])) or "none"
            raise UsageError(
                f"fact {seq} of session {session_id!r} is no message of the user's; the newest are: {newest}"
            )
        return messages[seq]

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
        self.machine.decide((await self._look(session_id)).state, Opened(session_id))
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
        return watch(self.store, session_id, after, until_rest=until_rest, stream=stream)

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
        state = state_after(session_id, entries)
        return SessionView(
            session_id,
            run_state(state),
            speaking(state),
            state.transcript,
            pending(session_id, state),
            state.seq,
            copy.deepcopy(dict(state.shared)),
            [each for each in state.spoken if isinstance(each, HandoffSent | HandedBack)],
            way(entry.fact for entry in entries),
        )

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
        session = await self._look(session_id)
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
            raise _not_found(session_id)
        return entries

    def diagram(self, session: SessionView | None = None) -> Diagram:
        """The team as it is drawn; with a session, what `Workflow.session` gave: the way it took, and where it is.

        The way of a handoff team is that of all its handoffs; that of any other begins anew with each message of the
        user, and the last one is shown.

        Raises:
            UsageError: if the pattern is one of your own, which has no drawing.
        """
        drawn = diagram_of(self.agents, self.machine)
        if session is None:
            return drawn
        if isinstance(self.pattern, Graph | GroupChat):
            return with_turns(drawn, session.turns, session.state, session.requests)
        return with_path(drawn, session.handoffs, session.active_agent, doing(session.state, session.requests))

    def to_mermaid(self, session: SessionView | None = None) -> str:
        """`diagram`, for Markdown: a flowchart in the words of Mermaid."""
        return as_mermaid(self.diagram(session))

    def to_dot(self, session: SessionView | None = None) -> str:
        """`diagram`, for Graphviz."""
        return as_dot(self.diagram(session))

    def to_svg(self, session: SessionView | None = None) -> str:
        """`diagram`, as a picture of its own, with a light and a dark face."""
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

    async def _look(self, session_id: str) -> Session:
        session = Session(session_id, self.machine, self.store)
        await session.refresh()
        if not session.state.seq:
            raise _not_found(session_id)
        return session

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

    async def _work(self, hold: Hold, given: Given, emit: Emit) -> RunResult:
        session = hold.session
        inputs = await self._inputs(session, given)
        narrator = Narrator(session, emit)
        await narrator.signal("started")
        await narrator.signal("status", WorkflowRunState.IN_PROGRESS)
        try:
            before = await self._enter(session, given, inputs, narrator)
            hold.begun()
            delta = narrator.delta if given.stream else None
            numbers = NUMBERS * (given.attempt - 1)
            context = Context(session, narrator.progress, delta, settings=given.settings, before=numbers)
            seconds = self.machine.budget.seconds
            cause = await drive(session, (), self.performed, context, narrator.tell, seconds)
            failure = session.state.failure
            seat = self._seat(failure.agent) if failure else None
            _check(session.state, cause, function=bool(seat and seat.function))
        except WorldError as error:
            await narrator.signal("failed", error)
            await narrator.signal("status", WorkflowRunState.FAILED)
            raise
        await narrator.signal("status", run_state(session.state))
        return self._result(session.id, session.state, before)

    async def _follow(self, order: Order, stream: bool, emit: Emit) -> RunResult:
        """Have a worker do it, and show what it does as if it were done here."""
        session = Session(order.session_id, self.machine, self.store)
        await session.refresh()
        before, narrator = session.state, Narrator(session, emit)
        try:
            async with Watcher(self.store, session.id, before.seq, stream=stream) as watcher:
                submitted = await self._submit(order)
                await narrator.signal("started")
                await narrator.signal("status", WorkflowRunState.IN_PROGRESS)
                if order.said is None and not order.responses:
                    await narrator.remind({each.request for each in waiting(before)})
                receipt: Receipt | None = None
                while receipt is None or effects(watcher.state) or watcher.state.seq < receipt.seq:
                    async for event in watcher.news(LOOK_FOR_RECEIPT):
                        await emit(event)
                    if receipt is None:
                        receipt = _settled(await self.receipt(submitted))
        except asyncio.CancelledError:
            await asyncio.shield(self.cancel(session.id))
            raise
        if receipt.problem:
            raise UsageError(receipt.problem)
        try:
            failure = watcher.state.failure
            seat = self._seat(failure.agent) if failure else None
            _check(watcher.state, None, function=bool(seat and seat.function))
        except WorldError as error:
            await narrator.signal("failed", error)
            await narrator.signal("status", WorkflowRunState.FAILED)
            raise
        await narrator.signal("status", run_state(watcher.state))
        return self._result(session.id, watcher.state, len(before.transcript))

    def _result(self, session_id: str, state: State, before: int) -> RunResult:
        """What came of it; ``before``: how many messages there were."""
        new = state.transcript.since(before)
        stopped = state.rest if isinstance(state.rest, Stopped) else None
        waiting = pending(session_id, state)
        value, last = self._value(new), outputs(state)
        return RunResult(session_id, run_state(state), new, state.transcript, waiting, stopped, value, last)

    async def _inputs(self, session: Session, given: Given) -> list[Input]:
        """What the run has to say to the session as it stands; refused, if it makes no sense there."""
        state = session.state
        if not state.seq and given.said is None:
            raise _not_found(session.id)
        if given.seq is not None and state.seq != given.seq:
            raise conflict(session.id, given.seq, state.seq)
        overdue = session.overdue(self.machine.expires)
        expired = [Expired(request) for request in overdue]
        opened = Opened(session.id)
        changed, state = self.machine.decide(state, opened)
        begin: list[Input] = [opened] if changed else []
        if given.expired:
            return [*begin, Expired(given.expired)]
        if given.said:
            return [*begin, *expired, given.said]
        inputs: list[Input] = [*begin, Resumed(), *expired]
        if given.responses:
            # A team that has changed may have withdrawn what was asked.
            ready = self.machine.decide(state, Resumed()).state if changed else state
            inputs += await self._answers(session.id, ready, given.responses, overdue)
        return inputs

    async def _enter(self, session: Session, given: Given, inputs: Sequence[Input], narrator: Narrator) -> int:
        """Put on record what the run was given, and show what waits; how many messages there were before.

        Where another process wrote first, it is decided again on what that wrote: nobody has to say it twice.
        """
        for attempt in range(ATTEMPTS):
            asked, before = {each.request for each in waiting(session.state)}, len(session.state.transcript)
            try:
                entries = await session.commit(inputs, taking=(given.taking,) if given.taking else ())
            except SequenceConflict as error:
                if not given.anything or given.seq is not None or given.taking:
                    raise  # whoever only resumes need not, with somebody else at work
                if self.concurrent == "reject":
                    raise _busy(session.id) from error
                await asyncio.sleep(attempt / 1000)
                await session.refresh()
                inputs = await self._inputs(session, given)
                narrator.catch_up()
                continue
            if given.taking and not entries:
                await inbox_of(self.store).refuse(session.id, given.taking, "")  # it meant nothing
            await narrator.tell(entries)
            if not given.anything:
                await narrator.remind(asked)
            return before
        raise _busy(session.id)

    def _value(self, new: Sequence[Message]) -> Any:
        """What the last reply is the JSON of, if its agent's replies are that of anything."""
        last = next((message for message in reversed(new) if message.role == "assistant"), None)
        seat = last and self.performer.seats.get(last.author_name)
        if last and seat and seat.function:
            return seat.function.value(last.text)
        if not last or not seat or not seat.output or last.tool_calls:
            return None
        return seat.output.read(last.text)[0]

    async def _stand_at(self, checkpoint_id: str, branch: str | None, responses: Mapping[str, Any]) -> tuple[str, int]:
        """The session that stands at the checkpoint, its own or a branch that begins there, and its position."""
        origin, at = _position(checkpoint_id)
        entries = await self.store.read(origin)
        if not entries:
            raise SessionNotFound(f"no session {origin!r} in this store, so no checkpoint {checkpoint_id!r}")
        if branch in (None, origin) and at == entries[-1].seq:
            return origin, at
        seq = standing(origin, entries, at)
        # All that can be wrong with the call is found before anything is written.
        state = self.machine.decide(state_after(origin, _upto(entries, seq)), Opened(origin)).state
        await self._answers(origin, state, responses, ())
        return await fork(self.store, origin, at=seq, branch=branch), seq + 1

    async def _answers(
        self, session_id: str, state: State, responses: Mapping[str, Any], overdue: Collection[str]
    ) -> list[Answer]:
        if len(responses) > 1 and any(isinstance(value, Terminate) for value in responses.values()):
            raise UsageError("terminate() ends the conversation; give no other response with it")
        answers: list[Answer] = []
        open_now = {each.request: each for each in waiting(state)}
        for request, value in responses.items():
            local = request.rpartition("/")[2]
            found = open_now.get(local)
            if local in overdue:
                raise RequestNotOpen(f"the time to answer request {request!r} is over; run the session to go on")
            if found is None:
                others = ", ".join(request_id(session_id, each) for each in open_now) or "none"
                raise RequestNotOpen(
                    f"request {request!r} is not waiting for an answer (never asked, already answered, or withdrawn); "
                    f"waiting in session {session_id!r}: {others}"
                )
            asked = found.asked
            response = as_response(asked, value)
            if isinstance(response, Approval) and response.arguments is not None and asked.call is not None:
                seat = self._seat(found.path)
                tool = seat and seat.tools.get(asked.call.name)
                problem = tool.problem(response.arguments) if tool else f"{asked.call.name!r} takes none."
                if problem:
                    raise UsageError(f"the edited arguments do not fit; the request stays open. {problem}")
            if isinstance(response, Turned):
                await self._check_turn(state, found, response)
            answers.append(Answer(local, response))
        return answers

    def _seat(self, path: str) -> Seat | None:
        """The seat of an agent: of this team, or, ``desk/refunds``, of one in it."""
        for team in self._teams:
            if path.startswith(f"{team.name}/"):
                return team.workflow._seat(path[len(team.name) + 1 :])
        return self.performer.seats.get(path)

    async def _check_turn(self, state: State, found: Waiting, given: Turned) -> None:
        """Refuse what a person cannot do with their turn, before anything is said to have begun."""
        asked = found.asked
        self.machine.decide(state, Answer(found.request, given))
        seat = self._seat(found.path)
        way = seat and seat.way(given.to)
        if way and not await way.open(state.transcript, state.shared):
            raise UsageError(
                f"the handoff from {asked.agent!r} to {given.to!r} is not open now; the request stays open"
            )


@dataclass(frozen=True)
class TeamAgent(Agent):
    """A team as a participant of another one. Made by `Workflow.as_agent`."""

    workflow: Workflow = None  # type: ignore[assignment]  # a dataclass cannot have it without a default here

    @property
    def team(self) -> Team:
        return Team(self.workflow.machine, self.workflow.performed)


def _busy(session_id: str) -> SessionBusy:
    return SessionBusy(
        f"session {session_id!r} is being written to by others all the time; nothing was changed, so say it again"
    )


def _not_found(session_id: str) -> SessionNotFound:
    # Not which ones there are: an id may be all that somebody needs to answer for somebody else.
    return SessionNotFound(f"no session {session_id!r} in this store; give a message as well to start it")


def _upto(entries: Sequence[Entry], seq: int) -> Sequence[Entry]:
    return entries[: seq - entries[0].seq + 1]


def _position(checkpoint_id: object) -> tuple[str, int]:
    """The session of a checkpoint, and after how many of its facts it is."""
    session_id, _, seq = checkpoint_id.rpartition("@") if isinstance(checkpoint_id, str) else ("", "", "")
    if not session_id or not re.fullmatch("[1-9][0-9]{0,15}", seq, re.ASCII):
        raise UsageError(
            f"{checkpoint_id!r} is no checkpoint, which is SESSION@SEQ; storage.list_checkpoints() gives those where "
            "sessions rested, each with its checkpoint_id"
        )
    return session_id, int(seq)


def _session_asked(request: str) -> str:
    return request.rpartition("/")[0] if isinstance(request, str) else ""  # pyright: ignore[reportUnnecessaryIsInstance]


def _session_of(responses: Mapping[str, Any], session_id: str | None) -> str:
    sessions = {_session_asked(request) for request in responses}
    if session_id is not None:
        sessions.add(session_id)
    if len(sessions) != 1 or "" in sessions:
        raise UsageError(
            "responses are given by request id, as in event.request_id, and all for one session; "
            f"got {', '.join(map(repr, responses)) or 'none'}"
            + (f" for session {session_id!r}" if session_id is not None else "")
        )
    return sessions.pop()


def _settled(receipt: Receipt | None) -> Receipt | None:
    return None if receipt is None or receipt.state == "waiting" else receipt


def _check(state: State, cause: BaseException | None, *, function: bool) -> None:
    """Raise what the run failed with, if it did."""
    failure = state.failure
    if failure is None:
        return
    if isinstance(cause, ConditionError):
        raise cause
    if not failure.agent:
        raise ConditionError(failure.message) from cause
    if function:
        raise ExecutorError(
            f"{failure.agent!r} failed: {failure.error}: {failure.message}. "
            "Nothing is lost; run the session again to retry.",
            failure.agent,
        ) from cause
    raise ModelError(
        f"the model of {failure.agent!r} failed: {failure.error}: {failure.message}. "
        "Nothing is lost; run the session again to retry.",
        failure.agent,
    ) from cause
