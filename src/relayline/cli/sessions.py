"""``relayline sessions``: what is kept, and where each conversation stands."""

import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from relayline.cli.clean import one_line
from relayline.errors import DamagedJournal
from relayline.journal.checkpoints import after
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import SessionSummary, Store
from relayline.machine.state import State
from relayline.runtime.requests import HandoffAgentUserRequest, HumanTurnRequest, InterruptedCallRequest
from relayline.runtime.stream import WorkflowEvent, WorkflowRunState, pending, run_state

LONGEST_WORDS = 200


@dataclass(frozen=True, slots=True)
class Line:
    """A session in a line. ``words``: how the user began. ``problem``: why it cannot be read, if it cannot."""

    session_id: str
    updated: datetime
    facts: int
    agent: str
    situation: str
    words: str
    problem: str = ""


async def listed(store: Store, limit: int | None = None) -> list[Line]:
    """The sessions of a store, the one most recently written to first."""
    summaries = (await store.sessions())[::-1]
    return [await _line(store, each) for each in (summaries[:limit] if limit else summaries)]


async def kept(path: Path, limit: int | None = None) -> list[Line]:
    """`listed` for a SQLite file; a file that is not there has no sessions, and is not made."""
    if not path.exists():  # noqa: ASYNC240  nothing else goes on
        return []
    async with aclosing(SqliteCheckpointStorage(path)) as store:
        return await listed(store, limit)


async def folded(store: Store, session_id: str) -> State:
    """The state of a session, whatever team it belongs to.

    Raises:
        DamagedJournal: if what is written does not make a conversation.
    """
    state = State()
    for entry in await store.read(session_id):
        state = after(state, entry, session_id)
    return state


def situation(state: WorkflowRunState, requests: Sequence[WorkflowEvent]) -> str:
    """Where a session stands, in a few words."""
    match state:
        case WorkflowRunState.FAILED:
            return "failed"
        case WorkflowRunState.IN_PROGRESS:
            return "in progress"
        case WorkflowRunState.IDLE_WITH_PENDING_REQUESTS:
            return _waits_for(requests)
        case WorkflowRunState.STOPPED:
            return "stopped, out of budget"
        case WorkflowRunState.CANCELLED:
            return "cancelled"
        case _:
            return "finished"


def as_table(lines: Sequence[Line], width: int | None = None) -> str:
    """Aligned columns under a heading; each line cut to ``width``."""
    if not lines:
        return ""
    rows = [("SESSION", "LAST WRITTEN", "FACTS", "WITH", "STATE", "BEGAN WITH"), *map(_row, lines)]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return "\n".join(_cut("  ".join(map(str.ljust, row, (*widths, 0))), width) for row in rows)


def as_json(lines: Sequence[Line]) -> str:
    """A JSON list of objects, times in ISO 8601."""
    shown = [
        {
            "session_id": line.session_id,
            "updated": line.updated.isoformat(),
            "facts": line.facts,
            "agent": line.agent,
            "state": line.situation,
            "words": line.words,
            **({"problem": line.problem} if line.problem else {}),
        }
        for line in lines
    ]
    return json.dumps(shown, ensure_ascii=False, indent=2)


async def _line(store: Store, summary: SessionSummary) -> Line:
    try:
        state = await folded(store, summary.session_id)
    except DamagedJournal as error:
        return Line(summary.session_id, summary.updated, summary.seq, "", "damaged", "", str(error))
    first = next((message.in_words for message in state.transcript if message.role == "user"), "")
    where = situation(run_state(state), pending(summary.session_id, state))
    words = one_line(first)[:LONGEST_WORDS]
    return Line(summary.session_id, summary.updated, summary.seq, state.floor.speaker, where, words)


def _waits_for(requests: Sequence[WorkflowEvent]) -> str:
    if all(isinstance(each.data, HandoffAgentUserRequest) for each in requests):
        return "waiting for the user"
    if any(isinstance(each.data, InterruptedCallRequest) for each in requests):
        return "interrupted in a call"
    people = [one_line(each.executor_id) for each in requests if isinstance(each.data, HumanTurnRequest)]
    if people:
        return f"waiting for {', '.join(people)}"
    return "waiting for approval"


def _row(line: Line) -> tuple[str, ...]:
    updated = line.updated.astimezone().strftime("%Y-%m-%d %H:%M")
    words = line.words or one_line(line.problem)
    return one_line(line.session_id), updated, str(line.facts), one_line(line.agent), line.situation, words


def _cut(text: str, width: int | None) -> str:
    text = text.rstrip()
    return text if width is None or len(text) <= width else f"{text[: max(width - 3, 0)]}..."
