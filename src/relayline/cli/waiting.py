"""``relayline requests``: what waits for a person, in all sessions of a store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from relayline.cli.calls import written
from relayline.cli.clean import one_line
from relayline.cli.sessions import folded_up, local
from relayline.cli.table import table
from relayline.errors import DamagedJournal
from relayline.events import Asked, Entry
from relayline.journal.checkpoints import request_id
from relayline.journal.store import Store
from relayline.messages import JSON
from relayline.runtime.requests import HandoffAgentUserRequest, RequestData, request_data

HEAD = ("REQUEST", "SINCE", "TEAM", "KIND", "ASKED BY", "WHAT")
KINDS = {"user_input": "question", "approval": "approval", "outcome": "outcome", "reply": "turn"}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that is open. ``since``: when it was put."""

    session_id: str
    team: str
    since: datetime
    asked: Asked
    data: RequestData

    @property
    def request_id(self) -> str:
        return request_id(self.session_id, self.asked.request)

    @property
    def kind(self) -> str:
        """``approval``, ``outcome``, ``turn``, or ``question`` to the user."""
        return KINDS[self.asked.ask]

    @property
    def what(self) -> str:
        """What it is about, on one line, nothing hidden in it."""
        if self.asked.call is not None:
            why = f" (its tool could not say: {one_line(self.asked.note)})" if self.asked.note else ""
            return written(self.asked.call) + why
        if isinstance(self.data, HandoffAgentUserRequest):
            return one_line(self.data.agent_response.text)
        ways = [f"hand over to {one_line(name)}" for name in self.asked.ways]
        return "say something, " + ", ".join([*ways, "or hand back"])


def open_requests(session_id: str, entries: Sequence[Entry]) -> list[Waiting]:
    """What waits in a session, oldest first.

    Raises:
        DamagedJournal: if its entries do not make a conversation.
    """
    state = folded_up(session_id, entries)
    since = {entry.fact.request: entry.at for entry in entries if isinstance(entry.fact, Asked)}
    return [
        Waiting(session_id, state.workflow, since[local_id], asked, request_data(asked, state))
        for local_id, asked in state.requests.items()
    ]


async def all_requests(store: Store) -> tuple[list[Waiting], list[DamagedJournal]]:
    """What waits in every session, oldest first, and the sessions that cannot be read."""
    found: list[Waiting] = []
    damaged: list[DamagedJournal] = []
    for summary in await store.sessions():
        try:
            found += open_requests(summary.session_id, await store.read(summary.session_id))
        except DamagedJournal as error:
            damaged.append(error)
    return sorted(found, key=lambda each: each.since), damaged


def as_lines(waiting: Sequence[Waiting], *, terminal: bool) -> str:
    """A table for programs; for people two lines each, and nothing cut off of what they may approve."""
    if not terminal:
        return table(HEAD, [_row(each) for each in waiting])
    return "\n".join(
        f"{one_line(each.request_id)}  ({each.kind}, since {local(each.since)}, team {one_line(each.team)})\n"
        f"  {one_line(each.asked.agent)}: {each.what}"
        for each in waiting
    )


def as_json(each: Waiting) -> dict[str, JSON]:
    """A request for programs."""
    call = each.asked.call
    return {
        "request_id": each.request_id,
        "session_id": each.session_id,
        "team": each.team,
        "kind": each.kind,
        "agent": each.asked.agent,
        "since": each.since.isoformat(),
        "call": None if call is None else {"name": call.name, "arguments": call.arguments},
        "words": each.data.agent_response.text if isinstance(each.data, HandoffAgentUserRequest) else "",
        "handoffs": list(each.asked.ways),
        "note": each.asked.note,
    }


def _row(each: Waiting) -> tuple[str, ...]:
    names = one_line(each.request_id), local(each.since), one_line(each.team), each.kind, one_line(each.asked.agent)
    return (*names, each.what)
