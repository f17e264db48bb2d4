"""From every position of any journal, also in the middle of what was written together, a branch can begin."""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayline.events import Entry, Fact, Forked, Stopped
from relayline.history import fork
from relayline.journal.checkpoints import standing, state_after
from relayline.journal.codec import encode
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import InMemoryCheckpointStorage, Store
from relayline.machine.effects import CallModel, effects
from relayline.machine.fold import evolve, fold
from relayline.machine.inputs import Resumed, UserSaid
from relayline.machine.state import State
from relayline.messages import user
from relayline.runtime.session import Session
from relayline.runtime.stream import Narrator, WorkflowEvent, WorkflowRunState, pending, run_state
from relayline.runtime.watch import watch
from relayline.testing import FakeClock
from tests.properties.test_providers import Rough, judge
from tests.properties.worlds import World, machines

STEPS = 12
"""How far a branch is followed."""

moments = st.sets(st.integers(1, 60), max_size=3)
worlds = st.builds(
    Rough, machines(), st.integers(0, 2**32), st.integers(0, 9), moments, moments, careless=st.booleans()
)


def journal(world: World) -> list[Entry]:
    """What the world wrote, each batch at a time of its own."""
    clock, entries = FakeClock(), list[Entry]()
    for batch in world.batches:
        at = clock()
        entries += [Entry(len(entries) + number, at, fact) for number, fact in enumerate(batch, 1)]
    return entries


def branch(world: World, state: State) -> World:
    """Another play of the same team, from a state on."""
    other = Rough(world.machine, world.seed, 1)
    other.state = state
    return other


def go_on(world: World) -> None:
    """Follow a world for some steps; at none of them it waits for nothing and nobody."""
    for _ in range(STEPS):
        assert_not_wedged(world.state)
        wanted = effects(world.state)
        if wanted:
            # A person is never asked as a model is.
            assert not any(isinstance(each, CallModel) and each.agent in world.machine.people for each in wanted)
            world.commit(world.perform(wanted[0]))
        elif world.state.failure or isinstance(world.state.rest, Stopped):
            world.commit(Resumed())
        elif not world.answer():
            break
    for call, state in world.calls:
        judge(world, call, state)


def assert_not_wedged(state: State) -> None:
    stands = run_state(state)
    assert stands is not WorkflowRunState.IN_PROGRESS or effects(state), "in progress, and nobody is at work or asked"


@given(worlds)
@settings(max_examples=40)
def test_a_branch_from_every_position_answers_a_new_message(world: World) -> None:
    """Wherever it begins, the user is heard, and every request that follows is one that providers accept."""
    for state in _branches(world.play(2)):
        other = branch(world, state)
        other.commit(UserSaid(user("and now?")))
        assert other.state.transcript[-1].text == "and now?"
        assert not other.state.rest
        assert effects(other.state) or [each.ask for each in other.state.requests.values()] == ["reply"]
        go_on(other)


@given(worlds)
@settings(max_examples=40)
def test_a_branch_from_every_position_can_be_resumed(world: World) -> None:
    """It goes on, waits for somebody, or rests; and every request that follows is one that providers accept."""
    for state in _branches(world.play(2)):
        other = branch(world, state)
        other.commit(Resumed())
        go_on(other)


def _branches(world: World) -> list[State]:
    """How a branch from each position begins, as a process finds it."""
    entries = journal(world)
    stands = {standing("s", entries, entry.seq) for entry in entries}
    states, state = list[State](), State()
    for entry in entries:
        state = evolve(state, entry.fact)
        assert pending("s", state) is not None  # it can be looked at, wherever
        if entry.seq in stands:
            states.append(evolve(state, Forked("s", entry.seq)))
    return states


@given(worlds)
def test_a_branch_begins_where_the_session_stood_or_beside_a_message(world: World) -> None:
    """At a batch's end exactly there; else no later, and with nothing but whole batches and messages of the user's."""
    entries = journal(world.play(2))
    ends = [sum(map(len, world.batches[: number + 1])) for number in range(len(world.batches))]
    for seq in range(1, len(entries) + 1):
        begins = standing("s", entries, seq)
        assert begins <= seq
        assert begins == seq or seq not in ends
        assert begins >= max([1, *(end for end in ends if end <= seq)])
        if seq < len(entries) and entries[seq].fact.type == "user_spoke":
            assert begins == seq, "a message cannot be replaced"


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@given(world=worlds)
@settings(max_examples=8)
def test_branches_see_neither_each_other_nor_what_came_after(kind: str, world: World) -> None:
    """Two from each position, in a real store: each has its own future, and the original is as it was, byte for byte."""
    world.play(1)

    async def check(store: Store) -> None:
        for batch, end in _ends(world.batches):
            await store.append("s", batch, after=end - len(batch))
        original = await store.read("s")
        futures: dict[str, Sequence[Entry]] = {}
        for seq in range(1, len(original) + 1):
            names = [await fork(store, "s", at=seq, branch=f"{seq}{side}") for side in "ab"]
            begins = standing("s", original, seq)
            for name in names:
                entries = await store.read(name)
                assert [*entries[:-1]] == original[:begins]
                assert entries[-1].fact == Forked("s", begins)
                said = UserSaid(user(f"in {name}"))
                decision = world.machine.decide(state_after(name, entries), said)
                futures[name] = [*entries, *await store.append(name, decision.facts, after=begins + 1)]
        for name, entries in futures.items():
            assert await store.read(name) == entries
            assert fold(each.fact for each in entries).transcript[-1].text == f"in {name}"
        kept = await store.read("s")
        assert [encode(each.fact) for each in kept] == [encode(each.fact) for each in original]
        assert kept == original

    _with_store(kind, check)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@given(world=worlds)
@settings(max_examples=15)
def test_a_watcher_sees_what_the_caller_of_the_run_sees(kind: str, world: World) -> None:
    """From the beginning and from every position on: the same events, but for those without a number."""
    world.play(2)

    async def check(store: Store) -> None:
        told: list[WorkflowEvent] = []

        async def emit(event: WorkflowEvent) -> None:
            told.append(event)

        session = Session("s", world.machine, store)
        narrator = Narrator(session, emit)
        for batch, end in _ends(world.batches):
            entries = await store.append("s", batch, after=end - len(batch))
            session.state = fold(batch, session.state)
            await narrator.tell(entries)
        for after in {0, 1, len(told) // 2, len(told) - 1}:
            seen = [
                event
                async for event, _ in _counted(
                    watch(Session("s", world.machine, store), after, until_rest=False, stream=False),
                    len(told) - after,
                )
            ]
            assert seen == told[after:]

    _with_store(kind, check)


async def _counted(events, count: int):
    """So many of the events; a watcher waits for more."""
    number = 0
    async for event in events:
        number += 1
        yield event, number
        if number == count:
            break
    await events.aclose()


def _ends(batches: Sequence[Sequence[Fact]]):
    """Each batch, and the number of its last fact."""
    end = 0
    for batch in batches:
        end += len(batch)
        yield batch, end


def _with_store(kind: str, check) -> None:
    async def run() -> None:
        if kind == "memory":
            await check(InMemoryCheckpointStorage(FakeClock()))
            return
        with tempfile.TemporaryDirectory() as folder:
            store = SqliteCheckpointStorage(Path(folder) / "s.db", FakeClock())
            try:
                await check(store)
            finally:
                with suppress(Exception):
                    await store.aclose()

    asyncio.run(run())
