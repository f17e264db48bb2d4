"""Engines that lose their data, or are swapped for one another: what there is to do is in the store."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from relayline import Workflow, WorkflowRunState
from relayline.cli.worker import engine as dispatcher_for
from relayline.dispatch import Limits
from relayline.events import TurnStarted
from relayline.journal.opening import open_store
from relayline.journal.postgres import PostgresCheckpointStorage
from relayline.testing import assert_replays
from tests.durable.conftest import ENGINES, Ground, dispatchers_of
from tests.durable.fleets import Echo, answered, gated, so, state, team, until, worker, working
from tests.kills.desk import team as desk
from tests.kills.fleet import FOLDER, RELEASE, SLOW
from tests.kills.suite import amid_a_turn
from tests.kills.workers import Engine, of_server, workers

IDS = [f"s{number}" for number in range(8)]


async def submit_all(workflow: Workflow, ids: Sequence[str] = IDS) -> None:
    for session_id in ids:
        await workflow.submit(f"hi, {session_id}", session_id=session_id, message_id="m")


async def all_answered(workflow: Workflow) -> None:
    """Every message is, once."""
    for session_id in IDS:
        said = [each.text for each in await answered(workflow, session_id, 1)]
        assert said == [f"hi, {session_id}", f"You said: hi, {session_id}"]
        assert_replays(await workflow.store.read(session_id))


@pytest.mark.parametrize("ground", ENGINES, indirect=True)
async def test_an_engine_that_lost_all_its_data_loses_no_message(ground: Ground):
    """The server dies and begins with nothing, while a turn goes on and others wait: every message is answered, once; new ones, too."""
    go_on = asyncio.Event()
    client = Echo(lambda _: go_on.wait())
    workflow = team(ground.store, client)
    caller = workflow.with_dispatcher(ground.dispatcher())
    assert ground.engine is not None
    async with working(worker(workflow, ground.dispatcher(), Limits(here=1))):
        await submit_all(caller, IDS[1:])
        await until(lambda: so(client.asked))
        await asyncio.to_thread(ground.engine.begin_anew)
        await submit_all(caller, IDS[:1])
        go_on.set()
        await all_answered(workflow)
    assert len(client.asked) <= len(IDS) + 1  # what was in the air


@pytest.mark.parametrize(
    ("old", "new"), [("restate", "temporal"), ("temporal", "restate"), ("restate", "local"), ("local", "temporal")]
)
async def test_one_engine_is_swapped_for_another(request: pytest.FixtureRequest, dsn: str, old: str, new: str):
    """Workers on another engine answer what those on the first one left; that, back again, does nothing twice."""
    store = PostgresCheckpointStorage(dsn)
    before, after = dispatchers_of(request, old)(""), dispatchers_of(request, new)("")
    client = Echo(lambda _: asyncio.Event().wait())
    stuck, workflow = team(store, client), team(store, Echo())
    async with working(worker(stuck, before, Limits(here=1))):
        await submit_all(stuck.with_dispatcher(before))
        await until(lambda: so(client.asked))
    async with working(worker(workflow, after)):
        await all_answered(workflow)
    async with working(worker(workflow, before)):
        await workflow.with_dispatcher(before).submit("and now?", session_id=IDS[-1])
        await answered(workflow, IDS[-1], 2)
    for session_id in IDS[:-1]:
        assert len((await workflow.session(session_id)).conversation) == 2
    for each in (before, after, store):
        await each.aclose()


@pytest.mark.parametrize("ground", ENGINES, indirect=True)
async def test_what_is_for_later_is_the_engines_to_remember(ground: Ground):
    """A reminder is taken, and a request expires, without anybody looking into the store for what is due."""
    workflow, asking = team(ground.store, Echo()), gated(ground.store, approvals=0.5)
    never_looks, nor_this = ground.dispatcher(), ground.dispatcher("other")
    never_looks.quiet = nor_this.quiet = 3600.0
    async with working(worker(workflow, never_looks), worker(asking, nor_this)):
        await asking.with_dispatcher(nor_this).submit("refund, please", session_id="asks")
        when = ground.store.now() + timedelta(seconds=1)
        await workflow.with_dispatcher(never_looks).submit("later", session_id="s", not_before=when)
        await answered(workflow, "s", 1)
        await state(asking, "asks", WorkflowRunState.IDLE)


@pytest.mark.parametrize("kind", ["sqlite", *ENGINES])
async def test_a_new_release_goes_on_with_the_turn_of_one_that_was_killed(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
):
    """A worker dies in the middle of a reply, the next one has a later release of the team, and the turn is done by that."""
    where = str(tmp_path / "s.db") if kind == "sqlite" else request.getfixturevalue("dsn")
    engine = of_server(request.getfixturevalue(kind)) if kind in ENGINES else Engine("local")
    store, dispatcher = open_store(where), dispatcher_for(engine.word, "desk")
    caller = desk(store, tmp_path).with_dispatcher(dispatcher)

    async def begun() -> bool:
        return any(isinstance(each.fact, TurnStarted) for each in await store.read("s"))

    async with workers("tests.kills.fleet:desk", where, engine, tmp_path) as working:
        old = await working.start(**{FOLDER: str(tmp_path), SLOW: "600"})
        await caller.submit("Message 1.", session_id="s")
        await until(begun)
        await working.kill(old)
        await working.start(**{FOLDER: str(tmp_path), RELEASE: "1"})
        await state(caller, "s", WorkflowRunState.IDLE_WITH_PENDING_REQUESTS)
        await working.stop()
    entries = await store.read("s")
    assert_replays(entries)
    assert sum(amid_a_turn("s", entries, each) for each in entries) == 1
    await dispatcher.aclose()
    await store.aclose()
