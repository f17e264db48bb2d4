"""The embedded client: conversations in several trades, each decided from what agents and tools say of themselves."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from relayline import Agent, HandoffBuilder, tool
from relayline.agent import ChatRequest, ReplyInfo, ToolSpec
from relayline.clients.local import EmbeddedClient
from relayline.clients.replies import pieces
from relayline.messages import Media, Message, Outcome, Text, ToolCall, ToolResult, user
from relayline.testing import check_request

if TYPE_CHECKING:
    from relayline.clients.encoder import Encoder

pytestmark = pytest.mark.anyio

REASON = {"type": "object", "properties": {"reason": {"type": "string"}}, "required": ["reason"]}


@dataclass
class Said:
    """A reply, gathered."""

    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    info: ReplyInfo = field(default_factory=ReplyInfo)

    @property
    def call(self) -> tuple[str, dict[str, Any]]:
        """The one call: its name and arguments."""
        (call,) = self.calls
        return call.name, dict(call.parse_arguments())

    @property
    def decision(self) -> Any:
        return self.info.metadata["decision"]


@pytest.fixture(scope="session")
def client(encoder: "Encoder") -> EmbeddedClient:
    return EmbeddedClient(encoder)


async def reply(client: EmbeddedClient, request: ChatRequest) -> Said:
    check_request(request)
    said = Said()
    async for chunk in client.stream(request):
        match chunk:
            case str():
                said.text += chunk
            case ToolCall():
                said.calls.append(chunk)
            case ReplyInfo():
                said.info = chunk
    return said


@dataclass
class Team:
    """Agents who may all hand over to one another, and the conversation as each of them sees it."""

    agents: Sequence[Agent]
    client: EmbeddedClient
    views: dict[str, list[Message]] = field(default_factory=dict)
    calls: int = 0

    def request(self, name: str) -> ChatRequest:
        agent = self.agent(name)
        own = [ToolSpec(each.name, each.description, each.parameters) for each in agent.tools]
        handoffs = [
            ToolSpec(
                f"handoff_to_{to.name}", f"Hand the conversation over to {to.name}: {to.description}", REASON, to.name
            )
            for to in self.agents
            if to.name != name
        ]
        return ChatRequest(agent, self.views.get(name, []), [*own, *handoffs])

    def agent(self, name: str) -> Agent:
        return next(agent for agent in self.agents if agent.name == name)

    def hear(self, text: str) -> None:
        for agent in self.agents:
            self.views.setdefault(agent.name, []).append(user(text))

    async def speak(self, name: str) -> Said:
        """Let an agent reply once, and put what it said into everybody's view."""
        said = await reply(self.client, self.request(name))
        self.calls += 1
        said.calls = [replace(call, id=f"c{self.calls}") for call in said.calls]
        parts = (*([Text(said.text)] if said.text else []), *said.calls)
        metadata = json.loads(json.dumps(said.info.metadata))
        self.views[name].append(Message("assistant", parts, name, metadata))
        for agent in self.agents:
            if agent.name != name and said.text:
                self.views[agent.name].append(Message("user", (Text(f"[{name}] {said.text}"),), name))
        if said.calls and said.calls[0].name.startswith("handoff_to_"):
            target = said.calls[0].name.removeprefix("handoff_to_")
            self.returned(name, said, f"Transferred to {target}.", "transferred")
            note = f"[{name}] handed the conversation over to you. Reason: {said.call[1]['reason']}"
            self.views[target].append(Message("user", (Text(note),), name))
        return said

    def returned(self, name: str, said: Said, content: str, outcome: Outcome = "done") -> None:
        (call,) = said.calls
        self.views[name].append(Message("tool", (ToolResult(call.id, call.name, content, outcome),)))


# A travel desk


@tool
def search_flights(
    origin: Annotated[str, "City to leave from"],
    destination: Annotated[str, "City to fly to"],
    day: Annotated[date, Field(description="Day of departure")],
) -> str:
    """Search flights between two cities."""
    return ""


@tool
def find_rooms(
    city: Annotated[str, "The city"], nights: Annotated[int, Field(ge=1, description="How many nights")]
) -> str:
    """Find free hotel rooms in a city."""
    return ""


@tool
def cancel_stay(
    confirmation: Annotated[
        str, Field(pattern=r"^H-\d{5}$", description="The confirmation number, for example H-88123")
    ],
) -> str:
    """Cancel a hotel stay."""
    return ""


TRAVEL = [
    Agent("desk", description="Welcomes travellers and finds the right expert for their trip."),
    Agent(
        "flights",
        description="Books and changes flights and knows about baggage, seats and check-in.",
        tools=[search_flights],
        knowledge=["One suitcase of up to 23 kilos is included.", "Online check-in opens 24 hours before departure."],
    ),
    Agent(
        "hotels",
        description="Finds and books rooms, and changes or cancels hotel stays.",
        tools=[find_rooms, cancel_stay],
        knowledge=["Breakfast is included in all our hotels. Dinner is not.", "Check-in is from 3 pm."],
    ),
]

# An IT helpdesk


@tool
def reset_password(
    username: Annotated[str, Field(pattern=r"^[a-z]+\d+$", description="The user name, e.g. jdoe42")],
) -> str:
    """Reset the password of an account."""
    return ""


@tool
def order_device(
    device: Annotated[Literal["laptop", "monitor", "headset"], "What is needed"],
    reason: Annotated[str, "Why it is needed"],
) -> str:
    """Order a device for somebody."""
    return ""


HELPDESK = [
    Agent("frontdesk", description="First contact of the helpdesk: takes in what staff need and passes it on."),
    Agent("accounts", description="Passwords, logins, access rights.", tools=[reset_password]),
    Agent("hardware", description="Laptops, screens, printers and other devices.", tools=[order_device]),
    Agent("network", description="Wi-Fi, VPN, slow or missing internet connections."),
]

# A clinic


@tool
def renew_prescription(
    medicine: Annotated[str, "Name of the medicine"],
    packs: Annotated[int, Field(ge=1, le=3, description="How many packs")] = 1,
) -> str:
    """Renew a prescription."""
    return ""


@tool
def lab_results(sample_id: Annotated[str, Field(pattern=r"^L-\d{5}$", description="The number on the label")]) -> str:
    """Look up the results of a sample."""
    return ""


CLINIC = [
    Agent("intake", description="Receives patients' messages and directs them to the right part of the clinic."),
    Agent(
        "prescriptions",
        description="Renews prescriptions and answers how medicines are taken.",
        tools=[renew_prescription],
    ),
    Agent("laboratory", description="Blood tests and other samples, and their results.", tools=[lab_results]),
]


@pytest.fixture
def travel(client: EmbeddedClient) -> Team:
    return Team(TRAVEL, client)


# Routing


@pytest.mark.parametrize(
    ("agents", "said", "target"),
    [
        (TRAVEL, "we need a double room near the old town", "hotels"),
        (TRAVEL, "my suitcase is too heavy, what does that cost?", "flights"),
        (HELPDESK, "the wifi in the meeting room is terribly slow", "network"),
        (HELPDESK, "I forgot how to log in", "accounts"),
        (HELPDESK, "the printer eats paper", "hardware"),
        (CLINIC, "my pills are running out", "prescriptions"),
        (CLINIC, "has my blood sample been looked at?", "laboratory"),
    ],
)
async def test_the_front_hands_over_to_the_right_colleague(
    client: EmbeddedClient, agents: list[Agent], said: str, target: str
) -> None:
    """From one-line descriptions alone, in any trade, the right colleague gets a genuine handoff call with a reason."""
    team = Team(agents, client)
    team.hear(said)
    answer = await team.speak(agents[0].name)
    name, arguments = answer.call
    assert (name, arguments) == (f"handoff_to_{target}", {"reason": f"the user said: {said}"})
    assert (answer.text, answer.decision) == ("", "handed over")
    assert answer.info.model == "embedded:minilm-int8"
    scores = answer.info.metadata["scores"]
    assert isinstance(scores, dict)
    assert next(iter(scores)) == target


async def test_no_reason_is_given_where_none_is_asked_for(travel: Team) -> None:
    """A handoff tool without a ``reason`` parameter is called without one."""
    travel.hear("I need a room")
    request = travel.request("desk")
    bare = [replace(each, parameters={"type": "object", "properties": {}}) for each in request.tools]
    answer = await reply(travel.client, replace(request, tools=bare))
    assert answer.call == ("handoff_to_hotels", {})


async def test_who_was_just_handed_a_message_keeps_it(travel: Team) -> None:
    """Nobody sends a message straight back: handed to each in turn, every agent acts or answers itself."""
    for said in ("hm, the weather", "I need a room", "what about my suitcase", "cancel"):
        for giver in TRAVEL:
            for taker in TRAVEL:
                if giver is not taker:
                    view = [
                        user(said),
                        Message("user", (Text(f"[{giver.name}] handed the conversation over to you."),), giver.name),
                    ]
                    travel.views = {taker.name: view}
                    answer = await reply(travel.client, travel.request(taker.name))
                    assert [call.name for call in answer.calls] != [f"handoff_to_{giver.name}"]


async def test_a_message_never_goes_round_for_ever(client: EmbeddedClient) -> None:
    """However little a message says, it is answered after each agent has had it at most once."""
    for agents in (TRAVEL, HELPDESK, CLINIC):
        for said in ("please", "something about payment", "VPN room results", "my laptop pills flight", "A-1042"):
            team = Team(agents, client)
            team.hear(said)
            at, seen = agents[0].name, [agents[0].name]
            while (answer := await team.speak(at)).calls and answer.calls[0].name.startswith("handoff_to_"):
                at = answer.calls[0].name.removeprefix("handoff_to_")
                assert at not in seen
                seen.append(at)


async def test_a_specialist_lets_go_of_what_is_plainly_anothers(travel: Team) -> None:
    """In the middle of a conversation the specialist hands over when a colleague is clearly better."""
    travel.hear("find me a flight")
    await travel.speak("flights")
    travel.hear("and I need a hotel room for the night")
    assert (await travel.speak("flights")).call[0] == "handoff_to_hotels"


async def test_the_front_returns_a_short_answer_to_who_asked(travel: Team) -> None:
    """With everything going to the front first, "2 nights" goes back to the colleague who asked for it."""
    travel.hear("I need a hotel room in Vienna")
    await travel.speak("desk")
    question = await travel.speak("hotels")
    assert question.decision == "asked"
    travel.hear("2")
    assert (await travel.speak("desk")).call[0] == "handoff_to_hotels"
    assert (await travel.speak("hotels")).call == ("find_rooms", {"city": "Vienna", "nights": 2})


async def test_a_specialist_without_a_better_colleague_asks_the_front(client: EmbeddedClient) -> None:
    """Where specialists only know the front desk, that is where what they cannot place goes."""
    front, accounts = HELPDESK[:2]
    team = Team([front, accounts], client)
    team.hear("the coffee machine leaks")
    assert (await team.speak("accounts")).call[0] == "handoff_to_frontdesk"


async def test_a_failed_handoff_is_not_tried_again(travel: Team) -> None:
    """When the handoff came back as an error, the agent makes do without it."""
    travel.hear("I need a room")
    call = ToolCall("c1", "handoff_to_hotels", '{"reason": "x"}')
    travel.views["desk"] += [
        Message("assistant", (call,), "desk"),
        Message("tool", (ToolResult("c1", call.name, "no such handoff", "error"),)),
    ]
    answer = await reply(travel.client, travel.request("desk"))
    assert [each.name for each in answer.calls] != ["handoff_to_hotels"]


# A whole conversation, and what becomes of calls


async def test_a_conversation_from_question_to_result(travel: Team) -> None:
    """Question, handoff, a missing value asked for and answered, tool, result, and on with the next room."""
    travel.hear("I'd like a hotel room in Vienna")
    assert (await travel.speak("desk")).call[0] == "handoff_to_hotels"
    question = await travel.speak("hotels")
    assert question.text == "I need to know how many nights for that."
    assert question.info.metadata["missing"] == ["nights"]
    travel.hear("two")
    search = await travel.speak("hotels")
    assert search.call == ("find_rooms", {"city": "Vienna", "nights": 2})
    travel.returned("hotels", search, "Hotel Sacher has one at 250 EUR; the confirmation number would be H-88123.")
    told = await travel.speak("hotels")
    assert told.text == "Hotel Sacher has one at 250 EUR; the confirmation number would be H-88123."
    assert told.decision == "told"
    travel.hear("oh no, please cancel that stay again")
    cancel = await travel.speak("hotels")
    assert cancel.call == ("cancel_stay", {"confirmation": "H-88123"})
    travel.returned("hotels", cancel, "Not run: a person refused it. Too late.", "refused")
    assert (await travel.speak("hotels")).text == "That was not done (cancel stay): a person refused it. Too late."
    travel.hear("thanks anyway")
    assert (await travel.speak("hotels")).decision == "small talk"


async def test_our_question_is_known_again_without_metadata(travel: Team) -> None:
    """A transcript that lost its metadata goes on all the same: our questions have one form."""
    travel.hear("cancel my hotel stay")
    question = await travel.speak("hotels")
    assert question.text == "I need the confirmation number (for example H-88123) for that."
    travel.views["hotels"][-1] = replace(travel.views["hotels"][-1], metadata={})
    travel.hear("h 88123")
    assert (await travel.speak("hotels")).call == ("cancel_stay", {"confirmation": "H-88123"})


async def test_the_example_in_our_own_question_is_not_taken_for_an_answer(travel: Team) -> None:
    """The number after "for example" was ours; the user has named no number yet."""
    travel.hear("cancel my hotel stay")
    await travel.speak("hotels")
    travel.hear("I don't have it here")
    answer = await travel.speak("hotels")
    assert not answer.calls


async def test_who_does_not_want_to_answer_is_left_in_peace(travel: Team) -> None:
    """Saying "never mind" ends the matter."""
    travel.hear("cancel my hotel stay")
    await travel.speak("hotels")
    travel.hear("never mind")
    assert (await travel.speak("hotels")).decision == "left"


async def test_another_matter_instead_of_an_answer_is_heard(travel: Team) -> None:
    """Asked for a number, the user may ask something else, and is answered."""
    travel.hear("cancel my hotel stay")
    await travel.speak("hotels")
    travel.hear("wait, is breakfast included?")
    answer = await travel.speak("hotels")
    assert answer.text == "Breakfast is included in all our hotels."


async def test_a_result_is_told_and_the_call_not_repeated(travel: Team) -> None:
    """A call whose result is there already for this message is told, not made again."""
    travel.hear("cancel my stay H-88123")
    call = await travel.speak("hotels")
    travel.returned("hotels", call, "Cancelled.")
    note = Message("user", (Text("[desk] handed the conversation over to you."),), "desk")
    travel.views["hotels"] += [Message("assistant", (Text("Cancelled."),), "hotels"), note]
    again = await reply(travel.client, travel.request("hotels"))
    assert (again.text, again.calls) == ("Cancelled.", [])


@pytest.mark.parametrize(
    ("content", "outcome", "text"),
    [
        ("Room 12 is free.", "done", "Room 12 is free."),
        ("done", "done", "Done: cancel stay."),
        ("", "done", "Done: cancel stay."),
        ("ValueError: no such stay", "error", "That did not work (cancel stay): ValueError: no such stay"),
        ("Not run: a person refused it.", "refused", "That was not done (cancel stay): a person refused it."),
        ("It may have run.", "unknown", "I cannot say whether that was done (cancel stay). It may have run."),
        ('{"hotel_name": "Sacher", "beds": 2, "pool": false}', "done", "hotel name: Sacher\nbeds: 2\npool: no"),
        (
            '[{"city": "Rome", "price": 80.5}, {"city": "Bari", "price": null}]',
            "done",
            "- city Rome, price 80.5\n- city Bari, price none",
        ),
        ("[]", "done", "Nothing was found."),
        ("[broken", "done", "[broken"),
    ],
)
async def test_results_are_told_as_they_are(travel: Team, content: str, outcome: Outcome, text: str) -> None:
    """Text as it stands, JSON as short lines, and failures and refusals as what they are."""
    travel.hear("cancel my stay H-88123")
    travel.returned("hotels", await travel.speak("hotels"), content, outcome)
    assert (await travel.speak("hotels")).text == text


async def test_long_results_are_cut_and_say_so(travel: Team) -> None:
    """A result of a megabyte becomes a few thousand characters and a note of what is left out."""
    travel.hear("cancel my stay H-88123")
    travel.returned("hotels", await travel.speak("hotels"), "x" * 1_000_000)
    text = (await travel.speak("hotels")).text
    assert len(text) < 5000
    assert text.endswith("(and 996000 more characters)")


async def test_a_second_request_in_one_message_is_not_forgotten(travel: Team) -> None:
    """The first thing is done, and the second is named, so that it can be brought up again."""
    travel.hear("please cancel H-88123 and can you also cancel H-88124?")
    call = await travel.speak("hotels")
    assert call.call == ("cancel_stay", {"confirmation": "H-88123"})
    travel.returned("hotels", call, "Cancelled.")
    assert (await travel.speak("hotels")).text == (
        "Cancelled.\n\nYou also said: “can you also cancel H-88124?” I took one thing at a time; say it again and it is next."
    )


async def test_a_follow_up_uses_the_same_tool_again(travel: Team) -> None:
    """Then "and H-88124?" after a cancellation is another cancellation."""
    travel.hear("please cancel my stay H-88123")
    travel.returned("hotels", await travel.speak("hotels"), "Cancelled.")
    await travel.speak("hotels")
    travel.hear("and H-88124?")
    assert (await travel.speak("hotels")).call == ("cancel_stay", {"confirmation": "H-88124"})
    travel.returned("hotels", travel_call := Said(calls=[travel.views["hotels"][-1].tool_calls[0]]), "Cancelled.")
    assert travel_call.calls
    await travel.speak("hotels")
    travel.hear("and the other one?")
    assert (await travel.speak("hotels")).decision == "asked"


async def test_a_tool_of_another_trade(client: EmbeddedClient) -> None:
    """A clinic's sample is looked up and a helpdesk's laptop ordered with the same rules."""
    clinic = Team(CLINIC, client)
    clinic.hear("what came out of L-77310?")
    assert (await clinic.speak("laboratory")).call == ("lab_results", {"sample_id": "L-77310"})
    helpdesk = Team(HELPDESK, client)
    helpdesk.hear("I need a new laptop because mine fell down")
    assert (await helpdesk.speak("hardware")).call == (
        "order_device",
        {"device": "laptop", "reason": "I need a new laptop because mine fell down"},
    )
    helpdesk.hear("my password does not work, reset it please")
    assert (await helpdesk.speak("accounts")).text == "I need the user name (e.g. jdoe42) for that."
    helpdesk.hear("it's mkay7")
    assert (await helpdesk.speak("accounts")).call == ("reset_password", {"username": "mkay7"})


@pytest.mark.parametrize(
    "said",
    [
        "I do not want a refund for A-1044",
        "don't refund A-1044!!",
        "question about A-1044",
        "send me a receipt for A-1044",
    ],
)
async def test_what_moves_money_is_only_proposed_when_it_is_asked_for(client: EmbeddedClient, said: str) -> None:
    """Nearness in meaning is enough to look something up, and not to act; "not" is heard where it matters."""
    assert (await paying(client, said)).decision != "called"
    assert (await paying(client, "refund A-1044, please")).call == ("pay_back", {"order_number": "A-1044"})


async def paying(client: EmbeddedClient, said: str) -> Said:
    @tool(approval_mode="always_require")
    def pay_back(order_number: Annotated[str, "The order number, such as A-1042", Field(pattern=r"^A-\d{4}$")]) -> str:
        """Refund an order: pay money back to the card it was paid with."""
        return ""

    desk = Agent("returns", "", "Returns and refunds: getting money back.", [pay_back], client)
    spec = ToolSpec("pay_back", pay_back.description, pay_back.parameters)
    return await reply(client, ChatRequest(desk, [user(said)], [spec]))


# A shop that declares instructions and little else


@tool
def start_return(
    order_number: Annotated[str, "Order number of the return"],
    reason: Annotated[Literal["broken on arrival", "wrong item sent", "no longer wanted"], "Why it is sent back"],
) -> str:
    """Return an order: send it back because it is broken, wrong or no longer wanted."""
    return ""


@tool(approval_mode="always_require")
def refund(order_number: Annotated[str, "Order number to process refund for"]) -> str:
    """Refund an order: pay the money back."""
    return ""


@tool(repeatable=True)
def order_status(order_number: Annotated[str, "Order number"]) -> str:
    """Check the status of an order: where it is and when it comes."""
    return ""


SHOP = [
    Agent("triage_agent", "You are frontline triage. Route customers to the right specialist."),
    Agent("returns_agent", "You manage returns and refunds.", tools=[start_return, refund]),
    Agent("order_agent", "You handle orders and shipping.", tools=[order_status]),
]


async def test_agents_without_descriptions_are_known_by_name_and_instructions(client: EmbeddedClient) -> None:
    """A team that says what it does in its instructions only is routed, too."""
    team = Team(SHOP, client)
    team.hear("where is my order?")
    assert (await team.speak("triage_agent")).call[0] == "handoff_to_order_agent"
    assert (await team.speak("order_agent")).text == "I need the order number for that."
    team.hear("it's 1240")
    assert (await team.speak("order_agent")).call == ("order_status", {"order_number": "1240"})


async def test_a_request_for_another_tool_is_no_answer(client: EmbeddedClient) -> None:
    """Asked why something goes back, "refund it" is no reason: the refund is what is wanted now."""
    team = Team(SHOP, client)
    team.hear("I want to return order 1240")
    assert (await team.speak("returns_agent")).info.metadata["missing"] == ["reason"]
    team.hear("refund it")
    assert (await team.speak("returns_agent")).call == ("refund", {"order_number": "1240"})


async def test_a_choice_that_was_offered_is_taken_by_a_word_of_it(client: EmbeddedClient) -> None:
    """Then "the wrong one" is enough once the choices were named."""
    team = Team(SHOP, client)
    team.hear("I want to return order 1240")
    await team.speak("returns_agent")
    team.hear("it was the wrong one")
    assert (await team.speak("returns_agent")).call[1]["reason"] == "wrong item sent"


async def test_what_was_done_is_not_done_again_by_the_way(client: EmbeddedClient) -> None:
    """More about the same matter does not repeat a call that changes something; a look-up is simply made again."""
    team = Team(SHOP, client)
    team.hear("I want to return order 1240, it was broken on arrival")
    team.returned("returns_agent", await team.speak("returns_agent"), "Return R-1 is open.")
    await team.speak("returns_agent")
    team.hear("it was really broken when it arrived")
    assert not (await team.speak("returns_agent")).calls
    team.hear("where is order 1240 now?")
    for _ in range(2):
        team.returned("order_agent", await team.speak("order_agent"), "On its way.")
        await team.speak("order_agent")
        team.hear("and now?")
    assert (await team.speak("order_agent")).call == ("order_status", {"order_number": "1240"})


async def test_a_new_matter_begins_a_new_request(travel: Team) -> None:
    """An answer belongs to the question it follows, not to an older one that was left open."""
    team = Team(HELPDESK, travel.client)
    team.views = {"hardware": [user("I need something because mine broke")]}
    first = Message(
        "assistant", (Text("I need the user name for that."),), "hardware", {"decision": "asked", "tool": "gone"}
    )
    second = Message(
        "assistant",
        (Text("I need what is needed for that."),),
        "hardware",
        {"decision": "asked", "tool": "order_device"},
    )
    team.views["hardware"] += [first, user("then order something, mine fell down"), second, user("a headset")]
    assert (await reply(team.client, team.request("hardware"))).call == (
        "order_device",
        {"device": "headset", "reason": "then order something, mine fell down"},
    )


@pytest.mark.parametrize(
    "place",
    [{"type": "string", "maxLength": 10}, {"enum": ["billing", "other"]}, {"type": "string", "pattern": "^[A-Z]+$"}],
)
async def test_a_reason_that_may_not_be_free_is_not_made_up(travel: Team, place: dict[str, Any]) -> None:
    """What is given as a reason always fits the handoff's schema."""
    travel.hear("I need a hotel room in Vienna")
    request = travel.request("desk")
    parameters = {"type": "object", "properties": {"reason": place}}
    answer = await reply(
        travel.client, replace(request, tools=[replace(each, parameters=parameters) for each in request.tools])
    )
    assert answer.call == ("handoff_to_hotels", {})


# Words


async def test_knowledge_is_quoted_word_for_word_with_its_source(travel: Team) -> None:
    """The answer is the closest sentence the agent was given, and the trace says which one it is."""
    travel.hear("how heavy may my suitcase be?")
    answer = await travel.speak("flights")
    assert answer.text == "One suitcase of up to 23 kilos is included."
    assert answer.info.metadata["source"] == "quoted from flights.knowledge[0]"


async def test_a_sentence_that_is_only_near_is_not_sold_as_the_answer(client: EmbeddedClient) -> None:
    """Between knowing and not knowing the sentence is quoted with the doubt said first."""
    agent = client.as_agent("visas", knowledge=["A passport must be valid for six months after the return."])
    answer = await reply(client, ChatRequest(agent, [user("how much does a passport cost?")]))
    assert answer.text.startswith("I am not sure (0.3")
    assert answer.text.endswith("but this may help: A passport must be valid for six months after the return.")


async def test_what_is_not_known_is_not_made_up(client: EmbeddedClient) -> None:
    """Without a sentence that answers, the agent says so, how unsure it is, and what it can do instead."""
    team = Team(CLINIC[1:2], client)
    team.hear("who won the football match?")
    answer = await team.speak("prescriptions")
    assert answer.text.startswith("I am not sure (0.")
    assert "renew prescription" in answer.text
    assert answer.decision == "unsure"


@pytest.mark.parametrize(
    "said",
    [
        "hello",
        "Hi there!",
        "thanks a lot",
        "ok thanks, bye",
        "thanks for sorting that out",
        "good morning",
        "who are you?",
        "what can you do?",
    ],
)
async def test_small_talk_stays_and_is_courteous(travel: Team, said: str) -> None:
    """Courtesies are answered by whoever holds the conversation."""
    for agent in TRAVEL:
        travel.views = {agent.name: [user(said)]}
        answer = await reply(travel.client, travel.request(agent.name))
        assert answer.decision == "small talk"
        assert answer.calls == []


@pytest.mark.parametrize(
    "said",
    [
        "",
        "   ",
        "?!",
        "\x00",
        "asdf qwer zxcv",
        "\U0001f600\U0001f600",
        "帮我订酒店",
        "Где мой заказ?",
        "أين طلبي",
        "\ud800",
    ],
)
async def test_gibberish_and_other_scripts_move_nobody(travel: Team, said: str) -> None:
    """What cannot be understood is neither handed over nor acted on, and the reply has words."""
    for agent in TRAVEL:
        request = replace(travel.request(agent.name), messages=[Message("user", (Text(said),))])
        chunks = [chunk async for chunk in travel.client.stream(request)]
        assert not [chunk for chunk in chunks if isinstance(chunk, ToolCall)]
        assert "".join(chunk for chunk in chunks if isinstance(chunk, str)).strip()


async def test_an_image_alone_is_not_looked_at(travel: Team) -> None:
    """It says so and asks; beside words it is passed over, its name too, which is nothing the user said."""
    photo = Media.from_bytes(b"png", "image/png", "B-2001.png")
    alone = await reply(travel.client, replace(travel.request("desk"), messages=[Message("user", (photo,))]))
    assert alone.text.startswith("I only read words, sorry, and cannot look at what you sent.")
    plain = [user("I need a room in Rome.")]
    shown = [replace(plain[0], parts=(*plain[0].parts, photo))]
    assert await reply(travel.client, replace(travel.request("desk"), messages=shown)) == await reply(
        travel.client, replace(travel.request("desk"), messages=plain)
    )


async def test_without_any_message_it_asks(travel: Team) -> None:
    """An agent that is to speak first asks what it can do."""
    first = await anext(travel.client.stream(replace(travel.request("desk"), messages=())))
    assert first == "I "


async def test_an_agent_with_nothing_to_say_of_itself(client: EmbeddedClient) -> None:
    """Without description, knowledge, tools and colleagues it still answers honestly."""
    answer = await reply(client, ChatRequest(client.as_agent("x"), [user("explain quantum physics")]))
    assert answer.text.startswith("I am not sure")


async def test_replies_stream_word_by_word(travel: Team) -> None:
    """The pieces are words, and together they are the reply."""
    travel.hear("how heavy may my suitcase be?")
    chunks = [chunk async for chunk in travel.client.stream(travel.request("flights")) if isinstance(chunk, str)]
    assert chunks[:3] == ["One ", "suitcase ", "of "]
    assert pieces("a  b\n\n- c ") == ["a  ", "b\n\n", "- ", "c "]


# How it runs


async def test_the_same_request_has_the_same_reply(travel: Team, encoder: "Encoder") -> None:
    """Another client, in another place, says the same: nothing is kept between replies."""
    travel.hear("I need a hotel room in Vienna")
    first = await reply(travel.client, travel.request("desk"))
    travel.hear("something else in between")
    await reply(travel.client, travel.request("hotels"))
    travel.views["desk"].pop()
    assert await reply(EmbeddedClient(encoder), travel.request("desk")) == first


async def test_the_event_loop_goes_on_meanwhile(client: EmbeddedClient) -> None:
    """While a decision is computed, other tasks run."""
    agents = [Agent(f"a{n}", description=f"Number {n} of the things that {n} people do") for n in range(40)]
    team = Team(agents, client)
    team.hear("which of you counts sheep?")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await reply(client, team.request("a0"))
        group.cancel_scope.cancel()
    assert ticks > 20


async def test_a_megabyte_message_is_bounded_work(travel: Team) -> None:
    """A megabyte of words, of one word or of numbers is answered in a few seconds of CPU at most."""
    for unit in ("I need a room in Vienna. ", "x", "la", "([{", "H-88123 ", "and can you "):
        travel.views = {}
        travel.hear(unit * (1_000_000 // len(unit)))
        started = time.process_time()
        for agent in TRAVEL:
            await reply(travel.client, travel.request(agent.name))
        assert time.process_time() - started < 6


async def test_a_long_conversation_costs_no_more_than_a_short_one(travel: Team) -> None:
    """Only the end of a transcript is read."""
    travel.views["hotels"] = [
        each
        for n in range(3000)
        for each in (user(f"is there a pool in hotel {n}?"), Message("assistant", (Text("I am not sure."),), "hotels"))
    ]
    travel.views["hotels"].append(user("is breakfast included?"))
    started = time.process_time()
    assert (await travel.client.stream(travel.request("hotels")).__anext__()) == "Breakfast "
    assert time.process_time() - started < 1


def test_importing_the_client_does_not_load_the_model_or_numpy() -> None:
    """The command line stays quick: numpy comes with the first reply."""
    code = "import sys, relayline.clients.local as m; print('numpy' in sys.modules, m.EmbeddedClient.about)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("False embedded MiniLM")
    assert "does not write or reason" in out


async def test_what_a_handoff_has_to_carry_is_asked_for_and_the_wish_goes_with_it(client: EmbeddedClient) -> None:
    """Who answers with a bare number is handed over with what they had asked for, and the gated tool is proposed."""

    class Claim(BaseModel):
        """The number of the order, for example B-2001"""

        order: Annotated[str, Field(pattern=r"^B-\d{4}$")]

    @tool(approval_mode="always_require")
    def refund(order: Annotated[str, Field(pattern=r"^B-\d{4}$")]) -> str:
        """Refund an order: pay the money back."""
        return order

    orders = client.as_agent("orders", description="Orders: where a parcel is, when it comes.")
    refunds = client.as_agent("refunds", description="Refund: wants the money back.", tools=[refund])
    builder = HandoffBuilder(participants=[orders, refunds]).add_handoff(orders, refunds, payload=Claim)
    team = builder.with_terminal_agents([refunds]).build()
    asked = await team.run("I want my money back", session_id="s")
    assert asked.text == "I need the number of the order (for example B-2001) for that."
    events = [event async for event in team.run("B-2001", session_id="s")]
    [sent] = [event.data for event in events if event.type == "handoff_sent"]
    assert (sent.reason, sent.payload) == ("the user said: I want my money back", {"order": "B-2001"})
    [request] = [event.data for event in events if event.type == "request_info"]
    assert request.function_call.parse_arguments() == {"order": "B-2001"}


async def test_it_speaks_for_a_real_workflow(client: EmbeddedClient) -> None:
    """In a workflow it hands over, calls, asks and tells, over several turns of one session."""

    @tool
    def track(
        parcel: Annotated[str, Field(pattern=r"^P-\d{3}$", description="The parcel number, such as P-123")],
    ) -> str:
        """Find out where a parcel is."""
        return f"{parcel} is in Oslo."

    front = client.as_agent("front", description="Receives everybody and brings in the right colleague.")
    parcels = client.as_agent("parcels", description="Knows where parcels are and when they arrive.", tools=[track])
    workflow = HandoffBuilder(name="post", participants=[front, parcels]).add_handoff(front, parcels).build()
    run = await workflow.run("where is my parcel?")
    assert run.messages[-1].text == "I need the parcel number (such as P-123) for that."
    run = await workflow.run("P 123", session_id=run.session_id)
    assert run.messages[-1].text == "P-123 is in Oslo."


TOOLS = {each.name: each for agent in [*TRAVEL, *HELPDESK, *CLINIC] for each in agent.tools}
SCRAPS = st.sampled_from(
    "cancel my stay H-88123 h88124 room in Vienna for two nights 3 password reset mkay7 laptop headset because it broke "
    "L-77310 results sample fly from Rome to Oslo 2027-03-09 March 9, 2027 yes no thanks and the other one flight hotel".split()
) | st.text(max_size=8)


@given(
    st.sampled_from([TRAVEL, HELPDESK, CLINIC]),
    st.lists(st.lists(SCRAPS, min_size=1, max_size=10).map(" ".join).filter(str.strip), min_size=1, max_size=4),
    st.sampled_from(["done", "error", "refused"]),
    st.data(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_call_is_declared_and_accepted(
    client: EmbeddedClient, agents: list[Agent], messages: list[str], outcome: Outcome, data: st.DataObject
) -> None:
    """Whatever is said to whomever: only tools of the request are called, with arguments the tools accept."""

    async def converse() -> None:
        team = Team(agents, client)
        at = data.draw(st.sampled_from([agent.name for agent in agents]))
        for message in messages:
            team.hear(message)
            for _ in range(2 * len(agents) + 2):
                answer = await reply(client, replace(team.request(at)))
                if not answer.calls:
                    assert answer.text.strip()
                    team.views[at].append(Message("assistant", (Text(answer.text),), at, answer.info.metadata))
                    break
                answer = await team.speak(at)
                name, _ = answer.call
                assert name in {each.name for each in team.request(at).tools}
                if name in TOOLS:
                    assert TOOLS[name].problem(answer.calls[0].arguments) is None
                    team.returned(at, answer, "so it is", outcome)
                else:
                    at = name.removeprefix("handoff_to_")
            else:
                raise AssertionError("no end of calls")

    anyio.run(converse)
