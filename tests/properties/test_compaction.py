"""A conversation that was compacted goes on as it would have; only what agents are shown is shorter."""

import random
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from relayline import views
from relayline.events import Compacted, Fact, HandoffSent, Summarised, UserSpoke
from relayline.machine.compaction import compacted
from relayline.machine.effects import CallModel, Effect, effects
from relayline.machine.fold import fold
from relayline.machine.inputs import Input, Summary, UserSaid
from relayline.machine.state import Floor, State
from relayline.messages import Message, user
from relayline.testing import ScriptedClient
from tests.properties.test_providers import Rough
from tests.properties.test_shared_prefix import laid, layout
from tests.properties.test_views import accepted, request
from tests.properties.worlds import World, machines

STEPS = 30
"""How far a conversation is followed after a message."""

POLICIES = {
    "text": views.text,
    "full": views.full,
    "last 2": views.last(2),
    "summary": views.summary(ScriptedClient()),
    "last 2 of a summary": views.last(2, views.summary(ScriptedClient())),
}


class Kept(Rough):
    """A world in which nobody decides by the length of what was said, which a compaction is allowed to change; and
    everybody is given a summary of what came before a handoff.
    """

    def chance(self, *what: object) -> random.Random:
        by_length = what[0] in ("judge", "goes on")
        return super().chance(what[0], self.state.turns, self.state.asked) if by_length else super().chance(*what)

    def perform(self, effect: Effect) -> Input:
        if isinstance(effect, CallModel):
            arrival, made = self.state.floor.arrivals.get(effect.agent), self.state.summaries.get(effect.agent)
            if arrival and arrival.at > (made.upto if made else 0):
                return Summary(effect.id, effect.agent, arrival.at, f"sum in turn {effect.turn}")
        return super().perform(effect)


worlds = st.builds(Kept, machines(), st.integers(0, 2**32), st.integers(0, 9), careless=st.booleans())


def compactions(facts: Sequence[Fact]) -> list[tuple[Compacted, State]]:
    """Some ways to compact a journal, from the shortest rest to the longest, and the state that follows of each."""
    count = sum(isinstance(fact, UserSpoke) for fact in facts)
    rests = sorted({1, 2, count // 2, count - 1, count} - {0})
    made = [stand_in for messages in rests if (stand_in := compacted(facts, messages))]
    first = facts[0].upto if isinstance(facts[0], Compacted) else 1
    return [(each, fold([each, *facts[each.upto - first + 1 :]])) for each in made]


def goes_on(world: World, state: State) -> World:
    """Two more messages of the user's."""
    other = Kept(world.machine, world.seed, world.order)
    other.state = state
    for number in (7, 8):
        for _ in range(STEPS):
            if effects(other.state):
                other.commit(other.perform(effects(other.state)[0]))
            elif not other.answer():
                break
        other.commit(UserSaid(user(f"message {number}")))
    return other


def floor(state: State) -> tuple[Floor, dict[str, HandoffSent]]:
    """Whose the conversation is; of how they got it all but at how many messages."""
    return state.floor._replace(arrivals={}), {key: each.handoff for key, each in state.floor.arrivals.items()}


def said(world: World) -> list[Fact]:
    """What was written, less the summaries: of what is forgotten none is made."""
    return [fact for fact in world.facts if not isinstance(fact, Summarised)]


@given(worlds)
@settings(max_examples=60)
def test_a_compacted_conversation_goes_on_as_it_would_have(world: World) -> None:
    """Compacted at any message of the user's: the same replies, calls, ids, requests, handoffs and common state."""
    world.play(3)
    whole = goes_on(world, world.state)
    for stand_in, state in compactions(world.facts):
        assert floor(state) == floor(world.state)
        less = {"spoken": (), "transcript": (), "floor": Floor(), "forgotten": 0}
        assert replace(state, **less) == replace(world.state, **less)
        other = goes_on(world, state)
        assert said(other) == said(whole)
        assert floor(other.state) == floor(whole.state)
        left = other.state.transcript[:]
        assert left == whole.state.transcript[-len(left) :]
        assert stand_in.upto < world.state.seq


@given(worlds)
@settings(max_examples=25)
def test_what_agents_are_shown_after_a_compaction_is_accepted(world: World) -> None:
    """By every policy, and where requests are laid out alike; and it is the end of what they would have been shown."""
    world.play(3)
    team = layout(world)
    whole = {call.id: state for call, state in goes_on(world, world.state).calls}
    for _, state in compactions(world.facts)[:2]:
        for call, now in goes_on(world, state).calls:
            for policy in POLICIES.values():
                accepted(request(world, call, now, policy))
            laid(team, call, now)
            before, after = (shown(world, call, each) for each in (whole[call.id], now))
            assert after == before[-len(after) :]


def shown(world: World, call: CallModel, state: State) -> Sequence[Message]:
    return list(request(world, call, state, views.text).messages)


@given(worlds)
@settings(max_examples=30)
def test_a_compaction_can_be_compacted(world: World) -> None:
    """In two steps or in one: the same stands for what is forgotten."""
    facts = world.play(4).facts
    for stand_in, _ in compactions(facts):
        left: list[Fact] = [stand_in, *facts[stand_in.upto :]]
        for again, _ in compactions(left):
            count = sum(isinstance(fact, UserSpoke) for fact in left[again.upto - stand_in.upto + 1 :])
            assert again == compacted(facts, count)
