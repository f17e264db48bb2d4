"""Branches: one past, several futures."""

from collections.abc import Sequence
from dataclasses import dataclass

from relayline.errors import SequenceConflict, UsageError
from relayline.events import Compacted, Entry
from relayline.journal.checkpoints import standing
from relayline.journal.ids import checked_id, new_id
from relayline.journal.store import Store, unknown


@dataclass(frozen=True, slots=True)
class Diff:
    """Two sessions side by side. ``common``: how many facts they begin with alike; 0 if they are strangers.

    ``one``, ``other``: what each has beyond that, oldest first.
    """

    common: int
    one: Sequence[Entry]
    other: Sequence[Entry]


async def fork(store: Store, session_id: str, *, at: int | None = None, branch: str | None = None) -> str:
    """Begin a branch of a session and give its name; nothing is copied, and neither touches the other from there on.

    ``at``: after which fact; by default the last. Where the session never stood, within a batch, it begins at the last
    position before that at which it did: see `relayline.journal.checkpoints.standing`. ``branch``: its name; by default
    one is made.

    Raises:
        SessionNotFound: there is no such session.
        UsageError: it has no such position, or there is a session ``branch`` already; nothing was changed.
    """
    name = new_id() if branch is None else checked_id(branch)
    entries = await store.read(session_id)
    if not entries:
        raise unknown(session_id)
    upto = entries[-1].seq if at is None else standing(session_id, entries, at)
    try:
        await store.fork(session_id, name, upto=upto)
    except SequenceConflict:
        raise UsageError(
            f"a branch is a new session, and there is a session {name!r} already; choose another name, or leave it out"
        ) from None
    return name


async def diff(store: Store, one: str, other: str) -> Diff:
    """What two sessions have in common, and what each has of its own: of two branches, say.

    What was compacted in one of them counts as in common if it ends with the same fact in the other.

    Raises:
        SessionNotFound: there is no such session.
        DamagedJournal: one of them cannot be read.
    """
    first, second = await _entries(store, one), await _entries(store, other)
    common, begin = 0, max(first[0].seq, second[0].seq)
    for mine, theirs in zip(_from(first, begin), _from(second, begin), strict=False):
        if not _same(mine, theirs):
            break
        common = mine.seq
    return Diff(common, _from(first, common + 1), _from(second, common + 1))


async def _entries(store: Store, session_id: str) -> Sequence[Entry]:
    entries = await store.read(session_id)
    if not entries:
        raise unknown(session_id)
    return entries


def _from(entries: Sequence[Entry], seq: int) -> Sequence[Entry]:
    return entries[max(seq - entries[0].seq, 0) :]


def _same(mine: Entry, theirs: Entry) -> bool:
    # What stands for forgotten facts has the time of the last of them.
    forgotten = isinstance(mine.fact, Compacted) or isinstance(theirs.fact, Compacted)
    return mine == theirs or (forgotten and (mine.seq, mine.at) == (theirs.seq, theirs.at))
