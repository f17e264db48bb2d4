"""Facts to JSON and back: plain, versioned, and without a way to execute anything.

A fact is one JSON object: its ``type`` and the fields that differ from their defaults. Reading goes by pydantic against
the closed set of facts: what this release does not know is refused with a sentence, never guessed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, cast

from pydantic import Field, TypeAdapter, ValidationError

from relayline.errors import DamagedJournal, StoreError
from relayline.events import Fact
from relayline.messages import JSON

VERSION = 1
"""Raised when a fact gets a meaning that older releases must not read past. New optional fields do not raise it."""

UPCASTERS: dict[int, Callable[[dict[str, JSON]], dict[str, JSON]]] = {}
"""For each older version, the step that makes its facts look like the next one's."""

TAGS = ("type", "kind")

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(fact: Fact) -> str:
    """One line of JSON text.

    Raises:
        StoreError: if the fact holds something JSON cannot (checked here, so that every store refuses the same things).
    """
    try:
        text = _JSON.encode(_plain(fact))
        text.encode()  # a lone surrogate is a str, but not text
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"a {fact.type!r} fact cannot be kept: {error}. Facts hold JSON values and valid Unicode only."
        ) from error
    return text


def decode(text: str | bytes, version: int = VERSION) -> Fact:
    """The fact of one line.

    Raises:
        DamagedJournal: if it is no fact of this release or an older one.
    """
    if version > VERSION:
        raise DamagedJournal(
            f"written by a newer relayline (format {version}, this one reads up to {VERSION}); upgrade to read it"
        )
    try:
        if version == VERSION:
            return _facts().validate_json(text)
        old: dict[str, JSON] = json.loads(text)
        for step in range(version, VERSION):
            old = UPCASTERS[step](old)
        return _facts().validate_python(old)
    except (ValidationError, ValueError, KeyError) as error:
        raise DamagedJournal(f"not a fact of this release: {text[:80]!r} ({_why(error)})") from error


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(str(each) for each in first['loc']) or 'fact'}: {first['msg']}"
    return str(error)


@cache
def _facts() -> TypeAdapter[Fact]:
    return TypeAdapter(Annotated[Fact, Field(discriminator="type")])  # built on first use: it costs milliseconds


@cache
def _shape(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    """The field names of a dataclass, tag first, with the default that is left out (MISSING: always written)."""
    named = sorted(fields(kind), key=lambda each: each.name not in TAGS)
    return tuple((each.name, MISSING if each.name in TAGS else _default(each)) for each in named)


def _default(of: Any) -> Any:
    return of.default if of.default_factory is MISSING else of.default_factory()


def _plain(value: Any) -> Any:
    if isinstance(value, str | int | float | None):
        return value
    if is_dataclass(value):
        shown = ((name, getattr(value, name), default) for name, default in _shape(type(value)))
        return {name: _plain(each) for name, each, default in shown if each != default}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, Sequence):
        return [_plain(each) for each in cast("Sequence[Any]", value)]
    return value
