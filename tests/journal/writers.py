"""Writers in other processes, raced and killed: what the tests of each store that is kept on disk have in common."""

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from relayline.events import Entry, Retried

ROOT = Path(__file__).parents[2]


def start(where: str, session: str, name: str, size: int) -> subprocess.Popen[str]:
    """A writer that is ready and waits for a line before each batch. ``where``: what `open_store` takes."""
    pipe = subprocess.PIPE
    arguments = [sys.executable, "-m", "tests.journal.appender", where, session, name, str(size)]
    writer = subprocess.Popen(arguments, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1)
    assert read(writer) == "ready"
    return writer


def tell(writer: subprocess.Popen[str], batches: int = 1) -> None:
    assert writer.stdin is not None
    writer.stdin.write("\n" * batches)
    writer.stdin.flush()


def read(writer: subprocess.Popen[str]) -> str:
    assert writer.stdout is not None
    return writer.stdout.readline().rstrip("\n")


def race(writers: Sequence[subprocess.Popen[str]], rounds: int) -> None:
    """In each round all writers append a batch, at the same time and from the same position."""
    for number in range(rounds):
        for writer in writers:
            tell(writer)
        for writer in writers:
            assert read(writer) == str(number), writer.communicate(timeout=60)[1]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert (writer.returncode, errors) == (0, "")


def kill(writer: subprocess.Popen[str], size: Callable[[], object], chance: random.Random) -> int:
    """Let it write, kill it while what it writes to grows, and return the last batch it had acknowledged."""
    tell(writer, 100)
    acknowledged = -1
    for _ in range(chance.randrange(1, 8)):
        acknowledged = int(read(writer))
    before = size()
    while size() == before:
        pass  # no sleep: this is to be the middle of a write, and a batch takes a few milliseconds
    for _ in range(chance.randrange(5_000)):
        pass
    writer.send_signal(signal.SIGKILL)
    rest, _ = writer.communicate(timeout=60)
    return max([acknowledged, *map(int, rest.split())])


def said(entries: Sequence[Entry]) -> list[str]:
    return [entry.fact.effect for entry in entries if isinstance(entry.fact, Retried)]


def whole_batches(entries: Sequence[Entry], size: int) -> bool:
    """Whether the entries are batches of ``size``, each of one writer and in order."""
    batches = [said(entries)[start : start + size] for start in range(0, len(entries), size)]
    return all([line.rpartition(" ")[2] for line in batch] == [str(each) for each in range(size)] for batch in batches)
