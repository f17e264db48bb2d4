"""Declaring a team, and being told what is wrong with the declaration."""

import pytest
from inline_snapshot import snapshot

from relayline import Agent, BuildError, HandoffBuilder, tool
from relayline.machine.topology import Edge


@tool
def handoff_to_b() -> str:
    """A tool in disguise."""
    return ""


def edges(builder: HandoffBuilder) -> list[tuple[str, str]]:
    return [(edge.source, edge.target) for edge in builder.build().pattern.edges]


def test_without_edges_everyone_may_hand_over_to_everyone() -> None:
    """The default is a full mesh, started by the first participant."""
    workflow = HandoffBuilder(participants=[Agent("a"), Agent("b")]).build()
    assert workflow.pattern.edges == (Edge("a", "b"), Edge("b", "a"))
    assert workflow.pattern.start == "a"


def test_agents_may_be_named_or_given_one_or_many() -> None:
    """Objects, names, one target or a list; several calls for a source add up."""
    a, b, c = (Agent(name) for name in "abc")
    builder = HandoffBuilder().participants([a, b, c]).with_start_agent("b")
    builder.add_handoff(a, "b").add_handoff("a", [c]).add_handoff(b, c, description="new")
    workflow = builder.build()
    assert workflow.pattern.edges == (Edge("a", "b"), Edge("a", "c"), Edge("b", "c", "new"))
    assert workflow.pattern.start == "b"


def test_every_problem_is_reported_at_once_with_what_to_do() -> None:
    """One failed build tells the whole list."""
    builder = HandoffBuilder(
        participants=[Agent("billing"), Agent("billing"), Agent(" "), Agent("b", tools=[handoff_to_b]), "triage"]  # type: ignore[list-item]
    )
    builder.add_handoff("biling", "b").add_handoff("billing", []).add_handoff("b", "b").add_handoff("billing", 7)  # type: ignore[arg-type]
    builder.with_start_agent("nobody").with_termination_condition("soon")  # type: ignore[arg-type]
    with pytest.raises(BuildError) as raised:
        builder.build()
    assert list(raised.value.problems) == snapshot(
        [
            "RL102 two participants are called 'billing'; names must differ",
            "RL104 an agent has no name; names are how agents and people tell each other apart",
            "RL103 participants are agents, functions, or objects with a name and stream(request); got 'triage'",
            "RL101 unknown agent 'biling' in add_handoff; did you mean 'billing'?",
            "RL107 add_handoff from 'billing' names no target",
            "RL106 add_handoff from 'b' to itself: an agent that wants to go on just answers",
            "RL101 unknown agent 7 in add_handoff; participants: 'billing', 'b'",
            "RL101 unknown agent 'nobody' in with_start_agent; participants: 'billing', 'b'",
            "RL103 with_termination_condition takes a function of the transcript; got 'soon'",
        ]
    )


def test_a_tool_must_not_be_called_like_a_handoff_or_like_another_tool() -> None:
    """Otherwise nobody could say what a call means."""
    with pytest.raises(BuildError) as raised:
        HandoffBuilder(participants=[Agent("a", tools=[handoff_to_b, handoff_to_b]), Agent("b")]).build()
    assert list(raised.value.problems) == snapshot(
        [
            "RL109 agent 'a' has a tool called 'handoff_to_b', which is the name of a handoff",
            "RL109 agent 'a' has two tools called 'handoff_to_b'",
        ]
    )


def test_an_empty_team_is_refused() -> None:
    """There must be somebody to talk to."""
    with pytest.raises(BuildError, match="at least one participant"):
        HandoffBuilder().build()


def test_one_agent_alone_is_a_team() -> None:
    """It is terminal: when it has answered, the conversation is finished."""
    assert HandoffBuilder(participants=[Agent("a")]).build().pattern.edges == ()


def test_building_twice_gives_two_workflows_and_changes_no_agent() -> None:
    """A builder can be used again; an agent may sit in many teams."""
    agent = Agent("a", tools=[handoff_to_b])
    builder = HandoffBuilder(participants=[agent, Agent("c")])
    first, second = builder.build(), builder.add_handoff("a", "c").build()
    assert len(first.pattern.edges) == 2
    assert len(second.pattern.edges) == 1
    assert first.agents[0] is second.agents[0] is agent


def test_the_fingerprint_tells_teams_apart() -> None:
    """It follows from agents, edges and start, and from nothing else."""

    def fingerprint(*names: str, start: str = "a", **options: str) -> str:
        agents = [Agent(name, **options) for name in names]  # type: ignore[arg-type]
        return HandoffBuilder(participants=agents).with_start_agent(start).build().machine.fingerprint

    assert fingerprint("a", "b") == fingerprint("a", "b", instructions="other words")
    assert len({fingerprint("a", "b"), fingerprint("a", "c"), fingerprint("a", "b", start="b")}) == 3


def test_an_agent_is_frozen_all_the_way_down() -> None:
    """Lists given to it are copied; plain functions become tools."""
    tools, knowledge = [handoff_to_b], ["a fact"]
    agent = Agent("a", tools=tools, knowledge=knowledge)
    tools.clear()
    knowledge.clear()
    assert [each.name for each in agent.tools] == ["handoff_to_b"]
    assert agent.knowledge == ("a fact",)
    with pytest.raises(AttributeError):
        agent.name = "b"  # type: ignore[misc]
