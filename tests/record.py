"""Records the journals in tests/recorded: real runs, kept for ever, so that every later release proves it reads them.

A new fact, field or rule deserves a new scenario here. Then, from the root of the repository::

    python -m tests.record

writes what is missing for the version in pyproject.toml and touches nothing that is there. A file of a release is never
deleted or written again; one that was never released may be.
"""

import asyncio
import sys
import tomllib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from relayline import (
    NOT_DONE,
    ConcurrentBuilder,
    ExecutorContext,
    HandoffAgentUserRequest,
    HandoffBuilder,
    HumanAgent,
    InMemoryCheckpointStorage,
    Media,
    Message,
    ModelError,
    NotDone,
    ReplyInfo,
    SequentialBuilder,
    Text,
    ToolContext,
    executor,
    tool,
)
from relayline.journal.store import Store
from relayline.machine.compaction import compacted
from relayline.machine.inputs import Cancel
from relayline.machine.limits import Budget
from relayline.messages import ToolCall
from relayline.runtime.session import Session
from relayline.testing import Crash, FakeClock, Reply, ScriptedClient, call, crash_at, handoff_to, record
from relayline.views import summary
from relayline.workflow import Workflow

ROOT = Path(__file__).parent.parent
FOLDER = Path(__file__).parent / "recorded"
SESSION = "recorded"


@dataclass
class Order:
    """What the desk has to know."""

    order: int


@tool(repeatable=True)
def look_up(order: int) -> dict[str, Any]:
    """Look an order up."""
    return {"order": order, "state": "sent", "to": "Zoë 👩🏽‍🚀"}


@tool(approval_mode="always_require")
def refund(order: int, amount: float = 10.0) -> str:
    """Give money back."""
    return f"{amount:.2f} for order {order}"


@tool
def ship(order: int) -> None:
    """Send an order."""
    if order < 0:
        raise LookupError(f"there is no order {order}")


@tool(repeatable=True)
def escalate(order: int, context: ToolContext) -> str:
    """Let a person look at it."""
    del context.state["draft"]
    context.state["order"] = order
    context.handoff("jo", "wants a person", {"order": order})
    return "noted"


def team(store: Store, client: ScriptedClient, until: Callable[[Sequence[Message]], bool] | None = None) -> Workflow:
    """The team of every recording: triage, orders, and an archive that hands over to nobody."""
    triage = client.as_agent("triage", "Find out what it is about.")
    orders = client.as_agent("orders", "Look after orders.", "knows orders", [look_up, refund, ship])
    archive = client.as_agent("archive", "File it.", "files things")
    builder = HandoffBuilder(name="support", participants=[triage, orders, archive])
    builder.add_handoff(triage, [orders, archive]).add_handoff(orders, [triage, archive]).with_checkpointing(store)
    return (builder.with_termination_condition(until) if until else builder).build()


def script(**replies: Sequence[Reply]) -> ScriptedClient:
    return ScriptedClient(replies)


async def handoff(store: Store) -> None:
    """A chat that is handed over, asks the user, is handed back, and ends with the agent that hands over to nobody."""
    informed = ReplyInfo("a-model", 120, 17, {"score": 0.5, "tags": ["ä", None, True]})
    client = script(
        triage=[["One moment. ", handoff_to("orders", reason="wants to know ♥")], handoff_to("archive")],
        orders=[[call("look_up", order=7), informed], "It was sent.\n\0 Anything else?", handoff_to("triage")],
        archive=["Filed.", "It is on file."],
    )
    flow = team(store, client)
    await flow.run(Message("user", (Text("Where is order 7?"),), "Zoë", {"channel": "web"}), session_id=SESSION)
    await flow.run("No, thank you. File it.", session_id=SESSION)
    await flow.run("Did you?", session_id=SESSION)
    client.assert_done()


async def approval(store: Store) -> None:
    """One reply with an ordinary call, two gated ones and two handoffs; a person approves one and refuses the other."""
    client = script(
        triage=[handoff_to("orders"), "All done?"],
        orders=[
            [
                "I will see to it.",
                call("look_up", order=7),
                call("refund", order=7, amount=100),
                handoff_to("triage", reason="paid"),
                call("refund", order=8),
                handoff_to("archive"),
            ]
        ],
    )
    flow = team(store, client)
    first, second = (await flow.run("Pay me back.", session_id=SESSION)).requests
    less = first.data.create_response(approved=True, reason="up to 50", arguments={"order": 7, "amount": 50})
    await flow.run(responses={first.request_id: less})
    await flow.run(responses={second.request_id: second.data.create_response(approved=False, reason="not his")})
    client.assert_done()


async def interruption(store: Store) -> None:
    """Two tools are cut off; the harmless one runs again, and a person says what became of the other: twice."""
    both: Reply = [call("look_up", order=7), call("ship", order=7)]
    client = script(triage=[handoff_to("orders")], orders=[both, "Shipped.", call("ship", order=8), "Shipped again."])
    flow = team(store, client)
    await until_crash(flow, store, 4, "Ship it.")
    (asked,) = (await flow.run(session_id=SESSION)).requests
    await flow.run(responses={asked.request_id: "It was shipped; the parcel is 99."})
    await until_crash(flow, store, 3, "And order 8.")
    (asked,) = (await flow.run(session_id=SESSION)).requests
    await flow.run(responses={asked.request_id: asked.data.run_again()})
    client.assert_done()


async def reconciliation(store: Store) -> None:
    """Three calls of a tool that can be asked are cut off: one was done, one was not, of one it cannot say."""
    known: dict[str, str] = {}

    def find(key: str, order: int) -> str | NotDone:
        if order == 9:
            raise ConnectionError("the post office does not answer")
        return known.pop(key, NOT_DONE)

    @tool(reconcile=find)
    def post(order: int) -> str:
        """Post an order."""
        return f"posted {order}"

    def desk(*replies: Reply) -> Workflow:
        agent = ScriptedClient(*replies).as_agent("desk", tools=[post])
        return HandoffBuilder(name="post", participants=[agent]).with_checkpointing(store).build()

    for order in (7, 8, 9):
        await until_crash(desk(call("post", order=order)), store, 3, f"Post {order}.")
        known |= {f"{SESSION}/t1-s1-c0": "parcel 99"}
        result = await desk("Posted.", "Posted.").run(session_id=SESSION)
    (asked,) = result.requests
    await desk("Posted.").run(responses={asked.request_id: "It is parcel 98."})


async def failure(store: Store) -> None:
    """A model fails and is tried again, fails and is talked over; a tool fails, and its model is told."""
    broken = ConnectionError("no route to the model")
    client = script(
        triage=[broken, handoff_to("orders"), ["It ", broken], "Yes."],
        orders=[[call("ship", order=-1), handoff_to("triage")]],
    )
    flow = team(store, client)
    await until_failure(flow, "Hello?")
    await until_failure(flow, None)
    await flow.run("Are you there?", session_id=SESSION)
    client.assert_done()


async def condition(store: Store) -> None:
    """The termination condition ends the conversation after a turn, and after a user's message."""
    client = script(triage=["Bye then.", "Still here."])
    flow = team(store, client, until=lambda messages: "bye" in messages[-1].text.lower())
    await flow.run("That is all.", session_id=SESSION)
    await flow.run("Are you there?", session_id=SESSION)
    await flow.run("Bye.", session_id=SESSION)
    client.assert_done()


async def withdrawal(store: Store) -> None:
    """The user goes on: over a pending approval with a parked handoff, and over a tool that was cut off."""
    client = script(
        triage=[handoff_to("orders")],
        orders=[[call("refund", order=7), handoff_to("triage")], call("ship", order=8), "Understood."],
    )
    flow = team(store, client)
    await flow.run("Pay me back.", session_id=SESSION)
    await until_crash(flow, store, 3, "No: send it.")
    await flow.run("Never mind.", session_id=SESSION)
    client.assert_done()


async def nonsense(store: Store) -> None:
    """A model hands over to nobody, calls what is not there, with arguments that fit nothing, and one call twice."""
    twice = ToolCall("same", "look_up", '{"order":1}')
    client = script(
        triage=[handoff_to("fraud"), [ToolCall("", "handoff_to_orders", "not json"), call("fly", to="moon")], "Hm."],
        orders=[],
    )
    flow = team(store, client)
    await flow.run("Hello.", session_id=SESSION)
    more = script(triage=[handoff_to("orders")], orders=[[call("look_up", order="x"), twice, twice], "Sorry."])
    await flow.with_client(more, override=True).run("Go on.", session_id=SESSION)
    client.assert_done()
    more.assert_done()


async def termination(store: Store) -> None:
    """A person ends a conversation instead of answering, and over pending approvals, and answers in two messages."""
    client = script(
        triage=["What is it?", handoff_to("orders")],
        orders=[[call("refund", order=7), call("refund", order=8)], "Anything else?", "Noted."],
    )
    flow = team(store, client)
    (asked,) = (await flow.run("Hello.", session_id=SESSION)).requests
    await flow.run(responses={asked.request_id: asked.data.terminate()})
    asked, _ = (await flow.run("Pay me back.", session_id=SESSION)).requests
    await flow.run(responses={asked.request_id: HandoffAgentUserRequest.terminate()})
    (asked,) = (await flow.run("Or not.", session_id=SESSION)).requests
    await flow.run(responses={asked.request_id: asked.data.create_response(["One.", "Two."])})
    client.assert_done()


async def autonomy(store: Store) -> None:
    """An agent goes on by itself twice, then asks; a handoff and a message each give it new turns."""
    client = script(
        triage=["First.", "Second.", "Third?", "Fourth.", "Fifth.", handoff_to("archive")], archive=["Filed."]
    )
    agents = [client.as_agent("triage"), client.as_agent("archive")]
    builder = (
        HandoffBuilder(name="desk", participants=agents).add_handoff("triage", "archive").with_checkpointing(store)
    )
    flow = builder.with_autonomous_mode(["triage"], prompts={"triage": "Go on."}, turn_limits={"triage": 2}).build()
    await flow.run("Write three lines.", session_id=SESSION)
    await flow.run("And file them.", session_id=SESSION)
    client.assert_done()


async def loop(store: Store) -> None:
    """Two agents pass the conversation around: one is told, one team asks the user, one stops."""
    for on_loop in ("tell_model", "ask_user", "stop"):
        client = script(
            a=[
                handoff_to("b"),
                [handoff_to("b"), call("look_up", order=1)],
                handoff_to("b"),
                *["I give up."][: on_loop == "tell_model"],
            ],
            b=[handoff_to("a"), handoff_to("a")],
        )
        agents = [client.as_agent("a", tools=[look_up]), client.as_agent("b")]
        builder = HandoffBuilder(name="circle", participants=agents).with_checkpointing(store)
        await builder.with_loop_control(on_loop=on_loop).build().run("Hello.", session_id=SESSION)


async def contracts(store: Store) -> None:
    """A handoff with a payload that a person approves; the target gives back; then edges that nobody chooses."""
    client = script(
        front=[handoff_to("desk", reason="late", payload={"order": 7}), "All told."],
        desk=["It is late."],
        file=["Filed."],
    )
    front, desk, file = (client.as_agent(name) for name in ("front", "desk", "file"))
    builder = HandoffBuilder(name="contracts", participants=[front, desk, file]).with_checkpointing(store)
    builder.add_handoff(front, desk, payload=Order, approval="always_require", returns="caller")
    flow = builder.add_handoff(front, file, always=True).add_handoff(file, desk, returns="start").build()
    (asked,) = (await flow.run("Where is it?", session_id=SESSION, to="front")).requests
    await flow.run(responses={asked.request_id: asked.data.create_response(approved=True, reason="go on")})
    client.assert_done()


async def people(store: Store) -> None:
    """A tool hands over and leaves a note; a person takes over, answers and hands back; who takes over gets a summary."""
    client = script(
        front=[[call("escalate", order=7), handoff_to("archive")], "All told.", handoff_to("archive")],
        archive=["Filed."],
    )
    scribe = ScriptedClient(["They want order 7.", ReplyInfo("a-model", 90, 12)])
    front, archive = client.as_agent("front", tools=[escalate]), client.as_agent("archive")
    builder = HandoffBuilder(name="people", participants=[front, HumanAgent("jo"), archive]).with_checkpointing(store)
    builder.add_handoff(front, "jo", payload=Order).add_handoff("jo", archive)
    flow = builder.add_handoff(front, archive, view=summary(scribe)).build()
    (turn,) = (await flow.run("Where is it?", session_id=SESSION, state={"draft": True})).requests
    (turn,) = (await flow.run(responses={turn.request_id: "I have it here."})).requests
    (turn,) = (await flow.run(responses={turn.request_id: "Thank you!"})).requests
    await flow.run(responses={turn.request_id: turn.data.hand_back("You are welcome.")})
    await flow.run("File it.", session_id=SESSION)
    client.assert_done()
    scribe.assert_done()


async def budget(store: Store) -> None:
    """A budget of tokens runs out between two replies, and the session is run on."""
    client = script(triage=[[handoff_to("orders"), ReplyInfo("a-model", 120, 17)]], orders=["It was sent."], archive=[])
    client_team = team(store, client)
    limited = replace(client_team, machine=replace(client_team.machine, budget=Budget(tokens=100)))
    stopped = (await limited.run("Where is order 7?", session_id=SESSION)).stopped
    assert stopped
    assert stopped.budget == "tokens"
    await limited.run(session_id=SESSION)
    client.assert_done()


async def cancelling(store: Store) -> None:
    """Somebody stops a reply that takes too long, and later lets it go on."""
    client = script(triage=["It was sent."], orders=[], archive=[])
    flow = team(store, client)
    await until_crash(flow, store, 2, "Where is order 7?")
    session = Session(SESSION, flow.machine, store)
    await session.refresh()
    await session.commit([Cancel()])
    client = script(triage=["It was sent."], orders=[], archive=[])
    await team(store, client).run(session_id=SESSION)
    client.assert_done()


async def expiry(store: Store) -> None:
    """Nobody approves in time, nobody answers in time: neither the user nor the person who was handed to."""
    client = script(front=[call("refund", order=7), "Sorry.", handoff_to("jo"), "Jo is not here."])
    front = client.as_agent("front", tools=[refund])
    builder = HandoffBuilder(name="late", participants=[front, HumanAgent("jo")]).with_checkpointing(store)
    flow = builder.with_request_expiry(approvals=0.5, questions=0.5, people=0.5).build()
    await flow.run("Pay me back.", session_id=SESSION)
    await flow.run(session_id=SESSION)
    await flow.run(session_id=SESSION)
    await flow.run("A person, please.", session_id=SESSION)
    await flow.run(session_id=SESSION)
    client.assert_done()


async def until_crash(flow: Workflow, store: Store, append: int, message: str) -> None:
    """Run until the process dies in its ``append``-th append, which is not written."""
    crashing = crash_at(store, append)
    try:
        await flow.with_store(crashing).run(message, session_id=SESSION)
    except Crash:
        return
    raise AssertionError(f"there were only {crashing.appends} appends")


async def until_failure(flow: Workflow, message: str | None) -> None:
    try:
        await flow.run(message, session_id=SESSION)
    except ModelError:
        return
    raise AssertionError("the model did not fail")


async def native(store: Store) -> None:
    """A provider's own state beside a reply, and tokens that came from a cache."""
    sealed = {"provider": "a-provider", "parts": [{"kind": "thinking", "content": "Hm 🤔", "signature": "c2VhbA=="}]}
    info = ReplyInfo("a-provider:a-model", 120, 17, cached_tokens=96, native=sealed)
    client = ScriptedClient([call("look_up", order=7), info], "It was sent.")
    team = HandoffBuilder(name="desk", participants=[client.as_agent("front", tools=[look_up])])
    await team.with_checkpointing(store).build().run("Where is order 7?", session_id=SESSION)
    client.assert_done()


async def media(store: Store) -> None:
    """What a user shows: by value and by reference, with words and without, to one agent and to the next."""
    client = ScriptedClient({"triage": [handoff_to("orders", reason="a photo")], "orders": ["Broken, yes.", "Thanks."]})
    photo = Media.from_bytes(b"not really an image", "image/png", "parcel \N{PACKAGE}.png")
    flow = team(store, client)
    await flow.run(Message("user", (Text("It arrived like this."), photo), "Zoë"), session_id=SESSION)
    await flow.run(
        Message("user", (Media("application/pdf", url="https://shop.example/bill.pdf"),)), session_id=SESSION
    )
    client.assert_done()


async def output(store: Store) -> None:
    """Replies that do not fit: one is repaired, and as many as an agent may miss end its turn; then one fits."""
    replies: list[Reply] = [
        "Order 7.",
        '{"order": 7}',
        *['{"order": "seven"}'] * 5,
        [call("look_up", order=7)],
        '{"order":8}',
    ]
    client = ScriptedClient(*replies)
    clerk = client.as_agent("clerk", tools=[look_up], output_type=Order)
    flow = HandoffBuilder(name="desk", participants=[clerk]).with_checkpointing(store).build()
    for said in ("Which one?", "And then?", "And now?"):
        await flow.run(said, session_id=SESSION)
    client.assert_done()


async def branch(store: Store) -> None:
    """Somebody goes back to where a session rested, and on from there another way."""
    client = script(triage=["Yes?", "Which one?"], orders=[call("look_up", order=7), "Sent."])
    flow = team(store, client)
    await flow.run("Hello.", session_id="origin")
    await flow.run("Where is my order?", session_id="origin")
    (first, _) = await store.list_checkpoints("origin")
    await flow.run("Order 7?", checkpoint_id=first.checkpoint_id, session_id=SESSION, to="orders")
    client.assert_done()


async def compaction(store: Store) -> None:
    """The beginning of a conversation is forgotten, with a handoff in it, and the conversation goes on."""
    client = script(triage=[handoff_to("orders")], orders=["Which one?", call("look_up", order=7), "Sent.", "Bye."])
    flow = team(store, client)
    for words in ("Where is my order?", "Order 7.", "Thanks."):
        await flow.run(words, session_id=SESSION, state={"words": words})
    fact = compacted([entry.fact for entry in await store.read(SESSION)], 1)
    assert fact
    await store.cut(SESSION, fact)
    client.assert_done()


async def upgrade(store: Store) -> None:
    """A new release renames an agent and a tool while an approval waits; the next one removes the agent."""
    client = script(triage=[handoff_to("orders", reason="money")], orders=["One moment.", call("refund", order=7)])
    first = team(store, client)
    await first.run("Pay me back.", session_id=SESSION)
    await first.run("Order 7.", session_id=SESSION)
    client.assert_done()

    @tool(name="pay_back", approval_mode="always_require")
    def pay_back(order: int, amount: float = 10.0) -> str:
        """Give money back."""
        return f"{amount:.2f} for order {order}"

    client = script(triage=["Anything else?"], money=["Paid."])
    agents = [client.as_agent("triage"), client.as_agent("money", tools=[pay_back])]
    builder = HandoffBuilder(name="support", participants=agents).with_checkpointing(store)
    second = builder.with_upgrades(renamed={"orders": "money"}, renamed_tools={"refund": "pay_back"}).build()
    (asked,) = (await second.run(session_id=SESSION)).requests
    await second.run(responses={asked.request_id: True})
    third = HandoffBuilder(name="support", participants=[client.as_agent("triage")]).with_checkpointing(store).build()
    await third.run("No.", session_id=SESSION)
    client.assert_done()


@executor(repeatable=True)
def length(draft: str) -> int:
    """How many words there are."""
    return len(draft.split())


@executor
async def confirmed(words: list[int], context: ExecutorContext) -> dict[str, Any]:
    """Ask a person, who does not answer at once with what is wanted."""
    sure = await context.request_info({"words": words}, bool)
    return {"sure": sure, "language": await context.request_info("Which language?", str)}


async def sequential(store: Store) -> None:
    """A draft that a person sends back once, a function after it, and another user message."""
    client = ScriptedClient({"writer": ["A short draft.", "A much longer draft.", "Another."], "editor": ["Done."] * 2})
    members = [client.as_agent("writer"), length, client.as_agent("editor")]
    flow = SequentialBuilder(name="article", participants=members).with_request_info(["writer"])
    workflow = flow.with_checkpointing(store).build()
    run = await workflow.run("Write about bees.", session_id=SESSION)
    run = await workflow.run(responses={run.requests[0].request_id: "Longer, please."})
    run = await workflow.run(responses={run.requests[0].request_id: True})
    run = await workflow.run("And about tea.", session_id=SESSION)
    await workflow.run(responses={run.requests[0].request_id: run.requests[0].data.approve(by="Zoë")})
    client.assert_done()


async def concurrent(store: Store) -> None:
    """Two at once, one with a gated tool; a function of both asks twice, and once more where the answer is none."""
    client = ScriptedClient({"ann": [call("refund", order=7), "12"], "cy": ["3"]})
    members = [client.as_agent("ann", tools=[refund]), client.as_agent("cy")]
    flow = ConcurrentBuilder(name="panel", participants=members).with_aggregator(confirmed)
    workflow = flow.with_checkpointing(store).build()
    run = await workflow.run("How many words?", session_id=SESSION)
    run = await workflow.run(responses={run.requests[0].request_id: True})
    for answer in ("surely", True, "en"):
        run = await workflow.run(responses={run.requests[0].request_id: answer})
    client.assert_done()


async def partial(store: Store) -> None:
    """One of two fails for good, and the other goes on without it."""
    client = ScriptedClient({"ann": ["A view."], "bob": [RuntimeError("no route")]})
    members = [client.as_agent("ann"), client.as_agent("bob")]
    flow = ConcurrentBuilder(name="panel", participants=members, on_failure="partial").with_checkpointing(store)
    await flow.build().run("What do you think?", session_id=SESSION)
    client.assert_done()


async def nested(store: Store) -> None:
    """A desk is a team in a team in a team: a question to the user, an approval, a review and a handoff on the way."""
    client = ScriptedClient(
        {
            "triage": [handoff_to("desk", reason="about money")],
            "refunds": ["Which order?", handoff_to("fraud")],
            "checker": ["It looks fine."],
            "payer": [call("refund", order=7), "Paid."],
        }
    )
    check = [client.as_agent("checker"), client.as_agent("payer", tools=[refund])]
    fraud = SequentialBuilder(name="fraud", participants=check).with_request_info(["checker"]).build()
    refunds = client.as_agent("refunds", description="Money.")
    desk = HandoffBuilder(name="desk", participants=[refunds, fraud.as_agent(description="Looks closely.")])
    desk = desk.add_handoff(refunds, "fraud").with_terminal_agents(["fraud"]).build()
    members = [client.as_agent("triage"), desk.as_agent(description="Money.")]
    team = HandoffBuilder(name="front", participants=members).add_handoff("triage", "desk")
    workflow = team.with_terminal_agents(["desk"]).with_checkpointing(store).build()
    await workflow.run("I want my money.", session_id=SESSION)
    run = await workflow.run("Order 7.", session_id=SESSION)
    while run.requests:
        run = await workflow.run(responses={run.requests[0].request_id: True})
    client.assert_done()


SCENARIOS: tuple[Callable[[Store], Awaitable[None]], ...] = (
    handoff,
    approval,
    interruption,
    reconciliation,
    failure,
    condition,
    withdrawal,
    nonsense,
    termination,
    autonomy,
    contracts,
    loop,
    people,
    budget,
    cancelling,
    expiry,
    native,
    media,
    output,
    branch,
    compaction,
    upgrade,
    sequential,
    concurrent,
    partial,
    nested,
)


async def record_missing(folder: Path) -> list[Path]:
    """Record every scenario that ``folder`` does not hold for this version; the files that were written."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    written: list[Path] = []
    for scenario in SCENARIOS:
        path = folder / f"{version}-{scenario.__name__}.jsonl"
        if not path.exists():
            store = InMemoryCheckpointStorage(FakeClock())
            await scenario(store)
            await record(store, SESSION, path)
            written.append(path)
    return written


if __name__ == "__main__":
    for each in asyncio.run(record_missing(FOLDER)):
        sys.stdout.write(f"{each.relative_to(ROOT)}\n")
