"""Who sits in a team: an agent, its voice, and all that its model is offered."""

import copy
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast, get_args

from relayline.agent import Agent, ChatClient, ChatRequest, ToolSpec
from relayline.errors import ConditionError, UsageError
from relayline.events import Summarised, Transfer
from relayline.executors import Executor
from relayline.machine.topology import Edge
from relayline.machine.view import TEAM, begun, sound
from relayline.messages import JSON, Message, Role, Text
from relayline.output import Output
from relayline.runtime.session import Session
from relayline.runtime.shared import Shared
from relayline.tools import Tool
from relayline.views import View, text

Predicate: TypeAlias = Callable[[Sequence[Message], Mapping[str, JSON]], bool | Awaitable[bool]]
"""Whether a handoff is open, given the conversation, oldest message first, and what the team keeps in common."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way on from an agent. ``payload``: a tool that only checks what it carries. ``when``: while it exists."""

    edge: Edge
    payload: Tool | None = None
    when: Predicate | None = None

    async def open(self, transcript: Sequence[Message], shared: Mapping[str, JSON]) -> bool:
        """Whether it exists now.

        Raises:
            ConditionError: if its predicate cannot say.
        """
        if self.when is None:
            return True
        try:
            # A copy, lists and all: whoever decides must not change what is decided about.
            verdict = self.when(transcript, copy.deepcopy(dict(shared)))
            return bool(await verdict if inspect.isawaitable(verdict) else verdict)
        except Exception as error:
            where = f"from {self.edge.source!r} to {self.edge.target!r}"
            said = f"{type(error).__name__}: {told(error)}"
            raise ConditionError(f"the predicate of the handoff {where} failed: {said}") from error


@dataclass(frozen=True, slots=True)
class Seat:
    """An agent in a team: itself, its voice, its tools by name, and all that its model is offered, ready made.

    ``voices``: its client first, then those that are asked where the one before failed. ``ways``: its handoffs by tool
    name. ``onward``: the ways on that no model chooses. ``view``: how much of the conversation it is given, ``views``:
    by whom it was handed over, where that differs. ``shared``: how the requests of the whole team are laid out, if they
    are laid out alike. ``output``: what its last word has to be. ``function``: what has the turn instead of a model;
    ``many``: whether it is given a list, of all that it waits for.
    """

    agent: Agent
    voices: Sequence[ChatClient]
    tools: Mapping[str, Tool]
    specs: tuple[ToolSpec, ...]
    ways: Mapping[str, Way] = field(default_factory=dict[str, Way])
    onward: Sequence[Way] = ()
    view: View = text
    views: Mapping[str, View] = field(default_factory=dict[str, View])
    shared: Shared | None = None
    output: Output | None = None
    function: Executor | None = None
    many: bool = False

    @property
    def client(self) -> ChatClient | None:
        """The model that is asked first."""
        return self.voices[0] if self.voices else None

    async def request(self, session: Session, settings: Mapping[str, Any] | None = None, turn: int = 0) -> ChatRequest:
        """What the agent's model is given, as the session stands. ``turn``: the one it has, if others have theirs.

        Raises:
            ConditionError: if a handoff's predicate cannot say.
        """
        state = session.state
        shut = {
            name
            for name, way in self.ways.items()
            if way.when is not None and not await way.open(state.transcript, state.shared)
        }
        specs = tuple(spec for spec in self.specs if spec.name not in shut) if shut else self.specs
        shared = self.shared if getattr(self.client, "shares_prefix", True) else None
        if shared is None:
            messages = await self._messages(session, turn)
        else:
            messages = shared.lay(session.view("", View(shared.show), turn), self.agent.name)
        return ChatRequest(
            self.agent,
            tuple(messages),
            shared.tools if shared else specs,
            session.id,
            shared.system if shared else "",
            tuple(spec.name for spec in specs) if shared else None,
            self.output.schema if self.output else None,
            settings or {},
        )

    async def _messages(self, session: Session, turn: int) -> Sequence[Message]:
        view, agent = self.viewed(session), self.agent.name
        messages = session.view(agent, view, turn)
        if view.client is not None and (made := session.state.summaries.get(agent)):
            messages.insert(0, summed_up(made))
        if view.shape is not None:
            shaped = view.shape(messages, agent)
            return sound(_messages(await shaped if inspect.isawaitable(shaped) else shaped, agent))
        return messages if view.first is None else begun(messages)

    def viewed(self, session: Session) -> View:
        """How much of the conversation the agent is given now."""
        arrival = session.state.floor.arrivals.get(self.agent.name)
        return self.views.get(arrival.handoff.source, self.view) if arrival else self.view

    def way(self, target: str) -> Way | None:
        """The handoff to ``target``, if it is declared."""
        return next((way for way in self.ways.values() if way.edge.target == target), None)

    def check(self, wanted: Transfer) -> None:
        """Refuse a handoff a tool asks for that the agent could not have.

        Raises:
            UsageError: naming what is wrong with it.
        """
        way = self.way(wanted.target)
        where = f"from {self.agent.name!r} to {wanted.target!r}"
        if way is None:
            declared = ", ".join(repr(each.edge.target) for each in self.ways.values()) or "none"
            raise UsageError(f"no handoff {where}; declared: {declared}. Add it with .add_handoff(...)")
        if way.edge.approval:
            raise UsageError(f"a person approves each handoff {where}, so the agent itself has to ask for it")
        if way.payload is None and wanted.payload is not None:
            raise UsageError(f"the handoff {where} carries no payload; declare it with .add_handoff(..., payload=...)")
        if way.payload is not None:
            problem = way.payload.problem(json.dumps({"payload": wanted.payload}))
            if problem:
                raise UsageError(problem)


def _messages(given: object, agent: str) -> Sequence[Message]:
    whole = list(cast("Sequence[object]", given)) if isinstance(given, list | tuple) else None
    if whole is None or not all(isinstance(each, Message) and each.role in get_args(Role) for each in whole):
        raise TypeError(f"the view of {agent!r} has to give a list of messages; got {given!r:.80}")
    return cast("list[Message]", whole)


def summed_up(made: Summarised) -> Message:
    """A summary as a model is shown it."""
    return Message("user", (Text(f"What was said before, summed up:\n{made.text}"),), TEAM)


def told(error: BaseException) -> str:
    """What an exception says, if it can."""
    try:
        return str(error)
    except Exception:
        return "(it cannot say what is wrong)"
