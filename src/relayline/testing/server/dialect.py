"""What a fake provider has to know of a wire to speak it."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from relayline.testing.fakes import START
from relayline.testing.providers.rules import Body
from relayline.testing.server.replies import Answer, Fail, Stop

CREATED = int(START.timestamp())


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire.

    ``check``: an `AssertionError` for a body it refuses. ``required``: the settings it insists on, beside the
    conversation. ``key_headers``: where the key may be. ``call_id``: how the ids of calls begin; empty if it has none.
    ``whole``: a reply in one piece. ``stream``: the same, event by event; what goes wrong is left to the server.
    ``error``: the body of an HTTP error. ``failure``: an error after so many events of a stream. ``retry_header``:
    whether that is where it says when to try again.
    """

    name: str
    check: Callable[[Body], None]
    required: tuple[str, ...]
    key_headers: tuple[str, ...]
    call_id: str
    whole: Callable[[Answer], dict[str, Any]]
    stream: Callable[[Answer], Iterator[bytes | Stop]]
    error: Callable[[Fail], dict[str, Any]]
    failure: Callable[[Fail, Answer, int], bytes]
    retry_header: bool = True


def to_json(value: object) -> bytes:
    """JSON as providers write it, in UTF-8; half characters, which that cannot hold, are escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def sse(data: Mapping[str, Any], event: str = "") -> bytes:
    """One server-sent event."""
    name = f"event: {event}\n".encode() if event else b""
    return b"%bdata: %b\n\n" % (name, to_json(data))
