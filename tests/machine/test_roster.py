"""What journals remember of a team, and how a difference is named."""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from inline_snapshot import snapshot

from relayline import Agent, HandoffBuilder, HumanAgent, tool
from relayline.events import Roster, SessionStarted
from relayline.journal.codec import encode
from relayline.machine import topology
from relayline.machine.roster import differences, digest, fingerprint, renamed, roster, short
from relayline.machine.topology import ToolPolicy


@tool(repeatable=True)
def find(order: str) -> str:
    """Find it."""
    return order


@tool(approval_mode="always_require")
def pay(order: str) -> str:
    """Pay it."""
    return order


@tool(reconcile=lambda key: key, approval_mode="always_require")
def post(order: str) -> str:
    """Post it."""
    return order


FRONT, DESK, JO = (
    Agent("front", description="First."),
    Agent("desk", description="Looks.", tools=[find, pay]),
    HumanAgent("jo", description="Decides."),
)


def mesh(*agents: Agent, start: str | None = None) -> HandoffBuilder:
    builder = HandoffBuilder(participants=agents or (FRONT, DESK, JO))
    return builder.with_start_agent(start) if start else builder


def told(old: HandoffBuilder, new: HandoffBuilder) -> list[str]:
    before, now = old.build().machine, new.build().machine
    assert before.roster
    assert now.roster
    named = list(differences(before.roster, now.roster))
    assert (before.fingerprint == now.fingerprint) == (not named)
    return named


def test_a_team_in_its_journal_is_a_line_that_people_can_read():
    """Agents with their tools and what is said of these, people, edges with their terms, and who begins."""
    hub = mesh(FRONT, replace(DESK, tools=(find, pay, post)), JO, start="desk").add_handoff("desk", ["front", "jo"])
    builder = hub.add_handoff("front", "jo", payload=int, returns="caller", approval="always_require")
    builder.add_handoff("jo", "desk", when=lambda transcript, state: True, always=True)
    assert [encode(SessionStarted("s", "f", each.build().machine.roster)) for each in (mesh(), builder)] == snapshot(
        [
            '{"type":"session_started","workflow":"s","fingerprint":"f","roster":{"agents":{"front":"","desk":"find* pay!","jo":"@"},"edges":{"":{"":""}}}}',
            '{"type":"session_started","workflow":"s","fingerprint":"f","roster":{"agents":{"front":"","desk":"find* pay! post!?","jo":"@"},"edges":{"desk":{"":""},"front":{"jo":"approval payload:06afe9 returns:caller"},"jo":{"desk":"always guarded"}},"start":"desk"}}',
        ]
    )


def test_what_differs_is_named():
    """One sentence for each thing that is not as it was, and none for what only follows from another."""
    other = replace(DESK, tools=(replace(find, repeatable=False), replace(pay, approval_mode="never_require"), post))
    assert told(mesh(), mesh(FRONT, other, Agent("back", description="Sweeps."), start="desk")) == snapshot(
        [
            "agent 'jo' is gone",
            "'desk' has a new tool 'post'",
            "the tool 'find' of 'desk' may not be repeated any more",
            "the tool 'pay' of 'desk' asks nobody first any more",
            "agent 'back' is new",
            "'desk' begins conversations, which 'front' did",
        ]
    )
    assert told(mesh(), mesh(FRONT, replace(DESK, tools=()), Agent("jo", description="Decides."))) == snapshot(
        ["'desk' has no tool 'find' any more", "'desk' has no tool 'pay' any more", "'jo' is no person any more"]
    )


def test_what_differs_about_handoffs_is_named():
    """Which there are, and on what terms."""
    plain = mesh().add_handoff("front", ["desk", "jo"]).add_handoff("desk", "jo")
    other = mesh().add_handoff("front", "desk", payload=int, returns="caller").add_handoff("desk", ["jo", "front"])
    other.add_handoff("jo", "front", when=lambda transcript, state: True)
    assert told(plain, other) == snapshot(
        [
            "there is no handoff from 'front' to 'jo' any more",
            "the handoff from 'front' to 'desk' is payload:06afe9 returns:caller, and was plain",
            "there is a new handoff from 'desk' to 'front'",
            "there is a new handoff from 'jo' to 'front'",
        ]
    )
    again = mesh().add_handoff("front", "desk", payload=str, returns="caller").add_handoff("desk", ["jo", "front"])
    again.add_handoff("jo", "front", when=lambda transcript, state: True)
    assert [each.partition(" is ")[0] for each in told(other, again)] == ["the handoff from 'front' to 'desk'"]


@pytest.mark.parametrize(
    "same",
    [
        {"instructions": "Other words."},
        {"description": "Other words."},
        {"tools": [pay, find]},
        {"settings": {"temperature": 1}},
    ],
)
def test_words_models_and_the_order_of_tools_are_no_difference(same: Mapping[str, Any]):
    """A prompt may be improved every day; sessions do not mind."""
    assert told(mesh(), mesh(FRONT, replace(DESK, **same), JO)) == []


def test_a_mesh_costs_no_more_than_its_names():
    """Of what is long there is a digest: forty agents with three tools each fit in a kilobyte."""
    names = [f"agent_{n}" for n in range(40)]
    tools = {"find": ToolPolicy(repeatable=True), "pay": ToolPolicy(approval=True), "post": ToolPolicy(reconcile=True)}
    whole = roster(dict.fromkeys(names, tools), frozenset(), topology.mesh(names), "agent_0", {})
    assert len(encode(SessionStarted("handoff", fingerprint(whole), short(whole)))) < 1_000
    other = Roster({**whole.agents, "agent_39": "find*"}, whole.edges)
    for one, two in product([whole, short(whole)], [other, short(other)]):
        named = list(differences(one, two))
        assert named
        assert all("'agent_39'" in each for each in named)
    assert list(differences(short(whole), short(other))) == ["'agent_39' has other tools"]
    assert list(differences(short(whole), whole)) == list(differences(whole, short(whole))) == []


def test_handoffs_that_are_many_are_a_digest_as_well():
    """A team of many agents and many edges: it can be said whose have changed."""
    names = [f"agent_{n}" for n in range(40)]
    edges = {
        source: dict.fromkeys((each for each in names if each != source and each != "agent_7"), "") for source in names
    }
    team = short(Roster(dict.fromkeys(names, ""), edges))
    assert len(json.dumps(team.edges)) < 1_500
    changed = Roster(dict.fromkeys(names, ""), {**edges, "agent_3": {"agent_1": ""}})
    assert list(differences(team, changed)) == ["'agent_3' has other handoffs"]
    assert list(differences(team, Roster(dict.fromkeys(names, ""), edges))) == []


def test_where_two_agents_become_one_that_ones_tools_count():
    """What a removed agent had is nobody's business any more."""
    old = Roster({"front": "", "orders": "find*", "refunds": "pay!"}, {"front": {"": ""}})
    now = renamed(old, {"refunds": "orders"}, {})
    assert now == Roster({"front": "", "orders": "find*"}, {"front": {"orders": ""}})
    assert list(differences(now, Roster({"front": "", "orders": "find*"}, {"front": {"orders": ""}}))) == []


def test_who_begins_is_known_though_another_is_the_first_now():
    """A renamed team begins where it began."""
    old = Roster({"legacy": "", "front": ""}, {"": {"": ""}})
    assert renamed(old, {"legacy": "front"}, {}).start == ""
    assert renamed(Roster({"a": "", "b": ""}, start="b"), {"b": "c"}, {}).start == "c"


def test_a_digest_is_the_same_in_every_process():
    """Whatever the order of its keys."""
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) == digest(json.loads('{"b": [2], "a": 1}'))
    assert fingerprint(Roster({"a": "x y"})) == fingerprint(Roster({"a": "y x"}))
