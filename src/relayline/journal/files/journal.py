"""One journal, open: what is whole in it, and what a dying process left behind that."""

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from relayline.errors import DamagedJournal
from relayline.journal.files.folder import opened, write
from relayline.journal.files.lines import (
    SEAL,
    Batch,
    Damage,
    Head,
    Place,
    Seal,
    batch_lines,
    following,
    head_line,
    head_torn,
    last_seal,
    place_of,
    read_head,
    read_seal,
)

logger = logging.getLogger("relayline")

NOWHERE = Place(0, 1, None, 0)


@dataclass(slots=True)
class Journal:
    """``head``: None, if there is no whole batch and so no session. ``end``: where the last whole batch ends; what is
    behind it up to ``size`` was never acknowledged. To be used in a ``with``.
    """

    path: Path
    session_id: str
    file: BinaryIO
    size: int
    head: Head | None = None
    begin: Place = NOWHERE
    last: Seal | None = None
    end: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    @property
    def seq(self) -> int:
        """The number of the last fact; 0, if there is none."""
        return self.last.seq if self.last else 0

    @property
    def torn(self) -> int:
        """How many bytes at the end belong to no whole batch."""
        return self.size - self.end

    @property
    def shared(self) -> int:
        """How many facts are somewhere else."""
        return self.head.shared if self.head and self.head.parent else 0

    def batches(self, after: int, upto: int, *, counted: bool) -> Iterator[Batch]:
        """The facts of this file with ``after < seq <= upto``, oldest first.

        ``counted``: look from the beginning, so that damage is told by its line. Else what is near the end is found
        from there, and costs as little in a long journal as in a short one.

        Raises:
            DamagedJournal: a line is not what was written.
        """
        try:
            place = self.begin
            if after > self.shared and not counted:
                place = place_of(self.file, after, self.end, self.begin)
            if place.offset >= self.end:
                return
            for batch, _ in following(self.file, place, self.end):
                if part := batch.part(after, upto):
                    yield part
                if batch.seq >= upto:
                    return
        except Damage as damage:
            raise damaged(self.session_id, self.path, damage) from damage

    def append(self, batch: Batch, head: Head, durable: bool) -> None:
        """Write a batch behind the last one, or ``head`` and the batch. Cuts off what belongs to no batch.

        Raises:
            OSError: nothing was written.
        """
        lines, crc = (b"", self.last.crc) if self.last else head_line(head)
        if self.torn:
            logger.warning(
                "%s: the last %d bytes are what is left of a write that was cut off; removed", self.path, self.torn
            )
            os.truncate(self.file.fileno(), self.end)
        try:
            write(self.file, [lines + batch_lines(batch, crc)[0]], offset=self.end, durable=durable)
        except OSError:
            # If not even this works, it is cut off later: without its seal it never happened.
            with suppress(OSError):
                os.truncate(self.file.fileno(), self.end)
            raise


def open_journal(path: Path, session_id: str | None, *, writes: bool = False, make: bool = False) -> Journal | None:
    """The journal of a session; None, if there is no file. Its first line is read, and its last.

    ``session_id``: None takes it whosesoever it is. ``make``: a file, if there is none.

    Raises:
        DamagedJournal: it is that of another session, or its beginning or end is damaged.
    """
    try:
        file = opened(path, os.O_RDWR | (os.O_CREAT if make else 0) if writes else os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        found = _look(path, session_id or "?", file)
        if found.head and session_id not in (found.head.session, None):
            raise Damage(1, f"this is the journal of session {found.head.session!r:.80}")
    except Damage as damage:
        file.close()
        raise damaged(session_id or "?", path, damage) from damage
    except BaseException:
        file.close()
        raise
    return found


def damaged(session_id: str, path: Path, why: object) -> DamagedJournal:
    """The error for a journal that cannot be read."""
    return DamagedJournal(f"session {session_id!r:.80} in {path}, {why}")


def _look(path: Path, session_id: str, file: BinaryIO) -> Journal:
    found = Journal(path, session_id, file, os.fstat(file.fileno()).st_size)
    line = file.readline()
    if not line.endswith(b"\n"):
        if not head_torn(line):
            raise Damage(1, "not the head of a journal")
        return found
    head = read_head(line)
    found.begin = Place(len(line), 2, head.shared if head.parent else None, head.crc)
    sealed = last_seal(file, found.size, len(line))
    if sealed:
        found.last, found.end = sealed[0], found.size
    else:
        for batch, place in following(file, found.begin):
            found.last = Seal(batch.seq, len(batch.bodies), batch.at, batch.written, 0, batch.versions, "", place.crc)
            found.end = place.offset
    if found.last:
        found.head = head
    return found


def glance(path: Path) -> tuple[Head, Seal | None]:
    """What a file says of itself, believed without looking at the rest: the last seal in it, if there is any.

    Raises:
        Damage: it does not begin with a head.
    """
    with opened(path, os.O_RDONLY) as file:
        line = file.readline()
        head = read_head(line)
        size = os.fstat(file.fileno()).st_size
        sealed = last_seal(file, size, len(line))
        if sealed:
            return head, sealed[0]
        file.seek(len(line))
        last = None
        for each in file:
            with suppress(Damage):
                last = read_seal(each)
        return head, last


def noted(path: Path) -> list[str]:
    """The sessions that may share facts with this one, as far as that can be read in a file that may be damaged."""
    branches: list[str] = []
    with opened(path, os.O_RDONLY) as file:
        for line in file:
            if line.startswith(SEAL):
                with suppress(Damage):
                    branches.append(read_seal(line).branch)
    return list(dict.fromkeys(filter(None, branches)))
