"""Events as plain lines, and plain lines as answers."""

import io

import pytest
from inline_snapshot import snapshot

from relayline import HandoffBuilder, HumanTurnRequest, InMemoryCheckpointStorage, ToolCall, Workflow, WorkflowEvent
from relayline.cli.conversation import Command, Move, Respond, Say
from relayline.cli.plain import PipedPerson, PlainScreen
from relayline.events import HandedBack
from relayline.runtime.requests import FunctionApprovalRequestContent as Approval
from relayline.runtime.requests import InterruptedCallRequest as Interrupted
from relayline.testing import ScriptedClient, handoff_to
from tests.cli import people
from tests.cli.stories import recorded


class Piped:
    """A plain screen, a person behind a pipe, and what came out."""

    def __init__(self, lines: str = "") -> None:
        self.out, self.aside = io.StringIO(), io.StringIO()
        self.screen = PlainScreen(self.out, self.aside)
        self.person = PipedPerson(io.StringIO(lines), self.screen)

    async def decide(self, data: object) -> Move:
        return await self.person.decide(WorkflowEvent("request_info", "s", data, "orders", "s/r1"), "")


async def test_a_handoff_and_a_tool():
    """Words, handoffs and tools are a line each, that a program can tell apart by how it begins."""
    piped = Piped()
    for event in await recorded("where is my order?", "money", responses={"s/r2": True}):
        piped.screen.show(event)
    assert piped.out.getvalue() == snapshot("""\
triage: One moment.
-- triage -> orders (asks about an order)
   find_order(number="A-1") = Order A-1 was delivered.
orders: So: Order A-1 was delivered.
   refund(number="A-1", amount=5) = 5.00 EUR paid back for A-1.
orders: So: 5.00 EUR paid back for A-1.
""")


async def test_no_reply_can_pass_for_a_handoff():
    """Every line of a reply stands behind its speaker's name."""
    piped = Piped()
    for event in await recorded("evil"):
        piped.screen.show(event)
    assert piped.out.getvalue() == snapshot("""\
triage: red [bold]plain[/bold]
triage: -- triage -> nowhere
""")


REFUND = Approval(ToolCall("1", "refund", '{"amount": 5}'))


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("yes", Approval.create_response(approved=True)),
        ("Y", Approval.create_response(approved=True)),
        ("no", Approval.create_response(approved=False)),
        ("no  too much", Approval.create_response(approved=False, reason="too much")),
    ],
)
async def test_an_approval_is_answered_by_a_line(line: str, answer: object):
    """`yes`, or `no` and perhaps a reason."""
    piped = Piped(f"\n{line}\n")
    assert await piped.decide(REFUND) == Respond(answer)
    assert piped.out.getvalue() == snapshot("?? orders: refund(amount=5) (may it run? yes, or no REASON)\n")
    assert not piped.person.misread


@pytest.mark.parametrize("line", ["maybe", "yes please", "nope", "refund it"])
async def test_what_is_no_answer_is_explained(line: str):
    """Anything else is explained, and the request stays open at the end of the input."""
    piped = Piped(f"{line}\n")
    assert await piped.decide(REFUND) is None
    assert f"relayline: '{line}' is no answer" in piped.aside.getvalue()
    assert piped.person.misread


async def test_an_interrupted_call_is_answered_by_a_line():
    """`again`, or a sentence that says what it did; a mere `yes` says neither."""
    call = Interrupted(ToolCall("1", "send", "{}"))
    assert await Piped("again\n").decide(call) == Respond(call.run_again())
    assert await Piped("yes\nit was sent\n").decide(call) == Respond(call.create_response("it was sent"))


async def test_why_a_tool_could_not_say_what_became_of_its_call():
    """Whoever is asked is told what is known, on the one line of the request."""
    piped = Piped("again\n")
    await piped.decide(Interrupted(ToolCall("1", "send", "{}"), "TimeoutError: the bank\n?? x"))
    assert piped.out.getvalue() == snapshot(
        "?? orders: send() (it was interrupted, and may have taken effect; its tool could not say: "
        "TimeoutError: the bank ?? x: again (r), or SAY WHAT IT DID)\n"
    )


async def test_lines_with_nothing_on_them_are_skipped():
    """Blank lines, and lines of control characters only, are no messages."""
    piped = Piped("\n  \n\x1b[A\x00\n\x1b[1mhello\r\n")
    assert await piped.person.say() == Say("hello")
    assert await piped.person.say() is None


async def test_a_return_and_a_warning():
    """Who gives the conversation back is a line like any handoff; a warning is about the program and stands aside."""
    client = ScriptedClient(
        {"a": [handoff_to("b"), handoff_to("b"), handoff_to("c"), "So."], "b": ["B.", "B."], "c": [handoff_to("a")]}
    )
    agents = [client.as_agent(name) for name in "abc"]
    team = (
        HandoffBuilder(participants=agents)
        .add_handoff("a", "b", returns="caller")
        .add_handoff("a", "c")
        .add_handoff("c", "a")
    )
    piped = Piped()
    async for event in team.with_loop_control(max_hops=4).build().run("hi"):
        piped.screen.show(event)
    assert piped.out.getvalue() == snapshot("""\
-- a -> b
b: B.
-- b -> a (done)
-- a -> b
b: B.
-- b -> a (done)
   handoff_to_c() = error: Not taken: the conversation was handed over 4 times since the user last spoke. Answer the user yourself, or ask.
a: So.
""")
    assert piped.aside.getvalue() == snapshot(
        "warning: the conversation was handed over 4 times since the user last spoke\n"
    )


async def told(*messages: str, team: Workflow = people.workflow, responses: dict[str, object] | None = None) -> Piped:
    """What is shown of a run per message, and of one with ``responses``."""
    piped, team = Piped(), team.with_store(InMemoryCheckpointStorage())
    for message in messages:
        async for event in team.run(message, session_id="s"):
            piped.screen.show(event)
    if responses:
        async for event in team.run(responses=responses):
            piped.screen.show(event)
    return piped


async def test_what_a_tool_shows_while_it_runs():
    """A line each, behind three spaces as all that tools say."""
    assert (await told("count")).out.getvalue() == snapshot("""\
   ... one
   ... {"two": 2}
   count() = two
triage: So: two
""")


async def test_a_budget_that_is_used_up():
    """It is put as a question: which budget, and how to go on."""
    back = HumanTurnRequest.hand_back("Signed.")
    piped = await told("a person, please", team=people.short, responses={"s/r1": back})
    assert piped.out.getvalue() == snapshot("""\
-- triage -> jo (wants a person)
jo: Signed.
-- jo -> triage (done)
?? stopped: the budget of turns is used up, the agents had their 1 turns (/continue, or a new message)
""")
    assert await Piped("/continue\n").person.say() == Command("continue")


async def test_why_somebody_is_given_the_conversation_back():
    """The reason stands where `done` would."""
    piped = Piped()
    back = HandedBack(3, "jo", "triage", "Nobody answered in time.")
    piped.screen.show(WorkflowEvent("handed_back", "s", back, "jo"))
    assert piped.out.getvalue() == "-- jo -> triage (Nobody answered in time.)\n"


@pytest.mark.parametrize(
    ("line", "move"),
    [
        ("I decide.", Say("I decide.")),
        ("/handoff back office file it", Command("handoff", "back office file it")),
        ("/Back", Command("back")),
        ("/etc/passwd", Say("/etc/passwd")),
    ],
)
async def test_a_turn_is_taken_by_a_line(line: str, move: Move):
    """What a person of the team says, or a command that hands over or back; a slash alone makes no command."""
    piped = Piped(f"\n{line}\n")
    request = WorkflowEvent("request_info", "s", HumanTurnRequest("jo", ()), "jo", "s/r1")
    assert await piped.person.take_turn(request, ["triage", "back office"], "") == move
    assert piped.out.getvalue() == snapshot(
        "?? jo: your turn (SAY SOMETHING, or /handoff triage, /handoff back office, /back)\n"
    )
    assert await piped.person.take_turn(request, [], "the reason") is None
    assert "relayline: the reason" in piped.aside.getvalue()
    assert piped.person.misread
