"""Reviews and the questions of functions have a time by which they are answered, and so has what waits in teams within."""

from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relayline import (
    ConcurrentBuilder,
    ExecutorContext,
    HandoffBuilder,
    HumanAgent,
    InMemoryCheckpointStorage,
    RequestNotOpen,
    SequentialBuilder,
    Workflow,
    WorkflowRunState,
    executor,
    tool,
)
from relayline.assembled import LONGEST, TeamBuilder
from relayline.durable.local import Local
from relayline.events import Answered, Finished, Warned, innermost
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.runtime.session import existing
from relayline.testing import FakeClock, ScriptedClient, assert_replays, call
from tests.durable.fleets import state, until, worker, working

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
IDLE, WAITING = WorkflowRunState.IDLE, WorkflowRunState.IDLE_WITH_PENDING_REQUESTS


@executor
async def ask(text: str, context: ExecutorContext) -> str:
    """Ask how many."""
    return f"{await context.request_info('how many?', int)} of {text}"


@tool(approval_mode="always_require")
def pay(order: int) -> str:
    """Pay it back."""
    return f"paid {order}"


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still until it is moved."""
    return FakeClock(step=timedelta(0))


def built(builder: TeamBuilder, clock: FakeClock) -> Workflow:
    return builder.with_checkpointing(InMemoryCheckpointStorage(clock)).build()


def kept(workflow: Workflow, clock: FakeClock) -> Workflow:
    return workflow.with_store(InMemoryCheckpointStorage(clock))


async def facts(workflow: Workflow) -> list[object]:
    entries = await workflow.store.read("s")
    assert_replays(entries)
    return [innermost(entry.fact) for entry in entries]


def reviewed(client: ScriptedClient) -> TeamBuilder:
    members = [client.as_agent("writer"), client.as_agent("printer")]
    return SequentialBuilder(participants=members).with_request_info(["writer"]).with_request_expiry(reviews=HOUR)


def asking(client: ScriptedClient) -> TeamBuilder:
    members = [ask, client.as_agent("printer")]
    return SequentialBuilder(participants=members).with_request_expiry(functions=HOUR)


@pytest.mark.parametrize("kind", [reviewed, asking])
async def test_what_nobody_answers_ends_the_conversation(kind, clock: FakeClock) -> None:
    """Nothing goes on unseen or unknown; a late answer is refused and says so; a later message begins anew."""
    client = ScriptedClient({"writer": ["A draft.", "Another."], "printer": ["Never."]})
    workflow = built(kind(client), clock)
    (request,) = (await workflow.run("Go.", session_id="s")).requests
    clock.advance(HOUR)
    assert (await workflow.run(session_id="s")).state is WAITING
    clock.advance(timedelta(seconds=1))
    with pytest.raises(RequestNotOpen, match="the time to answer request 's/r1' is over"):
        await workflow.run(responses={request.request_id: True if kind is reviewed else 3})
    assert (await workflow.run(session_id="s")).state is IDLE
    assert (await facts(workflow))[-1] == Finished("expired")
    assert Answered("r1", "expired") in await facts(workflow)
    assert (await workflow.run("Again.", session_id="s")).state is WAITING


@pytest.mark.parametrize("policy", ["partial", "all"])
async def test_a_branch_whose_question_nobody_answers(policy: str, clock: FakeClock) -> None:
    """Where the others go on without one that fails, it is the one that failed; else all of it ends."""
    client = ScriptedClient({"b": ["B"], "sum": ["S"]})
    builder = ConcurrentBuilder(
        participants=[ask, client.as_agent("b")], **{"on_failure": policy} if policy == "partial" else {}
    )
    workflow = built(builder.with_aggregator(client.as_agent("sum")).with_request_expiry(functions=HOUR), clock)
    assert (await workflow.run("Go.", session_id="s")).state is WAITING
    clock.advance(DAY)
    result = await workflow.run(session_id="s")
    assert result.state is IDLE
    if policy == "partial":
        assert result.text == "No answer: Nobody answered in time.\nB\nS"
        assert Warned("participant_failed", "Nobody answered in time.", "ask") in await facts(workflow)
    else:
        assert (await facts(workflow))[-1] == Finished("expired")


async def test_a_review_in_a_branch_that_nobody_does(clock: FakeClock) -> None:
    """The words are kept, and nobody goes on from them."""
    client = ScriptedClient({"a": ["A"], "b": ["B"]})
    builder = ConcurrentBuilder(participants=[client.as_agent("a"), client.as_agent("b")], on_failure="partial")
    builder.with_aggregator(client.as_agent("sum")).with_request_info(["a"]).with_request_expiry(reviews=HOUR)
    workflow = built(builder, clock)
    await workflow.run("Go.", session_id="s")
    clock.advance(DAY)
    result = await workflow.run(session_id="s")
    assert (result.state, [each.text for each in result.conversation]) == (IDLE, ["Go.", "A", "B"])
    assert (await facts(workflow))[-1] == Finished("expired")


def deep(client: ScriptedClient, *, inner=None, middle=None, outer=None) -> TeamBuilder:
    """first, one (two (payer, ask, jo, reviewed)), last"""
    members = [client.as_agent("payer", tools=[pay]), ask, client.as_agent("reviewed")]
    two = SequentialBuilder(name="two", participants=members).with_request_info(["reviewed"])
    two.with_request_expiry(**inner or {})
    one = SequentialBuilder(name="one", participants=[two.build().as_agent(), HumanAgent("jo")])
    one.with_request_expiry(**middle or {})
    whole = SequentialBuilder(participants=[client.as_agent("first"), one.build().as_agent(), client.as_agent("last")])
    return whole.with_request_expiry(**outer or {})


@pytest.mark.parametrize(
    ("said", "hours"),
    [
        ({"outer": {"functions": HOUR}}, 1),
        ({"middle": {"functions": HOUR}, "outer": {"functions": 3 * HOUR}}, 1),
        ({"inner": {"functions": 3 * HOUR}, "middle": {"functions": HOUR}}, 3),
        ({"inner": {"functions": HOUR}}, 1),
        ({"inner": {"approvals": HOUR, "reviews": HOUR}, "outer": {"questions": HOUR}}, None),
    ],
)
async def test_in_a_team_within_its_own_time_counts_then_that_around_it(said, hours, clock: FakeClock) -> None:
    """At depth three; what nobody says waits for ever."""
    client = ScriptedClient({"first": ["F"], "payer": ["P"]})
    workflow = built(deep(client, **said), clock)
    await workflow.run("Go.", session_id="s")
    for hour in range(5):
        waits = (await workflow.run(session_id="s")).state is WAITING
        assert waits is (hours is None or hour <= hours), hour
        clock.advance(HOUR - timedelta(seconds=1) if hour == 0 else HOUR)
        if hour == 0:
            clock.advance(timedelta(seconds=1))
    if hours is not None:
        assert (await facts(workflow))[-1] == Finished("expired")
        assert "last" not in {each.agent.name for each in client.requests}


async def test_an_approval_and_a_person_within_that_nobody_answers(clock: FakeClock) -> None:
    """The call counts as refused there, and the inner team goes on; a person whom nobody handed over to ends it all."""
    client = ScriptedClient({"first": ["F"], "payer": [call("pay", order=7), "Not paid."], "reviewed": ["R"]})
    workflow = built(deep(client, outer={"approvals": HOUR, "people": HOUR}), clock)
    await workflow.run("Go.", session_id="s")
    clock.advance(DAY)
    (request,) = (await workflow.run(session_id="s")).requests
    assert client.requests[-1].messages[-1].tool_results[0].content == "Not run: nobody decided about it in time."
    (request,) = (await workflow.run(responses={request.request_id: 3})).requests
    (request,) = (await workflow.run(responses={request.request_id: True})).requests
    assert request.executor_id == "one/jo"
    clock.advance(DAY)
    assert (await workflow.run(session_id="s")).state is IDLE
    assert (await facts(workflow))[-1] == Finished("expired")


async def test_a_team_beside_others_whose_question_nobody_answers(clock: FakeClock) -> None:
    """Its turn comes to nothing, and the others go on, where that is the policy."""
    client = ScriptedClient({"asker": ["Which?"], "b": ["B"]})
    asker, other = client.as_agent("asker", description="a"), client.as_agent("other", description="o")
    desk = HandoffBuilder(name="desk", participants=[asker, other]).with_request_expiry(questions=HOUR).build()
    workflow = built(
        ConcurrentBuilder(participants=[desk.as_agent(), client.as_agent("b")], on_failure="partial"), clock
    )
    assert (await workflow.run("Go.", session_id="s")).state is WAITING
    clock.advance(DAY)
    result = await workflow.run(session_id="s")
    assert (result.state, [each.text for each in result.outputs]) == (
        IDLE,
        ["No answer: Nobody answered in time.", "B"],
    )


def shop(desk: str, client: ScriptedClient, **taken: Any) -> Workflow:
    """An hour for approvals, in a team within that may be called otherwise."""
    inner = HandoffBuilder(name="inner", participants=[client.as_agent("clerk", tools=[pay])]).build()
    outer = SequentialBuilder(name="shop", participants=[inner.as_agent(desk)]).with_request_expiry(approvals=HOUR)
    return outer.with_upgrades(**taken).build()


async def test_a_team_within_that_is_called_otherwise_now_has_no_more_time(clock: FakeClock) -> None:
    """An approval that is overdue there is taken neither by a run nor by a fleet, and the call does not run."""
    workflow = kept(shop("desk", ScriptedClient(call("pay", order=7))), clock)
    (request,) = (await workflow.run("Go.", session_id="s")).requests
    clock.advance(DAY)
    client = ScriptedClient("Not paid.")
    renamed = shop("office", client, renamed={"desk": "office"}).with_store(workflow.store)
    for taken in (renamed.run, renamed.submit):
        with pytest.raises(RequestNotOpen, match="the time to answer request 's/t1.r1' is over"):
            await taken(responses={request.request_id: True})
    await renamed.run(session_id="s")
    assert client.requests[-1].messages[-1].tool_results[0].content == "Not run: nobody decided about it in time."
    assert Answered("r1", "expired") in await facts(renamed)


async def test_the_timers_of_a_team_within_that_is_called_otherwise_now_are_set(clock: FakeClock) -> None:
    """Also where nothing has said yet that the team has changed."""
    workflow = kept(shop("desk", ScriptedClient(call("pay", order=7))), clock)
    await workflow.run("Go.", session_id="s")
    renamed = shop("office", ScriptedClient(), renamed={"desk": "office"})
    session = await existing("s", renamed.machine, workflow.store)
    assert session.deadlines() == {"t1.r1": clock.time + HOUR}


async def test_the_longest_time_there_is_can_be_counted_to(tmp_path: Path) -> None:
    """A worker sets its timer, on disk too."""
    store = SqliteCheckpointStorage(tmp_path / "s.db")
    client = ScriptedClient(call("pay", order=7))
    builder = HandoffBuilder(name="desk", participants=[client.as_agent("clerk", tools=[pay])])
    workflow = builder.with_request_expiry(approvals=LONGEST).with_checkpointing(store).build()
    async with aclosing(store), working(worker(workflow, Local())):
        await workflow.submit("Go.", session_id="s")
        await state(workflow, "s", WAITING)
        await until(lambda: store.receipt("s", "expiry of r1"))


async def test_on_a_fleet_they_expire_by_themselves() -> None:
    """Also at depth three, with the time of the team within."""
    client = ScriptedClient({"first": ["F"], "payer": ["P"]})
    workflow = deep(client, inner={"functions": 0.05}).with_checkpointing(InMemoryCheckpointStorage()).build()
    async with working(worker(workflow, Local())):
        await workflow.submit("Go.", session_id="s")
        await state(workflow, "s", IDLE)
    assert (await facts(workflow))[-1] == Finished("expired")


@pytest.mark.parametrize("given", ["reviews", "functions"])
def test_a_time_that_cannot_be_meant_is_told(given: str) -> None:
    """As for the others."""
    with pytest.raises(Exception, match="RL108 a request expires after 0"):
        SequentialBuilder(participants=[ask]).with_request_expiry(**{given: 0}).build()
