"""What the tests of hostile journals run in another process: everything that is done with a session, under an auditor.

``python -m tests.journal.audited KIND FOLDER``: does it to the stores in FOLDER/warm-*, then again to every other under
FOLDER, while an audit hook notes whatever Python reports that no reading of a journal has to do. Prints lines of JSON:
the case, what was tried, the error's class or nothing, its text; at the end what was noted.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from relayline import RelaylineError, UsageError
from relayline.cli.sessions import listed
from relayline.events import Retried
from relayline.journal.store import Store
from tests.journal.corpus import KEPT, team

FORBIDDEN = (
    "compile", "ctypes", "exec", "fork", "ftplib", "glob", "http", "import", "marshal", "os.exec", "os.fork", "os.kill",
    "os.posix_spawn", "os.putenv", "os.spawn", "os.startfile", "os.system", "pickle", "pty", "shutil", "signal",
    "smtplib", "socket.bind", "socket.connect", "socket.getaddrinfo", "subprocess", "tempfile", "urllib", "webbrowser",
)  # fmt: skip
"""How the names of events begin that nothing should cause. ``import`` is that of a module that was not loaded."""

CHANGES = (
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Auditor:
    """Notes what is forbidden, and any change outside of ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.noted: list[str] = []
        self.folder = f"{folder}{os.sep}"
        self.at_work = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.at_work:
            return
        outside = arguments and isinstance(arguments[0], str | os.PathLike) and not self.inside(arguments[0])
        changes = event.startswith(CHANGES)
        if event == "open" and isinstance(arguments[2], int):
            changes = bool(arguments[2] & WRITES)
        if event.startswith(FORBIDDEN) or (changes and outside):
            self.noted.append(f"{event} {arguments!r:.200}")

    def inside(self, path: str | os.PathLike[str]) -> bool:
        return os.path.abspath(path).startswith(self.folder)


async def tried(store: Store) -> list[tuple[str, str, str]]:
    """Everything that may be done with the session s, as name, error and its text; then what is left of t."""
    workflow = team(store)

    async def from_a_checkpoint() -> object:
        for seq in (6, 14, 19, 1):
            try:
                return await workflow.run("And now?", checkpoint_id=f"s@{seq}")
            except UsageError as error:
                last = error
        raise last

    async def answered() -> object:
        return await workflow.run(responses={"s/r1": "That one.", "s/r2": True})

    attempts: dict[str, Callable[[], Awaitable[object]]] = {
        "read": lambda: store.read("s"),
        "read the end": lambda: store.read("s", after=17),
        "list checkpoints": lambda: store.list_checkpoints("s"),
        "list all checkpoints": store.list_checkpoints,
        "list": lambda: listed(store),
        "look": lambda: workflow.session("s"),
        "usage": lambda: workflow.usage("s"),
        "preview": lambda: workflow.preview("s", "triage"),
        "go on from a checkpoint": from_a_checkpoint,
        "answer": answered,
        "resume": lambda: workflow.run(session_id="s"),
        "say": lambda: workflow.run("Hello?", session_id="s"),
        "fork": lambda: store.fork("s", "branch", upto=5),
        "another: read": lambda: store.read("t"),
        "another: go on": lambda: workflow.run("Hello?", session_id="t"),
        "another: append": lambda: store.append("u", [Retried("x")], after=0),
        "another: list": store.sessions,
    }
    outcomes: list[tuple[str, str, str]] = []
    for name, attempt in attempts.items():
        try:
            async with asyncio.timeout(20):
                found = await attempt()
            text = str(sorted(each.session_id for each in found)) if name == "another: list" else ""
            outcomes.append((name, "", text))
        except RelaylineError as error:
            outcomes.append((name, type(error).__name__, str(error)))
        except Exception as error:  # noqa: BLE001 - that there is none is what is to be shown
            outcomes.append((name, f"not ours: {type(error).__name__}", repr(error)[:300]))
    return outcomes


async def main(kind: str, folder: Path, places: Sequence[Path]) -> None:
    auditor = Auditor(folder)
    sys.addaudithook(auditor)
    warm = [place for place in places if place.name.startswith("warm-")]
    for place in warm:
        async with aclosing(KEPT[kind].open(place)) as store:
            await tried(store)
    for place in places:
        if place in warm:
            continue
        async with aclosing(KEPT[kind].open(place)) as store:
            auditor.at_work = True
            outcomes = await tried(store)
            auditor.at_work = False
        for outcome in outcomes:
            say([place.name, *outcome])
    say(auditor.noted)


def say(line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    stores = Path(sys.argv[2])
    asyncio.run(main(sys.argv[1], stores, sorted(stores.iterdir())))
