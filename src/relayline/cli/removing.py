"""Sessions deleted, compacted, held and let go of, by hand or by age."""

from collections.abc import Sequence
from datetime import timedelta

from relayline.cli.clean import one_line
from relayline.errors import SessionHeld, SessionNotFound
from relayline.history import Expired, Retention, compact, expire
from relayline.journal.store import Store
from relayline.messages import JSON


async def check_all(store: Store, session_ids: Sequence[str]) -> None:
    """Refuse to remove anything, if one of them cannot be.

    Raises:
        SessionNotFound, SessionHeld: which one, and why.
    """
    known = {each.session_id: each for each in await store.sessions()}
    for session_id in session_ids:
        if session_id not in known:
            raise SessionNotFound(f"there is no session {session_id!r} in this store; nothing was changed")
        if reason := known[session_id].held:
            raise SessionHeld(
                f"session {session_id!r} is held ({reason}), so nothing was changed; "
                "`relayline sessions release` and its id lift that"
            )


async def delete_all(store: Store, session_ids: Sequence[str]) -> None:
    """Delete them, one by one."""
    for session_id in session_ids:
        await store.delete(session_id)


async def held(store: Store, session_id: str, reason: str) -> None:
    """Hold a session, or release it."""
    await store.hold(session_id, reason)


async def compacted(store: Store, session_id: str, messages: int) -> int | None:
    """Forget all but the last ``messages`` messages; how many facts were forgotten, None if there was nothing to."""
    await check_all(store, [session_id])
    done = await compact(store, session_id, messages=messages)
    return None if done is None else done.upto


async def expired(store: Store, age: timedelta, keep: int | None, *, dry_run: bool) -> list[Expired]:
    """Delete what is older than ``age``; or compact it to ``keep`` messages, if that is given."""
    policy = Retention(delete_after=age) if keep is None else Retention(compact_after=age, keep_messages=keep)
    return await expire(store, policy, dry_run=dry_run)


def as_line(each: Expired, *, dry_run: bool) -> str:
    """What became of a session, or would."""
    fate = each.fate if each.fate == "kept" or not dry_run else f"would be {each.fate}"
    return f"{one_line(each.session_id)}  {fate}: {one_line(each.why)}"


def as_json(each: Expired, *, dry_run: bool) -> dict[str, JSON]:
    """The same for programs."""
    return {"session_id": each.session_id, "fate": each.fate, "why": each.why, "dry_run": dry_run}
