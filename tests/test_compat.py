"""Programs in the older spellings of the pattern run with their import lines and their client changed, and nothing else."""

import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

import relayline
from relayline import Agent, BuildError, compat
from relayline.compat import (
    ChatAgent,
    ChatClient,
    ChatMessage,
    FileCheckpointStorage,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    RequestInfoEvent,
    Role,
    WorkflowOutputEvent,
    WorkflowRunState,
)
from relayline.messages import ToolCall
from relayline.testing import Reply, ScriptedClient, call, handoff_to

FIRST = """
import asyncio

from agent_framework import (
    ExecutorCompletedEvent,
    ExecutorInvokedEvent,
    HandoffBuilder,
    Role,
    WorkflowOutputEvent,
    WorkflowRunState,
    WorkflowStatusEvent,
)
from agent_framework.azure import AzureOpenAIChatClient

chat_client = AzureOpenAIChatClient()

desk = chat_client.create_agent(name="desk", instructions="Find out what it is about, then hand over.")
loans = chat_client.create_agent(name="loans", instructions="Books, and when they are due.")
rooms = chat_client.create_agent(name="rooms", instructions="Reading rooms.")


def over(conversation: list) -> bool:
    return len(conversation) >= 8 or any("is due" in each.text for each in conversation if hasattr(each, "text"))


workflow = (
    HandoffBuilder(name="library")
    .participants([desk, loans, rooms])
    .set_coordinator(desk)
    .with_interaction_mode("autonomous")
    .with_termination_condition(over)
    .build()
)


async def main():
    result: WorkflowOutputEvent | None = None
    async for event in workflow.run_stream("When do I have to bring my book back?"):
        if isinstance(event, ExecutorInvokedEvent):
            print("begins:", event.executor_id)
        elif isinstance(event, ExecutorCompletedEvent):
            print("is done:", event.executor_id)
        elif isinstance(event, WorkflowStatusEvent):
            if event.state == WorkflowRunState.IDLE:
                print("idle")
        elif isinstance(event, WorkflowOutputEvent):
            result = event
    if result and isinstance(result.data, list):
        for number, message in enumerate(result.data, start=1):
            who = message.author_name or ("assistant" if message.role == Role.ASSISTANT else message.role.value)
            print(f"{number}. {who}: {message.text}")


asyncio.run(main())
"""

SECOND = '''
import asyncio
from typing import Annotated

from agent_framework import (
    ChatAgent,
    FunctionApprovalRequestContent,
    HandoffAgentUserRequest,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    RequestInfoEvent,
    WorkflowOutputEvent,
    ai_function,
)
from agent_framework.azure import AzureOpenAIChatClient

chat_client = AzureOpenAIChatClient()


@ai_function
def find_bike(ticket: Annotated[int, "The number on the tag"]) -> str:
    """Look a repair up."""
    return f"ticket {ticket} is ready"


@ai_function(approval_mode="always_require")
def charge(ticket: Annotated[int, "The number on the tag"], euros: float) -> str:
    """Charge the customer's card."""
    return f"charged {euros} for ticket {ticket}"


front: ChatAgent = chat_client.create_agent(instructions="Greet.", description="First contact.", name="front")
workshop = chat_client.create_agent(
    instructions="Look after repairs.", description="Repairs and bills.", name="workshop", tools=[find_bike, charge]
)
storage = InMemoryCheckpointStorage()


def team():
    return (
        HandoffBuilder(name="bikes", participants=[front, workshop])
        .with_start_agent(front)
        .with_termination_condition(lambda conversation: len(conversation) > 0 and "goodbye" in conversation[-1].text.lower())
        .add_handoff(front, [workshop])
        .add_handoff(workshop, front)
        .with_checkpointing(storage)
        .build()
    )


async def main():
    workflow = team()
    events = [event async for event in workflow.run_stream("Is my bike ready?")]
    pending = [event for event in events if isinstance(event, RequestInfoEvent)]
    while not any(isinstance(each.data, FunctionApprovalRequestContent) for each in pending):
        responses = {}
        for request in pending:
            assert isinstance(request.data, HandoffAgentUserRequest)
            for message in request.data.agent_response.messages[-1:]:
                print(f"{request.source_executor_id} asks: {message.author_name}: {message.text}")
            responses[request.request_id] = HandoffAgentUserRequest.create_response(input("you: "))
        pending = []
        async for event in workflow.send_responses_streaming(responses):
            if isinstance(event, RequestInfoEvent):
                pending.append(event)

    workflow = team()  # another process, another day
    latest = sorted(await storage.list_checkpoints(), key=lambda each: each.timestamp, reverse=True)[0]
    restored: list[RequestInfoEvent] = []
    async for event in workflow.run_stream(checkpoint_id=latest.checkpoint_id):
        if isinstance(event, RequestInfoEvent):
            restored.append(event)
    while restored:
        responses: dict[str, object] = {}
        for request in restored:
            if isinstance(request.data, FunctionApprovalRequestContent):
                wanted = request.data.function_call
                print("approve", wanted.name, wanted.parse_arguments() or {})
                responses[request.request_id] = request.data.create_response(approved=input("y/n: ") == "y")
            else:
                print(request.data.agent_response.messages[-1].text)
                responses[request.request_id] = HandoffAgentUserRequest.create_response(input("you: "))
        restored = []
        async for event in workflow.send_responses_streaming(responses):
            if isinstance(event, RequestInfoEvent):
                restored.append(event)
            elif isinstance(event, WorkflowOutputEvent):
                print("done:", [message.text for message in event.data][-2:])


asyncio.run(main())
'''


def play(program: str, client: ScriptedClient, typed: Sequence[str] = ()) -> list[str]:
    """What the program prints, with its import lines and its client changed."""
    ported = re.sub(
        r"^from agent_framework(?:\.azure)? import", "from relayline.compat import", program, flags=re.MULTILINE
    )
    ported = ported.replace("import AzureOpenAIChatClient", "import ChatClient")
    ported = ported.replace("= AzureOpenAIChatClient()", "= ChatClient(model)")
    assert len(ported.splitlines()) == len(program.splitlines())
    lines = iter(typed)
    with redirect_stdout(StringIO()) as printed:
        exec(ported, {"__name__": "__main__", "model": client, "input": lambda _: next(lines)})  # noqa: S102
    client.assert_done()
    assert list(lines) == []
    return printed.getvalue().splitlines()


def test_a_program_with_a_coordinator():
    """The oldest spelling, whole: a coordinator, an interaction mode, classes of events, roles with a value."""
    client = ScriptedClient(
        {
            "desk": [["Let me see. ", handoff_to("loans")]],
            "loans": ["I am looking.", "Your book is due on Friday."],
            "rooms": [],
        }
    )
    assert play(FIRST, client) == [
        "begins: desk",
        "is done: desk",
        "begins: loans",
        "is done: loans",
        "begins: loans",
        "is done: loans",
        "idle",
        "1. user: When do I have to bring my book back?",
        "2. desk: Let me see. ",
        "3. loans: I am looking.",
        "4. loans: Your book is due on Friday.",
    ]
    assert [spec.target for spec in client.requests[0].tools] == ["loans", "rooms"]
    assert client.requests[1].tools == ()


def test_a_program_with_requests_approvals_and_checkpoints():
    """The next spelling, whole: questions, approvals, and a second process that begins at the latest checkpoint."""
    client = ScriptedClient(
        {
            "front": ["Which ticket?", handoff_to("workshop")],
            "workshop": [
                call("find_bike", ticket=7),
                call("charge", ticket=7, euros=38.0),
                "Paid. Anything else?",
                "Goodbye!",
            ],
        }
    )
    assert play(SECOND, client, ["Number 7.", "y", "No, thanks."]) == [
        "front asks: front: Which ticket?",
        "approve charge {'ticket': 7, 'euros': 38.0}",
        "Paid. Anything else?",
        "done: ['No, thanks.', 'Goodbye!']",
    ]


# --- Name by name


def pair(*replies: Reply) -> tuple[Agent, Agent]:
    client = ChatClient(ScriptedClient(*replies))
    return client.create_agent(name="a"), ChatAgent(client, "Help.", name="b", description="Helps.")


def edges(builder: HandoffBuilder) -> set[tuple[str, str]]:
    names = [agent.name for agent in builder.build().agents]
    exits = builder.build().pattern.exits
    return {(name, edge.target) for name in names for edge in exits(name).values()}


def three() -> tuple[Agent, Agent, Agent]:
    return Agent("a"), Agent("b"), Agent("c")


def test_everything_that_a_program_needs_beside_is_here_too():
    """Names of `relayline` that kept their name are offered under it, and are the same thing."""
    for name in set(compat.__all__) & set(relayline.__all__) - {"ChatClient", "HandoffBuilder", "Workflow"}:
        assert getattr(compat, name) is getattr(relayline, name)


def test_nothing_imports_the_older_spellings():
    """Who does not use them pays nothing, and they can go one day."""
    source = Path(relayline.__file__).parent
    users = [path for path in source.rglob("*.py") if "relayline.compat" in path.read_text("utf-8")]
    assert users == []


async def test_a_coordinator_is_asked_first_and_again():
    """It need not be among the participants, may hand over to all, and takes what the user says next."""
    client = ChatClient(ScriptedClient(handoff_to("b"), "Which one?", handoff_to("b"), "That one."))
    desk, helper = client.create_agent(name="desk"), client.create_agent(name="b")
    workflow = (
        HandoffBuilder().set_coordinator(desk).participants([helper]).with_interaction_mode("interactive").build()
    )
    spoke = [event.executor_id async for event in workflow.run_stream("Hi.") if event.type == "executor_invoked"]
    (request,) = (await workflow.run()).requests
    assert request.source_executor_id == "b"
    spoke += [
        event.executor_id
        async for event in workflow.send_responses_streaming({request.request_id: "This."})
        if event.type == "executor_invoked"
    ]
    assert spoke == ["desk", "b", "desk", "b"]


async def test_follow_ups_may_go_to_whoever_spoke_last():
    """As they do without a coordinator."""
    a, b = pair(handoff_to("b"), "Which one?", "That one.")
    workflow = HandoffBuilder(participants=[a, b]).set_coordinator("a").enable_return_to_previous().build()
    await workflow.run("Hi.")
    result = await workflow.run("This.")
    assert [message.author_name for message in result.conversation[-2:]] == ["", "b"]


def test_a_coordinators_edges():
    """It reaches everybody; who asks the user has a way back to it, and who goes on alone needs none."""
    a, b, c = three()
    star = {("a", "b"), ("a", "c")}
    back = {("b", "a"), ("c", "a")}
    builder = HandoffBuilder(participants=[a, b, c]).set_coordinator(a)
    assert edges(builder) == star | back
    assert edges(builder.with_interaction_mode("autonomous")) >= star
    assert edges(HandoffBuilder(participants=[a, b, c]).set_coordinator(a).with_interaction_mode("autonomous")) == star
    assert edges(HandoffBuilder(participants=[a, b, c]).set_coordinator(a).add_handoff(b, c)) == star | {
        ("b", "c"),
        ("c", "a"),
    }
    assert edges(HandoffBuilder(participants=[a, b, c]).set_coordinator(a).add_handoff(a, [b])) == {("a", "b")} | back
    assert edges(HandoffBuilder(participants=[a, b, c])) == star | back | {("b", "c"), ("c", "b")}
    with pytest.raises(BuildError, match="interaction mode 'chatty' is neither 'autonomous' nor 'interactive'"):
        builder.with_interaction_mode("chatty")  # type: ignore[arg-type]


async def test_a_workflow_is_one_conversation():
    """Another message goes on with it, also after an answer; a session that is named is another one."""
    workflow = HandoffBuilder(participants=pair("One.", "Two.", "Three.", "Four.")).build()
    (request,) = (await workflow.run("1")).requests
    await workflow.run(responses={request.request_id: "2"})
    assert [event.data.text async for event in workflow.run_stream("3") if event.type == "message"] == ["3", "Three."]
    assert (await workflow.run(session_id="other", message="4")).messages[-1].text == "Four."
    assert [message.text for message in (await workflow.session(request.session_id)).conversation] == [
        "1", "One.", "2", "Two.", "3", "Three.",
    ]  # fmt: skip


async def test_two_workflows_of_one_builder_are_two_conversations():
    """Also if they share a store."""
    builder = HandoffBuilder(participants=pair("One.", "Two.")).with_checkpointing(InMemoryCheckpointStorage())
    first, second = await builder.build().run("1"), await builder.build().run("2")
    assert first.session_id != second.session_id


async def test_messages_have_the_older_face_wherever_they_come_from():
    """Events, requests, results and the termination condition show roles with a value, and contents."""
    seen: list[ChatMessage] = []

    def over(conversation: list[ChatMessage]) -> bool:
        seen.extend(conversation)
        return any("goodbye" in message.contents[0].lower() for message in conversation[-2:])

    a, b = pair([handoff_to("b")], "Which one?", "Goodbye.")
    workflow = HandoffBuilder(participants=[a, b]).with_termination_condition(over).build()
    events = [event async for event in workflow.run_stream("Hi.")]
    (request,) = [event for event in events if isinstance(event, RequestInfoEvent)]
    events += [event async for event in workflow.send_responses_streaming({request.request_id: "This."})]
    (output,) = [event for event in events if isinstance(event, WorkflowOutputEvent)]
    result = await workflow.run()

    said = [event.data for event in events if event.type == "message"]
    for message in [*said, *seen, *output.data, *request.data.agent_response.messages, *result.conversation]:
        assert isinstance(message, ChatMessage)
        assert isinstance(message.role, Role)
    assert [(message.role.value, message.text) for message in output.data] == [
        ("user", "Hi."), ("assistant", "Which one?"), ("user", "This."), ("assistant", "Goodbye."),
    ]  # fmt: skip
    assert all(message.text for message in seen)
    assert [type(part) for part in result.conversation[1].contents] == [ToolCall]
    assert result.state == WorkflowRunState.IDLE


def test_a_chat_message_is_a_message():
    """It is made from a role and a text, equal in role to the plain string, and gives its words as strings with a text."""
    message = ChatMessage(Role.ASSISTANT, text="Hello.", author_name="a")
    assert message == ChatMessage("assistant", message.parts, "a")
    assert (message.role == "assistant", message.role.value, message.text) == (True, "assistant", "Hello.")
    assert (message.contents[0].lower(), message.contents[0].text, str(message)) == ("hello.", "Hello.", "Hello.")
    with pytest.raises(ValueError, match="'nobody' is not a valid Role"):
        ChatMessage("nobody", text="Hello.")


async def test_a_chat_message_can_be_said_and_kept(tmp_path: Path):
    """As a message, as an answer, and into a store that outlives the process, by its older spelling."""
    store = FileCheckpointStorage(storage_path=str(tmp_path / "checkpoints"))
    workflow = HandoffBuilder(participants=pair("One.", "Two.")).with_checkpointing(store).build()
    (request,) = (await workflow.run(ChatMessage(Role.USER, text="1"))).requests
    answer = request.data.create_response([ChatMessage(Role.USER, text="2")])
    await workflow.run(responses={request.request_id: answer})
    again = HandoffBuilder(participants=pair()).with_checkpointing(store).build()
    assert [message.text for message in (await again.session(request.session_id)).conversation] == [
        "1",
        "One.",
        "2",
        "Two.",
    ]
    await store.aclose()


async def test_a_conversation_can_be_ended_instead_of_answered():
    """The builder has the response as well."""
    workflow = HandoffBuilder(participants=pair("Which one?")).build()
    (request,) = (await workflow.run("Hi.")).requests
    result = await workflow.run(responses={request.request_id: HandoffBuilder.terminate()})
    assert result.state == WorkflowRunState.IDLE


async def test_a_copy_of_a_workflow_keeps_the_older_face():
    """With another client, say; it is a conversation of its own."""
    workflow = HandoffBuilder(participants=[Agent("a"), Agent("b")]).build().with_client(ScriptedClient("One.", "Two."))
    events = [event async for event in workflow.run_stream("1")]
    assert isinstance(next(event for event in events if event.type == "message").data, ChatMessage)
