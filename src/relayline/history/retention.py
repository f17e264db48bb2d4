"""How long conversations are kept, and how much of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

from relayline.errors import DamagedJournal, SessionHeld, SessionNotFound, UsageError
from relayline.events import Compacted, Entry
from relayline.journal.checkpoints import state_after
from relayline.journal.store import SessionSummary, Store, unknown
from relayline.machine.compaction import compacted
from relayline.machine.effects import effects
from relayline.machine.nested import waiting

Fate: TypeAlias = Literal["deleted", "compacted", "kept"]
"""What became of a session whose time was up."""


@dataclass(frozen=True, slots=True)
class Retention:
    """A policy. Both times count from a session's last fact.

    ``delete_after``: it is deleted. ``compact_after``: all is forgotten but its last ``keep_messages`` messages of the
    user and what came after the first of these. ``only``: the sessions it is about; by default all. ``unfinished``:
    whether sessions are deleted as well that wait for somebody to decide something, or have something in flight. A
    question of an agent to the user is nothing to decide: it waits for the user's next message, as every chat does.

    Raises:
        UsageError: it would do nothing, or a number is not above zero.
    """

    delete_after: timedelta | None = None
    compact_after: timedelta | None = None
    keep_messages: int = 1
    only: Callable[[SessionSummary], bool] | None = None
    unfinished: bool = False

    def __post_init__(self) -> None:
        if self.delete_after is None and self.compact_after is None:
            raise UsageError("a retention without delete_after and compact_after would keep everything; give one")
        for name, after in (("delete_after", self.delete_after), ("compact_after", self.compact_after)):
            if after is not None and not after > timedelta():
                raise UsageError(f"{name} is a time above zero; got {after!r}")
        _check_messages(self.keep_messages)


@dataclass(frozen=True, slots=True)
class Expired:
    """A session whose time was up. ``fate``: what became of it; ``why``: for people to read."""

    session_id: str
    fate: Fate
    why: str


async def compact(store: Store, session_id: str, *, messages: int) -> Compacted | None:
    """Forget, for good, all of a session but its last ``messages`` messages of the user and what came after the first.

    Where it stands is kept: who has the conversation, who gets it back, what the team keeps in common, what agents were
    given as a summary. It goes on as it would have, but agents, conditions and `Workflow.usage` know no more of it than
    what is left. Branches keep what they shared with it.

    Returns what now stands for the forgotten; None if there was nothing to forget.

    Raises:
        SessionNotFound: there is no such session.
        SessionHeld: it has to be kept as it is. Nothing was changed.
        DamagedJournal: it cannot be read.
    """
    _check_messages(messages)
    entries = await store.read(session_id)
    if not entries:
        raise unknown(session_id)
    stand_in = _compacted(session_id, entries, messages)
    if stand_in:
        await store.cut(session_id, stand_in)
    return stand_in


async def expire(store: Store, policy: Retention, *, dry_run: bool = False) -> list[Expired]:
    """Delete and compact what is due, and say what became of each session whose time was up, the oldest first.

    A session that is held is kept, and so is one that cannot be read; see `Retention` for one that is not finished. A
    session that is written to meanwhile is left alone, and not listed. It may be cut off at any moment and begun again:
    each session is done with at once or not at all.

    ``dry_run``: only say what would become of them now.
    """
    return [
        expired for each in await store.sessions() if (expired := await _expire(store, each, policy, dry_run=dry_run))
    ]


async def _expire(store: Store, session: SessionSummary, policy: Retention, *, dry_run: bool) -> Expired | None:
    age = store.now() - session.updated
    deletes, compacts = _older(age, policy.delete_after), _older(age, policy.compact_after)
    if not (deletes or compacts) or (policy.only and not policy.only(session)):
        return None
    name, why = session.session_id, f"nothing was said for {_days(age)}"
    if session.held:
        return Expired(name, "kept", f"{why}; it is held: {session.held}")
    try:
        entries = await store.read(name)
        open_matter = "" if policy.unfinished else _open_matter(name, entries)
        stand_in = _compacted(name, entries, policy.keep_messages) if compacts else None
    except DamagedJournal as error:
        return Expired(name, "kept", f"{why}; it cannot be read: {error}")
    if not entries or entries[-1].seq != session.seq:
        return None  # somebody has the session in hand
    try:
        if deletes and not open_matter:
            if not dry_run:
                await store.delete(name)
            return Expired(name, "deleted", why)
        if stand_in:
            if not dry_run:
                await store.cut(name, stand_in)
            return Expired(name, "compacted", f"{why}; its first {stand_in.upto} facts are forgotten")
    except SessionHeld as error:
        return Expired(name, "kept", f"{why}; {error}")
    except (SessionNotFound, UsageError):
        return None  # somebody else has done it
    return Expired(name, "kept", f"{why}; {open_matter}") if deletes else None


def _older(age: timedelta, than: timedelta | None) -> bool:
    return than is not None and age >= than


def _open_matter(session_id: str, entries: Sequence[Entry]) -> str:
    """What would be lost that somebody has yet to do; empty: nothing."""
    state = state_after(session_id, entries)
    asked = [each for each in waiting(state) if each.asked.ask != "user_input"]
    if asked:
        return f"it waits for somebody to answer {', '.join(f'{each.request} ({each.asked.ask})' for each in asked)}"
    return "something is in flight, or was cut off; run it again, or delete it" if effects(state) else ""


def _compacted(session_id: str, entries: Sequence[Entry], messages: int) -> Compacted | None:
    state_after(session_id, entries)  # what cannot be gone on with is left as it is
    return compacted([each.fact for each in entries], messages)


def _check_messages(messages: int) -> None:
    if type(messages) is not int or messages < 1:
        raise UsageError(f"the number of messages to keep is a whole number, 1 or more; got {messages!r}")


def _days(age: timedelta) -> str:
    return f"{age.days} days" if age.days > 1 else f"{age.total_seconds() / 3600:.1f} hours"
