"""What may be wrong with a session, and what to do about it."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from relayline.cli.calls import written
from relayline.cli.clean import one_line
from relayline.cli.finding import Finding
from relayline.cli.places import answer_line, resume_line
from relayline.errors import DamagedJournal
from relayline.events import Asked, Entry, Finished
from relayline.journal.checkpoints import request_id, state_after
from relayline.journal.store import SessionSummary, Store
from relayline.machine.effects import effects
from relayline.machine.nested import waiting
from relayline.machine.state import OpenCall, State

AT_WORK = timedelta(minutes=10)
"""So long after its last fact a session may still be at work somewhere."""


async def ailments(store: Store, session: SessionSummary) -> list[Finding]:
    """What is wrong with a session, or worth knowing."""
    name = session.session_id
    try:
        entries = await store.read(name)
        state = state_after(name, entries)
    except DamagedJournal as error:
        what = f"{error}. The other sessions are not touched by this. Bring it back from a backup, or delete it"
        return [Finding("problem", "journal", what, name)]
    if not entries:
        return []  # somebody deleted it meanwhile
    return [*_unknown(name, entries, state), *_orphans(name, state), *_cut_off(name, entries, state, store.now())]


def _unknown(name: str, entries: Sequence[Entry], state: State) -> Iterator[Finding]:
    """Calls that a person was asked about: nobody has said yet what became of them."""
    for key, asked, _, _ in waiting(state):
        if asked.ask == "outcome" and asked.call is not None:
            request = request_id(name, key)
            what = f"session {name!r}: nobody knows what became of {written(asked.call)}, which was cut off. Find out, "
            how = f"and type: {answer_line(request)} TEXT (or --again, to run it once more)"
            yield Finding("problem", "outcome", what + how, name)


def _orphans(name: str, state: State) -> Iterator[Finding]:
    """Requests that nothing waits for any more: an answer would lead nowhere."""
    for key, asked, _, team in waiting(state):
        if isinstance(state.rest, Finished) or not _wanted(asked, team):
            what = f"session {name!r}: request {request_id(name, key)} is open, but nothing waits for its answer. "
            yield Finding("problem", "request", what + "The next message to the session withdraws it", name)


def _cut_off(name: str, entries: Sequence[Entry], state: State, now: datetime) -> Iterator[Finding]:
    age = now - entries[-1].at
    how = f"Take it up: {resume_line('TARGET', None, None, name)}"
    if state.failure is not None:
        why = one_line(f"{state.failure.error}: {state.failure.message}")
        yield Finding("note", "session", f"session {name!r} failed {_ago(age)} ago: {why}. {how}", name)
    if not effects(state):
        return
    started = [
        written(call.call) for call in _calls(state) if call.stage in ("started", "interrupted") and call.result is None
    ]
    doing = f" in {', '.join(started)}" if started else ""
    if age < AT_WORK:
        yield Finding("note", "session", f"session {name!r} is at work{doing}, or was cut off {_ago(age)} ago", name)
        return
    if started:
        what = f"session {name!r} was cut off{doing} {_ago(age)} ago: it may have taken effect, or not. {how}"
        yield Finding("problem", "outcome", what, name)
    else:
        yield Finding("note", "session", f"session {name!r} was cut off {_ago(age)} ago. {how}", name)


def _wanted(asked: Asked, state: State) -> bool:
    """Whether its answer would lead anywhere. Questions and reviews are at the end of a turn, all else within one."""
    turn = state.open.get(asked.turn)
    if asked.call is None:
        return asked.ask in ("user_input", "review") or turn is not None
    return turn is not None and any(each.call.id == asked.call.id and each.result is None for each in turn.calls)


def _calls(state: State) -> Iterator[OpenCall]:
    for turn in state.open.values():
        yield from turn.calls
        if turn.part.inner is not None:
            yield from _calls(turn.part.inner)


def _ago(age: timedelta) -> str:
    if age.days:
        return f"{age.days} day{'s'[: age.days != 1]}"
    minutes = max(int(age.total_seconds()) // 60, 0)
    return f"{minutes // 60} h" if minutes >= 60 else f"{minutes} min"
