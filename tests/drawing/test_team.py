"""From a team, and from a conversation of it, to what is drawn."""

from contextlib import suppress

import pytest

from relayline import Agent, HandoffBuilder, ModelError, SessionView
from relayline.drawing.diagram import Diagram, Line, Node
from relayline.drawing.trail import with_path
from relayline.drawing.words import balanced, counted, one_line, width, wrapped
from relayline.events import HandedBack, HandoffSent
from relayline.testing import ScriptedClient, call, handoff_to
from tests.drawing.teams import crowd, pair, shop, walked


def lines(diagram: Diagram) -> list[tuple[str, str, str, tuple[int, ...]]]:
    return [(each.source, each.target, each.way, each.steps) for each in diagram.lines]


def test_who_ends_a_conversation():
    """Who has no way out, unless a colleague waits for the answer."""
    nodes = {node.name: node for node in shop().diagram().nodes}
    assert [name for name, node in nodes.items() if node.end] == ["polish"]
    assert [name for name, node in nodes.items() if node.start] == ["front"]
    assert nodes["jo"].kind == "person"


def test_a_crowd_meets_in_one_place():
    """Four or more who may all hand over to each other are not drawn with every line."""
    assert len(crowd().diagram().lines) == 5
    assert {line.source for line in crowd().diagram().lines} == {""}


def test_a_way_there_and_back_is_one_line():
    """If there is nothing to be said of either."""
    assert pair().diagram().lines == (Line("a", "b", both=True),)


async def test_a_conversation_is_numbered_along_its_lines():
    """Each handoff on its edge, what was handed back on a line of its own, and what it is at now."""
    drawn = await walked()
    assert [each for each in lines(drawn) if each[3]] == [
        ("front", "orders", "chosen", (1,)),
        ("orders", "jo", "chosen", (2,)),
        ("jo", "orders", "back", (3,)),
    ]
    assert {node.name: node.here for node in drawn.nodes if node.here} == {
        "orders": "waits for approval of handoff_to_jo"
    }
    assert drawn.path == ("front", "orders", "jo", "orders")


async def test_a_step_has_a_direction():
    """One line for both ways becomes two once a conversation is shown."""
    workflow = pair().with_client(ScriptedClient({"a": [[handoff_to("b")]], "b": ["Hello."]}))
    await workflow.run("hi", session_id="s")
    assert lines(workflow.diagram(await workflow.session("s"))) == [
        ("a", "b", "chosen", (1,)),
        ("b", "a", "chosen", ()),
    ]


async def test_a_crowd_shows_the_way_that_was_taken():
    """As a line that everybody could have taken."""
    workflow = crowd().with_client(ScriptedClient({"Lima": [[handoff_to("Oslo")]], "Oslo": ["Hello."]}))
    await workflow.run("hi", session_id="s")
    assert ("Lima", "Oslo", "chosen", (1,)) in lines(workflow.diagram(await workflow.session("s")))


def test_to_hand_back_is_not_to_hand_over():
    """An answer goes back on a line of its own, though there is a way in that direction too."""
    steps = [HandoffSent(1, "a", "b", returns="caller"), HandedBack(2, "b", "a"), HandoffSent(3, "b", "a")]
    drawn = with_path(pair().diagram(), steps, "a", "finished")
    assert lines(drawn) == [("a", "b", "chosen", (1,)), ("b", "a", "chosen", (3,)), ("b", "a", "back", (2,))]


def test_who_left_the_team_is_still_on_the_way():
    """A session knows agents and edges that the team does not have any more."""
    steps = [HandoffSent(1, "a", "old"), HandedBack(2, "old", "a"), HandoffSent(3, "b", "a")]
    drawn = with_path(pair().diagram(), steps, "old", "waits for the user")
    assert drawn.nodes[-1] == Node("old", "gone", here="waits for the user")
    assert ("a", "old", "jump", (1,)) in lines(drawn)
    assert drawn.path == ("a", "old", "a", "b", "a", "old")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (["Well?"], "waits for the user"),
        ([call("nonsense")] * 5 + ["oh"], "waits for the user"),
        ([ConnectionError("no")], "failed"),
    ],
)
async def test_what_a_session_is_at(script: list[object], said: str):
    """In a few words, at the agent that has it."""
    workflow = pair().with_client(ScriptedClient({"a": script}))  # type: ignore[dict-item]
    with suppress(ModelError):
        await workflow.run("hi", session_id="s")
    view: SessionView = await workflow.session("s")
    assert [node.here for node in workflow.diagram(view).nodes] == [said, ""]


async def test_a_conversation_that_is_over():
    """It is said where it ended."""
    workflow = HandoffBuilder(participants=[Agent("a", client=ScriptedClient("Bye."))]).build()
    await workflow.run("hi", session_id="s")
    assert [node.here for node in workflow.diagram(await workflow.session("s")).nodes] == ["finished"]


def test_words_are_broken_where_there_is_no_room():
    """Between words if there are any, by columns if not, and what is too much is an ellipsis."""
    assert wrapped("one two three", 7, 3) == ["one two", "three"]
    assert wrapped("調査担当", 4, 3) == ["調査", "担当"]
    assert wrapped("one two three four", 7, 2) == ["one two", "three…"]
    assert balanced("one two three four", 16, 3) == ["one two", "three four"]
    assert width("e\u0301調") == 3
    assert one_line("a\x1b\n\u202eb\ud800\u2028c") == "a b\ufffd c"


def test_many_steps_are_counted():
    """The first ones, the last and how many."""
    assert counted(range(1, 7)) == "1, 2, 3, 4, 5, 6"
    assert counted(range(1, 31)) == "1, 2, 3, 4 … 30 (30 times)"
