"""Facts to JSON and back: plain, versioned, and without a way to execute anything.

A fact is one JSON object: its ``type`` and the fields that differ from their defaults. Reading goes by pydantic against
the closed set of facts: what this release does not know is refused with a sentence, never guessed.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, lru_cache
from typing import Any, cast

from pydantic_core import SchemaValidator, ValidationError, to_json

from relayline.errors import DamagedJournal, StoreError
from relayline.events import Fact, Replied, Roster, UserSpoke, Within, innermost
from relayline.journal.schema import TAGS, schema_of
from relayline.messages import JSON

VERSION = 1
"""Raised when a fact gets a meaning that older releases must not read past. New optional fields do not raise it.

2 is taken: `relayline.journal.packing` gives it to facts of version 1 that keep something beside their line.
"""

UPCASTERS: dict[int, Callable[[dict[str, JSON]], dict[str, JSON]]] = {}
"""For each older version, the step that makes its facts look like the next one's."""

DEEPEST = 150
"""Levels of nesting that are kept; a reader stops at 200."""

_SCALARS = frozenset({str, bool, type(None)})

_SHORT = 2**63


def encode(fact: Fact) -> str:
    """One line of JSON text.

    Raises:
        StoreError: if the fact holds something JSON cannot (checked here, so that every store refuses the same things).
    """
    try:
        return to_json(_plain(fact)).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"a {fact.type!r} fact cannot be kept: {error}. Facts hold JSON values and valid Unicode only."
        ) from error


def decode(text: str | bytes, version: int = VERSION) -> Fact:
    """The fact of one line.

    Raises:
        DamagedJournal: if it is no fact of this release or an older one.
    """
    if type(version) is not int:
        raise DamagedJournal(f"not a fact of this release: its format is {version!r:.80}, not a number")
    if version > VERSION:
        raise DamagedJournal(
            f"written by a newer relayline (format {version}, this one reads up to {VERSION}); upgrade to read it"
        )
    try:
        if version != VERSION:
            text = _upcast(text, version)
        fact: Fact = _facts().validate_json(text, strict=True)
        said = innermost(fact) if isinstance(fact, Within) else fact
        if isinstance(said, _SPOKEN):
            for extra in (said.message.metadata, said.message.native):
                if extra:
                    checked(extra)  # JSON readers take NaN and the like
        return fact
    except (ValidationError, ValueError, KeyError, RecursionError) as error:
        raise DamagedJournal(f"not a fact of this release: {text[:80]!r} ({_why(error):.300})") from error


def _upcast(text: str | bytes, version: int) -> str | bytes:
    for step in range(version, VERSION):
        text = json.dumps(UPCASTERS[step](json.loads(text)))
    return text


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(str(each) for each in first['loc']) or 'fact'}: {first['msg']}"
    return str(error)


_SPOKEN = (UserSpoke, Replied)


@cache
def _facts() -> SchemaValidator:
    """Reads facts. Built on first use: it costs milliseconds."""
    return SchemaValidator(schema_of(Fact))


@cache
def _shape(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    """The field names of a dataclass, tag first, with the default that is left out (MISSING: always written).

    Nothing, if it is no dataclass.
    """
    if not is_dataclass(kind):
        return ()
    named = sorted(fields(kind), key=lambda each: each.name not in TAGS)
    return tuple((each.name, MISSING if each.name in TAGS else _default(each)) for each in named)


@lru_cache(maxsize=64)
def _roster(roster: Roster) -> dict[str, Any]:
    """As `_plain`: the same few of them begin all the sessions there are."""
    inner = {name: _roster(each) for name, each in roster.teams.items()}
    own = [each for each in _shape(Roster) if each[0] != "teams"]
    shown = {name: _plain(each) for name, default in own if (each := getattr(roster, name)) != default}
    return shown | ({"teams": inner} if inner else {})


def _default(of: Any) -> Any:
    return of.default if of.default_factory is MISSING else of.default_factory()


def _plain(value: Any) -> Any:
    kind = cast("type[Any]", type(value))
    if kind in _SCALARS or (kind is int and -_SHORT < value < _SHORT):
        return value
    if kind is Roster:
        return _roster(value)
    if shape := _shape(kind):  # before the abstract classes, which are slow to ask
        shown: dict[str, Any] = {}
        for name, default in shape:
            each = getattr(value, name)
            if each != default:
                shown[name] = each if type(each) in _SCALARS else _plain(each)
        return shown
    if isinstance(value, str | int | float | Mapping):  # it may be longer than is read, no number, or of its own class
        return _json_value(cast("object", value), DEEPEST)
    return [_plain(each) for each in cast("Sequence[Any]", value)]


def checked(metadata: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """The metadata as it will be read back.

    Raises:
        ValueError: if a journal cannot keep it.
    """
    kept = {_name(key): _json_value(each, DEEPEST) for key, each in metadata.items()}
    to_json(kept)
    return kept


def _json_value(value: object, room: int) -> JSON:
    """``value`` if it comes back from JSON as it was (but for tuples, which come back as lists)."""
    if isinstance(value, str | int | float | None):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{value} is not a JSON number")
        if isinstance(value, int) and not -_SHORT < value < _SHORT:
            str(value)  # which raises if it is longer than can be read
        return value
    if not room:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep")
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        # Nearly all are strings, and to see that here is cheap.
        return {
            key if type(key) is str else _name(key): each if type(each) is str else _json_value(each, room - 1)
            for key, each in items
        }
    if isinstance(value, list | tuple):
        return [_json_value(each, room - 1) for each in cast("Sequence[object]", value)]
    raise ValueError(f"{value!r:.80} is not a JSON value")


def _name(key: object) -> str:
    if not isinstance(key, str):
        raise ValueError(f"the key {key!r} is not a string")
    return str(key)
