"""A session as one file, to be kept elsewhere or taken into another store."""

import asyncio
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from relayline.errors import DamagedJournal, SequenceConflict, StoreError, UsageError
from relayline.events import Compacted, Entry, SessionStarted
from relayline.journal.checkpoints import state_after
from relayline.journal.ids import checked_id
from relayline.journal.lines import json_object, line, read_line
from relayline.journal.packing import Packer
from relayline.journal.store import SessionSummary, Store, unknown
from relayline.machine.state import State

FORMAT = "relayline/session"
VERSION = 1
"""Of the file around the entries; each of them has its own."""

File: TypeAlias = str | Path | BinaryIO
"""A path, or something open that takes or gives bytes: ``sys.stdout.buffer``."""


@dataclass(frozen=True, slots=True)
class _Header:
    session: str
    entries: int


async def export_session(store: Store, session_id: str, file: File) -> None:
    """Write a session as lines of JSON: a header, then each entry with its number and time, images and files included.

    It stands for itself: what a branch shares with others is in it. It is not encrypted, whatever the store does.

    Raises:
        SessionNotFound: there is no such session.
        UsageError: there is a file of that name already.
        DamagedJournal: the session cannot be read.
        StoreError: the file could not be written; nothing of it is left.
    """
    entries = await store.read(session_id)
    if not entries:
        raise unknown(session_id)
    about = next((each for each in await store.sessions() if each.session_id == session_id), None)
    lines = [_header(session_id, len(entries), about), *map(line, entries)]
    content = "".join(f"{each}\n" for each in lines).encode()
    await asyncio.to_thread(_write, file, content)


async def import_session(store: Store, file: File, *, session_id: str | None = None) -> str:
    """Take in a session that `export_session` wrote, and give its name.

    All of the file is read, and the conversation in it followed to its end, before anything is written; then the store
    takes it in whole, with the numbers and times it has. Whatever was shared or held where it comes from, here it
    stands on its own. ``session_id``: its name here, by default the one it had. Its requests and idempotency keys begin
    with it.

    Raises:
        UsageError: there is a session of that name already, or no such file. Nothing was changed.
        DamagedJournal: the file is no session that this release can go on with; the error names the line. Nothing was
            changed.
        StoreError: the file could not be read, or the store not written; nothing was changed.
    """
    content = await asyncio.to_thread(_read, file)
    header, entries = _parsed(content)
    name = header.session if session_id is None else checked_id(session_id)
    try:
        await store.restore(name, entries)
    except SequenceConflict:
        raise UsageError(
            f"there is a session {name!r} already, and an import never writes over one; choose another session_id"
        ) from None
    return name


def _header(session_id: str, count: int, about: SessionSummary | None) -> str:
    header: dict[str, object] = {"format": FORMAT, "version": VERSION, "session": session_id, "entries": count}
    if about and about.parent:
        header["parent"] = {"session": about.parent, "shared": about.shared}
    return json.dumps(header, ensure_ascii=False, separators=(",", ":"))


def _write(file: File, content: bytes) -> None:
    try:
        if not isinstance(file, str | Path):
            file.write(content)
            file.flush()
            return
        path = Path(file)
        with path.open("xb") as opened:
            try:
                opened.write(content)
            except OSError:
                with suppress(OSError):
                    path.unlink()
                raise
    except FileExistsError:
        raise UsageError(f"{file} is there already; an export never writes over a file") from None
    except OSError as error:
        raise StoreError(f"could not write {file}: {error}") from error


def _read(file: File) -> bytes:
    try:
        return Path(file).read_bytes() if isinstance(file, str | Path) else file.read()
    except FileNotFoundError:
        raise UsageError(f"there is no file {file}") from None
    except OSError as error:
        raise StoreError(f"could not read {file}: {error}") from error


def _parsed(content: bytes) -> tuple[_Header, Sequence[Entry]]:
    first, *lines = content.split(b"\n")
    with _place(1):
        header = _read_header(_text(first))
    state, entries = State(), list[Entry]()
    for number, each in enumerate(lines[:-1], 2):
        with _place(number):
            entry = read_line(_text(each))
            Packer().pack(entry.fact)  # every store can keep it
            _check_number(entry, entries)
            state = state_after(header.session, [entry], state)
        entries.append(entry)
    with _place(len(lines) + 1):
        if len(entries) != header.entries or lines[-1]:
            raise DamagedJournal(f"{header.entries} entries were announced, and {len(entries)} are there and whole")
    return header, entries


@contextmanager
def _place(number: int) -> Generator[None]:
    """Say in which line something is wrong."""
    try:
        yield
    except StoreError as error:
        raise DamagedJournal(f"this is no session that can be taken in: line {number}: {error}") from error


def _text(of: bytes) -> str:
    try:
        return of.decode()
    except UnicodeDecodeError as error:
        raise DamagedJournal(f"not UTF-8: {error.reason} at byte {error.start}") from error


def _read_header(text: str) -> _Header:
    given = json_object(text)
    if given.get("format") != FORMAT:
        raise DamagedJournal(
            f'a file of a session begins with {{"format":"{FORMAT}", ...}}; this begins with {text!r:.80}'
        )
    version, count = given.get("version"), given.get("entries")
    if type(version) is not int or version > VERSION:
        raise DamagedJournal(f"its format is {version!r:.80}, this release reads up to {VERSION}; upgrade to read it")
    if type(count) is not int or count < 1:
        raise DamagedJournal(f"a session has 1 entry or more; announced were {count!r:.80}")
    try:
        return _Header(checked_id(given.get("session")), count)
    except UsageError as error:
        raise DamagedJournal(str(error)) from error


def _check_number(entry: Entry, before: Sequence[Entry]) -> None:
    begins = isinstance(entry.fact, SessionStarted | Compacted)
    if begins == bool(before):
        raise DamagedJournal(
            f"a session begins with session_started or compacted, and has only one of them; here is {entry.fact.type}"
        )
    stand_in = entry.fact.upto if isinstance(entry.fact, Compacted) else 1
    expected = before[-1].seq + 1 if before else stand_in
    if entry.seq != expected:
        raise DamagedJournal(f"its number is {entry.seq}; {expected} was expected")
