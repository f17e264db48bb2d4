"""What a call asks for, read and checked before anything is done."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from relayline.agent import Named
from relayline.errors import UsageError
from relayline.journal.codec import checked
from relayline.journal.ids import checked_id, new_id
from relayline.machine.inputs import UserSaid
from relayline.messages import JSON, Message
from relayline.runtime.requests import user_message


@dataclass(frozen=True, slots=True)
class Order:
    """What a call asks for. ``expired``: the request whose time is over, if that is all."""

    session_id: str
    said: UserSaid | None = None
    responses: Mapping[str, Any] = field(default_factory=dict[str, Any])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    checkpoint_id: str | None = None
    expired: str = ""


class Given(NamedTuple):
    """What a run was called with: a message, answers, or neither.

    ``seq``: where the session has to stand. ``taking``: the message in the store's inbox that it is. ``attempt``: how
    often somebody took the session up. ``expired``: the request whose time is over, if that is all.
    """

    said: UserSaid | None
    responses: Mapping[str, Any]
    seq: int | None
    stream: bool
    settings: Mapping[str, Any]
    taking: str = ""
    attempt: int = 1
    expired: str = ""

    @property
    def anything(self) -> bool:
        return self.said is not None or bool(self.responses) or bool(self.expired)


def read_order(
    message: str | Message | None,
    session_id: str | None,
    responses: Mapping[str, Any] | None,
    checkpoint_id: str | None,
    to: Named | None,
    state: Mapping[str, JSON] | None,
    settings: Mapping[str, Any] | None,
    agents: Collection[str],
) -> Order:
    """What a call to a team of these agents asks for.

    Raises:
        UsageError: it makes no sense.
    """
    said = None if message is None else user_message(message)
    target = to if isinstance(to, str) or to is None else getattr(to, "name", repr(to))
    if target is not None and target not in agents:
        raise UsageError(f"no agent {target!r} to give the message to; there are: {', '.join(agents)}")
    if target is not None and said is None:
        raise UsageError(f"{target!r} can only be given a message; there is none")
    if state is not None and said is None:
        raise UsageError("state is given with a message; there is none")
    if settings is not None and not isinstance(settings, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"settings are a mapping of names to values; got {settings!r:.80}")
    if said is not None and responses:
        raise UsageError("give a message or responses, not both: a message withdraws what the responses would answer")
    origin = None if checkpoint_id is None else position_of(checkpoint_id)[0]
    if responses and (origin is None or {_session_asked(request) for request in responses} != {origin}):
        # What names another session than the checkpoint's was asked in a branch that an earlier run began.
        session_id, checkpoint_id = _session_of(responses, session_id), None
    if said is None and session_id is None and checkpoint_id is None:
        raise UsageError("nothing to do: give a message, responses, or the session_id to resume")
    try:
        values = checked(state or {})
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"state is a mapping of names to JSON values: {error}") from None
    given = checked_id(session_id if session_id is not None else new_id() if origin is None else origin)
    given_to = said and UserSaid(said, target or "", values)
    return Order(given, given_to, responses or {}, dict(settings or {}), checkpoint_id)


def position_of(checkpoint_id: object) -> tuple[str, int]:
    """The session of a checkpoint, and after how many of its facts it is."""
    session_id, _, seq = checkpoint_id.rpartition("@") if isinstance(checkpoint_id, str) else ("", "", "")
    if not session_id or not re.fullmatch("[1-9][0-9]{0,15}", seq, re.ASCII):
        raise UsageError(
            f"{checkpoint_id!r} is no checkpoint, which is SESSION@SEQ; storage.list_checkpoints() gives those where "
            "sessions rested, each with its checkpoint_id"
        )
    return session_id, int(seq)


def _session_asked(request: str) -> str:
    return request.rpartition("/")[0] if isinstance(request, str) else ""  # pyright: ignore[reportUnnecessaryIsInstance]


def _session_of(responses: Mapping[str, Any], session_id: str | None) -> str:
    sessions = {_session_asked(request) for request in responses}
    if session_id is not None:
        sessions.add(session_id)
    if len(sessions) != 1 or "" in sessions:
        raise UsageError(
            "responses are given by request id, as in event.request_id, and all for one session; "
            f"got {', '.join(map(repr, responses)) or 'none'}"
            + (f" for session {session_id!r}" if session_id is not None else "")
        )
    return sessions.pop()
