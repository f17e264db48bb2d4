"""What every fleet keeps, whoever dispatches its turns."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from relayline import (
    InMemoryCheckpointStorage,
    SessionNotFound,
    ToolContext,
    UsageError,
    Workflow,
    WorkflowRunState,
    tool,
)
from relayline.dispatch import Limits
from relayline.errors import RequestNotOpen
from relayline.events import Cancelled, Replied, UserSpoke
from relayline.testing import assert_replays
from tests.durable.conftest import Ground
from tests.durable.fleets import Calls, Echo, answered, gated, so, state, team, until, worker, working


async def test_messages_of_a_session_are_taken_in_their_order(ground: Ground):
    """Whoever of several workers is free, a session's messages are answered one after the other, in their order."""
    workflow = team(ground.store, Echo())
    caller = workflow.with_dispatcher(ground.dispatcher())
    async with working(*(worker(workflow.with_store(ground.open()), ground.dispatcher()) for _ in range(2))):
        for number in range(8):
            for session_id in "abc":
                await caller.submit(f"{session_id} {number}", session_id=session_id)
        for session_id in "abc":
            said = [each.text for each in await answered(caller, session_id, 8)]
            assert said == [
                text for number in range(8) for text in (f"{session_id} {number}", f"You said: {session_id} {number}")
            ]
            assert_replays(await ground.store.read(session_id))


async def test_a_message_submitted_twice_is_taken_once(ground: Ground):
    """Submitting a message once more changes nothing, while it waits and long after it was answered."""
    workflow = team(ground.store, Echo())
    caller = workflow.with_dispatcher(ground.dispatcher())
    await asyncio.gather(*(caller.submit("hi", session_id="s", message_id="m") for _ in range(5)))
    async with working(worker(workflow, ground.dispatcher()), worker(workflow, ground.dispatcher())):
        await asyncio.gather(*(caller.submit("hi", session_id="s", message_id="m") for _ in range(5)))
        await answered(caller, "s", 1)
        submitted = await caller.submit("hi", session_id="s", message_id="m")
        receipt = await caller.receipt(submitted)
        assert receipt is not None
        assert receipt.state == "taken"
        await caller.submit("bye", session_id="s")
        said = [each.text for each in await answered(caller, "s", 2)]
    assert said == ["hi", "You said: hi", "bye", "You said: bye"]


async def test_two_workers_at_one_turn_make_one_turn(ground: Ground):
    """Two that are made to run the same turn: one is on record, the other stops, and a keyed effect happens once."""
    both, begun = asyncio.Event(), Counter[str]()
    effects: dict[str, int] = {}

    @tool(repeatable=True)
    async def pay(amount: int, context: ToolContext) -> str:
        """Pay, under a key."""
        begun["pay"] += 1
        if begun["pay"] == 2:
            both.set()
        await both.wait()
        effects[context.idempotency_key] = amount
        return f"paid {amount}"

    first, second = (
        worker(team(ground.open(), Calls("pay", amount=7), tools=[pay]), ground.dispatcher()) for _ in "ab"
    )
    await team(ground.store, Echo()).submit("pay 7", session_id="s")
    one = asyncio.create_task(first.run_turn("s"))
    await until(lambda: so(begun["pay"] == 1))
    # What no lease stops: it is taken by force, as an engine does that believes the first worker dead.
    claim = await second.workflow.store.claim("s", second.name, team="desk", seconds=5, force=True)  # type: ignore[attr-defined]
    assert claim.attempt == 2
    other = asyncio.create_task(second.run_turn("s"))
    await asyncio.wait([one, other])
    assert one.exception() is None
    assert other.exception() is None
    entries = await ground.store.read("s")
    assert_replays(entries)
    assert effects == {next(iter(effects)): 7}
    assert [each.fact.message.text for each in entries if isinstance(each.fact, Replied)] == ["", "Done."]
    assert sum(isinstance(each.fact, UserSpoke) for each in entries) == 1


async def test_cancelling_stops_a_model_in_the_middle_of_a_reply(ground: Ground):
    """A reply that goes on for ever ends within two seconds, on record, and the next message is answered."""
    forever = asyncio.Event()

    async def gate(said: str) -> None:
        if said == "hang":
            await forever.wait()

    client = Echo(gate)
    workflow = team(ground.store, client)
    caller = workflow.with_dispatcher(ground.dispatcher())
    async with working(worker(workflow.with_store(ground.open()), ground.dispatcher())):
        await caller.submit("hang", session_id="s")
        await until(lambda: so(client.asked))
        queued = await caller.submit("me too", session_id="s")
        loop = asyncio.get_running_loop()
        begun = loop.time()
        assert await caller.cancel("s")
        await state(caller, "s", WorkflowRunState.CANCELLED)
        assert loop.time() - begun < 2.5
        receipt = await caller.receipt(queued)
        assert receipt is not None
        assert receipt.state == "refused"
        await caller.submit("still there?", session_id="s")
        said = [each.text for each in await answered(caller, "s", 2)]
    assert said == ["hang", "still there?", "You said: still there?"]
    assert sum(isinstance(each.fact, Cancelled) for each in await ground.store.read("s")) == 1


async def test_what_was_cancelled_goes_on_when_it_is_run_again(ground: Ground):
    """A cancelled reply is asked for again by whoever resumes the session."""
    gates = [asyncio.Event()]

    async def gate(_: str) -> None:
        await gates[0].wait()

    client = Echo(gate)
    workflow = team(ground.store, client)
    caller = workflow.with_dispatcher(ground.dispatcher())
    async with working(worker(workflow, ground.dispatcher())):
        await caller.submit("go", session_id="s")
        await until(lambda: so(client.asked))
        await caller.cancel("s")
        await state(caller, "s", WorkflowRunState.CANCELLED)
        gates[0].set()
        await caller.submit(session_id="s")
        said = [each.text for each in await answered(caller, "s", 1)]
    assert said == ["go", "You said: go"]


async def test_paused_sessions_hold_nothing_and_outlive_everybody(ground: Ground):
    """Sessions that wait for a person are nobody's work; with all workers and the engine gone and others there they are answered."""
    workflow = gated(ground.store)
    caller = workflow.with_dispatcher(ground.dispatcher())
    ids = [f"s{number}" for number in range(ground.many)]
    async with working(worker(workflow, ground.dispatcher()), worker(workflow, ground.dispatcher())) as _:
        for session_id in ids:
            await caller.submit("refund, please", session_id=session_id)
        for session_id in ids:
            await state(caller, session_id, WorkflowRunState.IDLE_WITH_PENDING_REQUESTS)
    if ground.engine is not None:
        await asyncio.to_thread(ground.engine.restart)
    late = gated(ground.store)
    caller = late.with_dispatcher(ground.dispatcher())
    for session_id in ids:
        await caller.submit(responses={f"{session_id}/r1": session_id != "s7"})
    async with working(worker(late, ground.dispatcher()), worker(late, ground.dispatcher())):
        for session_id in ids:
            await state(caller, session_id, WorkflowRunState.IDLE)
    for session_id in ids:
        results = (await caller.session(session_id)).conversation[2].tool_results
        assert [each.outcome for each in results] == ["refused" if session_id == "s7" else "done"]


async def test_an_answer_that_comes_second_is_refused(ground: Ground):
    """Of two answers to one request the first counts; whoever gave the second can see why theirs did not."""
    workflow = gated(ground.store)
    caller = workflow.with_dispatcher(ground.dispatcher())
    async with working(worker(workflow, ground.dispatcher())):
        await caller.submit("refund, please", session_id="s")
        await state(caller, "s", WorkflowRunState.IDLE_WITH_PENDING_REQUESTS)
    first = await caller.submit(responses={"s/r1": True})
    second = await caller.submit(responses={"s/r1": False})
    async with working(worker(workflow, ground.dispatcher())):
        await state(caller, "s", WorkflowRunState.IDLE)
        await until(lambda: _settled(caller, second))
    receipts = [await caller.receipt(each) for each in (first, second)]
    assert [each and each.state for each in receipts] == ["taken", "refused"]
    assert "not waiting for an answer" in receipts[1].problem  # type: ignore[union-attr]
    with pytest.raises(RequestNotOpen, match="already answered"):
        await caller.submit(responses={"s/r1": True})


async def _settled(workflow: Workflow, submitted: Any) -> bool:
    receipt = await workflow.receipt(submitted)
    return receipt is not None and receipt.state != "waiting"


async def test_a_request_expires_by_itself(ground: Ground):
    """Nobody has to run a session for the time of what it asks to be over."""
    workflow = gated(ground.store, approvals=0.3)
    caller = workflow.with_dispatcher(ground.dispatcher())
    async with working(worker(workflow, ground.dispatcher())):
        await caller.submit("refund, please", session_id="s")
        await state(caller, "s", WorkflowRunState.IDLE)
    assert (await caller.session("s")).conversation[2].tool_results[0].outcome == "refused"


async def test_a_message_for_later_is_taken_then(ground: Ground):
    """A reminder is taken when its time has come, and what is said before is answered before."""
    workflow = team(ground.store, Echo())
    caller = workflow.with_dispatcher(ground.dispatcher())
    async with working(worker(workflow, ground.dispatcher())):
        when = ground.store.now() + timedelta(seconds=1.5)
        await caller.submit("later", session_id="s", not_before=when)
        await caller.submit("now", session_id="s")
        await answered(caller, "s", 2)
    spoken = {
        each.fact.message.text: each.at for each in await ground.store.read("s") if isinstance(each.fact, UserSpoke)
    }
    assert spoken["now"] < when <= spoken["later"]


async def test_a_new_release_takes_up_what_the_old_one_was_at(ground: Ground):
    """A worker stops in the middle of a turn, and one of a later release of the team goes on with it."""
    never = asyncio.Event()

    async def gate(_: str) -> None:
        await never.wait()

    old_client = Echo(gate, "The old one says")
    old, new = team(ground.store, old_client), team(ground.store, Echo(says="The new one says"), instructions="New.")
    caller = old.with_dispatcher(ground.dispatcher())
    leaving = worker(old, ground.dispatcher())
    async with working(leaving):
        await caller.submit("hi", session_id="s")
        await until(lambda: so(old_client.asked))
        await leaving.stop(grace=0.05)
        async with working(worker(new, ground.dispatcher())):
            said = [each.text for each in await answered(caller, "s", 1)]
    assert said == ["hi", "The new one says: hi"]


async def test_what_a_dispatcher_forgot_is_found_again(ground: Ground):
    """With the data of whoever dispatches gone, every message is taken all the same."""
    workflow = team(ground.store, Echo())
    for number in range(20):
        await workflow.submit(f"m{number}", session_id=f"s{number}")  # nobody is told
    forgetful = ground.dispatcher()
    forgetful.quiet, forgetful.every = 0.3, 0.3
    async with working(worker(workflow, forgetful)):
        for number in range(20):
            said = [each.text for each in await answered(workflow, f"s{number}", 1)]
            assert said == [f"m{number}", f"You said: m{number}"]


async def test_no_more_sessions_are_at_work_than_there_is_room_for(ground: Ground):
    """Each worker, the fleet and every tenant keep to their number, and everybody gets their turn."""
    at_work, most = Counter[str](), Counter[str]()

    async def gate(said: str) -> None:
        most["here"] = max(most["here"], *(each.at_work for each in workers))
        for who in ("all", said):
            at_work[who] += 1
            most[who] = max(most[who], at_work[who])
        await asyncio.sleep(0.02)
        for who in ("all", said):
            at_work[who] -= 1

    workflow = team(ground.store, Echo(gate))
    for number in range(24):
        tenant = "big" if number % 4 else "small"
        await workflow.submit(tenant, session_id=f"s{number}", tenant=tenant)
    limits = Limits(here=2, sessions=3, per_tenant=2)
    workers = [worker(workflow.with_store(ground.open()), ground.dispatcher(), limits) for _ in range(2)]
    async with working(*workers):
        for number in range(24):
            await answered(workflow, f"s{number}", 1)
    assert most["here"] <= 2
    assert most["all"] <= 3
    assert most["big"] <= 2
    assert most["small"] <= 2


async def test_a_worker_is_stopped_without_a_trace(ground: Ground):
    """Stopped, a worker finishes what it is at and takes nothing new."""
    going = asyncio.Event()

    async def gate(_: str) -> None:
        await going.wait()

    client = Echo(gate)
    workflow = team(ground.store, client)
    caller = workflow.with_dispatcher(ground.dispatcher())
    leaving = worker(workflow, ground.dispatcher())
    async with working(leaving):
        await caller.submit("hi", session_id="s")
        await until(lambda: so(client.asked))
        stopping = asyncio.create_task(leaving.stop())
        await asyncio.sleep(0)
        await caller.submit("later", session_id="other")
        going.set()
        await stopping
        assert [each.text for each in (await caller.session("s")).conversation] == ["hi", "You said: hi"]
        with pytest.raises(SessionNotFound):
            await caller.session("other")
    async with working(worker(workflow, ground.dispatcher())):
        await answered(caller, "other", 1)


async def test_a_model_that_fails_leaves_the_session_to_be_retried(ground: Ground):
    """A failure is on record, the next message is taken, and what failed can be tried again."""
    failing = [True]

    async def gate(_: str) -> None:
        if failing[0]:
            raise ConnectionError("no route")

    workflow = team(ground.store, Echo(gate))
    caller = workflow.with_dispatcher(ground.dispatcher())
    async with working(worker(workflow, ground.dispatcher())):
        await caller.submit("hi", session_id="s")
        await state(caller, "s", WorkflowRunState.FAILED)
        failing[0] = False
        await caller.submit(session_id="s")
        said = [each.text for each in await answered(caller, "s", 1)]
    assert said == ["hi", "You said: hi"]


async def test_teams_on_one_store_keep_to_their_own(ground: Ground):
    """A worker does not touch what was submitted to another team; a message to another team's session is refused."""
    desk = team(ground.store, Echo())
    other = replace(desk, name="other", machine=replace(desk.machine, name="other"))
    async with working(worker(desk, ground.dispatcher())):
        await desk.submit("hi", session_id="s")
        await answered(desk, "s", 1)
        await other.submit("hi", session_id="t")
        wrong = await other.submit("hello", session_id="s")
        assert "t" in await ground.store.due("other")  # type: ignore[attr-defined]
    async with working(worker(other, ground.dispatcher("other")), worker(desk, ground.dispatcher())):
        await answered(other, "t", 1)
        await until(lambda: _settled(other, wrong))
    receipt = await other.receipt(wrong)
    assert receipt is not None
    assert receipt.state == "refused"
    assert "'desk'" in receipt.problem


async def test_a_run_on_a_fleet_is_told_like_any_other(ground: Ground):
    """Who runs a session on workers gets the events and the result that they would get without: numbered, in order."""

    async def told(workflow: Workflow) -> list[tuple[str, int | None, str]]:
        events: list[tuple[str, int | None, str]] = []
        for given in ({"message": "refund, please", "session_id": "s"}, {"responses": {"s/r1": True}}):
            run = workflow.run(**given, stream=True)
            async for event in run:
                if event.type != "message_delta":
                    events.append((event.type, event.seq, event.executor_id))
            result = await run
            events.append((result.state, len(result.messages), result.text))
        return events

    apart = gated(ground.store).with_store(InMemoryCheckpointStorage())
    workflow = gated(ground.store)
    async with working(worker(workflow, ground.dispatcher())):
        caller = workflow.with_dispatcher(ground.dispatcher())
        assert await told(caller) == await told(apart)
        with pytest.raises(RequestNotOpen):
            await caller.run(responses={"s/r1": True})


async def test_words_reach_those_who_watch(ground: Ground):
    """A watcher in another process hears an agent word by word, and what it joins late it still reads whole."""
    more = asyncio.Event()

    async def gate(_: str) -> None:
        await more.wait()

    workflow = team(ground.store, Echo(gate))
    watching = workflow.with_store(ground.open()) if ground.shares_words else workflow
    events: list[Any] = []
    async with working(worker(workflow, ground.dispatcher())):
        watched = watching.watch("s", stream=True, until_rest=True)
        first = asyncio.ensure_future(anext(watched))
        await until(lambda: so(ground.store.deltas._watchers or watching.store.deltas._watchers))  # type: ignore[attr-defined]
        await workflow.with_dispatcher(ground.dispatcher()).submit("hi", session_id="s")
        events.append(await first)
        async for event in watched:
            events.append(event)
            if event.type == "message_delta":
                more.set()
    kinds = [event.type for event in events]
    assert "message_delta" in kinds
    assert kinds[-2:] == ["executor_completed", "output"]
    assert "".join(event.data for event in events if event.type == "message_delta") in ("You said: ", "You said: hi")
    assert [event.seq for event in events if event.seq] == list(range(1, len(await ground.store.read("s")) + 1))


async def test_the_words_of_an_attempt_that_died_count_no_more(ground: Ground):
    """Who takes over a reply says its words under a higher number."""
    never = asyncio.Event()

    async def gate(_: str) -> None:
        await never.wait()

    events: list[Any] = []

    async def heard(_: str) -> None:
        await until(lambda: so(any(event.data == "Now: " for event in events)))

    first, second = team(ground.store, Echo(gate, "Never")), team(ground.store, Echo(heard, "Now"))
    caller = first.with_dispatcher(ground.dispatcher())

    async def follow() -> None:
        async for event in caller.watch("s", stream=True, until_rest=True):
            events.append(event)

    following = asyncio.create_task(follow())
    await until(lambda: so(ground.store.deltas._watchers))  # type: ignore[attr-defined]
    async with working(worker(first, ground.dispatcher(), lease=0.5)):
        await caller.submit("hi", session_id="s")
        await until(lambda: so(any(event.type == "message_delta" for event in events)))
    async with working(worker(second, ground.dispatcher())):
        await following
    attempts = {event.data: event.attempt for event in events if event.type == "message_delta"}
    assert attempts["Never: "] < attempts["Now: "]


async def test_what_makes_no_sense_is_refused_at_once(ground: Ground):
    """Who submits nonsense is told at once, as who runs it is, and nothing is kept."""
    workflow = team(ground.store, Echo())
    with pytest.raises(UsageError, match="nothing to do"):
        await workflow.submit()
    with pytest.raises(SessionNotFound):
        await workflow.submit(session_id="s")
    with pytest.raises(UsageError, match="no agent 'nobody'"):
        await workflow.submit("hi", to="nobody")
    with pytest.raises(UsageError, match="JSON values"):
        await workflow.submit("hi", session_id="s", settings={"a": object()})
    assert await ground.store.due("desk") == []  # type: ignore[attr-defined]
