"""Checkpoints: the positions of a journal at which its session rests. They are read off the journal, never stored."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from relayline.errors import DamagedJournal
from relayline.events import Asked, Entry
from relayline.machine.effects import effects
from relayline.machine.nested import speaking, waiting
from relayline.machine.state import State, evolve


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
    for number, entry in enumerate(entries, 1):
        state = after(state, entry, session_id)
        # Within a batch (entries of one time) a session may look at rest that is on its way.
        whole = number == len(entries) or entries[number].at != entry.at
        if whole and not effects(state):
            open_now = {request_id(session_id, each.request): each.asked for each in waiting(state)}
            yield Checkpoint(session_id, entry.seq, entry.at, speaking(state), open_now)


def after(state: State, entry: Entry, session_id: str) -> State:
    """The state after one more entry.

    Raises:
        DamagedJournal: if the entry does not follow from what is before it.
    """
    try:
        return evolve(state, entry.fact)
    except (LookupError, AssertionError) as error:
        raise DamagedJournal(
            f"session {session_id!r}, entry {entry.seq} ({entry.fact.type}) does not follow from what is before it"
        ) from error


def request_id(session_id: str, local: str) -> str:
    """A request's id to the world: unique everywhere, and it names its session."""
    return f"{session_id}/{local}"
