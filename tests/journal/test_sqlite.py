"""The SQLite store: the rules of every store, several processes, sudden deaths, wrong files, and what it costs."""

import asyncio
import itertools
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import cast

import pytest

from relayline import HandoffBuilder, StoreError
from relayline.errors import DamagedJournal
from relayline.events import Fact, Retried
from relayline.journal.codec import encode
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.testing import FakeClock, ScriptedClient, assert_replays, call, check_store, handoff_to


@asynccontextmanager
async def opened(path: Path, clock: FakeClock | None = None) -> AsyncIterator[SqliteCheckpointStorage]:
    store = SqliteCheckpointStorage(path, clock or FakeClock())
    try:
        yield store
    finally:
        await store.aclose()


def facts(count: int) -> list[Fact]:
    return [Retried(f"t{number}") for number in range(count)]


# --- The rules


async def test_the_sqlite_store_keeps_the_rules_of_every_store(tmp_path: Path):
    """`SqliteCheckpointStorage` passes the conformance suite, with several handles on each file."""
    paths = (tmp_path / f"{number}.db" for number in itertools.count())
    await check_store(lambda: SqliteCheckpointStorage(next(paths)), lambda store: SqliteCheckpointStorage(store.path))


async def test_nothing_is_made_before_the_first_use(tmp_path: Path):
    """Declaring a store touches no disk; using it makes its folder; closing one that was never used is fine."""
    path = tmp_path / "new" / "folder" / "sessions.db"
    store = SqliteCheckpointStorage(path)
    await store.aclose()
    assert not path.parent.exists()
    assert await store.sessions() == []
    assert path.exists()
    await store.aclose()


async def test_after_closing_one_file_is_left(tmp_path: Path):
    """A store that was closed leaves its database and nothing beside it, so a copy of the file is the whole of it."""
    async with opened(tmp_path / "s.db") as store:
        await store.append("s", facts(3), after=0)
    assert os.listdir(tmp_path) == ["s.db"]


# --- Several processes


async def test_many_may_open_a_new_file_at_once(tmp_path: Path):
    """Whoever comes first makes the tables, the others wait for it: all of them write."""
    for number in range(40):
        stores = [SqliteCheckpointStorage(tmp_path / f"{number}.db") for _ in range(16)]
        try:
            await asyncio.gather(*(store.append(f"s{each}", facts(1), after=0) for each, store in enumerate(stores)))
            assert len(await stores[0].sessions()) == len(stores)
        finally:
            for store in stores:
                await store.aclose()


# --- Wrong files


def other_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE bookmark(url TEXT)")
        db.execute("INSERT INTO bookmark VALUES ('kept')")
        db.commit()


def sound(path: Path) -> None:
    async def made() -> None:
        async with opened(path) as store:
            await store.append("s", facts(1), after=0)

    asyncio.run(made())


def newer_layout(path: Path) -> None:
    sound(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def cut_short(path: Path) -> None:
    sound(path)
    path.write_bytes(path.read_bytes()[:1000])


def overwritten(path: Path) -> None:
    sound(path)
    whole = bytearray(path.read_bytes())
    whole[100:] = bytes(len(whole) - 100)
    path.write_bytes(whole)


WRONG: dict[str, tuple[str, Callable[[Path], object]]] = {
    "another program's database": ("is a database of another program; choose another path", other_program),
    "a newer layout": (r"written by a newer relayline \(layout 99\); upgrade to use it", newer_layout),
    "no database": ("file is not a database", lambda path: path.write_text("Dear diary, " * 500)),
    "the start of a database": ("cannot use the session store", cut_short),
    "a database of zeros": ("cannot use the session store", overwritten),
    "a folder": ("unable to open database file", lambda path: path.mkdir()),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_file_is_refused(tmp_path: Path, name: str):
    """What is not a session store of this release is a StoreError that names the file, on reading and on writing."""
    sentence, make = WRONG[name]
    path = tmp_path / "s.db"
    await asyncio.to_thread(make, path)
    async with opened(path) as store:
        attempts = (lambda: store.append("s", facts(1), after=0), lambda: store.read("s"), store.sessions)
        for attempt in attempts:
            with pytest.raises(StoreError, match=sentence) as raised:
                await cast("Awaitable[object]", attempt())
            assert str(path) in str(raised.value)


@pytest.mark.parametrize("name", list(WRONG))
async def test_a_wrong_file_is_left_as_it_is(tmp_path: Path, name: str):
    """Refusing a file does not change a byte of it, and leaves nothing beside it."""
    path = tmp_path / "s.db"
    await asyncio.to_thread(WRONG[name][1], path)
    before = path.read_bytes() if path.is_file() else None
    async with opened(path) as store:
        with pytest.raises(StoreError):
            await store.append("s", facts(1), after=0)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert os.listdir(tmp_path) == ["s.db"]


@pytest.mark.parametrize("where", ["file/s.db", "file/folder/s.db", "x" * 300, "x" * 300 + "/s.db", "\0"])
async def test_a_place_where_no_file_can_be_is_a_store_error(tmp_path: Path, where: str):
    """A path that leads through a file, or that no file system takes, is told like any other trouble with the disk."""
    (tmp_path / "file").write_text("I am in the way.")
    async with opened(tmp_path / where) as store:
        with pytest.raises(StoreError, match="cannot use the session store"):
            await store.append("s", facts(1), after=0)


async def test_a_full_disk_keeps_what_was_written(tmp_path: Path):
    """When there is no more room the batch is refused whole; what was there is, and there is a way on."""
    path = tmp_path / "s.db"
    async with opened(path) as store:
        await store.append("s", facts(3), after=0)
        pages = await store._do(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
        await store._do(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall())
        with pytest.raises(StoreError, match="database or disk is full"):
            await store.append("s", [Retried("x" * 100_000)], after=3)
        assert len(await store.read("s")) == 3
        await store._do(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchall())
        await store.append("s", [Retried("x" * 100_000)], after=3)
        assert len(await store.read("s")) == 4


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("body", "{}"),
        ("body", b"\xff\xfe"),
        ("body", b'{"type":"os.system"}'),
        ("body", '{"type":"retried","eff'),
        ("version", 99),
        ("version", -1),
        ("version", "x"),
        ("at", "x"),
        ("at", 2**62),
    ],
    ids=repr,
)
async def test_a_damaged_row_is_named(tmp_path: Path, column: str, value: object):
    """What is no fact in the database is a DamagedJournal that names session, file and entry; others can be read."""
    path = tmp_path / "s.db"
    async with opened(path) as store:
        await store.append("s", facts(3), after=0)
        await store.append("t", facts(1), after=0)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"UPDATE fact SET {column} = ? WHERE seq = 2", (value,))
        db.commit()
    async with opened(path) as store:
        with pytest.raises(DamagedJournal, match=r"session 's' in .*s\.db, entry 2: "):
            await store.read("s")
        assert len(await store.read("s", upto=1)) == 1
        assert len(await store.read("t")) == 1


# --- What it costs


async def chat(store: SqliteCheckpointStorage, turns: int) -> None:
    """``turns`` messages of a user, each with a tool call or a handoff somewhere."""

    def look_up(order: int) -> str:
        """Look an order up."""
        return f"Order {order} was sent on Monday and will be there on Thursday."

    def reply(request: object) -> object:
        number = next(count)
        if number % 3 == 0:
            return call("look_up", order=number)
        if number % 10 == 4:
            return handoff_to(others[request.agent.name], reason="knows more")  # type: ignore[attr-defined]
        return f"Here is what I know about {number}: it is all in order. Is there anything else I can do for you?"

    count, others = itertools.count(), {"triage": "orders", "orders": "triage"}
    client = ScriptedClient(*[reply] * (turns * 5))  # type: ignore[list-item]
    agents = [client.as_agent(name, tools=[look_up]) for name in others]
    flow = HandoffBuilder(participants=agents).with_checkpointing(store).build()
    for turn in range(turns):
        await flow.run(f"Question {turn}: where is my order, please?", session_id="s")


async def test_a_turn_costs_as_little_at_the_end_as_at_the_beginning(tmp_path: Path):
    """Over 300 turns the file grows by the same for each, and stays below twice the plain JSON of its facts."""
    path = tmp_path / "s.db"
    sizes: list[int] = []
    for _ in range(3):
        async with opened(path) as store:
            await chat(store, 100)
            entries = await store.read("s")
        sizes.append(path.stat().st_size)  # closed: the log is in the file
    plain = sum(len(encode(entry.fact).encode()) for entry in entries)
    assert sizes[2] <= 2 * plain
    first, second = sizes[1] - sizes[0], sizes[2] - sizes[1]
    assert second <= 1.1 * first + 8192  # pages are 4 kB
    assert_replays(entries)


# --- Cancelling


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
def test_a_forked_child_writes_through_a_connection_of_its_own(tmp_path: Path):
    """A store that was used before a server forked its workers is good in each of them."""
    program = f"""
import asyncio, os
from relayline.events import TurnStarted
from relayline.journal.sqlite import SqliteCheckpointStorage

store = SqliteCheckpointStorage({str(tmp_path / "s.db")!r})

async def write(number):
    await store.append("s", [TurnStarted(number, "a")], after=number)

asyncio.run(write(0))
if not (child := os.fork()):
    asyncio.run(write(1))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
asyncio.run(write(2))
print([entry.seq for entry in asyncio.run(store.read("s"))])
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "[1, 2, 3]\n"), done.stderr
