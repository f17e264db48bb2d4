"""Journals as files: written once, and replayed by every later release."""

import json
from collections.abc import Sequence
from pathlib import Path

from relayline.events import Compacted, Entry, SessionStarted, ToolReturned, TurnStarted
from relayline.journal.codec import VERSION, decode, encode
from relayline.journal.lines import line, read_line
from relayline.journal.store import Store
from relayline.machine.effects import CallModel, effects
from relayline.machine.fold import evolve, fold
from relayline.machine.lanes import sight
from relayline.machine.nested import waiting
from relayline.machine.state import State
from relayline.machine.view import view
from relayline.messages import Message
from relayline.runtime.requests import request_data
from relayline.runtime.stream import run_state
from relayline.testing.requests import check_messages


async def record(store: Store, session_id: str, path: str | Path) -> None:
    """Write a session's journal to ``path``, one JSON object a line: ``seq``, ``at``, ``version``, ``fact``.

    Raises:
        FileExistsError: if there is something already. A recording is kept as it was made.
    """
    entries = await store.read(session_id)
    # The facts stand as the codec wrote them, so that a reader finds the very bytes of the release.
    _write_new(Path(path), "".join(f"{line(each)}\n" for each in entries))


def _write_new(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)


def read_recorded(path: str | Path) -> list[Entry]:
    """The entries that `record` wrote, in this release or an older one.

    Raises:
        DamagedJournal: if a fact is none of this release or an older one.
    """
    return [read_line(text) for text in _lines(path)]


def assert_replays(journal: Sequence[Entry] | str | Path) -> None:
    """Prove that this release understands a journal: entries, or a file that `record` wrote.

    Every fact reads and is written again as it stands. Up to the end of each batch (entries of one time) the journal
    folds, says what is in flight and what waits for a person, and shows each agent a conversation providers accept.

    Raises:
        AssertionError, DamagedJournal: with the entry at which it does not.
    """
    if isinstance(journal, str | Path):
        _check_lines(_lines(journal))
        entries = read_recorded(journal)
    else:
        entries = list(journal)
    assert entries, "the journal is empty"
    first = entries[0]
    assert isinstance(first.fact, SessionStarted | Compacted), f"it begins with {first.fact.type}, not session_started"
    _check_results(entries)
    agents = sorted({entry.fact.agent for entry in entries if isinstance(entry.fact, TurnStarted)})
    state = State()
    for number, entry in enumerate(entries, 1):
        where = f"entry {number} ({entry.fact.type})"
        assert entry.seq == first.seq + number - 1, f"{where} is numbered {entry.seq}"
        assert decode(encode(entry.fact)) == entry.fact, f"{where} is not what the codec makes of it"
        state = evolve(state, entry.fact)
        if number == len(entries) or entries[number].at != entry.at:
            try:
                _check_state(state, agents)
            except AssertionError as problem:
                raise AssertionError(f"after {where}: {problem}") from problem
    assert fold(entry.fact for entry in entries) == state, "folding in one go leads elsewhere"


def _check_state(state: State, agents: Sequence[str]) -> None:
    """What has to hold wherever a process may die."""
    wanted = effects(state)
    ids = [effect.id for effect in wanted]
    assert len(ids) == len(set(ids)), f"two effects have one id: {ids}"
    assert run_state(state)
    for each in waiting(state):
        assert request_data(each.asked, each.state)
    for agent in agents:
        shown = list(view(state.spoken, agent))
        if shown and _is_worked_off(state, shown[-1]):
            shown.pop()
        check_messages(shown)
    for effect in wanted:
        if isinstance(effect, CallModel):
            shown = list(view(sight(state, effect.turn).spoken, effect.agent))
            check_messages(shown)
            assert shown[-1].role != "assistant", f"{effect.agent} is asked to answer itself"


def _is_worked_off(state: State, message: Message) -> bool:
    """Whether the calls of ``message`` are open, so that nobody is asked to answer it yet."""
    still = {each.call.id for turn in state.open.values() for each in turn.calls}
    return any(call.id in still for call in message.tool_calls)


def _check_results(entries: Sequence[Entry]) -> None:
    answered = [entry.fact.result.call_id for entry in entries if isinstance(entry.fact, ToolReturned)]
    assert len(answered) == len(set(answered)), f"a call has two results: {answered}"


def _lines(path: str | Path) -> list[str]:
    return Path(path).read_text("utf-8").split("\n")[:-1]  # not splitlines: words may hold other line ends


def _check_lines(lines: Sequence[str]) -> None:
    for text in lines:
        entry = read_line(text)
        if json.loads(text)["version"] == VERSION:  # an older one is read, and would be written, in today's words
            again = line(entry)
            assert again == text, f"entry {entry.seq} is written differently now: {again} was {text}"
