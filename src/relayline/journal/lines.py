"""Entries as lines of a file: one JSON object each, with ``seq``, ``at``, ``version`` and ``fact``."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import cast

from relayline.errors import DamagedJournal
from relayline.events import Entry
from relayline.journal.codec import VERSION, decode, encode

KEYS = ("seq", "at", "version", "fact")

TOO_MANY = 2**53
"""More facts than any session has, and more than every store can count."""


def line(entry: Entry) -> str:
    """One line without its end. The fact stands as the codec writes it, its media whole.

    Raises:
        StoreError: if the fact holds something JSON cannot.
    """
    return f'{{"seq":{entry.seq},"at":"{entry.at.isoformat()}","version":{VERSION},"fact":{encode(entry.fact)}}}'


def read_line(text: str) -> Entry:
    """The entry of one line, of this release or an older one.

    Raises:
        DamagedJournal: if it is none.
    """
    given = json_object(text)
    if set(given) != set(KEYS):
        raise DamagedJournal(f"an entry has {', '.join(KEYS)} and nothing else; got {', '.join(given)!r:.200}")
    seq = given["seq"]
    if type(seq) is not int or not 0 < seq < TOO_MANY:
        raise DamagedJournal(f"seq is a number from 1; got {seq!r:.80}")
    try:
        fact = json.dumps(given["fact"], ensure_ascii=False)
    except RecursionError as error:
        raise DamagedJournal("it is nested too deep") from error
    return Entry(seq, _time(given["at"]), decode(fact, cast("int", given["version"])))


def json_object(text: str) -> Mapping[str, object]:
    """A line as a mapping.

    Raises:
        DamagedJournal: if it is no JSON object, or says one thing twice.
    """
    try:
        given: object = json.loads(text, object_pairs_hook=_once, parse_constant=_never)
    except (ValueError, RecursionError) as error:
        raise DamagedJournal(f"not JSON: {error!s:.200}") from error
    if not isinstance(given, dict):
        raise DamagedJournal(f"a line is one JSON object; got {text!r:.80}")
    return cast("dict[str, object]", given)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key stands there twice, among {', '.join(key for key, _ in pairs)!r:.80}")
    return found


def _never(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _time(given: object) -> datetime:
    try:
        at = datetime.fromisoformat(cast("str", given))
    except (TypeError, ValueError) as error:
        raise DamagedJournal(f"at is a time as in 2026-01-31T09:00:00+00:00; got {given!r:.80}") from error
    if at.utcoffset() != timedelta():
        raise DamagedJournal(f"at is a time in UTC; got {given!r:.80}")
    return at
