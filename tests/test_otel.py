"""Spans: what is whose child, at any depth and beside one another; and nothing of what was said."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from relayline import (
    ChatClient,
    ChatRequest,
    ConcurrentBuilder,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    ModelError,
    ReplyInfo,
    RunClosed,
    SequentialBuilder,
    ToolCall,
    UsageError,
    Workflow,
    WorkflowRunState,
    executor,
    tool,
)
from relayline.durable.local import Local
from relayline.middleware import retry
from relayline.otel import traced
from relayline.testing import ScriptedClient, call, handoff_to
from tests.durable.fleets import state, worker, working

SECRET = "the secret"


@tool(approval_mode="always_require")
def pay(order: int) -> str:
    """Pay it back."""
    return f"{SECRET}: paid {order}"


@tool
def fail(order: int) -> str:
    """Never work."""
    raise LookupError(f"{SECRET} of {order}")


class Spans(InMemorySpanExporter):
    """What was exported, by name and parent."""

    def __init__(self) -> None:
        super().__init__()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self))

    def tree(self) -> list[str]:
        """Each span below its parent, in the order they began."""
        spans = sorted(self.get_finished_spans(), key=lambda span: span.start_time or 0)

        def below(parent: int | None, indent: str) -> list[str]:
            lines: list[str] = []
            for span in spans:
                if (span.parent.span_id if span.parent else None) == parent:
                    assert span.context
                    lines += [indent + span.name, *below(span.context.span_id, indent + "  ")]
            return lines

        return below(None, "")

    def named(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.get_finished_spans() if span.name == name]
        return span


@pytest.fixture
def spans() -> Spans:
    return Spans()


def support(client: ChatClient) -> Workflow:
    """front, desk (refunds, fraud (checker, payer))"""
    payer = client.as_agent("payer", tools=[pay, fail])
    fraud = SequentialBuilder(name="fraud", participants=[client.as_agent("checker"), payer]).build()
    within = [client.as_agent("refunds"), fraud.as_agent(description="Looks closely.")]
    desk = HandoffBuilder(name="desk", participants=within).add_handoff("refunds", "fraud")
    members = [
        client.as_agent("front"),
        desk.with_terminal_agents(["fraud"]).build().as_agent(description="Money."),
    ]
    shop = HandoffBuilder(name="shop", participants=members).add_handoff("front", "desk")
    return shop.with_terminal_agents(["desk"]).build()


def script(*last: object) -> dict[str, Sequence[object]]:
    return {
        "front": [handoff_to("desk")],
        "refunds": [handoff_to("fraud")],
        "checker": [SECRET],
        "payer": [call("pay", order=7), *last],
    }


async def test_every_span_is_below_what_it_is_a_part_of(spans: Spans) -> None:
    """A run, the turns in it, those of the teams within, and the calls in these, at depth three; a later run of the
    session has spans of its own.
    """
    team = traced(support(ScriptedClient(script(call("fail", order=7), "Sorry."))), spans.provider)
    (request,) = (await team.run("Money!", session_id="s")).requests
    assert spans.tree() == [
        "invoke_workflow shop",
        "  invoke_agent front",
        "    chat",
        "  invoke_agent desk",
        "    invoke_agent refunds",
        "      chat",
        "    invoke_agent fraud",
        "      invoke_agent checker",
        "        chat",
        "      invoke_agent payer",
        "        chat",
    ]
    assert len({span.context and span.context.trace_id for span in spans.get_finished_spans()}) == 1
    spans.clear()
    await team.run(responses={request.request_id: True})
    assert spans.tree() == [
        "invoke_workflow shop",
        "  invoke_agent desk",
        "    invoke_agent fraud",
        "      invoke_agent payer",
        "        execute_tool pay",
        "        chat",
        "        execute_tool fail",
        "        chat",
    ]


async def test_a_parent_is_there_as_long_as_its_children(spans: Spans) -> None:
    """It begins before the first and ends with the last, when that is over and not the run; none is the current one
    after.
    """
    over: list[str] = []

    def checks(request: ChatRequest) -> str:
        over.extend(span.name for span in spans.get_finished_spans() if span.name.startswith("invoke"))
        return "Fine."

    team = traced(support(ScriptedClient({**script(), "checker": [checks]})), spans.provider)
    await team.run("Money!")
    assert over == ["invoke_agent front", "invoke_agent refunds"]
    for name in ("front", "payer"):
        turn = spans.named(f"invoke_agent {name}")
        (reply,) = [each for each in spans.get_finished_spans() if each.parent == turn.context]
        assert turn.end_time == reply.end_time
    by_id = {span.context.span_id: span for span in spans.get_finished_spans() if span.context}
    for span in by_id.values():
        if span.parent:
            parent = by_id[span.parent.span_id]
            assert (parent.start_time or 0) <= (span.start_time or 0)
            assert (parent.end_time or 0) >= (span.end_time or 0)
    assert not get_current_span().is_recording()


class Costly(ChatClient):
    """Says what it costs, and which span is the current one while it does."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    async def stream(self, request: ChatRequest) -> AsyncIterator[str | ToolCall | ReplyInfo]:
        self.seen.append(getattr(get_current_span(), "name", None))
        yield SECRET
        yield ReplyInfo("small-1", 10, 2, cached_tokens=4)


async def test_the_attributes_are_those_of_the_conventions(spans: Spans) -> None:
    """Of whom, in which session, on what path; what a reply cost. Whatever else the client traces is below its call."""
    client = Costly()
    inner = SequentialBuilder(name="inner", participants=[client.as_agent("a")]).build()
    team = traced(SequentialBuilder(name="outer", participants=[inner.as_agent()]).build(), spans.provider)
    await team.run("Go.", session_id="s")
    reply = spans.named("chat small-1")
    assert client.seen == ["chat"]
    assert reply.kind is SpanKind.CLIENT
    assert dict(reply.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.agent.name": "a",
        "gen_ai.conversation.id": "s",
        "relayline.path": "inner/a",
        "gen_ai.response.model": "small-1",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 4,
    }
    assert dict(spans.named("invoke_agent a").attributes or {}) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "a",
        "gen_ai.conversation.id": "s",
        "relayline.path": "inner/a",
    }
    assert dict(spans.named("invoke_workflow outer").attributes or {}) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "outer",
        "gen_ai.conversation.id": "s",
        "relayline.state": "IDLE",
    }


async def test_nothing_that_was_said_is_in_a_span(spans: Spans) -> None:
    """Nor what a tool was given, returned or raised, or a provider says of a request that failed."""
    client = ScriptedClient(script(call("fail", order=7), LookupError(SECRET)))
    team = traced(support(client), spans.provider)
    (request,) = (await team.run(SECRET, session_id="s")).requests
    with pytest.raises(ModelError):
        await team.run(responses={request.request_id: True})
    told = [span.to_json() for span in spans.get_finished_spans()]
    assert len(told) > 10
    assert not [each for each in told if SECRET in each or '"order"' in each]
    failed = [span for span in spans.get_finished_spans() if span.status.status_code is StatusCode.ERROR]
    assert [(span.name, (span.attributes or {})["error.type"]) for span in failed] == [
        ("execute_tool fail", "tool_error"),
        ("chat", "LookupError"),
        ("invoke_workflow shop", "ModelError"),
    ]


async def test_branches_do_not_mix(spans: Spans) -> None:
    """Each call is below its own turn, though all of them are under way at once, in two sessions as well."""
    barrier = asyncio.Barrier(4)

    class Meeting(ChatClient):
        async def stream(self, request: ChatRequest) -> AsyncIterator[str | ReplyInfo]:
            async with asyncio.timeout(5):
                await barrier.wait()
            yield "Hi."
            yield ReplyInfo(f"model-of-{request.agent.name}", 1, 1)

    client = Meeting()
    teams = [SequentialBuilder(name=f"team-{name}", participants=[client.as_agent(name)]).build() for name in "ab"]
    team = traced(ConcurrentBuilder(participants=[each.as_agent() for each in teams]).build(), spans.provider)
    await asyncio.gather(team.run("Go.", session_id="one"), team.run("Go.", session_id="two"))
    by_id = {span.context.span_id: span for span in spans.get_finished_spans() if span.context}
    whole = [
        "invoke_workflow concurrent",
        "  invoke_agent team-a",
        "    invoke_agent a",
        "      chat model-of-a",
        "  invoke_agent team-b",
        "    invoke_agent b",
        "      chat model-of-b",
    ]
    assert spans.tree() == whole * 2
    for span in by_id.values():
        if span.parent:
            session, theirs = (each.attributes or {} for each in (span, by_id[span.parent.span_id]))
            assert session["gen_ai.conversation.id"] == theirs["gen_ai.conversation.id"]


async def test_a_reply_with_its_retries_is_one_span(spans: Spans) -> None:
    """As it is one call to the team."""
    client = ScriptedClient(ConnectionError("down"), "Hi.")
    builder = SequentialBuilder(participants=[client.as_agent("a")]).with_middleware(retry(2, wait=0))
    await traced(builder.build(), spans.provider).run("Go.")
    assert spans.tree() == ["invoke_workflow sequential", "  invoke_agent a", "    chat"]


async def test_functions_have_turns_and_a_run_shows_its_events(spans: Spans) -> None:
    """The events are those of a team that is not traced, streamed or not."""

    @executor
    async def note(text: str) -> str:
        return f"noted {text}"

    def team() -> Workflow:
        client = ScriptedClient(["One ", "two."])
        return SequentialBuilder(participants=[client.as_agent("a"), note]).build()

    for stream in (True, False):
        plain = [(event.type, event.data) async for event in team().run("Go.", session_id="s", stream=stream)]
        run = traced(team(), spans.provider).run("Go.", session_id="s", stream=stream)
        assert [(event.type, event.data) async for event in run] == plain
        assert (await run).text == "One two.\nnoted One two."
    assert spans.tree()[-2:] == ["  invoke_agent note", "    execute_tool note"]


class Hanging(ChatClient):
    """Begins to speak, and goes on once it is let."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def stream(self, request: ChatRequest) -> AsyncIterator[str]:
        yield "Well"
        await self.go.wait()
        yield "."


async def test_a_run_that_is_left_or_makes_no_sense(spans: Spans) -> None:
    """What was begun is ended and says so; what makes no sense is refused at once, without a span."""
    client = Hanging()
    team = traced(SequentialBuilder(participants=[client.as_agent("a")]).build(), spans.provider)
    with pytest.raises(UsageError):
        team.run()
    run = team.run("Go.", session_id="s", stream=True)
    async for event in run:
        if event.type == "message_delta":
            break
    await run.aclose()
    with pytest.raises(RunClosed):
        await run
    assert spans.tree() == ["invoke_workflow sequential", "  invoke_agent a", "    chat"]
    failed = [span for span in spans.get_finished_spans() if span.status.status_code is StatusCode.ERROR]
    assert [(span.attributes or {})["error.type"] for span in failed] == ["CancelledError", "CancelledError"]
    spans.clear()
    client.go.set()
    assert (await team.run(session_id="s")).text == "Well."
    assert spans.tree() == ["invoke_workflow sequential", "  invoke_agent a", "    chat"]


async def test_whoever_leaves_a_traced_run_closes_it(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while it waits for its reader."""
    monkeypatch.setattr("relayline.runtime.run.WAITING_EVENTS", 1)
    closed: list[bool] = []

    class Talking(ChatClient):
        async def stream(self, request: ChatRequest) -> AsyncIterator[str]:
            try:
                for _ in range(100):
                    yield "word "
            finally:
                closed.append(True)

    team = traced(SequentialBuilder(participants=[Talking().as_agent("a")]).build(), spans.provider)
    async with team.run("Go.", session_id="s", stream=True) as run:
        async for event in run:
            if event.type == "message_delta":
                break
        for _ in range(50):
            await asyncio.sleep(0)  # until it waits
    assert closed == [True]


async def test_a_branch_is_traced_under_its_own_name(spans: Spans) -> None:
    """The run knows it, and so do its spans."""
    client = ScriptedClient("One.", "Two.", "Three.")
    team = traced(HandoffBuilder(participants=[client.as_agent("a")]).build(), spans.provider)
    await team.run("1", session_id="s")
    (first, *_) = [each async for each in _checkpoints(team)]
    await team.run("2", session_id="s")
    run = team.run("3", checkpoint_id=first)
    result = await run
    assert run.session_id == result.session_id != "s"
    spoken = [span for span in spans.get_finished_spans() if span.name == "invoke_workflow handoff"]
    assert (spoken[-1].attributes or {})["gen_ai.conversation.id"] == result.session_id


async def _checkpoints(team: Workflow) -> AsyncIterator[str]:
    for each in await team.store.list_checkpoints():
        yield each.checkpoint_id


async def test_a_team_within_is_traced_once(spans: Spans) -> None:
    """By the team around it, if that is; else not at all."""
    client = ScriptedClient(*["Hi."] * 4)
    inner = traced(SequentialBuilder(name="inner", participants=[client.as_agent("a")]).build(), spans.provider)
    outer = SequentialBuilder(name="outer", participants=[inner.as_agent()]).build()
    await outer.run("Go.")
    assert spans.tree() == []
    await traced(outer, spans.provider).run("Go.")
    assert spans.tree() == ["invoke_workflow outer", "  invoke_agent inner", "    invoke_agent a", "      chat"]


async def test_what_workers_do_is_traced_where_they_do_it(spans: Spans) -> None:
    """A worker's span, with the turns below."""
    team = traced(support(ScriptedClient(script())), spans.provider).with_store(InMemoryCheckpointStorage())
    async with working(worker(team, Local())):
        await team.submit("Money!", session_id="s")
        await state(team, "s", WorkflowRunState.IDLE_WITH_PENDING_REQUESTS)
    assert spans.tree()[:3] == ["invoke_workflow shop", "  invoke_agent front", "    chat"]


def test_without_the_extra_it_says_what_to_install() -> None:
    """As every optional part."""
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from relayline import MissingExtra\n"
        "try: import relayline.otel\n"
        "except MissingExtra as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "spans need the API of OpenTelemetry: pip install 'relayline[otel]'\n"
