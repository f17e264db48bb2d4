"""Forgetting the beginning of a conversation without losing where it stands."""

from collections.abc import Sequence

from relayline.events import Compacted, Fact, SessionStarted, UserSpoke, innermost
from relayline.machine.fold import fold
from relayline.machine.state import State


def compacted(facts: Sequence[Fact], messages: int) -> Compacted | None:
    """What stands for all that was before the last ``messages`` messages of the user; None if nothing was said before.

    A user's message is the one place to cut at: nothing is open there, and who speaks next is decided anew. What is
    said to a team within the team counts, but cannot be cut at: then more is left.
    """
    said = [number for number, fact in enumerate(facts) if isinstance(innermost(fact), UserSpoke)]
    wanted = said[-messages] if 0 < messages <= len(said) else -1
    cut = max((number for number in said if number <= wanted and isinstance(facts[number], UserSpoke)), default=0)
    state = fold(facts[:cut])
    return _stand_in(state) if state.started is not None and state.spoken else None


def _stand_in(state: State) -> Compacted:
    floor, started = state.floor, state.started or SessionStarted("", "")
    return Compacted(
        state.seq,
        started.workflow,
        started.fingerprint,
        state.turns,
        state.asked,
        floor.speaker,
        floor.callers,
        floor.sticky,
        tuple(arrival.handoff for arrival in floor.arrivals.values()),
        state.shared,
        tuple(state.summaries.values()),
        state.items,
        started.roster,
        {name: _stand_in(each) for name, each in state.teams.items()},
    )
