"""What an upgrade would do to the sessions there are: a dry run, session by session."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from relayline.errors import UpgradeRefused
from relayline.events import (
    Answered,
    Asked,
    Compacted,
    Entry,
    Fact,
    HandedBack,
    SessionStarted,
    ToolReturned,
    Within,
    innermost,
)
from relayline.journal.checkpoints import request_id, state_after
from relayline.machine.decide import Machine
from relayline.machine.fold import fold
from relayline.machine.inputs import Opened, Resumed
from relayline.machine.patterns import Speak
from relayline.machine.state import State
from relayline.machine.upgrades import change

Fate: TypeAlias = Literal["ok", "goes_on", "remapped", "needs_person", "refused", "damaged"]
"""What becomes of a session under the team as it is now.

``ok``: nothing is different. ``goes_on``: something is, and it goes on. ``remapped``: what was renamed is, and it goes
on. ``needs_person``: a person is asked what became of a call. ``refused``: the team does not take it. ``damaged``: its
journal cannot be read.
"""


@dataclass(frozen=True, slots=True)
class SessionUpgrade:
    """What would become of one session. ``differences``: what is not as it was when it was last run. ``consequences``:
    what would be told and asked when it is next run, without a message.
    """

    session_id: str
    fate: Fate
    differences: tuple[str, ...] = ()
    consequences: tuple[str, ...] = ()


def upgrade_of(session_id: str, entries: Sequence[Entry], machine: Machine) -> SessionUpgrade | None:
    """What would become of the session, were it run now; None, if it is another team's.

    Raises:
        DamagedJournal: if what is written does not make a conversation.
    """
    if not entries or not _is_ours(entries[0].fact, machine):
        return None
    state = state_after(session_id, entries)
    if state.started is None or state.started.fingerprint == machine.fingerprint:
        return SessionUpgrade(session_id, "ok")
    found = change(state.started, machine)
    renamed = tuple(f"{old!r} is {new!r} now" for old, new in {**found.renamed, **found.renamed_tools}.items())
    told = (*renamed, *found.differences)
    try:
        opened = machine.decide(state, Opened(session_id))
    except UpgradeRefused:
        return SessionUpgrade(session_id, "refused", told)
    follows = machine.decide(opened.state, Resumed()).facts
    consequences = (
        *(each for fact in follows for each in _consequences(session_id, fact, opened.state)),
        *_next(machine, fold(follows, opened.state)),
    )
    if any(isinstance(fact, Asked) and fact.ask == "outcome" for fact in map(innermost, follows)):
        return SessionUpgrade(session_id, "needs_person", told, consequences)
    return SessionUpgrade(session_id, "remapped" if renamed else "goes_on", told, consequences)


def _is_ours(first: Fact, machine: Machine) -> bool:
    return isinstance(first, SessionStarted | Compacted) and first.workflow == machine.name


def _consequences(session_id: str, fact: Fact, state: State, prefix: str = "", path: str = "") -> Iterator[str]:
    """``state``: what the team knew before; of a turn that has begun since, nobody is told the path."""
    match fact:
        case Answered(request, "withdrawn"):
            yield f"request {request_id(session_id, prefix + request)!r} is withdrawn"
        case ToolReturned(_, result):
            yield f"the call of {result.name!r} is told: {result.content}"
        case Asked(_, "outcome", _, agent, call) if call:
            yield f"a person is asked what became of the call of {call.name!r} by {path + agent!r}"
        case HandedBack(_, source, target):
            yield f"the conversation goes from {path + source!r} to {path + target!r}"
        case Within(number, inner):
            turn = state.open.get(number)
            within = (turn and turn.part.inner) or State()
            path += f"{turn.agent}/" if turn else ""
            yield from _consequences(session_id, inner, within, f"{prefix}t{number}.", path)
        case _:
            pass


def _next(machine: Machine, state: State) -> Iterator[str]:
    """Who takes the next message of a session that rests with somebody who is gone."""
    if not state.open and state.floor.speaker and machine.gone(state.floor.speaker):
        route = machine.pattern.begin(state)
        if isinstance(route, Speak):
            yield f"the next message goes to {route.agent!r}"


def as_table(reports: Sequence[SessionUpgrade]) -> str:
    """The reports as plain text: a line for each session, what differs and what follows below it, and a count."""
    lines: list[str] = []
    for each in reports:
        lines.append(f"{each.fate.replace('_', ' '):<14}{each.session_id}")
        lines += [f"{'':<14}- {difference}" for difference in each.differences]
        lines += [f"{'':<14}> {consequence}" for consequence in each.consequences]
    counts = {fate: sum(each.fate == fate for each in reports) for fate in dict.fromkeys(each.fate for each in reports)}
    summed = ", ".join(f"{fate.replace('_', ' ')} {number}" for fate, number in counts.items())
    return "\n".join([*lines, f"{len(reports)} sessions: {summed}" if reports else "no sessions of this team"])


def as_json(reports: Sequence[SessionUpgrade]) -> str:
    """The reports as a JSON list of objects."""
    return json.dumps([asdict(each) for each in reports], ensure_ascii=False, indent=2)
