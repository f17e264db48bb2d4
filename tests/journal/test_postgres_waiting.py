"""Waiting for others to write, in PostgreSQL: told by the server, and by nothing but a number."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from relayline.events import Fact, Retried
from relayline.journal.deltas import Delta
from relayline.journal.postgres import PostgresCheckpointStorage, connections, statements, storage
from relayline.journal.postgres.waiting import bell_of
from relayline.testing import FakeClock
from tests.journal.writers import ROOT
from tests.postgres import Server, named


def facts(count: int) -> list[Fact]:
    return [Retried(f"t{number}") for number in range(count)]


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[PostgresCheckpointStorage]:
    store = PostgresCheckpointStorage(dsn, FakeClock())
    try:
        yield store
    finally:
        await store.aclose()


@pytest.fixture
def told_or_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not told does not find out by looking."""
    monkeypatch.setattr(storage, "LOOK_AGAIN", 1000)
    monkeypatch.setattr(storage, "LOOK_ANYWAY", 1000)


async def until_listening(postgres: Server, dsn: str, bells: int = 1) -> None:
    """Return once the server knows that somebody waits at so many bells."""
    query = f"""SELECT count(DISTINCT objid) FROM pg_locks JOIN pg_database ON oid = database
        WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND datname = '{named(dsn)}'"""
    while postgres.do(query)[0][0] != bells:
        await asyncio.sleep(0)


def write_elsewhere(dsn: str) -> None:
    command = [sys.executable, "-m", "tests.journal.appender", dsn, "s", "x", "2"]
    subprocess.run(command, cwd=ROOT, input="\n", stdout=subprocess.DEVNULL, text=True, timeout=60, check=True)


@pytest.mark.usefixtures("told_or_never")
async def test_a_write_in_another_process_wakes_who_waits(dsn: str, postgres: Server):
    """A fact that another process writes ends a wait without a look at the clock, for a session that is or is not there."""
    async with opened(dsn) as store:
        for after in (0, 2):
            waiting = asyncio.create_task(store.wait("s", after=after, seconds=60))
            await until_listening(postgres, dsn)
            await asyncio.to_thread(write_elsewhere, dsn)
            assert await waiting


@pytest.mark.usefixtures("told_or_never")
async def test_no_write_is_missed(dsn: str):
    """However a write and a wait fall together, the one is told of the other: here at every moment of waiting."""
    async with opened(dsn) as store, opened(dsn) as other:
        for after in range(200):
            waiting = asyncio.create_task(store.wait("s", after=after, seconds=60))
            for _ in range(after):
                await asyncio.sleep(0)
            await other.append("s", facts(1), after=after)
            assert await waiting


@pytest.mark.usefixtures("told_or_never")
async def test_many_follow_many(dsn: str):
    """Who waits for one fact after the other, in several sessions and stores at once, is told of each."""

    async def follow(store: PostgresCheckpointStorage, key: str) -> None:
        for after in range(30):
            assert await store.wait(key, after=after, seconds=60)

    async def write(store: PostgresCheckpointStorage, key: str) -> None:
        for after in range(30):
            await store.append(key, facts(1), after=after)

    async with opened(dsn) as one, opened(dsn) as other, opened(dsn) as third:
        keys = [f"s{number}" for number in range(8)]
        followers = [follow(store, key) for key in keys for store in (one, other)]
        await asyncio.gather(*followers, *(write(third, key) for key in keys))


@pytest.mark.usefixtures("told_or_never")
async def test_all_who_wait_share_one_connection(dsn: str, postgres: Server):
    """A hundred waits for as many sessions need one connection, and each is ended by its own session."""
    async with opened(dsn) as store, opened(dsn) as other:
        waits = {key: asyncio.create_task(store.wait(key, after=0, seconds=60)) for key in map(str, range(100))}
        await until_listening(postgres, dsn, len({bell_of(key) for key in waits}))
        count = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{named(dsn)}'"
        assert postgres.do(count)[0][0] <= 6
        await other.append("7", facts(1), after=0)
        assert await waits.pop("7")
        assert not any(each.done() for each in waits.values())
        for key in waits:
            await other.append(key, facts(1), after=0)
        assert all(await asyncio.gather(*waits.values()))


@pytest.mark.usefixtures("told_or_never")
async def test_a_branch_wakes_who_waits_for_it(dsn: str, postgres: Server):
    """A session that begins as a branch is as good as any other."""
    async with opened(dsn) as store, opened(dsn) as other:
        await store.append("s", facts(3), after=0)
        waiting = asyncio.create_task(store.wait("b", after=3, seconds=60))
        await until_listening(postgres, dsn)
        await other.fork("s", "b", upto=3)
        assert await waiting


async def test_who_waits_is_told_though_the_listening_connection_was_killed(
    dsn: str, postgres: Server, monkeypatch: pytest.MonkeyPatch
):
    """A connection that listens and breaks is made again, and what was written meanwhile is found."""
    monkeypatch.setattr(storage, "LOOK_ANYWAY", 1000)
    async with opened(dsn) as store, opened(dsn) as other:
        for after in range(3):
            waiting = asyncio.create_task(store.wait("s", after=after, seconds=60))
            await until_listening(postgres, dsn)
            killed = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{named(dsn)}'"
            assert postgres.do(killed)
            if after % 2:
                await until_listening(postgres, dsn)
            await other.append("s", facts(1), after=after)
            assert await waiting


async def test_nobody_is_told_where_nobody_waits_and_a_number_is_all_that_is_told(dsn: str, postgres: Server):
    """An append sends something only while somebody waits there, and then neither a word nor the session's id."""
    async with opened(dsn) as store, opened(dsn) as other:
        await store.append("s", facts(1), after=0)
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as listener:
            await listener.execute('LISTEN "relayline_relayline"')

            async def sent() -> list[str]:
                await listener.execute("NOTIFY relayline_relayline, '-1'")
                found: list[str] = []
                async for each in listener.notifies():
                    if each.payload == "-1":
                        return found
                    found.append(each.payload)
                raise AssertionError

            await other.append("s", facts(1), after=1)
            assert await sent() == []
            waiting = asyncio.create_task(store.wait("s", after=2, seconds=60))
            await until_listening(postgres, dsn)
            await other.append("s", facts(1), after=2)
            assert await sent() == [str(bell_of("s"))]
            assert await waiting
            await other.append("s", facts(1), after=3)  # may still be sent: that is how the lock is given back
            await until_listening(postgres, dsn, 0)
            await sent()
            await other.append("s", facts(1), after=4)
            assert await sent() == []


async def test_without_a_connection_to_listen_on_it_looks(dsn: str, postgres: Server):
    """Where the server has no connection left for listening, waiting works by looking."""
    postgres.do("CREATE ROLE lonely LOGIN CONNECTION LIMIT 1")
    postgres.do(f"GRANT CREATE ON DATABASE {named(dsn)} TO lonely")
    async with opened(dsn) as other, opened(postgres.address(named(dsn), "lonely")) as store:
        await store.sessions()
        waiting = asyncio.create_task(store.wait("s", after=0, seconds=60))
        await other.append("s", facts(1), after=0)
        assert await waiting
    postgres.empty(dsn)
    postgres.do(f"REVOKE ALL ON DATABASE {named(dsn)} FROM lonely; DROP ROLE lonely")


async def test_a_wait_ends_when_its_time_is_up(dsn: str):
    """Without a write it says so at the end of the time it was given, also for none."""
    async with opened(dsn) as store:
        await store.append("s", facts(1), after=0)
        assert not await store.wait("s", after=1, seconds=0.05)
        assert not await store.wait("s", after=1, seconds=-1)
        assert await store.wait("s", after=0, seconds=-1)


async def test_a_wait_that_is_cancelled_leaves_the_others(dsn: str, postgres: Server):
    """Whenever one of two waits is cancelled, the other is told."""
    async with opened(dsn) as store, opened(dsn) as other:
        await store.sessions()
        for after in range(12):
            waits = [asyncio.create_task(store.wait("s", after=after, seconds=60)) for _ in range(2)]
            for _ in range(after):
                await asyncio.sleep(0)
            waits[after % 2].cancel()
            await other.append("s", facts(1), after=after)
            assert await waits[1 - after % 2]


@pytest.mark.usefixtures("told_or_never")
async def test_closing_the_store_ends_its_waits(dsn: str, postgres: Server):
    """Who waits when the store is closed is told no, at once, wherever it is with waiting."""
    store = PostgresCheckpointStorage(dsn)
    for ticks in range(1, 20):
        waits = [asyncio.create_task(store.wait(key, after=0, seconds=60)) for key in "abc"]
        for _ in range(ticks):
            await asyncio.sleep(0)
        if ticks % 4 == 0:
            await until_listening(postgres, dsn, 3)
        await store.aclose()
        assert await asyncio.gather(*waits) == [False, False, False]


@pytest.mark.usefixtures("told_or_never")
async def test_what_others_send_is_passed_over(dsn: str, postgres: Server):
    """Words that another program sends on the same channel disturb nobody."""
    async with opened(dsn) as store, opened(dsn) as other:
        waiting = asyncio.create_task(store.wait("s", after=0, seconds=60))
        await until_listening(postgres, dsn)
        for words in ("", "hello", "-7", "9" * 30):
            postgres.do(f"NOTIFY relayline_relayline, '{words}'", dsn)
        await other.append("s", facts(1), after=0)
        assert await waiting


@pytest.mark.usefixtures("told_or_never")
async def test_who_follows_misses_nothing_and_only_reads(dsn: str, monkeypatch: pytest.MonkeyPatch):
    """Whoever reads each time it is told sees every fact, however writes fall, and nothing is asked of the server beside."""
    asked: list[str] = []
    repeat = connections.Connections.repeat

    async def counted(self: connections.Connections, work: Any) -> Any:
        asked.append(work.keywords["query"])
        return await repeat(self, work)

    async with opened(dsn) as store, opened(dsn) as other, store.following("s") as look:
        monkeypatch.setattr(connections.Connections, "repeat", counted)
        seen = 0
        for written in range(200):
            looking = asyncio.ensure_future(look(seen, 60))
            for _ in range(written % 40):
                await asyncio.sleep(0)
            await other.append("s", facts(1), after=written)
            while seen <= written:
                assert await looking
                seen += len(await store.read("s", after=seen))
                looking = asyncio.ensure_future(look(seen, 60))
            looking.cancel()
    assert set(asked) == {statements.READ}


async def test_who_follows_is_told_though_the_listening_connection_was_killed(
    dsn: str, postgres: Server, monkeypatch: pytest.MonkeyPatch
):
    """Written before it listened again, a fact rang for nobody, so it is told to look."""
    monkeypatch.setattr(storage, "LOOK_ANYWAY", 1000)
    async with opened(dsn) as store, opened(dsn) as other, store.following("s") as look:
        for after in range(2):
            looking = asyncio.create_task(look(after, 60))
            await until_listening(postgres, dsn)
            killed = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{named(dsn)}'"
            assert postgres.do(killed)
            assert await looking
            assert not await store.read("s", after=after)
            await other.append("s", facts(1), after=after)
            async with asyncio.timeout(20):
                assert await look(after, 60)
            assert await store.read("s", after=after)


async def test_who_follows_a_store_that_is_closed_goes_on_with_it(dsn: str):
    """It opens again for who uses it, and tells who follows as before."""
    async with opened(dsn) as store, opened(dsn) as other, store.following("s") as look:
        looking = asyncio.create_task(look(0, 60))
        await asyncio.sleep(0)
        await store.aclose()
        assert await looking
        await other.append("s", facts(1), after=0)
        assert await look(0, 60)


@pytest.mark.usefixtures("told_or_never")
async def test_words_and_facts_are_told_on_one_connection(dsn: str, postgres: Server):
    """Whoever watches both listens once."""
    async with opened(dsn) as store, opened(dsn) as other:
        async with store.deltas.watch("s") as words, store.following("s") as look:
            await other.deltas.publish("s", Delta(0, "desk", 1, "Hello"))
            await other.append("s", facts(1), after=0)
            assert await look(0, 60)
            assert (await words.get()).words == "Hello"
            listening = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^(LISTEN|SELECT pg_advisory_lock_shared)'"
            assert postgres.do(f"{listening} AND datname = '{named(dsn)}'") == [(1,)]
