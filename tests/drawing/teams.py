"""The teams whose drawings are kept in ``golden``: ``python -m tests.drawing.teams`` writes them anew, to be looked at."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from relayline import (
    Agent,
    Case,
    ConcurrentBuilder,
    Default,
    GroupChatBuilder,
    HandoffBuilder,
    HumanAgent,
    ModelError,
    SequentialBuilder,
    Workflow,
    WorkflowBuilder,
    executor,
    tool,
)
from relayline.conditions import max_messages
from relayline.drawing.diagram import Diagram
from relayline.drawing.dot import as_dot
from relayline.drawing.mermaid import as_mermaid
from relayline.drawing.svg import as_svg
from relayline.drawing.text import as_text
from relayline.testing import Reply, ScriptedClient, handoff_to

GOLDEN = Path(__file__).parent / "golden"
FORMATS = {"mmd": as_mermaid, "dot": as_dot, "svg": as_svg, "txt": as_text}


@tool(approval_mode="always_require")
def refund(order: str) -> str:
    """Pay money back."""
    return f"paid for {order}"


def shop() -> Workflow:
    """Every kind of edge, a person, a tool that a person approves, and all that holds for a team."""
    front = Agent("front", description="Receives everybody.")
    orders = Agent("orders", description="Where a parcel is, and when it comes.")
    technical = Agent("technical", description="A device that makes no sound, does not pair or does not charge.")
    refunds = Agent("refunds", description="Pays money back.", tools=[refund])
    jo = HumanAgent("jo", description="Decides about odd cases.")
    polish = Agent("polish", description="Makes it sound well.")
    return (
        HandoffBuilder(name="shop", participants=[front, orders, technical, refunds, jo, polish])
        .add_handoff(front, orders, description="where something is that was ordered, when it comes; the money back")
        .add_handoff(front, technical)
        .add_handoff(technical, front)
        .add_handoff(orders, technical, description="a device that does not work")
        .add_handoff(orders, refunds, payload=dict, returns="start")
        .add_handoff(technical, refunds, payload=dict, returns="start", when=lambda _, state: bool(state))
        .add_handoff(orders, jo, returns="caller", approval="always_require", description="an odd case")
        .add_handoff(refunds, polish, always=True)
        .with_terminal_agents([polish])
        .with_budget(turns=12, tokens=50_000, seconds=90)
        .with_loop_control(max_hops=6, on_loop="ask_user", fallback=jo)
        .with_request_expiry(approvals=2 * 86_400, people=90)
        .with_autonomous_mode([technical], turn_limits={"technical": 3})
        .with_fallback_agent(front)
        .with_termination_condition(max_messages(60))
        .with_return_to_previous(False)
        .build()
    )


def sort(text: str) -> str:
    """Say what it is about."""
    return text


def check(text: str) -> str:
    """Compare it with the rules."""
    return text


def decide(findings: list[str]) -> str:
    """Make one answer of all."""
    return " ".join(findings)


def is_refund(text: str) -> bool:
    return "refund" in text


def is_late(text: str) -> bool:
    return "late" in text


def unclear(text: str) -> bool:
    return "?" in text


def colleagues(text: str, names: list[str]) -> list[str]:
    return [name for name in names if name in text]


def sequence() -> Workflow:
    """Agents, one of them reviewed, a function and a person, one after the other."""
    writer, editor = Agent("writer", description="Writes."), Agent("editor", tools=[refund])
    members = [writer, check, editor, HumanAgent("jo", description="Signs it.")]
    return SequentialBuilder(name="sequence", participants=members).with_request_info([writer]).build()


def panel() -> Workflow:
    """All at once, with one result of all."""
    members = [Agent("legal"), Agent("market"), HumanAgent("jo")]
    return ConcurrentBuilder(name="panel", participants=members, on_failure="partial").with_aggregator(decide).build()


def votes() -> Workflow:
    """All at once, and nobody after them."""
    return ConcurrentBuilder(name="votes", participants=[Agent("yes"), Agent("no")]).build()


def tickets() -> Workflow:
    """Every kind of edge of a graph, a circle, a node that follows itself, a person, and a team."""
    desk = sequence().as_agent("desk", "Writes the answer.")
    sorted_, decided, jo = executor(sort), executor(decide), HumanAgent("ann", description="Decides.")
    history = Agent("history", description="Knows customers.")
    asks, mail, phone = Agent("asks"), Agent("mail"), Agent("phone")
    refunds, back = Agent("refunds"), Agent("back")
    return (
        WorkflowBuilder(name="tickets", start_executor=sorted_)
        .add_switch_case_edge_group(
            sorted_, [Case(is_refund, refunds), Case(lambda _: True, asks), Case(is_late, refunds), Default(desk)]
        )
        .add_fan_out_edges(refunds, [history, jo])
        .add_fan_in_edges([history, jo], decided)
        .add_edge(asks, asks, unclear)
        .add_edge(asks, back, lambda _: True)
        .add_edge(back, sorted_)
        .add_multi_selection_edge_group(decided, [mail, phone], colleagues)
        .build()
    )


def talk() -> Workflow:
    """A discussion in turn."""
    members = [Agent(name, description=f"For {name}.") for name in ("bees", "honey", "peace")]
    return GroupChatBuilder(name="talk", participants=members, max_rounds=6).build()


def called_on() -> Workflow:
    """A discussion in which a function gives the word."""
    members = [Agent("bees"), HumanAgent("jo"), check]
    return GroupChatBuilder(name="called on", participants=members, selection_func=lambda _: None).build()


def chaired() -> Workflow:
    """A discussion in which an agent gives the word."""
    members = [Agent(name, description=f"For {name}.") for name in ("bees", "honey")]
    return (
        GroupChatBuilder(name="chaired", participants=members, selector=Agent("chair"))
        .with_termination_condition(max_messages(9))
        .with_budget(tokens=900)
        .build()
    )


def crowd() -> Workflow:
    """Everybody may hand over to everybody."""
    cities = ("Lima", "Oslo", "Kyiv", "Bern", "Doha")
    return HandoffBuilder(
        name="crowd", participants=[Agent(each, description=f"From {each}.") for each in cities]
    ).build()


def pair() -> Workflow:
    """Two, both ways, with nothing to be said about it."""
    return HandoffBuilder(
        name="pair", participants=[Agent("a", description="The one."), Agent("b", description="Another.")]
    ).build()


def hostile() -> Workflow:
    """Names and descriptions that would like to be something else."""
    names = [
        'say "hi" </text><script>alert(1)</script>',
        'a]|--> b\n; click a0 "javascript:alert(1)"',
        "調査担当エージェント",
        "مساعد\u202e user",
        "\x1b[31mred \\N \\l & &lt; %%{init}%% \x00",
        "1. list",
        "- end",
    ]
    builder = HandoffBuilder(name=names[0], participants=[Agent(name, description=name) for name in names])
    for source, target in pairwise(names):
        builder.add_handoff(source, target, description=target)
    return builder.with_terminal_agents(names[-1:]).build()


async def walked() -> Diagram:
    """A conversation in the shop that went to a person and back, and waits for an approval."""
    script: Mapping[str, list[Reply]] = {
        "front": [[handoff_to("orders")]],
        "orders": [[handoff_to("jo")], [handoff_to("jo")]],
    }
    workflow = shop().with_client(ScriptedClient(script))
    answers: list[Any] = [True, "All is well."]
    result = await workflow.run("Hello", session_id="s")
    for answer in answers:
        result = await workflow.run(responses={result.requests[0].request_id: answer})
    return workflow.diagram(await workflow.session("s"))


async def at(workflow: Workflow, script: Any, message: str, *answers: Any) -> Diagram:
    """The team with the conversation that comes of this, the first of what waits answered each time."""
    workflow = workflow.with_client(ScriptedClient(script))
    result = await workflow.run(message, session_id="s")
    for answer in answers:
        result = await workflow.run(responses={result.requests[0].request_id: answer})
    return workflow.diagram(await workflow.session("s"))


def counter() -> Workflow:
    """A handoff team with a handoff team in it."""
    front = Agent("front", description="Receives everybody.")
    sorter, clerk = Agent("sorter", description="Sorts."), Agent("clerk", description="Decides.")
    desk = HandoffBuilder(name="desk", participants=[sorter, clerk]).build().as_agent(description="Money.")
    return HandoffBuilder(name="counter", participants=[front, desk]).build()


async def counter_walked() -> Diagram:
    """To the team in the team, where it was handed over once more and waits."""
    script = {"front": [[handoff_to("desk")]], "sorter": [[handoff_to("clerk")]], "clerk": ["Which order?"]}
    return await at(counter(), script, "It came wet.")


async def sequence_walked() -> Diagram:
    """Once changed, then let through to the person at the end."""
    script = {"writer": ["Bees.", "Bees dance."], "editor": ["They dance."]}
    return await at(sequence(), script, "Write.", "longer", True)


async def panel_walked() -> Diagram:
    """One said something, one failed, and a person has yet to."""
    return await at(panel(), {"legal": ["Yes."], "market": [ConnectionError("no")]}, "Shall we?")


async def panel_over() -> Diagram:
    """All are through, and one made a result of it."""
    return await at(panel(), {"legal": ["Yes."], "market": ["No."]}, "Shall we?", "Why not?")


async def tickets_walked() -> Diagram:
    """Round a circle, then to two at once, of whom one is a person."""
    script = {"asks": ["Say more."], "back": ["refund"], "refunds": ["refund it"], "history": ["Good."]}
    return await at(tickets(), script, "It is odd.")


async def tickets_inside() -> Diagram:
    """In the team in the team, at whose box it waits."""
    workflow = WorkflowBuilder(name="inside", start_executor=sort).add_edge(sort, sequence().as_agent("desk")).build()
    return await at(workflow, {"writer": ["Bees."]}, "Write.")


async def talk_walked() -> Diagram:
    """Twice round."""
    return await at(talk(), {name: ["Well.", "Well!"] for name in ("bees", "honey", "peace")}, "What is peace?")


async def called_on_walked() -> Diagram:
    """Two had the word, and a person has it now."""
    order = ["bees", "check", "bees", "jo"]
    members = [Agent("bees"), HumanAgent("jo"), check]
    builder = GroupChatBuilder(
        name="called on", participants=members, selection_func=lambda chat: order[len(chat.conversation) - 1]
    )
    return await at(builder.build(), {"bees": ["Bzz.", "Bzz!"]}, "Speak.")


async def chaired_walked() -> Diagram:
    """The chair gave the word twice, and has it again."""
    script = {"chair": [handoff_to("bees"), handoff_to("honey"), ConnectionError("no")], "bees": ["B"], "honey": ["H"]}
    with suppress(ModelError):
        await (workflow := chaired().with_client(ScriptedClient(script))).run("Begin.", session_id="s")
    return workflow.diagram(await workflow.session("s"))


def diagrams() -> Mapping[str, Diagram]:
    """What is drawn, by the name of its files."""
    drawn = {each.__name__: each().diagram() for each in (shop, crowd, pair, hostile)}
    drawn |= {each.__name__: each().diagram() for each in (sequence, panel, votes, tickets, talk, called_on, chaired)}
    way = (walked, counter_walked, sequence_walked, panel_walked, panel_over, tickets_walked, tickets_inside)
    way += (talk_walked, called_on_walked, chaired_walked)
    return drawn | {each.__name__: asyncio.run(each()) for each in way}


if __name__ == "__main__":
    for name, diagram in diagrams().items():
        for suffix, draw in FORMATS.items():
            (GOLDEN / f"{name}.{suffix}").write_text(draw(diagram) + "\n", "utf-8")
