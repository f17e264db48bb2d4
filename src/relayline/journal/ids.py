"""What a session is called."""

import uuid
from unicodedata import category

from relayline.errors import UsageError


def new_id() -> str:
    """A name that no other session has."""
    return f"session-{uuid.uuid4().hex[:12]}"


def checked_id(session_id: object) -> str:
    """``session_id``, if a session can be called so.

    Raises:
        UsageError: it is no string, empty, or holds control characters.
    """
    if isinstance(session_id, str) and session_id and session_id.isprintable():
        return session_id  # as nearly all are, at a twentieth of the cost
    if not isinstance(session_id, str) or not session_id or any(category(each) in ("Cc", "Cs") for each in session_id):
        raise UsageError(f"a session id is a string without control characters, and not empty; got {session_id!r:.200}")
    return session_id
