"""Tools that find out themselves what became of a call."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from relayline import (
    NOT_DONE,
    BuildError,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    InterruptedCallRequest,
    NotDone,
    Tool,
    ToolContext,
    Workflow,
    tool,
)
from relayline.events import ToolInterrupted, ToolReconciled, ToolReturned, ToolStarted
from relayline.journal.store import Store
from relayline.machine.effects import Effect, Reconcile
from relayline.machine.inputs import EffectFailed, Input
from relayline.runtime.perform import Context, Perform
from relayline.testing import Crash, Reply, ScriptedClient, call, crash_at


@dataclass
class Bank:
    """The other side: it knows what was charged, by key. ``down``: nobody can reach it."""

    charged: dict[str, str] = field(default_factory=dict[str, str])
    attempts: list[str] = field(default_factory=list[str])
    asked: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    down: bool = False

    def tool(self, hook: Callable[..., Any] | None = None) -> Tool:
        @tool(reconcile=hook or self.find)
        def charge(order: str, context: ToolContext, amount: int = 5) -> str:
            """Charge a card."""
            self.attempts.append(context.idempotency_key)
            self.charged[context.idempotency_key] = f"{amount} for {order}"
            return self.charged[context.idempotency_key]

        return charge

    async def find(self, key: str, amount: int) -> str | NotDone:
        self.asked.append((key, amount))
        if self.down:
            raise ConnectionError("the bank does not answer")
        return self.charged.get(key, NOT_DONE)


def desk(store: Store, *replies: Reply, tools: list[Tool]) -> Workflow:
    agent = ScriptedClient(*replies).as_agent("desk", tools=tools)
    return HandoffBuilder(name="desk", participants=[agent]).with_checkpointing(store).build()


async def cut_off(store: Store, tools: list[Tool], *, before: bool = False) -> None:
    """A process dies in the tool ``charge``: after it has charged, or ``before``."""
    dying = crash_at(store, 2 if before else 3, written=before)
    with pytest.raises(Crash):
        await desk(dying, call("charge", order="A-1"), tools=tools).run("Charge me.", session_id="s")


async def kinds(store: Store) -> list[type]:
    kinds = (ToolStarted, ToolInterrupted, ToolReconciled, ToolReturned)
    return [type(entry.fact) for entry in await store.read("s") if isinstance(entry.fact, kinds)]


async def test_what_was_done_is_the_result_and_nobody_is_asked():
    """The charge was made and its result lost: the hook finds it by the key, and the model reads it."""
    store, bank = InMemoryCheckpointStorage(), Bank()
    await cut_off(store, [bank.tool()])
    events = [event async for event in desk(store, "Charged.", tools=[bank.tool()]).run(session_id="s")]
    assert [event.data.content for event in events if event.type == "tool_result"] == ["5 for A-1"]
    assert not [event for event in events if event.type == "request_info" and event.data is InterruptedCallRequest]
    assert (bank.attempts, bank.asked) == (["s/t1-s1-c0"], [("s/t1-s1-c0", 5)])
    assert await kinds(store) == [ToolStarted, ToolInterrupted, ToolReconciled, ToolReturned]
    assert [event.data.done for event in events if event.type == "tool_reconciled"] == [True]


async def test_what_is_asked_by_resuming_is_shown_once():
    """As a fact, and not as well as something that had waited before."""
    store = InMemoryCheckpointStorage()

    @tool
    async def charge(order: str) -> str:
        """Charge a card."""
        return order

    await cut_off(store, [charge])
    events = [event async for event in desk(store, tools=[charge]).run(session_id="s")]
    assert [(event.request_id, event.seq) for event in events if event.type == "request_info"] == [("s/r1", 6)]
    events = [event async for event in desk(store, tools=[charge]).run(session_id="s")]
    assert [(event.request_id, event.seq) for event in events if event.type == "request_info"] == [("s/r1", None)]


async def test_what_was_not_done_is_done_with_the_same_key():
    """The process died before the charge: the hook says so, and the call is made again."""
    store, bank = InMemoryCheckpointStorage(), Bank()
    await cut_off(store, [bank.tool()], before=True)
    assert bank.attempts == []
    await desk(store, "Charged.", tools=[bank.tool()]).run(session_id="s")
    assert (bank.attempts, bank.asked) == (["s/t1-s1-c0"], [("s/t1-s1-c0", 5)])
    assert await kinds(store) == [ToolStarted, ToolInterrupted, ToolReconciled, ToolStarted, ToolReturned]


@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        (None, "ConnectionError: the bank does not answer"),
        (lambda key: None, "ToolError: the reconcile of 'charge' returned None; it returns what was done, or NOT_DONE"),
        (lambda key: asyncio.run(asyncio.sleep(0, 1 / 0)), "ZeroDivisionError: division by zero"),
    ],
)
async def test_who_cannot_say_leaves_it_to_a_person(hook: Callable[..., Any] | None, problem: str):
    """A hook that raises or knows nothing is no answer: a person is asked, and told why."""
    store, bank = InMemoryCheckpointStorage(), Bank(down=True)
    tools = [bank.tool(hook)]
    await cut_off(store, tools)
    (asked,) = (await desk(store, tools=tools).run(session_id="s")).requests
    assert isinstance(asked.data, InterruptedCallRequest)
    assert (asked.data.function_call.name, asked.data.problem) == ("charge", problem)
    result = await desk(store, "Good.", tools=tools).run(responses={asked.request_id: "The bank has it."})
    assert [each.content for message in result.conversation for each in message.tool_results] == ["The bank has it."]
    assert bank.attempts == ["s/t1-s1-c0"]


async def test_a_hook_that_is_kept_from_answering_leaves_it_to_a_person():
    """A middleware that gives up on it fails no run: the question is another's now."""
    store, bank = InMemoryCheckpointStorage(), Bank()
    await cut_off(store, [bank.tool()])

    def impatient(perform: Perform) -> Perform:
        async def around(effect: Effect, context: Context) -> Input:
            late = EffectFailed(effect.id, "TimeoutError", "no answer within 5 seconds")
            return late if isinstance(effect, Reconcile) else await perform(effect, context)

        return around

    workflow = replace(desk(store, tools=[bank.tool()]), middleware=(impatient,))
    (asked,) = (await workflow.run(session_id="s")).requests
    assert asked.data.problem == "TimeoutError: no answer within 5 seconds"


async def test_a_crash_while_the_hook_is_asked_is_just_asked_again():
    """What it says counts once it is on record; until then it is asked as often as it takes."""
    store, bank = InMemoryCheckpointStorage(), Bank()
    await cut_off(store, [bank.tool()])
    for append in (2, 1, 1):  # that it was interrupted is on record after the first
        with pytest.raises(Crash):
            await desk(crash_at(store, append), tools=[bank.tool()]).run(session_id="s")
    assert (await desk(store, "Charged.", tools=[bank.tool()]).run(session_id="s")).text == "Charged."
    assert (len(bank.asked), len(bank.attempts)) == (4, 1)


async def test_a_crash_after_not_done_asks_once_more():
    """The call that was made again may have been cut off as well."""
    store, bank = InMemoryCheckpointStorage(), Bank()
    await cut_off(store, [bank.tool()], before=True)
    with pytest.raises(Crash):  # interrupted, found not done and started again, and here it has charged
        await desk(crash_at(store, 3), tools=[bank.tool()]).run(session_id="s")
    await desk(store, "Charged.", tools=[bank.tool()]).run(session_id="s")
    assert (bank.attempts, len(bank.asked)) == (["s/t1-s1-c0"], 2)


async def test_siblings_are_each_asked_for_themselves():
    """Of three calls one has returned, one took effect and one did not: one is left alone, one found, one made."""
    store, done, made = InMemoryCheckpointStorage(), {"s/t1-s1-c1": "B was posted"}, []

    @tool(reconcile=lambda key: done.get(key, NOT_DONE))
    async def post(order: str, context: ToolContext) -> str:
        """Post it."""
        made.append(context.idempotency_key)
        if order != "A" and made.count(context.idempotency_key) == 1:
            await asyncio.Event().wait()
        return f"posted {order}"

    three: Reply = [call("post", order=each) for each in "ABC"]
    async for event in desk(store, three, tools=[post]).run("Post them.", session_id="s"):
        if event.type == "tool_result":
            break
    assert len(made) == 3
    result = await desk(store, "All posted.", tools=[post]).run(session_id="s")
    assert [r.content for m in result.conversation for r in m.tool_results] == ["posted A", "B was posted", "posted C"]
    assert made[3:] == ["s/t1-s1-c2"]


async def test_an_approved_call_is_reconciled_with_the_arguments_a_person_gave():
    """The hook is given what ran, not what the model wrote."""
    store, bank = InMemoryCheckpointStorage(), Bank()

    @tool(approval_mode="always_require", reconcile=bank.find)
    def charge(order: str, context: ToolContext, amount: int = 5) -> str:
        """Charge a card."""
        bank.charged[context.idempotency_key] = f"{amount} for {order}"
        return "charged"

    team = partial(desk, tools=[charge])
    (asked,) = (await team(store, call("charge", order="A")).run("Charge me.", session_id="s")).requests
    less = asked.data.create_response(approved=True, arguments={"order": "A", "amount": 3})
    with pytest.raises(Crash):
        await team(crash_at(store, 2)).run(responses={asked.request_id: less})
    result = await team(store, "Done.").run(session_id="s")
    assert bank.asked == [("s/t1-s1-c0", 3)]
    assert [each.content for m in result.conversation for each in m.tool_results] == ["3 for A"]


async def test_a_hook_may_finish_what_the_tool_began():
    """With a context it leaves in the common state what the tool would have, and hands over as the tool would have."""

    def found(key: str, context: ToolContext) -> str:
        context.state["paid"] = key
        context.handoff("archive", reason="paid")
        return "found"

    @tool(reconcile=found)
    def charge(order: str, context: ToolContext) -> str:
        """Charge a card."""
        return "charged"

    def team(store: Store) -> Workflow:
        client = ScriptedClient({"desk": [call("charge", order="A")], "archive": ["Filed."]})
        agents = [client.as_agent("desk", tools=[charge]), client.as_agent("archive")]
        return HandoffBuilder(participants=agents).with_checkpointing(store).build()

    store = InMemoryCheckpointStorage()
    with pytest.raises(Crash):
        await team(crash_at(store, 3)).run("Charge me.", session_id="s")
    assert (await team(store).run(session_id="s")).text == "Filed."
    assert (await team(store).session("s")).shared == {"paid": "s/t1-s1-c0"}


async def test_a_message_does_not_wait_for_a_hook():
    """Who goes on with another message is answered; what became of the call is unknown, as without a hook."""
    store, bank = InMemoryCheckpointStorage(), Bank()
    await cut_off(store, [bank.tool()])
    result = await desk(store, "I see.", tools=[bank.tool()]).run("Never mind.", session_id="s")
    assert [each.outcome for m in result.conversation for each in m.tool_results] == ["unknown"]
    assert bank.asked == []


async def test_a_slow_tool_that_returns_after_all_settles_it():
    """The hook hangs; meanwhile the process that was taken for dead brings the result."""
    store, entered, go = InMemoryCheckpointStorage(), asyncio.Event(), asyncio.Event()

    async def hang(key: str) -> str:
        entered.set()
        await asyncio.Event().wait()
        return key

    @tool(reconcile=hang)
    async def charge(order: str) -> str:
        """Charge a card."""
        entered.set()
        await go.wait()
        return f"charged for {order}"

    async def run(workflow: Workflow, message: str | None = None) -> Any:
        return await workflow.run(message, session_id="s")

    slow = asyncio.create_task(run(desk(store, call("charge", order="A"), tools=[charge]), "Charge me."))
    await entered.wait()
    entered.clear()
    other = asyncio.create_task(run(desk(store, tools=[charge])))
    await entered.wait()
    go.set()
    with pytest.raises(Exception, match="somebody else wrote to it"):
        await slow
    other.cancel()
    await asyncio.wait([other])
    result = await desk(store, "Good.", tools=[charge]).run(session_id="s")
    assert [each.content for m in result.conversation for each in m.tool_results] == ["charged for A"]


async def test_a_tool_that_has_no_hook_any_more_is_asked_about():
    """The new release dropped the hook while it was being asked: a person is, and told why."""
    store, bank = InMemoryCheckpointStorage(), Bank()
    await cut_off(store, [bank.tool()])
    with pytest.raises(Crash):
        await desk(crash_at(store, 2), tools=[bank.tool()]).run(session_id="s")

    @tool
    def charge(order: str) -> str:
        """Charge a card."""
        return order

    (asked,) = (await desk(store, tools=[charge]).run(session_id="s")).requests
    assert asked.data.problem == "ToolError: 'charge' cannot say what became of a call"


async def test_a_tool_that_is_described_elsewhere_is_asked_with_its_arguments():
    """`Tool.from_schema` takes a hook as well, given the JSON object."""
    store, asked = InMemoryCheckpointStorage(), []

    async def charge(arguments: dict[str, Any], context: ToolContext) -> str:
        return "charged"

    def found(key: str, arguments: dict[str, Any]) -> str:
        asked.append((key, arguments))
        return "found"

    tools = [Tool.from_schema("charge", "Charge.", {}, charge, reconcile=found)]
    await cut_off(store, tools)
    await desk(store, "Done.", tools=tools).run(session_id="s")
    assert asked == [("s/t1-s1-c0", {"order": "A-1"})]


class Ledger:
    def find(self, key: str) -> str:
        return key


def _keyword_only(*, key: str) -> str:
    return key


@pytest.mark.parametrize(
    ("hook", "takes"),
    [
        (lambda key: key, ["key"]),
        (lambda key, /: key, ["key"]),
        (lambda k, **others: others, ["key", "order", "amount"]),
        (lambda key, order, limit=5: key, ["key", "order"]),
        (Ledger().find, ["key"]),
        (partial(lambda base, key: key, "https://bank"), ["key"]),
    ],
)
def test_a_hook_takes_the_key_and_what_it_asks_for(hook: Callable[..., Any], takes: list[str]):
    """Any of the tool's own parameters by name; a method or a partial is a function like any other."""

    @tool(reconcile=hook)
    def charge(order: str, amount: int = 5) -> str:
        """Charge a card."""
        return order

    assert charge.hook
    assert ["key", *charge.hook.wanted] == takes


@pytest.mark.parametrize(
    ("hook", "got"),
    [
        ("find", "'find'"),
        (lambda: None, "lambda"),
        (_keyword_only, "key: str"),
        (lambda key, price: key, "'price' as well"),
    ],
)
def test_a_hook_that_could_not_be_called_is_a_build_problem(hook: Any, got: str):
    """The sentence says what it may take."""
    takes = "its reconcile is a function of the idempotency key, and then any of 'order', 'amount'; got .*"
    with pytest.raises(BuildError, match=f"RL135 tool 'charge': {takes}{got}"):

        @tool(reconcile=hook)
        def charge(order: str, amount: int = 5) -> str:
            """Charge a card."""
            return order


def test_a_tool_is_repeatable_or_can_be_asked():
    """Both at once is a contradiction: nobody would ever ask."""
    with pytest.raises(BuildError, match="RL136 tool 'charge' is repeatable"):

        @tool(repeatable=True, reconcile=lambda key: key)
        def charge(order: str) -> str:
            """Charge a card."""
            return order
