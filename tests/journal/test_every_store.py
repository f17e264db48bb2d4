"""What holds for every store that is kept on disk, on each of them: raced, cancelled and killed."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from relayline import SequenceConflict
from relayline.events import Fact, Retried
from relayline.journal.opening import open_store
from relayline.journal.store import Clock, Store
from relayline.testing import FakeClock
from tests.journal.writers import kill, race, said, start, whole_batches
from tests.kills.stores import KINDS


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def where(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What `open_store` takes for an empty store."""
    if kind == "postgresql":
        return request.getfixturevalue("dsn")
    return f"{tmp_path / 'sessions'}/" if kind == "file" else str(tmp_path / "sessions.db")


@asynccontextmanager
async def opened(where: str, clock: Clock | None = None) -> AsyncIterator[Store]:
    store = open_store(where)
    if clock is not None:
        store._clock = clock
    try:
        yield store
    finally:
        await store.aclose()


def facts(count: int) -> list[Fact]:
    return [Retried(f"t{number}") for number in range(count)]


@pytest.mark.parametrize("step", [timedelta(), timedelta(days=-1)], ids=["stands still", "goes back"])
async def test_the_order_of_sessions_is_the_order_of_writes_whatever_the_clock_says(where: str, step: timedelta):
    """A clock that stands still or goes back does not change which session was written to last."""
    async with opened(where, FakeClock(step=step)) as store:
        for key, after in (("a", 0), ("b", 0), ("a", 1)):
            await store.append(key, facts(1), after=after)
        assert [each.session_id for each in await store.sessions()] == ["b", "a"]


async def test_two_processes_on_one_session_lose_nothing(where: str):
    """Each number is won by one process; what either was told is kept is there, whole, once and in its order."""
    rounds, size = 60, 3
    writers = [await asyncio.to_thread(start, where, "s", name, size) for name in ("one", "two")]
    await asyncio.to_thread(race, writers, rounds)
    async with opened(where) as store:
        entries = await store.read("s")
    assert [entry.seq for entry in entries] == list(range(1, 2 * rounds * size + 1))
    for name in ("one", "two"):
        wanted = [f"{name} {number} {each}" for number in range(rounds) for each in range(size)]
        assert [words for words in said(entries) if words.startswith(name)] == wanted
    assert whole_batches(entries, size)


SIZES = {"sqlite": 1_000, "file": 5_000, "postgresql": 300}
"""How many facts a batch has, so that writing it takes some milliseconds."""


def grown(kind: str, where: str, request: pytest.FixtureRequest) -> Callable[[], object]:
    """What changes while the store is written to."""
    if kind == "postgresql":
        server = request.getfixturevalue("postgres")
        return lambda: server.do("SELECT pg_current_wal_insert_lsn()")
    if kind == "sqlite":
        return lambda: Path(f"{where}-wal").stat().st_size
    (journal,) = Path(where).glob("*.jsonl")
    return lambda: journal.stat().st_size


@pytest.mark.parametrize("seed", range(3))
async def test_a_process_that_is_killed_leaves_whole_batches(
    kind: str, where: str, request: pytest.FixtureRequest, seed: int
):
    """After SIGKILL in the middle of a write every batch is there whole or not at all, and every acknowledged one is there."""
    size = SIZES[kind]
    async with opened(where) as store:
        await store.append("s", [Retried(f"doomed -1 {each}") for each in range(size)], after=0)
    writer = await asyncio.to_thread(start, where, "s", "doomed", size)
    acknowledged = await asyncio.to_thread(kill, writer, grown(kind, where, request), random.Random(seed))
    async with opened(where) as store:
        entries = await store.read("s")
        assert len(entries) in ((acknowledged + 2) * size, (acknowledged + 3) * size)
        assert whole_batches(entries, size)
        try:
            await store.append("s", facts(1), after=len(entries))
        except SequenceConflict:
            # What is on its way to a server when the process dies still arrives, now or a moment from now.
            assert kind == "postgresql"


async def test_a_cancelled_append_is_done_or_not_done(where: str):
    """Whenever it is cancelled: the next append with the same position decides which, and the journal has no half."""
    async with opened(where) as store:
        end = 0
        for ticks in range(40):
            append = asyncio.create_task(store.append("s", facts(20), after=end))
            for _ in range(ticks):
                await asyncio.sleep(0)
            append.cancel()
            await asyncio.wait([append])
            entries = await store.read("s")
            assert len(entries) - end in (0, 20)
            end = len(entries)


async def test_cancelling_all_of_many_appends_leaves_the_store_usable(where: str):
    """Appends that were cancelled while they queued happen whole or never, and nothing waits for them."""
    async with opened(where) as store:
        await store.sessions()
        appends = [asyncio.create_task(store.append(f"s{number}", facts(5), after=0)) for number in range(50)]
        await asyncio.sleep(0)
        for append in appends:
            append.cancel()
        await asyncio.wait(appends)
        kept = {each.session_id: each.seq for each in await store.sessions()}
        assert set(kept.values()) <= {5}
        for number in range(50):
            try:
                await store.append(f"s{number}", facts(5), after=0)
            except SequenceConflict:
                assert f"s{number}" in {each.session_id for each in await store.sessions()}
