"""Sessions whose team has teams in it that are not as they were."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from relayline import (
    Agent,
    ConcurrentBuilder,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    SequentialBuilder,
    UpgradeRefused,
    Workflow,
    WorkflowBuilder,
    WorkflowRunState,
    tool,
)
from relayline.assembled import TeamBuilder
from relayline.events import SessionStarted, TeamChanged
from relayline.journal.store import Store
from relayline.testing import Crash, Reply, ScriptedClient, assert_replays, call, crash_at, handoff_to
from relayline.upgrades import as_table

WAITING, IDLE = WorkflowRunState.IDLE_WITH_PENDING_REQUESTS, WorkflowRunState.IDLE


@tool(approval_mode="always_require")
def pay(order: int) -> str:
    """Pay it back."""
    return f"paid {order}"


@tool
def look(order: int) -> str:
    """Look at it."""
    return f"saw {order}"


def shop(store: Store, *replies: Reply, names="checker payer", tools: Sequence[Any] = (pay,), **taken: Any) -> Workflow:
    """front, desk (refunds, fraud (checker, payer)); ``taken``: by a team's name, its `with_upgrades`."""
    client = ScriptedClient(*replies)
    checker, *others = [
        client.as_agent(name, description=name, tools=tools if name in ("payer", "till") else ())
        for name in names.split()
    ]
    fraud = SequentialBuilder(name="fraud", participants=[checker, *others])
    fraud.with_upgrades(**taken.get("fraud", {}))
    refunds = client.as_agent("refunds", description="Money.")
    desk = HandoffBuilder(name="desk", participants=[refunds, fraud.build().as_agent(description="Looks closely.")])
    desk.add_handoff(refunds, "fraud").with_terminal_agents(["fraud"]).with_upgrades(**taken.get("desk", {}))
    members = [client.as_agent("front"), desk.build().as_agent(description="Money.")]
    outer = (
        HandoffBuilder(name="shop", participants=members).add_handoff("front", "desk").with_terminal_agents(["desk"])
    )
    return outer.with_upgrades(**taken.get("shop", {})).with_checkpointing(store).build()


PAID: tuple[Reply, ...] = (handoff_to("desk"), handoff_to("fraud"), "Looks fine.", call("pay", order=7))


async def at_the_payer() -> Store:
    """Session s: the payer, at depth three, waits for permission to pay."""
    store = InMemoryCheckpointStorage()
    assert (await shop(store, *PAID).run("Money!", session_id="s")).state is WAITING
    return store


CHANGES: dict[str, tuple[Callable[[Store], Workflow], list[str]]] = {
    "an agent": (
        lambda store: shop(store, names="checker till"),
        ["agent 'desk/fraud/payer' is gone", "agent 'desk/fraud/till' is new"],
    ),
    "a tool": (
        lambda store: shop(store, tools=[look]),
        ["'desk/fraud/payer' has no tool 'pay' any more", "'desk/fraud/payer' has a new tool 'look'"],
    ),
    "what is said of a tool": (
        lambda store: shop(store, tools=[tool(pay.function, name="pay")]),
        ["the tool 'pay' of 'desk/fraud/payer' asks nobody first any more"],
    ),
    "an order": (
        lambda store: shop(store, names="payer checker"),
        [
            "there is a new handoff from 'desk/fraud/payer' to 'desk/fraud/checker'",
            "there is no handoff from 'desk/fraud/checker' to 'desk/fraud/payer' any more",
            "'desk/fraud/payer' begins conversations, which 'desk/fraud/checker' did",
        ],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_differs_within_is_named_by_its_path(change: str) -> None:
    """At depth three; and it is on record once, before anything else."""
    changed, differences = CHANGES[change]
    store = await at_the_payer()
    workflow = changed(store)
    (report,) = await workflow.affected_sessions()
    assert list(report.differences) == differences
    with pytest.raises(UpgradeRefused) as refused:
        await shop(store, names="a", shop={"on_change": "refuse"}).run(session_id="s")
    assert "agent 'desk/fraud/a' is new" in refused.value.differences
    before = len(await store.read("s"))
    await workflow.with_client(ScriptedClient("Yes?", "Yes?"), override=True).run(session_id="s")
    await workflow.with_client(ScriptedClient("Yes?", "Yes?"), override=True).run("Hello?", session_id="s")
    facts = [entry.fact for entry in await store.read("s")]
    assert isinstance(facts[before], TeamChanged)
    assert sum(isinstance(fact, TeamChanged) for fact in facts) == 1
    assert_replays(await store.read("s"))


async def test_a_team_that_is_as_it_was_says_nothing() -> None:
    """Nothing is affected, and no fact is written."""
    store = await at_the_payer()
    assert [each.fate for each in await shop(store).affected_sessions()] == ["ok"]
    before = len(await store.read("s"))
    await shop(store).run(session_id="s")
    assert len(await store.read("s")) == before


async def test_a_team_within_may_refuse_what_concerns_it() -> None:
    """And only that: what changes around it is not its own."""
    store = await at_the_payer()
    strict = {"fraud": {"on_change": "refuse"}}
    with pytest.raises(UpgradeRefused, match="agent 'desk/fraud/till' is new") as refused:
        await shop(store, names="checker till", **strict).run(session_id="s")
    assert len(refused.value.differences) == 2
    assert (await shop(store, names="checker till", **strict).affected_sessions())[0].fate == "refused"
    client = ScriptedClient("Paid.")
    around = shop(store, desk={"on_change": "refuse"}, **strict)
    team = HandoffBuilder(name="shop", participants=[Agent("front"), Agent("new", "", "New."), around.agents[1]])
    result = (
        await team.add_handoff("front", ["desk", "new"])
        .with_checkpointing(store)
        .build()
        .with_client(client, override=True)
        .run(responses={"s/t2.t2.r1": True})
    )
    assert result.text == "Paid."


async def test_who_is_called_otherwise_within_goes_on_under_the_new_name() -> None:
    """Its request, its words and its tools; declared where it is."""
    store = await at_the_payer()
    renamed = {"renamed": {"payer": "till", "checker": "reader"}}
    (report,) = await shop(store, names="reader till", fraud=renamed).affected_sessions()
    assert (report.fate, report.differences) == ("remapped", ("'payer' is 'till' now", "'checker' is 'reader' now"))
    workflow = shop(store, "Paid.", names="reader till", fraud={**renamed, "on_change": "refuse"})
    events = [event async for event in workflow.run(responses={"s/t2.t2.r1": True})]
    told = {event.executor_id for event in events if event.type in ("tool_call", "tool_result", "message")}
    assert told == {"desk/fraud/till"}
    said = [each.author_name for each in (await workflow.session("s")).conversation if each.role == "assistant"]
    assert said == ["front", "refunds", "reader", "till", "till"]
    assert_replays(await store.read("s"))


async def test_a_team_within_a_session_that_rests_is_known_under_its_new_names() -> None:
    """The next message goes on with whoever had the last word in there."""
    store = InMemoryCheckpointStorage()

    def team(*replies: Reply, names: str, **taken: Any) -> Workflow:
        client = ScriptedClient(*replies)
        b, c = (client.as_agent(each, description=each) for each in names.split())
        inner = HandoffBuilder(name="inner", participants=[b, c]).add_handoff(b, c).with_terminal_agents([c])
        members = [client.as_agent("a"), inner.with_upgrades(**taken).build().as_agent(description="i")]
        outer = HandoffBuilder(name="o", participants=members).add_handoff("a", "inner").with_terminal_agents(["inner"])
        return outer.with_checkpointing(store).build()

    await team(handoff_to("inner"), handoff_to("c"), "One.", names="b c").run("1", session_id="s")
    renamed = team("Two.", names="b d", renamed={"c": "d"})
    events = [event async for event in renamed.run("2", session_id="s")]
    assert [event.executor_id for event in events if event.type == "message" and event.executor_id] == ["inner/d"]


async def test_what_waits_within_for_who_is_gone_is_withdrawn() -> None:
    """The call is told why, and whoever begins there takes over."""
    store = await at_the_payer()
    workflow = shop(store, "I see to it.", "Done.", names="checker till")
    (report,) = await workflow.affected_sessions()
    assert (report.fate, report.consequences) == (
        "goes_on",
        (
            "request 's/t2.t2.r1' is withdrawn",
            "the call of 'pay' is told: Not run: 'payer' is not in the team any more.",
            "the conversation goes from 'desk/fraud/payer' to 'desk/fraud/checker'",
        ),
    )
    assert "goes on       s" in as_table([report])
    result = await workflow.run(session_id="s")
    assert (result.state, [each.text for each in result.outputs]) == (IDLE, ["Done."])
    results = [each.content for message in result.messages for each in message.tool_results]
    assert results == ["Not run: 'payer' is not in the team any more."]


async def test_who_waits_within_to_get_it_back_is_gone() -> None:
    """Nobody waits any more, so the expert answers the user."""
    store = InMemoryCheckpointStorage()

    def team(client: ScriptedClient, *names: str) -> Workflow:
        members = [client.as_agent(each, description=each, tools=[pay]) for each in names]
        desk = HandoffBuilder(name="desk", participants=members)
        for each in names[:-1]:
            desk.add_handoff(each, "expert", returns="caller")
        whole = SequentialBuilder(name="shop", participants=[desk.build().as_agent()])
        return whole.with_checkpointing(store).build()

    client = ScriptedClient(handoff_to("expert"), call("pay", order=7))
    (request,) = (await team(client, "asker", "expert").run("Go.", session_id="s")).requests
    result = await team(ScriptedClient("Paid."), "other", "expert").run(responses={request.request_id: True})
    assert (result.text, result.state) == ("Paid.", IDLE)


async def test_a_team_is_gone_while_a_call_in_it_waits() -> None:
    """The call has its result, and the conversation is who handed over's."""
    store = await at_the_payer()
    client = ScriptedClient("I see to it.")
    team = HandoffBuilder(name="shop", participants=[client.as_agent("front"), client.as_agent("back")])
    events = [event async for event in team.with_checkpointing(store).build().run(session_id="s")]
    told = [event.data.text for event in events if event.type == "message" and event.executor_id == "front"]
    assert told == ["I see to it."]
    (result,) = [event.data for event in events if event.type == "tool_result"]
    assert (result.name, result.outcome) == ("pay", "withdrawn")
    assert [event.data.reason for event in events if event.type == "handed_back"] == [
        "desk is not in the team any more."
    ]
    assert_replays(await store.read("s"))


def kinds(pattern: str, store: Store, client: ScriptedClient, team: bool) -> TeamBuilder:
    """x, a team or an agent, after another or beside it."""
    made = SequentialBuilder(name="x", participants=[client.as_agent("in", tools=[pay])]).build().as_agent()
    x = made if team else client.as_agent("x", tools=[pay])
    members = [client.as_agent("first"), x, client.as_agent("last")]
    builders: dict[str, Callable[[], TeamBuilder]] = {
        "sequential": lambda: SequentialBuilder(name="k", participants=members),
        "concurrent": lambda: ConcurrentBuilder(name="k", participants=members[:2]).with_aggregator(members[2]),
        "graph": lambda: WorkflowBuilder(name="k", start_executor=members[0]).add_chain(members),
    }
    return builders[pattern]().with_checkpointing(store)


@pytest.mark.parametrize("pattern", ["sequential", "concurrent", "graph"])
@pytest.mark.parametrize("message", [None, "Hello?"])
@pytest.mark.parametrize("before", [True, False], ids=["was a team", "is a team"])
async def test_what_was_a_team_and_is_none_or_is_one_now(pattern: str, message: str | None, before: bool) -> None:
    """While a call waits in it: nothing is lost, and whoever has the name goes on."""
    store = InMemoryCheckpointStorage()
    client = ScriptedClient({"first": ["F"], "in": [call("pay", order=7)], "x": [call("pay", order=7)]})
    asked = await kinds(pattern, store, client, before).build().run("Go.", session_id="s")
    assert asked.state is WAITING
    client = ScriptedClient({"first": ["F"], "in": ["I"], "x": ["X"], "last": ["L"]})
    workflow = kinds(pattern, store, client, not before).build()
    (report,) = await workflow.affected_sessions()
    assert report.differences[-1] == ("'x' is no team any more" if before else "'x' is a team")
    result = await workflow.run(message, session_id="s")
    assert (result.state, result.text.splitlines()[-2:]) == (IDLE, ["X" if before else "I", "L"])
    calls = [each.id for m in result.conversation for each in m.tool_calls]
    results = [each.call_id for m in result.conversation for each in m.tool_results]
    assert sorted(calls) == sorted(results)
    assert_replays(await store.read("s"))


async def test_the_record_of_a_team_of_many_is_small() -> None:
    """Of what takes more than a kilobyte, all teams counted, there is a digest, and it is still known who changed."""

    def team(tools: Sequence[Any]) -> Workflow:
        def inner(number: int) -> Agent:
            agents = [Agent(f"agent {number}.{each}", tools=tools if each == 3 else ()) for each in range(20)]
            return SequentialBuilder(name=f"team {number}", participants=agents).build().as_agent()

        return SequentialBuilder(participants=[inner(number) for number in range(3)]).build()

    store = InMemoryCheckpointStorage()
    await team([pay, look]).with_store(store).with_client(ScriptedClient(*["Hi."] * 60)).run("Go.", session_id="s")
    first = (await store.read("s"))[0].fact
    assert isinstance(first, SessionStarted)
    assert first.roster
    assert first.roster.teams["team 1"].agents["agent 1.3"].startswith("pay") is False
    (report,) = await team([pay]).with_store(store).affected_sessions()
    assert report.differences == tuple(f"'team {n}/agent {n}.3' has other tools" for n in range(3))


async def test_what_is_a_team_now_goes_on_once_it_is_known_what_became_of_a_call() -> None:
    """A call that the agent of that name was cut off in is asked about, as any; then the team begins."""
    store = InMemoryCheckpointStorage()

    def team(client: ScriptedClient, *, inside: bool) -> SequentialBuilder:
        inner = SequentialBuilder(name="x", participants=[client.as_agent("in")]).build().as_agent()
        x = inner if inside else client.as_agent("x", tools=[look])
        return SequentialBuilder(name="k", participants=[x])

    crashing = team(ScriptedClient(call("look", order=7)), inside=False).with_checkpointing(crash_at(store, 3))
    with pytest.raises(Crash):
        await crashing.build().run("Go.", session_id="s")
    client = ScriptedClient("I see.")
    workflow = team(client, inside=True).with_checkpointing(store).build()
    (report,) = await workflow.affected_sessions()
    assert report.fate == "needs_person"
    (request,) = (await workflow.run(session_id="s")).requests
    result = await workflow.run(responses={request.request_id: "saw 7"})
    assert (result.state, result.text) == (IDLE, "I see.")
    assert_replays(await store.read("s"))
