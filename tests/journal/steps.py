"""What a file store does to the disk, step by step: die before any of them, in the middle of a write, or have it fail.

``python -m tests.journal.steps FOLDER``: for each thing a store does, in a copy of one store, die at the first step, at
the second, and so on, in a process of its own each time; then look at what the next process finds. Prints the thing and
how many steps it took.
"""

import asyncio
import errno
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import aclosing, contextmanager
from pathlib import Path

from relayline.events import Compacted, Entry, Fact, Retried, UserSpoke
from relayline.journal.file import FileCheckpointStorage
from relayline.messages import Media, Message, Text
from relayline.testing import FakeClock

CALLS = ("open", "write", "truncate", "fsync", "replace", "rename", "unlink", "mkdir", "rmdir")
NEED_ROOM = ("write", "mkdir")

Do = Callable[[FileCheckpointStorage], Awaitable[object]]
Stood = Mapping[str, tuple[list[Entry], str]]


def picture(number: int) -> Fact:
    return UserSpoke(
        Message("user", (Text(f"picture {number}"), Media.from_bytes(bytes([number]) * 5_000, "image/png")))
    )


def facts(count: int) -> list[Fact]:
    return [Retried(f"t{number}") for number in range(count)]


def elsewhere() -> list[Entry]:
    """Two batches of another store."""
    clock = FakeClock()
    times = [clock()] * 2 + [clock()] * 2
    written = [picture(6), *facts(2), picture(7)]
    return [Entry(seq, at, fact) for seq, (at, fact) in enumerate(zip(times, written, strict=True), 1)]


def the_file(folder: Path, beginning: str = "") -> Path:
    """The one journal in a store whose name begins like that."""
    (found,) = folder.glob(f"{beginning}*.jsonl")
    return found


def opened(folder: Path) -> FileCheckpointStorage:
    return FileCheckpointStorage(folder, FakeClock(), durability="full")


async def furnish(folder: Path) -> None:
    """A session with pictures, a branch of it and a branch of that, one that is held, and one with a torn end."""
    async with aclosing(opened(folder)) as store:
        await store.append("s", [picture(1), *facts(3)], after=0)
        await store.append("s", [picture(2), *facts(2)], after=4)
        await store.fork("s", "b", upto=5)
        await store.append("b", [picture(3)], after=6)
        await store.fork("b", "c", upto=3)
        await store.append("held", facts(2), after=0)
        await store.hold("held", "case 12")
        await store.append("torn", facts(2), after=0)
    with the_file(folder, "torn-").open("ab") as file:
        file.write(b'{"type":"retried","eff')


DO: dict[str, Do] = {
    "append": lambda store: store.append("s", [picture(4), *facts(1)], after=7),
    "append to a branch": lambda store: store.append("b", facts(3), after=7),
    "append behind a torn end": lambda store: store.append("torn", facts(1), after=2),
    "begin": lambda store: store.append("new", [picture(5), *facts(1)], after=0),
    "restore": lambda store: store.restore("new", elsewhere()),
    "fork": lambda store: store.fork("s", "d", upto=6),
    "cut": lambda store: store.cut("s", Compacted(6, "team", "f")),
    "cut a branch": lambda store: store.cut("b", Compacted(5, "team", "f")),
    "delete": lambda store: store.delete("s"),
    "delete a branch": lambda store: store.delete("b"),
    "hold": lambda store: store.hold("s", "case 13"),
    "lift a hold": lambda store: store.hold("held", ""),
    "mend": lambda store: store.mend(),
}


async def stood(folder: Path) -> Stood:
    """All that a store says: every session's entries, and why it is held."""
    async with aclosing(opened(folder)) as store:
        return {each.session_id: (await store.read(each.session_id), each.held) for each in await store.sessions()}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@contextmanager
def at_step(number: int, then: Callable[[], None], *, for_good: bool = False) -> Generator[Callable[[], int]]:
    """Within this the ``number``-th step is not taken, or half: ``then`` is done in its place. Gives how many there were.

    ``for_good``: and in place of every later one that needs room on the disk.
    """
    taken = 0

    def stepping(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **named: object) -> object:
            nonlocal taken
            if name == "open" and not arguments[1] & (os.O_CREAT | os.O_RDWR):  # type: ignore[operator]
                return real(*arguments, **named)
            taken += 1
            if taken == number or (for_good and taken > number and name in NEED_ROOM):
                if name == "write":
                    place, data = arguments
                    real(place, bytes(data)[: len(data) // 2])  # type: ignore[arg-type, call-overload]
                then()
            return real(*arguments, **named)

        return step

    real = {name: getattr(os, name) for name in CALLS}
    for name, call in real.items():
        setattr(os, name, stepping(name, call))
    try:
        yield lambda: taken
    finally:
        for name, call in real.items():
            setattr(os, name, call)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def no_room() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def done(folder: Path, do: Do) -> None:
    async with aclosing(opened(folder)) as store:
        await do(store)


def killed(folder: Path, do: Do, number: int) -> bool:
    """Whether a process that did this died of it at that step."""
    child = os.fork()
    if not child:
        try:
            with at_step(number, die):
                asyncio.run(done(folder, do))
        except BaseException as error:  # noqa: BLE001 - a child that lives on would run the rest of this
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"it ended with {status}"
    return bool(status)


def main(place: Path) -> None:
    os.fsync = lambda number: None  # who is only killed needs no disk to wait for
    start = place / "start"
    asyncio.run(furnish(start))
    before = asyncio.run(stood(start))
    for name, do in DO.items():
        whole = place / f"{name} whole"
        shutil.copytree(start, whole)
        asyncio.run(done(whole, do))
        after, left = asyncio.run(stood(whole)), files(whole)
        for number in itertools.count(1):
            folder = place / f"{name} {number}"
            shutil.copytree(start, folder)
            if not killed(folder, do, number):
                print(name, number - 1, flush=True)
                break
            found = asyncio.run(stood(folder))
            assert found in (before, after), f"{name}, step {number}: {found}"
            if found == before:
                asyncio.run(done(folder, do))
            else:
                asyncio.run(done(folder, lambda store: store.hold("torn", "")))  # whatever is written next
            assert asyncio.run(stood(folder)) == after, f"{name}, step {number}, done again"
            assert files(folder) == left, f"{name}, step {number}: {files(folder) ^ left}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
