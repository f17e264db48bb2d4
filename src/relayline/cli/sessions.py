"""``relayline sessions``: what is kept, and where each conversation stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from relayline.cli.clean import one_line
from relayline.cli.table import table
from relayline.errors import DamagedJournal
from relayline.journal.checkpoints import state_after
from relayline.journal.store import SessionSummary, Store
from relayline.machine.nested import speaking
from relayline.machine.state import State
from relayline.messages import JSON
from relayline.runtime.requests import (
    AgentReviewRequest,
    FunctionApprovalRequestContent,
    HandoffAgentUserRequest,
    HumanTurnRequest,
    InterruptedCallRequest,
)
from relayline.runtime.stream import WorkflowEvent, WorkflowRunState, pending, run_state

LONGEST_WORDS = 200

HEAD = ("SESSION", "LAST WRITTEN", "FACTS", "TEAM", "WITH", "STATE", "BRANCH OF", "BEGAN WITH")


@dataclass(frozen=True, slots=True)
class Line:
    """A session in a line. ``state`` and what follows are of what it says, if that can be read; else ``problem`` says
    why not. ``words``: how the user began.
    """

    summary: SessionSummary
    state: WorkflowRunState | None = None
    requests: Sequence[WorkflowEvent] = ()
    team: str = ""
    agent: str = ""
    words: str = ""
    problem: str = ""

    @property
    def situation(self) -> str:
        return "damaged" if self.state is None else situation(self.state, self.requests)


async def listed(store: Store, limit: int | None = None) -> list[Line]:
    """The sessions of a store, the one most recently written to first."""
    summaries = (await store.sessions())[::-1]
    return [await line(store, each) for each in (summaries[:limit] if limit else summaries)]


async def line(store: Store, summary: SessionSummary) -> Line:
    """How this session stands."""
    try:
        return line_of(summary, await folded(store, summary.session_id))
    except DamagedJournal as error:
        return Line(summary, problem=str(error))


def line_of(summary: SessionSummary, state: State) -> Line:
    """A session that was read, in a line."""
    first = next((message.in_words for message in state.transcript if message.role == "user"), "")
    requests = pending(summary.session_id, state)
    words = one_line(first)[:LONGEST_WORDS]
    return Line(summary, run_state(state), requests, state.workflow, speaking(state), words)


async def folded(store: Store, session_id: str) -> State:
    """The state of a session, whatever team it belongs to.

    Raises:
        DamagedJournal: if what is written does not make a conversation.
    """
    return state_after(session_id, await store.read(session_id))


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
    """Aligned columns under a heading. ``width``: of the terminal, if it is for one."""
    if not lines:
        return ""
    if width is None:
        return table(HEAD, [_row(each) for each in lines])
    several = len({each.team for each in lines if each.state is not None}) > 1
    head = [title.removeprefix("LAST ") for title in HEAD]
    return table(head, [_short_row(each, several=several) for each in lines], width)


def as_json(each: Line) -> dict[str, JSON]:
    """A session for programs: every key is always there, times are in ISO 8601."""
    summary = each.summary
    return {
        "session_id": summary.session_id,
        "team": each.team,
        "agent": each.agent,
        "state": each.situation,
        "run_state": str(each.state or ""),
        "requests": [request.request_id for request in each.requests],
        "facts": summary.seq,
        "started": summary.started.isoformat(),
        "updated": summary.updated.isoformat(),
        "parent": summary.parent,
        "shared": summary.shared,
        "held": summary.held,
        "words": each.words,
        "problem": each.problem,
    }


def local(at: datetime) -> str:
    """A time as people here read it, to the minute."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M")


def short(at: datetime) -> str:
    """The same in 11 cells: without the year, or without the hour if it is another year's."""
    there = at.astimezone()
    return there.strftime("%m-%d %H:%M" if there.year == datetime.now(UTC).astimezone().year else "%Y-%m-%d")


def _waits_for(requests: Sequence[WorkflowEvent]) -> str:
    if all(isinstance(each.data, HandoffAgentUserRequest) for each in requests):
        return "waiting for the user"
    if any(isinstance(each.data, InterruptedCallRequest) for each in requests):
        return "interrupted in a call"
    people = [one_line(each.executor_id) for each in requests if isinstance(each.data, HumanTurnRequest)]
    if people:
        return f"waiting for {', '.join(people)}"
    if any(isinstance(each.data, FunctionApprovalRequestContent) for each in requests):
        return "waiting for approval"
    if any(isinstance(each.data, AgentReviewRequest) for each in requests):
        return "waiting for a review"
    return "waiting for a value"


def _row(each: Line) -> tuple[str, ...]:
    summary = each.summary
    return (
        one_line(summary.session_id),
        local(summary.updated),
        str(summary.seq),
        one_line(each.team),
        one_line(each.agent),
        each.situation + (", held" if summary.held else ""),
        f"{one_line(summary.parent)}@{summary.shared}" if summary.parent else "",
        each.words or one_line(each.problem),
    )


def _short_row(each: Line, *, several: bool) -> tuple[str, ...]:
    """The same where there is little room. ``several``: whether there are sessions of several teams."""
    session_id, _, facts, team, agent, state, branch, words = _row(each)
    words = f"({branch}) {words}" if branch else words
    return session_id, short(each.summary.updated), facts, team if several else "", agent, state, "", words
