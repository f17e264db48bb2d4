"""Kill the workers of a fleet at random moments, and compare what the journals say with what was done.

    python -m tests.kills.fleet                               sixty kills of each fleet, some minutes
    python -m tests.kills.fleet --kills 10 sqlite restate     ten, of some of: sqlite, postgresql, restate, temporal

Three processes of `relayline worker` do the turns of eight conversations at once, whose users are in this process and
live on. One of the three is killed with SIGKILL and started again, so many times. What has to hold is `suite.check`.
"""

import argparse
import asyncio
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from relayline import InMemoryCheckpointStorage, Workflow
from relayline.cli.worker import engine
from relayline.journal.opening import open_store
from tests.durable import servers
from tests.kills.desk import Ledger, team
from tests.kills.stores import a_store
from tests.kills.suite import ROOT, Report, check
from tests.kills.worker import converse

KINDS = ("sqlite", "postgresql", "restate", "temporal")

WORKERS = 3

USERS = 8
"""How many conversations go on at once."""

FOLDER = "RELAYLINE_KILLS"
"""The variable that tells a worker where its team's ledger is."""


def desk() -> Workflow:
    """What ``relayline worker`` is given."""
    return team(InMemoryCheckpointStorage(), Path(os.environ[FOLDER]))


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from a kill until all that was going on at that moment, anywhere, had come to its end; ascending."""

    seconds: Sequence[float]

    def __str__(self) -> str:
        p50, p95 = (self.seconds[min(int(len(self.seconds) * part), len(self.seconds) - 1)] for part in (0.5, 0.95))
        return f"    {p50:.1f} s until all that went on was done, at the median; {p95:.1f} s at the 95th percentile"


async def run(kind: str, folder: Path, kills: int, seed: int = 0) -> tuple[Report, Recovery]:
    """Kill ``kills`` workers of a fleet of this kind, let the others finish, and check all of it.

    Raises:
        AssertionError: with what does not hold.
    """
    with a_store("sqlite" if kind == "sqlite" else "postgresql", folder) as where, _engine(kind) as (word, options):
        command = [sys.executable, "-m", "relayline.cli", "worker", "tests.kills.fleet:desk"]
        command += ["--store", where, "--engine", word, *options]
        store = open_store(where)
        users = _Users(team(store, folder).with_dispatcher(engine(word, "desk")), Ledger(folder))
        async with _workers(command, folder) as workers:
            talking = asyncio.create_task(users.talk())
            chance = random.Random(seed)
            for _ in range(kills):
                await asyncio.sleep(chance.uniform(0.3, 1.5))
                assert not talking.done(), talking.exception()
                place = chance.randrange(WORKERS)
                workers[place].send_signal(signal.SIGKILL)
                users.killed()
                assert await workers[place].wait() == -signal.SIGKILL, "it had ended by itself"
                workers[place] = await _start(command, folder)
            users.leaving = True
            await asyncio.wait_for(talking, 300)
            for worker in workers:
                worker.send_signal(signal.SIGTERM)
            for worker in workers:
                ended = await asyncio.wait_for(worker.wait(), 60)
                assert ended == 0, f"{ended}: {(folder / 'workers.log').read_text()[-3000:]}"
        await store.aclose()
        return await check(where, folder, kills, USERS), Recovery(sorted(users.recovered))


class _Users:
    """Eight at once, each with one conversation after the other, until they are to leave."""

    def __init__(self, workflow: Workflow, ledger: Ledger) -> None:
        self.leaving = False
        self.recovered: list[float] = []
        self._workflow = workflow
        self._ledger = ledger
        self._going: dict[int, float] = {}
        self._lost: list[tuple[float, set[int]]] = []
        self._numbers = itertools.count()

    async def talk(self) -> None:
        await asyncio.gather(*(self._user(name) for name in range(USERS)))

    def killed(self) -> None:
        """Remember what is going on at this moment."""
        self._lost.append((time.monotonic(), set(self._going)))

    async def _user(self, name: int) -> None:
        for number in itertools.count():
            if self.leaving:
                return
            await converse(_Timed(self._workflow, self), f"u{name}-{number}", self._ledger)  # type: ignore[arg-type]

    def begins(self) -> int:
        number = next(self._numbers)
        self._going[number] = time.monotonic()
        return number

    def ends(self, number: int) -> None:
        del self._going[number]
        for killed, going in list(self._lost):
            going.discard(number)
            if not going:
                self.recovered.append(time.monotonic() - killed)
                self._lost.remove((killed, going))


class _Timed:
    """A workflow, for `converse`, whose runs are known to whoever measures."""

    def __init__(self, workflow: Workflow, users: _Users) -> None:
        self._workflow = workflow
        self._users = users
        self.session = workflow.session

    async def run(self, *said: object, **given: object) -> object:
        number = self._users.begins()
        try:
            return await self._workflow.run(*said, **given)  # type: ignore[arg-type]
        finally:
            self._users.ends(number)


@contextmanager
def _engine(kind: str) -> Iterator[tuple[str, list[str]]]:
    """A server of its own, as the word for ``--engine``; and what else a worker has to be told."""
    match kind:
        case "restate":
            with servers.restate() as server:
                (port,) = servers.free_ports(1)
                yield f"restate:{server.ingress},{server.admin}", ["--listen", f"127.0.0.1:{port}", "--sessions", "4"]
        case "temporal":
            with servers.temporal() as other:
                yield f"temporal:{other.address}", []
        case _:
            yield "local", []


@asynccontextmanager
async def _workers(command: Sequence[str], folder: Path) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    workers = [await _start(command, folder) for _ in range(WORKERS)]
    try:
        yield workers
    finally:
        for worker in workers:
            with suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()


async def _start(command: Sequence[str], folder: Path) -> asyncio.subprocess.Process:
    log = (folder / "workers.log").open("ab")
    try:
        environment = {**os.environ, FOLDER: str(folder), "PYTHONUNBUFFERED": "1"}
        before = log.tell()
        worker = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    finally:
        log.close()
    for _ in range(600):
        if b"of team desk" in (folder / "workers.log").read_bytes()[before:]:
            return worker
        assert worker.returncode is None, (folder / "workers.log").read_text()[-2000:]
        await asyncio.sleep(0.05)
    raise AssertionError("a worker did not begin to work")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fleets", nargs="*", default=KINDS)
    parser.add_argument("--kills", type=int, default=60)
    given = parser.parse_args(arguments)
    for kind in given.fleets:
        with tempfile.TemporaryDirectory() as folder:
            report, recovery = asyncio.run(run(kind, Path(folder), given.kills))
            print(f"{kind}\n{report}\n{recovery}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
