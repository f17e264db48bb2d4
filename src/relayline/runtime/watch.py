"""Following a session from outside: what anybody appends to it, in any process."""

from collections.abc import AsyncGenerator, Sequence

from relayline.errors import SessionNotFound
from relayline.events import Compacted, Entry
from relayline.journal.checkpoints import batches, state_after
from relayline.journal.store import Store
from relayline.machine.effects import effects
from relayline.machine.state import State
from relayline.runtime.stream import Reader, WorkflowEvent

PATIENCE = 5.0
"""Seconds after which it is looked whether the session is still there."""


async def watch(store: Store, session_id: str, after: int, *, until_rest: bool) -> AsyncGenerator[WorkflowEvent, None]:
    """The session's numbered events above ``after``; see `Workflow.watch`."""
    state, reader = State(), Reader(session_id, State())
    last: Entry | None = None
    while True:
        entries = await _new(store, session_id, last)
        for batch in batches(entries):
            state = state_after(session_id, batch, state)
            for entry in batch:
                event = reader.event(entry, state)
                if event is not None and entry.seq > after:
                    yield event
        last = entries[-1] if entries else last
        if until_rest and last is not None and last.seq >= after and not effects(state):
            return
        await store.wait(session_id, after=state.seq, seconds=PATIENCE)


async def _new(store: Store, session_id: str, last: Entry | None) -> Sequence[Entry]:
    """What came after ``last``."""
    if last is None:
        return await store.read(session_id)
    # That one too, to see that it still is what it was.
    entries = await store.read(session_id, after=last.seq - 1)
    if entries[:1] == [last]:
        return entries[1:]
    if entries and isinstance(entries[0].fact, Compacted):
        # Forgotten meanwhile. What stands for it is news if it reaches beyond what was shown.
        return entries[entries[0].seq == last.seq :]
    raise SessionNotFound(f"session {session_id!r} was deleted while it was watched")
