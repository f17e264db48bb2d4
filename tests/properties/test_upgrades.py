"""What holds when a conversation goes on with a team that is not the one that began it."""

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relayline.agent import Agent, ChatRequest
from relayline.events import Replied, SessionStarted, TeamChanged, ToolReturned
from relayline.journal.codec import decode, encode
from relayline.machine.decide import Machine
from relayline.machine.effects import effects
from relayline.machine.fold import evolve, fold
from relayline.machine.inputs import Opened
from relayline.machine.roster import differences, fingerprint, renamed
from relayline.machine.view import view
from relayline.testing import check_request
from tests.properties.worlds import World, machines

moments = st.sets(st.integers(1, 40))
worlds = st.builds(World, machines(), st.integers(0, 2**32), st.integers(0, 9), moments, moments, moments)

AGENTS = {"bob": "bea", "ann": "amy"}
TOOLS = {"pay": "settle", "look": "search"}
CALLED = {**TOOLS, **{f"handoff_to_{old}": f"handoff_to_{new}" for old, new in AGENTS.items()}}


def rewritten(value: Any, key: str = "") -> Any:
    """JSON of facts with other names wherever an agent or a tool is named."""
    if isinstance(value, dict):
        named = CALLED if value.get("kind") in ("tool_call", "tool_result") else {}
        theirs = {"author_name"} if value.get("role") != "user" else set()
        return {
            name: named.get(each, each)
            if name == "name"
            else AGENTS.get(each, each)
            if name in {"agent", "source", "target", "speaker", "to"} | theirs and isinstance(each, str)
            else rewritten(each, name)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [AGENTS.get(each, each) if key in ("ways", "callers") else rewritten(each, key) for each in value]
    return value


@given(worlds)
def test_a_renamed_past_is_as_if_it_had_always_been_called_so(world: World) -> None:
    """To fold the fact that says so is to fold the same facts with other names in them."""
    facts = world.play(3).facts
    fact = TeamChanged("f", None, AGENTS, TOOLS)
    other = fold(decode(json.dumps(rewritten(json.loads(encode(each))))) for each in facts)
    now = evolve(fold(facts), fact)
    assert replace(now, seq=now.seq - 1, started=None) == replace(other, started=None)


releases = st.dictionaries(st.integers(1, 40), machines(), min_size=1, max_size=3)


@given(worlds, releases)
def test_a_changed_team_goes_on_with_what_there_is(world: World, releases: dict[int, Machine]) -> None:
    """Whoever and whatever is gone: nothing is asked of it, every call has one result, every request is one that
    providers accept, and all that comes next is said to have come under another team.
    """
    world.releases = releases
    teams = {each.fingerprint: each for each in (world.machine, *releases.values())}
    for call, state in world.play(4).calls:
        assert state.started
        assert call.agent in teams[state.started.fingerprint].policies
        check_request(ChatRequest(Agent(call.agent), tuple(view(state.spoken, call.agent))))
    open_calls: Counter[str] = Counter()
    for fact in world.facts:
        if isinstance(fact, Replied):
            assert not +open_calls
            open_calls.update(each.id for each in fact.message.tool_calls)
        if isinstance(fact, ToolReturned):
            open_calls[fact.result.call_id] -= 1
            assert not open_calls[fact.result.call_id]
    said = [fact.fingerprint for fact in world.facts if isinstance(fact, SessionStarted | TeamChanged)]
    assert said[-1] == world.machine.fingerprint
    assert all(one != other for one, other in pairwise(said))


@given(worlds, machines())
def test_after_an_upgrade_nothing_stands_still(world: World, machine: Machine) -> None:
    """The session does something, waits for somebody, or rests for a reason; and what was done is not done again."""
    world.releases = dict.fromkeys(range(1, 60, 7), machine)
    world.play(3)
    assert effects(world.state) or world.state.requests or world.state.rest
    assert {len(each) for each in world.ledger.values()} <= {1}


@given(machines(), machines())
def test_the_fingerprint_differs_exactly_if_something_can_be_named(one: Machine, other: Machine) -> None:
    """Also of what is shortened in a journal, and for a team and itself under other names."""
    assert one.roster
    assert other.roster
    named = list(differences(one.roster, other.roster))
    assert (one.fingerprint == other.fingerprint) == (not named)
    again = renamed(
        renamed(one.roster, AGENTS, TOOLS), *({new: old for old, new in each.items()} for each in (AGENTS, TOOLS))
    )
    assert not list(differences(one.roster, again))
    assert fingerprint(again) == one.fingerprint


@given(worlds, machines())
def test_opening_a_session_again_changes_nothing(world: World, machine: Machine) -> None:
    """That a team has changed is said once."""
    world.releases = {3: machine}
    world.play(1)
    world.machine = machine
    world.crash()
    assert machine.decide(world.state, Opened("world")).facts == []
