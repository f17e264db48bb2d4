"""Promise 10 for stores: in memory and on disk, the same journals, whatever is done with them."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayline import (
    FileCheckpointStorage,
    InMemoryCheckpointStorage,
    RelaylineError,
    SqliteCheckpointStorage,
    StoreError,
)
from relayline.events import Compacted, Fact, UserSpoke
from relayline.journal.store import Store
from relayline.messages import Media, Message
from relayline.testing import FakeClock
from tests.strategies import facts

Make = Callable[[Path], Store]


@pytest.fixture(scope="module", params=["file", "sqlite", "postgresql"])
def make(request: pytest.FixtureRequest) -> Make:
    """Opens the store that goes by a place; two that go by the same one keep the same."""
    match request.param:
        case "file":
            return lambda place: FileCheckpointStorage(place / "store", FakeClock())
        case "sqlite":
            return lambda place: SqliteCheckpointStorage(place / "store.db", FakeClock())
        case _:
            from relayline.journal.postgres import PostgresCheckpointStorage

            dsn = request.getfixturevalue("postgres").new_database()
            return lambda place: PostgresCheckpointStorage(dsn, FakeClock(), schema=place.name)


pictures = st.integers(0, 3).map(
    lambda number: UserSpoke(Message("user", (Media.from_bytes(bytes([number]) * 4_000, "image/png"),)))
)
batches = st.lists(facts | pictures, min_size=1, max_size=4)


@given(written=st.lists(batches, min_size=1, max_size=4))
def test_what_memory_takes_every_store_takes_and_gives_back(
    make: Make, tmp_path_factory: pytest.TempPathFactory, written: Sequence[list[Fact]]
):
    """Any facts in any batches: the same entries, from the store that wrote them and from one that is opened anew."""

    async def compare(place: Path) -> None:
        memory = InMemoryCheckpointStorage(FakeClock())
        async with aclosing(make(place)) as store, aclosing(make(place)) as again:
            after = 0
            for batch in written:
                try:
                    wanted = await memory.append("s", batch, after=after)
                except StoreError:
                    with pytest.raises(StoreError):
                        await store.append("s", batch, after=after)
                    continue
                assert await store.append("s", batch, after=after) == wanted
                after = wanted[-1].seq
            kept = await memory.read("s")
            assert await store.read("s") == kept
            assert await again.read("s") == kept
            for entry in kept[:: max(len(kept) // 3, 1)]:
                assert await again.read("s", after=entry.seq) == await memory.read("s", after=entry.seq)
                assert await again.read("s", upto=entry.seq) == await memory.read("s", upto=entry.seq)

    place = tmp_path_factory.mktemp("store_")
    asyncio.run(compare(place))
    shutil.rmtree(place)


keys = st.sampled_from(["a", "b", "c"])
places = st.integers(0, 12)
Do = Callable[[Store], Awaitable[object]]

done: st.SearchStrategy[tuple[str, Do]] = st.one_of(
    st.builds(lambda key, batch: ("append", lambda store: _to_the_end(store, key, batch)), keys, batches),
    st.builds(
        lambda key, batch, after: ("append after", lambda store: store.append(key, batch, after=after)),
        keys, batches, places,
    ),
    st.builds(
        lambda key, other, upto: ("fork", lambda store: store.fork(key, other, upto=upto)), keys, keys, places
    ),
    st.builds(lambda key, other: ("restore", lambda store: _restored(store, key, other)), keys, keys),
    st.builds(lambda key, upto: ("cut", lambda store: store.cut(key, Compacted(upto, "t", "f"))), keys, places),
    st.builds(lambda key: ("delete", lambda store: store.delete(key)), keys),
    st.builds(lambda key, why: ("hold", lambda store: store.hold(key, why)), keys, st.sampled_from(["", "case 12"])),
)  # fmt: skip


async def _to_the_end(store: Store, key: str, batch: list[Fact]) -> object:
    ends = {each.session_id: each.seq for each in await store.sessions()}
    return await store.append(key, batch, after=ends.get(key, 0))


async def _restored(store: Store, key: str, other: str) -> None:
    if entries := await store.read(key):
        await store.restore(other, entries)


async def _came_of(do: Do, store: Store) -> str:
    try:
        await do(store)
    except RelaylineError as error:
        return f"{type(error).__name__}: {error}"
    return "done"


async def _all(store: Store) -> list[object]:
    """Everything a store says but the times, as clocks are not looked at equally often."""
    return [
        (each.session_id, each.seq, each.parent, each.shared, each.held,
         [(entry.seq, entry.fact) for entry in await store.read(each.session_id)])
        for each in await store.sessions()
    ]  # fmt: skip


@given(steps=st.lists(done, min_size=1, max_size=12))
def test_whatever_is_done_to_a_store_it_stands_as_memory_does(
    make: Make, tmp_path_factory: pytest.TempPathFactory, steps: Sequence[tuple[str, Do]]
):
    """Appends, branches, cuts, deletions and holds in any order: the same outcome of each, and the same sessions after it."""

    async def compare(place: Path) -> None:
        memory = InMemoryCheckpointStorage(FakeClock())
        async with aclosing(make(place)) as store, aclosing(make(place)) as again:
            for number, (name, do) in enumerate(steps):
                one = (store, again)[number % 2]
                assert await _came_of(do, one) == await _came_of(do, memory), name
                assert await _all(store) == await _all(memory), name
            assert await _all(again) == await _all(memory)

    place = tmp_path_factory.mktemp("store_")
    asyncio.run(compare(place))
    shutil.rmtree(place)
