"""From an effect to what came of it: call the model, run the tool, ask the condition."""

import asyncio
import copy
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias, assert_never

from relayline.context import Host, SharedState, ToolContext
from relayline.errors import BuildError, ConditionError, UsageError
from relayline.events import Transfer
from relayline.machine.decide import Machine
from relayline.machine.effects import CallModel, Effect, Inside, Judge, Reconcile, RunTool
from relayline.machine.inputs import EffectFailed, FromTeam, Input, Judged, OutcomeFound, OutOfBudget, ToolDone
from relayline.machine.lanes import sight
from relayline.machine.state import State, Turn
from relayline.messages import JSON, Message, valid
from relayline.reconcile import NotDone
from relayline.runtime.function import run_function
from relayline.runtime.progress import Progress, unless_cancelled
from relayline.runtime.reply import reply, summarise
from relayline.runtime.seat import Seat, Way, told
from relayline.runtime.session import Session
from relayline.runtime.within import named, ran_out, seen, told_by, wanted
from relayline.tools import Tool

Condition: TypeAlias = Callable[[Sequence[Message]], bool | Awaitable[bool]]
"""A termination condition: is this conversation, oldest message first, over?"""


@dataclass(frozen=True, slots=True)
class Context:
    """What an effect may know and reach. Middleware is given that of its own team.

    ``session``: the team's; of a team within another its part of the conversation.
    ``progress`` shows what an agent's tool has to show. ``emit`` streams an agent's next words, with the number of the
    attempt they belong to; None if nobody listens. ``attempts``: how often each reply was begun, counted from
    ``before`` on. ``settings``: the run's own, for the models of its agents. ``inside``: the effect as the
    session wants it, if it is one of a team within the team. ``begun``: when in this run each of these began, by its
    session, for those that have so many seconds.
    """

    session: Session
    progress: Callable[[str, JSON], Awaitable[None]]
    emit: Callable[[str, int, str], Awaitable[None]] | None = None
    attempts: dict[str, int] = field(default_factory=dict[str, int])
    before: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    inside: Inside | None = None
    begun: dict[str, float] = field(default_factory=dict[str, float])


Choose: TypeAlias = Callable[[State, Turn | None], Awaitable[frozenset[str]]]
"""The agents that may be next after a turn, or at the beginning; raises `ConditionError` if it cannot say."""
_Work: TypeAlias = Callable[[Tool, ToolContext], Awaitable[str | NotDone]]

Perform: TypeAlias = Callable[[Effect, Context], Coroutine[Any, Any, Input]]


@dataclass(frozen=True, slots=True)
class Team:
    """A team that is a participant: its rules, and how its effects are performed, its own middleware around them."""

    machine: Machine
    perform: Perform


@dataclass(frozen=True, slots=True)
class Performer:
    """The plain `Perform` of a team. ``choose``: who may be next, where neither a model nor the pattern says so.
    ``teams``: the participants that are teams.
    """

    seats: Mapping[str, Seat]
    condition: Condition | None = None
    choose: Choose | None = None
    teams: Mapping[str, Team] = field(default_factory=dict[str, "Team"])

    async def __call__(self, effect: Effect, context: Context) -> Input:
        if context.inside is not None:
            return await self._inside(effect, context.inside, context)
        match effect:
            case CallModel():
                return await self._call_model(effect, context)
            case RunTool():
                return await self._run_tool(effect, context)
            case Reconcile():
                return await self._reconcile(effect, context)
            case Judge():
                return await self._judge(effect, context)
            case Inside():
                return told_by(effect, await self._inside(seen(effect), effect, context))
            case _:
                assert_never(effect)

    async def _inside(self, effect: Effect, inside: Inside, context: Context) -> Input:
        """``effect`` is ``inside`` as this team sees it."""
        team = self.teams.get(inside.agent)
        if team is None:
            return _failed(effect.id, BuildError(f"{inside.agent!r} is no team in this team any more"))

        async def progress(agent: str, data: JSON) -> None:
            await context.progress(f"{inside.agent}/{agent}", data)

        async def emit(agent: str, attempt: int, words: str) -> None:
            if context.emit:
                await context.emit(f"{inside.agent}/{agent}", attempt, words)

        room = context.session.room(inside.turn, team.machine)
        inner = replace(context, session=room, progress=progress, emit=emit if context.emit else None, inside=None)
        outcome = await _in_time(team, wanted(inside.effect, effect), inner)
        return FromTeam(inside.turn, outcome) if ran_out(outcome) else named(outcome, effect.id)

    async def _call_model(self, effect: CallModel, context: Context) -> Input:
        try:
            seat = self._seat(effect.agent)
            if made := await summarise(seat, effect.id, context.session):
                return made
        except (Exception, asyncio.CancelledError) as error:
            unless_cancelled(error)
            return _failed(effect.id, error)
        failure: BaseException | None = None
        for client in seat.voices:
            key = f"{context.session.id}/{effect.id}"
            attempt = context.attempts[key] = context.attempts.get(key, context.before) + 1
            emit = context.emit and partial(context.emit, effect.agent, attempt)
            try:
                return await reply(seat, client, effect, context.session, context.settings, emit)
            except (Exception, asyncio.CancelledError) as error:
                unless_cancelled(error)
                failure = error
                if isinstance(error, UsageError):
                    break  # a setting that does not exist is nobody's failure but the program's
        if failure is None:
            failure = BuildError(
                f"{seat.agent.name!r} is a person or a team in this team, and had a model when this turn began"
            )
        return replace(_failed(effect.id, failure), model=not isinstance(failure, ConditionError | UsageError))

    def _seat(self, agent: str) -> Seat:
        if agent not in self.seats:
            raise BuildError(f"the conversation is with {agent!r}, who is not in this team: {', '.join(self.seats)}")
        return self.seats[agent]

    async def _run_tool(self, effect: RunTool, context: Context) -> Input:
        try:
            seat = self._seat(effect.agent)
            if seat.function is not None:
                return await run_function(seat, effect, context.session, context.progress)
            done = await self._in_tool(effect, context, lambda tool, given: tool.call(effect.call.arguments, given))
            assert done is not None
            return done
        except (Exception, asyncio.CancelledError, SystemExit) as error:  # argparse and its kin exit
            unless_cancelled(error)
            return ToolDone(effect.id, _said(error), "error")

    async def _reconcile(self, effect: Reconcile, context: Context) -> Input:
        try:
            work = partial(_outcome, effect.call.arguments)
            return OutcomeFound(effect.id, await self._in_tool(effect, context, work))
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            unless_cancelled(error)
            return OutcomeFound(effect.id, problem=_said(error))

    async def _in_tool(self, effect: RunTool | Reconcile, context: Context, work: _Work) -> ToolDone | None:
        """What comes of ``work`` in the call's tool; None: nothing was done."""
        session, call = context.session, effect.call
        seat = self._seat(effect.agent)
        if call.name not in seat.tools:
            raise BuildError(f"{effect.agent!r} has no tool {call.name!r} any more; the team has changed")
        shared = SharedState(lambda: session.state.shared)
        progress = Progress(effect.agent, context.progress)
        arrival = session.state.floor.arrivals.get(effect.agent)
        given = ToolContext(
            session.id,
            effect.agent,
            call.id,
            f"{session.id}/{call.id}",
            sight(session.state, effect.turn).transcript,
            shared,
            copy.deepcopy(arrival.handoff.payload) if arrival else None,
            [],
            partial(_check, seat, progress),
            progress,
            Host(seat.client, session.store),
        )
        async with progress:
            said = await work(seat.tools[call.name], given)
        if isinstance(said, NotDone):
            return None
        # The tool has run. From here on its result is what it said, whatever becomes of the rest.
        content = valid(said)
        values: Mapping[str, JSON] = {}
        removed: tuple[str, ...] = ()
        shared.close()
        try:
            values, removed = shared.changes()
        except TypeError as error:
            content = valid(f"{content}\nIts changes were not kept: {error}.")
        wish = given.handoffs[-1] if given.handoffs else None
        way = wish and seat.way(wish.target)
        if wish and way:
            left = {key: value for key, value in session.state.shared.items() if key not in removed}
            if why := await _shut(way, session.state.transcript, {**left, **values}):
                content, wish = f"{content}\nNot transferred to {wish.target}: {why}.", None
        return ToolDone(call.id, content, "done", values, removed, wish)

    async def _judge(self, effect: Judge, context: Context) -> Input:
        state = sight(context.session.state, effect.turn)
        try:
            if self.condition is not None and not effect.turn:
                verdict = self.condition(state.transcript)
                if await verdict if inspect.isawaitable(verdict) else verdict:
                    return Judged(effect.id, stop=True)
        except (Exception, asyncio.CancelledError) as error:
            unless_cancelled(error)
            return _failed(effect.id, error, "the termination condition failed: ")
        try:
            turn = state.ended[effect.turn].turn if effect.turn else state.due and state.due.turn
            if self.choose is not None:
                return Judged(effect.id, stop=False, ways=await self.choose(state, turn))
            ended = turn and self.seats.get(turn.agent)
            for way in ended.onward if ended else ():
                if await way.open(state.transcript, state.shared):
                    return Judged(effect.id, stop=False, ways=frozenset({way.edge.target}))
            return Judged(effect.id, stop=False)
        except (Exception, asyncio.CancelledError) as error:
            unless_cancelled(error)
            return _failed(effect.id, error)


async def _in_time(team: Team, effect: Effect, context: Context) -> Input:
    """Perform an effect of a team within, unless the seconds are over that it has in each run."""
    seconds, now = team.machine.budget.seconds, asyncio.get_running_loop().time()
    if seconds is None:
        return await team.perform(effect, context)
    spent = OutOfBudget("seconds", f"the team had {seconds:g} seconds in this run")
    until = context.begun.setdefault(context.session.id, now) + seconds
    if now >= until:
        return spent
    time = asyncio.timeout_at(until)
    try:
        async with time:
            return await team.perform(effect, context)
    except TimeoutError:
        if not time.expired():
            raise
        return spent


def at_any_depth(perform: Perform) -> Perform:
    """``perform``, which is given what teams within the team want as if the team wanted it."""

    async def performed(effect: Effect, context: Context) -> Input:
        if not isinstance(effect, Inside):
            return await perform(effect, context)
        return told_by(effect, await perform(seen(effect), replace(context, inside=effect)))

    return performed


def _check(seat: Seat, progress: Progress, wanted: Transfer) -> None:
    if progress.over:
        raise UsageError(f"the tool has returned, so it cannot hand over to {wanted.target!r} any more")
    seat.check(wanted)


async def _shut(way: Way, transcript: Sequence[Message], shared: Mapping[str, JSON]) -> str:
    """Why a handoff that a tool wants does not exist now; empty: it does."""
    try:
        return "" if await way.open(transcript, shared) else "that handoff is not open"
    except ConditionError as error:
        # The tool has run. What it did is kept, whatever becomes of its wish.
        return valid(str(error))


async def _outcome(arguments: str, tool: Tool, given: ToolContext) -> str | NotDone:
    return await tool.outcome(arguments, given)


def _said(error: BaseException) -> str:
    return valid(f"{type(error).__name__}: {told(error)}")


def _failed(effect: str, error: BaseException, prefix: str = "") -> EffectFailed:
    return EffectFailed(effect, type(error).__name__, valid(prefix + told(error)), error)
