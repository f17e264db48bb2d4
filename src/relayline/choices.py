"""Which edges of a graph are taken: the questions that are asked of what a node came to."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from relayline.errors import ConditionError
from relayline.machine.state import State, Turn
from relayline.messages import Message
from relayline.runtime.seat import Seat

Test: TypeAlias = Callable[[Any], bool | Awaitable[bool]]
"""Whether an edge is taken, given what its source came to: a function's value, an agent's words or its output."""

Selection: TypeAlias = Callable[[Any, list[str]], Sequence[str] | Awaitable[Sequence[str]]]
"""The names of those that what a node came to goes to, of the names there are."""


class Choice(NamedTuple):
    """One question about what ``source`` came to. ``first``: whether only the first that holds counts."""

    source: str
    tests: tuple[tuple[Test | None, str], ...] = ()
    select: Selection | None = None
    first: bool = False

    @property
    def targets(self) -> Sequence[str]:
        """Each once, in the order of its first mention: an edge leads to each."""
        return [*dict.fromkeys(name for _, name in self.tests)]


# A value and no closure, so that a team can be compared and written down.


@dataclass(frozen=True, slots=True)
class Choices:
    """All that is asked in a graph, in declared order. Called as a pattern's `Choose`.

    ``seats``: those of the graph's nodes and of the agents in teams among them, by name.
    """

    choices: tuple[Choice, ...]
    seats: Mapping[str, Seat] = field(repr=False, compare=False)

    async def __call__(self, state: State, turn: Turn | None) -> frozenset[str]:
        ended = turn and (state.ended.get(turn.number) or state.past)
        if turn is None or not ended or ended.failed:
            return frozenset()
        # What a team came to is what the one in it said who spoke last.
        speaker = ended.last.author_name if ended.last else turn.agent
        value = _value(self.seats.get(speaker) or self.seats[turn.agent], ended.last)
        found: set[str] = set()
        for choice in self.choices:
            if choice.source == turn.agent:
                found |= await _chosen(choice, value)
        return frozenset(found)


def _value(seat: Seat, last: Message | None) -> Any:
    text = last.text if last else ""
    if seat.function is not None:
        return seat.function.value(text)
    return seat.output.read(text)[0] if seat.output else text


async def _chosen(choice: Choice, value: Any) -> set[str]:
    names = [name for _, name in choice.tests]
    found: set[str] = set()
    try:
        if choice.select is not None:
            said = choice.select(value, names)
            found = set(await said if inspect.isawaitable(said) else said)
        for test, name in () if choice.select is not None else choice.tests:
            holds = True if test is None else test(value)
            if await holds if inspect.isawaitable(holds) else holds:
                found.add(name)
                if choice.first:
                    break
    except Exception as error:
        raise ConditionError(f"a condition on the edges from {choice.source!r} failed: {error}") from error
    if odd := found - set(names):
        raise ConditionError(f"the selection from {choice.source!r} named {min(odd)!r}; there are: {', '.join(names)}")
    return found
