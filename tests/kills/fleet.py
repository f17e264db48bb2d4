"""Kill the workers of a fleet at random moments, and compare what the journals say with what was done.

    python -m tests.kills.fleet                               sixty kills of each fleet, and a thousand sessions that wait
    python -m tests.kills.fleet --kills 10 sqlite restate     ten, of some of: sqlite, postgresql, restate, temporal

Processes of `relayline worker` do the turns of eight conversations at once, whose users are in this process and live on.
One of them is killed with SIGKILL and started again, as a newer release of the team, so many times. What has to hold is
`suite.check`. Then `paused`.
"""

import argparse
import asyncio
import itertools
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relayline import InMemoryCheckpointStorage, Workflow
from relayline.cli.worker import engine
from relayline.journal.opening import open_store
from tests.kills import paused
from tests.kills.desk import Ledger, team
from tests.kills.stores import a_store
from tests.kills.suite import Report, check
from tests.kills.worker import converse
from tests.kills.workers import an_engine, workers

KINDS = ("sqlite", "postgresql", "restate", "temporal")

WORKERS = 3

USERS = 8
"""How many conversations go on at once."""

MOMENT = 0.03
"""Seconds that a model or a tool takes: with an engine's own time beside it, most kills are to fall into turns."""

FOLDER = "RELAYLINE_KILLS"
"""The variable that tells a worker where its team's ledger is."""

RELEASE = "RELAYLINE_RELEASE"
"""The variable that tells a worker which release of the team it has."""

SLOW = "RELAYLINE_SLOW"
"""The variable that tells a worker how long its models and tools take, in seconds."""


def desk() -> Workflow:
    """What ``relayline worker`` is given."""
    settings = os.environ
    moment, release = float(settings.get(SLOW, "0")) or MOMENT, int(settings.get(RELEASE, "0"))
    return team(InMemoryCheckpointStorage(), Path(settings[FOLDER]), moment, release)


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from a kill until all that was going on at that moment, anywhere, had come to its end; ascending."""

    seconds: Sequence[float]

    def at(self, part: float) -> float:
        return self.seconds[min(int(len(self.seconds) * part), len(self.seconds) - 1)]

    def __str__(self) -> str:
        times = f"{self.at(0.5):.1f} s until all that went on was done, at the median; {self.at(0.95):.1f} s"
        return f"    {times} at the 95th percentile"


async def run(
    kind: str, folder: Path, kills: int, many: int = WORKERS, *, apart: bool = False, seed: int = 0
) -> tuple[Report, Recovery]:
    """Kill ``kills`` times one of ``many`` workers of a fleet of this kind, let the others finish, and check all of it.

    ``apart``: no sooner than all has recovered from the last time.

    Raises:
        AssertionError: with what does not hold.
    """
    with a_store("sqlite" if kind == "sqlite" else "postgresql", folder) as where, an_engine(kind) as served:
        store, dispatcher = open_store(where), engine(served.word, "desk")
        users = _Users(team(store, folder).with_dispatcher(dispatcher), Ledger(folder))
        async with workers("tests.kills.fleet:desk", where, served, folder) as working:
            for _ in range(many):
                await working.start(**{FOLDER: str(folder)})
            talking = asyncio.create_task(users.talk())
            chance = random.Random(seed)
            for release in range(1, kills + 1):
                await asyncio.sleep(chance.uniform(0.3, 1.5))
                assert not talking.done(), talking.exception()
                worker = chance.choice(working.processes)
                assert worker.returncode is None, "it had ended by itself"
                users.killed()
                await working.kill(worker)
                await working.start(**{FOLDER: str(folder), RELEASE: str(release)})
                while apart and not users.recovered_from_all:
                    await asyncio.sleep(0.05)
            users.leaving = True
            await asyncio.wait_for(talking, 300)
            await working.stop()
        await dispatcher.aclose()
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

    @property
    def recovered_from_all(self) -> bool:
        return not self._lost

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


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fleets", nargs="*", default=KINDS)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--paused", type=int, default=1000, help="sessions that wait; 0: none")
    given = parser.parse_args(arguments)
    for kind in given.fleets:
        if given.kills:
            with tempfile.TemporaryDirectory() as folder:
                report, recovery = asyncio.run(run(kind, Path(folder), given.kills, given.workers))
                print(f"{kind}, {given.workers} workers\n{report}\n{recovery}", flush=True)
        if given.paused:
            with tempfile.TemporaryDirectory() as folder:
                print(asyncio.run(paused.run(kind, Path(folder), given.paused)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
