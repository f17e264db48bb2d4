"""Forgetting the beginning of a conversation without losing where it stands."""

from collections.abc import Sequence

from relayline.events import Compacted, Fact, UserSpoke
from relayline.machine.fold import fold


def compacted(facts: Sequence[Fact], messages: int) -> Compacted | None:
    """What stands for all that was before the last ``messages`` messages of the user; None if nothing was said before.

    A user's message is the one place to cut at: nothing is open there, and who speaks next is decided anew.
    """
    said = [number for number, fact in enumerate(facts) if isinstance(fact, UserSpoke)]
    state = fold(facts[: said[-messages]] if 0 < messages <= len(said) else ())
    if state.started is None or not state.spoken:
        return None
    floor = state.floor
    return Compacted(
        state.seq,
        state.started.workflow,
        state.started.fingerprint,
        state.turns,
        state.asked,
        floor.speaker,
        floor.callers,
        floor.sticky,
        tuple(arrival.handoff for arrival in floor.arrivals.values()),
        state.shared,
        tuple(state.summaries.values()),
        state.items,
        state.started.roster,
    )
