"""A builder of teams that discuss: one speaks after the other, and everybody hears everybody."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from relayline.agent import Member
from relayline.assembled import TeamBuilder
from relayline.declared import Declared, participants, seats
from relayline.errors import ConditionError
from relayline.executors import FunctionAgent
from relayline.machine.groupchat import GroupChat
from relayline.machine.limits import Limits
from relayline.machine.state import State, Turn
from relayline.machine.topology import Edge
from relayline.messages import Message
from relayline.runtime.perform import Condition
from relayline.workflow import Workflow


@dataclass(frozen=True, slots=True)
class GroupChatState:
    """What a function that selects the next speaker is given.

    ``participants``: their names, in declared order. ``conversation``: oldest first. ``rounds``: how many of them spoke
    since the user did. ``last_speaker``: empty, if nobody did.
    """

    participants: tuple[str, ...]
    conversation: Sequence[Message]
    rounds: int
    last_speaker: str


Selection: TypeAlias = Callable[[GroupChatState], str | Awaitable[str | None] | None]
"""Names who speaks next; None ends the chat, for now."""


class GroupChatBuilder(TeamBuilder):
    """A team that discusses. Who speaks next is said by one of these, or else it is everybody in turn.

    ``selection_func``: a function of the `GroupChatState`, sync or async; what it said is in the journal, so a replay
    does not ask again. ``selector``: an agent of its own, who hears all and gives the word by handing over to a
    participant; when it answers instead, the chat is over and its words are the result. ``max_rounds``: how many turns
    of participants one message of the user may take.
    """

    def __init__(
        self,
        *,
        participants: Sequence[Member | Callable[..., Any]] = (),
        selection_func: Selection | None = None,
        selector: Member | None = None,
        max_rounds: int | None = None,
        name: str = "group chat",
    ) -> None:
        super().__init__(name)
        self._participants = tuple(participants)
        self._selection = selection_func
        self._selector = selector
        self._rounds = max_rounds

    def with_max_rounds(self, max_rounds: int | None) -> Self:
        """How many turns of participants one message of the user may take; None: until a condition or the selector ends
        it.
        """
        self._rounds = max_rounds
        return self

    def with_termination_condition(self, condition: Condition) -> Self:
        """End the chat when ``condition`` says so, a function of the transcript: see `relayline.conditions`.

        It is asked after each message of the user and each turn. Should it raise, that run fails with a
        `ConditionError` and can be retried.
        """
        self._condition = condition
        return self

    def build(self) -> Workflow:
        """The workflow.

        Raises:
            BuildError: with every problem of the declaration, not just the first.
        """
        problems: list[str] = []
        chair = () if self._selector is None else (self._selector,)
        agents = participants([*self._participants, *chair], problems)
        names = [agent.name for agent in agents]
        members = names[: len(names) - len(chair)]
        if not members and not problems:
            problems.append("RL105 a team needs at least one participant: GroupChatBuilder(participants=[...])")
        if self._selection is not None and (chair or not callable(self._selection)):
            problems.append(
                f"RL103 the next speaker is said by a function or by an agent, one of them; got {self._selection!r}"
            )
        if chair and isinstance(agents[-1] if agents else None, FunctionAgent):
            problems.append("RL103 selector is an agent; a function is given as selection_func")
        if self._rounds is not None and (type(self._rounds) is not int or self._rounds < 1):
            problems.append(f"RL108 max_rounds is {self._rounds!r}; it is a number of turns, 1 or more, or None")
        endless = self._rounds is None and self._condition is None and not chair and self._selection is None
        if endless and self._budget == (None, None, None):
            problems.append("RL143 nobody ever ends this chat: give it max_rounds, a termination condition or a budget")
        pattern = GroupChat(tuple(members), names[-1] if chair and names else "", bool(self._selection), self._rounds)
        edges = [Declared(Edge(pattern.selector, each)) for each in members] if chair else []
        sat = seats(agents, edges, {}, problems) if not problems else {}
        choose = None if self._selection is None else Selecting(self._selection, tuple(members))
        ways = [each.edge for each in edges]
        limits = Limits(hops=None, cycles=True)
        return self._assemble(
            agents,
            pattern,
            sat,
            problems,
            pattern.selector or members[0] if members else "",
            ways,
            choose,
            limits=limits,
        )


# A value and no closure, so that a team can be compared and written down.


@dataclass(frozen=True, slots=True)
class Selecting:
    """Who speaks next, as a function says that was given. Called as a pattern's `Choose`."""

    select: Selection
    members: tuple[str, ...]

    async def __call__(self, state: State, turn: Turn | None) -> frozenset[str]:
        last = turn.agent if turn else ""
        try:
            said = self.select(GroupChatState(self.members, state.transcript, state.since.begun, last))
            name = await said if inspect.isawaitable(said) else said
        except Exception as error:
            raise ConditionError(f"the function that selects the next speaker failed: {error}") from error
        if name is None:
            return frozenset()
        if name not in self.members:
            raise ConditionError(
                f"the function that selects the next speaker named {name!r}; participants: {', '.join(self.members)}"
            )
        return frozenset({name})
