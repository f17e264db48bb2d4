"""The PostgreSQL store when connections break, servers die, databases refuse: what is known, what is said, what goes on.

Where the end of a statement has to get lost, `Line` stands between the store and the server, and cuts there.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from relayline import SequenceConflict, StoreError
from relayline.errors import SessionNotFound, UsageError
from relayline.events import Compacted, Entry, Fact, Retried
from relayline.journal.postgres import PostgresCheckpointStorage, connections
from relayline.testing import FakeClock
from tests.postgres import Server, named


def facts(count: int, what: str = "t") -> list[Fact]:
    return [Retried(f"{what}{number}") for number in range(count)]


@asynccontextmanager
async def opened(dsn: str, **options: object) -> AsyncIterator[PostgresCheckpointStorage]:
    store = PostgresCheckpointStorage(dsn, **{"clock": FakeClock(), **options})  # type: ignore[arg-type]
    try:
        yield store
    finally:
        await store.aclose()


class Line:
    """A socket in front of the server's. The next time ``mark`` is said to it, both sides are cut off: before the server
    hears of it, or (``heard``) after it has answered and before the answer arrives. Then ``meanwhile`` is done.
    """

    def __init__(self, server: Path) -> None:
        self._server = server
        self.mark: bytes | None = None
        self.heard = True
        self.refuse = False
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            writer.close()
            return
        theirs, to_them = await asyncio.open_unix_connection(self._server / ".s.PGSQL.5432")
        back = asyncio.create_task(self._copy(theirs, writer))
        while said := await reader.read(1 << 20):
            if self.mark is not None and self.mark in said:
                self.mark = None
                back.cancel()
                await asyncio.wait([back])
                if self.heard:
                    to_them.write(said)
                    assert await theirs.read(1 << 20)
                if self.meanwhile is not None:
                    await self.meanwhile()
                break
            to_them.write(said)
        back.cancel()
        to_them.close()
        writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await reader.read(1 << 20):
            writer.write(said)
        writer.close()


@pytest.fixture
async def line(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Line]:
    folder = postgres.folder / "line"
    folder.mkdir(exist_ok=True)
    made = Line(postgres.folder)
    async with await asyncio.start_unix_server(made.serve, folder / ".s.PGSQL.5432"):
        yield made


@pytest.fixture
def through(dsn: str, line: Line, postgres: Server) -> str:
    """The address of the same database, on the line."""
    return f"{dsn}/line"


def terminate(postgres: Server, dsn: str) -> None:
    """Kill whatever serves this database."""
    postgres.do(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{named(dsn)}'")


# --- Connections that died while nobody used them

WORK: dict[str, Callable[[PostgresCheckpointStorage], Awaitable[object]]] = {
    "append": lambda store: store.append("s", facts(1), after=5),
    "begin": lambda store: store.append("new", facts(1), after=0),
    "read": lambda store: store.read("s"),
    "sessions": lambda store: store.sessions(),
    "fork": lambda store: store.fork("s", "b", upto=3),
    "cut": lambda store: store.cut("s", Compacted(3, "team", "f", turns=2)),
    "delete": lambda store: store.delete("s"),
    "hold": lambda store: store.hold("s", "case 12"),
    "wait": lambda store: store.wait("s", after=4, seconds=0),
}


@pytest.mark.parametrize("what", WORK)
async def test_dead_connections_are_replaced(dsn: str, postgres: Server, what: str):
    """When all connections were killed while they were idle, whatever comes next is done all the same, and once."""
    async with opened(dsn) as store:
        await store.append("s", facts(5), after=0)
        await asyncio.gather(*(store.sessions() for _ in range(5)))
        terminate(postgres, dsn)
        await WORK[what](store)
        assert len(await store.read("s")) == {"append": 6, "cut": 3, "delete": 0}.get(what, 5)


async def test_a_server_that_was_started_again_is_used_again(dsn: str, postgres: Server):
    """While the server is down there is a StoreError that names it; afterwards the same store goes on."""
    async with opened(dsn, durability="full") as store:
        await store.append("s", facts(3), after=0)
        with pytest.raises(StoreError):
            postgres.stop()
            try:
                await store.read("s")
            finally:
                postgres.start()
        await store.append("s", facts(1), after=3)
        postgres.stop()
        try:
            with pytest.raises(
                StoreError, match=rf"the PostgreSQL database '{named(dsn)}' on {postgres.folder}: .*No such"
            ):
                await asyncio.gather(*(store.read("s") for _ in range(3)))
        finally:
            postgres.start()
        assert len(await store.read("s")) == 4


async def test_what_was_acknowledged_in_full_survives_the_death_of_the_server(dsn: str, postgres: Server):
    """With ``durability="full"`` every acknowledged batch is there after a SIGKILL of the server in the middle of others."""
    async with opened(dsn, durability="full") as store:
        kept: dict[str, int] = {}

        async def write(key: str) -> None:
            for after in itertools.count(0, 3):
                await store.append(key, facts(3), after=after)
                kept[key] = after + 3

        writing = [asyncio.create_task(write(key)) for key in "abc"]
        while len(kept) < 3 or min(kept.values()) < 60:
            await asyncio.sleep(0)
        postgres.kill()
        for each in writing:
            each.cancel()
        await asyncio.wait(writing)
        postgres.start()
        for key, end in kept.items():
            assert len(await store.read(key)) in (end, end + 3)


async def test_what_was_acknowledged_at_last_may_be_lost_with_the_server_and_nothing_else(dsn: str, postgres: Server):
    """With ``durability="normal"`` a SIGKILL of the server leaves a journal's whole first batches, and the store goes on."""
    async with opened(dsn) as store:
        for after in range(0, 300, 3):
            await store.append("s", facts(3), after=after)
        postgres.kill()
        postgres.start()
        with suppress(SequenceConflict):
            await store.append("s", facts(3), after=300)
        entries = await store.read("s")
        assert len(entries) % 3 == 0
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        await store.append("s", facts(3), after=len(entries))


# --- Connections that break in the middle


async def test_an_append_whose_server_process_is_killed_is_written_once(dsn: str, postgres: Server):
    """A backend that is killed while it waits in the middle of an append has written nothing; it is tried again."""
    async with opened(dsn) as store:
        await store.append("s", facts(1), after=0)
        async with await psycopg.AsyncConnection.connect(dsn) as other:
            await other.execute("SELECT FROM relayline.session FOR UPDATE")
            append = asyncio.create_task(store.append("s", facts(2), after=1))
            blocked = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while not (found := postgres.do(blocked)):
                await asyncio.sleep(0)
            postgres.do(f"SELECT pg_terminate_backend({found[0][0]}, 5000)")
        await append
        assert len(await store.read("s")) == 3


@pytest.mark.parametrize("heard", [True, False], ids=["answer lost", "never heard"])
async def test_an_append_whose_answer_is_lost_is_kept_once(through: str, line: Line, heard: bool):
    """Whether the server had done it before the line was cut or never heard of it: it is there, once, and acknowledged."""
    async with opened(through) as store:
        await store.append("s", facts(1), after=0)
        for after in range(1, 9):  # before and after the statement is a prepared one
            line.mark, line.heard = b"my own", heard
            written = await store.append("s", [Retried(f"my own {after}")], after=after)
            assert line.mark is None
            assert written == await store.read("s", after=after)


async def test_a_first_append_whose_answer_is_lost_begins_one_session(through: str, line: Line):
    """The same for an append that begins a session, with a medium beside it."""
    async with opened(through) as store:
        await store.sessions()
        line.mark = b"my own"
        await store.append("s", [Retried("my own")], after=0)
        assert [(each.session_id, each.seq) for each in await store.sessions()] == [("s", 1)]


async def test_a_session_that_is_taken_in_when_the_line_is_cut_is_there_once(through: str, line: Line):
    """A session of several days is restored by one statement, so a lost answer to it is looked for like any other."""
    clock = FakeClock()
    entries = [Entry(seq, clock.time + timedelta(days=seq % 3), Retried(f"my own {seq}")) for seq in range(1, 5)]
    async with opened(through) as store:
        await store.sessions()
        line.mark = b"my own"
        await store.restore("s", entries)
        assert line.mark is None
        assert await store.read("s") == entries
        with pytest.raises(SequenceConflict):
            await store.restore("s", entries)


async def test_the_same_words_of_somebody_else_are_not_taken_for_ours(through: str, dsn: str, line: Line):
    """If the line is cut before we are heard and another writes the same facts at the same time, we have lost."""
    clock = FakeClock(step=timedelta())
    async with opened(through, clock=clock) as store, opened(dsn, clock=clock) as other:
        await store.append("s", facts(1), after=0)
        line.mark, line.heard = b"my own", False
        line.meanwhile = lambda: other.append("s", [Retried("my own")], after=1)
        with pytest.raises(SequenceConflict):
            await store.append("s", [Retried("my own")], after=1)
        assert len(await store.read("s")) == 2


CHANGES: dict[str, tuple[Callable[[PostgresCheckpointStorage], Awaitable[object]], type[Exception]]] = {
    "fork": (lambda store: store.fork("s", "b", upto=3), SequenceConflict),
    "cut": (lambda store: store.cut("s", Compacted(3, "team", "f", turns=2)), UsageError),
    "delete": (lambda store: store.delete("s"), SessionNotFound),
}


@pytest.mark.parametrize("heard", [True, False], ids=["answer lost", "never heard"])
@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_whose_end_is_lost_is_done_once(through: str, line: Line, what: str, heard: bool):
    """A branch, a cut, a delete whose COMMIT was cut off is done and says so, as a second one finds."""
    change, refusal = CHANGES[what]
    async with opened(through) as store:
        await store.append("s", facts(5), after=0)
        line.mark, line.heard = b"COMMIT", heard
        await change(store)
        assert line.mark is None
        with pytest.raises(refusal):
            await change(store)


async def test_if_nobody_can_be_asked_the_error_says_that_nobody_knows(
    through: str, dsn: str, line: Line, monkeypatch: pytest.MonkeyPatch
):
    """When the line is cut in an append or a COMMIT and stays so, the StoreError says what is not known and what to do."""
    monkeypatch.setattr(connections, "PATIENCE", 0.2)

    async def refuse() -> None:
        line.refuse = True

    async with opened(through) as store:
        for mark, change in (
            (b"my own", lambda: store.append("s", [Retried("my own")], after=3)),
            (b"COMMIT", lambda: store.fork("s", "b", upto=1)),
        ):
            line.refuse = False
            async with opened(dsn) as other:
                end = len(await other.read("s"))
                if not end:
                    await other.append("s", facts(3), after=0)
            await store.sessions()
            line.mark, line.meanwhile = mark, refuse
            with pytest.raises(
                StoreError, match=r"Whether it was kept is not known: read the session before you go on"
            ):
                await change()
        line.refuse = False
        assert {each.session_id: each.seq for each in await store.sessions()} == {"s": 4, "b": 2}


# --- Refusals

HIDDEN = "hunter2%40%2F"


@pytest.mark.parametrize(
    ("dsn", "sentence"),
    [
        ("postgresql://guarded:{hidden}@/{database}?host={folder}", "password authentication failed"),
        ("postgresql://postgres:{hidden}@/nowhere?host={folder}", 'database "nowhere" does not exist'),
        ("postgresql://nobody:{hidden}@/{database}?host={folder}", 'role "nobody" does not exist'),
        ("postgresql://postgres:{hidden}@127.0.0.1:1/{database}", "127.0.0.1:1: .*[Rr]efused"),
        ("postgresql://postgres:{hidden}@host.invalid/{database}", "on host.invalid: "),
        ("host=/there/is/no/such/place password='{hidden}' dbname={database}", "on /there/is/no/such/place: "),
    ],
)
async def test_a_database_that_cannot_be_had_is_named_without_its_password(postgres: Server, dsn: str, sentence: str):
    """A wrong password, database, role or host is a StoreError with the host and the database, and never the password."""
    postgres.do("DROP ROLE IF EXISTS guarded; CREATE ROLE guarded LOGIN PASSWORD 'right'")
    where = dsn.format(hidden=HIDDEN, folder=postgres.folder, database="postgres")
    async with opened(where) as store:
        for attempt in (lambda: store.append("s", facts(1), after=0), lambda: store.read("s"), store.sessions):
            with pytest.raises(StoreError, match=sentence) as raised:
                await attempt()
            assert "in the PostgreSQL database '" in str(raised.value)
            for text in (str(raised.value), repr(raised.value.__cause__), repr(store)):
                assert "hunter2" not in text


async def test_the_right_password_is_taken(dsn: str, postgres: Server):
    """A password with signs that an address has a meaning for is written as in every address."""
    postgres.do("DROP ROLE IF EXISTS guarded; CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'hunter2@/'")
    async with opened(postgres.address(named(dsn), "guarded", HIDDEN)) as store:
        await store.append("s", facts(1), after=0)


@pytest.mark.parametrize(
    "dsn", ["postgresql://u:hunter2@[h/d", "hunter2", "postgresql://u:hunter2@h/d?no=such", "host=h '"]
)
def test_an_address_that_cannot_be_read_is_a_usage_error_without_it(dsn: str):
    """What is no address is refused where it is said, with how one looks and without what may be a password."""
    with pytest.raises(
        UsageError, match=r"cannot be read\. It looks like postgresql://USER:PASSWORD@HOST/DATABASE"
    ) as raised:
        PostgresCheckpointStorage(dsn)
    assert "hunter2" not in str(raised.value)
    assert raised.value.__suppress_context__


async def test_when_all_connections_are_busy_there_is_an_error_that_says_so(
    dsn: str, postgres: Server, monkeypatch: pytest.MonkeyPatch
):
    """Who waits too long for one of the store's connections is told how many there are; later it works."""
    monkeypatch.setattr(connections, "TIMEOUT", 0.05)
    async with opened(dsn, connections=2) as store:
        await store.append("s", facts(1), after=0)
        async with await psycopg.AsyncConnection.connect(dsn) as other:
            await other.execute("SELECT FROM relayline.session FOR UPDATE")
            appends = [asyncio.create_task(store.append("s", facts(1), after=1)) for _ in range(2)]
            with pytest.raises(
                StoreError, match=r"all 2 connections to .* busy for .* allow more of them with connections="
            ):
                while True:
                    await store.read("s")
        results = await asyncio.gather(*appends, return_exceptions=True)
        assert sorted(type(each).__name__ for each in results) == ["SequenceConflict", "list"]
        assert len(await store.read("s")) == 2


async def test_more_work_than_connections_waits_its_turn(dsn: str):
    """A hundred appends at once share two connections."""
    async with opened(dsn, connections=2) as store:
        await asyncio.gather(*(store.append(f"s{number}", facts(1), after=0) for number in range(100)))
        assert len(await store.sessions()) == 100


@pytest.fixture
def clerk(dsn: str, postgres: Server) -> Iterator[str]:
    """The address as somebody with few rights."""
    postgres.do("CREATE ROLE limited LOGIN")
    postgres.do(f"GRANT CREATE ON DATABASE {named(dsn)} TO limited")
    yield postgres.address(named(dsn), "limited")
    postgres.empty(dsn)
    postgres.do(f"REVOKE ALL ON DATABASE {named(dsn)} FROM limited; DROP ROLE limited")


async def test_a_server_with_no_connection_left_says_so(clerk: str, postgres: Server):
    """When the server takes no more connections, what needs one more is refused, and what has one goes on."""
    postgres.do("ALTER ROLE limited CONNECTION LIMIT 1")
    async with opened(clerk) as store, opened(clerk) as other:
        await store.append("s", facts(1), after=0)
        with pytest.raises(StoreError, match="too many connections"):
            await other.read("s")
        await store.append("s", facts(1), after=1)
        await store.aclose()
        while True:
            with suppress(StoreError):  # the server takes a moment to notice
                assert len(await other.read("s")) == 2
                break


async def test_a_database_that_may_only_be_read_is_read(clerk: str, postgres: Server):
    """On a server or role that is read-only journals can be read, and an append is refused with the reason."""
    async with opened(clerk) as store:
        await store.append("s", facts(1), after=0)
    postgres.do("ALTER ROLE limited SET default_transaction_read_only = on")
    async with opened(clerk) as store:
        with pytest.raises(StoreError, match="read-only transaction"):
            await store.append("s", facts(1), after=1)
        with pytest.raises(StoreError, match="read-only transaction"):
            await store.delete("s")
        assert len(await store.read("s")) == 1


@pytest.mark.parametrize("error", ["disk_full", "out_of_memory", "query_canceled", "configuration_limit_exceeded"])
async def test_a_server_in_need_keeps_what_was_written(dsn: str, postgres: Server, error: str):
    """When the server can take no more the batch is refused whole; what was there is, and there is a way on."""
    async with opened(dsn) as store:
        await store.append("s", facts(3), after=0)
        postgres.do(
            "CREATE FUNCTION relayline.fail() RETURNS trigger LANGUAGE plpgsql AS $$"
            f"BEGIN RAISE {error} USING MESSAGE = 'could not extend file'; END $$;"
            "CREATE TRIGGER fail BEFORE INSERT ON relayline.fact FOR EACH ROW WHEN (NEW.seq = 4)"
            "EXECUTE FUNCTION relayline.fail()",
            dsn,
        )
        for attempt in (lambda: store.append("s", facts(3), after=3), lambda: store.fork("s", "b", upto=3)):
            with pytest.raises(StoreError):
                await attempt()
        with pytest.raises(StoreError, match="cannot use the session store in .*: could not extend file"):
            await store.append("s", facts(3), after=3)
        assert len(await store.read("s")) == 3
        postgres.do("DROP TRIGGER fail ON relayline.fact", dsn)
        await store.append("s", facts(3), after=3)
        assert len(await store.read("s")) == 6


async def test_a_deadlock_with_somebody_else_is_tried_again(dsn: str, postgres: Server):
    """When the server takes an append back because of what another program did, it is sent again, but not for ever."""
    async with opened(dsn) as store:
        await store.append("s", facts(1), after=0)
        postgres.do(
            "CREATE SEQUENCE relayline.tries; CREATE FUNCTION relayline.fail() RETURNS trigger LANGUAGE plpgsql AS $$"
            "BEGIN IF nextval('relayline.tries') < 3 THEN RAISE deadlock_detected; END IF; RETURN NEW; END $$;"
            "CREATE TRIGGER fail BEFORE INSERT ON relayline.fact FOR EACH ROW EXECUTE FUNCTION relayline.fail()",
            dsn,
        )
        await store.append("s", facts(1), after=1)
        assert len(await store.read("s")) == 2
        postgres.do("ALTER SEQUENCE relayline.tries MINVALUE -1000 RESTART -1000", dsn)
        with pytest.raises(StoreError, match=": deadlock_detected"):
            await store.append("s", facts(1), after=2)
