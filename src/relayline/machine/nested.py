"""Teams in teams: what waits for a person, however deep."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from relayline.events import Ask, Asked
from relayline.machine.rules import Rules, Team
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


def times(
    state: State, rules: Rules | Team, around: Mapping[Ask, float] | None = None, prefix: str = ""
) -> Iterator[tuple[str, float]]:
    """The requests that have to be answered in time, oldest first, each with its seconds. ``around``: what the team
    around this one says, for what this one does not say.
    """
    expires: dict[Ask, float] = {**(around or {}), **rules.expires}
    for local, asked in state.requests.items():
        if asked.ask in expires:
            yield prefix + local, expires[asked.ask]
    for turn in state.open.values():
        if turn.part.inner is not None and turn.agent in rules.teams:
            yield from times(turn.part.inner, rules.teams[turn.agent], expires, f"{prefix}t{turn.number}.")


def speaking(state: State) -> str:
    """Who has the conversation, or had it last: ``desk/refunds`` in a team."""
    inner = next((turn for turn in state.open.values() if turn.part.inner is not None and turn.lane is None), None)
    if inner is None or inner.part.inner is None:
        return state.floor.speaker
    within = speaking(inner.part.inner)  # nobody, where several have it at once
    return f"{inner.agent}/{within}" if within else inner.agent
