"""Branches and their differences, without a team."""

from pathlib import Path

import pytest

from relayline import InMemoryCheckpointStorage, SessionNotFound, UsageError
from relayline.events import Entry, Fact, Forked, Retried, SessionStarted, TurnStarted, UserSpoke
from relayline.history import Diff, compact, diff, export_session, fork, import_session
from relayline.journal.store import Store
from relayline.messages import user
from relayline.testing import FakeClock

FIRST: list[Fact] = [SessionStarted("team", "f"), UserSpoke(user("Hi.")), TurnStarted(1, "ann")]


async def session(name: str = "s") -> Store:
    """A session of two batches, 1 to 3 and 4 to 6."""
    store = InMemoryCheckpointStorage(FakeClock())
    await store.append(name, FIRST, after=0)
    await store.append(name, [Retried(""), UserSpoke(user("And?")), Retried("")], after=3)
    return store


async def seqs(store: Store, session_id: str) -> list[int]:
    return [each.seq for each in await store.read(session_id)]


async def test_a_branch_begins_at_the_end_unless_told_otherwise():
    """Under a name of its own, if none is given."""
    store = await session()
    name = await fork(store, "s")
    assert name.startswith("session-")
    assert (await store.read(name))[-1].fact == Forked("s", 6)


@pytest.mark.parametrize(("at", "begins"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)])
async def test_a_branch_begins_where_the_session_stood_or_beside_a_message(at: int, begins: int):
    """Beside a message of the user's it begins exactly there, in the middle of a batch."""
    store = await session()
    assert (await store.read(await fork(store, "s", at=at)))[-1].fact == Forked("s", begins)


async def test_within_a_batch_it_begins_at_the_last_position_before():
    """What was written together is one step, and half a step was never taken."""
    store = InMemoryCheckpointStorage(FakeClock())
    await store.append("s", FIRST, after=0)
    await store.append("s", [Retried(str(number)) for number in range(4)], after=3)
    assert [(await store.read(await fork(store, "s", at=at)))[-1].fact for at in (4, 5, 6)] == [Forked("s", 3)] * 3


async def test_what_cannot_be_branched_is_refused():
    """A session that is not there, a position it has not, a name that is taken or none; nothing was begun."""
    store = await session()
    with pytest.raises(SessionNotFound, match="no session 'nobody'"):
        await fork(store, "nobody")
    for at in (0, -1, 7):
        with pytest.raises(UsageError, match=f"session 's' has the facts 1 to 6; {at} is no position in it"):
            await fork(store, "s", at=at)
    with pytest.raises(UsageError, match="there is a session 's' already; choose another name"):
        await fork(store, "s", at=3, branch="s")
    with pytest.raises(UsageError, match="without control characters"):
        await fork(store, "s", branch="a\nb")
    assert [each.session_id for each in await store.sessions()] == ["s"]


async def test_a_compacted_session_has_a_branch_from_what_is_left():
    """Its positions begin with what stands for the forgotten."""
    store = await session()
    await compact(store, "s", messages=1)
    assert await seqs(store, "s") == [4, 5, 6]
    assert await seqs(store, await fork(store, "s", at=4)) == [4, 5]
    with pytest.raises(UsageError, match="has the facts 4 to 6; 3 is no position"):
        await fork(store, "s", at=3)


# --- diff


async def test_two_branches_have_their_past_in_common():
    """What each has of its own begins with how it branched off."""
    store = await session()
    for name, at in (("a", 3), ("b", 2)):
        await fork(store, "s", at=at, branch=name)
        await store.append(name, [UserSpoke(user(f"in {name}"))], after=at + 1)
    found = await diff(store, "a", "b")
    assert found.common == 2
    assert [each.seq for each in found.one] == [3, 4, 5]
    assert [each.fact for each in found.other] == [Forked("s", 2), UserSpoke(user("in b"))]
    against_the_original = await diff(store, "a", "s")
    assert (against_the_original.common, len(against_the_original.other)) == (3, 3)


async def test_a_session_does_not_differ_from_itself_nor_from_its_copy():
    """Nor from one that ends where it ends, as long as one was taken in from the other."""
    store = await session()
    assert await diff(store, "s", "s") == Diff(6, [], [])
    await store.restore("t", await store.read("s"))
    assert await diff(store, "s", "t") == Diff(6, [], [])


async def test_strangers_have_nothing_in_common():
    """However alike they begin: their facts have other times."""
    store = await session()
    await store.append("t", FIRST, after=0)
    found = await diff(store, "s", "t")
    assert (found.common, len(found.one), len(found.other)) == (0, 6, 3)
    with pytest.raises(SessionNotFound):
        await diff(store, "s", "nobody")


@pytest.mark.parametrize("which", ["s", "b", "both"])
async def test_what_was_compacted_counts_as_in_common(which: str):
    """In one of them or in both; what is left of it is compared."""
    store = await session()
    await fork(store, "s", branch="b")
    for name in ("s", "b"):
        await store.append(name, [UserSpoke(user(f"in {name}"))], after=6 + (name == "b"))
        if which in (name, "both"):
            await compact(store, name, messages=2)
    found = await diff(store, "s", "b")
    assert (found.common, [each.seq for each in found.one], [each.seq for each in found.other]) == (6, [7], [7, 8])


async def test_a_session_that_was_compacted_to_where_they_part_has_nothing_in_common():
    """What cannot be compared is not said to be alike."""
    store = await session()
    await store.append("t", [*FIRST, *FIRST[1:]], after=0)
    await compact(store, "t", messages=1)
    found = await diff(store, "s", "t")
    assert (found.common, len(found.one), len(found.other)) == (0, 6, 3)


async def test_a_branch_outlives_what_it_branched_off(tmp_path: Path):
    """Deleted or exported: it is whole without it."""
    store = await session()
    await fork(store, "s", at=3, branch="b")
    entries: list[Entry] = await store.read("b")
    await store.delete("s")
    await export_session(store, "b", tmp_path / "b.jsonl")
    other = InMemoryCheckpointStorage()
    await import_session(other, tmp_path / "b.jsonl")
    assert await store.read("b") == await other.read("b") == entries
