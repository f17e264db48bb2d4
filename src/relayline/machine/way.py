"""The way a conversation took: who had it, turn after turn, and which turns led to which."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from relayline.events import (
    Fact,
    Failed,
    HandedBack,
    HandoffSent,
    Retried,
    TeamChanged,
    TurnEnded,
    TurnStarted,
    UserSpoke,
)
from relayline.machine.names import Names


@dataclass(frozen=True, slots=True)
class TurnTaken:
    """A turn of a participant, counted from 1 as in the journal.

    ``after``: the turns it went on from; none: it began with what the user said. ``message``: which message of the user
    it belongs to, counted from 1 in what there is of the conversation. ``state``: ``failed`` as long as it is not
    retried.
    """

    turn: int
    agent: str
    after: tuple[int, ...] = ()
    message: int = 0
    state: Literal["open", "over", "failed"] = "open"


def way(facts: Iterable[Fact]) -> list[TurnTaken]:
    """The turns of a conversation, oldest first, under the names that participants have now.

    What goes on in a team within the team is that team's one turn.
    """
    turns: dict[int, TurnTaken] = {}
    last, message = 0, 0
    failing: list[int] = []  # those that go on if it is retried
    for fact in facts:
        match fact:
            case UserSpoke():
                last, message = 0, message + 1
            case TurnStarted():
                after = fact.after or ((last,) if last else ())
                known = tuple(number for number in after if number in turns)
                turns[fact.turn] = TurnTaken(fact.turn, fact.agent, known, message)
            case TurnEnded() if fact.turn in turns:
                last = fact.turn
                failing = [number for number in failing if number != last]
                turns[last] = replace(turns[last], state="failed" if fact.failed else "over")
            case Failed():
                failing += [each.turn for each in turns.values() if _at(each, fact)][:1]
                turns |= {number: replace(turns[number], state="failed") for number in failing}
            case Retried():
                turns |= {number: replace(turns[number], state="open") for number in failing}
                failing = []
            case TeamChanged() if fact.renamed:
                names = Names.of(fact)
                turns = {number: replace(each, agent=names.agent(each.agent)) for number, each in turns.items()}
            case _:
                pass
    return [*turns.values()]


def handed_over(facts: Iterable[Fact]) -> list[HandoffSent | HandedBack]:
    """The handoffs of a conversation, oldest first, under the names that participants have now.

    Those in a team within the team are of that team alone.
    """
    found: list[HandoffSent | HandedBack] = []
    for fact in facts:
        match fact:
            case HandoffSent() | HandedBack():
                found.append(fact)
            case TeamChanged() if fact.renamed:
                names = Names.of(fact)
                found = [replace(each, source=names.agent(each.source), target=names.agent(each.target))
                         for each in found]  # fmt: skip
            case _:
                pass
    return found


def _at(turn: TurnTaken, failed: Failed) -> bool:
    """Whether it failed in this turn, or within the team that has it."""
    return turn.state == "open" and f"{failed.agent}/".startswith(f"{turn.agent}/")
