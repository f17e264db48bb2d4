"""The store in memory keeps the rules of every store, and `Workflow` keeps them with it."""

import asyncio

import pytest

from relayline import InMemoryCheckpointStorage, SequenceConflict
from relayline.events import Retried, UserSpoke
from relayline.messages import user
from relayline.testing import FakeClock, check_store


async def test_the_memory_store_keeps_the_rules_of_every_store():
    """`InMemoryCheckpointStorage` passes the conformance suite."""
    await check_store(InMemoryCheckpointStorage)


async def test_the_memory_store_takes_its_time_from_its_clock():
    """Entries carry the clock's time, and a session the times of its first and last fact."""
    clock = FakeClock()
    store = InMemoryCheckpointStorage(clock)
    first = clock.time
    await store.append("s", [Retried("a"), Retried("b")], after=0)
    (last,) = await store.append("s", [Retried("c")], after=2)
    (summary,) = await store.sessions()
    assert [entry.at for entry in await store.read("s")] == [first, first, last.at]
    assert (summary.started, summary.updated, summary.seq) == (first, last.at, 3)


async def test_the_order_of_sessions_is_the_order_of_writes_whatever_the_clock_says():
    """A clock that stands still or goes back does not change which session was written to last."""
    clock = FakeClock()
    store = InMemoryCheckpointStorage(clock)
    for key, after in (("a", 0), ("b", 0), ("a", 1)):
        await store.append(key, [Retried("x")], after=after)
        clock.advance(-2 * clock.step)
    assert [each.session_id for each in await store.sessions()] == ["b", "a"]


async def test_a_conflict_says_what_was_found_and_what_to_do():
    """The loser of a race learns how long the session is, that nothing was written, and to run again."""
    store = InMemoryCheckpointStorage()
    await store.append("s", [UserSpoke(user("hi"))], after=0)
    with pytest.raises(
        SequenceConflict, match=r"session 's' has 1 facts, not 0: .* Nothing was written here; run again"
    ):
        await store.append("s", [UserSpoke(user("me too"))], after=0)


async def test_two_stores_share_nothing():
    """Each store in memory is a world of its own."""
    one, other = InMemoryCheckpointStorage(), InMemoryCheckpointStorage()
    await asyncio.gather(*(store.append("s", [Retried("a")], after=0) for store in (one, other)))
    assert len(await one.read("s")) == len(await other.read("s")) == 1
