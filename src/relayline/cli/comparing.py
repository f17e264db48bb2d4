"""``relayline checkpoints diff``: what two sessions, or two places of one, do not have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relayline.cli.clean import one_line
from relayline.cli.opened import position
from relayline.cli.table import cut
from relayline.cli.transcript import conversation, entry_json, fact_line
from relayline.events import Entry
from relayline.history import diff
from relayline.journal.store import Store
from relayline.messages import JSON


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two. ``seq``: how many of its facts are looked at; ``own``: those that the other has not.

    ``common``: those before them, to know what they refer to.
    """

    session_id: str
    seq: int
    common: Sequence[Entry]
    own: Sequence[Entry]


async def compared(store: Store, one: str, other: str) -> tuple[Side, Side]:
    """Both sides; what they begin with in common is the same in both.

    Raises:
        SessionNotFound, UsageError: there is no such place.
        DamagedJournal: one of them cannot be read.
    """
    first, second = await position(store, one), await position(store, other)
    common = min((await diff(store, first[0], second[0])).common, first[1], second[1])
    return await _side(store, *first, common), await _side(store, *second, common)


def as_text(sides: tuple[Side, Side], *, facts: bool, width: int | None) -> str:
    """What they have in common in a line, then - and + lines."""
    one, other = sides
    common = one.common[-1].seq if one.common else 0
    head = [f"--- {_name(one)}", f"+++ {_name(other)}", f"    {common or 'no'} facts in common"]
    own = _facts if facts else _said
    lines = [f"{mark} {line}" for mark, side in (("-", one), ("+", other)) for line in own(side)]
    return "\n".join([*head, *(cut(line, width) if facts else line for line in lines)])


def as_json(sides: tuple[Side, Side]) -> dict[str, JSON]:
    """The same for programs: every fact, on both sides."""
    one, other = sides
    return {"common": one.common[-1].seq if one.common else 0, "one": _side_json(one), "other": _side_json(other)}


def _side_json(side: Side) -> dict[str, JSON]:
    return {"session_id": side.session_id, "seq": side.seq, "entries": [entry_json(each) for each in side.own]}


async def _side(store: Store, session_id: str, seq: int, common: int) -> Side:
    entries = await store.read(session_id, upto=seq)
    number = sum(entry.seq <= common for entry in entries)
    return Side(session_id, seq, entries[:number], entries[number:])


def _name(side: Side) -> str:
    return f"{one_line(side.session_id)}@{side.seq}"


def _facts(side: Side) -> Iterator[str]:
    return map(fact_line, side.own)


def _said(side: Side) -> Iterator[str]:
    begin = side.own[0].seq if side.own else 0
    for entry, lines in conversation([*side.common, *side.own]):
        if begin and entry.seq >= begin:
            yield from lines
