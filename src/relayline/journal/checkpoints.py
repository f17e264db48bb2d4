"""Checkpoints: the positions of a journal at which its session rests. They are read off the journal, never stored."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from relayline.errors import DamagedJournal, UsageError
from relayline.events import Answered, Asked, Entry, Forked, UserSpoke, Within, placed
from relayline.machine.effects import effects
from relayline.machine.fold import apply
from relayline.machine.nested import speaking, waiting
from relayline.machine.state import State


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A session as it rested after its first ``seq`` facts: waiting for a person, finished or failed.

    ``timestamp``: when it came to rest, in UTC. ``active_agent``: who had the conversation last. ``requests``: what
    waited for a person, oldest first, by the ids that ``workflow.run(checkpoint_id=..., responses=...)`` takes.
    """

    session_id: str
    seq: int
    timestamp: datetime
    active_agent: str
    requests: Mapping[str, Asked]

    @property
    def checkpoint_id(self) -> str:
        """``SESSION@SEQ``, which `workflow.run` takes."""
        return f"{self.session_id}@{self.seq}"


def checkpoints(session_id: str, entries: Sequence[Entry]) -> Iterator[Checkpoint]:
    """Where the session rests in its journal, oldest first.

    Raises:
        DamagedJournal: if what is written does not make a conversation.
    """
    state = State()
    for batch in batches(entries):  # within one a session may look at rest that is on its way
        state = state_after(session_id, batch, state)
        if not effects(state):
            open_now = {request_id(session_id, each.request): each.asked for each in waiting(state)}
            yield Checkpoint(session_id, state.seq, batch[-1].at, speaking(state), open_now)


def batches(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """What was appended together, oldest first: entries of one time."""
    start = 0
    for number in range(1, len(entries) + 1):
        if number == len(entries) or entries[number].at != entries[start].at:
            yield entries[start:number]
            start = number


def standing(session_id: str, entries: Sequence[Entry], at: int) -> int:
    """The last position, ``at`` or before it, at which the session can be gone on with.

    Such is the end of every batch, for there a process may have died; before and after a message of the user's, where
    nothing is open that could be left half done; and after the first entry. What the user says in a team within the
    team is heard by who waits there, so before it is where that one waits. Nowhere else did a session ever stand: its
    calls may be without a result, its results may tell of a handoff that is yet to come, and who was asked may have
    answered already.

    Raises:
        UsageError: the session has no position ``at``.
    """
    first, last = entries[0].seq, entries[-1].seq
    if not first <= at <= last:
        raise UsageError(f"session {session_id!r} has the facts {first} to {last}; {at} is no position in it")
    return next(
        seq
        for seq in range(at, first - 1, -1)
        if seq in (first, last) or _stands(*entries[seq - first : seq - first + 2])
    )


def _stands(entry: Entry, following: Entry) -> bool:
    return entry.at != following.at or any(isinstance(each.fact, UserSpoke | Forked) for each in (entry, following))


def state_after(session_id: str, entries: Sequence[Entry], state: State | None = None) -> State:
    """The state after ``entries``, from the beginning or from ``state`` on.

    Raises:
        DamagedJournal: if one of them does not follow from what is before it.
    """
    state = State() if state is None else state.copied()
    for entry in entries:
        try:
            apply(state, entry.fact)
            assert state.seq == entry.seq, "what stands in for the beginning has its number"
        except (LookupError, AssertionError) as error:
            raise DamagedJournal(
                f"session {session_id!r}, entry {entry.seq} ({entry.fact.type}) does not follow from what is before it"
            ) from error
    return state


_OF_REQUESTS = frozenset({Asked, Answered, Forked, Within})


def asked_since(entries: Iterable[Entry], before: Mapping[str, datetime] | None = None) -> dict[str, datetime]:
    """When each request that waits after ``entries`` was put, by its id in the session. ``before``: the same of those
    that waited before them.
    """
    asked = dict(before or {})
    for entry in entries:
        if type(entry.fact) not in _OF_REQUESTS:
            continue
        prefix, fact = placed(entry.fact)
        if isinstance(fact, Asked):
            asked[prefix + fact.request] = entry.at
        elif isinstance(fact, Answered):
            asked.pop(prefix + fact.request, None)
        elif isinstance(fact, Forked):
            asked = dict.fromkeys(asked, entry.at)  # a branch of what was said long ago asks anew
    return asked


def request_id(session_id: str, local: str) -> str:
    """A request's id to the world: unique everywhere, and it names its session."""
    return f"{session_id}/{local}"
