"""Kill working processes at random moments, and compare what the journals say with what was done.

    python -m tests.kills.suite                        sixty kills on each store, some minutes
    python -m tests.kills.suite --kills 10 sqlite      ten, on one of: sqlite, file, postgresql

Two processes work on one store, each on conversations of its own. One of them is killed with SIGKILL, and started again,
so many times. Then they finish what was begun. What has to hold is `check`.
"""

import argparse
import asyncio
import collections
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relayline import InMemoryCheckpointStorage, Message
from relayline.events import Asked, Entry, Replied, TeamChanged, ToolReturned
from relayline.journal.checkpoints import state_after
from relayline.journal.opening import open_store
from relayline.machine.effects import effects
from relayline.testing import assert_replays
from tests.kills.desk import TURNS, Ledger, team
from tests.kills.stores import KINDS, a_store
from tests.kills.worker import AT_ONCE, converse

WORKERS = ("a", "b")
ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it.

    ``interrupted``: calls that must not be run again and were cut off; a person was asked. ``taken_over``: how often another
    release of the team went on with a turn.
    """

    kills: int
    sessions: int
    facts: int
    effects: int
    lost: int
    repeated_under_key: int
    silent_reruns: int
    interrupted: int
    repeated_reads: int
    repeated_replies: int
    taken_over: int

    def __str__(self) -> str:
        return "\n".join(f"{getattr(self, name):>8,} {name.replace('_', ' ')}" for name in self.__slots__)


def run(where: str, folder: Path, kills: int, seed: int = 0) -> Report:
    """Kill ``kills`` times on the store ``where``, then let them finish, and check all of it.

    Raises:
        AssertionError: with what does not hold.
    """
    chance = random.Random(seed)
    with _workers(where, folder) as workers:
        for _ in range(kills):
            # Measured from when it works, not from when it was started: a busy machine takes its time for imports.
            time.sleep(chance.uniform(0.05, 0.6))
            name = chance.choice(WORKERS)
            workers[name].send_signal(signal.SIGKILL)
            _, errors = workers[name].communicate()
            assert workers[name].returncode == -signal.SIGKILL, f"it had ended by itself: {errors}"
            workers[name] = _start(where, folder, name)
        (folder / "stop").touch()
        for worker in workers.values():
            _, errors = worker.communicate(timeout=300)
            assert worker.returncode == 0, errors
    return asyncio.run(check(where, folder, kills))


async def check(where: str, folder: Path, kills: int, at_once: int = AT_ONCE) -> Report:
    """What has to hold after any number of kills, with so many conversations at once.

    Each conversation came to the end, in the words of one that was never cut off. Every effect happened, once: under a
    key, or with a person's leave. What had finished was not done again: no more replies and reads than were in flight.
    """
    wanted = await _uninterrupted(folder)
    ledger = Ledger(folder)
    counts = collections.Counter(ledger.lines())
    store = open_store(where)
    calls: list[tuple[str, str]] = []
    replies = facts = interrupted = taken_over = 0
    sessions = [each.session_id for each in await store.sessions()]
    for session_id in sessions:
        entries = await store.read(session_id)
        assert_replays(entries)
        said = await team(store, folder).session(session_id)
        assert list(said.conversation) == wanted, f"{session_id} reads {said.conversation}, not {wanted}"
        calls += [(name, f"{session_id}/{key}") for name, key in _calls(entries)]
        replies += sum(isinstance(entry.fact, Replied) for entry in entries)
        facts += len(entries)
        interrupted += sum(isinstance(entry.fact, Asked) and entry.fact.ask == "outcome" for entry in entries)
        taken_over += sum(amid_a_turn(session_id, entries, entry) for entry in entries)
    await store.aclose()
    once = [key for name, key in calls if name in ("send", "refund")]
    paid = [key for name, key in calls if name == "pay"]
    reads = [key for name, key in calls if name == "look"]
    models = sum(times for (what, _), times in counts.items() if what == "model")
    began = {key: counts["began", key] for key in once}
    report = Report(
        kills,
        len(sessions),
        facts,
        len(once) + len(paid),
        lost=sum(not counts["took-effect", key] for key in once) + len(set(paid) - ledger.paid()),
        repeated_under_key=len(ledger.paid() - set(paid)) + len(paid) - len(set(paid)),
        silent_reruns=sum(times > 1 + counts["run-again", key] for key, times in began.items())
        + sum(counts["took-effect", key] > 1 for key in once),
        interrupted=interrupted,
        repeated_reads=sum(counts["look", key] - 1 for key in reads),
        repeated_replies=models - replies,
        taken_over=taken_over,
    )
    assert sessions, "nothing was begun"
    assert not report.lost, report
    assert not report.repeated_under_key, report
    assert not report.silent_reruns, report
    assert 0 <= report.repeated_replies <= kills * at_once, report
    assert 0 <= report.repeated_reads <= kills * at_once * 2, report
    return report


async def _uninterrupted(folder: Path) -> Sequence[Message]:
    """The conversation as it is where nobody is killed."""
    with tempfile.TemporaryDirectory(dir=folder) as apart:
        store = InMemoryCheckpointStorage()
        workflow = team(store, Path(apart))
        await converse(workflow, "s", Ledger(Path(apart)))
        said = (await workflow.session("s")).conversation
    assert sum(message.role == "user" for message in said) == TURNS
    return list(said)


def _calls(entries: Sequence[Entry]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        if isinstance(entry.fact, ToolReturned) and entry.fact.result.outcome == "done":
            yield entry.fact.result.name, entry.fact.result.call_id


def amid_a_turn(session_id: str, entries: Sequence[Entry], entry: Entry) -> bool:
    """Whether it says that another release came while there was something in the air."""
    return isinstance(entry.fact, TeamChanged) and bool(effects(state_after(session_id, entries[: entry.seq - 1])))


@contextmanager
def _workers(where: str, folder: Path) -> Iterator[dict[str, subprocess.Popen[str]]]:
    workers = {name: _start(where, folder, name) for name in WORKERS}
    try:
        yield workers
    finally:
        for worker in workers.values():
            worker.kill()
            worker.communicate()


def _start(where: str, folder: Path, name: str) -> subprocess.Popen[str]:
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.kills.worker", where, str(folder), name],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n", worker.communicate()[1]
    return worker


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="*", metavar="STORE")
    parser.add_argument("--kills", type=int, default=60)
    given = parser.parse_args(arguments)
    for kind in given.stores or KINDS:
        with tempfile.TemporaryDirectory() as folder, a_store(kind, Path(folder)) as where:
            print(f"{kind}\n{run(where, Path(folder), given.kills)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
