"""A session as it stands in its journal, for those who look at it."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relayline.events import Entry, HandedBack, HandoffSent
from relayline.journal.checkpoints import state_after
from relayline.machine.nested import speaking
from relayline.machine.way import TurnTaken, handed_over, way
from relayline.messages import JSON, Message
from relayline.runtime.stream import RequestInfoEvent, WorkflowRunState, pending, run_state


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as it stands in its journal.

    ``active_agent``: who had the conversation last, or has it now. ``shared``: what the team keeps in common: the
    ``state`` of `ToolContext`. ``handoffs``: the way the conversation took, oldest first, without what was compacted
    and what went on in teams within the team. ``turns``: who had it, and which turn led to which; as far back as
    ``handoffs``.
    """

    session_id: str
    state: WorkflowRunState
    active_agent: str
    conversation: Sequence[Message]
    requests: Sequence[RequestInfoEvent]
    seq: int
    shared: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    handoffs: Sequence[HandoffSent | HandedBack] = ()
    turns: Sequence[TurnTaken] = ()


def view_of(session_id: str, entries: Sequence[Entry]) -> SessionView:
    """The session after ``entries``."""
    state = state_after(session_id, entries)
    return SessionView(
        session_id,
        run_state(state),
        speaking(state),
        state.transcript,
        pending(session_id, state),
        state.seq,
        copy.deepcopy(dict(state.shared)),
        handed_over(entry.fact for entry in entries),
        way(entry.fact for entry in entries),
    )
