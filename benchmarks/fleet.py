"""What a turn costs on a fleet, beside what its engine costs when a turn does nothing.

    python -m benchmarks.fleet                                  all, some minutes
    python -m benchmarks.fleet --turns 200 --workers 2 restate  less

A turn is a message, a model (20 ms), a tool, a model (20 ms) and a reply, in 16 sessions at once; on local fleets and engines
alike the sessions are in PostgreSQL. CPU is that of workers, engine and database, in milliseconds a turn. The floor is the same
dispatcher with turns that do nothing. How long recovery takes is measured by `make fleet`, which kills workers.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from relayline import Agent, ChatClient, ChatRequest, HandoffBuilder, InMemoryCheckpointStorage, Workflow, tool
from relayline.cli.worker import engine
from relayline.dispatch import Limits
from relayline.journal.opening import open_store
from relayline.testing import call
from tests.kills.stores import a_store
from tests.kills.workers import an_engine

SESSIONS = 16
TICK = 1000 / os.sysconf("SC_CLK_TCK")


@tool(repeatable=True)
async def look(order: int) -> str:
    """Look an order up."""
    return f"Order {order} left yesterday."


class Model(ChatClient):
    async def stream(self, request: ChatRequest) -> AsyncIterator[Any]:
        await asyncio.sleep(0.02)
        yield "It left yesterday. " * 20 if request.messages[-1].role == "tool" else call("look", order=7)


def team(store: Any) -> Workflow:
    desk = Agent("desk", client=Model(), tools=[look])
    return (
        HandoffBuilder(name="bench", participants=[desk])
        .with_terminal_agents(["desk"])
        .with_checkpointing(store)
        .build()
    )


def desk() -> Workflow:
    """What ``relayline worker`` is given."""
    return team(InMemoryCheckpointStorage())


async def floor(word: str, listen: str) -> None:
    """A worker whose turns do nothing; it says so, for each."""

    async def nothing(_: str) -> None:
        print("turn", flush=True)

    print("ready", file=sys.stderr, flush=True)
    await engine(word, "bench", listen).serve(nothing, Limits())


def cpu(*roots: int) -> float:
    """The milliseconds of these processes and all below them, living and dead."""
    spent: dict[int, tuple[int, float]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        spent[int(path.parent.name)] = int(fields[1]), sum(map(int, fields[11:15])) * TICK
    total = 0.0
    for pid, (_, used) in spent.items():
        above = pid
        while above in spent and above not in roots:
            above = spent[above][0]
        total += used if above in roots else 0.0
    return total


def servers() -> list[int]:
    """The engines' and the database's first processes, which are ours."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        ours = ("restate-server" in line or "server start-dev" in line) and str(os.getpid()) == _parent(
            path.parent
        )  # a shell with the server below it
        database = "/bin/postgres -D /tmp/pg" in line
        found += [int(path.parent.name)] * (ours or database)
    return found


def _parent(process: Path) -> str:
    return (process / "stat").read_text().rpartition(")")[2].split()[1]


async def start(*command: str, out: Any = None) -> asyncio.subprocess.Process:
    worker = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=out or asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert worker.stderr is not None
    await worker.stderr.readline()
    asyncio.get_running_loop().create_task(_drained(worker.stderr))
    return worker


async def _drained(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass


async def measure(kind: str, workers: int, turns: int) -> str:
    with (
        tempfile.TemporaryDirectory() as folder,
        a_store("postgresql", Path(folder)) as where,
        an_engine(kind) as served,
    ):
        word, options = served.word, list(served.options)
        store = open_store(where)
        caller = team(store).with_dispatcher(engine(word, "bench"))
        await store.sessions()
        command = [
            "-m",
            "relayline.cli",
            "worker",
            "benchmarks.fleet:desk",
            "--store",
            where,
            "--engine",
            word,
            *options,
        ]
        processes = [await start(*command) for _ in range(workers)]
        await asyncio.sleep(2)
        await caller.run("Where is order 7?", session_id="warm")

        async def talk(session: int) -> None:
            for _ in range(turns // SESSIONS):
                await caller.run("Where is order 7?", session_id=f"s{session}")

        pids = [each.pid for each in processes]
        before, begun = (cpu(*pids), cpu(*servers())), time.perf_counter()
        await asyncio.gather(*(talk(number) for number in range(SESSIONS)))
        seconds = time.perf_counter() - begun
        done = turns // SESSIONS * SESSIONS
        own, rest = ((after - first) / done for after, first in zip((cpu(*pids), cpu(*servers())), before, strict=True))
        for each in processes:
            each.terminate()
            await each.wait()
        idle = await _floor(kind, word, options, turns)
        await store.aclose()
        return (
            f"{kind:>12} {workers:>7} {own:>9.1f} {rest:>9.1f} {own + rest:>9.1f} {idle:>9.1f} {done / seconds:>9.0f}"
        )


async def _floor(kind: str, word: str, options: list[str], turns: int) -> float:
    if kind == "postgresql":
        return 0.0  # without an engine there is nothing beneath
    listen = options[options.index("--listen") + 1] if "--listen" in options else ""
    worker = await start("-m", "benchmarks.fleet", "floor", word, listen, out=asyncio.subprocess.PIPE)
    await asyncio.sleep(2)
    dispatcher = engine(word, "bench")
    assert worker.stdout is not None
    before = cpu(worker.pid, *servers())
    for _ in range(turns // SESSIONS):
        await asyncio.gather(*(dispatcher.submit(f"s{number}", "") for number in range(SESSIONS)))
        for _ in range(SESSIONS):
            await worker.stdout.readline()
    spent = cpu(worker.pid, *servers()) - before
    worker.kill()
    await worker.wait()
    await dispatcher.aclose()
    return spent / (turns // SESSIONS * SESSIONS)


def main() -> None:
    if sys.argv[1:2] == ["floor"]:
        asyncio.run(floor(*sys.argv[2:]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=["postgresql", "restate", "temporal"])
    parser.add_argument("--turns", type=int, default=480)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    given = parser.parse_args()
    print(f"{'fleet':>12} {'workers':>7} {'worker':>9} {'servers':>9} {'in all':>9} {'floor':>9} {'turns/s':>9}")
    for kind in given.kinds:
        for workers in given.workers:
            print(asyncio.run(measure(kind, workers, given.turns)), flush=True)


if __name__ == "__main__":
    main()
