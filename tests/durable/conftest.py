"""Every promise about fleets is proven on every kind of fleet: a store, and whoever dispatches the turns."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from relayline import InMemoryCheckpointStorage
from relayline.dispatch import Dispatcher
from relayline.durable.local import Local
from relayline.durable.restate import Restate
from relayline.durable.temporal import Temporal
from relayline.journal.postgres import PostgresCheckpointStorage
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from tests.durable import servers

NAMES = (f"team{number}" for number in itertools.count())
"""So that no test has to do with what another has left at a server."""


ENGINES = ("restate", "temporal")


@dataclass(frozen=True)
class Ground:
    """What a fleet stands on. ``open``: one more handle on the store; ``dispatcher``: one more worker's or caller's, of
    another team if that is named.

    ``shares_words``: whether they go from handle to handle. ``many``: sessions that are still quick. ``engine``: the
    server that dispatches; None: the workers do.
    """

    store: Store
    open: Callable[[], Store]
    dispatcher: Callable[..., Dispatcher]
    shares_words: bool = False
    many: int = 100
    engine: servers.Engine | None = None


@pytest.fixture(scope="session")
def restate() -> Iterator[servers.RestateServer]:
    with servers.restate() as server:
        yield server


@pytest.fixture(scope="session")
def temporal() -> Iterator[servers.TemporalServer]:
    with servers.temporal() as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "postgres", "restate", "temporal"])
async def ground(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ground]:
    """The first three dispatch by themselves; the engines do it for teams whose sessions are in PostgreSQL."""
    opened: list[Store] = []

    def again() -> Store:
        made: Store
        match request.param:
            case "memory":
                made = opened[0] if opened else InMemoryCheckpointStorage()
            case "sqlite":
                made = SqliteCheckpointStorage(tmp_path / "s.db")
            case _:
                made = PostgresCheckpointStorage(request.getfixturevalue("dsn"))
        opened.append(made)
        return made

    dispatchers: list[Dispatcher] = []
    made = dispatchers_of(request, request.param)

    def dispatcher(team: str = "") -> Dispatcher:
        dispatchers.append(made(team))
        return dispatchers[-1]

    many = 40 if request.param == "temporal" else 100
    engine = request.getfixturevalue(request.param) if request.param in ENGINES else None
    yield Ground(again(), again, dispatcher, request.param not in ("memory", "sqlite"), many, engine)
    for each in (*dispatchers, *opened):
        await each.aclose()


def dispatchers_of(request: pytest.FixtureRequest, kind: str) -> Callable[[str], Dispatcher]:
    """What makes dispatchers of this kind, of a team that no other test has; given the end of the team's name."""
    name = next(NAMES)
    match kind:
        case "restate":
            restate: servers.RestateServer = request.getfixturevalue("restate")
            ports = dict(zip(("", "other"), servers.free_ports(2), strict=True))
            return lambda team: _eager(
                Restate(name + team, restate.ingress, restate.admin, listen=f"127.0.0.1:{ports[team]}")
            )
        case "temporal":
            temporal: servers.TemporalServer = request.getfixturevalue("temporal")
            return lambda team: _eager(Temporal(name + team, temporal.address))
        case _:
            return lambda _: Local()


def _eager(dispatcher: Dispatcher) -> Dispatcher:
    """Sweeps often, so that tests need not wait."""
    dispatcher.quiet, dispatcher.every = 1.0, 0.5
    return dispatcher
