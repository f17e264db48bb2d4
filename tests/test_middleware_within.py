"""Middleware of a team is around what the teams within it do, at any depth."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from relayline import (
    ChatClient,
    ChatRequest,
    ConcurrentBuilder,
    ModelError,
    ProviderError,
    ReplyInfo,
    SequentialBuilder,
    Workflow,
    WorkflowRunState,
    tool,
)
from relayline.machine.effects import CallModel, Effect, RunTool
from relayline.machine.inputs import EffectFailed, Input, ModelReplied
from relayline.messages import ToolCall
from relayline.middleware import Middleware, deadline, retry, spending
from relayline.runtime.perform import Context, Perform
from relayline.testing import ScriptedClient, assert_replays, call

BUSY = ProviderError("busy", 429)


@tool(repeatable=True)
def look_up(order: int) -> str:
    """Look an order up."""
    return f"order {order}"


def nested(client: ChatClient, outer=(), middle=(), inner=()) -> Workflow:
    """first, desk (refunds (checker))"""
    checker = client.as_agent("checker", tools=[look_up])
    refunds = SequentialBuilder(name="refunds", participants=[checker]).with_middleware(*inner).build()
    desk = SequentialBuilder(name="desk", participants=[refunds.as_agent()]).with_middleware(*middle).build()
    members = [client.as_agent("first"), desk.as_agent()]
    return SequentialBuilder(name="shop", participants=members).with_middleware(*outer).build()


def noting(name: str, seen: list[tuple[str, ...]]) -> Middleware:
    def around(perform: Perform) -> Perform:
        async def noted(effect: Effect, context: Context) -> Input:
            seen.append((name, type(effect).__name__, getattr(effect, "agent", ""), effect.id, context.session.id))
            outcome = await perform(effect, context)
            assert outcome.effect == effect.id  # type: ignore[union-attr]
            return outcome

        return noted

    return around


async def test_the_outer_ones_are_around_the_inner_ones() -> None:
    """Each is told of calls of models and tools as if its team made them, of whom by the path from there; all of them
    under one id, that nothing else in the session has.
    """
    seen: list[tuple[str, ...]] = []
    client = ScriptedClient({"first": ["Hi."], "checker": [call("look_up", order=7), "Fine."]})
    made = [[noting(name, seen)] for name in ("shop", "desk", "refunds")]
    result = await nested(client, *made).run("Go.", session_id="s")
    assert result.text == "Hi.\nFine."
    assert seen == [
        ("shop", "CallModel", "first", "t1-s1", "s"),
        ("shop", "CallModel", "desk/refunds/checker", "t2w1w1-s1", "s"),
        ("desk", "CallModel", "refunds/checker", "t2w1w1-s1", "s/t2"),
        ("refunds", "CallModel", "checker", "t2w1w1-s1", "s/t2/t1"),
        ("shop", "RunTool", "desk/refunds/checker", "t2w1w1-s1-c0", "s"),
        ("desk", "RunTool", "refunds/checker", "t2w1w1-s1-c0", "s/t2"),
        ("refunds", "RunTool", "checker", "t2w1w1-s1-c0", "s/t2/t1"),
        ("shop", "CallModel", "desk/refunds/checker", "t2w1w1-s2", "s"),
        ("desk", "CallModel", "refunds/checker", "t2w1w1-s2", "s/t2"),
        ("refunds", "CallModel", "checker", "t2w1w1-s2", "s/t2/t1"),
    ]


@pytest.mark.parametrize("level", [0, 1, 2], ids=["shop", "desk", "refunds"])
async def test_a_retry_at_any_level_tries_the_call_again(level: int) -> None:
    """And its words count as those of the next attempt."""
    around = [[], [], []]
    around[level] = [retry(3, wait=0)]
    workflow = nested(ScriptedClient({"first": ["Hi."], "checker": [["F", BUSY], BUSY, "Fine."]}), *around)
    events = [event async for event in workflow.run("Go.", session_id="s", stream=True)]
    words = [(event.data, event.attempt) for event in events if event.type == "message_delta"]
    assert words == [("Hi.", 1), ("F", 1), ("Fine.", 3)]
    assert_replays(await workflow.store.read("s"))


async def test_retries_at_two_levels_multiply() -> None:
    """Two of two are four attempts."""
    client = ScriptedClient({"first": ["Hi."], "checker": [BUSY] * 3 + ["Fine."]})
    assert (await nested(client, [retry(2, wait=0)], [retry(2, wait=0)]).run("Go.")).text == "Hi.\nFine."


class Silent(ChatClient):
    """First greets, and the checker never replies."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[str]:
        if request.agent.name == "checker":
            await asyncio.Event().wait()
        yield "Hi."


async def test_a_deadline_is_for_all_of_them() -> None:
    """The run fails by the path of who did not reply."""
    with pytest.raises(ModelError, match=r"'desk/refunds/checker' failed: TimeoutError: no whole reply within 0\.01"):
        await nested(Silent(), [deadline(0.01)]).run("Go.")


class Costly(ChatClient):
    """Ten tokens a reply."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[str | ReplyInfo]:
        yield "Hi."
        yield ReplyInfo("m", 10, 0)


async def test_spending_counts_what_is_within() -> None:
    """For the outer team all of it, for the inner one its own."""

    def dollar(model: str, given: int, cached: int, taken: int) -> float:
        return given / 10

    client = Costly()
    desk = SequentialBuilder(name="desk", participants=[client.as_agent(each) for each in "ab"])
    team = SequentialBuilder(
        participants=[
            desk.with_middleware(spending(2, dollar)).build().as_agent(),
            client.as_agent("c"),
            client.as_agent("d"),
        ]
    )
    assert (await team.with_middleware(spending(4, dollar)).build().run("Go.")).stopped is None
    result = await team.with_middleware(spending(1, dollar)).build().run("Go.")
    assert (result.state, result.stopped and result.stopped.message) == (
        WorkflowRunState.STOPPED,
        "the models took 1.0 of 1 US dollars",
    )
    inner = desk.with_middleware(spending(1, dollar)).build().as_agent()
    workflow = SequentialBuilder(participants=[client.as_agent("c"), inner, client.as_agent("d")]).build()
    result = await workflow.run("Go.", session_id="s")
    assert (result.state, len(result.messages)) == (WorkflowRunState.STOPPED, 3)
    assert (await workflow.run(session_id="s")).state is WorkflowRunState.IDLE


async def test_what_a_middleware_makes_of_a_call_and_of_its_outcome_counts_at_every_depth() -> None:
    """Other arguments of a tool, another reply of a model."""

    def careful(perform: Perform) -> Perform:
        async def around(effect: Effect, context: Context) -> Input:
            if isinstance(effect, RunTool):
                effect = replace(effect, call=ToolCall(effect.call.id, effect.call.name, '{"order": 8}'))
            outcome = await perform(effect, context)
            if isinstance(outcome, ModelReplied) and not any(isinstance(part, ToolCall) for part in outcome.parts):
                outcome = replace(outcome, metadata={"by": effect.agent if isinstance(effect, CallModel) else ""})
            return outcome

        return around

    client = ScriptedClient({"first": ["Hi."], "checker": [call("look_up", order=7), "Fine."]})
    result = await nested(client, [careful]).run("Go.", session_id="s")
    (returned,) = [each for message in result.messages for each in message.tool_results]
    assert returned.content == "order 8"
    assert [dict(each.metadata) for each in result.messages if each.text and each.role == "assistant"] == [
        {"by": "first"},
        {"by": "desk/refunds/checker"},
    ]


async def test_teams_at_once_have_ids_of_their_own() -> None:
    """What is alike in two teams has an id of its own in each."""
    counts: Counter[str] = Counter()

    def failing_once(perform: Perform) -> Perform:
        async def around(effect: Effect, context: Context) -> Input:
            counts[effect.id] += 1
            if counts[effect.id] == 1:
                return EffectFailed(effect.id, "Busy", "busy", BUSY, model=True)
            return await perform(effect, context)

        return around

    client = ScriptedClient({"a": ["A"], "b": ["B"]})
    teams = [SequentialBuilder(name=f"of {each}", participants=[client.as_agent(each)]).build() for each in "ab"]
    team = ConcurrentBuilder(participants=[each.as_agent() for each in teams])
    result = await team.with_middleware(retry(2, wait=0), failing_once).build().run("Go.")
    assert [each.text for each in result.outputs] == ["A", "B"]
    assert sorted(counts.values()) == [2, 2]
