"""Teams of every pattern: what is drawn of each, and what of a conversation."""

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayline import (
    Agent,
    BuildError,
    Case,
    ConcurrentBuilder,
    Default,
    ExecutorContext,
    GroupChatBuilder,
    HandoffBuilder,
    HumanAgent,
    InMemoryCheckpointStorage,
    ModelError,
    SequentialBuilder,
    Workflow,
    WorkflowBuilder,
    WorkflowRunState,
    executor,
)
from relayline.drawing.diagram import Diagram, Line
from relayline.drawing.trail import doing, with_turns
from relayline.machine.way import TurnTaken
from relayline.testing import ScriptedClient, handoff_to
from tests.drawing.teams import FORMATS, called_on, chaired, panel, refund, sequence, talk, tickets, votes

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(str.strip) | st.sampled_from(
    ['"', "]-->b", "\\N", "a/b", "notes", "end", "</text>", "&amp;", "%%{init}%%"]
)


def anything(value: Any) -> bool:
    return bool(value)


def some(value: Any, targets: list[str]) -> list[str]:
    return targets[: len(str(value))]


def gathered(given: Any) -> str:
    return str(given)


@st.composite
def members(draw: st.DrawFn, least: int = 1, deep: int = 1) -> list[Any]:
    """Agents, people, functions and teams, each with a name of its own."""
    found: list[Any] = []
    for name in draw(st.lists(names, min_size=least, max_size=5, unique=True)):
        match draw(st.sampled_from(["agent", "person", "function", "team"][: 3 + deep])):
            case "agent":
                found.append(Agent(name, description=draw(names), tools=[refund] if draw(st.booleans()) else []))
            case "person":
                found.append(HumanAgent(name, description=draw(names)))
            case "function":
                found.append(executor(gathered, name=name, description=draw(names)))
            case _:
                inner = SequentialBuilder(participants=[Agent(f"{name} {number}") for number in range(2)]).build()
                found.append(inner.as_agent(name))
    return found


def built(draw: st.DrawFn, builder: Any) -> Workflow:
    """What cannot be built is drawn again."""
    try:
        return builder.build()
    except BuildError:
        return draw(st.nothing())


@st.composite
def sequences(draw: st.DrawFn) -> Workflow:
    builder = SequentialBuilder(name=draw(names), participants=draw(members()))
    return built(draw, builder.with_request_info() if draw(st.booleans()) else builder)


@st.composite
def panels(draw: st.DrawFn) -> Workflow:
    policy: Any = draw(st.sampled_from(["fail", "partial"]))
    builder = ConcurrentBuilder(name=draw(names), participants=draw(members()), on_failure=policy)
    return built(draw, builder.with_aggregator(gathered) if draw(st.booleans()) else builder.with_request_info())


@st.composite
def discussions(draw: st.DrawFn) -> Workflow:
    several = draw(members())
    by: Any = draw(st.sampled_from([{}, {"selection_func": lambda _: None}, {"selector": Agent("the chair")}]))
    rounds = draw(st.integers(1, 9))
    return built(draw, GroupChatBuilder(name=draw(names), participants=several, max_rounds=rounds, **by))


@st.composite
def graphs(draw: st.DrawFn) -> Workflow:
    """Nodes in a row, so that all are reached, and any other edges between them."""
    nodes = draw(members())
    builder = WorkflowBuilder(name=draw(names), start_executor=nodes[0]).add_chain(nodes)
    edge, node = st.sampled_from(["plain", "if", "switch", "select"]), st.sampled_from(nodes)
    taken = {(one.name, other.name) for one, other in pairwise(nodes)}
    for kind, source, target in draw(st.lists(st.tuples(edge, node, node), max_size=6)):
        if (source.name, target.name) not in taken:
            taken.add((source.name, target.name))
            match kind:
                case "plain":
                    builder.add_edge(source, target)
                case "if":
                    builder.add_edge(source, target, draw(st.sampled_from([anything, lambda _: True])))
                case "switch":
                    builder.add_switch_case_edge_group(source, [Case(anything, target), Default(target)])
                case _:
                    builder.add_multi_selection_edge_group(source, [target], some)
    return built(draw, builder)


@st.composite
def handoffs(draw: st.DrawFn) -> Workflow:
    return built(draw, HandoffBuilder(name=draw(names), participants=draw(members())))


@given(sequences() | panels() | discussions() | graphs() | handoffs())
def test_every_team_is_drawn_in_every_format(workflow: Workflow):
    """Whatever it is built of, and whatever its members are called: each is a node, and each line ends at two of them."""
    drawn = workflow.diagram()
    assert {agent.name for agent in workflow.agents} == {node.name for node in drawn.nodes if node.kind != "hub"}
    assert any(node.start for node in drawn.nodes)
    nodes = {node.name for node in drawn.nodes}
    assert all({line.source, line.target} <= nodes for line in drawn.lines)
    for draw in FORMATS.values():
        assert draw(drawn)
    ElementTree.fromstring(workflow.to_svg())


def kinds(drawn: Diagram) -> dict[str, str]:
    return {node.name: node.kind for node in drawn.nodes}


def ends(drawn: Diagram) -> tuple[list[str], list[str]]:
    return [node.name for node in drawn.nodes if node.start], [node.name for node in drawn.nodes if node.end]


def taken(drawn: Diagram) -> dict[tuple[str, str], tuple[int, ...]]:
    return {(line.source, line.target): line.steps for line in drawn.lines if line.steps}


def here(drawn: Diagram) -> dict[str, str]:
    return {node.name: node.here for node in drawn.nodes if node.here}


def test_who_is_no_agent_looks_like_what_it_is():
    """Functions, people and teams; of a team the names inside are told, of whoever is reviewed that it is."""
    assert kinds(sequence().diagram()) == {"writer": "agent", "check": "step", "editor": "agent", "jo": "person"}
    assert sequence().diagram().nodes[0].notes == ("a person reviews what it says",)
    desk = next(node for node in tickets().diagram().nodes if node.name == "desk")
    assert (desk.kind, desk.notes) == ("team", ("inside: writer, check, editor, jo",))
    outer = SequentialBuilder(participants=[tickets().as_agent("office")]).build().diagram()
    assert "desk (writer, check, editor, jo)" in outer.nodes[0].notes[0]


@pytest.mark.parametrize(
    ("team", "first", "last"),
    [
        (sequence, ["writer"], ["jo"]),
        (panel, ["legal", "market", "jo"], ["decide"]),
        (votes, ["yes", "no"], ["yes", "no"]),
        (tickets, ["sort"], ["asks", "desk", "decide", "mail", "phone"]),
        (talk, ["bees"], []),
        (called_on, [""], []),
        (chaired, ["chair"], ["chair"]),
    ],
)
def test_where_it_begins_and_where_it_may_end(team: Callable[[], Workflow], first: list[str], last: list[str]):
    """A node with conditions on all its ways may be the last; one with a default among them is not."""
    assert ends(team().diagram()) == (first, last)


def test_the_edges_of_a_graph():
    """A name of a condition is told, a case has its number, and who waits for all has a line of its own kind."""
    lines = {(line.source, line.target): line for line in tickets().diagram().lines}
    assert lines["sort", "refunds"] == Line("sort", "refunds", "tested", "case 1: is_refund; case 3: is_late")
    assert [lines["sort", each].label for each in ("asks", "desk")] == ["case 2", "otherwise"]
    assert lines["refunds", "history"] == Line("refunds", "history", "always", terms=("at once",))
    assert lines["history", "decide"] == Line("history", "decide", "joined", terms=("waits for all",))
    assert lines["asks", "asks"].label == "if unclear"
    assert lines["asks", "back"].label == "if its condition holds"
    assert lines["decide", "mail"].label == "if colleagues selects it"
    assert lines["back", "sort"] == Line("back", "sort", "always")


def test_a_discussion_goes_round():
    """In turn, around a function, or to the one who gives the word and back."""
    assert [(line.source, line.target, line.way) for line in talk().diagram().lines] == [
        ("bees", "honey", "always"),
        ("honey", "peace", "always"),
        ("peace", "bees", "always"),
    ]
    assert {(line.source, line.way, line.both) for line in called_on().diagram().lines} == {("", "tested", True)}
    assert [(line.source, line.target, line.way) for line in chaired().diagram().lines[:2]] == [
        ("chair", "bees", "chosen"),
        ("bees", "chair", "back"),
    ]
    assert talk().diagram().notes == ("at most 6 turns of members for each message",)


async def test_who_waits_in_a_sequence():
    """After a turn that is reviewed, in a function that asks, and at a person; then it is finished."""

    @executor
    async def ask(text: str, context: ExecutorContext) -> str:
        return await context.request_info({"sure": text}, str)

    members = [Agent("writer", client=ScriptedClient("Bees.")), ask, HumanAgent("jo")]
    workflow = SequentialBuilder(participants=members).with_request_info(["writer"]).build()
    result = await workflow.run("hi", session_id="s")
    seen: list[dict[str, str]] = []
    for answer in (True, "yes", "Fine."):
        seen.append(here(workflow.diagram(await workflow.session("s"))))
        result = await workflow.run(responses={result.requests[0].request_id: answer})
    assert seen == [
        {"writer": "waits for a person to review it"},
        {"ask": "waits for what it asked a person"},
        {"jo": "waits for this person"},
    ]
    drawn = workflow.diagram(await workflow.session("s"))
    assert (here(drawn), drawn.path) == ({"jo": "finished"}, ("writer", "ask", "jo"))


async def test_all_who_wait_are_shown():
    """Of several at once, each by itself."""
    workflow = ConcurrentBuilder(participants=[HumanAgent("ann"), Agent("a"), HumanAgent("jo")]).build()
    workflow = workflow.with_client(ScriptedClient({"a": ["Yes."]}))
    await workflow.run("hi", session_id="s")
    assert here(workflow.diagram(await workflow.session("s"))) == dict.fromkeys(("ann", "jo"), "waits for this person")


async def test_who_has_the_word_in_a_discussion():
    """In turn: whoever spoke last. With a selector each word that is given, and where it came back."""
    workflow = talk().with_client(ScriptedClient(*["Well."] * 6))
    await workflow.run("hi", session_id="s")
    drawn = workflow.diagram(await workflow.session("s"))
    assert here(drawn) == {"peace": "finished"}
    assert taken(drawn) == {("bees", "honey"): (1, 4), ("honey", "peace"): (2, 5), ("peace", "bees"): (3,)}
    script: Any = {"chair": [handoff_to("bees"), handoff_to("honey"), "So be it."], "bees": ["Bzz."], "honey": ["Hm."]}
    workflow = chaired().with_client(ScriptedClient(script))
    await workflow.run("hi", session_id="s")
    drawn = workflow.diagram(await workflow.session("s"))
    assert here(drawn) == {"chair": "finished"}
    assert taken(drawn) == {
        ("chair", "bees"): (1,),
        ("bees", "chair"): (2,),
        ("chair", "honey"): (3,),
        ("honey", "chair"): (4,),
    }
    assert drawn.path == ("chair", "bees", "chair", "honey", "chair")


async def test_what_waits_in_a_team_waits_at_the_team():
    """Its node has it, and says who it is inside; nobody is thought to have left."""
    inner = SequentialBuilder(participants=[HumanAgent("jo")]).build().as_agent("desk")
    front = Agent("front", client=ScriptedClient([handoff_to("desk")]))
    handing = HandoffBuilder(participants=[front, inner]).add_handoff(front, inner).build()
    for workflow in (handing, SequentialBuilder(participants=[inner]).build()):
        await workflow.run("hi", session_id="s")
        drawn = workflow.diagram(await workflow.session("s"))
        assert here(drawn) == {"desk": "waits for jo"}
        assert "gone" not in kinds(drawn).values()


async def test_what_begins_at_once_is_one_step():
    """Where ways part and where they meet: in words together, where they do not part for longer."""
    workflow = tickets().with_client(ScriptedClient({"refunds": ["refund it"], "history": ["mail him"]}))
    result = await workflow.run("refund", session_id="s")
    drawn = workflow.diagram(await workflow.session("s"))
    assert taken(drawn) == {("sort", "refunds"): (1,), ("refunds", "history"): (2,), ("refunds", "ann"): (2,)}
    assert (here(drawn), drawn.path) == ({"ann": "waits for this person"}, ("sort", "refunds", "history, ann"))
    workflow = workflow.with_client(ScriptedClient({"mail": ["Sent."]}), override=True)
    await workflow.run(responses={result.requests[0].request_id: "Yes."})
    drawn = workflow.diagram(await workflow.session("s"))
    joined = {("history", "decide"): (3,), ("ann", "decide"): (3,), ("decide", "mail"): (4,)}
    assert taken(drawn).items() >= joined.items()
    assert here(drawn) == {"mail": "finished"}


async def test_a_way_begins_anew_with_each_message():
    """What earlier messages did is in the session, and not in the way of patterns that begin anew."""
    workflow = talk().with_client(ScriptedClient({name: ["Well."] * 4 for name in ("bees", "honey", "peace")}))
    for _ in range(2):
        await workflow.run("hi", session_id="s")
    session = await workflow.session("s")
    assert [turn.message for turn in session.turns] == [1] * 6 + [2] * 6
    assert taken(workflow.diagram(session))["bees", "honey"] == (1, 4)


async def test_who_failed_and_who_was_cut_off():
    """Of several at once, until the run is tried again; where others go on without it, it has failed for good."""
    script: Any = {"a": [ConnectionError("no"), "A."], "b": ["B."]}
    members = [HumanAgent("jo"), Agent("a"), Agent("b")]
    workflow = ConcurrentBuilder(participants=members).build().with_client(ScriptedClient(script))
    with suppress(ModelError):
        await workflow.run("hi", session_id="s")
    seen = here(workflow.diagram(await workflow.session("s")))
    assert (seen["jo"], seen["a"]) == ("waits for this person", "failed")
    await workflow.run(session_id="s")
    assert here(workflow.diagram(await workflow.session("s"))) == {"jo": "waits for this person"}


async def test_a_way_that_nobody_declared_and_who_is_gone():
    """A conversation of a graph that has changed since is drawn with what there was."""
    store = InMemoryCheckpointStorage()
    old = SequentialBuilder(name="t", participants=[Agent("a"), Agent("b"), Agent("c")]).with_checkpointing(store)
    await old.build().with_client(ScriptedClient({name: ["Yes."] for name in "abc"})).run("hi", session_id="s")
    workflow = SequentialBuilder(name="t", participants=[Agent("a"), Agent("c"), Agent("d")]).build()
    drawn = workflow.with_store(store).diagram(await workflow.with_store(store).session("s"))
    assert taken(drawn) == {("a", "b"): (1,), ("b", "c"): (2,)}
    assert {line.way for line in drawn.lines if line.steps} == {"jump"}
    assert kinds(drawn)["b"] == "gone"


def test_what_each_state_is_called():
    """A turn that nobody is asked about is at work, or as the session is."""
    states = {state: doing(state) for state in WorkflowRunState if state != "IDLE_WITH_PENDING_REQUESTS"}
    assert states == {
        "IN_PROGRESS": "at work",
        "IDLE": "finished",
        "FAILED": "failed",
        "CANCELLED": "cancelled",
        "STOPPED": "stopped, out of budget",
    }


def test_ways_that_part_for_longer_are_not_told_in_a_row():
    """Their numbers are on the lines; in a row it would look as if one led to the other."""
    turns = [
        TurnTaken(1, "sort", (), 1, "over"),
        TurnTaken(2, "refunds", (1,), 1, "over"),
        TurnTaken(3, "asks", (1,), 1, "over"),
        TurnTaken(4, "back", (3,), 1),
    ]
    drawn = with_turns(tickets().diagram(), turns, WorkflowRunState.IN_PROGRESS, ())
    assert drawn.path == ()
    assert taken(drawn) == {("sort", "refunds"): (1,), ("sort", "asks"): (1,), ("asks", "back"): (2,)}
    assert here(drawn) == {"back": "at work"}
    turns[1] = TurnTaken(2, "refunds", (1,), 1, "failed")
    assert here(with_turns(tickets().diagram(), turns, WorkflowRunState.FAILED, ())) == {
        "back": "cut off",
        "refunds": "failed",
    }
