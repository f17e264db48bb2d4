"""Who can be in a team: agents of any kind, and whatever behaves like one."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from inline_snapshot import snapshot

from relayline import (
    Agent,
    BuildError,
    ChatClient,
    ChatRequest,
    HandoffBuilder,
    Participant,
    ToolCall,
    UsageError,
    tool,
)
from relayline.testing import ScriptedClient, call, handoff_to


class Router:
    """No agent, and no model either: it sends everybody on."""

    name = "router"
    description = "Sends everybody on."

    def __init__(self) -> None:
        self.requests: list[ChatRequest] = []

    async def stream(self, request: ChatRequest) -> AsyncIterator[str | ToolCall]:
        self.requests.append(request)
        yield "One moment. "
        yield ToolCall("1", request.tools[0].name, '{"reason": "as always"}')


@dataclass(frozen=True)
class Priced(Agent):
    """An agent with fields of its own."""

    price: float = 0.0
    tags: list[str] = field(default_factory=list)


class Named(Agent):
    """An agent with attributes of its own."""

    def __init__(self, name: str, team: str) -> None:
        super().__init__(name, description=f"{name} of {team}")
        self.team = team
        self.seen = 0


class Echo(Agent):
    """An agent that speaks for itself."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[str]:
        yield f"{self.name}: {request.messages[-1].text}"


@tool
def find() -> str:
    """Find it."""
    return "found"


async def test_whatever_has_a_name_and_answers_takes_part() -> None:
    """It is asked as a model is, with its handoffs as tools, and takes one by yielding its call."""
    router, client = Router(), ScriptedClient("Here.")
    assert isinstance(router.name, str)
    participant: Participant = router
    desk = client.as_agent("desk", description="Answers.")
    builder = HandoffBuilder(participants=[participant, desk]).add_handoff(router, desk)
    workflow = builder.with_terminal_agents([desk]).build()
    assert (workflow.mute, workflow.warnings) == ([], ())
    events = [event async for event in workflow.run("Hello?", stream=True)]
    [sent] = [event.data for event in events if event.type == "handoff_sent"]
    assert (sent.source, sent.target, sent.reason) == ("router", "desk", "as always")
    assert [event.data for event in events if event.type == "message_delta"] == ["One moment. ", "Here."]
    [request] = router.requests
    assert (request.agent.name, [each.name for each in request.tools]) == ("router", ["handoff_to_desk"])
    assert [message.text for message in client.requests[0].messages][-2:] == [
        "[router] One moment. ",
        "[router] handed the conversation over to you. Reason: as always",
    ]


async def test_what_else_a_participant_has_counts_as_an_agents_does() -> None:
    """Its description is what colleagues read, its tools run, and so on."""

    class Helper:
        __slots__ = ("description", "instructions", "knowledge", "name", "tools")

        def __init__(self) -> None:
            self.name, self.description, self.instructions = "helper", "Finds things.", "Be quick."
            self.knowledge, self.tools = ["It is here."], [find]

        async def stream(self, request: ChatRequest) -> AsyncIterator[str | ToolCall]:
            if request.messages[-1].role == "tool":
                yield f"{request.instructions} -> {request.messages[-1].tool_results[0].content}"
            else:
                yield ToolCall("1", "find")

    client = ScriptedClient(handoff_to("helper"))
    front = client.as_agent("front")
    workflow = HandoffBuilder(participants=[front, Helper()]).add_handoff(front, "helper").build()
    result = await workflow.run("Where?")
    assert client.requests[0].tools[0].description == "Hand the conversation over to helper: Finds things."
    assert result.text == snapshot("""\
Be quick.

What you know:
- It is here. -> found\
""")


async def test_an_agent_of_a_subclass_stays_what_it_is() -> None:
    """With fields or attributes of its own: the same object in the team, and in what its model is given."""
    client = ScriptedClient("Hello.", "Hello.", "Hello.")
    priced, own = Priced("priced", "Be cheap.", client=client, price=2.5, tags=["a"]), Named("own", "blue")
    own.seen += 1
    builder = HandoffBuilder(participants=[priced, own]).add_handoff(priced, own).add_handoff(own, priced)
    workflow = builder.build().with_client(client)
    for given in (workflow, workflow.with_client(client, override=True)):
        assert given.agents[0] is priced
        assert given.agents[1] is own
        await given.run("Hi.", session_id="s", to=own)
        assert client.requests[-1].agent is own
    await workflow.run("Hi.", to=priced)
    assert client.requests[-1].agent is priced
    assert (priced.price, priced.tags, own.team, own.seen) == (2.5, ["a"], "blue", 1)
    with pytest.raises(AttributeError):
        own.instructions = "Be rude."  # type: ignore[misc]


async def test_an_agent_may_speak_for_itself() -> None:
    """A subclass with a stream needs no client, also in a team whose others are given one."""
    echo = Echo("echo", description="Repeats.")
    alone = HandoffBuilder(participants=[echo]).build()
    assert (alone.mute, alone.agents[0] is echo) == ([], True)
    assert (await alone.run("Hi.")).text == "echo: Hi."
    other = ScriptedClient(handoff_to("echo"))
    both = HandoffBuilder(participants=[Agent("front"), echo]).build()
    assert both.mute == ["front"]
    assert (await both.with_client(other).run("Hi.", session_id="s")).text.startswith("echo: [front] handed")


async def test_a_client_for_a_team_changes_no_agent() -> None:
    """Whoever brings the model brings it for this copy of the team only."""
    front, desk = Agent("front", description="First."), Agent("desk", description="Second.")
    workflow = HandoffBuilder(participants=[front, desk]).build()
    one, two = ScriptedClient("One."), ScriptedClient("Two.")
    first, second = workflow.with_client(one), workflow.with_client(two)
    assert ((await first.run("Hi.")).text, (await second.run("Hi.")).text) == ("One.", "Two.")
    assert first.agents == second.agents == workflow.agents == (front, desk)
    assert (front.client, desk.client, workflow.mute) == (None, None, ["front", "desk"])


async def test_an_agent_may_sit_in_two_teams_at_once() -> None:
    """Each offers it its own handoffs; neither knows of the other."""
    client = ScriptedClient({"desk": ["Hi.", "Hi."]})
    desk = client.as_agent("desk", description="Answers.")
    teams = [HandoffBuilder(name=name, participants=[desk, Agent(name, description=name)]).build() for name in "ab"]
    for team in teams:
        await team.with_client(client).run("Hi.", session_id="s")
    assert [[each.target for each in request.tools] for request in client.requests] == [["a"], ["b"]]
    assert [team.agents[0] is desk for team in teams] == [True, True]


async def test_participants_stand_for_their_names() -> None:
    """Wherever a name is taken the participant itself will do: for edges, the start, a message and a preview."""
    router, client = Router(), ScriptedClient({"own": ["Hi."], "desk": ["Hi."]})
    own, desk = Named("own", "blue"), client.as_agent("desk", description="Answers.")
    builder = HandoffBuilder(participants=[desk, router, own]).with_start_agent(router)
    builder.add_handoff(router, [own, desk]).with_terminal_agents([own, desk])
    workflow = builder.build().with_client(client)
    assert (await workflow.run("Hi.", session_id="s")).messages[-1].author_name == "own"
    assert (await workflow.run("Hi.", session_id="s", to=desk)).messages[-1].author_name == "desk"
    assert (await workflow.preview("s", router)).tools[0].target == "own"
    for who in (7, Agent("else"), "else"):
        with pytest.raises(UsageError, match="no agent '(7|else)'"):
            await workflow.run("Hi.", to=who)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="no agent '(7|else)'"):
            await workflow.preview("s", who)  # type: ignore[arg-type]


def test_what_cannot_be_a_participant() -> None:
    """Something without a name, something that does not answer, a class instead of an object, and a bad part of one."""

    class Silent:
        name = "silent"

        def __repr__(self) -> str:
            return "Silent()"

    class Odd(Router):
        name = "odd"
        tools = "find"

    class Nameless(Router):
        name = 7  # type: ignore[assignment]

    client = ScriptedClient()
    given = [Silent(), Router, 7, "front", Odd(), Nameless(), Agent("a", client=Silent())]  # type: ignore[arg-type]
    with pytest.raises(BuildError) as raised:
        HandoffBuilder(participants=[*given, client.as_agent("b")]).build()  # type: ignore[list-item]
    assert list(raised.value.problems) == snapshot(
        [
            "RL103 participants are agents, functions, or objects with a name and stream(request); got Silent()",
            "RL103 participants are agents, functions, or objects with a name and stream(request); got <class 'tests.test_participants.Router'>",
            "RL103 participants are agents, functions, or objects with a name and stream(request); got 7",
            "RL103 participants are agents, functions, or objects with a name and stream(request); got 'front'",
            "RL103 'odd' cannot be an agent: tools of agent 'odd' is a list; got one string",
            "RL103 an agent's name is a string; got 7",
            "RL103 the client of 'a' has no stream(request); got Silent()",
        ]
    )


async def test_a_participant_that_fails_is_named() -> None:
    """What it raises is a failure of the run, as a model's is; a retry asks it again."""

    class Moody(Router):
        async def stream(self, request: ChatRequest) -> AsyncIterator[str | ToolCall]:
            self.requests.append(request)
            if len(self.requests) == 1:
                raise RuntimeError("not now")
            yield "Well."

    workflow = HandoffBuilder(participants=[Moody()]).build()
    with pytest.raises(Exception, match="the model of 'router' failed: RuntimeError: not now"):
        await workflow.run("Hi.", session_id="s")
    assert (await workflow.run(session_id="s")).text == "Well."


class Rules(ChatClient):
    """A client that is no participant: it has no name."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[str]:
        yield "Hi."


async def test_one_client_may_speak_for_many() -> None:
    """A client is a voice, and no participant by itself."""
    with pytest.raises(BuildError, match="RL103 participants are agents"):
        HandoffBuilder(participants=[Rules()]).build()  # type: ignore[list-item]
    agents = [Rules().as_agent(name, description=name) for name in "ab"]
    assert (await HandoffBuilder(participants=agents).build().run("Hi.", to="b")).text == "Hi."


async def test_a_subclass_with_tools_and_a_handoff() -> None:
    """All that an agent does a subclass does too."""
    client = ScriptedClient({"priced": [call("find"), handoff_to("desk")], "desk": ["It is found."]})
    priced = Priced("priced", tools=[find], client=client)
    workflow = HandoffBuilder(participants=[priced, client.as_agent("desk", description="Answers.")]).build()
    assert (await workflow.run("Where?")).text == "It is found."
    client.assert_done()
