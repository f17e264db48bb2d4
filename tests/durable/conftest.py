"""Every promise about fleets is proven on every kind of fleet."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from relayline import InMemoryCheckpointStorage
from relayline.dispatch import Dispatcher
from relayline.durable.local import Local
from relayline.journal.postgres import PostgresCheckpointStorage
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store


@dataclass(frozen=True)
class Ground:
    """What a fleet stands on. ``open``: one more handle on the store; ``dispatcher``: one more worker's or caller's."""

    store: Store
    open: Callable[[], Store]
    dispatcher: Callable[[], Dispatcher]
    shares_words: bool = False


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def ground(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ground]:
    opened: list[Store] = []

    def again() -> Store:
        if request.param == "memory" and opened:
            return opened[0]
        made: Store
        match request.param:
            case "memory":
                made = InMemoryCheckpointStorage()
            case "sqlite":
                made = SqliteCheckpointStorage(tmp_path / "s.db")
            case _:
                made = PostgresCheckpointStorage(request.getfixturevalue("dsn"))
        opened.append(made)
        return made

    yield Ground(again(), again, Local, request.param == "postgres")
    for each in opened:
        await each.aclose()
