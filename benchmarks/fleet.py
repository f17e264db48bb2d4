"""What a turn costs on a fleet beside what its engine costs when a turn only waits, and how fast a fleet recovers.

    python -m benchmarks.fleet                                        all, half an hour
    python -m benchmarks.fleet restate --turns 160 --workers 2 --kills 0   less

A turn is a message, a model (20 ms), a tool, a model (20 ms) and a reply, in 16 sessions at once; on local fleets and engines
alike the sessions are in PostgreSQL. CPU is that of workers, engine and database, in milliseconds a turn, without what they
take when nothing is to do, which is a column of its own (milliseconds a second). The floor is the same engine with one worker
whose turns wait as long and do nothing; *both* is such a turn and one of a local fleet, begun together: a machine that has more
to do takes longer for each of its things, so the floor alone is what an engine costs where nobody else is. Recovery is that of `tests.kills.fleet`: seconds from a SIGKILL until all that went on
at that moment, anywhere, was done.
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
from tests.kills.fleet import run
from tests.kills.stores import a_store
from tests.kills.workers import Engine, an_engine

SESSIONS = 16
IDLE = 4.0
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
    """A worker whose turns only wait; it says when one is over."""

    async def nothing(session: str) -> None:
        await asyncio.sleep(0.045)
        print(session, flush=True)

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


def servers(where: str) -> list[int]:
    """The first processes of the engine and of the database ``where``, which are ours."""
    folder = where.partition("host=")[2]
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            ours = _parent(path.parent) == str(os.getpid())  # a shell with the server below it
        except OSError:
            continue
        engine = ours and ("restate-server" in line or "server start-dev" in line)
        if engine or f"postgres -D {folder}" in line:
            found.append(int(path.parent.name))
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


class Meter:
    """The CPU of some processes from now on, without what they take when nothing is to do."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self.idle = 0.0
        self.start()

    def start(self) -> None:
        self._begun, self._before = time.perf_counter(), cpu(*self._pids)

    async def rest(self) -> None:
        """Find out what they take when nothing is to do."""
        self.start()
        await asyncio.sleep(IDLE)
        self.idle = (cpu(*self._pids) - self._before) / IDLE
        self.start()

    def spent(self) -> float:
        return cpu(*self._pids) - self._before - self.idle * (time.perf_counter() - self._begun)


WORKER = "-m", "relayline.cli", "worker", "benchmarks.fleet:desk", "--store"


async def measure(kind: str, workers: int, turns: int) -> str:
    with (
        tempfile.TemporaryDirectory() as folder,
        a_store("postgresql", Path(folder)) as where,
        an_engine(kind) as served,
    ):
        store = open_store(where)
        caller = team(store).with_dispatcher(engine(served.word, "bench"))
        await store.sessions()
        processes = [await start(*WORKER, where, *served.options) for _ in range(workers)]

        async def talk(session: int) -> None:
            for _ in range(turns // SESSIONS):
                await caller.run("Where is order 7?", session_id=f"s{session}")

        await asyncio.gather(*(caller.run("Where is order 7?", session_id=f"warm{each}") for each in range(SESSIONS)))
        own, rest = Meter(*(each.pid for each in processes)), Meter(*servers(where))
        await asyncio.gather(own.rest(), rest.rest())
        begun = time.perf_counter()
        await asyncio.gather(*(talk(number) for number in range(SESSIONS)))
        done = turns // SESSIONS * SESSIONS
        rate = done / (time.perf_counter() - begun)
        worker, servers_share = own.spent() / done, rest.spent() / done
        for each in processes:
            each.terminate()
            await each.wait()
        floor = both = 0.0  # without an engine there is nothing beneath
        if served.server:
            floor, both = await _floor(served, where, turns, None), await _floor(served, where, turns, team(store))
        assert caller.dispatcher is not None
        await caller.dispatcher.aclose()
        await store.aclose()
        in_all, idle = worker + servers_share, own.idle + rest.idle
        shares = f"{kind:>12} {workers:>7} {worker:>9.1f} {servers_share:>9.1f}"
        return f"{shares} {in_all:>9.1f} {floor:>9.1f} {both:>9.1f} {idle:>9.1f} {rate:>9.0f}"


async def _floor(served: Engine, where: str, turns: int, beside: Workflow | None) -> float:
    """What a turn costs that does nothing; or with one of a local fleet ``beside`` it, what they cost together."""
    worker = await start("-m", "benchmarks.fleet", "floor", served.word, served.listen, out=asyncio.subprocess.PIPE)
    others = [await start(*WORKER, where, "--engine", "local")] if beside else []
    await asyncio.sleep(2)
    dispatcher, local = engine(served.word, "bench"), beside and beside.with_dispatcher(engine("local", "bench"))
    over = {f"s{number}": asyncio.Event() for number in range(SESSIONS)}

    async def hear(lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            over[line.decode().strip()].set()

    async def nothing(session: str) -> None:
        await dispatcher.submit(session, "")
        await over[session].wait()
        over[session].clear()

    async def talk(session: str, times: int) -> None:
        for _ in range(times):
            both = [nothing(session)]
            if local:
                both.append(_said(local, f"beside {session}"))
            await asyncio.gather(*both)

    assert worker.stdout is not None
    hearing = asyncio.create_task(hear(worker.stdout))
    await asyncio.gather(*(talk(session, 1) for session in over))
    meter = Meter(worker.pid, *(each.pid for each in others), *servers(where))
    await meter.rest()
    await asyncio.gather(*(talk(session, turns // SESSIONS) for session in over))
    spent = meter.spent()
    for each in (worker, *others):
        each.kill()
        await each.wait()
    await hearing
    await dispatcher.aclose()
    return spent / (turns // SESSIONS * SESSIONS)


async def _said(workflow: Workflow, session: str) -> None:
    await workflow.run("Where is order 7?", session_id=session)


def recovery(kind: str, workers: int, kills: int) -> str:
    if not kills:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        _, recovered = asyncio.run(run(kind, Path(folder), kills, workers, apart=True))
    return "".join(f" {recovered.at(part):>9.1f}" for part in (0.5, 0.95))


def main() -> None:
    if sys.argv[1:2] == ["floor"]:
        asyncio.run(floor(*sys.argv[2:]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=["postgresql", "restate", "temporal"])
    parser.add_argument("--turns", type=int, default=480)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--kills", type=int, default=20)
    given = parser.parse_args()
    columns = "worker", "servers", "in all", "floor", "both", "idle", "turns/s", "p50", "p95"
    print(f"{'fleet':>12} {'workers':>7}", *(f"{each:>9}" for each in columns))
    for kind in given.kinds:
        for workers in given.workers:
            print(asyncio.run(measure(kind, workers, given.turns)), recovery(kind, workers, given.kills), flush=True)


if __name__ == "__main__":
    main()
