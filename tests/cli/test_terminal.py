"""Events on a terminal."""

import io

import pytest
from inline_snapshot import snapshot
from rich.console import Console

from relayline import (
    HumanTurnRequest,
    InMemoryCheckpointStorage,
    Message,
    Text,
    ToolCall,
    Workflow,
    WorkflowEvent,
)
from relayline.cli.conversation import Opening
from relayline.cli.terminal import COLOURS, Glyphs, TerminalScreen
from relayline.runtime.requests import FunctionApprovalRequestContent, InterruptedCallRequest
from tests.cli import people
from tests.cli.stories import recorded
from tests.cli.team import workflow


class Drawn:
    """A terminal screen and what was drawn on it."""

    def __init__(self, width: int = 60, **options: object) -> None:
        self.file = io.StringIO()
        self.console = Console(file=self.file, width=width, _environ={}, **options)
        self.screen = TerminalScreen(self.console, ["triage", "orders"])

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.file.getvalue().split("\n"))


@pytest.fixture
def drawn() -> Drawn:
    return Drawn()


async def test_a_handoff_and_a_tool(drawn: Drawn):
    """Words stand under their speaker's name, a handoff is a divider with its reason, a tool is a line and its result."""
    for event in await recorded("where is my order?"):
        drawn.screen.show(event)
    assert drawn.text == snapshot("""\

triage
  One moment.

── triage → orders · asks about an order ───────────────────

orders
  · find_order(number="A-1")
    = Order A-1 was delivered.
  So: Order A-1 was delivered.
""")


async def test_a_refusal(drawn: Drawn):
    """What a refused call came to is said, and not dressed up as a result."""
    for event in await recorded("where is my order?", "money", responses={"s/r2": False}):
        drawn.screen.show(event)
    assert drawn.text.split("\n")[-6:] == snapshot(
        [
            '  · find_order(number="A-1")',
            "    = Order A-1 was delivered.",
            "  So: Order A-1 was delivered.",
            "    ! refund: Not run: a person refused it.",
            "  So: Not run: a person refused it.",
            "",
        ]
    )


@pytest.mark.parametrize("streamed", [True, False])
async def test_hostile_words_are_words(drawn: Drawn, streamed: bool):
    """Neither escape sequences nor rich's markup are obeyed, streamed or not."""
    for event in await recorded("evil"):
        if streamed or event.type != "message_delta":
            drawn.screen.show(event)
    assert drawn.text == snapshot("""\

triage
  red [bold]plain[/bold]
  -- triage -> nowhere
""")


def request(data: object) -> WorkflowEvent:
    return WorkflowEvent("request_info", "s", data, "orders", "s/r1")


def test_an_approval_card_hides_nothing(drawn: Drawn):
    """A card has the tool, an argument a line, and every invisible character written out."""
    call = ToolCall("1", "refund", '{"number": "A-1\\u202e", "note": "[red]\\n\\u001b[2J", "items": [1, 2]}')
    drawn.screen.card(request(FunctionApprovalRequestContent(call)), call)
    assert drawn.text == snapshot("""\

╭─ orders asks to run ─────────────────────────────────────╮
│ refund                                                   │
│   number  "A-1\\u202e"                                    │
│   note    "[red]\\n\\u001b[2J"                             │
│   items   [1, 2]                                         │
╰──────────────────────────────────────────────────────────╯
""")


def test_an_interrupted_call_card(drawn: Drawn):
    """A call that was cut off is shown as what it is: nobody knows whether it happened."""
    call = ToolCall("1", "send_parcel", "{}")
    drawn.screen.card(request(InterruptedCallRequest(call, "the bank is closed")), call)
    assert "Its tool could not say: the bank is closed" in drawn.text
    drawn.file.truncate(0)
    drawn.file.seek(0)
    drawn.screen.card(request(InterruptedCallRequest(call)), call)
    assert drawn.text == snapshot("""\

╭─ orders was interrupted ─────────────────────────────────╮
│ send_parcel                                              │
│ It was cut off half-way. It may have taken effect, or    │
│ not.                                                     │
╰──────────────────────────────────────────────────────────╯
""")


def test_a_very_long_argument_is_cut_and_says_so(drawn: Drawn):
    """A megabyte in an argument does not bury the question."""
    call = ToolCall("1", "note", f'{{"text": "{"x" * 1_000_000}"}}')
    drawn.screen.card(request(FunctionApprovalRequestContent(call)), call)
    assert len(drawn.text) < 10_000
    assert "editing shows all" in drawn.text


@pytest.mark.parametrize("width", [1, 20, 35, 200])
async def test_any_width_will_do(width: int):
    """The narrowest and the widest terminal show the same letters."""
    drawn = Drawn(width)
    for event in await recorded("where is my order?", "money"):
        drawn.screen.show(event)
    assert "deliver" in drawn.text


async def test_a_terminal_without_unicode_is_drawn_in_ascii():
    """Where the encoding has no arrows and rules there are none."""
    drawn = Drawn()
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    screen = TerminalScreen(Console(file=raw, width=60, _environ={}), ["triage", "orders"])
    for event in await recorded("where is my order?"):
        screen.show(event)
    raw.flush()
    assert b"?\xe2" not in raw.buffer.getvalue()
    assert b"-- triage -> orders - asks about an order ---" in raw.buffer.getvalue()
    assert drawn.text == ""


def test_a_speaker_keeps_its_colour(drawn: Drawn):
    """Colours go by the place in the team, and are different for the first eight; a stranger has a steady one too."""
    team = [f"agent{number}" for number in range(len(COLOURS))]
    screen = TerminalScreen(drawn.console, team)
    assert len({screen.colour(name) for name in team}) == len(COLOURS)
    assert screen.colour("stranger") == TerminalScreen(drawn.console, ["other"]).colour("stranger")


async def test_no_color_means_no_colour():
    """With NO_COLOR there is bold and dim, and no colour."""
    file = io.StringIO()
    console = Console(file=file, width=60, force_terminal=True, _environ={"NO_COLOR": "1", "TERM": "xterm-256color"})
    screen = TerminalScreen(console, ["triage", "orders"])
    for event in await recorded("where is my order?"):
        screen.show(event)
    assert "\x1b[1m" in file.getvalue()
    assert "\x1b[3" not in file.getvalue().replace("\x1b[3m", "")


def test_the_opening_and_the_way_back(drawn: Drawn):
    """The first lines say who is there, which model speaks, and how to come back."""
    opening = Opening(workflow, "a script", "desk-1", True, "relayline chat --session desk-1")
    drawn.screen.open(opening)
    drawn.screen.recap([Message("user", (Text("hello"),)), Message("assistant", (Text("Hi there"),), "triage")])
    drawn.screen.close(opening, started=True)
    assert drawn.text.replace(Glyphs().prompt, ">") == snapshot("""\
desk  triage · orders
a script
new session desk-1
come back with  relayline chat --session desk-1
/help lists the commands

you > hello

triage
  Hi there

come back with  relayline chat --session desk-1
""")


async def drawn_of(*messages: str, team: Workflow, responses: dict[str, object] | None = None) -> str:
    """What is drawn of a run per message, and of one with ``responses``."""
    drawn, team = Drawn(), team.with_store(InMemoryCheckpointStorage())
    screen = TerminalScreen(drawn.console, ["triage", "jo", "back office"], team.machine.people)
    for message in messages:
        async for event in team.run(message, session_id="s", stream=True):
            screen.show(event)
    if responses:
        async for event in team.run(responses=responses, stream=True):
            screen.show(event)
    return drawn.text


async def test_what_a_tool_shows_while_it_runs():
    """A line each beneath its call."""
    assert await drawn_of("count", team=people.workflow) == snapshot("""\

triage
  · count()
    ... one
    ... {"two": 2}
    = two
  So: two
""")


async def test_a_persons_turn_and_a_budget():
    """What was typed here is not drawn a second time; a divider says who has it; a budget that ran out says how to go on."""
    back = HumanTurnRequest.hand_back("Signed.")
    assert await drawn_of("a person, please", team=people.short, responses={"s/r1": back}) == snapshot("""\

── triage → jo · wants a person ────────────────────────────

── jo → triage · done ──────────────────────────────────────

Stopped: the budget of turns is used up, the agents had
their 1 turns. /continue goes on with as much again, or say
something.
""")
