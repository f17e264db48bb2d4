"""What may be spent in teams within teams, and who spent it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from relayline import (
    ChatClient,
    ChatRequest,
    ConcurrentBuilder,
    ExecutorContext,
    HandoffBuilder,
    InterruptedCallRequest,
    ReplyInfo,
    SequentialBuilder,
    Stopped,
    ToolCall,
    Workflow,
    WorkflowRunState,
    executor,
)
from relayline.testing import assert_replays

IDLE, STOPPED = WorkflowRunState.IDLE, WorkflowRunState.STOPPED
LEVELS = {"shop": 4, "desk": 3, "fraud": 2}
"""How many turns of agents each team has in all."""


class Handing(ChatClient):
    """Hands over if it can, and says its name if not; eleven tokens a reply."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[str | ToolCall | ReplyInfo]:
        if handoffs := [spec for spec in request.tools if spec.target]:
            yield ToolCall("1", handoffs[0].name, "{}")
        else:
            yield request.agent.name
        yield ReplyInfo("m", 10, 1)


def shop(last: Any = None, **budgets: dict[str, Any]) -> Workflow:
    """front, desk (refunds, fraud (checker, payer)); ``budgets``: of teams by their names."""
    client = Handing()
    members = [client.as_agent("checker"), client.as_agent("payer"), *([last] if last else [])]
    fraud = SequentialBuilder(name="fraud", participants=members).with_budget(**budgets.get("fraud", {})).build()
    within = [client.as_agent("refunds"), fraud.as_agent(description="Looks closely.")]
    desk = HandoffBuilder(name="desk", participants=within).add_handoff("refunds", "fraud")
    desk.with_terminal_agents(["fraud"]).with_budget(**budgets.get("desk", {}))
    whole = HandoffBuilder(
        name="shop", participants=[client.as_agent("front"), desk.build().as_agent(description="Money.")]
    )
    whole.add_handoff("front", "desk").with_terminal_agents(["desk"]).with_budget(**budgets.get("shop", {}))
    return whole.build()


PATHS = {"shop": "", "desk": "in desk: ", "fraud": "in desk/fraud: "}


@pytest.mark.parametrize("team", LEVELS)
async def test_turns_are_those_of_agents(team: str) -> None:
    """As many as there are are enough, at every depth; one less stops before the last, says whose budget it was, and
    goes on when the session is run again.
    """
    enough = LEVELS[team]
    assert (await shop(**{team: {"turns": enough}}).run("Go.")).state is IDLE
    workflow = shop(**{team: {"turns": enough - 1}})
    result = await workflow.run("Go.", session_id="s")
    assert (result.state, result.text) == (STOPPED, "checker")
    assert result.stopped == Stopped("turns", f"{PATHS[team]}the agents had their {enough - 1} turns")
    result = await workflow.run(session_id="s")
    assert (result.state, result.text) == (IDLE, "payer")
    assert_replays(await workflow.store.read("s"))


@pytest.mark.parametrize("team", LEVELS)
async def test_tokens_are_those_of_all_models_within(team: str) -> None:
    """As turns."""
    spent = LEVELS[team] * 11 - 11
    assert (await shop(**{team: {"tokens": spent + 1}}).run("Go.")).state is IDLE
    workflow = shop(**{team: {"tokens": spent}})
    result = await workflow.run("Go.", session_id="s")
    assert result.stopped == Stopped("tokens", f"{PATHS[team]}the models took {spent} tokens of {spent}")
    assert (await workflow.run(session_id="s")).state is IDLE


@pytest.mark.parametrize("team", LEVELS)
async def test_seconds_are_those_of_a_run(team: str) -> None:
    """What runs when they are over is cut off as by a crash, at every depth, and as many come with the next run."""

    @executor
    async def slow(text: str, context: ExecutorContext) -> str:
        await asyncio.Event().wait()
        return text

    workflow = shop(slow, **{team: {"seconds": 0.05}})
    result = await workflow.run("Go.", session_id="s")
    assert result.state is STOPPED
    assert result.stopped
    said = "the run had 0.05 seconds" if team == "shop" else f"{PATHS[team]}the team had 0.05 seconds in this run"
    assert result.stopped == Stopped("seconds", said)
    (request,) = (await workflow.run(session_id="s")).requests
    assert (request.executor_id, type(request.data)) == ("desk/fraud/slow", InterruptedCallRequest)
    assert (await workflow.run(responses={request.request_id: "done by hand"})).text == "done by hand"


async def test_seconds_of_a_team_are_over_though_nothing_in_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted from when it began in the run, also by effects that are done at once; each run has as many."""
    loop = asyncio.get_running_loop()
    ahead, real = [0.0], loop.time
    monkeypatch.setattr(loop, "time", lambda: real() + ahead[0])

    async def step(text: str) -> str:
        ahead[0] += 10  # so long it takes, by the clock that counts
        return f"{text}i"

    steps = [executor(step, name=f"step {number}", repeatable=True) for number in range(7)]
    inner = SequentialBuilder(name="inner", participants=steps).with_budget(seconds=25).build()
    workflow = SequentialBuilder(participants=[inner.as_agent()]).build()
    result = await workflow.run("H", session_id="s")
    assert result.stopped == Stopped("seconds", "in inner: the team had 25 seconds in this run")
    said = [result.conversation[-1].text]
    while result.stopped:
        result = await workflow.run(session_id="s")
        said.append(result.conversation[-1].text)
    assert said == ["Hiii", "Hiiiiii", "Hiiiiiii"]


async def test_a_team_beside_others_that_runs_out_stops_the_run() -> None:
    """And what the others were at goes on with the next."""
    client = Handing()
    one = SequentialBuilder(name="one", participants=[client.as_agent("a"), client.as_agent("b")])
    two = SequentialBuilder(name="two", participants=[client.as_agent("c"), client.as_agent("d")])
    members = [one.with_budget(turns=1).build().as_agent(), two.build().as_agent()]
    workflow = ConcurrentBuilder(participants=members).build()
    result = await workflow.run("Go.", session_id="s")
    assert result.stopped == Stopped("turns", "in one: the agents had their 1 turns")
    result = await workflow.run(session_id="s")
    assert [each.text for each in result.outputs] == ["b", "d"]
    assert_replays(await workflow.store.read("s"))


async def test_usage_is_by_path_and_knows_who_handed_over() -> None:
    """Whoever begins in a team was handed what the team was handed."""
    workflow = shop()
    await workflow.run("Go.", session_id="s")
    usage = await workflow.usage("s", lambda *_: 0)
    assert list(usage.by_agent) == ["front", "desk/refunds", "desk/fraud/checker", "desk/fraud/payer"]
    assert list(usage.by_edge) == [
        ("user", "front"),
        ("front", "desk/refunds"),
        ("desk/refunds", "desk/fraud/checker"),
        ("user", "desk/fraud/payer"),
    ]
    assert usage.total.input_tokens == 40
