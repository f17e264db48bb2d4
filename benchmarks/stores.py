"""What keeping conversations costs: CPU time, bytes and memory of each store, beside bare SQLite, in the same run.

    python benchmarks/stores.py                  all of it, some minutes
    python benchmarks/stores.py sqlite file      only these stores
    python benchmarks/stores.py postgresql://... a database, in which it leaves schemas called bench_...

One conversation of 500 turns, each with a tool call, then whatever comes up in a long life: a new process takes it up,
somebody branches off, thousands of others wait. The floor writes the JSON of the same messages to SQLite, a row and a
transaction each, and reads them back.
"""

import asyncio
import itertools
import json
import logging
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path

from core import ASK, cpu, looking_up, team

from relayline.journal.codec import encode
from relayline.journal.file import FileCheckpointStorage
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from relayline.messages import Message

logging.getLogger("relayline").setLevel("ERROR")

TURNS = 500
Figure = tuple[str, str, float, float]


def opened(kind: str, place: Path) -> Store:
    match kind:
        case "sqlite" | "sqlite-full":
            return SqliteCheckpointStorage(place / "sessions.db", durability="full" if "-" in kind else "normal")
        case "file" | "file-full":
            return FileCheckpointStorage(place / "sessions", durability="full" if "-" in kind else "normal")
        case _ if kind.startswith("postgresql://"):
            from relayline.journal.postgres import PostgresCheckpointStorage

            return PostgresCheckpointStorage(kind, schema=f"bench_{place.parent.name}_{place.name}".lower())
        case _:
            sys.exit(f"no store {kind!r}; there are: {', '.join(KINDS)}, and an address postgresql://...")


KINDS = ("sqlite", "sqlite-full", "file", "file-full")


async def measure(kind: str, place: Path) -> list[Figure]:
    store = opened(kind, place)
    workflow = team(looking_up, store)
    ours: list[float] = []
    sizes: list[int] = []
    last = 0
    for _ in range(TURNS):
        start = time.process_time()
        await workflow.run(ASK, session_id="s")
        ours.append((time.process_time() - start) * 1e6)
        last, size = await json_of(store, last)
        sizes.append(size)
    plain = floor(place / "floor.db", (await workflow.session("s")).conversation)
    figures: list[Figure] = [
        (f"turn {at} of one conversation", "µs CPU", around(ours, at), around(plain, at)) for at in (10, 100, 490)
    ]
    figures.append(("the facts of turn 490, beside turn 11", "bytes of JSON", sizes[489], sizes[10]))
    await store.aclose()
    if kind in KINDS:
        what = f"{TURNS} turns on disk, beside the JSON of the facts"
        figures.append((what, "MB", on_disk(place, "floor"), sum(sizes) / 1e6))
    loads = [afresh(kind, place) for _ in range(5)]
    read = statistics.median(reading(place / "floor.db") for _ in range(5))
    figures.append(("a process takes it up", "ms CPU", statistics.median(loads), read))
    figures += await branches(kind, place)
    return figures


async def json_of(store: Store, after: int) -> tuple[int, int]:
    """The number of the last fact, and how many bytes those behind ``after`` are as JSON."""
    new = await store.read("s", after=after)
    return new[-1].seq, sum(len(encode(entry.fact).encode()) for entry in new)


def around(taken: Sequence[float], at: int) -> float:
    return statistics.median(taken[at - 10 : at + 10])


def floor(path: Path, conversation: Sequence[Message]) -> list[float]:
    """CPU microseconds a turn of writing its messages, and nothing else."""
    taken: list[float] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("CREATE TABLE message(id INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        for first in range(0, len(conversation), 4):
            start = time.process_time()
            for message in conversation[first : first + 4]:
                body = json.dumps({"role": message.role, "author": message.author_name, "text": repr(message.parts)})
                db.execute("BEGIN IMMEDIATE")
                db.execute("INSERT INTO message(body) VALUES (?)", (body,))
                db.execute("COMMIT")
            taken.append((time.process_time() - start) * 1e6)
    return taken


def reading(path: Path) -> float:
    """CPU milliseconds of reading it back."""
    start = time.process_time()
    with closing(sqlite3.connect(path)) as db:
        assert [json.loads(body) for (body,) in db.execute("SELECT body FROM message ORDER BY id")]
    return (time.process_time() - start) * 1e3


def on_disk(place: Path, but: str) -> float:
    files = [each for each in place.rglob("*") if each.is_file() and not each.name.startswith(but)]
    return sum(each.stat().st_size for each in files) / 1e6


AFRESH = """
import asyncio, sys, time
sys.path.insert(0, {here!r})
from stores import ASK, Path, looking_up, opened, team

async def main():
    place = Path({place!r})
    store = opened({kind!r}, place)
    workflow = team(looking_up, store)
    warm = (await workflow.run(ASK)).session_id
    await team(looking_up, store).session(warm)
    taken = []
    for _ in range(3):
        start = time.process_time()
        await workflow.run(ASK, session_id="s")
        taken.append(time.process_time() - start)
    await store.aclose()
    print((taken[0] - min(taken[1:])) * 1e3)

asyncio.run(main())
"""


def afresh(kind: str, place: Path) -> float:
    """CPU milliseconds that the first turn of the conversation takes more than the next one, in a new process that had
    a short one before, and took that up too.
    """
    code = AFRESH.format(here=str(Path(__file__).parent), place=str(place), kind=kind)
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)


async def branches(kind: str, place: Path) -> list[Figure]:
    """What a branch of a long past costs beside one of a short past."""
    store = opened(kind, place)
    numbers = itertools.count()

    def fork(upto: int) -> Callable[[], Awaitable[None]]:
        return lambda: store.fork("s", f"branch {next(numbers)}", upto=upto)

    short, long = await cpu(fork(20), 5, 40), await cpu(fork(4_000), 5, 40)
    await store.aclose()
    return [("a branch of 4,000 facts, beside one of 20", "µs CPU", long, short)]


PAUSED = 10_000

WAITING = """
import asyncio, resource, sys
sys.path.insert(0, {here!r})
from stores import ASK, Path, looking_up, opened, team

async def main():
    store = opened({kind!r}, Path({place!r}))
    workflow = team(looking_up, store)
    before = 0
    for number in range({count}):
        await workflow.run(ASK, session_id=f"paused {{number}}")
        if number == 200:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await store.aclose()
    print((after - before) / 1024)

asyncio.run(main())
"""


def waiting(kind: str, place: Path) -> list[Figure]:
    """Megabytes that a process grows while 10,000 conversations come to wait for their users."""
    code = WAITING.format(here=str(Path(__file__).parent), place=str(place), kind=kind, count=PAUSED)
    grown = float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    return [(f"{PAUSED:,} conversations that wait", "MB of memory", grown, float("nan"))]


LONG = 10_000


async def long_life(kind: str, place: Path) -> list[Figure]:
    """One conversation of 10,000 turns whose agents are shown its last messages only."""
    from relayline import Agent, HandoffBuilder, views

    workflow = team(looking_up)
    client = workflow.performer.seats["triage"].client
    agents = [Agent("triage", client=client, tools=list(workflow.performer.seats["triage"].tools.values()))]
    store = opened(kind, place)
    flow = HandoffBuilder(participants=agents).with_view("triage", views.last(20)).with_checkpointing(store).build()
    taken: list[float] = []
    for _ in range(LONG):
        start = time.process_time()
        await flow.run(ASK, session_id="long")
        taken.append((time.process_time() - start) * 1e6)
    await store.aclose()
    return [
        (f"turn {LONG:,} of one conversation, beside turn 100", "µs CPU", around(taken, LONG - 10), around(taken, 100))
    ]


def main(kinds: list[str]) -> None:
    print(f"| {'what':<48} | {'unit':<14} | {'relayline':>12} | {'beside':>12} |")
    print(f"|{'-' * 50}|{'-' * 16}|{'-' * 13}:|{'-' * 13}:|")
    for kind in kinds or KINDS:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            for each in ("one", "many", "long"):
                (place / each).mkdir()
            show(kind, asyncio.run(measure(kind, place / "one")))
            show(kind, waiting(kind, place / "many"))
            show(kind, asyncio.run(long_life(kind, place / "long")))


def show(kind: str, figures: Sequence[Figure]) -> None:
    for what, unit, ours, beside in figures:
        print(
            f"| {kind.partition(':')[0] + ': ' + what:<48} | {unit:<14} | {ours:>12,.2f} | {beside:>12,.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
