"""Sessions that branch off, leave for a file and come in from one."""

import sys

from relayline.cli.opened import free_id, summary_of
from relayline.history import export_session, fork, import_session
from relayline.journal.store import Store


async def forked(store: Store, session_id: str, at: int | None, name: str | None) -> tuple[str, int]:
    """Begin a branch: its id, and how many facts it shares.

    Raises:
        SessionNotFound, UsageError: it cannot begin there, or there is such a session; nothing was changed.
    """
    await summary_of(store, session_id)
    branch = name if name is not None else await free_id(store, session_id)
    await fork(store, session_id, at=at, branch=branch)
    return branch, (await summary_of(store, branch)).shared


async def exported(store: Store, session_id: str, file: str) -> None:
    """Write a session to a new file, or to the output.

    Raises:
        SessionNotFound: there is none of that id.
        UsageError: there is such a file.
    """
    await summary_of(store, session_id)
    await export_session(store, session_id, sys.stdout.buffer if file == "-" else file)


async def imported(store: Store, file: str, name: str | None) -> str:
    """Bring in a session from a file or from the input; its id.

    Raises:
        UsageError: there is no such file, or there is such a session.
        DamagedJournal: it is no session.
    """
    return await import_session(store, sys.stdin.buffer if file == "-" else file, session_id=name)
