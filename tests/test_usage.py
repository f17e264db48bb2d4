"""What a conversation took, and when that is enough."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayline import (
    Agent,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    ReplyInfo,
    SessionNotFound,
    UsageError,
    WorkflowRunState,
    tool,
    views,
)
from relayline.clients.prices import list_price
from relayline.events import Entry, HandoffSent, Replied, TurnStarted
from relayline.messages import Message
from relayline.middleware import spending
from relayline.testing import FakeClock, ScriptedClient, call, handoff_to
from relayline.usage import Usage, usage_of


@tool(repeatable=True)
def look() -> str:
    """Look."""
    return "seen"


def info(given: int, taken: int, cached: int = 0, model: str = "openai:gpt-5-mini") -> ReplyInfo:
    return ReplyInfo(model, given, taken, cached_tokens=cached)


def cents(model: str, given: int, cached: int, taken: int) -> Decimal | None:
    """A price list of one: a cent a token in, nothing for cached ones, two a token out."""
    return Decimal(given - cached + 2 * taken) / 100 if model == "openai:gpt-5-mini" else None


async def test_a_session_says_what_it_took_by_agent_handoff_and_call() -> None:
    """Also what was cached, and what summing up took; the parts add up to the whole, to the cent."""
    scribe = ScriptedClient(["They ask.", info(30, 3)])
    client = ScriptedClient(
        {
            "front": [[handoff_to("desk"), info(10, 1)]],
            "desk": [[call("look"), info(20, 2, 5)], ["Seen.", info(40, 4, 20)], ["Yes.", info(50, 5)]],
        }
    )
    agents = [
        client.as_agent("front", description="Greets."),
        client.as_agent("desk", description="Helps.", tools=[look]),
    ]
    builder = HandoffBuilder(participants=agents).add_handoff("front", "desk", view=views.summary(scribe))
    workflow = builder.with_terminal_agents(["desk"]).build()
    await workflow.run("hi", session_id="s")
    await workflow.run("sure?", session_id="s")
    usage = await workflow.usage("s", cents)
    assert [(each.agent, each.source, each.usage.input_tokens) for each in usage.calls] == [
        ("front", "user", 10),
        ("desk", "front", 30),
        ("desk", "front", 20),
        ("desk", "front", 40),
        ("desk", "front", 50),
    ]
    assert usage.total == Usage(5, 150, 25, 15, Decimal("1.55"))
    assert usage.by_agent["front"] == Usage(1, 10, 0, 1, Decimal("0.12"))
    assert sum(usage.by_edge.values(), Usage()) == sum(usage.by_agent.values(), Usage()) == usage.total
    with pytest.raises(SessionNotFound):
        await workflow.usage("nobody")


async def test_a_model_without_a_price_is_named() -> None:
    """So that nobody takes a part for the whole; tokens are counted all the same."""
    client = ScriptedClient(["One.", info(10, 1, model="local:tiny")], ["Two.", info(10, 1)], "Three.")
    workflow = HandoffBuilder(participants=[client.as_agent("desk")]).build()
    for words in ("a", "b", "c"):
        await workflow.run(words, session_id="s")
    total = (await workflow.usage("s", cents)).total
    assert (total.cost, total.input_tokens, total.unpriced) == (Decimal("0.12"), 20, {"local:tiny"})


def test_list_prices_are_those_of_a_maintained_list() -> None:
    """Cached tokens cost less, and a model that is not on the list has no price."""
    plain, cached = list_price("openai:gpt-5-mini", 1000, 0, 100), list_price("openai:gpt-5-mini", 1000, 900, 100)
    assert plain is not None
    assert cached is not None
    assert 0 < cached < plain
    assert list_price("openai:no-such-model", 1, 0, 1) is None
    assert list_price("ollama:tiny", 1, 0, 1) is None
    assert list_price("", 1, 0, 1) is None


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.integers(0, 10**6), st.integers(0, 10**6)),
        max_size=20,
    )
)
def test_the_parts_always_add_up(turns: list[tuple[str, str, int, int]]) -> None:
    """By agent, by model, by handoff and call by call: exactly the total."""
    clock, entries = FakeClock(), list[Entry]()
    for number, (source, agent, given_tokens, taken) in enumerate(turns, 1):
        reply = Replied(
            number, Message("assistant", (), agent), "openai:gpt-5-mini", given_tokens, taken, given_tokens // 3
        )
        for fact in (HandoffSent(number, source, agent), TurnStarted(number, agent), reply):
            entries.append(Entry(len(entries) + 1, clock(), fact))
    usage = usage_of(entries, cents)
    for parts in (usage.by_agent, usage.by_model, usage.by_edge):
        assert sum(parts.values(), Usage()) == usage.total
    assert usage.total.cost == sum((each.usage.cost for each in usage.calls), Decimal(0))


async def test_a_budget_of_money_stops_before_the_next_call_and_goes_on_when_run_again() -> None:
    """It counts from the user's last message, or from where it last ran out, also after a restart."""
    client = ScriptedClient(
        [call("look"), info(50, 0)], [call("look"), info(60, 0)], [call("look"), info(100, 0)], "Done."
    )
    store = InMemoryCheckpointStorage()
    builder = HandoffBuilder(participants=[client.as_agent("desk", tools=[look])]).with_checkpointing(store)
    stopped = await builder.with_middleware(spending(1, cents)).build().run("hi", session_id="s")
    assert stopped.state is WorkflowRunState.STOPPED
    assert stopped.stopped
    assert (stopped.stopped.budget, stopped.stopped.message) == ("money", "the models took 1.1 of 1 US dollars")
    again = builder.build()  # another process
    assert (await again.run(session_id="s")).stopped
    assert (await again.run(session_id="s")).text == "Done."


def test_a_budget_of_nothing_is_refused() -> None:
    """At build, as brackets that were forgotten are."""
    for odd in (0, -1, "1"):
        with pytest.raises(UsageError, match=r"as in spending\(0\.50\)"):
            spending(odd)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="as in spending"):
        HandoffBuilder(participants=[Agent("desk")]).with_middleware(spending).build()  # type: ignore[arg-type]
