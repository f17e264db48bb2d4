"""``relayline requests``: what waits for a person, in all sessions of a store."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from relayline.cli.calls import written
from relayline.cli.clean import one_line
from relayline.cli.sessions import local
from relayline.cli.table import table
from relayline.errors import DamagedJournal
from relayline.events import Ask, Asked, Entry
from relayline.journal.checkpoints import asked_since, request_id, state_after
from relayline.journal.store import Store
from relayline.machine.nested import waiting
from relayline.messages import JSON
from relayline.runtime.requests import (
    AgentReviewRequest,
    FunctionInfoRequest,
    HandoffAgentUserRequest,
    RequestData,
    request_data,
)

HEAD = ("REQUEST", "SINCE", "TEAM", "KIND", "ASKED BY", "WHAT")
KINDS: Mapping[Ask, str] = {
    "user_input": "question",
    "approval": "approval",
    "outcome": "outcome",
    "reply": "turn",
    "review": "review",
    "info": "value",
}

WITH_WORDS = (HandoffAgentUserRequest, AgentReviewRequest)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that is open. ``agent``: who asks, ``desk/refunds`` in a team within the team."""

    session_id: str
    request_id: str
    team: str
    agent: str
    since: datetime
    asked: Asked
    data: RequestData

    @property
    def kind(self) -> str:
        """``approval``, ``outcome``, ``turn``, ``review``, ``value`` for a function, or ``question`` to the user."""
        return KINDS[self.asked.ask]

    @property
    def what(self) -> str:
        """What it is about, on one line, nothing hidden in it."""
        if isinstance(self.data, FunctionInfoRequest):
            return one_line(json.dumps(self.data.data, ensure_ascii=False))
        if self.asked.call is not None:
            why = f" (its tool could not say: {one_line(self.asked.note)})" if self.asked.note else ""
            return written(self.asked.call) + why
        if isinstance(self.data, WITH_WORDS):
            return one_line(self.data.agent_response.text)
        ways = [f"hand over to {one_line(name)}" for name in self.asked.ways]
        return "say something, " + ", ".join([*ways, "or hand back"])


def open_requests(session_id: str, entries: Sequence[Entry]) -> list[Waiting]:
    """What waits in a session, oldest first.

    Raises:
        DamagedJournal: if its entries do not make a conversation.
    """
    state = state_after(session_id, entries)
    since = asked_since(entries)
    return [
        Waiting(
            session_id,
            request_id(session_id, each.request),
            state.workflow,
            each.path,
            since[each.request],
            each.asked,
            request_data(each.asked, each.state),
        )
        for each in waiting(state)
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


def as_lines(found: Sequence[Waiting], *, terminal: bool) -> str:
    """A table for programs; for people two lines each, and nothing cut off of what they may approve."""
    if not terminal:
        return table(HEAD, [_row(each) for each in found])
    return "\n".join(
        f"{one_line(each.request_id)}  ({each.kind}, since {local(each.since)}, team {one_line(each.team)})\n"
        f"  {one_line(each.agent)}: {each.what}"
        for each in found
    )


def as_json(each: Waiting) -> dict[str, JSON]:
    """A request for programs."""
    call = each.asked.call
    return {
        "request_id": each.request_id,
        "session_id": each.session_id,
        "team": each.team,
        "kind": each.kind,
        "agent": each.agent,
        "since": each.since.isoformat(),
        "call": None if call is None else {"name": call.name, "arguments": call.arguments},
        "words": each.data.agent_response.text if isinstance(each.data, WITH_WORDS) else "",
        "data": each.asked.data,
        "handoffs": list(each.asked.ways),
        "note": each.asked.note,
    }


def _row(each: Waiting) -> tuple[str, ...]:
    names = one_line(each.request_id), local(each.since), one_line(each.team), each.kind, one_line(each.agent)
    return (*names, each.what)
