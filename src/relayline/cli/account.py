"""``relayline sessions show``: one session, as it is or as it was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relayline.cli import sessions, waiting
from relayline.cli.clean import one_line
from relayline.cli.opened import number, summary_of
from relayline.cli.sessions import local
from relayline.cli.table import cut
from relayline.cli.transcript import entry_json, fact_line, message_json, numbered
from relayline.cli.waiting import Waiting
from relayline.events import Entry
from relayline.journal.checkpoints import state_after
from relayline.journal.store import Store
from relayline.machine.state import State
from relayline.messages import JSON


@dataclass(frozen=True, slots=True)
class Account:
    """A session at one of its positions, the number ``at``. ``entries``: all up to there."""

    line: sessions.Line
    at: int
    state: State
    entries: Sequence[Entry]
    waiting: Sequence[Waiting]


async def account(store: Store, session_id: str, at: int | None = None) -> Account:
    """The session after its fact number ``at``; by default as it stands.

    Raises:
        SessionNotFound: there is none of that id.
        UsageError: it has no such fact.
        DamagedJournal: it cannot be read.
    """
    summary = await summary_of(store, session_id)
    seq = await number(store, summary, at)
    entries = await store.read(session_id, upto=seq)
    state = state_after(session_id, entries)
    waits = waiting.open_requests(session_id, entries)
    return Account(sessions.line_of(summary, state), seq, state, entries, waits)


def as_text(found: Account, *, facts: bool, width: int | None) -> str:
    """Where it stands in a few lines, then what was said, or the journal."""
    head = [f"{name:<9}{value}" for name, value in _head(found) if value]
    if not facts:
        return "\n".join([*head, "", numbered(found.entries)])
    return "\n".join([*head, "", *(cut(fact_line(each), width) for each in found.entries)])


def as_json(found: Account, *, facts: bool) -> Mapping[str, JSON]:
    """The keys of the list, and what was said; with ``facts`` the whole journal as well."""
    more: dict[str, JSON] = {
        "at": found.at,
        "open": [waiting.as_json(each) for each in found.waiting],
        "values": dict(found.state.shared),
        "messages": [message_json(each) for each in found.state.transcript],
    }
    if facts:
        more["entries"] = [entry_json(each) for each in found.entries]
    return {**sessions.as_json(found.line), **more}


def _head(found: Account) -> Sequence[tuple[str, str]]:
    line, summary = found.line, found.line.summary
    where = f", with {one_line(line.agent)}" if line.agent else ""
    begun = f"{summary.seq}, from {local(summary.started)} to {local(summary.updated)}"
    then = f"as it was after fact {found.at}: " if found.at != summary.seq else ""
    return [
        ("session", one_line(summary.session_id)),
        ("team", one_line(line.team)),
        ("state", f"{then}{line.situation}{where}"),
        ("facts", begun),
        ("branch", f"of {one_line(summary.parent)}@{summary.shared}" if summary.parent else ""),
        ("held", one_line(summary.held)),
        *(("waits", _waits(each)) for each in found.waiting),
    ]


def _waits(each: Waiting) -> str:
    """A question was said already, and stands below."""
    what = "" if each.kind == "question" else f": {each.what}"
    return f"{one_line(each.request_id)}  {each.kind}{what}"
