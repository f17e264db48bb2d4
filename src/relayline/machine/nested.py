"""Teams in teams: what waits for a person, however deep."""

from collections.abc import Iterator
from typing import NamedTuple

from relayline.events import Asked
from relayline.machine.state import State


class Waiting(NamedTuple):
    """A request that is open. ``request``: its id in the session, ``t3.r1`` for the first one of the team that has turn
    3. ``path``: who asks, ``desk/refunds``. ``state``: of the team in which it was asked.
    """

    request: str
    asked: Asked
    path: str
    state: State


def waiting(state: State, prefix: str = "", path: str = "") -> Iterator[Waiting]:
    """What waits for a person, oldest first, that of teams after that of the team they are in."""
    for local, asked in state.requests.items():
        yield Waiting(prefix + local, asked, path + asked.agent, state)
    for turn in state.open.values():
        if turn.part.inner is not None:
            yield from waiting(turn.part.inner, f"{prefix}t{turn.number}.", f"{path}{turn.agent}/")


def speaking(state: State) -> str:
    """Who has the conversation, or had it last: ``desk/refunds`` in a team."""
    inner = next((turn for turn in state.open.values() if turn.part.inner is not None and turn.lane is None), None)
    if inner is None or inner.part.inner is None:
        return state.floor.speaker
    return f"{inner.agent}/{speaking(inner.part.inner)}"
