"""A store opened for one command, and what is looked up in it."""

import asyncio
import re
import secrets
import shutil
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import TypeVar

from relayline.cli.places import store_place
from relayline.errors import SessionNotFound, UsageError
from relayline.journal.opening import Place
from relayline.journal.store import SessionSummary, Store

T = TypeVar("T")

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"(\d{1,6}) *([mhdw])")


def using(word: str | None, work: Callable[[Store], Awaitable[T]]) -> T:
    """What ``work`` returns on the store, which is made if it is not there yet."""
    return _on(store_place(word), work)


def looking(word: str | None, work: Callable[[Store], Awaitable[T]], nothing: T | None = None) -> T:
    """The same on a store that is there; looking does not make one. ``nothing``: what there is otherwise.

    Raises:
        SessionNotFound: there is no such store, and ``nothing`` was not given.
    """
    place = store_place(word)
    if place.is_there:
        return _on(place, work)
    if nothing is not None:
        return nothing
    raise SessionNotFound(f"no session is kept in {place} yet; --store or RELAYLINE_STORE names another store")


async def summary_of(store: Store, session_id: str) -> SessionSummary:
    """What the store says of a session.

    Raises:
        SessionNotFound: it has none of that id.
    """
    for each in await store.sessions():
        if each.session_id == session_id:
            return each
    raise no_session(session_id)


def no_session(session_id: str) -> SessionNotFound:
    """The error where a session is only looked at, and not started."""
    return SessionNotFound(f"there is no session {session_id!r} in this store; `relayline sessions` lists them")


async def position(store: Store, word: str) -> tuple[str, int]:
    """A session and a number of facts: ``SESSION@SEQ``, or ``SESSION`` for all of it.

    Raises:
        SessionNotFound: there is no such session.
        UsageError: it has not so many facts.
    """
    known = {each.session_id: each for each in await store.sessions()}
    session_id, _, seq = word.rpartition("@")
    if session_id in known and seq.isdecimal() and seq.isascii():
        return session_id, await number(store, known[session_id], int(seq))
    if word in known:
        return word, known[word].seq
    raise SessionNotFound(
        f"{word!r} is neither a session of this store nor one with @ and a number of facts; "
        "`relayline sessions` and `relayline checkpoints list` have them"
    )


async def number(store: Store, summary: SessionSummary, seq: int | None) -> int:
    """``seq``, or all that the session has.

    Raises:
        UsageError: it has no fact of that number.
    """
    if seq is None:
        return summary.seq
    if not 0 < seq <= summary.seq or not await store.read(summary.session_id, after=seq - 1, upto=seq):
        first = (await store.read(summary.session_id))[0].seq
        raise UsageError(
            f"session {summary.session_id!r} has the facts {first} to {summary.seq}; there is no number {seq}"
        )
    return seq


async def free_id(store: Store, session_id: str) -> str:
    """An id for a branch that is not taken."""
    taken = {each.session_id for each in await store.sessions()}
    while (name := f"{session_id}-{secrets.token_hex(2)}") in taken:
        pass
    return name


def span(text: str) -> timedelta:
    """A time span: ``30d``, ``12h``, ``2w``, ``90m``.

    Raises:
        UsageError: it is none.
    """
    found = _SPAN.fullmatch(text.strip())
    if not found or not int(found[1]):
        raise UsageError(f"{text!r} is no time span; write a number and m, h, d or w, as in 30d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def width() -> int | None:
    """The terminal's, in cells; None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def sure(question: str) -> bool:
    """Whether the person at the terminal says yes.

    Raises:
        UsageError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody is here to say so, and nothing was done; --yes says it beforehand")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _on(place: Place, work: Callable[[Store], Awaitable[T]]) -> T:
    async def work_on_it() -> T:
        async with aclosing(place.open()) as store:
            return await work(store)

    return asyncio.run(work_on_it())
