"""Turns beside one another: what each may know of the others, and the order in which they join the conversation."""

from collections.abc import Iterable, Iterator, Mapping

from relayline.machine.log import Log
from relayline.machine.names import Spoken
from relayline.machine.state import Ended, State, Turn
from relayline.messages import Message


def before(state: State, turns: Iterable[int]) -> dict[int, Turn]:
    """These turns and all that led to them, as far as they have not joined the conversation."""
    found: dict[int, Turn] = {}
    waiting = list(turns)
    while waiting:
        number = waiting.pop()
        each = state.ended.get(number)
        if each and not each.joined and number not in found:
            found[number] = each.turn
            waiting += each.turn.part.after
    return found


def in_sequence(turns: Iterable[Turn]) -> list[Turn]:
    """The turns in the conversation's order: what leads to a turn is before it."""
    return sorted(turns, key=lambda turn: (turn.lane.level if turn.lane else 0, len(turn.key), turn.key))


def in_order(ended: Mapping[int, Ended]) -> tuple[int, ...]:
    """The turns that have yet to join the conversation, in an order that does not depend on who was faster."""
    return tuple(each.number for each in in_sequence(each.turn for each in ended.values() if not each.joined))


def sight(state: State, number: int) -> State:
    """The session as whoever has this turn knows it: the conversation, what led to the turn, and the turn itself.

    At no cost for a turn in the conversation; else what was said is put together anew.
    """
    turn = state.open.get(number) or (state.ended[number].turn if number in state.ended else None)
    if turn is None or turn.lane is None or (number in state.ended and state.ended[number].joined):
        return state
    turns = [*in_sequence(before(state, turn.part.after).values()), turn]
    said = [item for each in turns if each.lane for item in each.lane.said]
    words = [item for item in said if isinstance(item, Message)]
    seen = state.copied()
    seen.spoken, seen.transcript = Log([*state.spoken, *said]), Log([*state.transcript, *words])
    return seen


def latest(state: State, after: Iterable[int]) -> Iterator[Spoken]:
    """What was said, the last first, as a turn that goes on from these has it."""
    for turn in reversed(in_sequence(before(state, after).values())):
        yield from reversed(turn.lane.said if turn.lane else ())
    yield from reversed(state.spoken)


def outputs(state: State) -> tuple[Message, ...]:
    """The last words of the turns that nobody went on from since the user spoke, in the conversation's order."""
    if not state.ended and not state.open:
        return (state.past.last,) if state.past and state.past.last else ()
    joined = in_sequence(each.turn for each in state.ended.values() if each.joined and each.turn.lane)
    ended = [*(state.ended[turn.number] for turn in joined), *([state.past] if state.past else [])]
    turns = [*(each.turn for each in ended), *state.open.values()]
    passed = {number for turn in turns for number in turn.part.after}
    return tuple(each.last for each in ended if each.last and each.turn.number not in passed)
