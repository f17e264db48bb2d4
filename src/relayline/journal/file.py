"""Journals as files in a folder: one for each session, lines of JSON that any tool can read."""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from relayline.errors import RelaylineError, StoreError
from relayline.events import Compacted, Entry, Fact, Forked
from relayline.journal.checkpoints import batches
from relayline.journal.files.journals import Journals
from relayline.journal.files.listing import Finding, Listing, findings
from relayline.journal.packing import Cipher, Durability, Packer, durable
from relayline.journal.store import MOST, Clock, SessionSummary, Store, check_restore, now, numbered

T = TypeVar("T")


class FileCheckpointStorage(Store):
    """A folder with a file for each session, for any number of sessions and processes.

    Made when something is first written. Every append is one write to the end of one file; a batch that was
    acknowledged survives the death of the process at any moment. With ``durability="full"`` it survives that of the
    machine too; with ``"normal"`` the last moments before it may be lost, and nothing else.

    ``cipher``: encrypts what is said and done, a `cryptography.fernet.Fernet` for instance; ids, times and reasons of
    holds stay legible.
    """

    def __init__(
        self,
        storage_path: str | Path,
        clock: Clock = now,
        *,
        durability: Durability = "normal",
        cipher: Cipher | None = None,
    ) -> None:
        self.path = Path(storage_path)
        self._clock = clock
        self._packer = Packer(cipher)
        self._journals = Journals(self.path, self._packer, durable(durability))
        self._listing = Listing(self.path)
        self._thread: tuple[int, ThreadPoolExecutor] | None = None

    def now(self) -> datetime:
        return self._clock()

    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        packed = [self._packer.pack(fact) for fact in facts]
        entries = numbered(facts, after, self._clock())
        first, date = entries[0].seq, entries[0].at
        await self._do(partial(self._journals.append, session_id, packed, after=after, first=first, at=date))
        return entries

    async def restore(self, session_id: str, entries: Sequence[Entry]) -> None:
        check_restore(session_id, entries)
        packed = [(batch[-1], [self._packer.pack(each.fact) for each in batch]) for batch in batches(entries)]
        await self._do(partial(self._journals.restore, session_id, packed))

    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        return await self._do(partial(self._journals.read, session_id, after, MOST if upto is None else upto))

    async def stands(self, session_id: str, first: int, last: Entry) -> bool:
        read = self._journals.read
        return await self._do(
            lambda: bool(read(session_id, first - 1, first)) and read(session_id, last.seq - 1, MOST) == [last]
        )

    async def sessions(self) -> list[SessionSummary]:
        """All sessions but those whose first line cannot be read; `findings` tells of them."""
        return await self._do(self._listing.sessions)

    async def fork(self, session_id: str, branch: str, *, upto: int) -> None:
        packed, at = self._packer.pack(Forked(session_id, upto)), self._clock()
        await self._do(partial(self._journals.fork, session_id, branch, packed, upto=upto, at=at))

    async def cut(self, session_id: str, fact: Compacted) -> None:
        await self._do(partial(self._journals.cut, session_id, fact, self._packer.pack(fact)))

    async def delete(self, session_id: str) -> None:
        await self._do(partial(self._journals.delete, session_id))

    async def hold(self, session_id: str, reason: str) -> None:
        await self._do(partial(self._journals.hold, session_id, reason))

    async def findings(self) -> list[Finding]:
        """What is wrong with the files of the store: what a dying process left at the end of one, and damage.

        Reads all of them, but not what they say: whether that is a conversation, `read` shows.
        """
        return await self._do(lambda: list(findings(self.path)))

    async def mend(self) -> list[Path]:
        """Cut off what dying processes left at the ends of journals, as the next write to each would.

        Returns the files that were changed. Nothing that was acknowledged is touched, damaged or not.
        """
        return await self._do(self._journals.mend)

    async def aclose(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None and thread[0] == os.getpid():
            await asyncio.get_running_loop().run_in_executor(None, thread[1].shutdown)

    async def _do(self, work: Callable[[], T]) -> T:
        """Run ``work`` on the store's thread. A caller cancelled meanwhile finds it done entirely or not at all."""
        if self._thread is None or self._thread[0] != os.getpid():  # a forked child inherits no thread
            self._thread = os.getpid(), ThreadPoolExecutor(1, "relayline-files")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread[1], work)
        except RelaylineError:
            raise
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot use the session store {self.path}: {error}") from error
