"""An agent as a tool: one task, a conversation of its own, and its answer as the result."""

import asyncio

import pytest

from relayline import Agent, BuildError, HandoffBuilder, HumanAgent, InMemoryCheckpointStorage, ToolContext, tool
from relayline.testing import ScriptedClient, call

INNER = "ann/t1-s1-c0/researcher"
ran: list[str] = []


@tool(repeatable=True)
def look(topic: str, context: ToolContext) -> str:
    """Look something up."""
    context.emit("looking")
    return f"all about {topic}"


@tool(approval_mode="always_require")
def buy(thing: str) -> str:
    """Buy it."""
    ran.append(thing)
    return "bought"


def team(script: dict, tools=(look,), **options):
    client = ScriptedClient(script)
    researcher = Agent("researcher", "Be brief.", "Finds things out.", tools=tools)
    desk = client.as_agent("desk", tools=[researcher.as_tool(**options)])
    return HandoffBuilder(participants=[desk]).build(), client


async def test_the_answer_comes_back_to_the_caller():
    """The caller keeps the conversation, and its colleague's last words are the result of the call."""
    script = {
        "desk": [call("researcher", task="Cats, please."), "They purr."],
        "researcher": [call("look", topic="cats"), "Cats purr."],
    }
    workflow, client = team(script)
    events = [event async for event in workflow.run("Tell me of cats.", session_id="ann")]
    result = next(each.data for each in events if each.type == "tool_result")
    assert (result.outcome, result.content) == ("done", "Cats purr.")
    inner = [each for each in client.requests if each.agent.name == "researcher"]
    assert [each.text for each in inner[0].messages] == ["Cats, please."]  # nothing of the caller's conversation
    shown = [(each.executor_id, each.data) for each in events if each.type == "progress"]
    base = {"agent": "researcher", "session_id": INNER}
    assert shown == [
        ("desk", base | {"type": "tool_call", "name": "look", "arguments": '{"topic": "cats"}'}),
        ("desk", base | {"type": "progress", "data": "looking"}),
        ("desk", base | {"type": "tool_result", "name": "look", "content": "all about cats", "outcome": "done"}),
        ("desk", base | {"type": "message", "text": "Cats purr."}),
    ]
    assert [each.executor_id for each in events if each.type == "executor_invoked"] == ["desk"]


async def test_its_conversation_is_kept_beside_the_callers():
    """In the same store, under an id that begins with the call's key; a repeated call resumes it."""
    script = {"desk": [call("researcher", task="Cats."), "They purr."], "researcher": ["Cats purr."]}
    workflow, _client = team(script)
    await workflow.run("Cats?", session_id="ann")
    assert {each.session_id for each in await workflow.store.sessions()} == {"ann", INNER}
    again = Agent("researcher", client=ScriptedClient()).as_tool()  # nothing left to say
    context = ToolContext("ann", "desk", "t1-s1-c0", "ann/t1-s1-c0", [], host=_host(workflow.store))
    assert await again.call('{"task": "Cats."}', context) == "Cats purr."
    assert again.repeatable


async def test_a_call_that_failed_half_way_is_taken_up_where_it_stood():
    """What the inner agent has done is not done again."""
    done = []

    @tool
    def note(what: str) -> str:
        """Write it down."""
        done.append(what)
        return "noted"

    client = ScriptedClient(call("note", what="x"), OSError("no route"), "All noted.")
    scribe = client.as_agent("researcher", tools=[note]).as_tool()
    context = ToolContext("ann", "desk", "c", "ann/c", [], host=_host(InMemoryCheckpointStorage()))
    with pytest.raises(Exception, match="no route"):
        await scribe.call('{"task": "Note x."}', context)
    assert await scribe.call('{"task": "Note x."}', context) == "All noted."
    assert done == ["x"]


async def test_an_approval_inside_is_an_error_that_says_what_to_do():
    """Nobody can be asked inside a call: the gated tool does not run, and the sentence names the way."""
    ran.clear()
    script = {
        "desk": [call("researcher", task="Buy one."), "I could not."],
        "researcher": [call("buy", thing="cat")],
    }
    workflow, _ = team(script, tools=[buy])
    result = await workflow.run("Buy one.", session_id="ann")
    returned = [each for message in result.conversation for each in message.tool_results]
    assert returned[0].outcome == "error"
    assert "needs a person's approval for 'buy'" in returned[0].content
    assert "as_tool(approval_mode='always_require')" in returned[0].content
    assert ran == []


async def test_the_whole_may_be_gated():
    """Then a person is asked before the inner conversation begins."""
    script = {"desk": [call("ask", task="Cats."), "They purr."], "researcher": ["Cats purr."]}
    workflow, client = team(script, name="ask", description="Ask.", approval_mode="always_require")
    asked = (await workflow.run("Cats?", session_id="ann")).requests[0]
    assert [each.agent.name for each in client.requests] == ["desk"]
    assert (await workflow.run(responses={asked.request_id: True})).text == "They purr."


async def test_leaving_the_run_ends_the_inner_one():
    """Nothing of it goes on in the background."""
    ended = asyncio.Event()

    class Slow(Agent):
        async def stream(self, request):
            yield "Hm"
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

    desk = ScriptedClient(call("slow", task="x")).as_agent("desk", tools=[Slow("slow").as_tool()])
    async with HandoffBuilder(participants=[desk]).build().run("hi") as run:
        async for event in run:
            if event.type == "tool_call":
                await asyncio.sleep(0.05)
                break
    assert ended.is_set()
    assert [each.get_name() for each in asyncio.all_tasks() if each.get_name().startswith("relayline")] == []


async def test_agents_as_tools_within_agents_as_tools():
    """What is shown of the innermost is told through the one between."""
    client = ScriptedClient({"a": [call("b", task="1"), "A."], "b": [call("c", task="2"), "B."], "c": ["C."]})
    inner = Agent("b", tools=[Agent("c", description="C.").as_tool()])
    workflow = HandoffBuilder(participants=[client.as_agent("a", tools=[inner.as_tool()])]).build()
    shown = [event.data async for event in workflow.run("go", session_id="s") if event.type == "progress"]
    assert [each["data"]["text"] for each in shown if each["type"] == "progress"] == ["C."]


async def test_what_cannot_be_a_tool():
    """A person answers when they can; and somebody has to speak."""
    with pytest.raises(BuildError, match="RL132 'jo' is a person"):
        HumanAgent("jo").as_tool()
    with pytest.raises(ValueError, match="'researcher' has no client"):
        await Agent("researcher").as_tool().call('{"task": "x"}', ToolContext("s", "a", "c", "s/c", []))


def _host(store):
    from relayline.context import Host

    return Host(None, store)
