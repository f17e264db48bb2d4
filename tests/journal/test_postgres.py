"""The PostgreSQL store: the rules of every store, several processes, other people's databases."""

import asyncio
import itertools
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayline import InMemoryCheckpointStorage, SequenceConflict, StoreError
from relayline.errors import DamagedJournal, SessionNotFound, UsageError
from relayline.events import Compacted, Fact, Retried, UserSpoke
from relayline.journal.postgres import PostgresCheckpointStorage
from relayline.messages import Media, Message
from relayline.testing import FakeClock, check_store
from tests.postgres import Server, installed, named, running
from tests.properties.test_stores import Do
from tests.properties.test_stores import _all as everything
from tests.properties.test_stores import _came_of as came_of
from tests.properties.test_stores import done as steps


@asynccontextmanager
async def opened(dsn: str, **options: Any) -> AsyncIterator[PostgresCheckpointStorage]:
    store = PostgresCheckpointStorage(dsn, options.pop("clock", None) or FakeClock(), **options)
    try:
        yield store
    finally:
        await store.aclose()


def facts(count: int) -> list[Fact]:
    return [Retried(f"t{number}") for number in range(count)]


# --- The rules


async def check(dsn: str) -> None:
    schemas = (f"s{number}" for number in itertools.count())
    await check_store(
        lambda: PostgresCheckpointStorage(dsn, schema=next(schemas)),
        lambda store: PostgresCheckpointStorage(dsn, schema=store.schema),
    )


async def test_the_postgresql_store_keeps_the_rules_of_every_store(dsn: str):
    """`PostgresCheckpointStorage` passes the conformance suite, with several handles on each schema."""
    await check(dsn)


async def test_an_older_server_will_do():
    """The rules are kept on the oldest server there is to try it on, too."""
    with running(installed(min)) as server:
        await check(server.new_database())


async def test_nothing_is_connected_before_the_first_use():
    """Declaring a store asks nobody, and closing one that was never used is fine, twice."""
    store = PostgresCheckpointStorage("postgresql://nobody@/nowhere?host=/there/is/no/such/place")
    await store.aclose()
    await store.aclose()


async def test_closing_leaves_no_connection_and_the_store_usable(dsn: str, postgres: Server):
    """After `aclose`, harmless twice, the server has none of our connections; using the store again makes new ones."""
    query = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{named(dsn)}'"
    store = PostgresCheckpointStorage(dsn)
    for after in (0, 3):
        await store.append("s", facts(3), after=after)
        waiting = asyncio.create_task(store.wait("s", after=after + 3, seconds=20))
        await asyncio.gather(*(store.read("s") for _ in range(10)))
        assert len(postgres.do(query)) <= 6
        waiting.cancel()
        await asyncio.wait([waiting])
        await store.aclose()
        await store.aclose()
        while postgres.do(query):
            pass  # no sleep: the server has been told, and takes a moment


async def test_times_are_kept_to_the_microsecond_whatever_zone_the_database_is_set_to(postgres: Server):
    """A time comes back as the same moment in UTC, whatever zone it was given in and the server thinks in."""
    dsn = postgres.new_database()
    postgres.do(f"ALTER DATABASE {named(dsn)} SET timezone = 'Asia/Kathmandu'")
    moments = [
        datetime(2026, 3, 29, 2, 30, 0, 1, timezone(timedelta(hours=-3))),
        datetime(1, 1, 2, 0, 0, 0, 999_999, UTC),
        datetime(9999, 12, 30, tzinfo=UTC),
    ]
    async with opened(dsn, clock=iter(moments).__next__) as store:
        for number in range(len(moments)):
            await store.append("s", facts(1), after=number)
        kept = [entry.at for entry in await store.read("s")]
        (summary,) = await store.sessions()
    assert kept == moments
    assert {at.tzinfo for at in (*kept, summary.started, summary.updated)} == {UTC}
    assert (summary.started, summary.updated) == (moments[0], moments[-1])


async def test_schemas_are_worlds_of_their_own(dsn: str):
    """Two stores of one database, in two schemas, share nothing."""
    async with opened(dsn, schema="one") as one, opened(dsn, schema="other") as other:
        await one.append("s", facts(2), after=0)
        assert await other.sessions() == []


@pytest.mark.parametrize("strict", ["serializable", "repeatable read"])
async def test_a_database_that_is_set_to_stricter_isolation_gives_conflicts_and_no_other_errors(
    postgres: Server, strict: str
):
    """What an administrator made the default for others does not turn a lost race into another error."""
    dsn = postgres.new_database()
    postgres.do(f"ALTER DATABASE {named(dsn)} SET default_transaction_isolation = '{strict}'")
    async with opened(dsn) as store:
        for after in range(5):
            attempts = (store.append("s", facts(1), after=after) for _ in range(8))
            results = await asyncio.gather(*attempts, return_exceptions=True)
            assert sorted(type(each).__name__ for each in results) == [*["SequenceConflict"] * 7, "list"]


async def test_the_end_of_a_long_journal_is_read_by_its_index(dsn: str, postgres: Server):
    """Reading what is new never goes through the table, nor does appending, with or without branches."""
    async with opened(dsn) as store:
        for after in range(0, 20_000, 5_000):
            await store.append("s", facts(5_000), after=after)
        postgres.do("ANALYZE", dsn)
        await store.fork("s", "b", upto=15_000)
        await store.read("s", after=19_999)
        assert len(await store.read("b", after=14_999)) == 2
        await store.append("s", facts(1), after=20_000)
    query = "SELECT idx_scan, seq_tup_read FROM pg_stat_user_tables WHERE relname = 'fact'"
    while (counted := postgres.do(query, dsn)[0])[0] < 4:
        pass  # no sleep: the server counts a moment later
    assert counted[1] == 0


EXAMPLES = itertools.count()


@settings(max_examples=20)
@given(steps=st.lists(steps, min_size=1, max_size=12))
def test_whatever_is_done_to_it_it_stands_as_memory_does(
    postgres: Server, shared_database: str, steps: Sequence[tuple[str, Do]]
):
    """Appends, branches, cuts, deletions and holds in any order: the same outcome of each, and the same sessions after it."""

    async def compare() -> None:
        memory, schema = InMemoryCheckpointStorage(FakeClock()), f"e{next(EXAMPLES)}"
        async with opened(shared_database, schema=schema) as one, opened(shared_database, schema=schema) as other:
            for number, (name, do) in enumerate(steps):
                assert await came_of(do, (one, other)[number % 2]) == await came_of(do, memory), name
                assert await everything(one) == await everything(memory), name
            assert await everything(other) == await everything(memory)
        postgres.do(f"DROP SCHEMA {schema} CASCADE", shared_database)

    asyncio.run(compare())


# --- Several processes


async def test_many_processes_may_start_on_an_empty_database_at_once(dsn: str):
    """Whoever comes first makes the tables, the others wait for it: all of twenty processes write."""
    program = f"""
import asyncio, os
from relayline.events import Retried
from relayline.journal.postgres import PostgresCheckpointStorage

async def write(number):
    store = PostgresCheckpointStorage({dsn!r})
    await store.append(f"s{{number}}", [Retried("x")], after=0)
    await store.aclose()

children = []
for number in range(20):
    if not (child := os.fork()):
        asyncio.run(write(number))
        os._exit(0)
    children.append(child)
print({{os.waitpid(child, 0)[1] for child in children}})
"""
    assert await asyncio.to_thread(run, program) == "{0}\n"
    async with opened(dsn) as store:
        assert {each.session_id for each in await store.sessions()} == {f"s{number}" for number in range(20)}


def run(program: str) -> str:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_is_done_to_sessions_at_once_none_is_damaged(dsn: str, seed: int):
    """Appends, branches, cuts and deletes of related sessions, from three handles: each is done or refused as it may be."""
    chance, done = random.Random(seed), 0
    picture = Media.from_bytes(bytes(10_000), "image/png")

    async def act(store: PostgresCheckpointStorage) -> None:
        nonlocal done
        for _ in range(60):
            one, other = (f"s{chance.randrange(4)}" for _ in range(2))
            with suppress(SequenceConflict, SessionNotFound, UsageError):
                ends = {each.session_id: each.seq for each in await store.sessions()}
                end = ends.get(one, 0)
                match chance.randrange(8):
                    case 0 | 1 | 2:
                        await store.append(one, [*facts(2), UserSpoke(Message("user", (picture,)))], after=end)
                    case 3 | 4:
                        await store.fork(one, other, upto=max(1, end - chance.randrange(3)))
                    case 5 | 6:
                        await store.cut(one, Compacted(max(1, end - 1), "team", "f", turns=2))
                    case _:
                        await store.delete(one)
                done += 1
            await store.read(one)

    async with opened(dsn) as one, opened(dsn) as two, opened(dsn) as three:
        await asyncio.gather(*(act(store) for store in (one, one, two, two, three)))
        assert done > 60
        for each in await one.sessions():
            seqs = [entry.seq for entry in await one.read(each.session_id)]
            assert seqs == list(range(seqs[0], each.seq + 1))


async def test_what_is_appended_while_a_session_is_deleted_goes_with_it(dsn: str, postgres: Server):
    """A delete waits for an append that is under way, and leaves nothing of it behind."""
    async with opened(dsn) as store:
        await store.append("s", facts(1), after=0)
        async with await psycopg.AsyncConnection.connect(dsn) as append:
            await append.execute("UPDATE relayline.session SET seq = 2")
            await append.execute("INSERT INTO relayline.fact SELECT session, 2, at, version, body FROM relayline.fact")
            await append.execute("INSERT INTO relayline.blob SELECT key, 'x', 'x' FROM relayline.session")
            delete = asyncio.create_task(store.delete("s"))
            while not postgres.do("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
                await asyncio.sleep(0)
        await delete
    for table in ("session", "fact", "blob"):
        assert postgres.do(f"SELECT count(*) FROM relayline.{table}", dsn) == [(0,)]


# --- Cancelling, loops and forks


def test_an_event_loop_that_ended_leaves_nothing(dsn: str):
    """One store serves one event loop after the other; what was left open by one is closed from the next."""
    program = f"""
import asyncio, psycopg
from relayline.events import TurnStarted
from relayline.journal.postgres import PostgresCheckpointStorage

store = PostgresCheckpointStorage({dsn!r})

async def write(number):
    await store.append("s", [TurnStarted(number, "a")], after=number)
    await store.wait("s", after=number + 1, seconds=0.01)

for number in range(3):
    asyncio.run(write(number))

async def read():
    print([entry.seq for entry in await store.read("s")])
    with psycopg.connect({dsn!r}) as other:
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        while other.execute(count).fetchone()[0] > 2:
            pass  # the server takes a moment
    await store.aclose()

asyncio.run(read())
"""
    assert run(program) == "[1, 2, 3]\n"


def test_a_forked_child_writes_through_a_connection_of_its_own(dsn: str):
    """A store that was used before a server forked its workers is good in each of them, even on the same event loop."""
    program = f"""
import asyncio, os
from relayline.events import TurnStarted
from relayline.journal.postgres import PostgresCheckpointStorage

store = PostgresCheckpointStorage({dsn!r})

async def write(*numbers):
    for number in numbers:
        await store.append("s", [TurnStarted(number, "a")], after=number)

with asyncio.Runner() as runner:
    runner.run(write(0))
    [mine] = [each.info.backend_pid for each in store._places[os.getpid(), runner.get_loop()][0]._idle]
    if not (child := os.fork()):
        runner.run(write(1, 2))
        runner.run(store.aclose())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    runner.run(write(3, 4))
    print([entry.seq for entry in runner.run(store.read("s"))])
    assert [mine] == [each.info.backend_pid for each in store._places[os.getpid(), runner.get_loop()][0]._idle]
    runner.run(store.aclose())
"""
    assert run(program) == "[1, 2, 3, 4, 5]\n"


async def test_several_event_loops_at_once_use_one_store(dsn: str):
    """Threads with event loops of their own append through the same object."""
    store = PostgresCheckpointStorage(dsn)

    async def write(key: str) -> None:
        for after in range(20):
            await store.append(key, facts(1), after=after)
        await store.aclose()

    await asyncio.gather(*(asyncio.to_thread(lambda key=key: asyncio.run(write(key))) for key in "abc"))
    assert [each.seq for each in await store.sessions()] == [20, 20, 20]
    await store.aclose()


def test_without_psycopg_there_is_a_line_to_type():
    """Without the packages of the extra, importing the store says what to install."""
    program = """
import sys
sys.modules["psycopg"] = None
try:
    import relayline.journal.postgres
except ImportError as error:
    print(type(error).__name__, error)
"""
    assert run(program) == "MissingExtra the PostgreSQL store needs psycopg: pip install 'relayline[postgres]'\n"


# --- What cannot be kept, and what is not ours


@pytest.mark.parametrize("key", ["a\0b", "\ud800", "".join(chr(300 + number) for number in range(3_000))], ids=ascii)
async def test_an_id_that_the_database_cannot_keep_is_refused(dsn: str, key: str):
    """A session's id may not have a zero byte or half a character, nor be too long for an index: a StoreError says so."""
    async with opened(dsn) as store:
        with pytest.raises(StoreError, match="cannot use the session store in the PostgreSQL database"):
            await store.append(key, facts(1), after=0)
        assert await store.sessions() == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("body", "'{}'"),
        ("body", "''"),
        ("body", """'{"type":"os.system"}'"""),
        ("body", """'{"type":"retried","eff'"""),
        ("version", "99"),
        ("version", "-1"),
    ],
)
async def test_a_damaged_row_is_named(dsn: str, postgres: Server, column: str, value: str):
    """What is no fact is a DamagedJournal that names session, database and entry; others can be read."""
    name = named(dsn)
    async with opened(dsn) as store:
        await store.append("s", facts(3), after=0)
        await store.append("t", facts(1), after=0)
        postgres.do(f"UPDATE relayline.fact SET {column} = {value} WHERE seq = 2", dsn)
        with pytest.raises(DamagedJournal, match=rf"session 's' in the PostgreSQL database '{name}' .*, entry 2: "):
            await store.read("s")
        assert len(await store.read("s", upto=1)) == 1
        assert len(await store.read("t")) == 1


async def test_a_lost_medium_is_named(dsn: str, postgres: Server):
    """When what is kept beside a line is gone, or is not what was kept, the entry is named."""
    async with opened(dsn) as store:
        await store.append("s", [UserSpoke(Message("user", (Media.from_bytes(bytes(9_999), "a/b"),)))], after=0)
        postgres.do("UPDATE relayline.blob SET content = 'x'", dsn)
        with pytest.raises(DamagedJournal, match=r"entry 1: .* is damaged"):
            await store.read("s")
        postgres.do("DELETE FROM relayline.blob", dsn)
        with pytest.raises(DamagedJournal, match=r"entry 1: .* is missing"):
            await store.read("s")


async def test_a_newer_layout_is_refused(dsn: str, postgres: Server):
    """A schema that a later release has changed is left alone, with a sentence."""
    async with opened(dsn) as store:
        await store.append("s", facts(1), after=0)
    postgres.do("UPDATE relayline.relayline_layout SET number = 99", dsn)
    async with opened(dsn) as store:
        with pytest.raises(StoreError, match=r"was written by a newer relayline \(layout 99\); upgrade to use it"):
            await store.read("s")


async def test_another_programs_schema_is_refused(dsn: str, postgres: Server):
    """A schema with tables that are not ours is left alone, with a sentence."""
    postgres.do("CREATE SCHEMA public; CREATE TABLE public.session(url TEXT)", dsn)
    async with opened(dsn, schema="public") as store:
        with pytest.raises(StoreError, match=r"'public' has the tables of another program; choose another"):
            await store.append("s", facts(1), after=0)
    assert postgres.do("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace", dsn) == [
        ("session",)
    ]


async def test_a_database_that_is_not_utf8_is_refused(postgres: Server):
    """A database that has no place for most of Unicode is refused before anything is lost in it."""
    dsn = postgres.new_database("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    async with opened(dsn) as store:
        with pytest.raises(StoreError, match=r"keeps text as LATIN1, which has no place for most of it"):
            await store.append("s", facts(1), after=0)


async def test_a_role_that_may_not_make_a_schema_uses_one_that_was_made_for_it(dsn: str, postgres: Server):
    """Without the right to make a schema there is an error that says so; with a schema of its own it is enough."""
    postgres.do("CREATE ROLE clerk LOGIN")
    clerk = postgres.address(named(dsn), "clerk")
    async with opened(clerk) as store:
        with pytest.raises(StoreError, match="permission denied for database"):
            await store.append("s", facts(1), after=0)
        postgres.do("CREATE SCHEMA relayline AUTHORIZATION clerk", dsn)
        assert len(await store.append("s", facts(1), after=0)) == 1


@pytest.mark.parametrize("name", ["", "Upper", "a-b", 'a"b', "pg_mine", "x" * 52, "ä", "a.b"])
def test_a_schema_has_a_plain_name(name: str):
    """A name that would have to be quoted is refused where it is said."""
    with pytest.raises(UsageError, match="a schema's name is of small letters"):
        PostgresCheckpointStorage("", schema=name)


def test_a_store_needs_a_connection_and_a_durability_that_exists():
    """Options that mean nothing are refused where they are said."""
    with pytest.raises(UsageError, match="at least one connection, not 0"):
        PostgresCheckpointStorage("", connections=0)
    with pytest.raises(UsageError, match="durability is 'normal' or 'full'"):
        PostgresCheckpointStorage("", durability="some")  # type: ignore[arg-type]


async def test_what_is_said_can_be_encrypted(dsn: str, postgres: Server):
    """With a cipher the tables hold nothing of what was said or shown; without its key nothing is read."""
    from cryptography.fernet import Fernet

    key = Fernet.generate_key()
    said = UserSpoke(Message("user", (Media.from_bytes(b"secret" * 2000, "a/b"),), "secret"))
    async with opened(dsn, cipher=Fernet(key)) as store:
        await store.append("s", [said], after=0)
        await store.fork("s", "b", upto=1)
        await store.delete("s")
        assert [entry.fact for entry in await store.read("b", upto=1)] == [said]
    rows = postgres.do(
        "SELECT body FROM relayline.fact UNION ALL SELECT encode(content, 'escape') FROM relayline.blob", dsn
    )
    assert len(rows) == 3
    assert "secret" not in str(rows)
    async with opened(dsn) as store:
        with pytest.raises(DamagedJournal, match="is encrypted"):
            await store.read("b")
