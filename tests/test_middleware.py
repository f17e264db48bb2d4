"""What is done when a model fails: try again, ask another, hand over, give up in time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from relayline import (
    Agent,
    AgentRunUpdateEvent,
    BuildError,
    ChatClient,
    ChatRequest,
    ConditionError,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    ModelError,
    ProviderError,
    UsageError,
    Workflow,
    WorkflowRunState,
    tool,
)
from relayline.events import Failed, Replied, Warned
from relayline.machine.effects import Effect
from relayline.machine.inputs import Input
from relayline.middleware import deadline, passes, retry
from relayline.runtime.perform import Context, Perform
from relayline.testing import ScriptedClient, call, handoff_to

BUSY = ProviderError("busy", 429)


def team(client: ChatClient, *middleware: Callable[[Perform], Perform]) -> Workflow:
    agents = [client.as_agent("front", description="Greets."), client.as_agent("desk", description="Helps.")]
    return HandoffBuilder(participants=agents).with_middleware(*middleware).build()


class Hanging(ChatClient):
    """Begins to speak and never ends."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[str]:
        yield "Well"
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        *[(ProviderError("", status), True) for status in (408, 409, 429, 500, 503, 529, None)],
        *[(ProviderError("", status), False) for status in (400, 401, 403, 404, 422)],
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (ValueError(), False),
        (None, False),
    ],
)
def test_what_may_pass_is_tried_again(error: BaseException | None, passing: bool) -> None:
    """A busy or broken provider and a lost connection; not a wrong key, a wrong request or a bug."""
    assert passes(error) is passing


async def test_a_model_that_is_busy_is_asked_again() -> None:
    """As often as allowed; the journal holds no failure, only the reply."""
    client = ScriptedClient(BUSY, ConnectionError(), "Hello.")
    store = InMemoryCheckpointStorage()
    workflow = team(client, retry(wait=0)).with_store(store)
    assert (await workflow.run("hi", session_id="s")).text == "Hello."
    assert not [entry for entry in await store.read("s") if isinstance(entry.fact, Failed)]


async def test_what_does_not_pass_fails_at_once_and_what_does_after_the_last_attempt() -> None:
    """With the provider's own words, and the session can be run again."""
    client = ScriptedClient(ProviderError("no such key", 401), BUSY, BUSY, "Hello.")
    workflow = team(client, retry(2, wait=0))
    with pytest.raises(ModelError, match="no such key"):
        await workflow.run("hi", session_id="s")
    assert len(client.requests) == 1
    with pytest.raises(ModelError, match="busy"):
        await workflow.run(session_id="s")
    assert len(client.requests) == 3
    assert (await workflow.run(session_id="s")).text == "Hello."


async def test_a_provider_says_how_long_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """That counts instead of the growing pauses; longer than anybody waits, and it is not tried again."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("relayline.middleware.asyncio.sleep", sleep)
    client = ScriptedClient(ProviderError("", 429, 7.0), BUSY, BUSY, "Hello.", ProviderError("", 429, 99.0))
    workflow = team(client, retry(wait=4, longest=8))
    await workflow.run("hi", session_id="s")
    waited = [each for each in slept if each]
    assert waited[0] == 7.0
    assert 4 <= waited[1] <= 8
    assert 4 <= waited[2] <= 8
    with pytest.raises(ModelError):
        await workflow.run("again", session_id="s")
    assert [each for each in slept if each] == waited


async def test_words_of_an_attempt_that_died_are_not_doubled() -> None:
    """A reader that keeps the words of the last attempt has the reply; the transcript has it once anyhow."""
    client = ScriptedClient(["Your order ", "is ", ConnectionError()], ["Your order ", "was sent."])
    shown: dict[int, str] = {}
    run = team(client, retry(wait=0)).run("where?", stream=True)
    async for event in run:
        if isinstance(event, AgentRunUpdateEvent):
            shown[event.attempt] = shown.get(event.attempt, "") + event.data
    assert shown == {1: "Your order is ", 2: "Your order was sent."}
    assert (await run).text == "Your order was sent."


async def test_a_tool_is_never_tried_again() -> None:
    """Its error is a result, which its model reads."""
    ran: list[int] = []

    @tool
    def pay() -> str:
        """Pay."""
        ran.append(1)
        raise ConnectionError("lost")

    client = ScriptedClient(call("pay"), "It failed.")
    workflow = (
        HandoffBuilder(participants=[client.as_agent("desk", tools=[pay])]).with_middleware(retry(wait=0)).build()
    )
    assert (await workflow.run("pay")).text == "It failed."
    assert ran == [1]


async def test_a_server_that_hangs_is_bounded() -> None:
    """The run fails in time, the session is whole, and a later run goes on."""
    workflow = team(Hanging(), deadline(0.05))
    with pytest.raises(ModelError, match=r"no whole reply within 0\.05 seconds"):
        await workflow.run("hi", session_id="s")
    assert (await workflow.session("s")).state is WorkflowRunState.FAILED
    assert (await workflow.with_client(ScriptedClient("Hello."), override=True).run(session_id="s")).text == "Hello."


async def test_a_deadline_outside_bounds_all_attempts_and_inside_each() -> None:
    """Middleware stands in the order it is given in, the outermost first."""
    client = ScriptedClient(*[BUSY] * 9)
    with pytest.raises(ModelError, match="within"):
        await team(client, deadline(0.05), retry(99, wait=10)).run("hi")
    assert len(client.requests) == 1
    hanging = team(Hanging(), retry(3, wait=0), deadline(0.02))
    attempts: set[int] = set()
    with pytest.raises(ModelError):
        async for event in hanging.run("hi", stream=True):
            if isinstance(event, AgentRunUpdateEvent):
                attempts.add(event.attempt)
    assert attempts == {1, 2, 3}


async def test_leaving_a_run_ends_its_waiting_for_another_attempt() -> None:
    """Nobody is kept by a pause."""
    workflow = team(ScriptedClient(BUSY, "Hello."), retry(wait=1000, longest=1000))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await workflow.run("hi", session_id="s")
    assert (await workflow.run(session_id="s")).text == "Hello."


async def test_where_one_client_fails_the_next_is_asked() -> None:
    """Each is given the same; the journal says who answered."""
    first, second = ScriptedClient(["Half", BUSY]), ScriptedClient(["Whole."])
    store = InMemoryCheckpointStorage()
    workflow = HandoffBuilder(participants=[Agent("desk", client=[first, second])]).with_checkpointing(store).build()
    shown: list[tuple[int, str]] = []
    async for event in workflow.run("hi", session_id="s", stream=True):
        if isinstance(event, AgentRunUpdateEvent):
            shown.append((event.attempt, event.data))
    assert shown == [(1, "Half"), (2, "Whole.")]
    assert first.requests[0].messages == second.requests[0].messages
    assert [entry.fact.message.text for entry in await store.read("s") if isinstance(entry.fact, Replied)] == ["Whole."]


async def test_if_all_clients_fail_the_last_one_says_why() -> None:
    """And a list around something that is no client is refused at build."""
    clients = [ScriptedClient(ConnectionError("a is gone")), ScriptedClient(ConnectionError("b is gone"))]
    workflow = HandoffBuilder(participants=[Agent("desk", client=clients)]).build()
    with pytest.raises(ModelError, match="b is gone"):
        await workflow.run("hi")
    with pytest.raises(BuildError, match=r"RL103 the client of 'desk' has no stream\(request\); got 7"):
        HandoffBuilder(participants=[Agent("desk", client=[clients[0], 7])]).build()  # type: ignore[list-item]


async def test_an_agent_takes_over_from_one_whose_model_cannot_be_had() -> None:
    """With a warning, and along no declared edge; if its own model fails, the run does."""
    broken = ScriptedClient({"front": [handoff_to("desk")], "desk": [ConnectionError("down")], "spare": ["I am here."]})
    agents = [broken.as_agent(name, description=f"{name} things") for name in ("front", "desk", "spare")]
    builder = HandoffBuilder(participants=agents).add_handoff("front", "desk").with_fallback_agent("spare")
    assert not [each for each in builder.build().warnings if "spare" in each and "RL201" in each]
    run = builder.build().run("hi", session_id="s")
    warned = [event.data async for event in run if event.type == "warning"]
    assert warned == [Warned("model_failed", "the model of desk failed: ConnectionError: down", "desk")]
    assert (await run).text == "I am here."
    alone = ScriptedClient(ConnectionError("down"))
    with pytest.raises(ModelError, match="down"):
        await HandoffBuilder(participants=[alone.as_agent("spare")]).with_fallback_agent("spare").build().run("hi")


async def test_nobody_takes_over_for_what_the_program_got_wrong() -> None:
    """A setting that does not exist, or a predicate that raises: another client or agent would only hide it."""

    class Strict(ScriptedClient):
        async def stream(self, request: ChatRequest) -> Any:  # type: ignore[override]
            raise UsageError("there is no setting 'temprature'")
            yield

    spare = ScriptedClient()
    agents = [Agent("desk", client=[Strict(), spare]), spare.as_agent("spare")]
    with pytest.raises(ModelError, match="temprature"):
        await HandoffBuilder(participants=agents).with_fallback_agent("spare").build().run("hi")

    def raises(transcript: object, state: object) -> bool:
        raise ZeroDivisionError

    agents = [spare.as_agent("desk"), spare.as_agent("spare")]
    builder = HandoffBuilder(participants=agents).add_handoff("desk", "spare", when=raises)
    with pytest.raises(ConditionError):
        await builder.with_fallback_agent("spare").build().run("hi")
    assert spare.requests == []


async def test_a_deadline_is_a_models_failure_too() -> None:
    """So the fallback agent takes over when the time is up."""
    agents = [Hanging().as_agent("desk"), ScriptedClient("I am here.").as_agent("spare")]
    builder = HandoffBuilder(participants=agents).with_fallback_agent("spare").with_middleware(deadline(0.05))
    assert (await builder.build().run("hi")).text == "I am here."


async def test_middleware_of_ones_own_sees_every_effect() -> None:
    """Models and tools, and what came of them."""
    seen: list[str] = []

    def logged(perform: Perform) -> Perform:
        async def around(effect: Effect, context: Context) -> Input:
            outcome = await perform(effect, context)
            seen.append(f"{type(effect).__name__} {type(outcome).__name__}")
            return outcome

        return around

    @tool(repeatable=True)
    def look() -> str:
        """Look."""
        return "seen"

    client = ScriptedClient(call("look"), "Seen.")
    workflow = HandoffBuilder(participants=[client.as_agent("desk", tools=[look])]).with_middleware(logged).build()
    await workflow.run("hi")
    assert seen == ["CallModel ModelReplied", "RunTool ToolDone", "CallModel ModelReplied"]


def test_middleware_that_is_no_function_is_refused() -> None:
    """And so is a fallback agent nobody knows."""
    builder: Any = HandoffBuilder(participants=[Agent("desk")])
    with pytest.raises(BuildError) as raised:
        builder.with_middleware(retry, 7).with_fallback_agent("dsk").build()
    assert list(raised.value.problems) == [
        "RL101 unknown agent 'dsk' in with_fallback_agent; did you mean 'desk'?",
        "RL103 middleware is a function; got 7",
    ]


@pytest.mark.parametrize("forgotten", [retry, deadline])
def test_brackets_that_were_forgotten_are_told_at_build(forgotten: Any) -> None:
    """``with_middleware(retry)`` hands over what makes the middleware."""
    with pytest.raises(UsageError, match=f"as in {forgotten.__name__}"):
        HandoffBuilder(participants=[Agent("desk")]).with_middleware(forgotten).build()
